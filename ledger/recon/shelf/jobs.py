"""Jobs: runs on their way."""

from __future__ import annotations

from ledger.recon.shelf.rows import Rows

SELECT_JOB = """
select state, step, done, error, extract(epoch from now() - updated_at)::float8
from recon_jobs where ledger = %s and id = %s::uuid
"""
INSERT_JOB = "insert into recon_jobs (ledger, id, state, step) values (%s, %s, 'running', 'begins')"
UPDATE_JOB = """
update recon_jobs set state = %s, step = %s, done = %s, error = %s, updated_at = now()
where ledger = %s and id = %s
"""


class Jobs(Rows):
    """The rows of jobs, the only ones that change."""

    def begin_job(self, ledger: str, job: str) -> None:
        """Say that a run is on its way."""
        self._write(INSERT_JOB, (ledger, job))

    def tell_job(
        self,
        ledger: str,
        job: str,
        *,
        state: str,
        step: str,
        done: int = 0,
        error: str | None = None,
    ) -> None:
        """Say how far it is."""
        self._write(UPDATE_JOB, (state, step, done, error, ledger, job))

    def job(self, ledger: str, job: str) -> tuple[str, str, int, str | None, float] | None:
        """(state, step, done, error, seconds since the last sign of life); None without one."""
        found = self._by_id(SELECT_JOB, (ledger, job), job)
        return found[0] if found else None

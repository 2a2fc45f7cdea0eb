"""
Verification: runs the auditor over a stored ledger, at once or as a job with progress.

What is checked is said by `verify`. Jobs are rows of the table `verifications`: any process
can tell how one stands, also after the process that ran it is gone. A long one runs in a
process of its own, so that writers keep their interpreter and go first on the processors.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import Engine

from ledger.checkpoint import Checkpoint
from ledger.errors import (
    LedgerError,
    NotFoundError,
    OverloadedError,
)
from ledger.forms.grammar import UUID
from ledger.ports import LedgerRecord
from ledger.storage.database import WRITER, Conninfo, driver_connection
from ledger.vault import Vault
from ledger.verification.apart import audit_apart
from ledger.verification.pages import ReadSigned, read_record, verify_ledger
from ledger.verification.verdicts import Ended, KeysOf, Verdicts, first_key
from ledger.verify import (
    Dated,
    Mode,
    read_trusted,
)

logger = logging.getLogger(__name__)

JOBS_MAX = 2
"""Jobs one process runs at a time: each keeps a processor and a connection busy."""
PROGRESS_EVERY_S = 0.5
APART_FROM = 20_000
"""Entries; fewer are verified sooner than a process starts."""
STALE_AFTER_S = 60
"""A running job that said nothing for so long has lost its process."""
ReadDated = Callable[[str, int], Dated]
"""Ledger, and a size -> larger trees of it that others have seen."""

SELECT_SIZE = "select size from heads where ledger = %s"

SELECT_RUNNING = """
select id::text, mode, requested->>'trusted' from verifications
where ledger = %s and state = 'running' and updated_at > now() - make_interval(secs => %s)
order by started_at limit 1
"""

INSERT_JOB = """
insert into verifications (ledger, id, mode, state, requested, size)
values (%s, %s, %s, 'running', %s, %s)
"""

UPDATE_PROGRESS = """
update verifications set checked = %s, size = %s, makes_way = %s, updated_at = now()
where ledger = %s and id = %s
"""

UPDATE_RESULT = """
update verifications set state = %s, report = %s, updated_at = now() where ledger = %s and id = %s
"""

SELECT_JOB = """
select mode, state, checked, size, makes_way, report,
    state = 'running' and updated_at <= now() - make_interval(secs => %s)
from verifications where ledger = %s and id::text = %s
"""

# What was asked for stays; of what a clock began, the last hour and the newest of each mode.
CLEAR_SCHEDULED = """
delete from verifications v
where ledger = %s and requested->>'scheduled' = 'true' and updated_at < now() - interval '1 hour'
    and exists (
        select from verifications later where later.ledger = v.ledger and later.mode = v.mode
            and later.state = 'done' and later.updated_at > v.updated_at
    )
"""

SELECT_NEWEST_DONE = """
select distinct on (ledger, mode) ledger, mode,
    extract(epoch from now() - updated_at)::float8, (report->>'size')::bigint,
    'bad' not in (
        report->'verdicts'->>'tamper', report->'verdicts'->>'completeness',
        report->'verdicts'->>'time'
    )
from verifications where state = 'done' order by ledger, mode, updated_at desc
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The newest verification of a ledger in one mode that ended with a report."""

    age_s: float
    size: int
    good: bool


@dataclass(slots=True, kw_only=True)
class _Job:
    id: str
    ledger: str
    mode: Mode
    trusted: Checkpoint | None
    since: tuple[int, bytes] | None
    """Where an earlier one ended; None reads from the first entry on."""
    size: int
    """Entries when it began."""
    started_at: datetime
    told_at: float = 0.0


class Verifications:
    """Jobs, each in a thread of its own; safe to share between threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        conninfo: Conninfo | None = None,
        read_signed: ReadSigned | None = None,
        vault: Vault | None = None,
        verdicts: Verdicts | None = None,
        read_dated: ReadDated | None = None,
        keys: KeysOf = first_key,
    ) -> None:
        """
        Run jobs through connections of `engine`, which has the rights of the writer.

        Args:
            engine: A job keeps one connection, and borrows a second one now and then.
            conninfo: How a process of its own connects; None runs every job in this one.
            read_signed: Reads the signer's record.
            vault: Opens payloads.
            verdicts: Told of each report; without it an incremental job reads from the trusted
                checkpoint, or all.
            read_dated: Finds trees that others have seen.
            keys: The keys of a ledger, those that were rotated in included.
        """
        self._engine = engine
        self._read_dated = read_dated
        self._verdicts = verdicts
        self._keys = keys
        self._conninfo = conninfo
        self._read_signed = read_signed
        self._vault = vault
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}

    def start(self, ledger: str, mode: Mode = "full", trusted: str | None = None) -> str:
        """
        Begin to verify a ledger.

        Args:
            ledger: Its name.
            mode: `incremental` begins at the trusted checkpoint or, without one, where the last
                good verification ended by its signed statement; in full where there is neither.
            trusted: Signed note of a checkpoint that was kept elsewhere.

        Returns:
            Id of the job; of the one that runs already where it does the same.

        Raises:
            NotFoundError: No ledger has this name.
            MalformedProofError: `trusted` is not a signed checkpoint.
            SignatureError: It is not signed by this ledger's key.
            OverloadedError: Another verification of this ledger runs, or too many of others.
        """
        return self._begin(ledger, mode, trusted, scheduled=False)

    def run(self, ledger: str, mode: Mode) -> None:
        """
        Verify a ledger because its time has come, and return when that is done.

        Raises:
            NotFoundError, OverloadedError: As `start`.
        """
        job = self._begin(ledger, mode, None, scheduled=True)
        with self._lock:
            thread = self._threads.get(job)
        # None where another process runs the same.
        if thread is not None:
            thread.join()
        with driver_connection(self._engine) as connection:
            connection.execute(CLEAR_SCHEDULED, (ledger,))

    def _begin(self, ledger: str, mode: Mode, trusted: str | None, *, scheduled: bool) -> str:
        with self._lock, driver_connection(self._engine) as connection:
            record = read_record(connection, ledger)
            checkpoint = None if trusted is None else read_trusted(trusted, self._keys(record))
            running = connection.execute(SELECT_RUNNING, (ledger, STALE_AFTER_S)).fetchone()
            if running is not None:
                if tuple(running[1:]) == (mode, trusted):
                    return str(running[0])
                raise OverloadedError(f"ledger {ledger} is being verified already", ledger=ledger)
            if len(self._threads) >= JOBS_MAX:
                raise OverloadedError(f"{JOBS_MAX} ledgers are being verified already")
            head = connection.execute(SELECT_SIZE, (ledger,)).fetchone()
            # Two processes may both come through here; then two jobs run, and harm nobody.
            job = _Job(
                id=str(uuid4()),
                ledger=ledger,
                mode=mode,
                trusted=checkpoint,
                since=self._resume_point(record, checkpoint) if mode == "incremental" else None,
                size=0 if head is None else head[0],
                started_at=datetime.now(UTC),
            )
            requested = Jsonb({"trusted": trusted, "scheduled": scheduled})
            connection.execute(INSERT_JOB, (ledger, job.id, mode, requested, job.size))
            # A daemon: a process that ends does not wait for it, and the job shows as failed.
            thread = threading.Thread(
                target=self._run, args=(job,), name=f"verify {ledger}", daemon=True
            )
            self._threads[job.id] = thread
            thread.start()
        return job.id

    def _resume_point(
        self, record: LedgerRecord, trusted: Checkpoint | None
    ) -> tuple[int, bytes] | None:
        if trusted is not None:
            return trusted.size, trusted.root
        return None if self._verdicts is None else self._verdicts.last_good(record)

    def standing(self) -> dict[tuple[str, str], Standing]:
        """
        The newest verification that ended with a report, by ledger and mode.

        Raises:
            DatabaseUnavailableError: The database does not answer.
        """
        with driver_connection(self._engine) as connection:
            rows = connection.execute(SELECT_NEWEST_DONE).fetchall()
        return {
            (ledger, mode): Standing(age_s=age_s, size=size, good=good)
            for ledger, mode, age_s, size, good in rows
        }

    def get(self, ledger: str, id: str) -> dict[str, Any]:  # noqa: A002 - the word of the table.
        """
        How a job stands.

        Returns:
            `{id, ledger, mode, state, progress: {checked, size, makes_way}, report}`; `state`
            is `running`, `done` or `failed`. `report` is null while it runs, as
            `verify.Report.document` has it when it is done, `{error}` if it failed.

        Raises:
            NotFoundError: No job of this ledger has this id.
        """
        row = None
        # Not every text is one the database takes.
        if UUID.fullmatch(id):
            with driver_connection(self._engine) as connection:
                row = connection.execute(SELECT_JOB, (STALE_AFTER_S, ledger, id.lower())).fetchone()
        if row is None:
            raise NotFoundError(f"ledger {ledger} has no verification {id[:36]}", ledger=ledger)
        mode, state, checked, size, makes_way, report, stale = row
        if stale:
            state, report = "failed", {"error": "the process that ran it ended before it was done"}
        return {
            "id": id,
            "ledger": ledger,
            "mode": mode,
            "state": state,
            "progress": {
                "checked": checked,
                "size": size,
                "makes_way": makes_way and state == "running",
            },
            "report": report,
        }

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when the jobs of this process are done, or after so many seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in list(self._threads.values()):
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def _run(self, job: _Job) -> None:
        try:
            state, document = self._verify(job)
            if state == "done":
                # First, so that whoever reads of damage finds the ledger stopped.
                self._conclude(job, document)
            with driver_connection(self._engine) as connection:
                connection.execute(UPDATE_RESULT, (state, Jsonb(document), job.ledger, job.id))
        except LedgerError:
            # Nowhere to write the result to: the job goes stale and shows as failed.
            logger.exception("the result of verification %s is lost", job.id)
        finally:
            with self._lock:
                del self._threads[job.id]

    def _conclude(self, job: _Job, document: Mapping[str, Any]) -> None:
        if self._verdicts is None:
            return
        if job.mode == "incremental" and job.trusted is not None and not _is_bad(document):
            # Good from a checkpoint that somebody brought: no place for the next one to go on
            # from, for what came before it here was not read.
            return
        with driver_connection(self._engine) as connection:
            record = read_record(connection, job.ledger)
        try:
            self._verdicts.conclude(
                Ended(
                    id=job.id,
                    record=record,
                    document=document,
                    started_at=job.started_at,
                    finished_at=datetime.now(UTC),
                )
            )
        except LedgerError:
            # The report stands; the next verification finds the same and tries again.
            logger.exception("the verdict of verification %s is not kept", job.id)

    def _verify(self, job: _Job) -> tuple[str, dict[str, Any]]:
        try:
            start = job.since[0] if job.since else 0
            # Read before the entries: what is seen meanwhile is beyond what it checks against.
            dated = None if self._read_dated is None else self._read_dated(job.ledger, start)
            to_read = job.size - start
            if self._conninfo is not None and to_read >= APART_FROM:
                document = self._verify_apart(job, self._conninfo(WRITER), dated)
            else:
                document = verify_ledger(
                    self._engine,
                    job.ledger,
                    since=job.since,
                    trusted=job.trusted,
                    read_signed=self._read_signed,
                    vault=self._vault,
                    dated=dated,
                    progress=lambda *progress: self._tell(job, *progress),
                ).document()
        except LedgerError as error:
            return "failed", {"error": error.message}
        except Exception:
            logger.exception("verification %s of ledger %s failed", job.id, job.ledger)
            return "failed", {"error": "the verification itself failed; the log says why"}
        if _is_bad(document):
            first = document["first_bad"]
            logger.error(
                "ledger %s does not verify: %s", job.ledger, first["message"] if first else ""
            )
        self._tell(job, document["size"], document["size"], least_s=0.0)
        return "done", document

    def _verify_apart(self, job: _Job, conninfo: str, dated: Dated | None) -> dict[str, Any]:
        """The report as JSON, made by a process of its own."""
        signed: dict[str, tuple[int, bytes] | None] = {}
        if self._read_signed is not None:
            with driver_connection(self._engine) as connection:
                origin = read_record(connection, job.ledger).origin
            # Read now: what is signed while it runs is beyond what it checks against.
            signed[origin] = self._read_signed(origin)
        return audit_apart(
            conninfo,
            job.ledger,
            since=job.since,
            trusted=job.trusted,
            signed=signed,
            vault=self._vault,
            dated=dated,
            progress=lambda *progress: self._tell(job, *progress),
        )

    def _tell(
        self,
        job: _Job,
        checked: int,
        size: int,
        makes_way: bool = False,
        *,
        least_s: float = PROGRESS_EVERY_S,
    ) -> None:
        now = time.monotonic()
        if now - job.told_at >= least_s:
            job.told_at = now
            with driver_connection(self._engine) as connection:
                connection.execute(UPDATE_PROGRESS, (checked, size, makes_way, job.ledger, job.id))


def _is_bad(document: Mapping[str, Any]) -> bool:
    return "bad" in document["verdicts"].values()

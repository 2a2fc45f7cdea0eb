"""Runs: reconciliations that ended, with where every item of them stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.types.json import Jsonb

from ledger.errors import NotFoundError
from ledger.recon.shelf.rows import ROWS_PER_READ, Rows, parts

SELECT_RUN = """
select id::text, input, encode(input_digest, 'hex'), output, encode(output_digest, 'hex'),
    started_at, started_by
from recon_runs where ledger = %s and id = %s::uuid
"""
# Without what it came to, which may be long.
SELECT_HEADS = """
select id::text, input->>'period', started_at, started_by, (input->>'size')::bigint,
    encode(output_digest, 'hex')
from recon_runs where ledger = %s and (%s::text is null or input->>'period' = %s)
order by started_at, id
"""
SELECT_NEWEST = """
select id::text from recon_runs
where ledger = %s and input->>'period_from' <= %s and input->>'period_to' >= %s
order by started_at desc, id desc limit 1
"""
# A job that is done is never told again: what ended before a moment stays the same.
SELECT_ENDED = """
select r.id::text, r.input->>'period', r.input->'sources'
from recon_runs r join recon_jobs j on j.ledger = r.ledger and j.id = r.id
where r.ledger = %s and j.state = 'done' and j.updated_at < %s
    and (r.input->>'size')::bigint <= %s
    and r.input->>'period_from' >= %s and r.input->>'period_to' <= %s
order by r.started_at, r.id
"""
INSERT_RUN = """
insert into recon_runs (ledger, id, input, input_digest, output, output_digest, started_at,
    started_by)
values (%s, %s, %s, %s, %s, %s, %s, %s)
"""
COPY_STANDINGS = (
    "copy recon_standings (ledger, run, ordinal, state, fingerprint, document) from stdin"
)
SELECT_STANDINGS = """
select ordinal, state, fingerprint, document from recon_standings
where ledger = %s and run = %s::uuid and ordinal > %s and (%s::text[] is null or state = any(%s))
order by ordinal limit %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run that ended."""

    id: str
    input: Mapping[str, Any]
    input_digest: str
    output: Mapping[str, Any]
    output_digest: str
    started_at: datetime
    started_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHead:
    """What a list says of a run that ended."""

    id: str
    period: str
    started_at: datetime
    started_by: str
    size: int
    output_digest: str


class RunRows(Rows):
    """The rows of runs and of their standings."""

    def run_heads(self, ledger: str, period: str | None = None) -> list[RunHead]:
        """Runs that ended, oldest first: all of them, or those of one period."""
        names = ("id", "period", "started_at", "started_by", "size", "output_digest")
        return [
            RunHead(**dict(zip(names, row, strict=True)))
            for row in self._rows(SELECT_HEADS, (ledger, period, period))
        ]

    def ended(
        self, ledger: str, *, before: datetime, size: int, days: tuple[date, date]
    ) -> list[tuple[str, str, Mapping[str, Any]]]:
        """(id, period, sources) of runs within some days that had ended, oldest first."""
        first, last = (day.isoformat() for day in days)
        return self._rows(SELECT_ENDED, (ledger, before, size, first, last))

    def newest_run(self, ledger: str, first: date = date.min, last: date = date.max) -> str | None:
        """Id of the newest run that ended and whose period has some of these days."""
        found = self._rows(SELECT_NEWEST, (ledger, last.isoformat(), first.isoformat()))
        return found[0][0] if found else None

    def run(self, ledger: str, run_id: str) -> RunRow:
        """
        One run that ended.

        Raises:
            NotFoundError: There is none with this id.
        """
        found = self._by_id(SELECT_RUN, (ledger, run_id), run_id)
        if not found:
            raise NotFoundError(f"ledger {ledger} has no finished run {run_id[:63]}", ledger=ledger)
        names = ("id", "input", "input_digest", "output", "output_digest", "started_at")
        return RunRow(**dict(zip((*names, "started_by"), found[0], strict=True)))

    def add_run(
        self,
        ledger: str,
        row: RunRow,
        standings: Iterable[tuple[str, str, Mapping[str, Any]]],
        tell: Callable[[int], None],
    ) -> None:
        """Keep a run with its (state, fingerprint, document) rows; its own row comes last."""
        with self._connection() as connection:
            written = 0
            for part in parts(standings):
                with connection.cursor() as cursor, cursor.copy(COPY_STANDINGS) as copy:
                    for at, (state, fingerprint, document) in enumerate(part, start=written):
                        copy.write_row((ledger, row.id, at, state, fingerprint, Jsonb(document)))
                written += len(part)
                tell(written)
            connection.execute(
                INSERT_RUN,
                (
                    *(ledger, row.id, Jsonb(row.input), bytes.fromhex(row.input_digest)),
                    *(Jsonb(row.output), bytes.fromhex(row.output_digest)),
                    *(row.started_at, row.started_by),
                ),
            )

    def standings(
        self,
        ledger: str,
        run_id: str,
        *,
        after: int = -1,
        limit: int = ROWS_PER_READ,
        states: Sequence[str] | None = None,
    ) -> list[tuple[int, str, str, Mapping[str, Any]]]:
        """(ordinal, state, fingerprint, document) of a page of a run's standings."""
        asked = None if states is None else list(states)
        return self._by_id(SELECT_STANDINGS, (ledger, run_id, after, asked, asked, limit), run_id)

    def all_standings(
        self, ledger: str, run_id: str
    ) -> Iterator[tuple[int, str, str, Mapping[str, Any]]]:
        """All standings of a run, page by page."""
        after = -1
        while page := self.standings(ledger, run_id, after=after):
            yield from page
            after = page[-1][0]

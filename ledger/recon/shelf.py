"""
Shelf: where finance's room keeps what it reads, compares and decides. Rows are only added.

Knows no rules: what a file, a run or a break means is for others. No transaction is long:
what has many rows is written in parts, and counts once its last row stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Engine

from ledger.errors import IdempotencyConflictError, NotFoundError, PushbackError
from ledger.forms.grammar import UUID
from ledger.recon.breaks import Action, Event
from ledger.recon.statement_side import LineRow
from ledger.storage.database import driver_connection

ROWS_PER_WRITE = 5_000
"""A part of what is written takes a few hundred milliseconds."""
LINES_PER_READ = 20_000

SELECT_SOURCES = """
select distinct on (name) name, version, document, created_at, created_by
from recon_sources where ledger = %s order by name, version desc
"""
INSERT_SOURCE = """
insert into recon_sources (ledger, name, version, document, created_by) values (%s, %s, %s, %s, %s)
"""
SELECT_IMPORTS = """
select id::text, source, source_version, filename, encode(sha256, 'hex'), status, document, lines,
    added, received_at, received_by
from recon_imports where ledger = %s order by received_at, id
"""
SELECT_CONTENT = "select content from recon_imports where ledger = %s and id::text = %s"
INSERT_IMPORT = """
insert into recon_imports (ledger, id, source, source_version, filename, sha256, content, status,
    document, lines, added, received_by)
values (%s, %s, %s, %s, %s, %s, %b, %s, %s, %s, %s, %s)
"""
COPY_LINES = "copy recon_lines (ledger, import, ordinal, line, said, booked, document) from stdin"
SELECT_LINES = """
select import::text, ordinal, line, encode(said, 'hex'), document from recon_lines
where ledger = %s and import::text = %s and ordinal > %s order by ordinal limit %s
"""
SELECT_KNOWN = """
select distinct line from recon_lines l where ledger = %s and line = any(%s)
    and exists (select from recon_imports i where i.ledger = l.ledger and i.id = l.import)
"""
SELECT_DECISIONS = """
select id::text, made_at, made_by, act, document from recon_decisions
where ledger = %s order by made_at, id
"""
INSERT_DECISION = """
insert into recon_decisions (ledger, id, made_by, act, document) values (%s, %s, %s, %s, %s)
"""
# Only those that history tells of: the notice of a decision comes before its row.
SELECT_SIGNOFFS = """
select d.id::text, d.document, e.body
from recon_decisions d
join entries e on e.ledger = d.ledger and e.key = '_recon.decided/' || d.id::text
where d.ledger = %s and d.act = 'signoff' order by e.seq
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
SELECT_RUNS = """
select id::text, input, encode(input_digest, 'hex'), output, encode(output_digest, 'hex'),
    started_at, started_by
from recon_runs where ledger = %s order by started_at, id
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
where ledger = %s and run::text = %s and ordinal > %s and (%s::text[] is null or state = any(%s))
order by ordinal limit %s
"""
SELECT_BREAKS = """
select b.id::text, b.fingerprint, e.ordinal, e.at, e.actor, e.action, e.document
from recon_breaks b join recon_events e on e.ledger = b.ledger and e.break = b.id
where b.ledger = %s and (%s::text is null or b.id::text = %s)
order by b.created_at, b.id, e.ordinal
"""
SELECT_SEEN_AT = """
select coalesce(max((r.input->>'size')::bigint), 0) from recon_runs r where r.ledger = %s
    and exists (select from recon_standings s
        where s.ledger = r.ledger and s.run = r.id and s.fingerprint = %s)
"""
INSERT_BREAK = """
insert into recon_breaks (ledger, id, fingerprint) values (%s, %s, %s)
on conflict (ledger, fingerprint) do nothing
"""
INSERT_EVENT = """
insert into recon_events (ledger, break, ordinal, actor, action, document)
values (%s, %s, %s, %s, %s, %s) on conflict do nothing
"""
SELECT_REQUEST = "select asked, answer from recon_requests where ledger = %s and key = %s"
INSERT_REQUEST = """
insert into recon_requests (ledger, key, asked, answer) values (%s, %s, %s, %s)
on conflict do nothing
"""
SELECT_JOB = """
select state, step, done, error, extract(epoch from now() - updated_at)::float8
from recon_jobs where ledger = %s and id::text = %s
"""
INSERT_JOB = "insert into recon_jobs (ledger, id, state, step) values (%s, %s, 'running', 'begins')"
UPDATE_JOB = """
update recon_jobs set state = %s, step = %s, done = %s, error = %s, updated_at = now()
where ledger = %s and id = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """The newest version of a source."""

    name: str
    version: int
    document: Mapping[str, Any]
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """A file that came, without its bytes."""

    id: str
    source: str
    source_version: int
    filename: str
    sha256: str
    status: str
    document: Mapping[str, Any]
    lines: int
    added: int
    received_at: datetime
    received_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """What somebody decided."""

    id: str
    made_at: datetime
    made_by: str
    act: str
    document: Mapping[str, Any]


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
class BreakRow:
    """A break with its events, in order."""

    id: str
    fingerprint: str
    events: tuple[Event, ...]


class Shelf:
    """
    The rows of one database. Safe to share between threads.

    Every method may raise DatabaseUnavailableError where the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        """Keep rows through connections of `engine`, which has the rights of the writer."""
        self._engine = engine

    # ---- Sources and imports ----------------------------------------------------------

    def sources(self, ledger: str) -> list[SourceRow]:
        """The newest version of each source, by name."""
        return [
            SourceRow(name=name, version=version, document=document, created_at=at, created_by=by)
            for name, version, document, at, by in self._rows(SELECT_SOURCES, (ledger,))
        ]

    def source(self, ledger: str, name: str) -> SourceRow:
        """
        The newest version of one source.

        Raises:
            NotFoundError: There is none of this name.
        """
        for row in self.sources(ledger):
            if row.name == name:
                return row
        raise NotFoundError(f"ledger {ledger} has no source {name[:63]}", ledger=ledger)

    def add_source(self, ledger: str, name: str, document: Mapping[str, Any], by: str) -> SourceRow:
        """The next version of a source; the same document again is no new one."""
        versions = {row.name: row for row in self.sources(ledger)}
        newest = versions.get(name)
        if newest is not None and newest.document == document:
            return newest
        version = 1 if newest is None else newest.version + 1
        with self._connection() as connection:
            try:
                connection.execute(INSERT_SOURCE, (ledger, name, version, Jsonb(document), by))
            except psycopg.errors.UniqueViolation as error:
                raise PushbackError("somebody else saves this source: try again") from error
        return self.source(ledger, name)

    def imports(self, ledger: str) -> list[ImportRow]:
        """All imports, in the order they came."""
        names = (
            *("id", "source", "source_version", "filename", "sha256", "status", "document"),
            *("lines", "added", "received_at", "received_by"),
        )
        return [
            ImportRow(**dict(zip(names, row, strict=True)))
            for row in self._rows(SELECT_IMPORTS, (ledger,))
        ]

    def find_import(self, ledger: str, import_id: str) -> ImportRow:
        """
        One import.

        Raises:
            NotFoundError: There is none with this id.
        """
        for row in self.imports(ledger):
            if row.id == import_id:
                return row
        raise NotFoundError(f"ledger {ledger} has no import {import_id[:63]}", ledger=ledger)

    def content(self, ledger: str, import_id: str) -> bytes:
        """
        The bytes of a file, as they came.

        Raises:
            NotFoundError: There is no such import.
        """
        found = self._by_id(SELECT_CONTENT, (ledger, import_id), import_id)
        if not found:
            raise NotFoundError(f"ledger {ledger} has no import {import_id[:63]}", ledger=ledger)
        return bytes(found[0][0])

    def known(self, ledger: str, names: Iterable[str]) -> set[str]:
        """Those of these lines that an import has already."""
        found: set[str] = set()
        for part in _parts(names):
            found |= {name for (name,) in self._rows(SELECT_KNOWN, (ledger, part))}
        return found

    def add_import(
        self,
        ledger: str,
        row: ImportRow,
        content: bytes,
        lines: Sequence[LineRow],
        tell: Callable[[int], None],
    ) -> None:
        """Keep a file with its lines; it counts once its own row stands, which comes last."""
        with self._connection() as connection:
            written = 0
            for part in _parts(lines):
                with connection.cursor() as cursor, cursor.copy(COPY_LINES) as copy:
                    for at, line in enumerate(part, start=written):
                        copy.write_row(
                            (
                                *(ledger, row.id, at, line.line, line.said, line.booked),
                                Jsonb(line.document),
                            )
                        )
                written += len(part)
                tell(written)
            connection.execute(
                INSERT_IMPORT,
                (
                    *(ledger, row.id, row.source, row.source_version, row.filename),
                    *(bytes.fromhex(row.sha256), content, row.status, Jsonb(row.document)),
                    *(row.lines, row.added, row.received_by),
                ),
            )

    def lines(
        self, ledger: str, import_id: str, after: int = -1, limit: int | None = None
    ) -> Iterator[tuple[int, str, str, Mapping[str, Any]]]:
        """(ordinal, name, hash of what it says, document) of the lines of an import, in order."""
        left = limit
        while left is None or left > 0:
            asked = LINES_PER_READ if left is None else min(left, LINES_PER_READ)
            page = self._rows(SELECT_LINES, (ledger, import_id, after, asked))
            for _, ordinal, name, said, document in page:
                yield ordinal, name, said, document
            if len(page) < asked:
                return
            after = page[-1][1]
            left = None if left is None else left - len(page)

    # ---- Decisions --------------------------------------------------------------------

    def decisions(self, ledger: str) -> list[DecisionRow]:
        """All decisions, oldest first."""
        return [
            DecisionRow(id=id_, made_at=at, made_by=by, act=act, document=document)
            for id_, at, by, act, document in self._rows(SELECT_DECISIONS, (ledger,))
        ]

    def add_decision(
        self, ledger: str, decision_id: str, by: str, act: str, document: Mapping[str, Any]
    ) -> None:
        """Keep a decision."""
        self._write(INSERT_DECISION, (ledger, decision_id, by, act, Jsonb(document)))

    def signoffs(self, ledger: str) -> list[tuple[str, Mapping[str, Any], bytes]]:
        """(id, document, bytes of its notice) of sign-offs, as history has them in order."""
        return [
            (id_, document, bytes(body))
            for id_, document, body in self._rows(SELECT_SIGNOFFS, (ledger,))
        ]

    # ---- Runs -------------------------------------------------------------------------

    def ended(
        self, ledger: str, *, before: datetime, size: int, days: tuple[date, date]
    ) -> list[tuple[str, str, Mapping[str, Any]]]:
        """(id, period, sources) of runs within some days that had ended, oldest first."""
        first, last = (day.isoformat() for day in days)
        return self._rows(SELECT_ENDED, (ledger, before, size, first, last))

    def runs(self, ledger: str) -> list[RunRow]:
        """All runs that ended, oldest first."""
        names = ("id", "input", "input_digest", "output", "output_digest", "started_at")
        return [
            RunRow(**dict(zip((*names, "started_by"), row, strict=True)))
            for row in self._rows(SELECT_RUNS, (ledger,))
        ]

    def run(self, ledger: str, run_id: str) -> RunRow:
        """
        One run that ended.

        Raises:
            NotFoundError: There is none with this id.
        """
        for row in self.runs(ledger):
            if row.id == run_id:
                return row
        raise NotFoundError(f"ledger {ledger} has no finished run {run_id[:63]}", ledger=ledger)

    def add_run(
        self,
        ledger: str,
        row: RunRow,
        standings: Sequence[tuple[str, str, Mapping[str, Any]]],
        tell: Callable[[int], None],
    ) -> None:
        """Keep a run with its (state, fingerprint, document) rows; its own row comes last."""
        with self._connection() as connection:
            written = 0
            for part in _parts(standings):
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
        limit: int = LINES_PER_READ,
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

    # ---- Breaks -----------------------------------------------------------------------

    def breaks(self, ledger: str, break_id: str | None = None) -> list[BreakRow]:
        """All breaks with their events, or one of them."""
        found: dict[str, tuple[str, list[Event]]] = {}
        asked = (ledger, break_id, break_id)
        rows = (
            self._rows(SELECT_BREAKS, asked)
            if break_id is None
            else self._by_id(SELECT_BREAKS, asked, break_id)
        )
        for id_, fingerprint, ordinal, at, actor, action, document in rows:
            found.setdefault(id_, (fingerprint, []))[1].append(
                Event(ordinal=ordinal, at=at, actor=actor, action=Action(action), document=document)
            )
        return [
            BreakRow(id=id_, fingerprint=fingerprint, events=tuple(events))
            for id_, (fingerprint, events) in found.items()
        ]

    def seen_at(self, ledger: str, fingerprint: str) -> int:
        """How many entries the newest run knew that saw this fingerprint."""
        [(size,)] = self._rows(SELECT_SEEN_AT, (ledger, fingerprint))
        return int(size)

    def open_break(
        self, ledger: str, break_id: str, fingerprint: str, by: str, document: Mapping[str, Any]
    ) -> None:
        """Begin the life of a break; nothing where its fingerprint has one."""
        with self._connection() as connection, connection.transaction():
            made = connection.execute(INSERT_BREAK, (ledger, break_id, fingerprint)).rowcount
            if made:
                connection.execute(
                    INSERT_EVENT, (ledger, break_id, 0, by, Action.OPENED, Jsonb(document))
                )

    def add_event(
        self,
        ledger: str,
        break_id: str,
        *,
        ordinal: int,
        by: str,
        action: Action,
        document: Mapping[str, Any],
    ) -> None:
        """
        Add the next event of a break.

        Raises:
            PushbackError: Somebody else was faster; look again and decide again.
        """
        parameters = (ledger, break_id, ordinal, by, action, Jsonb(document))
        if not self._write(INSERT_EVENT, parameters):
            raise PushbackError("somebody else acted on this break meanwhile: look again")

    # ---- Requests and jobs ------------------------------------------------------------

    def answer(self, ledger: str, key: str, asked: bytes) -> Mapping[str, Any] | None:
        """
        What this request was answered before.

        Raises:
            IdempotencyConflictError: The key names another request.
        """
        found = self._rows(SELECT_REQUEST, (ledger, key))
        if not found:
            return None
        if bytes(found[0][0]) != asked:
            raise IdempotencyConflictError("the idempotency key already names another request")
        answer: Mapping[str, Any] = found[0][1]
        return answer

    def keep_answer(self, ledger: str, key: str, asked: bytes, answer: Mapping[str, Any]) -> None:
        """Remember an answer for whoever asks the same again."""
        self._write(INSERT_REQUEST, (ledger, key, asked, Jsonb(answer)))

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

    # ---- Parts ------------------------------------------------------------------------

    def _by_id(self, statement: str, parameters: Sequence[Any], id_: str) -> list[Any]:
        """The rows of one id; none where it is not in the form of one."""
        return self._rows(statement, parameters) if UUID.fullmatch(id_) else []

    def _rows(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _write(self, statement: str, parameters: Sequence[Any]) -> int:
        with self._connection() as connection:
            return connection.execute(statement, parameters).rowcount

    def _connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return driver_connection(self._engine)


def _parts(rows: Iterable[Any]) -> Iterator[list[Any]]:
    several = iter(rows)
    while part := list(islice(several, ROWS_PER_WRITE)):
        yield part

"""
Imports: files come in, are read whole, and are kept as they came. Nothing of them is edited.

The same file again is no second one; a file that overlaps others adds what they do not have.
A file at odds with itself waits, and counts for nothing, until a person says why it may.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from ledger.errors import BreakError, TooLargeError
from ledger.recon.account import Account, build_account
from ledger.recon.continuity import find_breaks
from ledger.recon.decisions import Decisions
from ledger.recon.holds import Holds
from ledger.recon.reading import read_statement
from ledger.recon.shelf import DecisionRow, ImportRow, Shelf, SourceRow
from ledger.recon.source import Control
from ledger.recon.statement import FindingCode, Reading, ReadingStatus
from ledger.recon.statement_side import (
    Known,
    known_statements,
    line_rows,
    statement_document,
)

FILE_BYTES_MAX = 256 * 1024 * 1024
FINDINGS_MAX = 1_000
"""Findings that are kept of one file; how many there were is told."""
PREVIEW_LINES = 20
OVERRIDE, DISCARD = "override", "discard"
"""What is decided about a quarantined file: it counts all the same, or is set aside."""
LINES_MISSING = frozenset(
    {
        FindingCode.BALANCE_DISAGREES,
        FindingCode.COUNT_DISAGREES,
        FindingCode.TOTAL_DISAGREES,
        # Of a quarantined file this says that more was found than is kept: perhaps one of these.
        FindingCode.MALFORMED,
    }
)
"""Findings by which lines may be missing: on which days, nobody knows."""

Tell = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an import would be, before it is one."""

    status: str
    document: Mapping[str, Any]
    lines: int
    added: int
    first: Sequence[Mapping[str, Any]]


class Imports:
    """Sources and the files that came from them. Safe to share between threads."""

    def __init__(self, shelf: Shelf, decisions: Decisions, holds: Holds) -> None:
        self._shelf = shelf
        self.holds = holds
        self._decisions = decisions

    def save_source(self, ledger: str, document: Mapping[str, Any], by: str) -> SourceRow:
        """
        A source, new or in its next version.

        Raises:
            MalformedEffectError: The document describes none.
        """
        account = build_account(document)
        return self._shelf.add_source(ledger, account.source.name, document, by)

    def preview(
        self, ledger: str, source: str, data: bytes, controls: Sequence[Control] = ()
    ) -> Preview:
        """
        What a file would become; nothing is kept.

        Raises:
            NotFoundError: No such source.
            TooLargeError: The file is over the limit.
        """
        account = build_account(self._shelf.source(ledger, source).document)
        reading = _read(data, account, controls)
        rows = list(line_rows(reading, source))
        known = self._shelf.known(ledger, [row.line for row in rows])
        return Preview(
            status=reading.status.value,
            document=self._document(ledger, source, reading, "this file"),
            lines=len(rows),
            added=sum(row.line not in known for row in rows),
            first=[row.document for row in rows[:PREVIEW_LINES]],
        )

    def receive(
        self,
        ledger: str,
        source: str,
        data: bytes,
        *,
        filename: str,
        by: str,
        controls: Sequence[Control] = (),
        tell: Tell = lambda _step, _done: None,
    ) -> tuple[ImportRow, bool]:
        """
        Read a file and keep it.

        Returns:
            The import, and whether this file had come before: then it is that one.

        Raises:
            NotFoundError: No such source.
            TooLargeError: The file is over the limit.
            OverloadedError: Another file of this source is being read.
        """
        stored = self._shelf.source(ledger, source)
        account = build_account(stored.document)
        digest = hashlib.sha256(data).hexdigest()
        # Two files that overlap are read one after the other.
        with self.holds.hold(f"recon/{ledger}/{source}"):
            tell("reading", 0)
            reading = _read(data, account, controls)
            before = self._same_file(ledger, stored, digest, reading)
            if before is not None:
                return before, True
            rows = list(line_rows(reading, source))
            known = self._shelf.known(ledger, [row.line for row in rows])
            row = ImportRow(
                id=str(uuid4()),
                source=source,
                source_version=stored.version,
                filename=filename[:255],
                sha256=digest,
                status=reading.status.value,
                document=self._document(ledger, source, reading, filename),
                lines=len(rows),
                added=sum(each.line not in known for each in rows),
                received_at=datetime.now(UTC),
                received_by=by,
            )
            self._shelf.add_import(ledger, row, data, rows, lambda done: tell("lines", done))
        return self._shelf.find_import(ledger, row.id), False

    def override(self, ledger: str, import_id: str, *, by: str, reason: str) -> str:
        """
        Let a quarantined file count; returns the id of the decision.

        Raises:
            NotFoundError: No such import.
            BreakError: It is not quarantined, or counts already.
        """
        row = self._shelf.find_import(ledger, import_id)
        if row.status != ReadingStatus.QUARANTINED:
            raise BreakError(
                f"the import is {row.status}: only a quarantined one waits for a reviewer",
                status=row.status,
            )
        if row.id in self.counting_among(ledger, [row]):
            raise BreakError("the import counts already by an earlier decision", status=row.status)
        document = {"import": row.id, "sha256": row.sha256, "reason": reason}
        return self._decisions.decide(ledger, OVERRIDE, document, by=by)

    def discard(
        self,
        ledger: str,
        import_id: str,
        *,
        by: str,
        reason: str,
        superseded_by: str | None = None,
    ) -> str:
        """
        Set a quarantined file aside; returns the id of the decision.

        It is kept, counts for nothing, and no statement waits for it any more. An `override` may
        still take that back, as this takes back one of those.

        Args:
            ledger: Its name.
            import_id: The file.
            by: Principal.
            reason: Why, in words.
            superseded_by: The import that says what this one should have said.

        Raises:
            NotFoundError: No such import, or none that supersedes it.
            BreakError: It is not quarantined, is set aside already, or what is to supersede it is
                of another source or does not count itself.
        """
        row = self._shelf.find_import(ledger, import_id)
        if row.status != ReadingStatus.QUARANTINED:
            raise BreakError(
                f"the import is {row.status}: only a quarantined one can be discarded",
                status=row.status,
            )
        ruling = self.rulings_among(ledger, [row]).get(row.id)
        if ruling is not None and ruling.act == DISCARD:
            raise BreakError(
                f"the import is discarded already, by {ruling.made_by}", status=row.status
            )
        document = {"import": row.id, "sha256": row.sha256, "reason": reason}
        if superseded_by is not None:
            better = self._shelf.find_import(ledger, superseded_by)
            if better.source != row.source or not self.counting_among(ledger, [better]):
                raise BreakError(
                    f"import {better.id} does not supersede this one: it must be of source "
                    f"{row.source}, and count",
                    status=better.status,
                )
            document |= {"superseded_by": better.id, "superseded_by_sha256": better.sha256}
        return self._decisions.decide(ledger, DISCARD, document, by=by)

    def rulings_among(self, ledger: str, rows: Sequence[ImportRow]) -> dict[str, DecisionRow]:
        """What was decided last about those of these imports that are quarantined, by id."""
        waiting = [row.id for row in rows if row.status == ReadingStatus.QUARANTINED]
        return self._shelf.rulings(ledger, waiting) if waiting else {}

    def counting_among(self, ledger: str, rows: Sequence[ImportRow]) -> set[str]:
        """Ids of those of these imports that count: accepted, or overridden by a decision."""
        rulings = self.rulings_among(ledger, rows)
        return {row.id for row in rows if counts(row, rulings)}

    def counting(self, ledger: str, sources: Sequence[str] | None = None) -> list[ImportRow]:
        """The imports that count, in the order they came."""
        return counting_imports(self._shelf, ledger, sources)

    def _same_file(
        self, ledger: str, stored: SourceRow, digest: str, reading: Reading
    ) -> ImportRow | None:
        for row in self._shelf.same_files(ledger, stored.name, digest):
            read_otherwise = (
                row.source_version != stored.version
                or row.document["parser"] != reading.parser
                or row.status != reading.status.value
            )
            # What was refused before is read anew by other settings; what was taken, never.
            if row.status != ReadingStatus.ACCEPTED and read_otherwise:
                continue
            return row
        return None

    def _document(
        self, ledger: str, source: str, reading: Reading, filename: str
    ) -> dict[str, Any]:
        statements = [statement_document(each) for each in reading.statements]
        new = list(known_statements(source, filename, statements))
        codes = Counter(finding.code.value for finding in reading.findings)
        return {
            "format": reading.format,
            "version": reading.version,
            "parser": reading.parser,
            "findings": [
                {
                    "severity": finding.severity.value,
                    "code": finding.code.value,
                    "locator": finding.locator,
                    "message": finding.message,
                }
                for finding in reading.findings[:FINDINGS_MAX]
            ],
            "finding_counts": dict(sorted(codes.items())),
            "statements": statements,
            "continuity": [
                {"code": each.code, "day": each.day.isoformat(), "message": each.message}
                for each in find_breaks([*statements_of(self.counting(ledger, [source])), *new])
            ],
        }


def counting_imports(
    shelf: Shelf, ledger: str, sources: Sequence[str] | None = None
) -> list[ImportRow]:
    """The imports of these sources, or of all, that count: in the order they came."""
    rulings = shelf.rulings(ledger)
    return [
        row
        for row in shelf.imports(ledger)
        if (sources is None or row.source in sources) and counts(row, rulings)
    ]


def waiting_imports(
    shelf: Shelf, ledger: str, sources: Sequence[str], days: tuple[date, date]
) -> list[ImportRow]:
    """
    The imports of these sources that wait for a reviewer, as far as they speak of these days.

    One that does not say where its days end may speak of any beyond.
    """
    rulings = shelf.rulings(ledger)
    found = [
        row
        for row in shelf.imports(ledger)
        if row.source in sources
        and row.status == ReadingStatus.QUARANTINED
        and row.id not in rulings
    ]
    booked = shelf.booked(ledger, [row.id for row in found]) if found else {}
    return [row for row in found if speaks_of(row, booked.get(row.id, ()), days)]


def speaks_of(row: ImportRow, booked: Sequence[date], days: tuple[date, date]) -> bool:
    """
    Whether a statement of a file, or its lines, may be about any of these days.

    Each statement is judged alone. The days of its lines bound it only where no line may be
    missing; where nothing bounds it, it may be about any day.

    Args:
        row: The file.
        booked: First and last day of its lines; empty without lines.
        days: First and last, inclusive.
    """
    lacks_lines = not LINES_MISSING.isdisjoint(row.document["finding_counts"])
    spans = [_span_of(each, lacks_lines) for each in row.document["statements"]]
    if booked:
        spans.append((min(booked), max(booked)))
    return any(first <= days[1] and days[0] <= last for first, last in spans)


def _span_of(statement: Mapping[str, Any], lacks_lines: bool) -> tuple[date, date]:
    names = ("stated_from", "stated_to") if lacks_lines else ("period_from", "period_to")
    first, last = (statement.get(name) for name in names)
    return (
        date.fromisoformat(first) if first else date.min,
        date.fromisoformat(last) if last else date.max,
    )


def counts(row: ImportRow, rulings: Mapping[str, DecisionRow]) -> bool:
    """Whether an import counts, by what was decided last about those that are quarantined."""
    if row.status != ReadingStatus.QUARANTINED:
        return row.status == ReadingStatus.ACCEPTED
    return row.id in rulings and rulings[row.id].act == OVERRIDE


def statements_of(rows: Sequence[ImportRow]) -> list[Known]:
    """The booked statements of imports."""
    return [
        statement
        for row in rows
        for statement in known_statements(row.source, row.filename, row.document["statements"])
    ]


def _read(data: bytes, account: Account, controls: Sequence[Control]) -> Reading:
    if len(data) > FILE_BYTES_MAX:
        raise TooLargeError(
            f"the file is over the limit of {FILE_BYTES_MAX} bytes",
            limit=FILE_BYTES_MAX,
            unit="bytes",
        )
    return read_statement(data, account.source, controls)

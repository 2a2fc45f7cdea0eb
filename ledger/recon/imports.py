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
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ledger.errors import BreakError, TooLargeError
from ledger.recon.account import Account, build_account
from ledger.recon.continuity import find_breaks
from ledger.recon.decisions import Decisions
from ledger.recon.holds import Holds
from ledger.recon.reading import read_statement
from ledger.recon.shelf import ImportRow, Shelf, SourceRow
from ledger.recon.source import Control
from ledger.recon.statement import Reading, ReadingStatus
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
        return self._decisions.decide(ledger, "override", document, by=by)

    def counting_among(self, ledger: str, rows: Sequence[ImportRow]) -> set[str]:
        """Ids of those of these imports that count: accepted, or overridden by a decision."""
        waiting = [row.id for row in rows if row.status == ReadingStatus.QUARANTINED]
        accepted = {row.id for row in rows if row.status == ReadingStatus.ACCEPTED}
        return accepted | (self._shelf.overridden(ledger, waiting) if waiting else set())

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
    overridden = _overridden(shelf, ledger)
    return [
        row
        for row in shelf.imports(ledger)
        if (sources is None or row.source in sources)
        and (row.status == ReadingStatus.ACCEPTED or row.id in overridden)
    ]


def _overridden(shelf: Shelf, ledger: str) -> set[str]:
    return {row.document["import"] for row in shelf.decisions(ledger) if row.act == "override"}


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

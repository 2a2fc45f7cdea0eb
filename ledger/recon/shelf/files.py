"""Files: what came, byte for byte, and the lines of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.types.json import Jsonb

from ledger.errors import NotFoundError
from ledger.recon.shelf.rows import FIRST, ROWS_PER_READ, Place, Rows, parts
from ledger.recon.statement_side import LineRow

_IMPORT = """
select id::text, source, source_version, filename, encode(sha256, 'hex'), status, document, lines,
    added, received_at, received_by
from recon_imports where ledger = %s
"""
SELECT_IMPORTS = f"{_IMPORT} order by received_at, id"
SELECT_IMPORT = f"{_IMPORT} and id = %s::uuid"
SELECT_SAME = f"{_IMPORT} and source = %s and sha256 = %s order by received_at, id"
# One statement for each index that such a list is read by.
# The column, not the text that is shown of it, is what an index has in order.
_PAGE = """
and (received_at, id) > (%(at)s, %(id)s::uuid)
order by received_at, recon_imports.id limit %(limit)s
"""
_ALL = _IMPORT.replace("%s", "%(ledger)s")
SELECT_PAGE = f"{_ALL} {_PAGE}"
SELECT_PAGE_OF_SOURCE = f"{_ALL} and source = %(source)s {_PAGE}"
SELECT_PAGE_IN_STATUS = f"{_ALL} and status = %(status)s {_PAGE}"
SELECT_PAGE_OF_BOTH = f"{_ALL} and source = %(source)s and status = %(status)s {_PAGE}"
SELECT_CONTENT = "select content from recon_imports where ledger = %s and id = %s::uuid"
INSERT_IMPORT = """
insert into recon_imports (ledger, id, source, source_version, filename, sha256, content, status,
    document, lines, added, received_by)
values (%s, %s, %s, %s, %s, %s, %b, %s, %s, %s, %s, %s)
"""
SELECT_BOOKED = """
select import::text, min(booked), max(booked) from recon_lines
where ledger = %s and import = any(%s::uuid[]) group by import
"""
COPY_LINES = "copy recon_lines (ledger, import, ordinal, line, said, booked, document) from stdin"
SELECT_LINES = """
select import::text, ordinal, line, said, document from recon_lines
where ledger = %s and import = %s::uuid and ordinal > %s order by ordinal limit %s
"""
SELECT_KNOWN = """
select distinct line from recon_lines l where ledger = %s and line = any(%s)
    and exists (select from recon_imports i where i.ledger = l.ledger and i.id = l.import)
"""


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


class Files(Rows):
    """The rows of imports and of their lines."""

    def imports(self, ledger: str) -> list[ImportRow]:
        """All imports, in the order they came."""
        return [_row(row) for row in self._rows(SELECT_IMPORTS, (ledger,))]

    def page_of_imports(
        self,
        ledger: str,
        *,
        source: str | None = None,
        status: str | None = None,
        after: Place = FIRST,
        limit: int,
    ) -> list[ImportRow]:
        """Imports after a place, in the order they came: all, or of one source or status."""
        selects = {
            (False, False): SELECT_PAGE,
            (True, False): SELECT_PAGE_OF_SOURCE,
            (False, True): SELECT_PAGE_IN_STATUS,
            (True, True): SELECT_PAGE_OF_BOTH,
        }
        asked = {
            "ledger": ledger,
            "source": source,
            "status": status,
            "at": after.at,
            "id": after.id,
            "limit": limit,
        }
        select = selects[source is not None, status is not None]
        return [_row(row) for row in self._rows(select, asked)]

    def same_files(self, ledger: str, source: str, sha256: str) -> list[ImportRow]:
        """The imports of one source that have these bytes, in the order they came."""
        asked = (ledger, source, bytes.fromhex(sha256))
        return [_row(row) for row in self._rows(SELECT_SAME, asked)]

    def find_import(self, ledger: str, import_id: str) -> ImportRow:
        """
        One import.

        Raises:
            NotFoundError: There is none with this id.
        """
        found = self._by_id(SELECT_IMPORT, (ledger, import_id), import_id)
        if not found:
            raise NotFoundError(f"ledger {ledger} has no import {import_id[:63]}", ledger=ledger)
        return _row(found[0])

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
        for part in parts(names):
            found |= {name for (name,) in self._rows(SELECT_KNOWN, (ledger, part))}
        return found

    def booked(self, ledger: str, imports: Iterable[str]) -> dict[str, tuple[date, date]]:
        """First and last day on which lines of these imports are booked; none without lines."""
        rows = self._rows(SELECT_BOOKED, (ledger, list(imports)))
        return {import_id: (first, last) for import_id, first, last in rows}

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
            for part in parts(lines):
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
    ) -> Iterator[tuple[int, str, bytes, Mapping[str, Any]]]:
        """(ordinal, name, hash of what it says, document) of the lines of an import, in order."""
        left = limit
        while left is None or left > 0:
            asked = ROWS_PER_READ if left is None else min(left, ROWS_PER_READ)
            page = self._rows(SELECT_LINES, (ledger, import_id, after, asked))
            for _, ordinal, name, said, document in page:
                yield ordinal, name, said, document
            if len(page) < asked:
                return
            after = page[-1][1]
            left = None if left is None else left - len(page)


def _row(row: Sequence[Any]) -> ImportRow:
    names = (
        *("id", "source", "source_version", "filename", "sha256", "status", "document"),
        *("lines", "added", "received_at", "received_by"),
    )
    return ImportRow(**dict(zip(names, row, strict=True)))

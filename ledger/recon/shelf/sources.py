"""Sources: accounts at providers and banks, in versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from ledger.errors import NotFoundError, PushbackError
from ledger.recon.shelf.rows import Rows

SELECT_SOURCES = """
select distinct on (name) name, version, document, created_at, created_by
from recon_sources where ledger = %s order by name, version desc
"""
SELECT_SOURCE = """
select name, version, document, created_at, created_by
from recon_sources where ledger = %s and name = %s order by version desc limit 1
"""
INSERT_SOURCE = """
insert into recon_sources (ledger, name, version, document, created_by) values (%s, %s, %s, %s, %s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """The newest version of a source."""

    name: str
    version: int
    document: Mapping[str, Any]
    created_at: datetime
    created_by: str


class Sources(Rows):
    """The rows of sources."""

    def sources(self, ledger: str) -> list[SourceRow]:
        """The newest version of each source, by name."""
        return [_row(row) for row in self._rows(SELECT_SOURCES, (ledger,))]

    def source(self, ledger: str, name: str) -> SourceRow:
        """
        The newest version of one source.

        Raises:
            NotFoundError: There is none of this name.
        """
        newest = self._newest(ledger, name)
        if newest is None:
            raise NotFoundError(f"ledger {ledger} has no source {name[:63]}", ledger=ledger)
        return newest

    def add_source(self, ledger: str, name: str, document: Mapping[str, Any], by: str) -> SourceRow:
        """The next version of a source; the same document again is no new one."""
        newest = self._newest(ledger, name)
        if newest is not None and newest.document == document:
            return newest
        version = 1 if newest is None else newest.version + 1
        with self._connection() as connection:
            try:
                connection.execute(INSERT_SOURCE, (ledger, name, version, Jsonb(document), by))
            except psycopg.errors.UniqueViolation as error:
                raise PushbackError("somebody else saves this source: try again") from error
        return self.source(ledger, name)

    def _newest(self, ledger: str, name: str) -> SourceRow | None:
        found = self._rows(SELECT_SOURCE, (ledger, name))
        return _row(found[0]) if found else None


def _row(row: Sequence[Any]) -> SourceRow:
    name, version, document, at, by = row
    return SourceRow(name=name, version=version, document=document, created_at=at, created_by=by)

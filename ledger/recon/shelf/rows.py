"""Rows: how the shelf speaks to the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import psycopg
from sqlalchemy import Engine

from ledger.forms.grammar import UUID
from ledger.storage.database import driver_connection

ROWS_PER_WRITE = 5_000
"""A part of what is written takes a few hundred milliseconds."""
ROWS_PER_READ = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a list goes on: after the row of this time and id."""

    at: datetime
    id: str


FIRST = Place(at=datetime.min.replace(tzinfo=UTC), id="00000000-0000-0000-0000-000000000000")
"""Before every row."""


class Rows:
    """Rows of one database."""

    def __init__(self, engine: Engine) -> None:
        """Keep rows through connections of `engine`, which has the rights of the writer."""
        self._engine = engine

    def _by_id(self, statement: str, parameters: Sequence[Any], id_: str) -> list[Any]:
        """The rows of one id; none where it is not in the form of one."""
        return self._rows(statement, parameters) if UUID.fullmatch(id_) else []

    def _rows(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _write(self, statement: str, parameters: Sequence[Any]) -> int:
        with self._connection() as connection:
            return connection.execute(statement, parameters).rowcount

    def _connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return driver_connection(self._engine)


def parts(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """The rows in parts that are written one after the other."""
    several = iter(rows)
    while part := list(islice(several, ROWS_PER_WRITE)):
        yield part

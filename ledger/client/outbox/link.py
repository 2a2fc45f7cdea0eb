"""
Link: one connection to the service's own database, whoever made it, spoken to in one way.

Statements name their values `:so`. What they say is for `table`. Drivers are not imported here
unless the caller's connection is theirs: a service installs only the one it uses.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, cast

from ledger.errors import SettingsError
from ledger.forms.timestamps import format_time

Dialect = Literal["postgresql", "sqlite"]
Values = Mapping[str, Any]

TAKEN = (
    "a psycopg Connection, a sqlite3 Connection, or a Connection or Session of SQLAlchemy; of an "
    "asynchronous one use `await connection.run_sync(...)`"
)

_VALUE = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


class Link(ABC):
    """One connection, of whoever opened it: nothing is committed here."""

    dialect: Dialect
    connection: Any
    """As its driver has it."""

    @abstractmethod
    def rows(self, statement: str, values: Values) -> list[tuple[Any, ...]]:
        """Execute it; the rows it gives, none where it gives none."""

    @abstractmethod
    def require_transaction(self) -> None:
        """
        Refuse a connection on which each statement would be committed by itself.

        Raises:
            SettingsError: It is such a connection.
        """

    def now(self) -> datetime:
        """The wall clock that this database goes by."""
        return datetime.now(UTC)


class OwnLink(Link):
    """A connection of a kind that a relay may have for itself."""

    holds: Any = None
    """What must live as long."""

    @abstractmethod
    def each(self, statement: str, values: Sequence[Values]) -> None:
        """Execute it for each of `values`, in order."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Commit what the block does, or nothing where it raises."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""


class PsycopgLink(OwnLink):
    """A connection of psycopg 3."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def rows(self, statement: str, values: Values) -> list[tuple[Any, ...]]:
        """As `Link`, whatever rows the caller's own cursors make."""
        with self._cursor() as cursor:
            cursor.execute(_VALUE.sub(r"%(\1)s", statement), values)
            found: list[tuple[Any, ...]] = list(cursor) if cursor.description is not None else []
            return found

    def each(self, statement: str, values: Sequence[Values]) -> None:
        """As `OwnLink`, in one trip."""
        with self._cursor() as cursor:
            cursor.executemany(_VALUE.sub(r"%(\1)s", statement), values)

    def require_transaction(self) -> None:
        """As `Link`."""
        from psycopg.pq import TransactionStatus

        status = self.connection.info.transaction_status
        if self.connection.autocommit and status == TransactionStatus.IDLE:
            raise _no_transaction("with connection.transaction(): ...")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `Link`."""
        with self.connection.transaction():
            yield

    def now(self) -> datetime:
        """The server's clock: relays of several hosts go by one."""
        [(now,)] = self.rows("select clock_timestamp()", {})
        return cast("datetime", now)

    def close(self) -> None:
        """As `Link`."""
        self.connection.close()

    def _cursor(self) -> Any:
        from psycopg.rows import tuple_row

        return self.connection.cursor(row_factory=tuple_row)


class SqliteLink(OwnLink):
    """A connection of the standard library."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, values: Values) -> list[tuple[Any, ...]]:
        """As `Link`, whatever rows the caller's own cursors make."""
        cursor = self.connection.cursor()
        cursor.row_factory = None
        found: list[tuple[Any, ...]] = cursor.execute(statement, _as_text(values)).fetchall()
        return found

    def each(self, statement: str, values: Sequence[Values]) -> None:
        """As `Link`."""
        self.connection.executemany(statement, [_as_text(each) for each in values])

    def require_transaction(self) -> None:
        """As `Link`."""
        if self.connection.in_transaction:
            return
        # Python 3.12 has the attribute; -1 is what was there before.
        mode = getattr(self.connection, "autocommit", -1)
        if mode is True or (mode == -1 and self.connection.isolation_level is None):
            raise _no_transaction('connection.execute("begin immediate")')

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `OwnLink`. The one writer of the file, from the beginning on."""
        self.connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    def close(self) -> None:
        """As `Link`."""
        self.connection.close()


class AlchemyLink(Link):
    """A connection of SQLAlchemy, over whatever driver speaks PostgreSQL or SQLite."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.dialect = connection.dialect.name
        if self.dialect not in ("postgresql", "sqlite"):
            raise SettingsError(f"the outbox is for PostgreSQL and SQLite, not {self.dialect}")

    def rows(self, statement: str, values: Values) -> list[tuple[Any, ...]]:
        """As `Link`."""
        result = self.connection.execute(_text(statement), self._fit(values))
        return [tuple(row) for row in result] if result.returns_rows else []

    def require_transaction(self) -> None:
        """As `Link`."""
        if self.dialect == "sqlite":
            # Whoever begins with the first statement has begun by then.
            self.rows("select 1", {})
        driver = self.connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            SqliteLink(driver).require_transaction()
        elif getattr(driver, "autocommit", False):
            raise _no_transaction("with engine.begin() as connection: ...")

    def _fit(self, values: Values) -> Values:
        return _as_text(values) if self.dialect == "sqlite" else values


def link_to(connection: Any) -> Link:
    """
    A link over a connection that the caller opened, and goes on to own.

    Raises:
        SettingsError: Nothing of which we know how to speak to it.
    """
    if isinstance(connection, sqlite3.Connection):
        return SqliteLink(connection)
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(connection).__mro__}
    if "psycopg.Connection" in kinds or "psycopg.connection.Connection" in kinds:
        return PsycopgLink(connection)
    if "sqlalchemy.engine.base.Connection" in kinds:
        return AlchemyLink(connection)
    if kinds & {"sqlalchemy.orm.session.Session", "sqlalchemy.orm.scoping.scoped_session"}:
        return AlchemyLink(connection.connection())
    raise SettingsError(f"the outbox takes {TAKEN}; this is a {type(connection).__qualname__}")


def _text(statement: str) -> Any:
    from sqlalchemy import text

    return text(statement)


def _as_text(values: Values) -> Values:
    """The same, times as text: SQLite has no type for them, and these sort as they should."""
    return {
        name: format_time(value) if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _no_transaction(begin: str) -> SettingsError:
    return SettingsError(
        "the connection commits each statement by itself, so the effect would be there whether "
        f"or not the business transaction commits; begin one first: {begin}"
    )

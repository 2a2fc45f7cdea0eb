"""
Link: one connection to the service's own database, whoever made it, spoken to in one way.

Statements name their values `:so`. What they say is for `table`. Drivers are not imported here
unless the caller's connection is theirs: a service installs only the one it uses.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, cast
from urllib.parse import unquote

from ledger.errors import DatabaseUnavailableError, SettingsError
from ledger.forms.timestamps import format_time

Dialect = Literal["postgresql", "sqlite"]
Values = Mapping[str, Any]

TAKEN = (
    "a psycopg Connection, a sqlite3 Connection, or a Connection or Session of SQLAlchemy; of an "
    "asynchronous one use `await connection.run_sync(...)`"
)
# A relay that is frozen inside a transaction gives its locks back after this.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT_S = 5
# SQLite has one writer at a time, and transactions of services may be slow.
SQLITE_TURN_TIMEOUT_S = 10.0

_VALUE = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


class Link(ABC):
    """One connection. Nothing is committed here unless `transaction` began it."""

    dialect: Dialect
    connection: Any
    """As its driver has it."""
    holds: Any = None
    """What must live as long."""

    @abstractmethod
    def rows(self, statement: str, values: Values) -> list[tuple[Any, ...]]:
        """Execute it; the rows it gives, none where it gives none."""

    @abstractmethod
    def each(self, statement: str, values: Sequence[Values]) -> None:
        """Execute it for each of `values`, in order."""

    @abstractmethod
    def require_transaction(self) -> None:
        """
        Refuse a connection on which each statement would be committed by itself.

        Raises:
            SettingsError: It is such a connection.
        """

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block did; of a connection that `opener` opened."""
        raise NotImplementedError

    def now(self) -> datetime:
        """The wall clock that this database goes by."""
        return datetime.now(UTC)

    def close(self) -> None:
        """Give the connection back."""
        raise NotImplementedError


class PsycopgLink(Link):
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
        """As `Link`, in one trip."""
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


class SqliteLink(Link):
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
        """As `Link`. The one writer of the file, from the beginning on."""
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

    def each(self, statement: str, values: Sequence[Values]) -> None:
        """As `Link`."""
        self.connection.execute(_text(statement), [self._fit(each) for each in values])

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


def opener(database: Any) -> Callable[[], Link]:
    """
    What opens links of a relay's own, as often as it has to connect anew.

    Args:
        database: A URL (`postgresql://...`, `sqlite:////path`), an Engine of SQLAlchemy over
            psycopg or SQLite, or a function that returns a new connection of one of the two.

    Raises:
        SettingsError: None of these.
    """
    if isinstance(database, str):
        return _url_opener(database)
    if hasattr(database, "raw_connection"):
        return lambda: _own_of_pool(database)
    if callable(database):
        return lambda: _own(database())
    raise SettingsError(
        "a relay takes the URL of the service's database, an Engine of SQLAlchemy, or a function "
        f"that returns a new connection; this is a {type(database).__qualname__}"
    )


def dialect_of(url: str) -> Dialect:
    """
    Which database a URL names.

    Raises:
        SettingsError: None of the two.
    """
    scheme, _, rest = url.partition("://")
    # As SQLAlchemy spells it, with the driver behind a plus.
    dialect = scheme.partition("+")[0]
    if dialect == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        return "sqlite"
    if dialect in ("postgresql", "postgres") and rest:
        return "postgresql"
    raise SettingsError(
        "the URL of the service's database must be postgresql://USER@HOST/NAME, or "
        "sqlite:///relative/path or sqlite:////absolute/path"
    )


def _url_opener(url: str) -> Callable[[], Link]:
    rest = url.partition("://")[2]
    if dialect_of(url) == "sqlite":
        path = unquote(rest[1:])
        return lambda: _own(sqlite3.connect(path))
    return lambda: _own(_connect(f"postgresql://{rest}"))


def _connect(url: str) -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise SettingsError(
            "PostgreSQL is spoken to with psycopg, which is not installed: "
            "pip install 'psycopg[binary]'"
        ) from error
    try:
        return psycopg.connect(
            url, connect_timeout=CONNECT_TIMEOUT_S, application_name="effect-ledger relay"
        )
    except psycopg.ProgrammingError as error:
        raise SettingsError(f"the URL of the service's database: {error}") from error


def _own_of_pool(engine: Any) -> Link:
    """A link over a connection that its pool never gets back: its mode is another."""
    pooled = engine.raw_connection()
    link = _own(pooled.driver_connection)
    pooled.detach()
    # What the pool made of it closes it when it is forgotten.
    link.holds = pooled
    return link


def _own(connection: Any) -> Link:
    """A link over a connection that nobody else uses."""
    link = link_to(connection)
    if isinstance(link, SqliteLink):
        connection.isolation_level = None
        connection.execute(f"pragma busy_timeout = {int(SQLITE_TURN_TIMEOUT_S * 1000)}")
    elif isinstance(link, PsycopgLink):
        connection.autocommit = True
        # The order in which rows are taken is decided on what is committed by then.
        connection.isolation_level = None
        connection.execute(
            "set default_transaction_isolation = 'read committed';"
            f" set idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS};"
            " set synchronous_commit = on"
        )
    else:
        raise SettingsError("a relay needs a connection of psycopg or sqlite3")
    return link


@contextmanager
def database_errors() -> Iterator[None]:
    """
    Turn what a driver raises of a database that is away into the error that says so.

    Raises:
        DatabaseUnavailableError: It does not answer, or its lock could not be had.
        SettingsError: The outbox is not there, or may not be used.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise _no_table() from error
        raise DatabaseUnavailableError("the service's database does not answer") from error
    except Exception as error:
        if not type(error).__module__.startswith("psycopg"):
            raise
        state = getattr(error, "sqlstate", None)
        if state == "42P01":
            raise _no_table() from error
        if state == "42501":
            raise SettingsError(f"the relay may not do that in the database: {error}") from error
        names = {kind.__name__ for kind in type(error).__mro__}
        if not names & {"OperationalError", "InterfaceError"}:
            raise
        raise DatabaseUnavailableError("the service's database does not answer") from error


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


def _no_table() -> SettingsError:
    return SettingsError(
        "there is no table effect_ledger_outbox in this database: make it with "
        "`effect-ledger relay --create`, `outbox.create(connection)`, or your own migration of "
        "`effect-ledger relay --ddl`"
    )

"""Opening: connections of a relay's own, and what drivers raise of a database that is away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from ledger.client.outbox.link import Dialect, OwnLink, PsycopgLink, SqliteLink, link_to
from ledger.errors import DatabaseUnavailableError, SettingsError

# A relay that is frozen inside a transaction gives its locks back after this.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT_S = 5
# SQLite has one writer at a time, and transactions of services may be slow.
SQLITE_TURN_TIMEOUT_S = 10.0


def opener(database: Any) -> Callable[[], OwnLink]:
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


def _url_opener(url: str) -> Callable[[], OwnLink]:
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


def _own_of_pool(engine: Any) -> OwnLink:
    """A link over a connection that its pool never gets back: its mode is another."""
    pooled = engine.raw_connection()
    link = _own(pooled.driver_connection)
    pooled.detach()
    # What the pool made of it closes it when it is forgotten.
    link.holds = pooled
    return link


def _own(connection: Any) -> OwnLink:
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


def _no_table() -> SettingsError:
    return SettingsError(
        "there is no table effect_ledger_outbox in this database: make it with "
        "`effect-ledger relay --create`, `outbox.create(connection)`, or your own migration of "
        "`effect-ledger relay --ddl`"
    )

"""
Database: how processes connect, and as whom.

A connection string says where; the role says with which rights. On the embedded server
the role is the user itself; on a database of yours the login is a member of the role.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ledger.errors import DatabaseUnavailableError, OverloadedError

logger = logging.getLogger(__name__)

OWNER = "effect_ledger_owner"
WRITER = "effect_ledger_writer"
READER = "effect_ledger_reader"
ERASER = "effect_ledger_eraser"

# A reader that takes longer has lost its index; nothing here scans without chunks.
STATEMENT_TIMEOUT_MS = 30_000
# A process frozen between two statements gives the head back to the others after this.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
CONNECT_TIMEOUT_S = 5
# Readers read in the order of an index, and mostly not to its end. Where statistics are old or
# several filters hold, reading a whole ledger and sorting it would look cheaper to the planner.
READ_BY_INDEX = "set enable_seqscan = off; set enable_bitmapscan = off"

Conninfo = Callable[[str], str]
"""Role -> libpq connection string that ends up with the rights of that role."""


def connect(conninfo: Conninfo, role: str) -> psycopg.Connection[Any]:
    """
    A connection with the rights of `role`, in autocommit mode.

    Raises:
        DatabaseUnavailableError: The server does not answer or refuses us.
    """
    try:
        connection = psycopg.connect(
            conninfo(role),
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            prepare_threshold=2,
            application_name="effect-ledger",
        )
        _become(connection, role)
    except psycopg.errors.InsufficientPrivilege as error:
        # As with the owner's URL in place of the service's; the cause names both roles.
        raise DatabaseUnavailableError("the database gives this login too few rights") from error
    except psycopg.Error as error:
        raise DatabaseUnavailableError("the database does not answer") from error
    return connection


def engine(conninfo: Conninfo, role: str, *, pool_size: int = 8) -> Engine:
    """A pool of connections with the rights of `role`, for SQLAlchemy Core."""
    pool = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(conninfo, role),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        isolation_level="AUTOCOMMIT",
        # Values may be a person's; they never reach a log or a traceback.
        hide_parameters=True,
    )
    event.listen(pool, "checkout", _check_alive)
    return pool


def _check_alive(driver: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """
    Refuse a connection whose server is gone, without asking the server.

    A server that ends says so, and closes: its side can be read though nothing was asked. One
    that vanished without a word is found out by the statement that follows.
    """
    asked = select.poll()
    if not driver.closed:
        asked.register(driver.fileno(), select.POLLIN)
    if driver.closed or asked.poll(0):
        raise DisconnectionError("the server closed the connection")


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn a lost or refused connection into the error that says what to do about it."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailableError("the database does not answer") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailableError("the database does not answer") from error
        raise


@contextmanager
def pool_connection(pool: Engine) -> Iterator[Connection]:
    """
    A connection of the pool.

    Raises:
        OverloadedError: All are busy for longer than a request waits.
        DatabaseUnavailableError: The server does not answer, also within the block.
    """
    try:
        with database_errors(), pool.connect() as connection:
            yield connection
    except PoolTimeoutError as error:
        raise OverloadedError("all connections to the database are busy") from error


@contextmanager
def driver_connection(pool: Engine) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the pool as the driver has it: rows of bytes need no layer above."""
    try:
        pooled = pool.raw_connection()
        try:
            driver: Any = pooled.driver_connection
            yield driver
        finally:
            pooled.close()
    except PoolTimeoutError as error:
        raise OverloadedError("all connections to the database are busy") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnavailableError("the database does not answer") from error


def _become(connection: psycopg.Connection[Any], role: str) -> None:
    if connection.info.user != role:
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    connection.execute("set search_path = effect_ledger, pg_catalog")
    if role == READER:
        connection.execute(READ_BY_INDEX)
    connection.execute("set timezone = 'UTC'; set datestyle = 'ISO'")
    connection.execute("set synchronous_commit = on")
    connection.execute(f"set statement_timeout = {STATEMENT_TIMEOUT_MS}")
    connection.execute(
        f"set idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}"
    )

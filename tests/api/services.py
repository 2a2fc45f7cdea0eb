"""Services with a database of their own, by whatever they speak to it with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy.orm import Session

from ledger.client import outbox


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service: business of its own, and an outbox beside it."""

    transaction: Callable[[], AbstractContextManager[Any]]
    """A connection in a transaction that the end of the block commits, an exception rolls back."""
    by_itself: Callable[[], Any]
    """A connection that commits each statement by itself."""
    database: Any
    """What a relay is told."""
    dialect: str

    def add(self, key: str, effect: Any, *, ledger: str) -> outbox.Added:
        """Add one effect, in a transaction of its own."""
        with self.transaction() as connection:
            return outbox.add(connection, effect, key=key, ledger=ledger)

    def status(self) -> dict[str, Any]:
        """What is in the outbox."""
        with self.transaction() as connection:
            return outbox.status(connection)


def psycopg_service(conninfo: str) -> Service:
    """With psycopg alone."""

    @contextmanager
    def transaction() -> Iterator[Any]:
        with psycopg.connect(conninfo) as connection:
            yield connection

    return Service(
        transaction=transaction,
        by_itself=lambda: psycopg.connect(conninfo, autocommit=True),
        database=lambda: psycopg.connect(conninfo),
        dialect="postgresql",
    )


def sqlite_service(path: Path) -> Service:
    """With the standard library alone."""

    @contextmanager
    def transaction() -> Iterator[Any]:
        connection = sqlite3.connect(path)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    return Service(
        transaction=transaction,
        by_itself=lambda: sqlite3.connect(path, isolation_level=None),
        database=f"sqlite:///{path}",
        dialect="sqlite",
    )


def alchemy_service(engine: sqlalchemy.Engine, *, session: bool) -> Service:
    """With a Connection or a Session of SQLAlchemy."""

    @contextmanager
    def transaction() -> Iterator[Any]:
        if session:
            with Session(engine) as opened, opened.begin():
                yield opened
        else:
            with engine.begin() as connection:
                yield connection

    return Service(
        transaction=transaction,
        by_itself=lambda: engine.connect().execution_options(isolation_level="AUTOCOMMIT"),
        database=engine,
        dialect=engine.dialect.name,
    )

"""One PostgreSQL, and as many empty databases in it as the tests of the schema ask for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.storage.database import OWNER
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.schema import migrate
from tests.integration.commands import passable_directory

NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database of the server."""

    name: str
    server: Callable[[str], str]

    def conninfo(self, role: str) -> str:
        return make_conninfo(self.server(role), dbname=self.name)

    def url(self, role: str) -> str:
        """As EFFECT_LEDGER_DATABASE_URL spells it."""
        parts = psycopg.conninfo.conninfo_to_dict(self.server(role))
        return f"postgresql://{role}@/{self.name}?host={parts['host']}&port={parts['port']}"

    def as_superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.conninfo(SUPERUSER), autocommit=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Callable[[str], str]]:
    with passable_directory() as base, open_server(base / "data") as running:
        yield running.conninfo


@pytest.fixture(scope="session")
def make_empty(server) -> Callable[[], Database]:
    def make() -> Database:
        name = f"empty_{next(NUMBERS)}"
        with psycopg.connect(server(SUPERUSER), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} owner {} template template0").format(
                    sql.Identifier(name), sql.Identifier(OWNER)
                )
            )
        return Database(name=name, server=server)

    return make


@pytest.fixture
def empty(make_empty) -> Database:
    """A database nobody has migrated."""
    return make_empty()


@pytest.fixture(scope="session")
def migrated(make_empty) -> Database:
    """A database with the newest schema, for tests that only read it."""
    database = make_empty()
    migrate(database.conninfo)
    return database


@pytest.fixture(scope="session")
def catalog(migrated) -> Iterator[psycopg.Connection]:
    """What PostgreSQL itself says about that schema."""
    with migrated.as_superuser() as connection:
        yield connection

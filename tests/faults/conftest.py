"""One ledger to attack, and a superuser who does it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from ledger.storage.database import WRITER, Conninfo
from ledger.storage.database import engine as make_engine
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.verify import Finding
from tests.faults.attacks import Attacked, first_findings, recorded, superuser
from tests.integration.commands import migrated_database


@pytest.fixture(scope="session")
def conninfo() -> Iterator[Conninfo]:
    with migrated_database() as made:
        yield made


@pytest.fixture(scope="session")
def attacked(conninfo, tmp_path_factory) -> Iterator[Attacked]:
    with recorded(conninfo, tmp_path_factory.mktemp("attacked")) as built:
        yield built


@pytest.fixture(scope="session")
def as_superuser(conninfo) -> Iterator[psycopg.Connection]:
    with superuser(conninfo, SUPERUSER) as connection:
        yield connection


@pytest.fixture(scope="session")
def findings(attacked, as_superuser) -> dict[str, Finding | None]:
    """Every attack, and what finds it: each is made once, for all laws about them."""
    return dict(first_findings(as_superuser, attacked))


@pytest.fixture(scope="session")
def engine(conninfo) -> Iterator[Engine]:
    writer = make_engine(conninfo, WRITER, pool_size=4)
    yield writer
    writer.dispose()

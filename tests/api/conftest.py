"""The service as clients meet it: a real server on loopback over the real database."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.door import Door
from ledger.cli.answering import KEEP_ALIVE_S
from ledger.service import Service, open_service
from ledger.settings import read_settings
from ledger.storage.embedded import attach
from ledger.storage.embedded.cluster import SUPERUSER
from tests.api.desk import SOURCE, Desk
from tests.api.support import Api
from tests.integration.commands import free_port, settled_directory

LEDGERS = itertools.count()
STARTS_WITHIN_S = 10.0


@pytest.fixture(scope="session")
def engine() -> Iterator[Service]:
    with settled_directory() as base:
        settings = read_settings({"EFFECT_LEDGER_DATA_DIR": str(base / "data")})
        with open_service(settings) as service:
            service.prepare()
            yield service


@pytest.fixture(scope="session")
def database(engine) -> Iterator[psycopg.Connection[Any]]:
    """The database behind the service, as its superuser sees it."""
    server = attach(engine.settings.data_dir)
    assert server is not None
    with psycopg.connect(server.conninfo(SUPERUSER), autocommit=True) as connection:
        connection.execute("set search_path = effect_ledger")
        yield connection


@pytest.fixture
def table_counts(database) -> Callable[[], dict[str, int]]:
    """How many rows each table of the service has."""
    tables = database.execute(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname like 'effect_ledger%'"
    ).fetchall()
    assert len(tables) > 10

    def count() -> dict[str, int]:
        return {
            table: database.execute(f"select count(*) from {table}").fetchone()[0]
            for (table,) in tables
        }

    return count


@pytest.fixture(scope="session")
def app(engine) -> FastAPI:
    return create_app(engine)


@contextmanager
def started(app: FastAPI, **words: Any) -> Iterator[uvicorn.Server]:
    """A server of `app` on loopback, which stops with the block or when it is told to."""
    config = uvicorn.Config(app, port=free_port(), log_config=None, access_log=False, **words)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    began = time.monotonic()
    while not server.started:
        assert time.monotonic() - began < STARTS_WITHIN_S
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def http(app) -> Iterator[httpx.Client]:
    words = {"server_header": False, "timeout_keep_alive": KEEP_ALIVE_S}
    with (
        started(app, http=Door, **words) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.config.port}", timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def _key(engine) -> str:
    return str(engine.credentials.create("tester", ["*"]).key)


@pytest.fixture
def api(engine, http, _key) -> Api:
    """A fresh ledger, and a key for everything."""

    def make_key(*scopes: str, principal: str = "tester", ledgers: Any = None) -> str:
        return str(engine.credentials.create(principal, scopes, ledgers).key)

    record = engine.registry.create_ledger(f"api-{next(LEDGERS)}")
    return Api(http=http, ledger=record.name, token=_key, make_key=make_key)


@pytest.fixture
def preparer(api: Api) -> Desk:
    scopes = ("recon:prepare", "effects:write", "refunds:write", "entries:read")
    desk = Desk(api.with_key(*scopes, principal="fin"))
    desk.post("sources", **SOURCE)
    return desk


@pytest.fixture
def reviewer(api: Api) -> Desk:
    return Desk(api.with_key("recon:review", principal="ben"))

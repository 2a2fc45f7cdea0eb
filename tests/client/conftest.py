"""The service that clients are tried against: the one of `tests/api`, on a real socket."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ledger.client import Client, RetryBudget
from tests.api.conftest import (  # noqa: F401 - fixtures are found by their names here.
    _key,
    app,
    database,
    engine,
    http,
    table_counts,
)

LEDGERS = itertools.count()


@pytest.fixture
def ledger(engine) -> str:  # noqa: F811
    """A fresh ledger."""
    return str(engine.registry.create_ledger(f"client-{next(LEDGERS)}").name)


@pytest.fixture
def service(http, _key, ledger) -> dict[str, Any]:  # noqa: F811
    """Where the ledger is, and a key for everything."""
    return {"url": str(http.base_url), "key": _key, "ledger": ledger}


@pytest.fixture
def client(service) -> Iterator[Client]:
    with Client(**service, budget=RetryBudget()) as client:
        yield client

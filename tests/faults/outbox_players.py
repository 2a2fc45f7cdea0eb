"""
The processes that the crash test kills: a service with an outbox, a relay, and the ledger.

Each runs what its user would run, with everything imported before.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg

import api.app  # noqa: F401 - what `serve` imports when it starts.
import ledger.service  # noqa: F401
from ledger.cli.main import main
from ledger.client import outbox
from ledger.client.outbox.__main__ import main as outbox_main

SUBJECTS = [f"order/{number}" for number in range(12)]
PAUSE_MAX_S = 0.04
ROLLED_BACK, TWO_SUBJECTS, REFUNDED = 0.1, 0.2, 0.3


def play(part: Callable[..., None], arguments: tuple[Any, ...], said: str) -> None:
    """The life of one process: what it says goes to a file."""
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    part(*arguments)


def serve(arguments: list[str], environment: Mapping[str, str]) -> None:
    """`effect-ledger serve`."""
    os.environ.update(environment)
    sys.argv = ["effect-ledger", *arguments]
    main()


def relay(arguments: list[str], environment: Mapping[str, str]) -> None:
    """`python -m ledger.client.outbox`."""
    os.environ.update(environment)
    sys.exit(outbox_main(arguments))


class RolledBackError(Exception):
    """The business did not come about."""


def service(kind: str, where: str, name: str, seed: str) -> None:
    """
    Business in a database of its own, and effects beside it.

    Each row of its business says which one of the subject it saw before it, so that others can
    judge the order.
    """
    chance = random.Random(seed)
    begin = sqlite_transaction if kind == "sqlite" else postgresql_transaction
    mark = "?" if kind == "sqlite" else "%s"
    while True:
        # Two transactions that take the same subjects take them in one order.
        subjects = sorted(chance.sample(SUBJECTS, 1 + (chance.random() < TWO_SUBJECTS)))
        with contextlib.suppress(RolledBackError), begin(where) as connection:
            for subject in subjects:
                do_business(connection, mark, subject, name, chance)
            if chance.random() < ROLLED_BACK:
                raise RolledBackError
        time.sleep(chance.random() * PAUSE_MAX_S)


def do_business(connection: Any, mark: str, subject: str, ledger: str, chance: Any) -> None:
    seen = connection.execute(
        f"select key, kind from business where subject = {mark} order by id desc limit 1",
        (subject,),
    ).fetchone()
    key = str(uuid.uuid4())
    effect = {
        "kind": "effect",
        "type": "card.capture",
        "occurred_at": "2026-03-02T09:15:00Z",
        "subject": subject,
        "money": {"amount": "100.00", "currency": "EUR", "flow": "in"},
    }
    if seen is not None and seen[1] == "effect" and chance.random() < REFUNDED:
        effect |= {
            "kind": "refund",
            "type": "card.refund",
            "corrects_key": seen[0],
            "reason": "customer.request",
            "money": {"amount": "1.00", "currency": "EUR", "flow": "out"},
        }
    outbox.add(connection, effect, key=key, ledger=ledger)
    connection.execute(
        f"insert into business (subject, key, kind, seen) values ({', '.join([mark] * 4)})",
        (subject, key, effect["kind"], seen and seen[0]),
    )


@contextlib.contextmanager
def postgresql_transaction(where: str) -> Iterator[Any]:
    with psycopg.connect(where) as connection:
        yield connection


@contextlib.contextmanager
def sqlite_transaction(where: str) -> Iterator[Any]:
    connection = sqlite3.connect(where, isolation_level=None, timeout=30)
    try:
        connection.execute("begin immediate")
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
    finally:
        connection.close()

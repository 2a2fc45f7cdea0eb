"""
Running: a relay put together with the client that posts, in this thread or in one of its own.

Where the ledger is and with which key comes from EFFECT_LEDGER_URL and EFFECT_LEDGER_KEY, unless
the caller says it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

from ledger.client.client import Client
from ledger.client.outbox.link import OwnLink
from ledger.client.outbox.opening import database_errors, opener
from ledger.client.outbox.relay import Relay, RelayThread
from ledger.client.outbox.sending import Ledger
from ledger.client.receipt_store import ReceiptStore
from ledger.client.retry import Retry
from ledger.errors import SettingsError

URL_VARIABLE = "EFFECT_LEDGER_URL"
KEY_VARIABLE = "EFFECT_LEDGER_KEY"
DATABASE_VARIABLE = "EFFECT_LEDGER_OUTBOX_URL"
DEFAULT_URL = "http://127.0.0.1:8420"

LEASE_S = 30.0
LEASE_MIN_S = 2.0
# Two requests of one turn, the second begun at the latest moment, are answered within the lease.
ATTEMPT_SHARE = 0.25


def start_relay(
    database: Any,
    *,
    url: str | None = None,
    key: str | None = None,
    receipts: ReceiptStore | None = None,
    vkey: str | Sequence[str] | None = None,
    lease_s: float = LEASE_S,
    keep: timedelta | None = None,
) -> RelayThread:
    """
    Hand off the outbox from a thread of this process, until it is stopped or the process ends.

    Every process of a service may run one. `with start_relay(...)` stops it in order.

    Args:
        database: As for `open_relay`, and so is all else.
        url: Of the ledger's service.
        key: API key.
        receipts: Where receipts are kept besides the outbox.
        vkey: Verifier keys of the ledgers.
        lease_s: How long rows are kept from other relays.
        keep: How long rows that were handed off are kept.

    Raises:
        SettingsError: As `open_relay`.
    """
    return RelayThread(
        open_relay(
            database, url=url, key=key, receipts=receipts, vkey=vkey, lease_s=lease_s, keep=keep
        )
    )


def open_relay(
    database: Any,
    *,
    url: str | None = None,
    key: str | None = None,
    receipts: ReceiptStore | None = None,
    vkey: str | Sequence[str] | None = None,
    lease_s: float = LEASE_S,
    keep: timedelta | None = None,
) -> Relay:
    """
    A relay of the outbox in `database`; nothing is opened or sent yet.

    Args:
        database: URL of the service's database (`postgresql://...`, `sqlite:////path`), an Engine
            of SQLAlchemy over psycopg or SQLite, or a function that returns a new connection of
            psycopg or sqlite3.
        url: Of the ledger's service; EFFECT_LEDGER_URL where it is not given.
        key: API key with the scopes of what is handed off, and `entries:read` to look up keys of
            which an answer was lost; EFFECT_LEDGER_KEY where not given.
        receipts: Where receipts are kept once they are proved, beside the row of each.
        vkey: Verifier keys of the ledgers that you trust; without, those of `receipts`, or what
            a ledger says itself.
        lease_s: How long rows are kept from other relays; what a killed one had waits so long.
        keep: Rows that were handed off are deleted when they were added longer ago; None keeps
            them for ever.

    Raises:
        SettingsError: There is no key, or the database is none of these.
    """
    if lease_s < LEASE_MIN_S:
        raise SettingsError(f"a lease is at least {LEASE_MIN_S:g} s, for an answer to come in")
    where = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    known = key or os.environ.get(KEY_VARIABLE)
    if not known:
        raise SettingsError(f"set {KEY_VARIABLE} to an API key that may write what is handed off")

    def open_ledger(name: str) -> Ledger:
        # Sent once each time: when to send again is decided here, by the rows.
        retry = Retry(tries=1, attempt_s=lease_s * ATTEMPT_SHARE)
        return Client(where, key=known, ledger=name, receipts=receipts, vkey=vkey, retry=retry)

    return Relay(open_link=opener(database), open_ledger=open_ledger, lease_s=lease_s, keep=keep)


def run_until_signalled(relay: Relay) -> None:
    """
    Hand off until SIGTERM or SIGINT; the batch that is under way is settled first.

    Raises:
        LedgerError: As `Relay.run`.
    """
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        relay.run(stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def connected(database: Any) -> Iterator[Any]:
    """
    A connection of its own in one transaction, which the end of the block commits.

    Raises:
        DatabaseUnavailableError: It does not answer.
        SettingsError: The database is none that is known here, or the outbox is not there.
    """
    open_link: Callable[[], OwnLink] = opener(database)
    with database_errors():
        link = open_link()
        try:
            with link.transaction():
                yield link.connection
        finally:
            link.close()

"""
Command: what `effect-ledger relay` and `python -m ledger.client.outbox` do, and what they tell.

How it is asked for and printed is for the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ledger.client.outbox.adding import create
from ledger.client.outbox.opening import dialect_of
from ledger.client.outbox.running import LEASE_S, connected, open_relay, run_until_signalled
from ledger.client.outbox.standing import release, status, withdraw
from ledger.client.outbox.table import DDL
from ledger.client.receipt_store import DirectoryReceipts
from ledger.errors import SettingsError
from ledger.forms.timestamps import parse_span

GOOD = 0
ROWS_REFUSED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for; without `once` and what follows it, to run until a signal."""

    database: str
    once: bool = False
    status: bool = False
    create: bool = False
    ddl: bool = False
    release: Sequence[str] = ()
    withdraw: Sequence[str] = ()
    reason: str | None = None
    ledger: str | None = None
    receipts: Path | None = None
    vkey: Sequence[str] = ()
    lease_s: float = LEASE_S
    keep: str | None = None
    """A span such as 30d."""


def perform(wanted: Wanted) -> tuple[int, dict[str, Any]]:
    """
    Do it.

    Returns:
        Exit code, and what there is to tell: `ddl`; `created`; `released` and `withdrawn`; the
        status of the outbox, beside the counts of a relay that came to its end.

    Raises:
        LedgerError: The ledger or the database does not answer, or what is asked for is wrong.
    """
    if wanted.ddl:
        return GOOD, {"ddl": DDL[dialect_of(wanted.database)]}
    if wanted.create:
        with connected(wanted.database) as connection:
            create(connection)
        return GOOD, {"created": True}
    if wanted.release or wanted.withdraw:
        return GOOD, _decide(wanted)
    if wanted.status:
        return _standing(wanted.database, {})
    return _run(wanted)


def _decide(wanted: Wanted) -> dict[str, Any]:
    if wanted.reason is None:
        raise SettingsError("say with --reason why it is released or withdrawn")
    # All of them, or none.
    with connected(wanted.database) as connection:
        for key in wanted.release:
            release(connection, key, reason=wanted.reason, ledger=wanted.ledger)
        for key in wanted.withdraw:
            withdraw(connection, key, reason=wanted.reason, ledger=wanted.ledger)
    return {"released": list(wanted.release), "withdrawn": list(wanted.withdraw)}


def _run(wanted: Wanted) -> tuple[int, dict[str, Any]]:
    relay = open_relay(
        wanted.database,
        receipts=None if wanted.receipts is None else DirectoryReceipts(wanted.receipts),
        vkey=wanted.vkey or None,
        lease_s=wanted.lease_s,
        keep=None if wanted.keep is None else _span(wanted.keep),
    )
    if not wanted.once:
        run_until_signalled(relay)
    elif (failure := relay.drain()) is not None:
        raise failure
    counts = ("handed_off", "replayed", "parked", "failures")
    code, told = _standing(wanted.database, {"run": {name: relay.counts[name] for name in counts}})
    # Who is told to end did so; how the outbox is doing is for --status to judge.
    return (code if wanted.once else GOOD), told


def _standing(database: str, more: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    with connected(database) as connection:
        found = status(connection)
    return (ROWS_REFUSED if found["parked"] else GOOD), {**more, **found}


def _span(text: str) -> timedelta:
    span = parse_span(text)
    if span is None:
        raise SettingsError("--keep must be a time such as 90s, 30m, 12h or 30d")
    return span

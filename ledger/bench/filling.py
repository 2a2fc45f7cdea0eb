"""
Filling: large ledgers of believable entries, written as a poster would have, only faster.

Every filter finds something: many entries where a page must be far from the first, few where
a value is rare. The same size gives the same entries, but for ids and times of recording.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.effect import Rules, build_effect
from ledger.errors import LedgerError
from ledger.service import Service
from ledger.submission import Posting, Recorded, Submission

BATCH = 1_000
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

PRINCIPALS = ("billing", "checkout", "returns", "shop", "support")
TYPES = ("card.capture", "email.sent", "invoice.issued", "payout.sent")
CURRENCIES = ("EUR", "USD", "JPY")
HOT_EVERY = 32
"""One entry of so many carries each of the values that a far page is looked for under."""
CORRECTED_EVERY = 16
REFUNDED_EVERY = 20
"""One entry of so many refunds the effect three before it."""

HOT = {
    "subject": "order/hot",
    "label": "shop:berlin",
    "evidence": "bank:statement-7",
    "cause": "workflow:nightly",
}
"""Filters whose values one entry in `HOT_EVERY` has, or more."""


def members(number: int) -> dict[str, Any]:
    """The members of effect `number`; its entry has about 600 bytes."""
    hot = number % HOT_EVERY == 0
    currency = CURRENCIES[number % len(CURRENCIES)]
    amount = str(1_000 + number % 5_000) if currency == "JPY" else f"{10 + number % 90}.99"
    document: dict[str, Any] = {
        "kind": "effect",
        "type": TYPES[number % len(TYPES)],
        "key": f"fill-{number}",
        "occurred_at": (BEGAN + timedelta(seconds=number)).isoformat(),
        "subject": HOT["subject"] if hot else f"order/{number // 3}",
        "actor": {"id": f"worker-{number % 50}", "kind": "service"},
        "money": {"amount": amount, "currency": currency, "flow": "in"},
        "evidence": [{"system": "psp", "rel": "transaction", "ref": f"ch_{number:x}"}],
    }
    if hot:
        document["labels"] = {"shop": "berlin"}
        document["causes"] = [{"kind": "workflow", "ref": "nightly"}]
        document["evidence"] += [{"system": "bank", "rel": "bank_line", "ref": "statement-7"}]
    if number % 10 == 1:
        document["business_key"] = f"invoice/{number}"
    if number and number % CORRECTED_EVERY == 0:
        # All of one entry: a long list of what corrects it.
        return _correction(document, "explanation", "fill-0")
    if number > REFUNDED_EVERY and (number - 5) % REFUNDED_EVERY == 0:
        return _correction(document, "refund", f"fill-{number - 3}")
    return document


def _correction(document: dict[str, Any], kind: str, target: str) -> dict[str, Any]:
    document |= {"kind": kind, "corrects_key": target, "reason": "customer.request"}
    if kind == "explanation":
        del document["money"]
    else:
        document["money"] = {**document["money"], "flow": "out"}
        number = int(target.removeprefix("fill-"))
        document["money"]["currency"] = CURRENCIES[number % len(CURRENCIES)]
        document["money"]["amount"] = "1" if document["money"]["currency"] == "JPY" else "0.01"
    return document


def submissions(rules: Rules, start: int, stop: int) -> Iterator[Submission]:
    """Effects `start` to `stop`, ready to be posted."""
    now = datetime.now(UTC)
    for number in range(start, stop):
        yield Submission(effect=build_effect(members(number), rules=rules, now=now))


def fill(
    service: Service,
    ledger: str,
    size: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> None:
    """
    Bring a ledger to at least `size` entries; one that is as large already is left alone.

    Args:
        service: Whose appender is used; nobody else should write this ledger meanwhile.
        ledger: Made where it is not there.
        size: Entries.
        progress: Told how many there are, of how many.

    Raises:
        LedgerError: An item was refused: the ledger holds something else already.
    """
    record = service.registry.create_ledger(ledger)
    principals = itertools.cycle(PRINCIPALS)
    done = service.reader.size(ledger)
    while done < size:
        stop = min(size, done + BATCH)
        posting = Posting(
            ledger=ledger,
            principal=next(principals),
            submissions=tuple(submissions(record.rules, done, stop)),
            with_receipts=False,
        )
        [outcomes] = service.appender.append(ledger, [posting])
        for outcome in outcomes:
            if not isinstance(outcome, Recorded):
                raise LedgerError(f"{ledger} cannot be filled: {outcome.message}")
        done = stop
        progress(done, size)

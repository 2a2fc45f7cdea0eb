"""The ledger's side as items that `effect-ledger import` takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from ledger.forms.money import exponent, format_amount
from ledger.forms.timestamps import format_time
from ledger.recon.synthetic.world import Told

REASONS = {"refund": "customer.request", "adjustment": "provider.report"}


def items(told: Iterable[Told]) -> Iterator[bytes]:
    """One JSON object per line, originals before what corrects them."""
    for each in sorted(told, key=lambda each: each.at):
        yield orjson.dumps(_item(each)) + b"\n"


def _item(told: Told) -> dict[str, Any]:
    decimals = exponent(told.currency, {})
    # An adjustment is signed within the flow of what it corrects: a failed refund is less out.
    adjusts = told.kind == "adjustment"
    amount = -told.amount if adjusts else abs(told.amount)
    flow = "out" if told.kind == "refund" or adjusts else "in"
    item: dict[str, Any] = {
        "kind": told.kind,
        "key": told.key,
        "type": told.type,
        "occurred_at": format_time(told.at),
        "money": {
            "amount": format_amount(amount, decimals),
            "currency": told.currency,
            "flow": flow,
        },
        "labels": {"provider": told.provider, "synthetic": "true"},
    }
    if told.order:
        item["labels"]["merchant_ref"] = told.order
    if told.ref:
        item["evidence"] = [{"system": told.provider, "rel": "transaction", "ref": told.ref}]
    if told.corrects:
        item |= {"corrects_key": told.corrects, "reason": REASONS[told.kind]}
    return item

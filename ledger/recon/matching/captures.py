"""
Captures: a payment of which only a part was captured, told in two lines by the provider.

The authorised amount and the part that was never captured come to what the ledger recorded.
The second line is no refund, whatever its type says.
"""

from __future__ import annotations

from collections import defaultdict

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.item import Item, Side
from ledger.recon.matching.link import Verdict
from ledger.recon.statement import LineKind


def match_captures(desk: Desk) -> None:
    """Settle payments that differ by exactly what was not captured. Part of pass 2."""
    reversals: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in desk.open(Side.PROVIDER):
        if item.kind is LineKind.PARTIAL_CAPTURE_REVERSAL:
            for ref in dict.fromkeys([item.original_id, *item.ids]):
                if ref is not None:
                    reversals[item.account, ref].append(item)
    if not reversals:
        return
    for at, link in enumerate(list(desk.links)):
        if link.verdict is not Verdict.AMOUNT_DIFFERS:
            continue
        lines = [item for item in link.items if item.kind is LineKind.PAYMENT]
        if len(lines) != len(link.items):
            continue
        parts = {
            item.key: item
            for line in link.side(Side.PROVIDER)
            for ref in line.ids
            for item in desk.still_open(reversals.get((line.account, ref), ()))
        }
        told = sum(item.amount for item in link.side(Side.LEDGER))
        found = sum(item.amount for item in [*link.side(Side.PROVIDER), *parts.values()])
        if parts and told == found:
            desk.extend_link(
                at,
                parts.values(),
                verdict=Verdict.EQUAL,
                reason=f"{link.reason}; equal with what was not captured",
            )

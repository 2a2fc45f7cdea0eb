"""
Reversals: a movement and the one that takes it back, both on the same side.

Pass 5. Only what nothing on the other side answers to: a refund that the ledger knows is
matched with its line before, and the line of its failure stays open, as it should.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.item import Item, Side
from ledger.recon.matching.link import Verdict
from ledger.recon.statement import LineKind

RULE = "5 cancelling pair"

TAKEN_BACK_BY: Mapping[LineKind, LineKind] = {
    LineKind.REFUND: LineKind.REFUND_FAILED,
    LineKind.CHARGEBACK: LineKind.CHARGEBACK_REVERSED,
    LineKind.PAYOUT: LineKind.PAYOUT_FAILED,
    LineKind.PAYMENT: LineKind.PAYMENT_REVERSED,
}
"""Kind -> the kind that takes it back."""

_REVERSING = frozenset(TAKEN_BACK_BY.values())
_MIRRORED = frozenset({LineKind.RESERVE, LineKind.INTERNAL_TRANSFER})
"""Kinds in which a movement and its opposite have the same name."""

Key = tuple[Side, str, str, str, LineKind, int]


def pair_reversals(desk: Desk, *, payouts: Collection[str] | None = None) -> None:
    """
    Pass 5: one movement and one reversal of one id and amount; or the same number of both.

    Args:
        desk: What is open.
        payouts: None for all but payouts; else the keys of the payouts that are looked at, once
            the bank was asked for them.
    """
    firsts: dict[Key, list[Item]] = defaultdict(list)
    seconds: dict[Key, list[Item]] = defaultdict(list)
    for item in desk.open(Side.LEDGER, Side.PROVIDER):
        is_payout = item.kind in {LineKind.PAYOUT, LineKind.PAYOUT_FAILED}
        if is_payout if payouts is None else item.key not in payouts:
            continue
        for kind, ref, is_second in _roles(item):
            key = (item.side, item.account, item.currency, ref, kind, abs(item.amount))
            (seconds if is_second else firsts)[key].append(item)
    for key in sorted(firsts.keys() & seconds.keys()):
        first, second = desk.still_open(firsts[key]), desk.still_open(seconds[key])
        if first and len(first) == len(second) and not sum(x.amount for x in first + second):
            desk.link(
                [*first, *second],
                rule=RULE,
                verdict=Verdict.CANCELS,
                reason=f"{key[3]}: {key[4].value} and what took it back",
            )


def pair_conversions(desk: Desk) -> None:
    """The halves of a currency conversion: one id, money out in one currency, in in another."""
    halves: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in desk.open(Side.PROVIDER):
        if item.kind is LineKind.CONVERSION:
            for ref in (item.original_id, *item.ids):
                if ref is not None:
                    halves[item.provider or "", ref].append(item)
    for key in sorted(halves):
        items = desk.still_open(halves[key])
        signs = {item.amount > 0 for item in items}
        if len(items) > 1 and len({item.currency for item in items}) > 1 and len(signs) > 1:
            desk.link(
                items,
                rule=RULE,
                verdict=Verdict.CONVERTED,
                reason=f"{key[1]}: the halves of one conversion",
            )


def _roles(item: Item) -> list[tuple[LineKind, str, bool]]:
    """(kind of the first, common id, whether this is the second): what it may be half of."""
    refs = item.ids or ((item.original_id,) if item.original_id else ())
    if item.kind in _MIRRORED:
        return [(item.kind, ref, item.amount > 0) for ref in refs]
    if item.kind in TAKEN_BACK_BY:
        return [(item.kind, ref, False) for ref in refs]
    if item.kind in _REVERSING:
        first = next(kind for kind, second in TAKEN_BACK_BY.items() if second is item.kind)
        # Some providers name the movement that is taken back, some give both one id.
        named = (*refs, item.original_id) if item.original_id else refs
        return [(first, ref, True) for ref in dict.fromkeys(named)]
    return []

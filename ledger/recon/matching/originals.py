"""
Originals: what was given back of one payment, on both sides.

Pass 4. For refunds and chargebacks whose own id one side does not hold, while both name the
payment. What holds an id of its own on both sides is another movement, and stays out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.identifiers import compare_sums, family
from ledger.recon.matching.item import Item, Side
from ledger.recon.matching.link import Verdict

Key = tuple[str, str, str, str]

RULE = "4 original payment"


def match_originals(desk: Desk) -> None:
    """Pass 4: equal amounts of one payment first, then sums; the rest of it differs."""
    told = _by_original(desk, Side.LEDGER)
    found = _by_original(desk, Side.PROVIDER)
    for key in sorted(told.keys() & found.keys()):
        ours, theirs = told[key], found[key]
        if any(item.ids for item in ours) and any(item.ids for item in theirs):
            ours = [item for item in ours if not item.ids]
            theirs = [item for item in theirs if not item.ids]
        if ours and theirs:
            _match(desk, key[1], ours, theirs)


def _by_original(desk: Desk, side: Side) -> Mapping[Key, list[Item]]:
    found: dict[Key, list[Item]] = defaultdict(list)
    for item in desk.open(side):
        if item.original_id is not None and item.provider is not None:
            key = (item.provider, item.original_id, family(item.kind).value, item.currency)
            found[key].append(item)
    return found


def _match(desk: Desk, original: str, ours: list[Item], theirs: list[Item]) -> None:
    for amount in sorted({item.amount for item in ours} & {item.amount for item in theirs}):
        here = [item for item in ours if item.amount == amount]
        there = [item for item in theirs if item.amount == amount]
        if len(here) == len(there):
            _link(desk, here, there, Verdict.EQUAL, f"both of {original}, same amount")
        else:
            says = f"of {original}: {len(here)} in the ledger, {len(there)} in statements"
            _link(desk, here, there, Verdict.DUPLICATE, says)
    ours, theirs = desk.still_open(ours), desk.still_open(theirs)
    if ours and theirs:
        if compare_sums(ours, theirs):
            _link(desk, ours, theirs, Verdict.EQUAL, f"all of {original}, equal in sum")
        else:
            _link(desk, ours, theirs, Verdict.AMOUNT_DIFFERS, f"all of {original}, another sum")


def _link(
    desk: Desk, ours: Iterable[Item], theirs: Iterable[Item], verdict: Verdict, reason: str
) -> None:
    desk.link([*ours, *theirs], rule=RULE, verdict=verdict, reason=reason)

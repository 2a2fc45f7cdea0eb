"""
References: both sides hold the merchant's own reference, and no id says otherwise.

Pass 3 (same amount), and what one reference links although the amounts differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.identifiers import UNNAMED, family
from ledger.recon.matching.item import Item, Side
from ledger.recon.matching.link import Strength, Verdict
from ledger.recon.matching.pairing import Pairing, pair
from ledger.recon.matching.rules import Rules

Bucket = tuple[list[Item], list[Item]]


def match_references(desk: Desk, rules: Rules) -> None:
    """Pass 3: same reference, kind, currency and amount; unique on both sides, in the window."""
    for told, found in _by_reference(desk, with_amount=True):
        for mine, line in pair(told, found, rules, by_ref=True).pairs:
            desk.link(
                [mine, line],
                rule="3 merchant reference",
                verdict=Verdict.EQUAL,
                reason=f"same reference {mine.merchant_ref}, same amount, {days_apart(mine, line)}",
            )


def link_references(desk: Desk, rules: Rules) -> None:
    """One open item on each side under a reference, in the window, with another amount."""
    for told, found in _by_reference(desk, with_amount=False):
        for mine, line in pair(told, found, rules, by_ref=True).pairs:
            if len(told) == len(found) == 1 and mine.amount != line.amount:
                desk.link(
                    [mine, line],
                    rule="3 merchant reference, other amount",
                    verdict=Verdict.AMOUNT_DIFFERS,
                    reason=f"same reference {mine.merchant_ref}, another amount",
                )


def set_aside_undecided(desk: Desk, rules: Rules) -> None:
    """What one reference and amount link in more than one way: one set, all candidates in it."""
    for told, found in _by_reference(desk, with_amount=True):
        _set_aside(desk, pair(told, found, rules, by_ref=True), "same reference and amount")


def suggest_by_amount(desk: Desk, rules: Rules) -> None:
    """
    Pass 8: amount, currency, kind and window, unique on both sides: no more than a suggestion.

    What fits in more than one way is one ambiguous set.
    """
    for told, found in _by_key(desk, _amount_key):
        pairing = pair(told, found, rules)
        for mine, line in pairing.pairs:
            common = "same reference" if mine.merchant_ref else "no reference in common"
            desk.link(
                [mine, line],
                rule="8 amount and date",
                strength=Strength.SUGGESTED,
                verdict=Verdict.EQUAL,
                reason=f"same amount, {days_apart(mine, line)}; {common}",
            )
        _set_aside(desk, pairing, "same amount, days that fit")


def days_apart(mine: Item, line: Item) -> str:
    """How far apart two items are, in words."""
    days = abs((line.day - mine.day).days)
    return "same day" if days == 0 else f"{days} day{'s' if days > 1 else ''} apart"


def normalised(ref: str) -> str:
    """A reference as it is compared: case and spaces are often not the merchant's."""
    return "".join(ref.split()).casefold()


def _by_reference(desk: Desk, *, with_amount: bool) -> Iterator[Bucket]:
    def key(item: Item) -> Hashable:
        if item.merchant_ref is None:
            return None
        amount = item.amount if with_amount else item.amount > 0
        return normalised(item.merchant_ref), item.currency, amount

    return _by_key(desk, key)


def _amount_key(item: Item) -> Hashable:
    return item.currency, item.amount


def _by_key(desk: Desk, key_of: Callable[[Item], Hashable]) -> Iterator[Bucket]:
    """
    Open items of the ledger, and lines, that have a key in common; of each what is still open.

    Lines that say what they are first, with the items of their kind; then those that do not.
    """
    for named in (True, False):

        def full_key(item: Item, named: bool = named) -> Hashable:
            key = key_of(item)
            kind = family(item.kind).value if named else ""
            return None if key is None else (kind, key)

        told: dict[Hashable, list[Item]] = defaultdict(list)
        for item in desk.open(Side.LEDGER):
            told[full_key(item)].append(item)
        found: dict[Hashable, list[Item]] = defaultdict(list)
        for item in desk.open(Side.PROVIDER, Side.BANK):
            key = full_key(item)
            if key is not None and key in told and (item.kind not in UNNAMED) is named:
                found[key].append(item)
        for key in sorted(found, key=str):
            here, there = desk.still_open(told[key]), desk.still_open(found[key])
            if here and there:
                yield here, there


def _set_aside(desk: Desk, pairing: Pairing, what: str) -> None:
    for items in pairing.undecided:
        here, there = _count(items, Side.LEDGER), len(items) - _count(items, Side.LEDGER)
        desk.link(
            items,
            rule="ambiguous",
            verdict=Verdict.AMBIGUOUS,
            reason=f"{what}: {here} of the ledger and {there} of statements are candidates",
        )


def _count(items: Iterable[Item], side: Side) -> int:
    return sum(item.side is side for item in items)

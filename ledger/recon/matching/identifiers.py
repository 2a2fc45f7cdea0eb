"""
Identifiers: both sides hold the provider's own id of the same movement.

Passes 1 (same amount) and 2 (another amount). No window: an id says more than a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.item import Item, Side
from ledger.recon.matching.link import Verdict
from ledger.recon.statement import LineKind

UNNAMED = frozenset({LineKind.MOVEMENT, LineKind.RETURNED})
"""Kinds of lines that say only that money moved: their sign must do."""

_FAMILIES: Mapping[LineKind, LineKind] = {LineKind.PAYMENT_REVERSED: LineKind.REFUND}

Name = tuple[str, str, LineKind | None]
"""Provider, its id, and the kind where that counts."""
Sides = tuple[list[Item], list[Item]]
"""Items of the ledger, lines of statements."""


def family(kind: LineKind) -> LineKind:
    """What a kind is compared as: a payment that the provider took back is money given back."""
    return _FAMILIES.get(kind, kind)


def match_identifiers(desk: Desk) -> None:
    """Passes 1 and 2."""
    for buckets in (_by_id(desk, named=True), _by_id(desk, named=False)):
        for name, sides in buckets:
            _match_equal(desk, name, *sides)
        for name, sides in buckets:
            _link_unequal(desk, name, *sides)


def _by_id(desk: Desk, *, named: bool) -> list[tuple[Name, Sides]]:
    """Items by provider, id and kind, where both sides have some; in the order of the ids."""
    both: dict[Name, Sides] = {}
    for item in desk.open(Side.LEDGER):
        if item.provider is not None:
            for ref in item.ids:
                name = (item.provider, ref, family(item.kind) if named else None)
                both.setdefault(name, ([], []))[0].append(item)
    for item in desk.open(Side.PROVIDER, Side.BANK):
        if item.provider is None or (item.kind in UNNAMED) is named:
            continue
        for ref in item.ids:
            name = (item.provider, ref, family(item.kind) if named else None)
            if name in both:
                both[name][1].append(item)
    return sorted(
        ((name, sides) for name, sides in both.items() if sides[1]),
        key=lambda each: (each[0][0], each[0][1], each[0][2] or ""),
    )


def _match_equal(desk: Desk, name: Name, told: list[Item], found: list[Item]) -> None:
    ours, theirs = _by_amount(desk, told), _by_amount(desk, found)
    for amount in sorted(ours.keys() & theirs.keys()):
        here, there = ours[amount], theirs[amount]
        if len(here) == len(there):
            verdict, says = Verdict.EQUAL, "same id, same amount"
        else:
            verdict = Verdict.DUPLICATE
            says = f"the ledger tells it {len(here)} times, statements {len(there)} times"
        desk.link(
            [*here, *there],
            rule="1 exact id",
            verdict=verdict,
            reason=f"{_named(name)}: {says}",
        )


def _by_amount(desk: Desk, items: Iterable[Item]) -> dict[tuple[str, int], list[Item]]:
    amounts: dict[tuple[str, int], list[Item]] = defaultdict(list)
    for item in desk.still_open(items):
        amounts[item.currency, item.amount].append(item)
    return amounts


def _link_unequal(desk: Desk, name: Name, told: list[Item], found: list[Item]) -> None:
    ours, theirs = desk.still_open(told), desk.still_open(found)
    if not ours or not theirs:
        return
    verdict, says = _compare(ours, theirs)
    desk.link(
        [*ours, *theirs],
        rule="2 id, other amount",
        verdict=verdict,
        reason=f"{_named(name)}: {says}",
    )


def _compare(ours: list[Item], theirs: list[Item]) -> tuple[Verdict, str]:
    if {item.currency for item in ours} != {item.currency for item in theirs}:
        if _as_the_customer_saw(theirs) == sorted((item.currency, item.amount) for item in ours):
            return Verdict.CONVERTED, "same id, same amount as the customer saw it"
        return Verdict.CURRENCY_DIFFERS, "same id, another currency"
    if compare_sums(ours, theirs):
        return Verdict.EQUAL, "same id, equal in sum"
    if sum(item.amount for item in ours) == sum(item.net for item in theirs):
        return Verdict.FEE_DIFFERS, "same id, differs by exactly the fee"
    return Verdict.AMOUNT_DIFFERS, "same id, another amount"


def compare_sums(ours: Iterable[Item], theirs: Iterable[Item]) -> bool:
    """Whether both come to the same, currency by currency."""
    balance: dict[str, int] = defaultdict(int)
    for item in ours:
        balance[item.currency] += item.amount
    for item in theirs:
        balance[item.currency] -= item.amount
    return not any(balance.values())


def _as_the_customer_saw(lines: Iterable[Item]) -> list[tuple[str, int]]:
    return sorted((item.customer_currency or "", item.customer_amount or 0) for item in lines)


def _named(name: Name) -> str:
    provider, ref, kind = name
    return f"{provider} {ref}" if kind is None else f"{provider} {ref} ({kind})"

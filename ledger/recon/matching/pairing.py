"""
Pairing: which items of two lists can only mean each other, and which sets stay undecided.

For items that hold no common id, so that days decide: an item's candidates are those of the
other side inside its window. Cost is n log n, also where a price is popular: candidates of one
item are a range of a sorted list, and ranges are counted, never walked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ledger.recon.matching.item import Item, in_order
from ledger.recon.matching.rules import Rules


@dataclass(frozen=True, slots=True)
class Traits:
    """What decides whether two items may mean the same at all."""

    provider: str | None
    has_id: bool
    ref: bool

    def may_be(self, other: Traits) -> bool:
        """
        Whether items of these traits contradict each other in nothing.

        Two that both have ids would have been matched by them: their ids differ. So it is
        with references, where these did not bring them together.
        """
        return (
            (self.provider is None or other.provider is None or self.provider == other.provider)
            and not (self.has_id and other.has_id)
            and not (self.ref and other.ref)
        )


@dataclass(frozen=True, slots=True)
class Pairing:
    """What two lists come to."""

    pairs: list[tuple[Item, Item]]
    """Each is the only candidate of the other."""
    undecided: list[list[Item]]
    """Sets of items that are candidates of each other in more than one way."""


def pair(
    told: Sequence[Item], found: Sequence[Item], rules: Rules, *, by_ref: bool = False
) -> Pairing:
    """
    Pair the ledger's items with lines that have the same amount, inside their windows.

    Args:
        told: Items of one amount, currency and kind.
        found: Lines of the same.
        rules: The windows.
        by_ref: All of them hold the same reference.
    """
    if len(told) == len(found) == 1:
        return _pair_two(told[0], found[0], rules, by_ref=by_ref)
    ours = _by_traits(told, by_ref=by_ref)
    theirs = _by_traits(found, by_ref=by_ref)
    candidates = _Candidates(len(told), len(found))
    numbers = {item.key: at for at, item in enumerate(told)}
    columns = {item.key: at for at, item in enumerate(found)}
    for mine, items in ours.items():
        for other, lines in theirs.items():
            if mine.may_be(other):
                at = [columns[line.key] for line in lines]
                candidates.add(_ranges(items, lines, rules, numbers), at)
    return candidates.decide(told, found)


def traits(item: Item, *, by_ref: bool) -> Traits:
    """What decides about `item`; a reference that is common to all decides nothing."""
    return Traits(item.provider, bool(item.ids), bool(item.merchant_ref) and not by_ref)


def _pair_two(mine: Item, line: Item, rules: Rules, *, by_ref: bool) -> Pairing:
    first, last = rules.window_days(mine)
    fits = first <= line.day <= last
    if fits and traits(mine, by_ref=by_ref).may_be(traits(line, by_ref=by_ref)):
        return Pairing([(mine, line)], [])
    return Pairing([], [])


def _by_traits(items: Sequence[Item], *, by_ref: bool) -> dict[Traits, list[Item]]:
    found: dict[Traits, list[Item]] = defaultdict(list)
    for item in sorted(items, key=in_order):
        found[traits(item, by_ref=by_ref)].append(item)
    return found


def _ranges(
    items: Sequence[Item], lines: Sequence[Item], rules: Rules, numbers: dict[str, int]
) -> list[tuple[int, int, int]]:
    """For each item, which of the lines, sorted by day, its window holds."""
    days: list[date] = [line.day for line in lines]
    ranges = []
    for item in items:
        first, last = rules.window_days(item)
        low, high = bisect_left(days, first), bisect_right(days, last)
        if low < high:
            ranges.append((low, high, numbers[item.key]))
    return ranges


class _Candidates:
    """How many candidates each item has, one of them, and who hangs together with whom."""

    def __init__(self, told: int, found: int) -> None:
        self._counts = [0] * (told + found)
        self._one = [-1] * (told + found)
        self._parent = list(range(told + found))
        self._told = told

    def add(self, ranges: Sequence[tuple[int, int, int]], at: Sequence[int]) -> None:
        """Each (low, high, item) makes lines at[low:high] candidates of an item, and it theirs."""
        cover = [0] * (len(at) + 1)
        joined = 0
        for low, high, item in sorted(ranges):
            self._counts[item] += high - low
            self._one[item] = self._told + at[low]
            cover[low] += 1
            cover[high] -= 1
            self._join(item, self._told + at[low])
            # Lines of one range hang together; each neighbour is joined once, over all ranges.
            for column in range(max(low, joined), high - 1):
                self._join(self._told + at[column], self._told + at[column + 1])
            joined = max(joined, high - 1)
        running = 0
        for column, step in enumerate(cover[:-1]):
            running += step
            self._counts[self._told + at[column]] += running

    def decide(self, told: Sequence[Item], found: Sequence[Item]) -> Pairing:
        """The pairs, and what is left undecided."""
        everything = [*told, *found]
        pairs = []
        decided = set()
        for item in range(self._told):
            line = self._one[item]
            if self._counts[item] == 1 and self._counts[line] == 1:
                pairs.append((everything[item], everything[line]))
                decided |= {item, line}
        sets: dict[int, list[Item]] = defaultdict(list)
        for at, count in enumerate(self._counts):
            if count and at not in decided:
                sets[self._root(at)].append(everything[at])
        return Pairing(pairs, list(sets.values()))

    def _join(self, one: int, other: int) -> None:
        first, second = self._root(one), self._root(other)
        if first != second:
            self._parent[max(first, second)] = min(first, second)

    def _root(self, at: int) -> int:
        while self._parent[at] != at:
            self._parent[at] = self._parent[self._parent[at]]
            at = self._parent[at]
        return at

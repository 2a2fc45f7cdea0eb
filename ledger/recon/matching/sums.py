"""
Sums: one item on one side that is the sum of several on the other, under one reference.

Pass 9, a suggestion. Bounded twice: few items at a time, and so many sums in one run, after
which it says that it gave up. Never by a clock: the same input must end the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.item import Item, Side
from ledger.recon.matching.link import Strength, Verdict
from ledger.recon.matching.references import normalised
from ledger.recon.matching.rules import Rules


def suggest_sums(desk: Desk, rules: Rules) -> int:
    """
    Pass 9.

    Returns:
        How many sets were not looked at, for their size or because the run's steps were spent.
    """
    sets: dict[tuple[str, str, bool], tuple[list[Item], list[Item]]] = defaultdict(lambda: ([], []))
    for item in desk.open(Side.LEDGER, Side.PROVIDER, Side.BANK):
        ref = item.merchant_ref or item.batch_ref
        if ref is not None:
            key = (normalised(ref), item.currency, item.amount > 0)
            sets[key][item.side is not Side.LEDGER].append(item)
    steps = rules.subset_steps
    skipped = 0
    for key in sorted(sets):
        ours, theirs = sets[key]
        if not ours or not theirs or len(ours) + len(theirs) == 2:  # noqa: PLR2004 - a pair is no sum.
            continue
        cost = len(ours) * 2 ** len(theirs) + len(theirs) * 2 ** len(ours)
        if len(ours) + len(theirs) > rules.subset_items or cost > steps:
            skipped += 1
            continue
        steps -= cost
        solutions = _solutions(ours, theirs) + _solutions(theirs, ours)
        if len(solutions) == 1:
            one, several = solutions[0]
            desk.link(
                [one, *several],
                rule="9 sum under one reference",
                strength=Strength.SUGGESTED,
                verdict=Verdict.EQUAL,
                reason=f"reference {key[0]}: one is the sum of {len(several)}, in one way only",
            )
    return skipped


def _solutions(ones: Sequence[Item], several: Sequence[Item]) -> list[tuple[Item, list[Item]]]:
    wanted: dict[int, list[Item]] = defaultdict(list)
    for one in ones:
        wanted[one.amount].append(one)
    return [
        (one, list(chosen))
        for count in range(2, len(several) + 1)
        for chosen in combinations(several, count)
        for one in wanted.get(sum(item.amount for item in chosen), ())
    ]

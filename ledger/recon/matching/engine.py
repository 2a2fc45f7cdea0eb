"""
Engine: the passes in their order, over everything that two or three sides tell.

Pure: no clock, no storage, no randomness. The same items, rules and decisions give the same
result, in whatever order they come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ledger.canonical import canonical_bytes
from ledger.recon.matching.captures import match_captures
from ledger.recon.matching.desk import Desk
from ledger.recon.matching.identifiers import compare_sums, match_identifiers
from ledger.recon.matching.item import Item, Leg, Side
from ledger.recon.matching.link import Link, Strength, Verdict
from ledger.recon.matching.originals import match_originals
from ledger.recon.matching.payouts import (
    Payout,
    build_payouts,
    match_payouts,
    payouts_that_disagree,
    suggest_payouts,
)
from ledger.recon.matching.references import (
    link_references,
    match_references,
    set_aside_undecided,
    suggest_by_amount,
)
from ledger.recon.matching.reversals import pair_conversions, pair_reversals
from ledger.recon.matching.rules import Decision, Rules
from ledger.recon.matching.sums import suggest_sums
from ledger.recon.matching.tolerances import accept_differences

ENGINE_VERSION = "1"

Tell = Callable[[str, int], None]
"""(pass that ended, links so far)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What the passes came to."""

    links: tuple[Link, ...]
    """Suggestions among them put nothing away; all others do. No item is in two of these."""
    open: tuple[Item, ...]
    """Items that nothing answers to, in order. Payouts are told apart from their lines."""
    payouts: tuple[Payout, ...]
    """All payouts; their own lines are not in `open`."""
    payouts_open: tuple[Payout, ...]
    """Those that nothing answers to."""
    unasked_sums: int
    """Sets of pass 9 that were too large to look at."""
    input_digest: str
    """SHA-256 over items, rules and decisions."""


def match(
    items: Iterable[Item],
    rules: Rules,
    decision: Decision | None = None,
    *,
    with_bank: bool = False,
    tell: Tell = lambda _pass, _links: None,
) -> Matching:
    """
    Match everything with everything, pass by pass; each sees only what is open.

    Args:
        items: Of all sides, in any order; no two have the same key.
        rules: Windows, tolerances, caps.
        decision: What people put together and took apart.
        with_bank: Whether payouts are looked for at a bank; else their lines stay open.
        tell: Told after each pass.
    """
    decision = decision or Decision()
    everything = sorted(items, key=lambda item: item.key)
    desk = Desk(everything, decision)
    payouts = build_payouts(everything)

    def ended(name: str) -> None:
        tell(name, len(desk.links))

    _put_together(desk, decision, payouts)
    ended("decisions of people")
    match_identifiers(desk)
    match_captures(desk)
    ended("passes 1 and 2: provider's ids")
    match_references(desk, rules)
    ended("pass 3: merchant's references")
    match_originals(desk)
    link_references(desk, rules)
    ended("pass 4: original payments")
    pair_reversals(desk)
    pair_conversions(desk)
    ended("pass 5: cancelling pairs")
    expected = {each.item.key for each in payouts}
    linked = {item.key for link in desk.links for item in link.items if item.key in expected}
    left = [each for each in payouts if each.item.key not in linked]
    if with_bank:
        left = match_payouts(desk, left)
        suggest_payouts(desk, left, rules)
    pair_reversals(desk, payouts={each.line.key for each in left if each.line is not None})
    left = _still_expected(desk, left, with_bank=with_bank)
    desk.links += payouts_that_disagree(left)
    left = [each for each in left if not each.is_incomplete]
    ended("passes 6 and 7: payouts at the bank")
    set_aside_undecided(desk, rules)
    suggest_by_amount(desk, rules)
    ended("pass 8: amount and date")
    unasked = suggest_sums(desk, rules)
    ended("pass 9: sums")
    accept_differences(desk, rules)
    ended("pass 10: tolerances")
    lines_of_payouts = {each.line.key for each in payouts if each.line is not None}
    return Matching(
        links=tuple(sorted(desk.links, key=lambda link: (link.rule, link.id))),
        open=tuple(item for item in desk.open(*Side) if item.key not in lines_of_payouts),
        payouts=tuple(payouts),
        payouts_open=tuple(left),
        unasked_sums=unasked,
        input_digest=_input_digest(everything, rules, decision, with_bank=with_bank),
    )


def _put_together(desk: Desk, decision: Decision, payouts: Sequence[Payout]) -> None:
    """Pass 0. A payout may be named by its own key or by that of its line."""
    by_key = {payout.item.key: payout.item for payout in payouts}
    by_line = {payout.line.key: payout.item for payout in payouts if payout.line is not None}
    for keys in sorted(decision.together, key=sorted):
        items = [desk.item(key) or by_key.get(key) for key in sorted(keys)]
        known = [item for item in items if item is not None]
        if len(known) < len(keys):
            # Part of it is not in this run; what is here is judged by the rules.
            continue
        to_bank = any(item.side is Side.BANK for item in known)
        if to_bank and not any(item.side is Side.LEDGER for item in known):
            known = [by_line.get(item.key, item) for item in known]
            leg, left = Leg.PAYOUT_TO_BANK, Side.PROVIDER
        else:
            leg, left = Leg.LEDGER_TO_STATEMENT, Side.LEDGER
        equal = compare_sums(
            [item for item in known if item.side is left],
            [item for item in known if item.side is not left],
        )
        desk.link(
            known,
            rule="0 decided",
            strength=Strength.MANUAL,
            verdict=Verdict.EQUAL if equal else Verdict.AMOUNT_DIFFERS,
            reason="put together by a person",
            leg=leg,
        )


def _still_expected(desk: Desk, payouts: Iterable[Payout], *, with_bank: bool) -> list[Payout]:
    """Without those that came back; and where no bank is asked, only those with an open line."""
    cancelled = {
        item.key for link in desk.links if link.verdict is Verdict.CANCELS for item in link.items
    }
    return [
        payout
        for payout in payouts
        if (with_bank and (payout.line is None or payout.line.key not in cancelled))
        or (payout.line is not None and desk.is_open(payout.line))
    ]


def _input_digest(
    items: Iterable[Item], rules: Rules, decision: Decision, *, with_bank: bool
) -> str:
    found = hashlib.sha256(
        canonical_bytes(
            {
                "engine": ENGINE_VERSION,
                "rules": rules.to_document(),
                "decision": decision.to_document(),
                "with_bank": with_bank,
            }
        )
    )
    for item in items:
        found.update(repr(item).encode())
    return found.hexdigest()

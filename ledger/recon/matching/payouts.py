"""
Payouts: what a provider paid out, and the line of the bank on which it arrived.

Passes 6 (the bank's line names the payout) and 7 (only amount and day fit). A payout is known
by its own line, or by the lines that name it as their batch; where there are both, they must
come to the same.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.item import Item, Leg, Side, key_of
from ledger.recon.matching.link import Link, Strength, Verdict, digest_of, ordered
from ledger.recon.matching.pairing import pair
from ledger.recon.matching.rules import Rules
from ledger.recon.statement import LineKind

PAYOUTS = frozenset({LineKind.PAYOUT, LineKind.PAYOUT_FAILED})

_WORDS = re.compile(r"[A-Za-z0-9_.-]{4,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """Money on its way from a provider to the bank, or back."""

    item: Item
    """As the bank should see it: plus is money that arrives."""
    line: Item | None
    """The provider's own line of it."""
    lines_net: int | None
    """What the lines of its batch come to; None where no line names it."""

    @property
    def is_incomplete(self) -> bool:
        """Whether its own line and the lines of its batch disagree."""
        return (
            self.line is not None
            and self.lines_net is not None
            and self.lines_net != self.item.amount
        )


def build_payouts(items: Iterable[Item]) -> list[Payout]:
    """The payouts that the lines of providers tell of, in order."""
    lines: dict[tuple[str, str, str], list[Item]] = defaultdict(list)
    own: list[Item] = []
    for item in items:
        if item.side is Side.PROVIDER and item.kind in PAYOUTS:
            own.append(item)
        elif item.side is Side.PROVIDER and item.batch_ref is not None:
            lines[item.account, item.currency, item.batch_ref].append(item)

    payouts = []
    for line in own:
        # The lines of a batch are what was paid out; what came back had none of its own.
        refs = [line.batch_ref, *line.ids] if line.kind is LineKind.PAYOUT else []
        batch = [
            lines.pop((line.account, line.currency, ref), [])
            for ref in dict.fromkeys(ref for ref in refs if ref is not None)
        ]
        members = [item for each in batch for item in each]
        payouts.append(_of_line(line, sum(item.net for item in members) if members else None))
    payouts += [_of_batch(key, members) for key, members in lines.items()]
    return sorted(payouts, key=lambda payout: (payout.item.day, payout.item.id))


def match_payouts(desk: Desk, payouts: Sequence[Payout]) -> list[Payout]:
    """
    Pass 6: the bank's line holds the payout's id or trace.

    Returns:
        The payouts that no line of the bank names.
    """
    by_word = _index(desk)
    left = []
    for payout in payouts:
        lines = {
            line.key: line
            for ref in _refs(payout.item)
            for line in by_word.get(_plain(ref), ())
            if line.currency == payout.item.currency
            and (line.amount > 0) == (payout.item.amount > 0)
            and desk.is_open(line)
        }
        exact = [line for line in lines.values() if line.amount == payout.item.amount]
        found = exact or list(lines.values())
        if not found:
            left.append(payout)
        elif len(exact) > 1:
            _link(desk, payout, found, Verdict.DUPLICATE, "the bank shows it more than once")
        elif payout.is_incomplete:
            _link(desk, payout, found, Verdict.BATCH_INCOMPLETE, _disagreement(payout))
        elif exact or sum(line.amount for line in found) == payout.item.amount:
            _link(desk, payout, found, Verdict.EQUAL, "the bank names it, same amount")
        else:
            _link(desk, payout, found, Verdict.AMOUNT_DIFFERS, "the bank names it, another amount")
    return left


def suggest_payouts(desk: Desk, payouts: Sequence[Payout], rules: Rules) -> None:
    """Pass 7: exact amount, inside the window, unique on both sides: a suggestion."""
    ours: dict[tuple[str, int], list[Item]] = defaultdict(list)
    for payout in payouts:
        # Arrival is counted from the day the money leaves, where the provider says it.
        item = replace(payout.item, day=payout.item.value_date or payout.item.day, ids=())
        ours[item.currency, item.amount].append(replace(item, provider=None, merchant_ref=None))
    theirs: dict[tuple[str, int], list[Item]] = defaultdict(list)
    for line in desk.open(Side.BANK):
        if (line.currency, line.amount) in ours:
            theirs[line.currency, line.amount].append(line)
    by_key = {payout.item.key: payout for payout in payouts}
    for key in sorted(theirs):
        for mine, line in pair(ours[key], theirs[key], rules).pairs:
            payout = by_key[mine.key]
            days = (line.day - mine.day).days
            desk.link(
                [payout.item, line],
                rule="7 payout, amount and date",
                leg=Leg.PAYOUT_TO_BANK,
                strength=Strength.SUGGESTED,
                verdict=Verdict.EQUAL,
                reason=f"same amount, {days} days after the payout; no reference in common",
            )


def payouts_that_disagree(payouts: Iterable[Payout]) -> list[Link]:
    """Payouts whose own line and whose lines come to different sums."""
    return [
        Link(
            leg=Leg.PAYOUT_TO_BANK,
            rule="6 batch",
            strength=Strength.AUTO,
            verdict=Verdict.BATCH_INCOMPLETE,
            items=ordered([payout.item]),
            reason=_disagreement(payout),
        )
        for payout in payouts
        if payout.is_incomplete
    ]


def _disagreement(payout: Payout) -> str:
    return f"paid out {payout.item.amount}, its lines come to {payout.lines_net} (minor units)"


def _of_line(line: Item, lines_net: int | None) -> Payout:
    item = replace(line, key=key_of(line.side, f"payout-{line.id}"), amount=-line.net, fee=0)
    return Payout(item=item, line=line, lines_net=lines_net)


def _of_batch(key: tuple[str, str, str], members: list[Item]) -> Payout:
    account, currency, ref = key
    last = max(members, key=lambda item: (item.value_date or item.day, item.id))
    item = Item(
        side=Side.PROVIDER,
        key=key_of(Side.PROVIDER, f"payout-{digest_of(account, currency, ref)}"),
        account=account,
        provider=last.provider,
        kind=LineKind.PAYOUT,
        amount=sum(item.net for item in members),
        currency=currency,
        day=last.day,
        value_date=last.value_date,
        ids=(ref,),
        batch_ref=ref,
        bank_ref=last.bank_ref,
    )
    return Payout(item=item, line=None, lines_net=item.amount)


def _link(desk: Desk, payout: Payout, lines: Iterable[Item], verdict: Verdict, reason: str) -> None:
    desk.link(
        [payout.item, *lines],
        rule="6 payout to bank",
        leg=Leg.PAYOUT_TO_BANK,
        verdict=verdict,
        reason=reason,
    )


def _index(desk: Desk) -> dict[str, list[Item]]:
    by_word: dict[str, list[Item]] = defaultdict(list)
    for line in desk.open(Side.BANK):
        held = [*line.ids, line.bank_ref, line.batch_ref, line.merchant_ref]
        words = {_plain(word) for word in held if word}
        words |= {_plain(word) for word in _WORDS.findall(line.text or "")}
        for word in sorted(words):
            by_word[word].append(line)
    return by_word


def _refs(item: Item) -> list[str]:
    held = [*item.ids, item.batch_ref, item.bank_ref]
    return list(dict.fromkeys(ref for ref in held if ref))


def _plain(word: str) -> str:
    # Banks print in capitals, and some drop what is neither letter nor digit.
    return "".join(letter for letter in word.casefold() if letter.isalnum())

"""
Proof: the statement that finance signs. Ledger, named differences, statement; what is left is zero.

Per leg, currency and heading, and never added across currencies. Totals are sums over the items
themselves, differences over their standings: an item that no standing holds, or two hold, shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.recon.matching import Item, Leg, Side
from ledger.recon.statement import LineKind
from ledger.recon.states import Scope, Standing, State, SubState, counts_as


class Heading(StrEnum):
    """What a block of the statement is about."""

    PAYMENTS = "payments"
    REFUNDS = "refunds"
    CHARGEBACKS = "chargebacks"
    FEES = "fees"
    PAYOUTS = "payouts"
    OTHER = "other movements"


HEADING_OF: Mapping[LineKind, Heading] = {
    LineKind.PAYMENT: Heading.PAYMENTS,
    LineKind.PARTIAL_CAPTURE_REVERSAL: Heading.PAYMENTS,
    LineKind.REFUND: Heading.REFUNDS,
    LineKind.REFUND_FAILED: Heading.REFUNDS,
    LineKind.PAYMENT_REVERSED: Heading.REFUNDS,
    LineKind.CHARGEBACK: Heading.CHARGEBACKS,
    LineKind.CHARGEBACK_REVERSED: Heading.CHARGEBACKS,
    LineKind.FEE: Heading.FEES,
    LineKind.PAYOUT: Heading.PAYOUTS,
    LineKind.PAYOUT_FAILED: Heading.PAYOUTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One line between the two totals, with the list it is the sum of."""

    label: str
    amount: int
    standings: tuple[Standing, ...]
    list_name: str
    """A letter; the list is printed under it."""

    @property
    def count(self) -> int:
        """Differences, not items: two errors that cancel in value are still two."""
        return len(self.standings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One block of the statement, in smallest units of one currency."""

    leg: Leg
    heading: Heading
    currency: str
    expecting_total: int
    """Of the ledger; of payouts, what the provider sent."""
    expecting_count: int
    differences: tuple[Difference, ...]
    answering_total: int
    """Of the provider's or bank's lines."""
    answering_count: int

    @property
    def expected(self) -> int:
        """What the answering side should show."""
        return self.expecting_total + sum(each.amount for each in self.differences)

    @property
    def unexplained(self) -> int:
        """Zero, or a fault in what was compared."""
        return self.answering_total - self.expected


Key = tuple[Leg, str, Heading]


def build_proofs(items: Iterable[Item], standings: Sequence[Standing], scope: Scope) -> list[Proof]:
    """
    Every block of the statement, by leg, currency and heading.

    Args:
        items: Everything that was compared, payouts instead of their lines where these stand
            for them, as `items_of` gives it.
        standings: Where they stand.
        scope: The period whose totals are proved.
    """
    totals: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    legs = _legs(standings)
    for item in items:
        if scope.in_period(item):
            for leg in legs.get(item.key, (Leg.LEDGER_TO_STATEMENT,)):
                side = 0 if counts_as(item, leg) < 0 else 2
                total = totals[leg, item.currency, _heading(item, leg)]
                total[side] += item.amount
                total[side + 1] += 1
    differences = _differences(standings, scope)
    proofs = []
    for key in sorted(totals.keys() | differences.keys(), key=_in_print):
        ours, our_count, theirs, their_count = totals[key]
        proofs.append(
            Proof(
                leg=key[0],
                heading=key[2],
                currency=key[1],
                expecting_total=ours,
                expecting_count=our_count,
                differences=tuple(_named(differences.get(key, {}))),
                answering_total=theirs,
                answering_count=their_count,
            )
        )
    return proofs


def _legs(standings: Iterable[Standing]) -> Mapping[str, list[Leg]]:
    found: dict[str, list[Leg]] = defaultdict(list)
    for standing in standings:
        for item in standing.items:
            if standing.leg not in found[item.key]:
                found[item.key].append(standing.leg)
    return found


def _differences(
    standings: Iterable[Standing], scope: Scope
) -> Mapping[Key, dict[str, list[tuple[int, Standing]]]]:
    found: dict[Key, dict[str, list[tuple[int, Standing]]]] = defaultdict(lambda: defaultdict(list))
    for standing in standings:
        amounts: dict[Key, int] = defaultdict(int)
        for item in standing.items:
            if scope.in_period(item):
                key = (standing.leg, item.currency, _heading(item, standing.leg))
                amounts[key] += item.amount * counts_as(item, standing.leg)
        for key, amount in amounts.items():
            if amount or standing.state not in {State.MATCHED, State.TIMING_DIFFERENCE}:
                found[key][_label(standing, amount)].append((amount, standing))
    return found


def _heading(item: Item, leg: Leg) -> Heading:
    if leg is Leg.PAYOUT_TO_BANK:
        return Heading.PAYOUTS
    return HEADING_OF.get(item.kind, Heading.OTHER)


def _label(standing: Standing, amount: int) -> str:
    """What a difference is called, by state, side and reason."""
    alone = {item.side for item in standing.items}
    answering = Side.LEDGER not in alone and (
        standing.leg is Leg.LEDGER_TO_STATEMENT or Side.BANK in alone
    )
    if standing.leg is Leg.PAYOUT_TO_BANK:
        return _LABELS_OF_PAYOUTS.get((standing.state, answering), _LABELS[standing.state])
    if standing.state is State.TIMING_DIFFERENCE and standing.sub_state is not SubState.RESERVE:
        if len(alone) > 1:
            ours = amount * sum(i.amount for i in standing.items if i.side is Side.LEDGER) < 0
            return (
                "less: recorded, at provider in another period"
                if ours
                else ("add:  at provider, recorded in another period")
            )
        return _TIMING[answering]
    by_reason = _LABELS_BY_REASON.get((standing.state, standing.sub_state))
    return by_reason or _LABELS[standing.state]


_TIMING = {
    False: "less: recorded, provider not yet (timing)",
    True: "add:  at provider, not recorded yet (timing)",
}
_LABELS = {
    State.TIMING_DIFFERENCE: "timing",
    State.NOT_YET_COVERED: "less: recorded, no complete file covers it",
    State.MISSING_AT_PROVIDER: "less: recorded, never at provider",
    State.MISSING_IN_LEDGER: "add:  at provider, not in ledger",
    State.DUPLICATE: "told twice on one side",
    State.AMOUNT_MISMATCH: "amount differences",
    State.FEE: "provider's charges",
    State.MATCHED: "differences accepted",
    State.OUTSIDE: "lines that concern no provider",
}
_LABELS_BY_REASON: Mapping[tuple[State, SubState | None], str] = {
    (State.MISSING_IN_LEDGER, SubState.REVERSED_AT_PROVIDER): (
        "add:  taken back at provider, not yet in ledger"
    ),
    (State.MISSING_IN_LEDGER, SubState.CHARGEBACK): "add:  chargebacks not in ledger",
    (State.MISSING_IN_LEDGER, SubState.UNKNOWN_KIND): "add:  of unknown kind",
    (State.AMOUNT_MISMATCH, SubState.AMBIGUOUS): "not to be told which is which",
    (State.AMOUNT_MISMATCH, SubState.CURRENCY): "in another currency on the other side",
    (State.MATCHED, SubState.FX): "moved in another currency",
    (State.TIMING_DIFFERENCE, SubState.RESERVE): "held back or released by provider",
}
_LABELS_OF_PAYOUTS = {
    (State.TIMING_DIFFERENCE, False): "less: paid out, bank not yet (timing)",
    (State.TIMING_DIFFERENCE, True): "add:  at bank, paid out in another period",
    (State.MISSING_AT_PROVIDER, False): "less: paid out, never at bank",
    (State.NOT_YET_COVERED, False): "less: paid out, no complete bank statement covers it",
    (State.MISSING_IN_LEDGER, True): "add:  at bank, no payout",
}


def _named(differences: Mapping[str, list[tuple[int, Standing]]]) -> Iterable[Difference]:
    for at, label in enumerate(sorted(differences, key=_order_of_label)):
        found = differences[label]
        yield Difference(
            label=label,
            amount=sum(amount for amount, _ in found),
            standings=tuple(standing for _, standing in found),
            list_name=chr(ord("A") + at),
        )


def _order_of_label(label: str) -> tuple[int, str]:
    return (0 if label.startswith("less") else 1 if label.startswith("add") else 2, label)


def _in_print(key: Key) -> tuple[int, str, int]:
    leg, currency, heading = key
    return list(Leg).index(leg), currency, list(Heading).index(heading)

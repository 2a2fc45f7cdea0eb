"""
States: what a match, or its absence, means for finance. Every item ends in exactly one.

Pure, like matching: the day it is asked for is an argument, and so is what the files cover.
Where several states fit, the order is duplicate, amount mismatch, fee, timing, missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from ledger.recon.coverage import Coverage
from ledger.recon.matching import Item, Leg, Link, Matching, Payout, Rules, Side, Strength, Verdict
from ledger.recon.matching.identifiers import family
from ledger.recon.matching.link import digest_of
from ledger.recon.statement import LineKind


class State(StrEnum):
    """Where items stand."""

    MATCHED = "matched"
    """Both sides say the same."""
    AMOUNT_MISMATCH = "amount_mismatch"
    """Linked by an id or a reference, and different beyond what is tolerated."""
    MISSING_IN_LEDGER = "missing_in_ledger"
    """Money a statement shows, past its window, and no effect."""
    MISSING_AT_PROVIDER = "missing_at_provider"
    """An effect past its window, no line, and complete files over all of these days."""
    DUPLICATE = "duplicate"
    """One side tells more often what the other tells."""
    TIMING_DIFFERENCE = "timing_difference"
    """One half alone and inside its window, or halves on either side of the cut-off."""
    FEE = "fee"
    """The provider's charge, as expected."""
    NOT_YET_COVERED = "not_yet_covered"
    """Nothing answers to it, and no complete file covers the days in which it would be."""
    OUTSIDE = "outside"
    """A bank's line that concerns none of the providers: not reconciled here."""


class SubState(StrEnum):
    """Why, where there is more to say."""

    CURRENCY = "currency"
    REVERSED_AT_PROVIDER = "reversed_at_provider"
    CHARGEBACK = "chargeback"
    FX = "fx"
    ROUNDING = "rounding"
    RESERVE = "reserve"
    BATCH_INCOMPLETE = "batch_incomplete"
    RESTATED = "restated"
    UNKNOWN_KIND = "unknown_kind"
    AMBIGUOUS = "ambiguous"


BREAKS = frozenset(
    {
        State.AMOUNT_MISMATCH,
        State.MISSING_IN_LEDGER,
        State.MISSING_AT_PROVIDER,
        State.DUPLICATE,
    }
)
"""States that a person has to close."""

UNTIED = BREAKS | {State.NOT_YET_COVERED}
"""States with which nothing is called tied."""

OPEN = UNTIED | {State.TIMING_DIFFERENCE}
"""States that something is still expected of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a run is about, beside its items."""

    today: date
    period_from: date
    period_to: date
    """Inclusive: the cut-off is the end of this day."""
    coverage: Coverage
    providers: Mapping[str, tuple[str, ...]]
    """Provider -> the sources of this run that tell of it."""
    banks: tuple[str, ...] = ()
    """Sources of this run that are bank accounts."""
    left_out: tuple[str, ...] = ()
    """Sources of the ledger that are not of this run."""
    restated: frozenset[str] = frozenset()
    """Keys of lines that another file tells otherwise."""

    def in_period(self, item: Item) -> bool:
        """Whether an item counts in this period's totals."""
        return self.period_from <= item.day <= self.period_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where some items stand, together."""

    leg: Leg
    state: State
    sub_state: SubState | None = None
    items: tuple[Item, ...]
    link: Link | None = None
    """What holds them together; None for one item alone."""
    suggested: tuple[str, ...] = ()
    """Ids of links that a person may confirm."""
    reason: str
    fingerprint: str = field(init=False)
    """The same in every run, while it is about the same effects, or lines without one."""

    def __post_init__(self) -> None:
        first = self.items[0].side
        anchors = sorted(item.key for item in self.items if item.side is first)
        object.__setattr__(self, "fingerprint", digest_of(self.leg.value, *anchors))

    @property
    def age_basis(self) -> date:
        """The day from which its age counts."""
        return min(item.day for item in self.items)

    def differences(self) -> dict[str, int]:
        """Currency -> what statements have more than the ledger."""
        found: dict[str, int] = defaultdict(int)
        for item in self.items:
            found[item.currency] += item.amount * counts_as(item, self.leg)
        return dict(found)


def counts_as(item: Item, leg: Leg) -> int:
    """Minus one on the side that expects, plus one on the side that answers."""
    if leg is Leg.PAYOUT_TO_BANK:
        return 1 if item.side is Side.BANK else -1
    return -1 if item.side is Side.LEDGER else 1


def classify(matching: Matching, rules: Rules, scope: Scope) -> list[Standing]:
    """
    The standing of every item, in one order: by leg, day and fingerprint.

    A payout stands for its line, where nothing in the ledger answers to that.
    """
    seen = _Seen(matching, rules, scope)
    standings = [
        seen.linked(link) for link in matching.links if link.strength is not Strength.SUGGESTED
    ]
    standings += [seen.alone(item) for item in matching.open]
    standings += [seen.payout_alone(payout.item) for payout in matching.payouts_open]
    return sorted(standings, key=lambda each: (each.leg, each.age_basis, each.fingerprint))


class _Seen:
    """Everything that a single item's standing may depend on."""

    def __init__(self, matching: Matching, rules: Rules, scope: Scope) -> None:
        self._matching = matching
        self._rules = rules
        self._scope = scope
        self._suggested: dict[str, list[str]] = defaultdict(list)
        for link in matching.links:
            if link.strength is Strength.SUGGESTED:
                for item in link.items:
                    self._suggested[item.key].append(link.id)
        self._told = _how_often(matching)
        self._bank_words = _words_of_providers(scope, matching.payouts)
        self._ledgers_banks = {
            item.provider
            for item in _all_items(matching)
            if item.side is Side.LEDGER and item.provider is not None
        }

    # ---- What is linked -------------------------------------------------------------------

    def linked(self, link: Link) -> Standing:
        """The standing of items that belong together."""
        state, sub_state = _OF_VERDICT[link.verdict]
        if link.becomes is not None:
            state, sub_state = _OF_TOLERATED[link.becomes]
        if state is State.MATCHED and not self._same_side_of_cut_off(link.items):
            state = State.TIMING_DIFFERENCE
        return Standing(
            leg=link.leg,
            state=state,
            sub_state=sub_state,
            items=link.items,
            link=link,
            suggested=self._suggestions(link.items),
            reason=link.reason,
        )

    def _same_side_of_cut_off(self, items: Iterable[Item]) -> bool:
        return len({self._scope.in_period(item) for item in items}) == 1

    # ---- What is alone --------------------------------------------------------------------

    def alone(self, item: Item) -> Standing:
        """The standing of an item that nothing answers to."""
        leg = Leg.LEDGER_TO_STATEMENT
        if item.side is Side.LEDGER:
            state, sub_state, reason = self._effect_alone(item)
        elif item.side is Side.BANK:
            state, sub_state, reason = self._bank_line_alone(item)
            if item.provider not in self._ledgers_banks:
                leg = Leg.PAYOUT_TO_BANK
        else:
            state, sub_state, reason = self._line_alone(item)
        if item.key in self._scope.restated and state in BREAKS:
            sub_state = SubState.RESTATED
        return Standing(
            leg=leg,
            state=state,
            sub_state=sub_state,
            items=(item,),
            suggested=self._suggestions([item]),
            reason=reason,
        )

    def _effect_alone(self, item: Item) -> tuple[State, SubState | None, str]:
        ends = self._rules.patience_ends(item)
        if self._scope.today <= ends:
            return State.TIMING_DIFFERENCE, None, f"no line yet; expected until {ends}"
        if self._is_second(item):
            return State.DUPLICATE, None, "the ledger tells more of this payment than statements"
        sources = self._sources_of(item.provider)
        gap = self._first_gap(sources, item.currency, item.day, ends)
        if gap is not None:
            return State.NOT_YET_COVERED, None, gap
        return State.MISSING_AT_PROVIDER, None, f"no line until {ends}, and all files are complete"

    def _line_alone(self, item: Item) -> tuple[State, SubState | None, str]:
        told_only_here = _TOLD_ONLY_HERE.get(item.kind)
        if item.kind is LineKind.FEE:
            return self._fee_alone(item)
        if told_only_here is not None:
            # Only the report tells of it: there is nothing to wait for.
            return told_only_here
        ends = self._rules.patience_ends(item)
        sub_state = _SUB_STATES.get(item.kind)
        if self._scope.today <= ends:
            return State.TIMING_DIFFERENCE, sub_state, f"no effect yet; expected until {ends}"
        if self._is_second(item):
            return State.DUPLICATE, None, "statements tell more of this payment than the ledger"
        return State.MISSING_IN_LEDGER, sub_state, f"no effect until {ends}"

    def _fee_alone(self, item: Item) -> tuple[State, SubState | None, str]:
        cap = self._rules.fee_caps.get(item.currency)
        if cap is not None and abs(item.amount) > cap:
            return State.AMOUNT_MISMATCH, None, "a charge above what is expected"
        return State.FEE, None, "the provider's charge"

    def _bank_line_alone(self, item: Item) -> tuple[State, SubState | None, str]:
        if item.provider not in self._ledgers_banks and not self._concerns_providers(item):
            return State.OUTSIDE, None, "names none of the providers"
        ends = self._rules.patience_ends(item)
        if self._scope.today <= ends:
            return State.TIMING_DIFFERENCE, None, f"nothing answers to it yet; until {ends}"
        return State.MISSING_IN_LEDGER, None, f"nothing answers to it until {ends}"

    def payout_alone(self, item: Item) -> Standing:
        """The standing of a payout that no line of the bank answers to."""
        ends = self._rules.patience_ends(item)
        arrives = item.value_date or item.day
        if not self._scope.banks:
            state, reason = State.NOT_YET_COVERED, "no bank account takes part"
        elif self._scope.today <= ends:
            state, reason = State.TIMING_DIFFERENCE, f"not at the bank yet; expected until {ends}"
        else:
            gap = self._first_gap(self._scope.banks, item.currency, arrives, max(ends, arrives))
            state = State.MISSING_AT_PROVIDER if gap is None else State.NOT_YET_COVERED
            reason = gap or f"not at the bank until {ends}, and all its files are complete"
        return Standing(
            leg=Leg.PAYOUT_TO_BANK,
            state=state,
            items=(item,),
            suggested=self._suggestions([item]),
            reason=reason,
        )

    # ---- What these ask -------------------------------------------------------------------

    def _suggestions(self, items: Iterable[Item]) -> tuple[str, ...]:
        return tuple(sorted({each for item in items for each in self._suggested.get(item.key, ())}))

    def _is_second(self, item: Item) -> bool:
        key = _same_return(item)
        if key is None:
            return False
        told, found = self._told[key]
        mine, other = (told, found) if item.side is Side.LEDGER else (found, told)
        return mine > other >= 1

    def _sources_of(self, provider: str | None) -> tuple[str, ...]:
        if provider is not None:
            return self._scope.providers.get(provider, ())
        return tuple(sorted(source for found in self._scope.providers.values() for source in found))

    def _first_gap(
        self, sources: Iterable[str], currency: str, first: date, last: date
    ) -> str | None:
        asked = list(sources)
        if not asked:
            return "no source tells of its provider"
        for source in asked:
            day = self._scope.coverage.first_gap(source, currency, first, last)
            if day is not None:
                return f"no complete file of {source} covers {day} in {currency}"
        return None

    def _concerns_providers(self, line: Item) -> bool:
        if line.key in self._suggested:
            return True
        held = " ".join(
            word for word in (line.text, line.bank_ref, line.batch_ref, line.merchant_ref) if word
        ).casefold()
        return any(word in held for word in self._bank_words)


def _all_items(matching: Matching) -> Iterable[Item]:
    yield from matching.open
    for link in matching.links:
        yield from link.items


def _how_often(matching: Matching) -> Mapping[tuple[str, ...], tuple[int, int]]:
    """(payment, kind, amount) -> how often the ledger, and how often statements tell of it."""
    counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    counted: set[str] = set()
    for item in _all_items(matching):
        key = _same_return(item)
        if key is not None and item.key not in counted:
            counted.add(item.key)
            counts[key][item.side is not Side.LEDGER] += 1
    return {key: (told, found) for key, (told, found) in counts.items()}


def _same_return(item: Item) -> tuple[str, ...] | None:
    if item.original_id is None or item.provider is None:
        return None
    kind = family(item.kind).value
    return (item.provider, item.original_id, kind, item.currency, str(item.amount))


def _words_of_providers(scope: Scope, payouts: Iterable[Payout]) -> list[str]:
    ids = {ref.casefold() for payout in payouts for ref in payout.item.ids}
    return sorted(ids | {provider.casefold() for provider in scope.providers})


_OF_VERDICT: Mapping[Verdict, tuple[State, SubState | None]] = {
    Verdict.EQUAL: (State.MATCHED, None),
    Verdict.CANCELS: (State.MATCHED, None),
    Verdict.CONVERTED: (State.MATCHED, SubState.FX),
    Verdict.TOLERATED: (State.MATCHED, None),
    Verdict.AMOUNT_DIFFERS: (State.AMOUNT_MISMATCH, None),
    Verdict.FEE_DIFFERS: (State.FEE, None),
    Verdict.CURRENCY_DIFFERS: (State.AMOUNT_MISMATCH, SubState.CURRENCY),
    Verdict.DUPLICATE: (State.DUPLICATE, None),
    Verdict.AMBIGUOUS: (State.AMOUNT_MISMATCH, SubState.AMBIGUOUS),
    Verdict.BATCH_INCOMPLETE: (State.AMOUNT_MISMATCH, SubState.BATCH_INCOMPLETE),
}
_OF_TOLERATED: Mapping[str, tuple[State, SubState | None]] = {
    "fee": (State.FEE, None),
    "fx": (State.MATCHED, SubState.FX),
    "rounding": (State.MATCHED, SubState.ROUNDING),
}
_SUB_STATES: Mapping[LineKind, SubState] = {
    LineKind.CHARGEBACK: SubState.CHARGEBACK,
    LineKind.CONVERSION: SubState.FX,
}
_TAKEN_BACK = (
    State.MISSING_IN_LEDGER,
    SubState.REVERSED_AT_PROVIDER,
    "taken back by the provider; the ledger still says otherwise",
)
_TOLD_ONLY_HERE: Mapping[LineKind, tuple[State, SubState | None, str]] = {
    LineKind.REFUND_FAILED: _TAKEN_BACK,
    LineKind.CHARGEBACK_REVERSED: _TAKEN_BACK,
    LineKind.PAYMENT_REVERSED: _TAKEN_BACK,
    LineKind.RESERVE: (
        State.TIMING_DIFFERENCE,
        SubState.RESERVE,
        "held back or released by the provider",
    ),
    LineKind.OTHER: (
        State.MISSING_IN_LEDGER,
        SubState.UNKNOWN_KIND,
        "of a kind nobody knows here",
    ),
}

"""
The algebra of corrections, through the real database, against its definition.

A random client posts effects and corrections of every kind, alone and in batches. What is
accepted, what the positions say, what the story tells and what verification finds must all be
what the definition gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger.checkpoint import Checkpoint
from ledger.errors import (
    AbandonedError,
    CorrectionError,
    LedgerError,
    MalformedEffectError,
    OverRefundError,
)
from ledger.submission import Outcome, Recorded, Submission
from ledger.tiles import TILE_WIDTH
from tests.faults.house import House, asked, asks, open_house

ZERO = Decimal(0)
PLACES = {"EUR": 2, "JPY": 0, "KWD": 3}
FLOWS = {"in": "out", "out": "in"}
EVIDENCE = [{"system": "psp", "rel": "transaction", "ref": "tx_1"}]
ELSEWHERE = {"system": "old-shop", "ref": "order/17"}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


# ---- The definition -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Said:
    """An entry as its words have it; what it comes to is summed up anew each time."""

    kind: str
    key: str
    currency: str | None = None
    flow: str | None = None
    amount: Decimal | None = None
    applied: Decimal | None = None
    """The amount in the currency of the target, where that is another one."""
    target: int | None = None
    """Which entry of the definition it corrects."""
    id: str = ""


class Definition:
    """
    What corrections come to, by the words of the design and nothing else:

        amount(x)    = own amount of x + sum of amount(adjustments of x)
        remaining(x) = amount(x) - sum of amount(refunds of x)
    """

    def __init__(self) -> None:
        self.entries: list[Said] = []

    def adjusted(self, at: int) -> Decimal:
        return sum((self.counted(i) for i in self.corrections(at, "adjustment")), ZERO)

    def refunded(self, at: int) -> Decimal:
        return sum((self.counted(i) for i in self.corrections(at, "refund")), ZERO)

    def amount(self, at: int) -> Decimal:
        own = self.entries[at].amount
        assert own is not None
        return own + self.adjusted(at)

    def remaining(self, at: int) -> Decimal:
        return self.amount(at) - self.refunded(at)

    def excess(self, at: int) -> Decimal | None:
        """What facts took beyond what there was; nothing bounds an adjustment itself."""
        return None if self.entries[at].kind == "adjustment" else max(ZERO, -self.remaining(at))

    def counted(self, at: int) -> Decimal:
        """What a correction counts for in its target, in the currency of that."""
        said, amount = self.entries[at], self.amount(at)
        if said.kind == "refund":
            # What facts took of a refund beyond it gives nothing back to the effect.
            amount = max(ZERO, amount)
        if said.applied is None:
            return amount
        assert said.amount is not None
        # At the rate it was made with; the unit of what was applied is the unit of the target.
        return (amount * said.applied / said.amount).quantize(said.applied, ROUND_HALF_EVEN)

    def corrections(self, at: int, kind: str) -> list[int]:
        return [
            index
            for index, said in enumerate(self.entries)
            if said.target == at and said.kind == kind and said.amount is not None
        ]

    def bounded(self) -> list[Decimal]:
        """Everything that must not fall below zero: amounts and remainders."""
        return [
            figure
            for at, said in enumerate(self.entries)
            if said.kind in {"effect", "refund"} and said.amount is not None
            for figure in (self.amount(at), self.remaining(at))
        ]

    def takes_too_much(self, said: Said) -> bool:
        """Whether it would take a figure below zero, or one that facts took there lower still."""
        before = self.bounded()
        self.entries.append(said)
        after = self.bounded()
        self.entries.pop()
        return any(new < min(ZERO, old) for old, new in zip(before, after, strict=False))

    def positions(self) -> dict[str, tuple[str | None, int | None, ...]]:
        """Entry id -> figures in minor units, for every entry that money corrects."""
        corrected = {said.target for said in self.entries if said.amount is not None}
        return {
            self.entries[at].id: (
                self.entries[at].currency,
                *(
                    None if figure is None else int(figure.scaleb(self.places(at)))
                    for figure in (
                        self.entries[at].amount,
                        self.adjusted(at),
                        self.refunded(at),
                        ZERO,
                        self.excess(at),
                    )
                ),
            )
            for at in corrected - {None}
        }

    def places(self, at: int) -> int:
        return PLACES[self.entries[at].currency or ""]

    def original_of(self, at: int) -> int:
        target = self.entries[at].target
        return at if target is None else self.original_of(target)

    def depth(self, at: int) -> int:
        target = self.entries[at].target
        return 0 if target is None else 1 + self.depth(target)

    def family(self, at: int) -> list[int]:
        """Everything that corrects entry `at`, or corrects one of these."""
        return [
            index
            for index in range(len(self.entries))
            if index != at and self.original_of(index) == at
        ]

    def spell(self, at: int, figure: Decimal) -> str:
        return f"{figure:.{self.places(at)}f}"

    def told_position(self, at: int) -> dict[str, str] | None:
        """What the story of an effect must say of its money."""
        said = self.entries[at]
        if said.amount is None or said.kind != "effect":
            return None
        excess = self.excess(at)
        assert excess is not None
        figures = {
            "original": said.amount,
            "adjusted": self.adjusted(at),
            "amount": self.amount(at),
            "refunded": self.refunded(at),
            "held": ZERO,
            "remaining": max(ZERO, self.remaining(at)),
            "excess": excess,
        }
        assert said.currency is not None
        assert said.flow is not None
        return {"currency": said.currency, "flow": said.flow} | {
            name: self.spell(at, figure) for name, figure in figures.items()
        }


# ---- The client -----------------------------------------------------------------------

amounts = st.integers(1, 60)
signed_amounts = st.integers(-60, 60).filter(bool)
# Mostly none: most corrections are in the currency of what they correct.
rates = st.none() | st.tuples(st.sampled_from(sorted(PLACES)), amounts)


class Algebra(RuleBasedStateMachine):
    """Any history of corrections; facts and wishes, in order and in batches."""

    effects = Bundle("effects")
    refunds = Bundle("refunds")
    adjustments = Bundle("adjustments")
    others = Bundle("others")
    """Without money."""
    anything = st.one_of(effects, refunds, adjustments, others)
    with_money = st.one_of(effects, refunds, adjustments)

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.ledger = house.open_ledger()
        self.definition = Definition()
        self.keys = map("key-{}".format, itertools.count())
        self.letters = 0
        self.remembered: list[Checkpoint] = []

    @property
    def size(self) -> int:
        return len(self.definition.entries) + self.letters

    # ---- What the client does ----

    @rule(
        target=effects,
        minor=amounts,
        currency=st.sampled_from(sorted(PLACES)),
        flow=st.sampled_from(sorted(FLOWS)),
    )
    def hand_off(self, minor, currency, flow):
        return self.ask(self.said("effect", minor, currency=currency, flow=flow))

    @rule(target=others)
    def send_a_letter(self):
        return self.ask(self.said("effect"), type="email.sent")

    @rule(
        target=refunds,
        effect=effects,
        minor=amounts,
        rate=rates,
        observed=st.booleans(),
        by_key=st.booleans(),
    )
    def refund(self, effect, minor, rate, observed, by_key):
        said = self.correction("refund", effect, minor, rate)
        return self.ask(said, observed=observed, by_key=by_key, type="card.refund")

    @rule(target=refunds, effect=effects)
    def refund_what_remains(self, effect):
        """To the last unit, which is never too much."""
        remaining = self.definition.remaining(effect)
        if remaining <= 0:
            return multiple()
        said = self.correction("refund", effect, self.minor(effect, remaining), None)
        return self.ask(said, type="card.refund")

    @rule(
        target=adjustments, refund=refunds, parts=st.sampled_from([1, 2, 3]), observed=st.booleans()
    )
    def fail_a_refund(self, refund, parts, observed):
        """All that stands of it or a part, which may not divide evenly."""
        failed = self.minor(refund, self.definition.amount(refund)) // parts
        if not failed:
            return multiple()
        said = self.correction("adjustment", refund, -failed, None)
        return self.ask(said, observed=observed, type="refund.failed")

    @rule(target=adjustments, entry=st.one_of(effects, refunds), minor=amounts)
    def report_more_than_there_is(self, entry, minor):
        """A chargeback after the money was given back, or more failed refund than there was."""
        left = self.minor(entry, max(ZERO, self.definition.remaining(entry)))
        said = self.correction("adjustment", entry, -(left + minor), None)
        return self.ask(said, observed=True, type="chargeback")

    @precondition(lambda self: self.in_deficit())
    @rule(target=adjustments, minor=amounts, observed=st.booleans())
    def make_a_deficit_smaller(self, minor, observed):
        """Which anybody may, whether all of it goes or not."""
        said = self.correction("adjustment", self.in_deficit()[-1], minor, None)
        return self.ask(said, observed=observed, type="write.off")

    @rule(target=adjustments, effect=effects, minor=amounts, rate=rates, observed=st.booleans())
    def charge_back(self, effect, minor, rate, observed):
        said = self.correction("adjustment", effect, -minor, rate)
        return self.ask(said, observed=observed, type="chargeback")

    @rule(target=adjustments, chargeback=adjustments, observed=st.booleans())
    def reverse(self, chargeback, observed):
        """Take an adjustment back, whatever it comes to by now."""
        amount = self.definition.amount(chargeback)
        if not amount:
            return multiple()
        said = self.correction("adjustment", chargeback, -self.minor(chargeback, amount), None)
        return self.ask(said, observed=observed, type="chargeback.reversed")

    @rule(
        target=adjustments,
        entry=with_money,
        minor=signed_amounts,
        rate=rates,
        observed=st.booleans(),
        by_key=st.booleans(),
    )
    def adjust(self, entry, minor, rate, observed, by_key):
        said = self.correction("adjustment", entry, minor, rate)
        return self.ask(said, observed=observed, by_key=by_key, type="price.change")

    @rule(target=others, entry=anything, by_key=st.booleans())
    def amend(self, entry, by_key):
        """Without money: a letter recalled, a contract amended. Words are not amended."""
        if self.definition.entries[entry].kind == "explanation":
            return multiple()
        said = self.said("adjustment", target=entry)
        return self.ask(said, by_key=by_key, type="terms.amended")

    @rule(target=others, entry=anything)
    def explain(self, entry):
        said = self.said("explanation", target=entry)
        return self.ask(said, type="explanation", note="words", audience="customer")

    @rule(target=refunds, minor=amounts)
    def refund_what_was_recorded_elsewhere(self, minor):
        return self.ask(self.said("refund", minor, flow="out"), external=True, type="card.refund")

    @rule(
        target=effects,
        minor=amounts,
        parts=st.lists(st.tuples(amounts, st.booleans()), min_size=1, max_size=4),
        atomic=st.booleans(),
    )
    def refund_in_the_batch_that_hands_off(self, minor, parts, atomic):
        """Each part names the effect by its key, in the same request."""
        effect = len(self.definition.entries)
        saids = [self.said("effect", minor)]
        saids += [self.said("refund", part, flow="out", target=effect) for part, _ in parts]
        return self.ask_together(saids, [False, *(fact for _, fact in parts)], atomic=atomic)

    @rule(entry=anything, wrong=st.sampled_from(["kind", "flow", "currency", "nothing"]))
    def misfit(self, entry, wrong):
        """What does not fit is refused before any sum is made, also as a fact."""
        standing = self.definition.entries[entry]
        if wrong == "kind":
            kind = "adjustment" if standing.kind == "explanation" else "refund"
            if standing.kind == "effect":
                return
            said, error = self.said(kind, 1, target=entry), CorrectionError
        elif wrong == "nothing":
            if standing.amount is not None or standing.kind == "explanation":
                return
            said, error = self.said("adjustment", 1, target=entry), CorrectionError
        elif standing.amount is None:
            return
        elif wrong == "flow":
            flow = FLOWS[standing.flow]
            said = self.said("adjustment", 1, currency=standing.currency, flow=flow, target=entry)
            error = MalformedEffectError
        else:
            other = next(name for name in PLACES if name != standing.currency)
            said = self.said("adjustment", 1, currency=other, flow=standing.flow, target=entry)
            error = MalformedEffectError
        self.ask(said, observed=True, refused=error, type="misfit")

    @rule()
    def remember(self):
        """A checkpoint that somebody keeps, to begin an incremental verification at."""
        checkpoint = self.house.checkpoint(self.ledger)
        if checkpoint is not None:
            self.remembered.append(checkpoint)

    # ---- How it asks ----

    def said(self, kind, minor=None, *, currency="EUR", flow="in", target=None):
        key = next(self.keys)
        if minor is None:
            return Said(kind=kind, key=key, target=target)
        amount = Decimal(minor).scaleb(-PLACES[currency])
        return Said(kind=kind, key=key, currency=currency, flow=flow, amount=amount, target=target)

    def correction(self, kind, target, minor, rate):
        """`minor` units of the target's money; or of another one, with what is applied."""
        standing = self.definition.entries[target]
        currency, applied = standing.currency, None
        if rate is not None and rate[0] != currency:
            currency = rate[0]
            sign = 1 if minor > 0 else -1
            applied = Decimal(sign * rate[1]).scaleb(-PLACES[standing.currency])
        return Said(
            kind=kind,
            key=next(self.keys),
            currency=currency,
            flow=standing.flow if kind == "adjustment" else FLOWS[standing.flow],
            amount=Decimal(minor).scaleb(-PLACES[currency]),
            applied=applied,
            target=target,
        )

    def in_deficit(self):
        """Effects and refunds that facts took below zero."""
        entries = self.definition.entries
        return [
            at
            for at, said in enumerate(entries)
            if said.amount is not None and self.definition.excess(at)
        ]

    def minor(self, at, figure):
        return int(figure.scaleb(self.definition.places(at)))

    def submission(self, said, *, observed=False, by_key=True, external=False, note=None, **more):
        members: dict[str, Any] = {"kind": said.kind} | more
        if said.kind != "effect":
            members["reason"] = "customer.request"
        if said.amount is not None:
            members["money"] = {
                "amount": f"{said.amount:f}",
                "currency": said.currency,
                "flow": said.flow,
            }
            if said.applied is not None:
                members["money"]["applied"] = f"{said.applied:f}"
        if external:
            members["corrects_external"] = ELSEWHERE
        elif said.target is not None and by_key:
            target = self.definition.entries
            members["corrects_key"] = target[said.target].key
        elif said.target is not None:
            members["corrects"] = self.definition.entries[said.target].id
        if observed or external:
            members |= {"observed": True, "evidence": EVIDENCE}
        return asks(said.key, note=note, **members)

    def ask(self, said, *, observed=False, refused=None, **how):
        """Post one entry; its number in the definition, or nothing where it was refused."""
        if refused is None and not observed and self.definition.takes_too_much(said):
            refused = OverRefundError
        submission = self.submission(said, observed=observed, **how)
        [outcome] = self.post([submission])
        if refused is not None:
            assert type(outcome) is refused, outcome
            return multiple()
        at = self.keep(said, outcome)
        self.check_story(self.definition.original_of(at))
        return at

    def ask_together(self, saids, facts, *, atomic):
        """Post an effect with refunds of it; one that is atomic stands whole or not at all."""
        before = len(self.definition.entries)
        trial = self.definition
        expected: list[type[LedgerError] | None] = []
        submissions: list[Submission] = []
        for said, fact in zip(saids, facts, strict=True):
            too_much = not fact and trial.takes_too_much(said)
            expected.append(OverRefundError if too_much else None)
            trial.entries.append(said)
            submissions.append(self.submission(said, observed=fact))
            if too_much:
                trial.entries.pop()
        del trial.entries[before:]

        outcomes = self.post(submissions, atomic=atomic)

        if atomic and any(expected):
            assert [type(outcome) for outcome in outcomes] == [
                error or AbandonedError for error in expected
            ]
            return multiple()
        for said, error, outcome in zip(saids, expected, outcomes, strict=True):
            if error is None:
                self.keep(said, outcome)
            else:
                assert type(outcome) is error, outcome
        self.check_story(before)
        return before

    def post(self, submissions: list[Submission], *, atomic: bool = False) -> list[Outcome]:
        """Post, after a dry run that must foretell what comes."""
        foretold = self.house.dry_run.run(asked(self.ledger, *submissions, atomic=atomic))
        outcomes = self.house.post(self.ledger, *submissions, atomic=atomic)
        for before, after in zip(foretold, outcomes, strict=True):
            if isinstance(after, Recorded):
                assert not isinstance(before, LedgerError), before
            else:
                assert type(before) is type(after)
        return outcomes

    def keep(self, said: Said, outcome: Outcome) -> int:
        assert isinstance(outcome, Recorded), outcome
        assert outcome.entry.seq == self.size
        self.house.verify_receipt(outcome.receipt, self.ledger)
        self.definition.entries.append(replace(said, id=outcome.entry.id))
        return len(self.definition.entries) - 1

    # ---- What must hold ----

    @invariant()
    def positions_are_what_the_definition_gives(self):
        assert self.house.positions(self.ledger) == self.definition.positions()

    @invariant()
    def the_ledger_verifies(self):
        report = self.house.verify(self.ledger)
        assert report.size == report.entries == self.size

    def check_story(self, at: int) -> None:
        """The story of an original tells all of its family, and what is left."""
        definition = self.definition
        story = self.house.reader.story(self.ledger, definition.entries[at].id).to_document()
        assert story["position"] == definition.told_position(at)
        told = {
            each["id"]: (each["corrects"], each["depth"], each.get("amount_now"))
            for each in story["corrections"] + story["explanations"]
        }
        assert told == {
            definition.entries[index].id: (
                definition.entries[definition.entries[index].target].id,
                definition.depth(index),
                None
                if definition.entries[index].amount is None
                else definition.spell(index, definition.amount(index)),
            )
            for index in definition.family(at)
        }

    def teardown(self):
        """Beginning at any checkpoint that was kept gives the same as reading all."""
        for checkpoint in self.remembered:
            report = self.house.verify(
                self.ledger, since=(checkpoint.size, checkpoint.root), trusted=checkpoint
            )
            assert report.size == self.size
            assert report.start == max(0, checkpoint.size - 1) // TILE_WIDTH * TILE_WIDTH
        for at, said in enumerate(self.definition.entries):
            if said.target is None:
                self.check_story(at)


class AcrossTiles(Algebra):
    """The same in a ledger that is long enough for verification to begin in its middle."""

    @precondition(lambda self: self.size < TILE_WIDTH)
    @rule()
    def fill_the_tile(self):
        missing = TILE_WIDTH - self.size
        letters = [self.submission(self.said("effect"), type="email.sent") for _ in range(missing)]
        self.house.record(self.ledger, *letters)
        self.letters += missing


def profile(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # Each attempt to find a shorter failing history asks the database: one failure is enough.
        report_multiple_bugs=False,
    )


def test_any_history_of_corrections_is_what_the_definition_gives(house):
    """Accepted or refused, positions, story, verification and dry run: all agree, always."""
    run_state_machine_as_test(lambda: Algebra(house), settings=profile(examples=6, steps=20))


def test_a_converted_refund_taken_back_in_parts_gives_back_exactly_everything(house):
    """3 yen for 0.10 euros, one yen at a time: 0.07 and 0.03 stay, and then nothing."""
    algebra = Algebra(house)
    effect = algebra.hand_off(1000, "EUR", "in")
    refund = algebra.refund(effect, 3, ("JPY", 10), observed=False, by_key=True)

    stays = []
    for _ in range(3):
        algebra.adjust(refund, -1, None, observed=False, by_key=False)
        algebra.positions_are_what_the_definition_gives()
        algebra.the_ledger_verifies()
        stays.append(house.positions(algebra.ledger)[algebra.definition.entries[effect].id][3])

    assert stays == [7, 3, 0]


def test_a_chargeback_of_what_was_refunded_is_excess_until_it_is_mended(house):
    """Facts are never refused; only then is there less than nothing, and nobody may take more."""
    algebra = Algebra(house)
    effect = algebra.hand_off(1000, "EUR", "in")
    algebra.refund_what_remains(effect)
    algebra.report_more_than_there_is(effect, 600)
    entry = algebra.definition.entries[effect].id

    algebra.make_a_deficit_smaller(200, observed=False)
    assert house.positions(algebra.ledger)[entry] == ("EUR", 1000, -400, 1000, 0, 400)
    algebra.refund(effect, 1, None, observed=False, by_key=True)
    algebra.charge_back(effect, 1, None, observed=False)
    algebra.positions_are_what_the_definition_gives()

    algebra.make_a_deficit_smaller(400, observed=False)
    assert house.positions(algebra.ledger)[entry] == ("EUR", 1000, 0, 1000, 0, 0)
    algebra.the_ledger_verifies()


@pytest.mark.slow
def test_any_long_history_of_corrections_is_what_the_definition_gives(house):
    """The same law, for longer histories and many more of them."""
    run_state_machine_as_test(lambda: AcrossTiles(house), settings=profile(examples=100, steps=40))

"""Laws of corrections: what fits, what remains, and what facts may do that callers may not."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.effect import Effect, External, Kind, Money
from ledger.errors import (
    BadReferenceError,
    CorrectionError,
    MalformedEffectError,
    OverRefundError,
    PossibleRepeatError,
    RemainderHeldError,
    TooLargeError,
)
from ledger.intent import Hold
from ledger.lifecycle import DEPTH_MAX, History, Position, Recorded, lineage_references, references

EFFECT, REFUND, ADJUSTMENT, EXPLANATION, NOTICE = Kind


def make_effect(kind=EFFECT, money=None, key="k", **members) -> Effect:
    return Effect(
        kind=kind,
        type=members.pop("type", "card.capture"),
        key=key,
        occurred_at="2026-01-01T00:00:00.000000Z",
        money=money,
        encoded=b"",
        **members,
    )


def eur(amount, flow="in", applied=None):
    return Money(amount=amount, currency="EUR", flow=flow, applied=applied)


def usd(amount, flow="in", applied=None):
    return Money(amount=amount, currency="USD", flow=flow, applied=applied)


class Book:
    """A history that admits under ids it counts, with what was said last of each position."""

    def __init__(self):
        self.history = History((), (), {}, {})
        self._numbers = itertools.count()

    def add(self, kind=EFFECT, money=None, **members):
        number = next(self._numbers)
        members.setdefault("key", f"key-{number}")
        self.history.admit(make_effect(kind, money, **members), f"e{number}")
        return f"e{number}"

    def position(self, entry):
        """(original, adjusted, refunded, excess); None without a row."""
        for row in self.history.changed_positions:
            if row.entry == entry:
                return (row.original, row.adjusted, row.refunded, row.excess)
        return None


@pytest.fixture
def book():
    return Book()


# ---- Refunds --------------------------------------------------------------------------


def test_refunds_may_be_many_and_partial_up_to_the_remainder(book):
    effect = book.add(money=eur("10.00"))
    book.add(REFUND, eur("4.00", "out"), corrects=effect)
    book.add(REFUND, eur("6.00", "out"), corrects=effect)

    assert book.position(effect) == (1000, 0, 1000, 0)
    with pytest.raises(OverRefundError):
        book.add(REFUND, eur("0.01", "out"), corrects=effect)


def test_a_refund_beyond_the_remainder_is_told_both_sides(book):
    effect = book.add(money=eur("10.00"))
    book.add(REFUND, eur("4.00", "out"), corrects=effect)

    with pytest.raises(OverRefundError) as refused:
        book.add(REFUND, eur("6.01", "out"), corrects=effect)

    assert refused.value.message == (
        "this refund takes 6.01 EUR; the remainder of entry e0 is 6.00 EUR"
    )
    assert refused.value.details == {
        "target": "e0",
        "quantity": "remainder",
        "currency": "EUR",
        "asked": "6.01",
        "remaining": "6.00",
    }


def test_what_is_held_for_intents_does_not_remain():
    recorded = Recorded(
        id="e", seq=0, kind=EFFECT, type="t", money=eur("10.00"), target=None, observed=False
    )
    held = Position(
        entry="e", currency="EUR", original=1000, adjusted=0, refunded=0, held=400, excess=0
    )
    history = History([recorded], [held], {}, {})

    with pytest.raises(OverRefundError, match=r"remainder of entry e is 6\.00 EUR"):
        history.admit(make_effect(REFUND, eur("6.01", "out"), corrects="e"), "r")
    history.admit(make_effect(REFUND, eur("6.00", "out"), corrects="e"), "r")

    assert history.changed_positions == [replace(held, refunded=600)]


def test_a_refusal_names_the_intents_that_hold_what_is_missing_and_no_others():
    """One that was let go of in this batch holds nothing any more."""
    recorded = Recorded(
        id="e", seq=0, kind=EFFECT, type="t", money=eur("10.00"), target=None, observed=False
    )
    held = Position(
        entry="e", currency="EUR", original=1000, adjusted=0, refunded=0, held=700, excess=0
    )
    history = History([recorded], [held], {}, {}, holders={"e": ("i1", "i2")})
    history.release("i1", Hold(entry="e", currency="EUR", amount=300))

    with pytest.raises(
        RemainderHeldError, match=r"4\.00 EUR more is held by open intent i2: "
    ) as x:
        history.fork().admit(make_effect(REFUND, eur("6.01", "out"), corrects="e"), "r")
    assert (x.value.details["held"], x.value.details["intents"]) == ("4.00", ["i2"])
    with pytest.raises(OverRefundError) as x:
        history.admit(make_effect(REFUND, eur("10.01", "out"), corrects="e"), "r")
    assert not isinstance(x.value, RemainderHeldError)


@pytest.mark.parametrize("kind", [REFUND, ADJUSTMENT, EXPLANATION])
def test_a_refund_refunds_effects_only(book, kind):
    effect = book.add(money=eur("10.00"))
    money = {REFUND: eur("2.00", "out"), ADJUSTMENT: eur("2.00"), EXPLANATION: None}[kind]
    other = book.add(kind, money, corrects=effect)

    with pytest.raises(CorrectionError, match=f"kind refund corrects effect; .* of kind {kind}"):
        book.add(REFUND, eur("1.00", "out"), corrects=other)


@pytest.mark.parametrize(("kind", "wrong_flow"), [(REFUND, "in"), (ADJUSTMENT, "out")])
def test_a_refund_flows_back_and_an_adjustment_along(book, kind, wrong_flow):
    effect = book.add(money=eur("10.00", "in"))

    with pytest.raises(MalformedEffectError) as refused:
        book.add(kind, eur("1.00", wrong_flow), corrects=effect)
    assert refused.value.details["pointer"] == "/money/flow"


@pytest.mark.parametrize("kind", [REFUND, ADJUSTMENT])
def test_money_corrects_money_only(book, kind):
    letter = book.add(type="letter.sent")

    with pytest.raises(CorrectionError, match="has no money to correct"):
        book.add(kind, eur("1.00"), corrects=letter)


# ---- Adjustments ----------------------------------------------------------------------


def test_a_failed_refund_restores_the_remainder(book):
    effect = book.add(money=eur("10.00"))
    refund = book.add(REFUND, eur("10.00", "out"), corrects=effect)
    book.add(ADJUSTMENT, eur("-10.00", "out"), corrects=refund, type="refund.failed")

    assert book.position(refund) == (1000, -1000, 0, 0)
    assert book.position(effect) == (1000, 0, 0, 0)
    book.add(REFUND, eur("10.00", "out"), corrects=effect)


def test_a_chargeback_is_reversed_on_the_chargeback(book):
    effect = book.add(money=eur("10.00"))
    chargeback = book.add(ADJUSTMENT, eur("-10.00"), corrects=effect, type="chargeback")
    assert book.position(effect) == (1000, -1000, 0, 0)

    book.add(ADJUSTMENT, eur("10.00"), corrects=chargeback, type="chargeback.reversed")

    assert book.position(chargeback) == (-1000, 1000, 0, None)
    assert book.position(effect) == (1000, 0, 0, 0)


def test_an_adjustment_moves_every_entry_above_it(book):
    effect = book.add(money=eur("10.00"))
    refund = book.add(REFUND, eur("8.00", "out"), corrects=effect)
    failed = book.add(ADJUSTMENT, eur("-5.00", "out"), corrects=refund)
    book.add(ADJUSTMENT, eur("2.00", "out"), corrects=failed)

    assert book.position(failed) == (-500, 200, 0, None)
    assert book.position(refund) == (800, -300, 0, 0)
    assert book.position(effect) == (1000, 0, 500, 0)


def test_nothing_bounds_an_adjustment_but_what_it_adjusts(book):
    """More than the whole adjustment may be taken back while the effect bears it."""
    effect = book.add(money=eur("10.00"))
    more = book.add(ADJUSTMENT, eur("1.00"), corrects=effect)
    book.add(ADJUSTMENT, eur("-6.00"), corrects=more)

    assert book.position(more) == (100, -600, 0, None)
    assert book.position(effect) == (1000, -500, 0, 0)


TOO_MUCH = {
    "amount-of-an-effect": (ADJUSTMENT, eur("-10.01"), "effect", "amount of entry e0 is 10.00"),
    "remainder-of-an-effect": (ADJUSTMENT, eur("-6.01"), "effect", "remainder of entry e0 is 6.00"),
    "amount-of-a-refund": (
        ADJUSTMENT,
        eur("-4.01", "out"),
        "refund",
        "takes 4.01 EUR; the amount of entry e1 is 4.00 EUR",
    ),
    "remainder-through-a-refund": (
        ADJUSTMENT,
        eur("6.01", "out"),
        "refund",
        "takes 6.01 EUR; the remainder of entry e0 is 6.00 EUR",
    ),
}


@pytest.mark.parametrize(("kind", "money", "target", "says"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_no_correction_takes_more_than_there_is(book, kind, money, target, says):
    entries = {"effect": book.add(money=eur("10.00"))}
    entries["refund"] = book.add(REFUND, eur("4.00", "out"), corrects=entries["effect"])
    before = book.history.changed_positions

    with pytest.raises(OverRefundError, match=says):
        book.add(kind, money, corrects=entries[target])

    assert book.history.changed_positions == before


@pytest.mark.parametrize("kind", [EFFECT, REFUND, ADJUSTMENT])
def test_an_adjustment_without_money_fits_all_three_and_moves_nothing(book, kind):
    effect = book.add(money=eur("10.00"))
    target = {
        EFFECT: lambda: effect,
        REFUND: lambda: book.add(REFUND, eur("1.00", "out"), corrects=effect),
        ADJUSTMENT: lambda: book.add(ADJUSTMENT, None, corrects=effect),
    }[kind]()
    before = book.history.changed_positions

    book.add(ADJUSTMENT, None, corrects=target)

    assert book.history.changed_positions == before


def test_an_adjustment_corrects_no_explanation(book):
    explanation = book.add(EXPLANATION, corrects=book.add())

    with pytest.raises(CorrectionError, match="of kind explanation"):
        book.add(ADJUSTMENT, None, corrects=explanation)


@pytest.mark.parametrize("kind", Kind)
def test_an_explanation_explains_any_entry(kind):
    recorded = Recorded(id="e", seq=0, kind=kind, type="t", money=None, target=None, observed=False)
    history = History([recorded], (), {}, {})

    assert history.admit(make_effect(EXPLANATION, corrects="e"), "x") == "e"
    assert history.changed_positions == []


# ---- Facts ----------------------------------------------------------------------------


def test_an_observed_fact_is_never_refused_for_lack_of_remainder(book):
    effect = book.add(money=eur("10.00"))
    book.add(REFUND, eur("10.00", "out"), corrects=effect)
    book.add(ADJUSTMENT, eur("-10.00"), corrects=effect, type="chargeback", observed=True)

    assert book.position(effect) == (1000, -1000, 1000, 1000)


def test_an_observed_fact_must_still_fit(book):
    effect = book.add(money=eur("10.00"))
    refund = book.add(REFUND, eur("1.00", "out"), corrects=effect)

    with pytest.raises(CorrectionError, match="of kind refund"):
        book.add(REFUND, eur("1.00", "out"), corrects=refund, observed=True)
    with pytest.raises(BadReferenceError):
        book.add(REFUND, eur("1.00", "out"), corrects="elsewhere", observed=True)


def test_a_later_forward_entry_shrinks_the_excess(book):
    effect = book.add(money=eur("10.00"))
    book.add(REFUND, eur("10.00", "out"), corrects=effect)
    second = book.add(REFUND, eur("7.00", "out"), corrects=effect, observed=True)
    assert book.position(effect) == (1000, 0, 1700, 700)

    book.add(ADJUSTMENT, eur("-5.00", "out"), corrects=second)
    assert book.position(effect) == (1000, 0, 1200, 200)

    with pytest.raises(OverRefundError, match=r"the remainder of entry e0 is -2\.00 EUR"):
        book.add(ADJUSTMENT, eur("-0.01"), corrects=effect)


def test_a_refund_that_facts_took_below_nothing_counts_as_nothing(book):
    effect = book.add(money=eur("10.00"))
    refund = book.add(REFUND, eur("4.00", "out"), corrects=effect)
    book.add(ADJUSTMENT, eur("-6.00", "out"), corrects=refund, observed=True)

    assert book.position(refund) == (400, -600, 0, 200)
    assert book.position(effect) == (1000, 0, 0, 0)

    book.add(ADJUSTMENT, eur("3.00", "out"), corrects=refund)
    assert book.position(refund) == (400, -300, 0, 0)
    assert book.position(effect) == (1000, 0, 100, 0)


# ---- Currencies -----------------------------------------------------------------------


def test_a_refund_in_another_currency_moves_by_what_was_applied(book):
    effect = book.add(money=usd("10.00"))
    book.add(REFUND, eur("9.00", "out", applied="9.90"), corrects=effect)

    assert book.position(effect) == (1000, 0, 990, 0)
    with pytest.raises(OverRefundError, match=r"takes 0\.11 USD; .* is 0\.10 USD"):
        book.add(REFUND, eur("0.01", "out", applied="0.11"), corrects=effect)


def test_taking_back_everything_in_parts_gives_back_exactly_everything(book):
    effect = book.add(money=usd("10.00"))
    refund = book.add(REFUND, eur("0.03", "out", applied="0.10"), corrects=effect)

    seen = []
    for _ in range(3):
        book.add(ADJUSTMENT, eur("-0.01", "out"), corrects=refund)
        seen.append(book.position(effect)[2])

    assert seen == [7, 3, 0]  # 6.67 and 3.33 of 10


def test_half_a_minor_unit_goes_to_even(book):
    effect = book.add(money=usd("10.00"))
    refund = book.add(REFUND, eur("0.02", "out", applied="0.05"), corrects=effect)
    book.add(ADJUSTMENT, eur("-0.01", "out"), corrects=refund)

    assert book.position(effect) == (1000, 0, 2, 0)


APPLIED = {
    "same-currency-and-applied": eur("1.00", "out", applied="1.00"),
    "other-currency-without-applied": usd("1.00", "out"),
    "applied-with-other-decimals": usd("1.00", "out", applied="1"),
}


@pytest.mark.parametrize("money", APPLIED.values(), ids=APPLIED)
def test_applied_stands_exactly_where_currencies_differ(book, money):
    effect = book.add(money=eur("10.00"))

    with pytest.raises(MalformedEffectError) as refused:
        book.add(REFUND, money, corrects=effect)
    assert refused.value.details["pointer"] == "/money/applied"


def test_a_position_is_in_its_entrys_own_currency(book):
    effect = book.add(money=usd("10.00"))
    refund = book.add(REFUND, eur("9.00", "out", applied="10.00"), corrects=effect)
    book.add(ADJUSTMENT, eur("-9.00", "out"), corrects=refund)

    currencies = {row.entry: row.currency for row in book.history.changed_positions}
    assert currencies == {effect: "USD", refund: "EUR"}


def test_sums_stop_at_what_the_database_holds(book):
    largest = "99999999999999999999." + "9" * 18
    effect = book.add(money=eur(largest))
    book.add(ADJUSTMENT, eur(largest), corrects=effect)

    with pytest.raises(TooLargeError) as refused:
        book.add(ADJUSTMENT, eur(largest), corrects=effect)
    assert refused.value.details["limit"] == 38


# ---- References -----------------------------------------------------------------------

REFERENCES = {
    "corrects": {"kind": EXPLANATION, "corrects": "nowhere"},
    "corrects_key": {"kind": EXPLANATION, "corrects_key": "nowhere"},
    "repeat_of": {"repeat_of": "nowhere"},
}


@pytest.mark.parametrize("member", REFERENCES)
def test_what_is_named_must_be_there(book, member):
    with pytest.raises(BadReferenceError) as refused:
        book.add(**REFERENCES[member])
    assert refused.value.details["pointer"] == f"/{member}"


def test_a_key_may_name_an_earlier_item_of_the_same_batch(book):
    effect = book.add(money=eur("1.00"), key="first")

    refund = make_effect(REFUND, eur("1.00", "out"), corrects_key="first")

    assert book.history.admit(refund, "r") == effect


def test_a_key_names_no_item_that_was_refused(book):
    with pytest.raises(BadReferenceError):
        book.add(repeat_of="nowhere", key="first")
    with pytest.raises(BadReferenceError):
        book.add(EXPLANATION, corrects_key="first")


def test_an_original_recorded_elsewhere_has_no_position(book):
    elsewhere = External(system="old", ref="7")
    refund = book.add(REFUND, eur("4.00", "out"), corrects_external=elsewhere, observed=True)
    assert book.history.changed_positions == []

    book.add(ADJUSTMENT, eur("-1.00", "out"), corrects=refund)

    assert book.position(refund) == (400, -100, 0, 0)
    with pytest.raises(OverRefundError, match=r"the amount of entry e0 is 3\.00 EUR"):
        book.add(ADJUSTMENT, eur("-3.01", "out"), corrects=refund)


def test_everything_named_can_be_fetched_beforehand():
    assert references(make_effect()) == ([], [])
    assert references(make_effect(REFUND, corrects="a", repeat_of="b")) == (["a", "b"], [])
    assert references(make_effect(REFUND, corrects_key="c")) == ([], ["c"])


def test_only_what_moves_its_target_needs_the_lineage_of_it():
    assert lineage_references(make_effect(REFUND, corrects="a", repeat_of="b")) == (["a"], [])
    assert lineage_references(make_effect(ADJUSTMENT, corrects_key="c")) == ([], ["c"])
    assert lineage_references(make_effect(EXPLANATION, corrects="a")) == ([], [])
    assert lineage_references(make_effect(repeat_of="b")) == ([], [])


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("money", [None, eur("0.01")])
def test_a_correction_is_at_most_64_steps_from_its_original(book, money, observed):
    """Also a fact: it can name a nearer entry. An explanation hangs on any."""
    last = book.add(money=eur("1.00"))
    for _ in range(DEPTH_MAX):
        last = book.add(ADJUSTMENT, money, corrects=last)
    before = book.history.changed_positions

    with pytest.raises(CorrectionError, match="64 steps from its original") as refused:
        book.add(ADJUSTMENT, money, corrects=last, observed=observed)

    assert refused.value.details == {"target": last, "limit": DEPTH_MAX}
    assert book.history.changed_positions == before
    for _ in range(3):
        last = book.add(EXPLANATION, corrects=last)


TAMPERED = {"gap": ("a", "nowhere"), "circle": ("a", "a")}


@pytest.mark.parametrize(("entry", "target"), TAMPERED.values(), ids=TAMPERED)
def test_a_lineage_that_was_tampered_with_stops_the_correction(entry, target):
    recorded = Recorded(
        id=entry, seq=1, kind=ADJUSTMENT, type="t", money=eur("1.00"), target=target, observed=False
    )
    history = History([recorded], (), {}, {})

    with pytest.raises(CorrectionError, match="which is not before it"):
        history.admit(make_effect(ADJUSTMENT, eur("1.00"), corrects=entry), "b")
    assert history.changed_positions == []


# ---- Business keys --------------------------------------------------------------------


def test_a_second_business_key_is_told_id_and_seq_of_the_first_only():
    history = History((), (), {}, {("effect", "invoice.sent", "invoice/1"): ("e9", 9)})

    with pytest.raises(PossibleRepeatError) as refused:
        history.admit(make_effect(type="invoice.sent", business_key="invoice/1"), "e10")
    assert refused.value.details == {"id": "e9", "seq": 9}


def test_a_business_key_is_unique_within_a_batch(book):
    book.add(business_key="invoice/1")

    with pytest.raises(PossibleRepeatError) as refused:
        book.add(business_key="invoice/1")
    assert refused.value.details == {"id": "e0", "seq": None}


def test_a_business_key_is_unique_per_kind_and_type(book):
    effect = book.add(business_key="invoice/1", type="invoice.sent")
    book.add(business_key="invoice/1", type="email.sent")
    book.add(EXPLANATION, corrects=effect, business_key="invoice/1", type="invoice.sent")


def test_a_repeat_that_is_named_passes_and_takes_nothing(book):
    first = book.add(business_key="invoice/1")
    book.add(business_key="invoice/1", repeat_of=first)
    book.add(business_key="invoice/2", repeat_of=first)
    book.add(business_key="invoice/2")


# ---- Order and groups -----------------------------------------------------------------


def test_the_first_error_in_the_documented_order_is_told(book):
    """References, then fit, then repeats, then the remainder."""
    effect = book.add(money=eur("1.00"))
    book.add(REFUND, eur("1.00", "out"), corrects=effect, business_key="b")
    everything_wrong = {"corrects": effect, "business_key": "b"}

    with pytest.raises(BadReferenceError):
        book.add(REFUND, eur("9.00", "in"), **(everything_wrong | {"corrects": "nowhere"}))
    with pytest.raises(MalformedEffectError):
        book.add(REFUND, eur("9.00", "in"), **everything_wrong)
    with pytest.raises(PossibleRepeatError):
        book.add(REFUND, eur("9.00", "out"), **everything_wrong)
    with pytest.raises(OverRefundError):
        book.add(REFUND, eur("9.00", "out"), **(everything_wrong | {"business_key": "c"}))


def test_a_fork_is_kept_whole_or_not_at_all(book):
    effect = book.add(money=eur("10.00"), key="first")
    book.add(REFUND, eur("4.00", "out"), corrects=effect)
    before = book.history.changed_positions

    fork = book.history.fork()
    fork.admit(make_effect(key="inner", business_key="b"), "inner")
    fork.admit(make_effect(REFUND, eur("6.00", "out"), corrects_key="first", key="last"), "last")
    assert book.history.changed_positions == before
    with pytest.raises(BadReferenceError):
        book.add(EXPLANATION, corrects_key="inner")

    book.history.join(fork)

    assert book.position(effect) == (1000, 0, 1000, 0)
    book.add(EXPLANATION, corrects_key="inner")
    with pytest.raises(PossibleRepeatError):
        book.add(business_key="b")


# ---- Against a model ------------------------------------------------------------------


@dataclass
class Node:
    """An entry of the model: sums are taken anew over all corrections each time."""

    kind: Kind
    currency: str
    own: int
    applied: int | None = None
    target: int | None = None


class Model:
    """The algebra as its definition says it: nothing is carried forward."""

    def __init__(self):
        self.nodes: list[Node] = []

    def adjusted(self, at):
        return sum(self.given(child) for child in self.children(at, ADJUSTMENT))

    def refunded(self, at):
        return sum(self.given(child) for child in self.children(at, REFUND))

    def amount(self, at):
        return self.nodes[at].own + self.adjusted(at)

    def remaining(self, at):
        return self.amount(at) - self.refunded(at)

    def given(self, at):
        """What a correction counts for, in the currency of its target."""
        node, amount = self.nodes[at], self.amount(at)
        if node.kind is REFUND:
            amount = max(amount, 0)
        if node.applied is None:
            return amount
        exact = Decimal(amount) * Decimal(node.applied) / Decimal(node.own)
        return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))

    def children(self, at, kind):
        return [i for i, n in enumerate(self.nodes) if n.target == at and n.kind is kind]

    def bounds(self):
        return [
            quantity
            for at, node in enumerate(self.nodes)
            if node.kind is not ADJUSTMENT
            for quantity in (self.amount(at), self.remaining(at))
        ]

    def allows(self, node):
        """Whether no bounded quantity gets below zero and lower than it was."""
        before = self.bounds()
        self.nodes.append(node)
        after = self.bounds()
        self.nodes.pop()
        return all(new >= min(0, old) for old, new in zip(before, after, strict=False))


def spell(minor):
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"


class Corrections(RuleBasedStateMachine):
    """Random corrections of corrections, in batches and groups, facts and wishes mixed."""

    def __init__(self):
        super().__init__()
        self.model = Model()
        self.entries: list[Recorded] = []
        self.stored: dict[str, Position] = {}
        self.history = History((), (), {}, {})
        self.flows: list[str] = []

    @rule(amount=st.integers(1, 30), currency=st.sampled_from(["EUR", "USD"]))
    def record(self, amount, currency):
        node = Node(EFFECT, currency, amount)
        self._admit(node, Money(amount=spell(amount), currency=currency, flow="in"))

    @precondition(lambda self: self.entries)
    @rule(
        choice=st.integers(0, 10**6),
        kind=st.sampled_from([REFUND, ADJUSTMENT, ADJUSTMENT]),
        amount=st.integers(-30, 30).filter(bool),
        rate=st.none() | st.sampled_from(["0.5", "0.9", "1.1", "3"]),
        observed=st.booleans(),
        in_group=st.booleans(),
    )
    def correct(self, *, choice, kind, amount, rate, observed, in_group):
        if kind is REFUND:
            effects = [at for at, node in enumerate(self.model.nodes) if node.kind is EFFECT]
            at, amount = effects[choice % len(effects)], abs(amount)
        else:
            at = choice % len(self.entries)
        standing = self.model.nodes[at]
        flow = self.flows[at] if kind is ADJUSTMENT else "out"
        currency, applied = standing.currency, None
        if rate is not None:
            currency = {"EUR": "USD", "USD": "EUR"}[currency]
            applied = int(Decimal(amount) * Decimal(rate)) or (1 if amount > 0 else -1)
        node = Node(kind, currency, amount, applied, at)
        money = Money(
            amount=spell(amount),
            currency=currency,
            flow=flow,
            applied=None if applied is None else spell(applied),
        )
        self._admit(node, money, observed=observed, in_group=in_group)

    def _admit(self, node, money, *, observed=False, in_group=False):
        entry_id = f"e{len(self.entries)}"
        target = None if node.target is None else f"e{node.target}"
        effect = make_effect(node.kind, money, corrects=target, observed=observed, key=entry_id)
        history = self.history.fork() if in_group else self.history
        before = self.history.changed_positions
        if not (observed or self.model.allows(node)):
            with pytest.raises(OverRefundError):
                history.admit(effect, entry_id)
            assert self.history.changed_positions == before
            return
        assert history.admit(effect, entry_id) == target
        if in_group:
            self.history.join(history)
        self.model.nodes.append(node)
        self.flows.append(money.flow)
        self.entries.append(
            Recorded(
                id=entry_id,
                seq=len(self.entries),
                kind=node.kind,
                type=effect.type,
                money=money,
                target=target,
                observed=observed,
            )
        )

    @rule()
    def commit(self):
        self.stored |= {row.entry: row for row in self.history.changed_positions}
        self.history = History(self.entries, self.stored.values(), {}, {})

    @invariant()
    def positions_are_what_the_definition_gives(self):
        model = self.model
        found = self.stored | {row.entry: row for row in self.history.changed_positions}
        corrected = {node.target for node in model.nodes if node.target is not None}
        assert found == {
            f"e{at}": Position(
                entry=f"e{at}",
                currency=model.nodes[at].currency,
                original=model.nodes[at].own,
                adjusted=model.adjusted(at),
                refunded=model.refunded(at),
                held=0,
                excess=None if model.nodes[at].kind is ADJUSTMENT else max(0, -model.remaining(at)),
            )
            for at in corrected
        }


TestCorrections = Corrections.TestCase

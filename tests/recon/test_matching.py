"""Laws of matching: what holds whatever is matched, and each pass with one example."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.recon.coverage import Span, build_coverage
from ledger.recon.matching import Decision, Item, Rules, Side, Strength, Tolerance, key_of, match
from ledger.recon.matching.rules import business_days_after
from ledger.recon.reconciliation import compared, reconcile
from ledger.recon.statement import LineKind
from ledger.recon.states import Scope, State, SubState
from tests.recon.planted import Month

DAY = date(2026, 3, 3)
RULES = Rules()


def scope(today: date = date(2026, 4, 20), *, complete: bool = True) -> Scope:
    spans = [Span(source="s", currency="EUR", first=date(2026, 3, 1), last=date(2026, 4, 15))]
    return Scope(
        today=today,
        period_from=date(2026, 3, 1),
        period_to=date(2026, 3, 31),
        coverage=build_coverage(spans if complete else []),
        providers={"stripe": ("s",)},
        banks=("bank-main",),
    )


def states(month: Month, **asked) -> Counter:
    found = reconcile(month.items, asked.pop("rules", RULES), scope(**asked))
    return Counter((each.state, each.sub_state) for each in found.standings)


@st.composite
def worlds(draw) -> list[Item]:
    """Few ids, references, amounts and days, so that everything collides with everything."""
    few = st.sampled_from
    items = []
    for at in range(draw(st.integers(0, 14))):
        side = draw(few(list(Side)))
        bank = side is Side.BANK
        kinds = [LineKind.MOVEMENT] if bank else list(LineKind)
        items.append(
            Item(
                side=side,
                key=key_of(side, f"{at}"),
                account="a",
                provider=draw(few(["stripe", "bank", None] if side is Side.LEDGER else ["stripe"])),
                kind=draw(few(kinds)),
                amount=draw(few([-20, -10, 10, 20, 30])),
                fee=0 if side is Side.LEDGER else draw(few([0, 10])),
                currency=draw(few(["EUR", "EUR", "USD"])),
                day=DAY + timedelta(days=draw(st.integers(0, 12))),
                ids=draw(few([(), ("x",), ("y",), ("x", "y")])),
                original_id=draw(few([None, "ch_1", "x"])),
                merchant_ref=draw(few([None, "ORD-1", "ord-1", "ORD-2"])),
                batch_ref=draw(few([None, "x", "po_1"])),
                text=draw(few([None, "STRIPE po_1", "rent"])) if bank else None,
            )
        )
    return items


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_lines_and_files_changes_no_match(items, chance):
    first = reconcile(items, RULES, scope())
    shuffled = list(items)
    chance.shuffle(shuffled)
    again = reconcile(shuffled, RULES, scope())

    assert first.output_digest == again.output_digest
    assert first.input_digest == again.input_digest


@given(worlds())
def test_every_line_ends_in_exactly_one_state_and_every_proof_is_zero(items):
    found = reconcile(items, RULES, scope())
    in_leg = Counter((each.leg, item.key) for each in found.standings for item in each.items)

    assert set(in_leg.values()) <= {1}
    expected = {item.key for item in compared(items, found.matching, found.standings)}
    assert {key for _, key in in_leg} == expected
    assert all(proof.unexplained == 0 for proof in found.proofs)


@given(worlds())
def test_what_people_took_apart_is_never_put_together_by_a_rule(items):
    first = match(items, RULES, with_bank=True)
    auto = [x for x in first.links if x.strength is Strength.AUTO and len(x.items) > 1]
    apart = Decision(apart=frozenset(link.keys for link in auto))
    again = match(items, RULES, apart, with_bank=True)

    assert not {x.keys for x in auto} & {x.keys for x in again.links if x.strength is Strength.AUTO}


def test_two_real_lines_of_one_day_and_amount_stay_two():
    month = Month()
    for at in (1, 2):
        month.told(LineKind.REFUND, -1_000, DAY, ids=(f"re_{at}",))
        month.line(LineKind.REFUND, -1_000, DAY, ids=(f"re_{at}",))

    assert states(month) == {(State.MATCHED, None): 2}


def test_a_partial_capture_reversal_is_no_refund():
    """The ledger knows the captured amount: both lines of the provider come to it."""
    month = Month()
    month.told(LineKind.PAYMENT, 6_000, DAY, ids=("ch_1",))
    month.line(LineKind.PAYMENT, 10_000, DAY, ids=("ch_1",))
    month.line(LineKind.PARTIAL_CAPTURE_REVERSAL, -4_000, DAY, original_id="ch_1")
    found = reconcile(month.items, RULES, scope())

    assert [each.state for each in found.standings] == [State.MATCHED]
    assert {proof.heading.value for proof in found.proofs} == {"payments"}


def test_a_chargeback_and_its_reversal_pair():
    month = Month()
    month.line(LineKind.CHARGEBACK, -900, DAY, ids=("du_1",), fee=1_500)
    month.line(LineKind.CHARGEBACK_REVERSED, 900, DAY + timedelta(days=9), ids=("du_1",))

    assert states(month) == {(State.MATCHED, None): 1}


def test_amount_and_date_alone_are_only_a_suggestion():
    """Both stay open, and each shows what it could be."""
    month = Month()
    month.told(LineKind.PAYMENT, 4_500, DAY)
    month.line(LineKind.PAYMENT, 4_500, DAY + timedelta(days=1), ids=("ch_1",))
    found = reconcile(month.items, RULES, scope())
    [link] = found.matching.links

    assert link.strength is Strength.SUGGESTED
    assert link.reason == "same amount, 1 day apart; no reference in common"
    assert {each.state for each in found.standings} == {
        State.MISSING_AT_PROVIDER,
        State.MISSING_IN_LEDGER,
    }
    assert {each.suggested for each in found.standings} == {(link.id,)}


def test_a_suggestion_that_a_person_confirms_is_a_match():
    month = Month()
    month.told(LineKind.PAYMENT, 4_500, DAY)
    month.line(LineKind.PAYMENT, 4_500, DAY, ids=("ch_1",))
    keys = frozenset(item.key for item in month.items)
    found = reconcile(month.items, RULES, scope(), Decision(together=(keys,)))

    assert [(each.state, each.link.strength) for each in found.standings if each.link] == [
        (State.MATCHED, Strength.MANUAL)
    ]


def test_an_ambiguous_set_is_one_break_with_all_candidates():
    month = Month()
    month.told(LineKind.PAYMENT, 4_500, DAY)
    for at in (1, 2):
        month.line(LineKind.PAYMENT, 4_500, DAY, ids=(f"ch_{at}",))
    found = reconcile(month.items, RULES, scope())
    [standing] = found.standings

    assert (standing.state, standing.sub_state) == (State.AMOUNT_MISMATCH, SubState.AMBIGUOUS)
    assert len(standing.items) == 3


def test_sums_under_one_reference_are_suggested_where_there_is_one_way():
    month = Month()
    month.told(LineKind.PAYMENT, 3_000, DAY, merchant_ref="ORD-1")
    month.line(LineKind.PAYMENT, 1_000, DAY, merchant_ref="ORD-1")
    month.line(LineKind.PAYMENT, 2_000, DAY, merchant_ref="ORD-1")
    found = match(month.items, RULES)

    assert [(link.rule, link.strength, len(link.items)) for link in found.links] == [
        ("9 sum under one reference", Strength.SUGGESTED, 3)
    ]
    assert match(month.items, Rules(subset_steps=1)).unasked_sums == 1


def test_a_payout_that_only_looks_like_a_banks_line_is_suggested():
    month = Month()
    month.line(LineKind.PAYOUT, -9_000, DAY, ids=("po_1",))
    month.add(Side.BANK, LineKind.MOVEMENT, 9_000, DAY + timedelta(days=2), text="CREDIT")
    found = match(month.items, RULES, with_bank=True)

    assert [(link.rule, link.strength) for link in found.links] == [
        ("7 payout, amount and date", Strength.SUGGESTED)
    ]


def test_a_returned_payout_pairs_when_the_bank_saw_neither():
    month = Month()
    month.line(LineKind.PAYOUT, -9_000, DAY, ids=("po_1",))
    month.line(LineKind.PAYOUT_FAILED, 9_000, DAY + timedelta(days=3), ids=("po_1",))

    assert states(month) == {(State.MATCHED, None): 1}


@pytest.mark.parametrize(
    ("automatic", "state"), [(True, State.MATCHED), (False, State.AMOUNT_MISMATCH)]
)
def test_a_tolerance_settles_only_where_someone_said_so(automatic, state):
    rule = Tolerance(
        kind=LineKind.PAYMENT, currency="EUR", cap_minor=2, becomes="rounding", automatic=automatic
    )
    month = Month()
    month.told(LineKind.PAYMENT, 1_000, DAY, ids=("ch_1",))
    month.line(LineKind.PAYMENT, 1_002, DAY, ids=("ch_1",))
    found = reconcile(month.items, Rules(tolerances=(rule,)), scope())

    assert [each.state for each in found.standings] == [state]
    assert bool(found.standings[0].suggested) is not automatic


def test_nothing_is_missing_at_a_provider_whose_files_are_not_complete():
    """Without a complete file, that something is not there says nothing."""
    month = Month()
    month.told(LineKind.REFUND, -1_000, DAY, ids=("re_1",))

    assert states(month) == {(State.MISSING_AT_PROVIDER, None): 1}
    assert states(month, complete=False) == {(State.NOT_YET_COVERED, None): 1}
    assert states(month, today=DAY) == {(State.TIMING_DIFFERENCE, None): 1}


def test_a_refund_that_fails_later_is_matched_then_broken_then_closed():
    """The worked case: the old match stays, the failure is a break, the forward entry ends it."""
    month = Month()
    month.told(LineKind.REFUND, -4_500, DAY, ids=("re_1",), original_id="ch_1")
    month.line(LineKind.REFUND, -4_500, DAY, ids=("re_1",), original_id="ch_1")
    assert states(month, today=date(2026, 3, 5)) == {(State.MATCHED, None): 1}

    failed_on = date(2026, 3, 9)
    month.line(LineKind.REFUND_FAILED, 4_500, failed_on, ids=("re_1",), original_id="ch_1")
    assert states(month, today=date(2026, 3, 10)) == {
        (State.MATCHED, None): 1,
        (State.MISSING_IN_LEDGER, SubState.REVERSED_AT_PROVIDER): 1,
    }

    month.told(LineKind.REFUND_FAILED, 4_500, failed_on, ids=("re_1",), original_id="ch_1")
    assert states(month, today=date(2026, 3, 11)) == {(State.MATCHED, None): 2}


def test_a_break_keeps_its_fingerprint_while_its_state_changes():
    month = Month()
    month.told(LineKind.REFUND, -4_500, DAY, ids=("re_1",))
    [missing] = reconcile(month.items, RULES, scope()).standings
    month.line(LineKind.REFUND, -4_400, DAY, ids=("re_1",))
    [differs] = reconcile(month.items, RULES, scope()).standings

    assert (missing.state, differs.state) == (State.MISSING_AT_PROVIDER, State.AMOUNT_MISMATCH)
    assert missing.fingerprint == differs.fingerprint


def test_a_window_ends_for_a_weekends_report_too():
    friday, sunday = date(2026, 3, 6), date(2026, 3, 8)

    assert business_days_after(date(2026, 3, 3), 3) == sunday
    assert business_days_after(friday, 0) == sunday
    assert business_days_after(friday, 1, frozenset({date(2026, 3, 9)})) == date(2026, 3, 10)


def test_coverage_joins_days_that_follow_each_other():
    spans = [
        Span(source="s", currency="EUR", first=date(2026, 3, 1), last=date(2026, 3, 10)),
        Span(source="s", currency="EUR", first=date(2026, 3, 11), last=date(2026, 3, 20)),
        Span(source="s", currency="EUR", first=date(2026, 3, 22), last=date(2026, 3, 31)),
    ]
    coverage = build_coverage(spans)

    assert coverage.covers("s", "EUR", date(2026, 3, 1), date(2026, 3, 20))
    assert not coverage.covers("s", "EUR", date(2026, 3, 1), date(2026, 3, 22))
    assert coverage.first_gap("s", "EUR", date(2026, 3, 1), date(2026, 3, 31)) == date(2026, 3, 21)

"""Every planted break is found in its exact state, nothing else is, and the statement is zero."""

from __future__ import annotations

import os
import random

import pytest

from ledger.recon.matching import Leg
from ledger.recon.reconciliation import Reconciliation, compared, reconcile
from ledger.recon.states import State, SubState
from tests.recon.planted import BREAKING, RULES, Month, plant

LINES = int(os.environ.get("EFFECT_LEDGER_TEST_LINES", "20000"))


def run(month: Month) -> Reconciliation:
    return reconcile(month.items, RULES, month.scope())


def stand(found: Reconciliation) -> dict[str, tuple[str, str | None]]:
    """(state, sub-state) by item; each item stands once in a leg."""
    states: dict[str, tuple[str, str | None]] = {}
    for standing in found.standings:
        for item in standing.items:
            assert item.key not in states, f"{item.key} stands twice"
            states[item.key] = (standing.state, standing.sub_state)
    return states


def wrong(month: Month, found: Reconciliation) -> list[tuple[str, object, object]]:
    """Items whose state is not the planted one."""
    matched = ("matched", None)
    return [
        (key, state, month.expected.get(key, matched))
        for key, state in stand(found).items()
        if state != month.expected.get(key, matched)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_planted_breaks_are_found_exactly(seed):
    """Each in its state and sub-state, and no false one among hundreds that match."""
    month = plant(pairs=400, breaks=4 * len(BREAKING), seed=seed)
    found = run(month)

    assert wrong(month, found) == []
    assert month.expected.keys() <= stand(found).keys()
    assert {proof.unexplained for proof in found.proofs} == {0}


def test_every_state_and_sub_state_is_planted():
    month = plant(pairs=0, breaks=len(BREAKING))
    planted = set(month.expected.values())

    assert {state for state, _ in planted} == {each.value for each in State}
    assert {sub for _, sub in planted if sub} == {each.value for each in SubState}


def test_every_item_ends_in_exactly_one_state():
    month = plant(pairs=200, breaks=50)
    found = run(month)

    assert stand(found).keys() == {
        item.key for item in compared(month.items, found.matching, found.standings)
    }


def test_the_order_of_items_changes_nothing():
    month = plant(pairs=200, breaks=2 * len(BREAKING))
    first = run(month)
    random.Random(7).shuffle(month.items)
    again = run(month)

    assert (first.input_digest, first.output_digest) == (again.input_digest, again.output_digest)


def test_a_proof_shows_an_item_that_no_standing_holds():
    """The totals are not made of the differences: what is lost on the way is unexplained."""
    from ledger.recon.proof import build_proofs

    month = plant(pairs=50, breaks=0)
    found = run(month)
    items = compared(month.items, found.matching, found.standings)
    lost = next(each for each in found.standings if len(each.items) == 2)
    kept = [standing for standing in found.standings if standing is not lost]
    one_sided = [item for item in items if item is not lost.items[1]]

    assert {proof.unexplained for proof in build_proofs(one_sided, kept, month.scope())} != {0}


def test_legs_are_told_apart():
    found = run(plant(pairs=20, breaks=0))

    assert {proof.leg for proof in found.proofs} == set(Leg)


@pytest.mark.slow
def test_planted_breaks_among_many_lines_are_found_exactly():
    """EFFECT_LEDGER_TEST_LINES says among how many lines."""
    month = plant(pairs=LINES // 2, breaks=500)
    found = run(month)

    assert wrong(month, found) == []
    assert {proof.unexplained for proof in found.proofs} == {0}

"""From files to standings: what the generator plants is found, and nothing else."""

from __future__ import annotations

import os
import time

import pytest

from ledger.recon.rehearsal import Rehearsal, rehearse
from ledger.recon.synthetic import Plan, generate
from ledger.recon.synthetic.breaking import WAYS

LINES = int(os.environ.get("EFFECT_LEDGER_TEST_LINES", "20000"))


def rehearsed(plan: Plan, directory) -> Rehearsal:
    generate(plan, directory)
    return rehearse(directory, time.monotonic, lambda _what, _done: None)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_planted_break_is_found_in_its_exact_state(tmp_path, seed):
    """Stripe, Adyen, camt and MT940: read, matched, and no false break among them."""
    found = rehearsed(Plan(lines=600, breaks=2 * len(WAYS), seed=seed), tmp_path)

    assert found.wrong == []
    assert found.unexplained == []
    assert found.planted == 2 * len(WAYS)


def test_the_same_shop_gives_the_same_digest(tmp_path):
    plan = Plan(lines=100, breaks=20, seed=3)

    assert (
        rehearsed(plan, tmp_path / "one").output_digest
        == rehearsed(plan, tmp_path / "two").output_digest
    )


@pytest.mark.slow
def test_planted_breaks_are_found_among_many_lines_of_files(tmp_path):
    """EFFECT_LEDGER_TEST_LINES says among how many."""
    found = rehearsed(Plan(lines=LINES, breaks=500, seed=1), tmp_path)

    assert (found.wrong, found.unexplained) == ([], [])

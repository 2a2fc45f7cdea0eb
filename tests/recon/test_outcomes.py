"""What a run means for the breaks that it did not raise."""

from __future__ import annotations

import pytest

from ledger.recon.outcomes import is_answered

OPEN, OTHER = "ledger_to_statement", "payout_to_bank"


@pytest.mark.parametrize(
    ("stands", "answered"),
    [
        ({OPEN: "matched"}, True),
        ({OPEN: "missing_in_ledger", OTHER: "matched"}, False),
        ({OPEN: "matched", OTHER: "missing_at_provider"}, True),
        ({OTHER: "matched"}, True),
        ({OTHER: "timing_difference"}, False),
        ({}, False),
    ],
)
def test_a_break_is_answered_in_its_own_leg_unless_it_left_that(stands, answered):
    seen = {"leg": OPEN, "items": [{"key": "provider:1"}]}

    assert is_answered(seen, {"provider:1": stands}) is answered

"""Laws of the two bounds on an entry's time, as `verify` tells them of a receipt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledger.cli.verify.bounds import Bounds
from ledger.forms.timestamps import parse_time
from ledger.verify import CLOCKS_APART

RECORDED = "2026-03-01T09:30:00.000000Z"
AT = parse_time(RECORDED)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("before", "after", "verdict", "check"),
    [
        (None, None, "unchecked", None),
        (AT, AT, "ok", None),
        (None, AT - CLOCKS_APART, "ok", None),
        (None, AT - CLOCKS_APART - SECOND, "bad", "time.witnessed"),
        (AT + CLOCKS_APART, None, "ok", None),
        (AT + CLOCKS_APART + SECOND, None, "bad", "time.backdated"),
    ],
)
def test_a_time_outside_its_bounds_is_named(before, after, verdict, check):
    """With the minute that honest clocks may differ by."""
    bounds = Bounds(not_before=before, not_after=after)
    found = bounds.first_bad(7, RECORDED)

    assert bounds.verdict(RECORDED) == verdict
    assert (found and found["check"]) == check
    assert found is None or (found["seq"], RECORDED in found["message"]) == (7, True)


def test_what_nobody_bounds_is_said():
    assert len(Bounds(not_before=None, not_after=None).unknown()) == 2
    assert len(Bounds(not_before=None, not_after=AT).unknown()) == 1
    assert Bounds(not_before=AT, not_after=AT).unknown() == []

"""How long breaks take to be closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger.recon.breaks import Action, Event
from ledger.recon.closing_times import measure_closing
from ledger.recon.shelf import BreakRow

SEEN_AT = datetime(2026, 3, 1, tzinfo=UTC)
SEEN = {"seen": {"state": "duplicate"}}


def row(number: int, *events: tuple[Action, int]) -> BreakRow:
    """A break that was seen, and what happened so many seconds later."""
    all_events = ((Action.OPENED, 0), *events)
    return BreakRow(
        id=str(number),
        fingerprint=str(number),
        created_at=SEEN_AT,
        events=tuple(
            Event(
                ordinal=at,
                at=SEEN_AT + timedelta(seconds=seconds),
                actor="fin",
                action=action,
                document=SEEN,
            )
            for at, (action, seconds) in enumerate(all_events)
        ),
    )


@given(st.lists(st.integers(0, 10**7), min_size=1))
def test_nine_of_ten_closed_breaks_took_no_longer_than_the_ninetieth_percentile(times):
    rows = [row(at, (Action.CLOSED, seconds)) for at, seconds in enumerate(times)]
    [found] = measure_closing([*rows, row(-1)])
    within = sum(seconds <= found["p90_s"] for seconds in times)
    sooner = sum(seconds < found["p90_s"] for seconds in times)

    assert found["closed"] == len(times)
    assert 10 * sooner < 9 * len(times) <= 10 * within


def test_a_break_that_was_opened_again_counts_to_its_last_close():
    events = ((Action.CLOSED, 60), (Action.REOPENED, 90), (Action.CLOSED, 600))

    assert measure_closing([row(0, *events)]) == [
        {"state": "duplicate", "closed": 1, "median_s": 600, "p90_s": 600}
    ]

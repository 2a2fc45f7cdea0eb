"""Which moments a period has, and what is late for a closed one."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit.verify import Totals
from ledger.errors import PeriodError
from ledger.forms.timestamps import format_time
from ledger.period import ClosedPeriod, Period, build_period, lateness

CALENDAR = {
    ("2026", "UTC"): ("2026-01-01T00:00:00.000000Z", "2027-01-01T00:00:00.000000Z"),
    ("2026-Q4", "UTC"): ("2026-10-01T00:00:00.000000Z", "2027-01-01T00:00:00.000000Z"),
    # Summer time ends within it: the month has an hour more than its days.
    ("2026-10", "Europe/Berlin"): ("2026-09-30T22:00:00.000000Z", "2026-10-31T23:00:00.000000Z"),
    ("2026-12", "Asia/Kolkata"): ("2026-11-30T18:30:00.000000Z", "2026-12-31T18:30:00.000000Z"),
    ("2028-02-29", "UTC"): ("2028-02-29T00:00:00.000000Z", "2028-03-01T00:00:00.000000Z"),
    ("2026-03-29", "Europe/Berlin"): ("2026-03-28T23:00:00.000000Z", "2026-03-29T22:00:00.000000Z"),
}


@pytest.mark.parametrize(("name", "zone"), CALENDAR)
def test_names_of_the_calendar_begin_and_end_at_midnight_of_the_ledgers_zone(name, zone):
    period = build_period(name, zone)

    assert (period.from_at, period.to_at) == CALENDAR[name, zone]


@pytest.mark.parametrize(
    "name",
    ["2026-13", "2026-00", "2026-02-29", "0000", "week-40", "2026-Q5", "9999", "9999-12", "0001"],
)
def test_other_names_need_their_moments(name):
    with pytest.raises(PeriodError, match="say from when to when"):
        build_period(name, "UTC")

    period = build_period(name, "UTC", from_at="2026-01-01", to_at="2026-01-02")
    assert (period.from_at, period.to_at) == ("2026-01-01", "2026-01-02")


def test_a_name_of_the_calendar_means_nothing_else():
    with pytest.raises(PeriodError, match="name of the calendar"):
        build_period("2026-10", "UTC", from_at="2026-10-02T00:00:00.000000Z")


def test_a_period_does_not_end_before_it_begins():
    with pytest.raises(PeriodError, match="end before it begins"):
        build_period("x", "UTC", from_at="2026-01-02", to_at="2026-01-02")


@given(
    st.lists(st.integers(0, 60), min_size=2, max_size=12, unique=True).map(sorted),
    st.integers(0, 60),
)
def test_an_effect_is_late_for_the_one_closed_period_it_occurred_in(minutes, occurred):
    """From its first moment on, and not in the first moment after it; gaps are nobody's."""
    pairs = list(zip(minutes[::2], minutes[1::2], strict=False))
    closed = [
        ClosedPeriod(period=Period(name=f"p{at}", from_at=at_(first), to_at=at_(after)), seq=at)
        for at, (first, after) in enumerate(pairs)
    ]
    expected = next(
        (f"p{at}" for at, (first, after) in enumerate(pairs) if first <= occurred < after), None
    )

    late_for = lateness(tuple(reversed(closed)))
    assert late_for(SimpleNamespace(occurred_at=at_(occurred))) == expected


def at_(minute: int) -> str:
    return format_time(datetime(2026, 1, 1, minute // 60, minute % 60, tzinfo=UTC))


AMOUNTS = st.one_of(
    st.none(), st.integers(-(10**19), 10**19).map(lambda minor: f"{minor // 100}.{minor % 100:02d}")
)


@given(st.lists(st.tuples(st.sampled_from(["effect", "refund"]), AMOUNTS)), st.integers(1, 5))
def test_totals_are_the_same_however_they_are_folded(items, parts):
    """In parts and in another order; exact to the last unit."""
    whole, shuffled = Totals(), Totals()
    for kind, amount in items:
        add(whole, kind, amount)
    for part in range(parts):
        for kind, amount in items[part::parts]:
            add(shuffled, kind, amount)

    assert whole.lines() == shuffled.lines()
    assert whole.hash() == shuffled.hash()
    assert whole.count == len(items)
    expected = sum(int(amount.replace(".", "")) for _, amount in items if amount)
    found = sum(int(line["amount"].replace(".", "")) for line in whole.sums())
    assert found == expected


def add(totals: Totals, kind: str, amount: str | None) -> None:
    money = (None, None) if amount is None else ("EUR", "in")
    totals.add(kind, "card.capture", *money, count=1, amount=amount)

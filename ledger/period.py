"""
Period: a name and [from, to), in the time zone of a ledger; and what is late for a closed one.

When one is closed, and what its close says, is for `audit`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ledger.effect import Effect, Kind
from ledger.errors import PeriodError, PeriodSpanError
from ledger.forms.names import check_period_name
from ledger.forms.timestamps import format_time

PERIOD_CLOSED = "period.closed"
"""Type of the notice that closes one."""
PERIOD_REVIEWED = "period.reviewed"
"""Type of the notice by which somebody else confirms a close."""

_CALENDAR = re.compile("([0-9]{4})(?:-(?:Q([1-4])|([0-9]{2})(?:-([0-9]{2}))?))?")
_YEARS = range(2, 9_999)
"""Those whose first moment and whose end every zone has, as Python's calendar goes."""
_MONTHS = 12
_MONTHS_PER_QUARTER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A span of time with a name. Times are as they are hashed, so they compare as text."""

    name: str
    from_at: str
    """First moment in it."""
    to_at: str
    """First moment after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPeriod:
    """A close that stands, as writers need to know it."""

    period: Period
    seq: int
    """Where the notice stands."""


def is_close(effect: Effect) -> bool:
    """Whether an effect closes a period; a close without its moments makes nothing late."""
    return (
        effect.type == PERIOD_CLOSED
        and effect.kind is Kind.NOTICE
        and effect.data is not None
        and "from_at" in effect.data
    )


def build_period(
    name: str, time_zone: str, *, from_at: str | None = None, to_at: str | None = None
) -> Period:
    """
    The period called `name`.

    A year (2026), quarter (2026-Q4), month (2026-10) or day (2026-10-31) begins and ends at
    midnight of the ledger's time zone; any other name needs its two moments.

    Args:
        name: As `check_period_name` takes it.
        time_zone: IANA zone.
        from_at: First moment, as `format_time` gives it; None for a name of the calendar.
        to_at: First moment after it; likewise.

    Raises:
        MalformedEffectError, TooLargeError: Nothing can be called so.
        PeriodError: It is no name of the calendar, and has not its moments.
        PeriodSpanError: They are in the wrong order, or given beside a name of the calendar, which
            has its own.
    """
    check_period_name(name, "/name")
    span = _calendar_span(name)
    if span is not None:
        first, after = (
            format_time(datetime(*day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)) for day in span
        )
        if (from_at or first, to_at or after) != (first, after):
            raise PeriodSpanError(
                f"{name} is a name of the calendar: in {time_zone} it is from {first} to {after}. "
                "Leave from and to out, or choose another name",
                name=name,
            )
        return Period(name=name, from_at=first, to_at=after)
    if from_at is None or to_at is None:
        raise PeriodError(
            f"{name} is no year, quarter, month or day (2026, 2026-Q4, 2026-10, 2026-10-31): say "
            "from when to when it is",
            name=name,
        )
    if from_at >= to_at:
        raise PeriodSpanError(f"period {name} would end before it begins", name=name)
    return Period(name=name, from_at=from_at, to_at=to_at)


def lateness(closed: Sequence[ClosedPeriod]) -> Callable[[Effect], str | None]:
    """
    Tells of each effect the closed period that it is late for, None for all others.

    Args:
        closed: Closes that stand; no two of them overlap.
    """
    if not closed:
        return lambda _effect: None
    periods = sorted((each.period for each in closed), key=lambda period: period.from_at)
    begins = [period.from_at for period in periods]

    def late_for(effect: Effect) -> str | None:
        at = bisect_right(begins, effect.occurred_at) - 1
        if at >= 0 and effect.occurred_at < periods[at].to_at:
            return periods[at].name
        return None

    return late_for


_Day = tuple[int, int, int]


def _calendar_span(name: str) -> tuple[_Day, _Day] | None:
    """First day of the period of this name and first day after it, None for other names."""
    match = _CALENDAR.fullmatch(name)
    if match is None or int(match[1]) not in _YEARS:
        return None
    year, quarter, month, day = (None if each is None else int(each) for each in match.groups())
    assert year is not None
    try:
        if day is not None and month is not None:
            start = datetime(year, month, day, tzinfo=UTC)
            after = datetime.fromordinal(start.toordinal() + 1)
            return (year, month, day), (after.year, after.month, after.day)
        if month is not None:
            datetime(year, month, 1, tzinfo=UTC)
            return (year, month, 1), _month_after(year, month)
        if quarter is not None:
            first = (quarter - 1) * _MONTHS_PER_QUARTER + 1
            return (year, first, 1), _month_after(year, first + _MONTHS_PER_QUARTER - 1)
        datetime(year, 1, 1, tzinfo=UTC)
        return (year, 1, 1), (year + 1, 1, 1)
    except ValueError:
        # Such as 2026-13: in the form of the calendar, and not in it.
        return None


def _month_after(year: int, month: int) -> _Day:
    return (year + month // _MONTHS, month % _MONTHS + 1, 1)

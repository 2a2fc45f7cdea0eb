"""Laws of the one form in which times are hashed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.forms.timestamps import format_time, normalise_time, parse_rfc3339, parse_time

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


@given(MOMENTS)
def test_a_time_comes_back_as_it_went(moment):
    assert parse_time(format_time(moment)) == moment


@given(MOMENTS, OFFSETS)
def test_an_offset_changes_the_spelling_and_not_the_moment(moment, offset):
    text = moment.astimezone(offset).isoformat(timespec="microseconds")
    assert format_time(parse_rfc3339(text)) == format_time(moment)
    assert normalise_time(text) == format_time(moment)


@given(MOMENTS, st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_a_time_in_the_usual_spelling_is_read_like_any_other(moment, precision):
    text = moment.isoformat(timespec=precision).replace("+00:00", "Z")
    assert normalise_time(text) == format_time(parse_rfc3339(text))


@given(MOMENTS, MOMENTS)
def test_times_sort_as_text(one, other):
    assert (format_time(one) < format_time(other)) == (one < other)


def test_digits_beyond_microseconds_are_cut():
    assert parse_rfc3339("2026-01-01T00:00:00.999999999Z").microsecond == 999_999


def test_an_unknown_local_offset_is_utc():
    """RFC 3339 Section 4.3: the moment is known, only the place is not."""
    assert parse_rfc3339("2026-01-01T00:00:00-00:00") == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00.0000000000Z",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T23:59:60Z",
        "20260101T000000Z",
        "2026-W01-1T00:00:00Z",
        "٢٠٢٦-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text):
    for parse in (parse_rfc3339, normalise_time):
        with pytest.raises(ValueError):
            parse(text)


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T00:00:00Z", "2026-01-01t00:00:00.000000z", "2026-01-01T01:00:00.000000+01:00"],
)
def test_a_recorded_time_has_one_spelling(text):
    with pytest.raises(ValueError):
        parse_time(text)


def test_a_time_without_offset_names_no_moment():
    with pytest.raises(AssertionError):
        format_time(datetime(2026, 1, 1))  # noqa: DTZ001

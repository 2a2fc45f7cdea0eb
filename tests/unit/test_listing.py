"""Laws of listings: filters hold callers to what entries can have, cursors lead one way only."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedEffectError, RejectedError, TooLargeError
from ledger.listing import EntryFilter, Listing

EVERYTHING = EntryFilter()
END = 2**63 - 1
SOME_ID = "019a0000-0000-7000-8000-000000000001"


def listing(filters: EntryFilter = EVERYTHING, *, ledger: str = "shop", descending: bool = False):
    return Listing(ledger, filters, descending=descending)


# ---- Filters --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "nonsense"),
        ("kind", ""),
        ("key", "two words"),
        ("subject", ""),
        ("subject", "a\x00b"),
        ("label", "nocolon"),
        ("label", ":value"),
        ("evidence", "system:"),
        ("corrects", "12"),
        ("recorded_from", "yesterday"),
        ("occurred_to", "2026-01-01"),
    ],
)
def test_value_no_entry_could_have_is_refused(name, value):
    """An empty answer to it would look like an answer."""
    with pytest.raises(MalformedEffectError, match=name) as refused:
        EntryFilter(**{name: value})
    assert refused.value.details["pointer"] == name


def test_value_over_the_limit_is_refused():
    with pytest.raises(TooLargeError, match="subject"):
        EntryFilter(subject="x" * 256)


def test_values_are_taken_in_any_spelling_and_compared_in_one():
    given = EntryFilter(occurred_from="2026-03-03T01:00:00+01:00", corrects=SOME_ID.upper())

    assert given.occurred_from == "2026-03-03T00:00:00.000000Z"
    assert given.corrects == SOME_ID
    assert given == EntryFilter(occurred_from="2026-03-03T00:00:00Z", corrects=SOME_ID)


def test_the_narrowest_filter_is_walked_and_the_others_are_checked():
    """Whatever order they are given in; a single one leaves nothing to check."""
    wide = EntryFilter(kind="refund", label="shop:berlin", subject="order/1")

    walk = listing(wide).select_walked(0, 10).statement

    assert "hashtextextended(effect_ledger.entries.subject" in walk
    assert "entry_terms" not in walk
    assert listing(wide).is_checked
    assert not listing(EntryFilter(key="order-1")).is_checked
    assert not listing(EntryFilter(recorded_to="2026-01-01T00:00:00Z")).is_checked
    assert listing(EntryFilter(occurred_to="2026-01-01T00:00:00Z")).is_checked


# ---- Cursors --------------------------------------------------------------------------


@given(seq=st.integers(0, 2**63 - 1), descending=st.booleans())
def test_cursor_leads_back_to_its_seq(seq, descending):
    asked = listing(EntryFilter(kind="refund"), descending=descending)

    assert asked.parse_cursor(asked.cursor(seq)) == seq
    assert asked.cursor(seq).isascii()


@pytest.mark.parametrize(
    "other",
    [
        listing(EntryFilter(kind="effect")),
        listing(EntryFilter(kind="refund", subject="order/1")),
        listing(EntryFilter(kind="refund"), descending=True),
        listing(EntryFilter(kind="refund"), ledger="mall"),
        listing(),
    ],
    ids=["value", "filter", "order", "ledger", "none"],
)
def test_cursor_of_another_listing_is_refused(other):
    """The page it would give is a page of neither."""
    asked = listing(EntryFilter(kind="refund"))

    with pytest.raises(RejectedError, match="not of this listing"):
        asked.parse_cursor(other.cursor(7))


@given(at=st.integers(0, 23), bit=st.integers(0, 7))
def test_tampered_cursor_is_refused(at, bit):
    """Whichever bit was changed."""
    asked = listing()
    octets = bytearray(base64.urlsafe_b64decode(asked.cursor(7)))
    octets[at] ^= 1 << bit

    with pytest.raises(RejectedError):
        asked.parse_cursor(base64.urlsafe_b64encode(octets).decode())


@pytest.mark.parametrize("cursor", ["", "nonsense", "7", "=" * 32, "A" * 31, "A" * 33, "é" * 32])
def test_what_is_no_cursor_is_refused(cursor):
    with pytest.raises(RejectedError):
        listing().parse_cursor(cursor)


def test_cursor_does_not_depend_on_how_times_were_spelled():
    """The next request may come from another client of the same caller."""
    utc = listing(EntryFilter(occurred_from="2026-03-03T00:00:00Z"))
    berlin = listing(EntryFilter(occurred_from="2026-03-03T01:00:00+01:00"))

    assert berlin.parse_cursor(utc.cursor(7)) == 7


# ---- Ranges ---------------------------------------------------------------------------


def test_range_ends_where_nothing_was_recorded_that_late():
    """No entry at or after a time: the rest of the ledger is before it."""
    both = EntryFilter(recorded_from="2026-01-01T00:00:00Z", recorded_to="2026-01-02T00:00:00Z")

    assert listing().range(None, None) == (0, END)
    assert listing(both).range(3, 5) == (3, 5)
    assert listing(both).range(3, None) == (3, END)
    assert listing(both).range(None, None) == (END, END)


@given(seq=st.integers(0, 9), start=st.integers(0, 9), stop=st.integers(0, 9))
def test_the_next_page_begins_after_the_last_one(seq, start, stop):
    upward = range(*listing().after(seq, start, stop))
    downward = range(*listing(descending=True).after(seq, start, stop))

    assert list(upward) == [each for each in range(start, stop) if each > seq]
    assert list(downward) == [each for each in range(start, stop) if each < seq]

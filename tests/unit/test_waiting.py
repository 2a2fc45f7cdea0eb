"""Laws of a line: large postings keep nobody waiting for long, and are told the truth once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.effect import Effect, Kind
from ledger.errors import (
    BadReferenceError,
    LedgerBrokenError,
    LedgerError,
    OutcomeUnknownError,
    PushbackError,
)
from ledger.submission import Posting, Submission
from ledger.waiting import BATCH_ITEMS_MAX, SLICE_ITEMS_MAX, Line, Waiting

NUMBERS = itertools.count()
SMALL = st.sampled_from([1, 1, 1, 2, 60, SLICE_ITEMS_MAX])
LARGE = st.sampled_from([SLICE_ITEMS_MAX + 1, BATCH_ITEMS_MAX, BATCH_ITEMS_MAX + 1, 1_000])


def waiting(items: int, *, atomic: bool = False) -> Waiting:
    submissions = tuple(
        Submission(
            effect=Effect(
                kind=Kind.EFFECT,
                type="t",
                key=f"k-{next(NUMBERS)}",
                occurred_at="2026-01-01T00:00:00.000000Z",
                encoded=b"e",
            )
        )
        for _ in range(items)
    )
    posting = Posting(ledger="shop", principal="till", submissions=submissions, atomic=atomic)
    return Waiting(posting, lambda _answer: None)


def keys(posting: Posting) -> list[Any]:
    return [submission.effect.key for submission in posting.submissions]


@given(st.lists(st.tuples(st.one_of(SMALL, LARGE), st.booleans()), max_size=40))
def test_everything_in_a_line_is_committed_once_and_in_its_order(arrivals):
    """Whatever its size; no batch is too large but of one that must not be cut."""
    line, asked, answers, whole = Line(), [], {}, {}
    for items, atomic in arrivals:
        each = waiting(items, atomic=atomic)
        asked.append(each)
        whole[each] = items
        line.add(each)
    committed: dict[Waiting, list[Any]] = {each: [] for each in asked}
    while line:
        batch = line.take()
        size = sum(len(each.posting.submissions) for each in batch)
        assert 0 < size <= BATCH_ITEMS_MAX or [each.posting.atomic for each in batch] == [True]
        assert sum(each.is_large for each in batch) <= 1
        for each in batch:
            committed[each] += keys(each.posting)
            answer = each.answered(list(keys(each.posting)))  # type: ignore[arg-type]
            if answer is None:
                line.add(each)
            else:
                assert each not in answers
                answers[each] = answer

    for each in asked:
        assert answers[each] == committed[each]
        assert len(set(committed[each])) == whole[each]
    assert [each for each in answers if not each.is_large] == [
        each for each in asked if not each.is_large
    ]


@given(st.lists(st.tuples(LARGE, st.booleans()), min_size=1, max_size=6), st.integers(1, 100))
def test_small_postings_wait_for_one_part_of_large_ones(large, small):
    """For one slice with which they go, or for one that may not be cut."""
    line = Line()
    for items, atomic in large:
        line.add(waiting(items, atomic=atomic))
    first = line.take()
    arriving = [waiting(1) for _ in range(small)]
    for each in arriving:
        line.add(each)
    for each in first:
        if each.answered(list(keys(each.posting))) is None:  # type: ignore[arg-type]
            line.add(each)

    second, *rest = [line.take() for _ in range(2)]

    if first[0].posting.atomic:
        assert second == arriving
    else:
        assert second[-small:] == arriving or rest[0] == arriving


# What befell a part, and what the rest of its posting is told.
ENDS: dict[str, tuple[LedgerError, type[LedgerError]]] = {
    "nobody knows": (OutcomeUnknownError("lost"), PushbackError),
    "not taken": (PushbackError("the head is kept"), PushbackError),
    "stopped": (LedgerBrokenError("it takes no more"), LedgerBrokenError),
}


@pytest.mark.parametrize("whole", [True, False], ids=["the part", "an item of it"])
@pytest.mark.parametrize(("error", "told"), ENDS.values(), ids=ENDS)
def test_behind_a_gap_nothing_is_written(error, told, whole):
    """What follows may name what is not there; it is told that it was not tried."""
    each = waiting(3 * SLICE_ITEMS_MAX)
    first = keys(each.posting)
    assert each.answered(list(first)) is None
    second: list[Any] = keys(each.posting)
    answer = error if whole else [*second[:-1], error]

    outcomes = each.answered(answer)

    assert isinstance(outcomes, list)
    assert outcomes[:SLICE_ITEMS_MAX] == first
    middle = outcomes[SLICE_ITEMS_MAX : 2 * SLICE_ITEMS_MAX]
    assert middle == ([error] * SLICE_ITEMS_MAX if whole else answer)
    rest = outcomes[2 * SLICE_ITEMS_MAX :]
    assert len(rest) == SLICE_ITEMS_MAX
    assert {type(each) for each in rest} == {told}


@pytest.mark.parametrize("error", [error for error, _ in ENDS.values()], ids=ENDS)
def test_what_was_not_tried_is_not_said_to_be_unrecorded(error):
    """Its key may be known from an earlier request, which nobody looked up."""
    each = waiting(2 * SLICE_ITEMS_MAX)
    done: list[Any] = keys(each.posting)

    outcomes = each.answered([*done[:-1], error])

    assert isinstance(outcomes, list)
    assert outcomes[SLICE_ITEMS_MAX - 1] is error
    [message] = {str(each) for each in outcomes[SLICE_ITEMS_MAX:]}
    assert "not tried, and is recorded only if its key was before" in message


def test_what_befell_the_first_part_is_told_to_all():
    """Nothing else of it was tried."""
    each = waiting(1_000)
    error = PushbackError("the head is kept")

    assert each.answered(error) is error


def test_a_refused_item_ends_nothing():
    """It would have been refused alone, too."""
    each = waiting(2 * SLICE_ITEMS_MAX)
    first: Sequence[Any] = [*keys(each.posting)[:-1], BadReferenceError("not there")]

    assert each.answered(list(first)) is None
    second = keys(each.posting)
    assert each.answered(list(second)) == [*first, *second]

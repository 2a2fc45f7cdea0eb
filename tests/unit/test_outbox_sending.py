"""What becomes of rows, by what the ledger says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ledger.client.errors import (
    BudgetSpent,
    NotSent,
    OutcomeUnknown,
    Refused,
    Unreachable,
)
from ledger.client.outbox.sending import (
    HandedOff,
    Postponed,
    Rejected,
    Row,
    Sent,
    heads_of,
    problem_of,
    send,
)
from ledger.client.recorded import FoundEntry
from tests.unit.plain_ledger import REFUSAL, PlainLedger


def row(number: int, subject: str | None = None, target: str | None = None) -> Row:
    corrects = "" if target is None else f', "corrects_key": "{target}"'
    return Row(
        id=number,
        ledger="shop",
        subject=subject,
        target=target,
        key=f"k{number}",
        body=f'{{"key": "k{number}"{corrects}}}',
        tries=1,
    )


def told(sent: Sent) -> list[type]:
    return [type(outcome) for outcome in sent.outcomes]


def refused(**members: Any) -> Refused:
    return Refused(REFUSAL | members, members.get("status"))


def test_all_of_them_go_as_one_atomic_batch_in_order():
    ledger = PlainLedger()

    sent = send([row(1, "a"), row(2, "b"), row(3, "a")], ledger)

    assert told(sent) == [HandedOff] * 3
    assert ledger.asked == [(["k1", "k2", "k3"], "atomic")]


def test_what_goes_before_a_refused_one_is_recorded_and_nothing_after_it():
    ledger = PlainLedger(refused={"k3"})

    sent = send([row(1, "a"), row(2, "b"), row(3, "a"), row(4, "a")], ledger)

    assert told(sent) == [HandedOff, HandedOff, Postponed, Postponed]
    assert [entry["key"] for entry in ledger.entries] == ["k1", "k2"]


def test_once_it_is_the_first_each_subject_is_asked_about_for_itself():
    """And only its first row, whatever is behind it."""
    ledger = PlainLedger(refused={"k1", "k3"})

    sent = send([row(1, "a"), row(2, "a"), row(3, "b"), row(4, "c"), row(5)], ledger)

    assert told(sent) == [Rejected, Postponed, Rejected, HandedOff, HandedOff]
    assert ledger.asked[-1] == (["k1", "k3", "k4", "k5"], "independent")
    assert sent.failure is None


def test_heads_wait_for_no_other_row():
    rows = [row(1, "a"), row(2, "a"), row(3), row(4, "b", target="k3"), row(5, "c", target="k2")]

    assert [each.id for each in heads_of(rows)] == [1, 3]


@pytest.mark.parametrize(
    ("problem", "becomes"),
    {
        "history says no": ({}, Rejected),
        "a person decides": ({"action": "wait-for-human", "status": 409}, Rejected),
        "a hint nobody knows": ({"action": "dance", "status": 422}, Rejected),
        "hints are hidden": ({"action": None, "world": None, "status": 422}, Rejected),
        "told to come back": ({"retryable": True, "status": 503}, Postponed),
        "a fault of the service": ({"status": 503, "action": "stop"}, Postponed),
        "no credential": ({"status": 401}, Postponed),
        "not allowed": ({"status": 403}, Postponed),
    }.values(),
)
def test_a_row_is_parked_for_what_it_says_and_for_nothing_else(problem: Mapping[str, Any], becomes):
    ledger = PlainLedger(refused={"k1"}, problem=REFUSAL | problem)

    [outcome] = send([row(1, "a")], ledger).outcomes

    assert type(outcome) is becomes
    assert outcome.problem is not None
    assert outcome.problem["code"] == REFUSAL["code"]


NO_ANSWER = {
    "nobody there": (Unreachable("http://ledger", "refused"), False, False),
    "not sendable": (NotSent("too large", reason="request.size"), False, False),
    "come back later": (
        BudgetSpent("tries", refused(retryable=True, status=503), tries=1, retry_after_s=1.0),
        True,
        False,
    ),
    "no credential": (refused(status=401), True, False),
    "a fault of the service": (refused(status=503, action="stop"), True, True),
    "no answer": (OutcomeUnknown("a batch", key=None, why="it broke"), True, True),
}


@pytest.mark.parametrize(("error", "may_be_there", "rests"), NO_ANSWER.values(), ids=NO_ANSWER)
def test_a_row_rests_where_it_is_alone_and_what_is_answered_makes_no_sense(
    error, may_be_there, rests
):
    """Where the ledger is away, or the caller may not, it is not the row that has to wait."""
    alone = send([row(1, "a")], PlainLedger(failure=error))
    together = send([row(1, "a"), row(2, "b")], PlainLedger(failure=error))

    assert alone.failure is together.failure is error
    [outcome] = alone.outcomes
    assert isinstance(outcome, Postponed)
    assert (outcome.sent, outcome.rests) == (may_be_there, rests)
    assert all(isinstance(each, Postponed) and not each.rests for each in together.outcomes)


def test_every_failure_is_told_in_the_words_of_problems():
    for error, _, _ in NO_ANSWER.values():
        assert problem_of(error).keys() == {
            *("world", "action", "reason", "code", "status", "detail")
        }


def test_what_was_refused_after_a_try_without_an_answer_is_refused_once_its_key_is_not_there():
    doubted = replace(row(1, "a"), doubted=True)

    [underway] = send([replace(doubted, underway=True)], PlainLedger(refused={"k1"})).outcomes
    [looked_up] = send([doubted], PlainLedger(refused={"k1"})).outcomes

    assert isinstance(underway, Postponed)
    assert underway.rests
    assert isinstance(looked_up, Rejected)


class _Deaf(PlainLedger):
    """Whoever asks it may not read."""

    def find(self, *, key: str) -> FoundEntry | None:
        raise refused(status=403, detail=f"entries:read is missing, of {key} nothing is said")


class _Contrary(PlainLedger):
    """Refuses what it has, as one that has become stricter does before it looks at keys."""

    def batch(self, items: Iterable[Mapping[str, Any]], *, mode: str) -> Any:
        recorded = super().batch(items, mode=mode)
        return [Refused(self.problem) for _ in recorded]


@pytest.mark.parametrize(
    ("ledger", "why"),
    [
        (_Deaf(refused={"k1"}), "entries:read is missing"),
        (_Contrary(), "its key is in history"),
    ],
)
def test_a_row_in_doubt_is_not_refused_where_its_key_is_there_or_nobody_says(ledger, why):
    [outcome] = send([replace(row(1, "a"), doubted=True)], ledger).outcomes

    assert isinstance(outcome, Postponed)
    assert outcome.problem is not None
    assert why in outcome.problem["detail"]


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_not_proved_is_in_doubt_and_rests(count):
    sent = send([row(number) for number in range(count)], PlainLedger(fault="unsigned"))

    assert all(isinstance(each, Postponed) and each.rests for each in sent.outcomes)
    assert {each.doubted for each in sent.outcomes if isinstance(each, Postponed)} == {True}
    assert sent.failure is None

"""Laws of the dialog: every state, every step, every fencing token, in one table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.effect import EVIDENCE_MAX
from ledger.errors import (
    ApprovalRequiredError,
    HandedOffError,
    IntentUnknownError,
    LedgerError,
    MalformedProofError,
    SelfApprovalError,
    StaleTokenError,
    TooLargeError,
    TransitionError,
)
from ledger.intent import (
    EVENTS_MAX,
    FENCED,
    STARTS_MAX,
    Event,
    Hold,
    Intent,
    State,
    Step,
    before_handoff,
    begin,
    digest_events,
    fold,
    next_event,
    parse_event,
    row_of,
    take,
)

EARLY, ANSWER_BY, LATE = (f"2026-06-01T0{hour}:00:00.000000Z" for hour in (1, 2, 3))
CONTENT = {"kind": "refund", "type": "card.refund", "answer_by": ANSWER_BY, "on_silence": "ask"}
PSP = {"system": "psp", "rel": "transaction", "ref": "re_1"}
ASKED = PSP | {"rel": "request"}


def promised(**content: Any) -> Intent:
    return begin(
        Event(
            intent="01890a5d-ac96-774b-bcce-b302099a8057",
            ledger="shop",
            number=0,
            step=Step.PROMISED,
            at="2026-06-01T00:00:00.000000Z",
            by="till",
            key="k",
            said=CONTENT | content,
            hold=Hold(entry="e", currency="EUR", amount=500),
        )
    )


def after(intent: Intent, name: str, *, at: str = EARLY, token: int | None = None) -> Intent:
    step, by, said = STEPS[name]
    shown = None if step not in FENCED else intent.token if token is None else token
    if said.get("digest") == "content":
        said = said | {"digest": intent.content_digest}
    return take(
        intent,
        next_event(
            intent, step, now=at, by=by, key=f"k{len(intent.events)}", token=shown, said=said
        ),
    )


STEPS: dict[str, tuple[Step, str, dict[str, Any]]] = {
    "approve": (Step.APPROVED, "ada", {"digest": "content"}),
    "start": (Step.STARTED, "till", {}),
    "takeover": (Step.STARTED, "till", {"takeover": True}),
    "result": (Step.RESULT, "till", {"evidence": [PSP]}),
    "weak result": (Step.RESULT, "till", {"evidence": [ASKED]}),
    "failure": (Step.ERROR, "till", {"outcome": "failed"}),
    "proved failure": (Step.ERROR, "till", {"outcome": "failed", "evidence": [PSP]}),
    "doubt": (Step.ERROR, "till", {"outcome": "unknown"}),
    "it happened": (Step.EVIDENCE, "psp", {"outcome": "executed", "evidence": [PSP]}),
    "it did not": (Step.EVIDENCE, "psp", {"outcome": "not_executed", "evidence": [PSP]}),
    "cancel": (Step.CANCELLED, "till", {}),
    "hand off": (Step.HANDED_OFF, "till", {"entry": "e1"}),
    "promise": (Step.PROMISED, "till", CONTENT),
}

WAYS: dict[str, list[str]] = {
    "promised": [],
    "approved": ["approve"],
    "executing": ["start"],
    "executed": ["start", "result"],
    "unknown": ["start", "doubt"],
    "failed": ["start", "failure"],
    "cancelled": ["cancel"],
    "handed off": ["start", "result", "hand off"],
}

# What follows from each step: a state, an executed intent, or why not.
P, E, H, C, F, U = (
    *(State.PROMISED, State.EXECUTING, State.HANDED_OFF, State.CANCELLED, State.FAILED),
    State.UNKNOWN,
)
X = "executed"
NO, UN, HI = TransitionError, IntentUnknownError, HandedOffError

LAW: dict[str, list[Any]] = {
    #                  promised approved executing executed unknown failed cancelled handed off
    "approve":        [P,       P,       NO,       NO,      UN,     NO,    NO,       HI],
    "start":          [E,       E,       NO,       NO,      UN,     NO,    NO,       HI],
    "takeover":       [NO,      NO,      E,        NO,      UN,     NO,    NO,       HI],
    "result":         [NO,      NO,      X,        X,       X,      NO,    NO,       HI],
    "weak result":    [NO,      NO,      X,        X,       UN,     NO,    NO,       HI],
    "failure":        [NO,      NO,      F,        NO,      UN,     NO,    NO,       HI],
    "proved failure": [NO,      NO,      F,        NO,      F,      NO,    NO,       HI],
    "doubt":          [NO,      NO,      U,        NO,      UN,     NO,    NO,       HI],
    "it happened":    [X,       X,       X,        X,       X,      X,     X,        HI],
    "it did not":     [NO,      NO,      F,        NO,      F,      NO,    NO,       HI],
    "cancel":         [C,       C,       NO,       NO,      UN,     NO,    NO,       HI],
    "hand off":       [NO,      NO,      H,        H,       UN,     NO,    NO,       HI],
    "promise":        [NO,      NO,      NO,       NO,      NO,     NO,    NO,       HI],
}  # fmt: skip
CELLS = [
    (state, step, expected)
    for step, row in LAW.items()
    for state, expected in zip(WAYS, row, strict=True)
]


def reached(state: str) -> Intent:
    intent = promised()
    for name in WAYS[state]:
        intent = after(intent, name)
    return intent


def check(intent: Intent, step: str, expected: Any, **place: Any) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected) as refused:
            after(intent, step, **place)
        assert type(refused.value) is expected
        return
    moved = after(intent, step, **place)
    if expected == X:
        assert (moved.state, moved.outcome) == (State.EXECUTING, X)
    else:
        assert moved.state is expected


def test_the_table_is_whole():
    assert LAW.keys() == STEPS.keys()
    assert {step for step, *_ in STEPS.values()} == set(Step) - {Step.RESTORED}


@pytest.mark.parametrize(("state", "step", "expected"), CELLS)
def test_every_state_and_step(state, step, expected):
    check(reached(state), step, expected)


@pytest.mark.parametrize(("state", "step", "expected"), CELLS)
def test_silence_turns_what_is_open_into_the_unknown(state, step, expected):
    """Past answer_by; what has an outcome, or an end, is as it was."""
    if state in ("promised", "approved", "executing"):
        expected = LAW[step][list(WAYS).index("unknown")]
    intent = reached(state)

    assert intent.is_silent_at(LATE) == (state in ("promised", "approved", "executing"))
    check(intent, step, expected, at=LATE)


@pytest.mark.parametrize(("state", "step", "expected"), CELLS)
@pytest.mark.parametrize("other", [-1, 1])
def test_another_token_than_the_newest_is_refused_in_every_state(state, step, expected, other):
    """Old or made up; only history is told first, for it is the same to everyone."""
    intent = reached(state)
    if STEPS[step][0] in FENCED and state != "handed off":
        expected = StaleTokenError

    check(intent, step, expected, token=intent.token + other)


def test_each_start_has_a_token_of_its_own():
    first = after(promised(), "start")
    second = after(first, "takeover")

    assert (first.token, second.token) == (2, 3)
    with pytest.raises(StaleTokenError):
        after(second, "result", token=first.token)


def test_silence_begins_after_the_moment_itself():
    intent = promised()

    assert intent.state_at(ANSWER_BY) is State.PROMISED
    assert intent.state_at(ANSWER_BY[:-2] + "1Z") is State.UNKNOWN


def test_an_approval_is_of_the_content_and_by_another():
    intent = promised(approval_required=True)

    with pytest.raises(ApprovalRequiredError, match="needs a person's approval"):
        after(intent, "start")
    wrong = next_event(
        intent, Step.APPROVED, now=EARLY, by="ada", key="a", said={"digest": "0" * 64}
    )
    with pytest.raises(ApprovalRequiredError, match="the content of intent"):
        take(intent, wrong)
    own = replace(wrong, by="till", said={"digest": intent.content_digest})
    with pytest.raises(SelfApprovalError):
        take(intent, own)
    approved = after(intent, "approve")
    begun = next_event(approved, Step.STARTED, now=EARLY, by="ada", key="s", token=1, said={})
    with pytest.raises(SelfApprovalError):
        take(approved, begun)
    assert after(approved, "start").state is State.EXECUTING
    assert promised(type="other").content_digest != intent.content_digest


def test_what_was_let_go_of_does_not_come_back():
    """An intent that failed and happened after all holds nothing: others may have taken it."""
    failed = reached("failed")
    happened = after(failed, "it happened")

    assert (reached("unknown").held, failed.held, happened.held) == (500, 0, 0)
    assert not happened.is_reserving


def test_starts_are_bounded_and_the_end_has_room():
    """However often it was taken over, it can be answered and handed off."""
    intent = reached("executing")
    while len(intent.events) < STARTS_MAX:
        intent = after(intent, "takeover")
    with pytest.raises(TooLargeError, match=f"after {STARTS_MAX} events no started"):
        after(intent, "takeover")
    while len(intent.events) < EVENTS_MAX:
        intent = after(intent, "it happened")
    with pytest.raises(TooLargeError, match=f"after {EVENTS_MAX} events no evidence"):
        after(intent, "it happened")

    assert after(intent, "hand off").state is State.HANDED_OFF


def test_evidence_is_bounded_by_what_an_entry_has():
    said = {"evidence": [PSP | {"ref": f"tx_{n}"} for n in range(EVIDENCE_MAX)]}
    full = next_event(
        reached("executing"), Step.RESULT, now=EARLY, by="till", key="r", token=2, said=said
    )

    with pytest.raises(TooLargeError, match=f"at most {EVIDENCE_MAX}"):
        after(take(reached("executing"), full), "it happened")


def test_a_clock_that_was_set_back_does_not_turn_the_order():
    intent = reached("executing")

    event = next_event(intent, Step.RESULT, now="1970", by="till", key="r", said={})

    assert event.at == intent.events[-1].at


# ---- The fold -------------------------------------------------------------------------


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12), st.sampled_from([EARLY, LATE]))
def test_the_fold_of_the_events_is_the_intent(names: list[str], at: str):
    """However it came about: what was refused left nothing, and stored bytes give it back."""
    intent = promised()
    for name in names:
        before = intent
        try:
            intent = after(intent, name, at=at)
        except LedgerError:
            assert intent is before
        else:
            assert len(intent.events) == len(before.events) + 1
            assert intent.token >= before.token
    stored = [event.encoded for event in intent.events]

    again = fold([parse_event(event) for event in stored])

    assert row_of(again) == row_of(intent)
    assert again.digest == intent.digest == digest_events(stored)
    assert (again.entry is not None) == (again.state is State.HANDED_OFF)


def test_the_digest_of_the_entry_is_of_the_events_before_it():
    handed_off = reached("handed off")

    assert before_handoff(handed_off).digest == reached("executed").digest


@pytest.mark.parametrize("damage", ["dropped", "swapped", "number", "time", "token", "first"])
def test_events_that_do_not_follow_are_told(damage):
    events = list(reached("executed").events)
    match damage:
        case "dropped":
            del events[1]
        case "swapped":
            events[1], events[2] = events[2], events[1]
        case "number":
            events[2] = replace(events[2], number=3)
        case "time":
            events[2] = replace(events[2], at="2025-01-01T00:00:00.000000Z")
        case "token":
            events[2] = replace(events[2], token=7)
        case "first":
            del events[0]
    with pytest.raises(TransitionError):
        fold(events)


@pytest.mark.parametrize("stored", [b"", b"{}", b"[]", b"null", b'{"step":"x"}'])
def test_what_is_no_event_is_told(stored):
    with pytest.raises(MalformedProofError):
        parse_event(stored)


def test_an_event_has_one_spelling():
    encoded = promised().promise.encoded

    assert parse_event(encoded).encoded == encoded
    with pytest.raises(MalformedProofError, match="one form"):
        parse_event(encoded.replace(b'":', b'": ', 1))


@pytest.mark.parametrize("state", WAYS)
def test_a_restored_entry_ends_its_intent_wherever_it_stood(state):
    """A copy of a log has no events; what was signed stands all the same."""
    intent = reached(state)
    event = next_event(
        intent,
        Step.RESTORED,
        now=EARLY,
        by="ledger",
        key="_restored",
        said={"entry": "e1", "digest": "0" * 64},
    )
    if state == "handed off":
        with pytest.raises(HandedOffError):
            take(intent, event)
    else:
        assert (take(intent, event).state, take(intent, event).held) == (State.HANDED_OFF, 0)

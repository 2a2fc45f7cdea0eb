"""Steps: the intent after an event, or the reason why the event is not allowed then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ledger.effect import EVIDENCE_MAX
from ledger.errors import (
    ApprovalRequiredError,
    HandedOffError,
    IntentUnknownError,
    SelfApprovalError,
    StaleTokenError,
    TooLargeError,
    TransitionError,
)
from ledger.intent.event import FENCED, Event, Step
from ledger.intent.standing import Approval, Intent, Outcome, State

EVENTS_MAX = 64
"""Events of one intent: far more than a dialog has, and each step reads all of them."""
STARTS_MAX = 32
"""Events after which nothing is approved or started any more, so that its end has room."""


def begin(promise: Event) -> Intent:
    """
    The intent that a promise begins.

    Raises:
        TransitionError: It is no promise.
    """
    if promise.step is not Step.PROMISED or promise.number != 0:
        raise TransitionError("an intent begins with its promise", intent=promise.intent)
    return Intent(events=(promise,), state=State.PROMISED, token=1)


def next_event(
    intent: Intent,
    step: Step,
    *,
    now: str,
    by: str,
    key: str,
    said: Mapping[str, Any],
    token: int | None = None,
) -> Event:
    """The event that a request at `now` would add; whether it may is for `take`."""
    return Event(
        intent=intent.id,
        ledger=intent.promise.ledger,
        number=len(intent.events),
        step=step,
        # A database clock that was set back does not turn the order of events.
        at=max(now, intent.events[-1].at),
        by=by,
        key=key,
        token=token,
        said=said,
    )


def take(intent: Intent, event: Event) -> Intent:
    """
    The intent after `event`, or the reason why it is not allowed then.

    The first of these that applies is told: it is history; somebody else acts; its state, at
    the time of the event, does not lead there; an approval or evidence is missing.

    Raises:
        HandedOffError: It is an entry already.
        StaleTokenError: The token is not the newest.
        IntentUnknownError: Its outcome is unknown, and this is no evidence.
        TransitionError: Any other state that does not allow the step.
        ApprovalRequiredError, SelfApprovalError: Of approvals; see the names.
        TooLargeError: More events or evidence than an intent has.
    """
    assert event.intent == intent.id, "an event is of one intent"
    assert event.number == len(intent.events), "events have no gaps"
    state = intent.state_at(event.at)
    if state is State.HANDED_OFF:
        raise HandedOffError(
            f"intent {intent.id} is history since it became entry {intent.entry}; "
            "only forward entries follow",
            intent=intent.id,
            entry=intent.entry,
        )
    if event.step in FENCED and event.token != intent.token:
        raise StaleTokenError(
            f"intent {intent.id} is at fencing token {intent.token}, this shows {event.token}",
            intent=intent.id,
            token=intent.token,
            shown=event.token,
        )
    _check_room(intent, event)
    changes = _STEPS[event.step](intent, event, state)
    return replace(intent, events=(*intent.events, event), **changes)


def fold(events: Sequence[Event]) -> Intent:
    """
    The intent after all of `events`, each of them allowed.

    Raises:
        TransitionError, TooLargeError: As `take`: no service of ours wrote these events.
    """
    intent = begin(events[0])
    for number, event in enumerate(events[1:], start=1):
        if event.intent != intent.id or event.number != number or event.at < events[number - 1].at:
            raise TransitionError("the events of the intent are not in order", intent=intent.id)
        intent = take(intent, event)
    return intent


def before_handoff(intent: Intent) -> Intent:
    """The intent as it was before its hand-off, which its entry's digest does not cover."""
    if intent.state is not State.HANDED_OFF:
        return intent
    return fold(intent.events[:-1])


def is_conclusive(said: Mapping[str, Any]) -> bool:
    """
    Whether evidence tells what became of an execution, so that it ends an unknown outcome.

    A provider's id, a bank's line, the hash of a webhook or of a result, or a signed statement.
    That something was requested, or that somebody says so without a signature, tells nothing.
    """
    return "statement" in said or any(
        item["rel"] in ("transaction", "bank_line")
        or (item["rel"] in ("webhook", "result") and "digest" in item)
        for item in said.get("evidence", ())
    )


# ---- Each for itself -------------------------------------------------------------------


def _approved(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    _check_state(intent, event, state, State.PROMISED)
    if event.said["digest"] != intent.content_digest:
        raise ApprovalRequiredError(
            f"this approves {event.said['digest']}; the content of intent {intent.id} is "
            f"{intent.content_digest}",
            intent=intent.id,
            content_digest=intent.content_digest,
        )
    if event.by == intent.promise.by:
        raise SelfApprovalError(
            f"{event.by} promised intent {intent.id} and may not approve it", intent=intent.id
        )
    return {"approval": Approval(by=event.by, at=event.at, digest=intent.content_digest)}


def _started(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    is_takeover = event.said.get("takeover", False)
    _check_state(intent, event, state, State.EXECUTING if is_takeover else State.PROMISED)
    _refuse_if_executed(intent, event)
    if intent.content.get("approval_required") and intent.approval is None:
        raise ApprovalRequiredError(
            f"intent {intent.id} needs a person's approval of {intent.content_digest} first",
            intent=intent.id,
            content_digest=intent.content_digest,
        )
    _check_four_eyes(intent, event)
    return {"state": State.EXECUTING, "token": intent.token + 1}


def _result(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    _check_state(intent, event, state, State.EXECUTING, State.UNKNOWN)
    _check_conclusive(intent, event, state)
    return _executed(intent, event)


def _error(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    _check_state(intent, event, state, State.EXECUTING, State.UNKNOWN)
    _refuse_if_executed(intent, event)
    _check_conclusive(intent, event, state)
    if event.said["outcome"] == "unknown":
        if state is State.UNKNOWN:
            raise _unknown(intent, event)
        return {"state": State.UNKNOWN, "evidence": _gathered(intent, event)}
    return _not_executed(intent, event)


def _evidence(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    if event.said["outcome"] == Outcome.EXECUTED:
        # Whatever was thought before: what happened is never refused.
        return _executed(intent, event)
    _check_state(intent, event, state, State.EXECUTING, State.UNKNOWN)
    _refuse_if_executed(intent, event)
    return _not_executed(intent, event)


def _cancelled(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    _check_state(intent, event, state, State.PROMISED)
    return {"state": State.CANCELLED, "is_released": True}


def _handed_off(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    _check_state(intent, event, state, State.EXECUTING)
    _check_four_eyes(intent, event)
    return {"state": State.HANDED_OFF, "is_released": True, "entry": event.said["entry"]}


def _restored(_intent: Intent, event: Event, _state: State) -> dict[str, Any]:
    # Whatever is missing in between: what was signed stands.
    return {"state": State.HANDED_OFF, "is_released": True, "entry": event.said["entry"]}


def _promised(intent: Intent, event: Event, state: State) -> dict[str, Any]:
    raise _refused(intent, event, state)


_STEPS = {
    Step.APPROVED: _approved,
    Step.STARTED: _started,
    Step.RESULT: _result,
    Step.ERROR: _error,
    Step.EVIDENCE: _evidence,
    Step.CANCELLED: _cancelled,
    Step.HANDED_OFF: _handed_off,
    Step.RESTORED: _restored,
    Step.PROMISED: _promised,
}


def _executed(intent: Intent, event: Event) -> dict[str, Any]:
    return {
        "state": State.EXECUTING,
        "outcome": Outcome.EXECUTED,
        "evidence": _gathered(intent, event),
        # Further evidence does not move what happened.
        "executed_at": intent.executed_at or event.said.get("occurred_at", event.at),
    }


def _not_executed(intent: Intent, event: Event) -> dict[str, Any]:
    return {
        "state": State.FAILED,
        "outcome": Outcome.NOT_EXECUTED,
        "is_released": True,
        "evidence": _gathered(intent, event),
    }


def _gathered(intent: Intent, event: Event) -> tuple[Mapping[str, str], ...]:
    said = list(event.said.get("evidence", ()))
    statement = event.said.get("statement")
    if statement is not None:
        said.append(
            {
                "system": "effect-ledger",
                "rel": "document",
                "ref": f"statement/{statement['key_id']}",
                "digest": statement["digest"],
            }
        )
    gathered = (*intent.evidence, *(item for item in said if item not in intent.evidence))
    if len(gathered) > EVIDENCE_MAX:
        raise TooLargeError(
            f"an entry has at most {EVIDENCE_MAX} pieces of evidence, and so has an intent",
            intent=intent.id,
            limit=EVIDENCE_MAX,
        )
    return gathered


# ---- Checks ---------------------------------------------------------------------------


def _check_room(intent: Intent, event: Event) -> None:
    if event.step in (Step.HANDED_OFF, Step.RESTORED):
        # What happened is never refused for want of room.
        return
    limit = STARTS_MAX if event.step in (Step.APPROVED, Step.STARTED) else EVENTS_MAX
    if len(intent.events) >= limit:
        raise TooLargeError(
            f"after {limit} events no {event.step} is taken", intent=intent.id, limit=limit
        )


def _check_state(intent: Intent, event: Event, state: State, *allowed: State) -> None:
    if state in allowed:
        return
    if state is State.UNKNOWN:
        raise _unknown(intent, event)
    raise _refused(intent, event, state)


def _refuse_if_executed(intent: Intent, event: Event) -> None:
    if intent.outcome is Outcome.EXECUTED:
        raise _refused(intent, event, State.EXECUTING, "executed and waits for its hand-off")


def _check_conclusive(intent: Intent, event: Event, state: State) -> None:
    if state is State.UNKNOWN and not is_conclusive(event.said):
        raise _unknown(intent, event)


def _check_four_eyes(intent: Intent, event: Event) -> None:
    if intent.approval is not None and intent.approval.by == event.by:
        raise SelfApprovalError(
            f"{event.by} approved intent {intent.id} and may not carry it out", intent=intent.id
        )


def _unknown(intent: Intent, event: Event) -> IntentUnknownError:
    return IntentUnknownError(
        f"the outcome of intent {intent.id} is unknown, which no {event.step} ends: send evidence "
        "of what became of it, such as the provider's id",
        intent=intent.id,
        state=State.UNKNOWN.value,
        step=event.step.value,
    )


def _refused(
    intent: Intent, event: Event, state: State, says: str | None = None
) -> TransitionError:
    return TransitionError(
        f"intent {intent.id} is {says or state.value.replace('_', ' ')}; "
        f"{event.step.value.replace('_', ' ')} does not follow",
        intent=intent.id,
        state=state.value,
        step=event.step.value,
    )

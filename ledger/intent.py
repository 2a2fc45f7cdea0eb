"""
Intent: an effect that is promised and not yet history, as a fold over its events.

    promised --> executing --> handed_off         past `answer_by` without an answer,
        |            |-------> failed             promised and executing are unknown;
        |            `-------> unknown            unknown is left by evidence only
        `--> cancelled

Pure: given the events before it and its own time, every step is allowed or refused in one way.
Who asks, how events are stored, what a promise holds and how an intent becomes an entry is for
others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from ledger.canonical import canonical_bytes
from ledger.effect import EVIDENCE_MAX
from ledger.errors import (
    ApprovalRequiredError,
    HandedOffError,
    IntentUnknownError,
    MalformedProofError,
    SelfApprovalError,
    StaleTokenError,
    TooLargeError,
    TransitionError,
)

EVENTS_MAX = 64
"""Events of one intent: far more than a dialog has, and each step reads all of them."""
STARTS_MAX = 32
"""Events after which nothing is approved or started any more, so that its end has room."""

_EVENTS_PURPOSE = b"effect-ledger/intent/v1\n"
_CONTENT_PURPOSE = b"effect-ledger/promise/v1\n"


class State(StrEnum):
    """Where an intent stands."""

    PROMISED = "promised"
    EXECUTING = "executing"
    HANDED_OFF = "handed_off"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNKNOWN = "unknown"


OPEN = frozenset({State.PROMISED, State.EXECUTING, State.UNKNOWN})
"""States in which an intent waits for something."""


class Outcome(StrEnum):
    """What became of the execution, where that is known."""

    EXECUTED = "executed"
    NOT_EXECUTED = "not_executed"


class Step(StrEnum):
    """What an event says; the promise is always the first."""

    PROMISED = "promised"
    APPROVED = "approved"
    STARTED = "started"
    RESULT = "result"
    ERROR = "error"
    EVIDENCE = "evidence"
    CANCELLED = "cancelled"
    HANDED_OFF = "handed_off"
    RESTORED = "restored"
    """Its entry came back from a copy of the log, which has no events of intents."""


FENCED = frozenset({Step.STARTED, Step.RESULT, Step.ERROR, Step.CANCELLED, Step.HANDED_OFF})
"""Steps of whoever executes: they show the newest fencing token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a promised refund keeps of the entry it would refund."""

    entry: str
    currency: str
    amount: int
    """In minor units of that entry's currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of an intent, as it is stored for ever."""

    intent: str
    ledger: str
    number: int
    """0 for the promise."""
    step: Step
    at: str
    """Database clock; never before the event before it."""
    by: str
    """Principal that asked for the step."""
    key: str
    """Idempotency key of the request; unique within the intent."""
    token: int | None = None
    """The fencing token that was shown, on fenced steps."""
    said: Mapping[str, Any]
    """Words of the request, in canonical form; their shape depends on the step."""
    hold: Hold | None = None
    """On the promise of a refund."""

    @property
    def encoded(self) -> bytes:
        """Canonical JSON: the bytes that the digest covers."""
        document: dict[str, Any] = {
            "at": self.at,
            "by": self.by,
            "intent": self.intent,
            "key": self.key,
            "ledger": self.ledger,
            "number": self.number,
            "said": dict(self.said),
            "step": self.step.value,
        }
        if self.token is not None:
            document["token"] = self.token
        if self.hold is not None:
            document["hold"] = {
                "entry": self.hold.entry,
                "currency": self.hold.currency,
                # Sums go beyond what JSON numbers hold.
                "amount": str(self.hold.amount),
            }
        return canonical_bytes(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's approval of exactly this content."""

    by: str
    at: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Intent:
    """An intent after some of its events."""

    events: tuple[Event, ...]
    state: State
    """As the events leave it; `state_at` also knows silence."""
    token: int
    """The newest fencing token."""
    outcome: Outcome | None = None
    approval: Approval | None = None
    """The last one."""
    evidence: tuple[Mapping[str, str], ...] = ()
    executed_at: str | None = None
    """When the effect happened, where its outcome is executed."""
    is_released: bool = False
    """It let go of its business key and of what it held, for good."""
    entry: str | None = None
    """The entry it became."""

    @property
    def promise(self) -> Event:
        """Its first event."""
        return self.events[0]

    @property
    def id(self) -> str:
        """UUIDv7."""
        return self.promise.intent

    @property
    def content(self) -> Mapping[str, Any]:
        """What was promised, exactly; what an approval is of."""
        return self.promise.said

    @property
    def hold(self) -> Hold | None:
        """What it keeps of an entry now."""
        return None if self.is_released else self.promise.hold

    @property
    def held(self) -> int:
        """How much of it, in minor units."""
        return self.hold.amount if self.hold else 0

    @property
    def is_reserving(self) -> bool:
        """Whether nobody else may take its business key."""
        return (
            not self.is_released
            and "business_key" in self.content
            and "repeat_of" not in self.content
        )

    @property
    def answer_by(self) -> str:
        """From then on silence is an unknown outcome."""
        answer_by: str = self.content["answer_by"]
        return answer_by

    @cached_property
    def content_digest(self) -> str:
        """SHA-256 over purpose and canonical content, in hexadecimal."""
        return digest_content(self.content)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over purpose and events, each followed by a line end, in hexadecimal."""
        return digest_events(event.encoded for event in self.events)

    @property
    def before_handoff(self) -> Intent:
        """As it was before the hand-off, which its entry's digest does not cover."""
        if self.state is not State.HANDED_OFF:
            return self
        return fold(self.events[:-1])

    def is_silent_at(self, now: str) -> bool:
        """Whether its outcome became unknown by silence alone."""
        return (
            self.state in (State.PROMISED, State.EXECUTING)
            and self.outcome is None
            and now > self.answer_by
        )

    def state_at(self, now: str) -> State:
        """Its state at `now`, by the database's clock: no process has to run for silence."""
        return State.UNKNOWN if self.is_silent_at(now) else self.state

    def event_of(self, key: str) -> Event | None:
        """The event a request with this key became."""
        return next((event for event in self.events if event.key == key), None)


class IntentRow(NamedTuple):
    """Where an intent stands, as an index over its events keeps it; times and ids as text."""

    id: str
    key: str
    kind: str
    type: str
    subject: str | None
    business_key: str | None
    state: str
    outcome: str | None
    on_silence: str
    promised_at: str
    answer_by: str
    is_reserving: bool
    target: str | None
    held: int
    events: int


def row_of(intent: Intent) -> IntentRow:
    """The row of `intent`: a pure function of its events."""
    content, hold = intent.content, intent.promise.hold
    return IntentRow(
        id=intent.id,
        key=intent.promise.key,
        kind=content["kind"],
        type=content["type"],
        subject=content.get("subject"),
        business_key=content.get("business_key"),
        state=intent.state.value,
        outcome=intent.outcome.value if intent.outcome else None,
        on_silence=content["on_silence"],
        promised_at=intent.promise.at,
        answer_by=intent.answer_by,
        is_reserving=intent.is_reserving,
        target=hold.entry if hold else None,
        held=intent.held,
        events=len(intent.events),
    )


def digest_content(content: Mapping[str, Any]) -> str:
    """SHA-256 in hexadecimal over purpose and canonical content: what a person approves."""
    return hashlib.sha256(_CONTENT_PURPOSE + canonical_bytes(content)).hexdigest()


def digest_events(events: Iterable[bytes]) -> str:
    """SHA-256 in hexadecimal over purpose and the bytes of events, each with a line end."""
    # Canonical JSON has no line end in it, so no two lists of events give the same bytes.
    return hashlib.sha256(b"".join([_EVENTS_PURPOSE, *(e + b"\n" for e in events)])).hexdigest()


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


def parse_event(encoded: bytes) -> Event:
    """
    The event these stored bytes are.

    Raises:
        MalformedProofError: They are none.
    """
    try:
        document = orjson.loads(encoded)
        hold = document.get("hold")
        event = Event(
            intent=document["intent"],
            ledger=document["ledger"],
            number=document["number"],
            step=Step(document["step"]),
            at=document["at"],
            by=document["by"],
            key=document["key"],
            token=document.get("token"),
            said=document["said"],
            hold=None if hold is None else Hold(**hold | {"amount": int(hold["amount"])}),
        )
        if event.encoded == encoded:
            return event
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MalformedProofError("what is stored is not an event of an intent") from error
    raise MalformedProofError("what is stored is not an event of an intent in its one form")


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


# ---- Steps, each for itself -----------------------------------------------------------


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

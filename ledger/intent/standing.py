"""Standing: where an effect that is promised and not yet history is, after some of its events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from ledger.canonical import canonical_bytes
from ledger.intent.event import Event, Hold, digest_events

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


def digest_content(content: Mapping[str, Any]) -> str:
    """SHA-256 in hexadecimal over purpose and canonical content: what a person approves."""
    return hashlib.sha256(_CONTENT_PURPOSE + canonical_bytes(content)).hexdigest()


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

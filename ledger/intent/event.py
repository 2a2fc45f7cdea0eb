"""Event: one step of an intent, and the bytes it is stored and digested as."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from ledger.canonical import canonical_bytes
from ledger.errors import MalformedProofError

_EVENTS_PURPOSE = b"effect-ledger/intent/v1\n"


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


def digest_events(events: Iterable[bytes]) -> str:
    """SHA-256 in hexadecimal over purpose and the bytes of events, each with a line end."""
    # Canonical JSON has no line end in it, so no two lists of events give the same bytes.
    return hashlib.sha256(b"".join([_EVENTS_PURPOSE, *(e + b"\n" for e in events)])).hexdigest()

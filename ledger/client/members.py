"""
Members: what may be said of an effect, a correction or an intent, typed for its writer.

The shapes are those of the HTTP API; whether values are right is for the service to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Required, TypedDict

Moment = str | datetime
"""RFC 3339 text, or a datetime that knows its time zone."""


class Money(TypedDict, total=False):
    """An amount with all its decimals ("19.99" EUR, "1500" JPY), from the merchant's side."""

    amount: Required[str | Decimal]
    currency: Required[str]
    flow: Required[Literal["in", "out"]]
    applied: str | Decimal
    """Amount in the currency of the corrected entry, exactly where that is another."""


class Actor(TypedDict):
    """Who did it."""

    id: str
    kind: Literal["service", "human", "agent"]


class Evidence(TypedDict, total=False):
    """Where somebody else can be asked about it."""

    system: Required[str]
    rel: Required[
        Literal["transaction", "request", "webhook", "bank_line", "result", "document", "approval"]
    ]
    ref: Required[str]
    digest: str
    """SHA-256, 64 lower-case hexadecimal digits."""


class Cause(TypedDict):
    """What it came from."""

    kind: Literal["entry", "intent", "trace", "workflow", "case"]
    ref: str


class Handoff(TypedDict):
    """At which point it became history."""

    point: Literal["executed", "settled", "notified", "exported", "period_closed", "manual"]


class Payload(TypedDict, total=False):
    """Words or octets that are kept beside the entry and can be erased; one of three forms."""

    name: Required[str]
    media_type: str
    json: Any
    text: str
    base64: str
    data_subject: str


class Common(TypedDict, total=False):
    """What may be said of any entry."""

    type: Required[str]
    """Dotted: card.capture, email.sent, tool.call."""
    occurred_at: Required[Moment]
    """Kept with the key: the same key with another time is another request."""
    subject: str
    business_key: str
    """What it is, such as invoice/123: a second one is refused as a possible repeat."""
    actor: Actor
    handoff: Handoff
    evidence: Sequence[Evidence]
    causes: Sequence[Cause]
    labels: Mapping[str, str]
    observed: bool
    """It reports what already happened elsewhere; evidence is required."""
    repeat_of: str
    approval: Mapping[str, str]
    intent: Mapping[str, str]
    payloads: Sequence[Payload]
    note: str
    """Short for a text payload of this name."""
    signature: Mapping[str, str]


class EffectMembers(Common, total=False):
    """An effect."""

    money: Money
    reason: str
    reversible_until: Moment


class CorrectionMembers(Common, total=False):
    """A refund or an adjustment."""

    reason: Required[str]
    money: Money


class ExplanationMembers(Common, total=False):
    """Words about an entry."""

    reason: Required[str]
    audience: str


class PromiseMembers(TypedDict, total=False):
    """An effect that is about to be tried."""

    type: Required[str]
    answer_by: Required[Moment]
    """Silence from then on means that its outcome is unknown."""
    kind: Literal["effect", "refund"]
    on_silence: Literal["ask", "escalate"]
    approval_required: bool
    subject: str
    business_key: str
    actor: Actor
    money: Money
    corrects: str
    corrects_key: str
    reason: str
    causes: Sequence[Cause]
    labels: Mapping[str, str]
    repeat_of: str


class HandOverMembers(TypedDict, total=False):
    """What an entry says beyond the promise that it comes from."""

    money: Money
    """Where it came to another amount than was promised."""
    handoff: Handoff
    payloads: Sequence[Payload]
    note: str

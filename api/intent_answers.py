"""Answers about intents: domain values in the words of the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ledger.dialog.intents import IntentLine
from ledger.effect import Kind
from ledger.forms.money import decimals, format_amount
from ledger.forms.timestamps import format_time, parse_time
from ledger.intent import Event, Hold, Intent, State, before_handoff


def intent_document(intent: Intent, now: str, *, token: int | None = None) -> dict[str, Any]:
    """
    An intent with its events.

    Args:
        intent: As it stands.
        now: Database clock.
        token: The fencing token the caller may know; the newest, without.
    """
    approval = intent.approval
    line = IntentLine(
        id=intent.id,
        key=intent.promise.key,
        state=intent.state_at(now),
        outcome=intent.outcome,
        content=intent.content,
        promised_by=intent.promise.by,
        promised_at=parse_time(intent.promise.at),
        answer_by=parse_time(intent.answer_by),
        now=parse_time(now),
    )
    return line_document(line) | {
        "token": intent.token if token is None else token,
        "content": intent.content,
        "content_digest": intent.content_digest,
        "digest": before_handoff(intent).digest,
        "approval_required": intent.content.get("approval_required", False),
        "approval": None
        if approval is None
        else {"by": approval.by, "at": approval.at, "digest": approval.digest},
        "held": _held_document(intent.hold, intent) if intent.hold else None,
        "evidence": list(intent.evidence),
        "entry": intent.entry,
        "events": [_event_document(event) for event in intent.events],
    }


def line_document(line: IntentLine) -> dict[str, Any]:
    """An intent as it is listed."""
    content = line.content
    return {
        "id": line.id,
        "key": line.key,
        "world": "RML3" if line.state is State.HANDED_OFF else "RML2",
        "state": line.state.value,
        "outcome": line.outcome,
        "kind": content.get("kind", Kind.EFFECT.value),
        "type": content.get("type"),
        "subject": content.get("subject"),
        "business_key": content.get("business_key"),
        "money": content.get("money"),
        "on_silence": content.get("on_silence"),
        "promised_by": line.promised_by,
        "promised_at": format_time(line.promised_at),
        "answer_by": format_time(line.answer_by),
        "age_s": _seconds(line.promised_at, line.now),
        "answer_in_s": _seconds(line.now, line.answer_by),
    }


def _seconds(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds(), 3)


def _held_document(hold: Hold, intent: Intent) -> dict[str, Any]:
    money = intent.content["money"]
    # Written by the rules in the currency of what is refunded: `applied` where that is another.
    places = decimals(money.get("applied", money["amount"]))
    return {
        "entry": hold.entry,
        "amount": format_amount(hold.amount, places),
        "currency": hold.currency,
    }


def _event_document(event: Event) -> dict[str, Any]:
    return {
        "number": event.number,
        "step": event.step.value,
        "at": event.at,
        "by": event.by,
        "key": event.key,
        "token": event.token,
        "said": event.said,
    }

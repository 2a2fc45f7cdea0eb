"""
Promise: what a caller may say of an intent, and the effect its hand-off records.

The words of every step are held to their form here; whether the step is allowed is for `intent`,
and what a promise may hold for `lifecycle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from ledger.canonical import canonical_bytes
from ledger.effect import (
    KEY_MAX,
    REASON_MAX,
    TEXT_MAX,
    Effect,
    Kind,
    Rules,
    build_effect,
    parse_evidence,
)
from ledger.errors import MalformedEffectError, TooLargeError
from ledger.forms.grammar import (
    HASH,
    HASH_FORM,
    KEY,
    KEY_FORM,
    NAME,
    NAME_FORM,
    Parser,
    base64_text,
    boolean,
    form,
    integer,
    members,
    moment,
    one_of,
    text,
    wrong,
)
from ledger.forms.timestamps import format_time
from ledger.intent import Intent, Outcome, Step, is_conclusive

PROMISE_BYTES_MAX = 8_192
"""Canonical content of a promise: its entry has room for all evidence beside it."""

ANSWER_WITHIN_MAX = timedelta(days=366)

_STATEMENT_PURPOSE = b"effect-ledger/statement/v1\n"
_SIGNATURE_CHARACTERS = 88
_TOKEN_MAX = 2**31

# What a promise may say of the effect it will be. What is known only later, when and with what
# evidence, is said by the steps; that it is observed, by how it ended.
_OF_THE_EFFECT = frozenset(
    {
        *("kind", "type", "subject", "business_key", "actor", "money", "corrects"),
        *("corrects_key", "reason", "causes", "labels", "repeat_of"),
    }
)

_key = form(KEY, KEY_FORM, KEY_MAX)
_hash = form(HASH, HASH_FORM, 64)
_name = form(NAME, NAME_FORM, REASON_MAX)
_token = integer(1, _TOKEN_MAX)
_statement = members(
    {"digest": _hash, "key_id": text(TEXT_MAX), "sig": base64_text(_SIGNATURE_CHARACTERS, size=64)}
)


def _some_evidence(value: Any, pointer: str) -> list[dict[str, str]]:
    evidence: list[dict[str, str]] | None = parse_evidence(value, pointer)
    if evidence is None:
        raise wrong(pointer, "must not be empty: say where somebody else says the same")
    return evidence


_STEPS: Mapping[Step, Parser] = {
    Step.APPROVED: members({"digest": _hash}),
    Step.STARTED: members(
        {"token": _token, "executor": text(TEXT_MAX), "takeover": boolean},
        optional=["executor", "takeover"],
    ),
    Step.RESULT: members(
        {"token": _token, "evidence": _some_evidence, "occurred_at": moment},
        optional=["occurred_at"],
    ),
    Step.ERROR: members(
        {
            "token": _token,
            "outcome": one_of("failed", "unknown"),
            "reason": _name,
            "evidence": _some_evidence,
        },
        optional=["reason", "evidence"],
    ),
    Step.EVIDENCE: members(
        {
            "outcome": one_of(*Outcome),
            "evidence": _some_evidence,
            "occurred_at": moment,
            "statement": _statement,
        },
        optional=["evidence", "occurred_at", "statement"],
    ),
    Step.CANCELLED: members({"token": _token, "reason": _name}, optional=["reason"]),
}

_on_silence = one_of("ask", "escalate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A promise whose words are right; whether history leaves room for it is not yet known."""

    content: Mapping[str, Any]
    """In canonical form: what an approval is of."""
    effect: Effect
    """The effect as it would be now, for the rules that depend on history."""


def build_promise(document: Mapping[str, Any], *, key: str, rules: Rules, now: datetime) -> Promise:
    """
    The promise a caller's words make.

    Args:
        document: Members of the effect, and `answer_by`, `on_silence`, `approval_required`.
        key: Idempotency key of the request.
        rules: The rules of the ledger it is meant for.
        now: Wall clock, with its offset.

    Raises:
        RejectedError: As `build_effect`; also of the members that only promises have.
    """
    words = {"kind": Kind.EFFECT.value, **document}
    answer_by, on_silence, approval_required = (
        words.pop(name, None) for name in ("answer_by", "on_silence", "approval_required")
    )
    own = {
        "answer_by": _parse_answer_by(answer_by, now),
        "on_silence": _on_silence("ask" if on_silence is None else on_silence, "/on_silence"),
    }
    if approval_required is not None and boolean(approval_required, "/approval_required"):
        own["approval_required"] = True
    for name in words:
        if name not in _OF_THE_EFFECT:
            raise wrong(f"/{name}", "has no place in a promise")
    if words["kind"] not in (Kind.EFFECT, Kind.REFUND):
        raise wrong("/kind", "must be effect or refund: what else corrects is recorded at once")
    effect = build_effect(
        {**words, "key": key, "occurred_at": format_time(now)}, rules=rules, now=now
    )
    said = orjson.loads(effect.encoded)
    del said["key"], said["occurred_at"]
    content = said | own
    size = len(canonical_bytes(content))
    if size > PROMISE_BYTES_MAX:
        raise TooLargeError(
            f"the promise has {size} bytes, the limit is {PROMISE_BYTES_MAX}",
            limit=PROMISE_BYTES_MAX,
            found=size,
        )
    return Promise(content=content, effect=effect)


def check_due(content: Mapping[str, Any], now: str) -> None:
    """
    Check that a promise that is new at `now` can still be answered in time.

    One that was made before is asked for again at any time: whoever was away past `answer_by`
    has to learn how it stands.

    Raises:
        MalformedEffectError: It cannot.
    """
    if content["answer_by"] <= now:
        raise wrong("/answer_by", f"must be in the future, and it is {now}")


def check_key(key: str) -> str:
    """
    The idempotency key of a step, in its form.

    Raises:
        MalformedEffectError, TooLargeError: It is not.
    """
    checked: str = _key(key, "/key")
    return checked


def parse_step(step: Step, document: Any) -> tuple[dict[str, Any], int | None]:
    """
    The words of a step in canonical form, and the fencing token they show.

    Raises:
        MalformedEffectError, TooLargeError: A member is missing, unknown or wrong.
    """
    said = _STEPS[step](document, "")
    # Absent and false are the same request.
    said = {name: value for name, value in said.items() if value is not False}
    if step is Step.EVIDENCE and not is_conclusive(said):
        raise MalformedEffectError(
            "this tells nobody what became of it: send a transaction or bank_line, a webhook or "
            "result with its digest, or a signed statement",
            pointer="/evidence",
        )
    return said, said.pop("token", None)


def statement_signing_bytes(ledger: str, intent: str, outcome: str, digest: str) -> bytes:
    """What a person signs to state what became of an intent; `digest` is of the words."""
    return _STATEMENT_PURPOSE + canonical_bytes(
        {"digest": digest, "intent": intent, "ledger": ledger, "outcome": outcome}
    )


def build_handoff(
    intent: Intent,
    said: Mapping[str, Any],
    *,
    key: str,
    rules: Rules,
    now: datetime,
    repeat_of: str | None,
) -> Effect:
    """
    The effect that the hand-off of `intent` records.

    A pure function of the intent's events and the request: sent again, it is the same.

    Args:
        intent: Before its hand-off.
        said: Members of the request: `occurred_at`, `money`, `evidence`, `handoff`.
        key: Idempotency key of the request, which becomes the entry's.
        rules: The rules of the ledger.
        now: Wall clock, with its offset.
        repeat_of: The entry it repeats: one that was promised as such, or that has its business
            key by now.

    Raises:
        RejectedError: As `build_effect`.
    """
    content = {
        name: value
        for name, value in intent.content.items()
        if name in _OF_THE_EFFECT and name != "repeat_of"
    }
    evidence = list(intent.evidence)
    for item in parse_evidence(said.get("evidence", ()), "/evidence") or ():
        if item not in evidence:
            evidence.append(item)
    document: dict[str, Any] = {
        **content,
        "key": key,
        "occurred_at": said.get("occurred_at") or intent.executed_at or intent.events[-1].at,
        "handoff": said.get("handoff", {"point": "executed"}),
        "intent": {"id": intent.id, "digest": intent.digest},
    }
    if evidence:
        # Somebody else says that it happened: a fact, and never refused.
        document |= {"evidence": evidence, "observed": True}
    if "money" in said:
        document["money"] = said["money"]
    approval = intent.approval
    # An approval is of exactly what was promised, and void for anything else.
    if approval is not None and document.get("money") == content.get("money"):
        document["approval"] = {"by": approval.by, "at": approval.at, "digest": approval.digest}
    if repeat_of is not None:
        document["repeat_of"] = repeat_of
    return build_effect(document, rules=rules, now=now)


def _parse_answer_by(value: Any, now: datetime) -> str:
    if value is None:
        raise wrong("/answer_by", "is required: from then on silence is an unknown outcome")
    answer_by: str = moment(value, "/answer_by")
    if answer_by > format_time(now + ANSWER_WITHIN_MAX):
        raise wrong("/answer_by", f"must be at most {ANSWER_WITHIN_MAX.days} days from now")
    return answer_by

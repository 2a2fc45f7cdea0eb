"""
Agreement: whether an entry says what was asked for, all of it and nothing beside it.

Both sides are brought into the form that is hashed before they are compared, so that a time in
another zone is the same time, and every other difference is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ledger.effect import read_effect
from ledger.errors import InclusionError, MalformedProofError, RejectedError

_CORRECTION = re.compile("/(?:effects|entries)/([^/]+)/(refund|adjustment|explanation)s")
_HANDOFF = re.compile("/intents/([^/]+)/handoff")
# Kept beside the effect, and no part of it.
_BESIDE = frozenset({"payloads", "note", "signature"})
_KEPT = ("payloads", "note")
_OF_A_HANDOFF = ("money", "handoff", "evidence", "occurred_at")
# Of a promise: how it is waited for, and what the ledger itself finds out at the hand-off.
_NOT_OF_THE_EFFECT = frozenset({"answer_by", "on_silence", "approval_required", "repeat_of"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an entry has to say."""

    words: Mapping[str, Any]
    """Members of an effect, as JSON has them."""
    whole: bool = True
    """Whether it says nothing else; at a hand-off the ledger says the rest from the intent."""
    kept: Mapping[str, Any] | None = None
    """What was sent to be kept beside it, `payloads` and `note`; None where that is not known."""


def asked_of(
    path: str, body: Mapping[str, Any], key: str, promised: Mapping[str, Any] | None = None
) -> Asked:
    """
    What the entry of a write has to say.

    Args:
        path: Where it was posted to, below the ledger.
        body: What was posted, as JSON has it.
        key: Idempotency key.
        promised: Of a hand-off: members of the promise, and what was said of its execution.
    """
    if handoff := _HANDOFF.fullmatch(path):
        said = {name: value for name, value in (promised or {}).items() if value is not None}
        words = {name: said[name] for name in said.keys() - _NOT_OF_THE_EFFECT}
        words |= {name: body[name] for name in _OF_A_HANDOFF if name in body}
        words |= {"key": key, "intent": {"id": handoff[1].lower()}}
        return Asked(words=words, whole=False, kept=_kept(body))
    if correction := _CORRECTION.fullmatch(path):
        place = {"kind": correction[2], "corrects": correction[1], "key": key}
        return asked_in({**body, **place})
    if path == "/effects":
        return asked_in({**body, "kind": "effect", "key": key})
    if path == "/corrections":
        return asked_in({**body, "key": key})
    return Asked(words={"key": key}, whole=False)


def asked_in(item: Mapping[str, Any]) -> Asked:
    """What the entry of an item of a batch has to say."""
    words = {name: value for name, value in item.items() if name not in _BESIDE}
    return Asked(words=words, kept=_kept(item))


def _kept(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in _KEPT if name in body}


def check_agrees(effect: Any, asked: Asked, *, replayed: bool) -> None:
    """
    Refuse an effect that says anything else than was asked for.

    Args:
        effect: As the entry has it, of v 1.
        asked: What was asked for.
        replayed: Whether the service tells it as recorded before.

    Raises:
        MalformedProofError: It is no effect.
        InclusionError: It is another one.
    """
    try:
        found = read_effect(effect if isinstance(effect, dict) else {})
    except RejectedError as error:
        raise MalformedProofError(f"the entry says no effect: {error.message}") from error
    words = dict(asked.words) if asked.whole else _with_the_rest(effect, asked.words, replayed)
    try:
        expected = read_effect(words)
    except RejectedError as error:
        raise InclusionError(
            f"an effect was recorded, and what was asked for is none: {error.message}"
        ) from error
    if found.encoded != expected.encoded:
        has, wanted = orjson.loads(found.encoded), orjson.loads(expected.encoded)
        name = next(name for name in sorted(has | wanted) if has.get(name) != wanted.get(name))
        raise InclusionError(
            f"the receipt's entry has another {name} than was asked for",
            expected=wanted.get(name),
            found=has.get(name),
        )


def _with_the_rest(
    effect: Mapping[str, Any], said: Mapping[str, Any], replayed: bool
) -> dict[str, Any]:
    """What was said, and for the rest what the effect says."""
    words = {**effect, **said}
    if "evidence" in said:
        more = [each for each in said["evidence"] if each not in effect.get("evidence", ())]
        words["evidence"] = [*effect.get("evidence", ()), *more]
    if "intent" in said:
        words["intent"] = {**(effect.get("intent") or {}), **said["intent"]}
        if replayed and effect["key"] != said["key"]:
            # Somebody else has handed it off before: under a key and for an amount of his own.
            own = ("key", *_OF_A_HANDOFF)
            words |= {name: effect[name] for name in own if name in effect}
            for name in own:
                if name not in effect:
                    words.pop(name, None)
    return words

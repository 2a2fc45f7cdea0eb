"""
Effect: what a caller asks us to remember, in the one form that is hashed.

Holds a caller's words, and the effect of a recorded entry, to the rules that need no
history. What depends on other entries (targets, remainders, currencies of a corrected
entry, repeats) is for `lifecycle`; the effect's place in a ledger for `entry`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from ledger.canonical import canonical_bytes, canonical_bytes_of_words
from ledger.errors import TooLargeError
from ledger.forms import notices, personal_data
from ledger.forms.grammar import (
    HASH,
    HASH_FORM,
    KEY,
    KEY_FORM,
    NAME,
    NAME_FORM,
    Parser,
    boolean,
    entries,
    form,
    items,
    members,
    moment,
    one_of,
    text,
    unknown,
    uuid,
    wrong,
)
from ledger.forms.money import (
    CURRENCY,
    check_amount_form,
    check_decimals,
    exponent,
)
from ledger.forms.references import check_reference
from ledger.forms.timestamps import format_time
from ledger.values import make

EFFECT_BYTES_MAX = 32_768
EVIDENCE_MAX = 16
CAUSES_MAX = 32
LABELS_MAX = 16
TEXT_MAX = 255
KEY_MAX = 255
TYPE_MAX = 127
REASON_MAX = 63
SYSTEM_MAX = 63
ACTOR_KINDS = ("service", "human", "agent")
CAUSE_KINDS = ("entry", "intent", "trace", "workflow", "case")
RELS = ("transaction", "request", "webhook", "bank_line", "result", "document", "approval")
POINTS = ("executed", "settled", "notified", "exported", "period_closed", "manual")
FLOWS = ("in", "out")
# What a provider's own digest looks like is its business; a bare one is SHA-256.
DIGEST = re.compile("(?:sha256:)?[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
LABEL = re.compile("[a-z0-9._-]{1,63}")
FUTURE_MAX = timedelta(minutes=5)
"""How far ahead of our clock `occurred_at` may be: callers' clocks are not all right."""


class Kind(StrEnum):
    """What an entry is to the ones before it."""

    EFFECT = "effect"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"
    EXPLANATION = "explanation"
    NOTICE = "notice"
    """Written by the ledger only."""


CORRECTIONS = frozenset({Kind.REFUND, Kind.ADJUSTMENT, Kind.EXPLANATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a ledger adds to the rules that hold everywhere."""

    units: Mapping[str, int] = field(default_factory=dict)
    """Units the ledger declared beside ISO 4217, with their exponents."""
    screen: frozenset[str] = personal_data.CHECKS
    """Checks for personal data that are switched on."""
    notices: bool = False
    """The ledger itself speaks: notices and keys beginning with `_` are allowed."""


@dataclass(frozen=True, kw_only=True)
class Money:
    """An amount as the merchant sees it."""

    amount: str
    currency: str
    flow: str
    """`in` or `out`."""
    applied: str | None = None
    """The amount in the currency of the corrected entry, where that is another one."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who caused the effect."""

    id: str
    kind: str
    """`service`, `human` or `agent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """An original that was recorded elsewhere."""

    system: str
    ref: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Where someone else says the same."""

    system: str
    rel: str
    ref: str
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What led to the effect."""

    kind: str
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who approved the effect before it was carried out, when, and the hash of what."""

    by: str
    at: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRef:
    """The intent that was executed, and the hash of what had been promised."""

    id: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One externally observable change, as its owner describes it. Times are as hashed."""

    kind: Kind
    type: str
    key: str
    occurred_at: str
    subject: str | None = None
    business_key: str | None = None
    actor: Actor | None = None
    money: Money | None = None
    corrects: str | None = None
    corrects_key: str | None = None
    corrects_external: External | None = None
    reason: str | None = None
    handoff: str | None = None
    """The point at which the effect became history."""
    evidence: tuple[Evidence, ...] = ()
    causes: tuple[Cause, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Name and value, ordered by name."""
    observed: bool = False
    repeat_of: str | None = None
    approval: Approval | None = None
    intent: IntentRef | None = None
    audience: str | None = None
    reversible_until: str | None = None
    data: Mapping[str, Any] | None = field(default=None, hash=False)
    encoded: bytes
    """The canonical bytes: equal requests have equal ones."""


def build_effect(document: Mapping[str, Any], *, rules: Rules, now: datetime) -> Effect:
    """
    The effect a caller's words describe, every rule checked that needs no history.

    Times become UTC with six digits, UUIDs lower case; empty lists, empty labels and
    `observed: false` are the same as an absent member and are left out.

    Args:
        document: The whole effect object, `kind` and `key` included.
        rules: The rules of the ledger it is meant for.
        now: Wall clock, with its offset.

    Raises:
        MalformedEffectError: A member is missing, unknown, wrong or out of place here.
        BadReferenceError: The currency is not known in this ledger.
        PersonalDataError: A text that would be hashed seems to name a person.
        TooLargeError: A limit is passed; `details` names it.
    """
    words = _parse_members(document)
    kind = Kind(words["kind"])
    if not rules.notices:
        _refuse_what_is_the_ledgers(words, kind)
    _check_members_for_kind(words, kind, recorded=False)
    if "money" in words:
        _check_decimals(words["money"], rules.units)
    # Most are of the past, which shows in any spelling of the present that begins alike.
    at = words["occurred_at"]
    if at > now.astimezone(UTC).isoformat() and at > format_time(now + FUTURE_MAX):
        raise wrong(
            "/occurred_at",
            f"must not be more than {FUTURE_MAX.seconds // 60} minutes in the future",
        )

    for name in ("subject", "business_key"):
        if name in words:
            check_reference(words[name], "/" + name)
    effect = _effect(words, kind)
    # What the ledger itself says is screened when it is made.
    if rules.screen and not rules.notices:
        _screen(words, effect.encoded, rules.screen)
    return effect


def read_effect(document: Mapping[str, Any]) -> Effect:
    """
    The effect of a recorded entry: the grammar is checked and nothing that may change.

    Today's currency table, clock and checks for personal data do not judge history. The
    canonical bytes are computed anew; whoever has the recorded ones compares.

    Raises:
        MalformedEffectError, TooLargeError: The document is not an effect of v 1.
    """
    words = _parse_members(document)
    kind = Kind(words["kind"])
    _check_members_for_kind(words, kind, recorded=True)
    return _effect(words, kind)


# ---- Members, each for itself ---------------------------------------------------------


def _parse_labels(value: Any, pointer: str) -> dict[str, str] | None:
    return _labels(value, pointer) or None


def _parse_observed(value: Any, pointer: str) -> bool | None:
    return boolean(value, pointer) or None


def _parse_cause(value: Any, pointer: str) -> dict[str, str]:
    cause: dict[str, str] = _cause(value, pointer)
    if cause["kind"] == "entry":
        cause["ref"] = uuid(cause["ref"], f"{pointer}/ref")
    return cause


def _parse_data(value: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(pointer, "must be an object")
    return value


_name = form(NAME, NAME_FORM, REASON_MAX)
_key = form(KEY, KEY_FORM, KEY_MAX)
_hash = form(HASH, HASH_FORM, 64)
_text = text(TEXT_MAX)
_system = text(SYSTEM_MAX)
_digest = form(
    DIGEST,
    "a SHA-256 as 64 lower-case hexadecimal digits, or sha256:, sha384: or sha512: before them",
    135,
)
_amount = text(41)
_labels = entries(
    LABEL,
    "1 to 63 lower-case letters, digits, dots, underscores and hyphens",
    _text,
    LABELS_MAX,
)
_cause = members(
    {"kind": one_of(*CAUSE_KINDS), "ref": _text},
)
_evidence = members(
    {
        "system": _system,
        "rel": one_of(*RELS),
        "ref": _text,
        "digest": _digest,
    },
    optional=["digest"],
)
parse_evidence: Parser = items(_evidence, EVIDENCE_MAX)
"""Evidence as every document has it; None where the list is empty."""

_PARSERS: Mapping[str, Parser] = {
    "kind": one_of(*Kind),
    "type": form(NAME, NAME_FORM, TYPE_MAX),
    "key": _key,
    "occurred_at": moment,
    "subject": _text,
    "business_key": _text,
    "actor": members({"id": _text, "kind": one_of(*ACTOR_KINDS)}),
    "money": members(
        {
            "amount": _amount,
            "currency": form(CURRENCY, "an upper-case currency code such as EUR", 12),
            "flow": one_of(*FLOWS),
            "applied": _amount,
        },
        optional=["applied"],
    ),
    "corrects": uuid,
    "corrects_key": _key,
    "corrects_external": members({"system": _system, "ref": _text}),
    "reason": _name,
    "handoff": members({"point": one_of(*POINTS)}),
    "evidence": parse_evidence,
    "causes": items(_parse_cause, CAUSES_MAX),
    "labels": _parse_labels,
    "observed": _parse_observed,
    "repeat_of": uuid,
    "approval": members({"by": _text, "at": moment, "digest": _hash}),
    "intent": members({"id": uuid, "digest": _hash}),
    "audience": _name,
    "reversible_until": moment,
    "data": _parse_data,
}
"""Every member an effect can have. When several are wrong, the first in this order is told."""


def _parse_members(document: Mapping[str, Any]) -> dict[str, Any]:
    words = {}
    for name, parse in _PARSERS.items():
        if name in document:
            value = parse(document[name], "/" + name)
            if value is not None:
                words[name] = value
        elif name in _REQUIRED:
            raise wrong("/" + name, "is required")
    if not document.keys() <= _PARSERS.keys():
        raise unknown("", document.keys() - _PARSERS.keys())
    return words


# ---- Members together -----------------------------------------------------------------

_REQUIRED = frozenset({"kind", "type", "key", "occurred_at"})
_TARGETS = ("corrects", "corrects_key", "corrects_external")
_ALL = _REQUIRED | {"subject", "actor", "reason", "evidence", "causes", "labels"}
_CALLERS = _ALL | {
    "business_key",
    "handoff",
    "observed",
    "repeat_of",
    "approval",
    "intent",
}
_ALLOWED: Mapping[Kind, frozenset[str]] = {
    Kind.EFFECT: _CALLERS | {"money", "reversible_until"},
    Kind.REFUND: _CALLERS | {"money", *_TARGETS},
    Kind.ADJUSTMENT: _CALLERS | {"money", *_TARGETS},
    Kind.EXPLANATION: _CALLERS | {"audience", *_TARGETS},
    Kind.NOTICE: _ALL | {"data"},
}


def _refuse_what_is_the_ledgers(words: Mapping[str, Any], kind: Kind) -> None:
    if kind is Kind.NOTICE:
        raise wrong("/kind", "notice is written by the ledger only")
    if words["key"].startswith("_"):
        raise wrong("/key", "must not begin with an underscore: such keys are the ledger's")


def _check_members_for_kind(words: dict[str, Any], kind: Kind, *, recorded: bool) -> None:
    if not words.keys() <= _ALLOWED[kind]:
        misplaced = next(name for name in words if name not in _ALLOWED[kind])
        raise wrong("/" + misplaced, f"has no place in kind {kind.value}")

    if kind is Kind.NOTICE:
        if not words["key"].startswith("_"):
            raise wrong("/key", "must begin with an underscore in a notice")
        if "data" not in words:
            raise wrong("/data", "is required in a notice")
        words["data"] = notices.parse_notice(words["type"], words["data"], recorded=recorded)
        return

    if kind in CORRECTIONS:
        _check_correction(words, kind)
    if "money" in words:
        _check_money(words["money"], kind)
    if "observed" in words and "evidence" not in words:
        raise wrong("/evidence", "is required where observed is true")


def _check_correction(words: Mapping[str, Any], kind: Kind) -> None:
    named = [target for target in _TARGETS if target in words]
    if not named:
        raise wrong("/corrects", "or corrects_key or corrects_external is required")
    if len(named) > 1:
        raise wrong("/" + named[1], f"must not stand beside {named[0]}")
    if "reason" not in words:
        raise wrong("/reason", f"is required in kind {kind.value}")
    if "corrects_external" in words and "observed" not in words:
        raise wrong("/observed", "must be true where corrects_external names the original")
    if kind is Kind.REFUND and "money" not in words:
        raise wrong("/money", "is required in kind refund")


def _check_money(money: Mapping[str, str], kind: Kind) -> None:
    amount = money["amount"]
    check_amount_form(amount, "/money/amount")
    if amount.strip("-0.") == "":
        raise wrong("/money/amount", "must not be zero")
    if amount[0] == "-" and kind is not Kind.ADJUSTMENT:
        raise wrong("/money/amount", f"must be above zero in kind {kind.value}")

    applied = money.get("applied")
    if applied is None:
        return
    if kind is Kind.EFFECT:
        raise wrong("/money/applied", "has no place in kind effect: nothing is corrected")
    check_amount_form(applied, "/money/applied")
    if applied.strip("-0.") == "":
        raise wrong("/money/applied", "must not be zero")
    if (applied[0] == "-") != (amount[0] == "-"):
        raise wrong("/money/applied", "must have the sign of amount")


def _check_decimals(money: Mapping[str, str], units: Mapping[str, int]) -> None:
    # `applied` is in the currency of an entry that has yet to be found.
    check_decimals(money["amount"], exponent(money["currency"], units))


# ---- The value ------------------------------------------------------------------------


def _effect(words: Mapping[str, Any], kind: Kind) -> Effect:
    # Only what a notice says may hold numbers and names of its own.
    encoded = canonical_bytes(words) if "data" in words else canonical_bytes_of_words(words)
    if len(encoded) > EFFECT_BYTES_MAX:
        raise TooLargeError(
            f"the effect has {len(encoded)} bytes, the limit is {EFFECT_BYTES_MAX}",
            pointer="",
            limit=EFFECT_BYTES_MAX,
            found=len(encoded),
        )

    # Made with the members there are: few effects have half of them.
    fields = {**words, "kind": kind, "encoded": encoded}
    for name, build in _BUILDERS:
        if name in words:
            fields[name] = build(words[name])
    return make(Effect, fields)


_BUILDERS: Sequence[tuple[str, Callable[[Any], Any]]] = (
    ("actor", lambda words: make(Actor, words)),
    ("money", lambda words: make(Money, words)),
    ("evidence", lambda items: tuple([make(Evidence, words) for words in items])),
    ("handoff", lambda words: words["point"]),
    ("labels", lambda words: tuple(sorted(words.items()))),
    ("causes", lambda items: tuple([Cause(**words) for words in items])),
    ("corrects_external", lambda words: External(**words)),
    ("approval", lambda words: Approval(**words)),
    ("intent", lambda words: IntentRef(**words)),
)


def _screen(words: Mapping[str, Any], encoded: bytes, checks: frozenset[str]) -> None:
    if personal_data.is_suspicious(encoded):
        personal_data.screen(personal_data.texts_of(words), checks)

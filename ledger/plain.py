"""
Plain: entries in the spelling that nearly all have, recognised by one pattern.

Verification reads every entry of a ledger, and a grammar in Python takes fifty microseconds
for each. What the pattern matches, the grammar of `entry` accepts, with the same values; what
it does not match, the grammar judges. So it decides nothing, only sooner.

Plain are entries of version 1 in printable ASCII without escapes, of every kind but notices,
without a poster's signature, and with no time on 29 February.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ledger.effect import (
    ACTOR_KINDS,
    CAUSE_KINDS,
    CAUSES_MAX,
    DIGEST,
    EFFECT_BYTES_MAX,
    EVIDENCE_MAX,
    FLOWS,
    KEY_MAX,
    LABEL,
    LABELS_MAX,
    POINTS,
    REASON_MAX,
    RELS,
    SYSTEM_MAX,
    TEXT_MAX,
    TYPE_MAX,
    Actor,
    Approval,
    Cause,
    Effect,
    Evidence,
    External,
    IntentRef,
    Kind,
    Money,
)
from ledger.forms.grammar import HASH, NAME
from ledger.forms.money import CURRENCY, DECIMAL
from ledger.forms.names import (
    LEDGER_NAME,
    NAME_MAX,
    PAYLOAD_NAME,
    PAYLOAD_NAME_MAX,
    PERIOD_NAME,
    PERIOD_NAME_MAX,
    PRINCIPAL_NAME,
)
from ledger.forms.payload import MEDIA_TYPE, MEDIA_TYPE_MAX, PAYLOADS_MAX, Commitment


class PlainEntry(NamedTuple):
    """What an entry says, as text in the order in which it stands; see `entry.Entry`."""

    actor_id: str | None
    actor_kind: str | None
    approved_at: str | None
    approved_by: str | None
    approved_digest: str | None
    audience: str | None
    business_key: str | None
    causes: str | None
    """Items of the list, unparsed; so are those of the other lists."""
    corrects: str | None
    external_ref: str | None
    external_system: str | None
    corrects_key: str | None
    evidence: str | None
    handoff: str | None
    intent_digest: str | None
    intent_id: str | None
    key: str
    kind: str
    labels: str | None
    amount: str | None
    applied: str | None
    currency: str | None
    flow: str | None
    observed: str | None
    occurred_at: str
    reason: str | None
    repeat_of: str | None
    reversible_until: str | None
    subject: str | None
    type: str
    id: str
    late_for: str | None
    ledger: str
    payloads: str | None
    poster: str
    prev: str
    recorded_at: str
    seq: str


def read_plain(encoded: bytes) -> PlainEntry | None:
    """What `encoded` says, if it is an entry in the plain spelling; None tells nothing."""
    # Within the limit of an effect, a whole entry is within both limits.
    if len(encoded) > EFFECT_BYTES_MAX or not encoded.isascii():
        return None
    match = _PLAIN(encoded.decode("ascii"))
    if match is None:
        return None
    plain = PlainEntry._make(match.groups())
    return plain if is_allowed(plain) else None


def effect_of(plain: PlainEntry, encoded: bytes) -> Effect:
    """The effect in the entry `encoded`, of which `plain` was read."""
    p = plain
    return Effect(
        kind=_KINDS[p.kind],
        type=p.type,
        key=p.key,
        occurred_at=p.occurred_at,
        subject=p.subject,
        business_key=p.business_key,
        actor=None if p.actor_id is None else Actor(id=p.actor_id, kind=str(p.actor_kind)),
        money=_money(p),
        corrects=p.corrects,
        corrects_key=p.corrects_key,
        corrects_external=None
        if p.external_ref is None
        else External(system=str(p.external_system), ref=p.external_ref),
        reason=p.reason,
        handoff=p.handoff,
        evidence=() if p.evidence is None else tuple(_evidence(p.evidence)),
        causes=() if p.causes is None else tuple(_causes(p.causes)),
        labels=() if p.labels is None else tuple(labels_of(p.labels)),
        observed=p.observed is not None,
        repeat_of=p.repeat_of,
        approval=_approval(p),
        intent=_intent(p),
        audience=p.audience,
        reversible_until=p.reversible_until,
        # The effect stands first, and its type last in it.
        encoded=encoded[len(_BEFORE) : encoded.index(b'"},"id":"') + 2],
    )


def evidence_of(items: str) -> list[tuple[str, str]]:
    """System and ref of the items of `PlainEntry.evidence`."""
    return [(system, ref) for _, ref, _, system in _EVIDENCE_ITEM.findall(items)]


def causes_of(items: str) -> list[tuple[str, str]]:
    """Kind and ref of the items of `PlainEntry.causes`."""
    return _CAUSE_ITEM.findall(items)


def labels_of(items: str) -> list[tuple[str, str]]:
    """Name and value of the items of `PlainEntry.labels`."""
    return _LABEL_ITEM.findall(items)


def payloads_of(items: str) -> tuple[Commitment, ...]:
    """The items of `PlainEntry.payloads`."""
    found = _PAYLOAD_ITEM.findall(items)
    return tuple(
        Commitment(name=name, media_type=media_type, commitment=commitment)
        for commitment, media_type, name in found
    )


def _evidence(items: str) -> Iterator[Evidence]:
    for digest, ref, rel, system in _EVIDENCE_ITEM.findall(items):
        yield Evidence(system=system, rel=rel, ref=ref, digest=digest or None)


def _causes(items: str) -> Iterator[Cause]:
    for kind, ref in causes_of(items):
        yield Cause(kind=kind, ref=ref)


def _money(p: PlainEntry) -> Money | None:
    if p.amount is None:
        return None
    return Money(amount=p.amount, currency=str(p.currency), flow=str(p.flow), applied=p.applied)


def _approval(p: PlainEntry) -> Approval | None:
    if p.approved_by is None:
        return None
    return Approval(by=p.approved_by, at=str(p.approved_at), digest=str(p.approved_digest))


def _intent(p: PlainEntry) -> IntentRef | None:
    if p.intent_id is None:
        return None
    return IntentRef(id=p.intent_id, digest=str(p.intent_digest))


# ---- Members together, as `effect` has them ---------------------------------------------


def is_allowed(p: PlainEntry) -> bool:
    """Whether members that the pattern takes one by one may stand together."""
    return (
        (p.observed is None or p.evidence is not None)
        and (p.labels is None or are_labels(p.labels))
        and (p.payloads is None or are_payloads(p.payloads))
        and (_is_effect(p) if p.kind == "effect" else _is_correction(p))
    )


def _is_effect(p: PlainEntry) -> bool:
    return (
        p.corrects is None
        and p.corrects_key is None
        and p.external_ref is None
        and p.audience is None
        and p.applied is None
        and (p.amount is None or sign_of(p.amount) > 0)
    )


def _is_correction(p: PlainEntry) -> bool:
    targets = (p.corrects, p.corrects_key, p.external_ref)
    return (
        targets.count(None) == len(targets) - 1
        and p.reason is not None
        and (p.external_ref is None or p.observed is not None)
        and p.reversible_until is None
        and (p.audience is None or p.kind == "explanation")
        and _has_its_money(p)
    )


def _has_its_money(p: PlainEntry) -> bool:
    if p.amount is None:
        return p.kind != "refund"
    sign = sign_of(p.amount)
    return (
        p.kind != "explanation"
        and sign != 0
        and (sign > 0 or p.kind == "adjustment")
        and (p.applied is None or sign_of(p.applied) == sign)
    )


def sign_of(amount: str) -> int:
    """-1, 0 or 1, of a well-formed amount."""
    if amount.strip("-0.") == "":
        return 0
    return -1 if amount[0] == "-" else 1


def are_labels(items: str) -> bool:
    """Whether the names in the items of `PlainEntry.labels` are different, and in order."""
    names = [name for name, _ in labels_of(items)]
    return all(name < after for name, after in itertools.pairwise(names))


def are_payloads(items: str) -> bool:
    """Whether the names in the items of `PlainEntry.payloads` are different."""
    names = [each.name for each in payloads_of(items)]
    return len(set(names)) == len(names)


# ---- The pattern --------------------------------------------------------------------------


def _text(limit: int) -> str:
    # Printable, and neither of the two characters that JSON escapes.
    return f"[ !#-\\[\\]-~]{{1,{limit}}}"


def _of(pattern: str, limit: int) -> str:
    # Up to the end of the word, which may be all there is.
    return f'(?=[^"]{{1,{limit}}}(?:"|\\Z))(?:{pattern})'


def _one_of(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


def _list(item: str, limit: int) -> str:
    return f"{item}(?:,{item}){{0,{limit - 1}}}"


_YEARS = "20[0-9]{2}"
_DAYS = (
    "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
HOUR = f"{_YEARS}-{_DAYS}T(?:[01][0-9]|2[0-3])"
_TIME = f"{HOUR}:[0-5][0-9]:[0-5][0-9]\\.[0-9]{{6}}Z"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = f"[!#-\\[\\]-~]{{1,{KEY_MAX}}}"
_HASH = HASH.pattern

EVIDENCE_ITEM = (
    f'{{(?:"digest":"(?:{DIGEST.pattern})",)?"ref":"{_text(TEXT_MAX)}",'
    f'"rel":"{_one_of(RELS)}","system":"{_text(SYSTEM_MAX)}"}}'
)
CAUSES = _list(
    f'{{"kind":"(?:entry","ref":"{_UUID}'
    f'|{_one_of(kind for kind in CAUSE_KINDS if kind != "entry")}","ref":"{_text(TEXT_MAX)})"}}',
    CAUSES_MAX,
)
LABELS = _list(f'"{LABEL.pattern}":"{_text(TEXT_MAX)}"', LABELS_MAX)
PAYLOADS = _list(
    f'{{"commitment":"{_HASH}","media_type":"{_of(MEDIA_TYPE.pattern, MEDIA_TYPE_MAX)}",'
    f'"name":"{_of(PAYLOAD_NAME.pattern, PAYLOAD_NAME_MAX)}"}}',
    PAYLOADS_MAX,
)

_KINDS = {str(kind): kind for kind in Kind}
_BEFORE = b'{"effect":'

WORDS: Mapping[str, str] = {
    "actor_id": _text(TEXT_MAX),
    "actor_kind": _one_of(ACTOR_KINDS),
    "approved_at": _TIME,
    "approved_by": _text(TEXT_MAX),
    "approved_digest": _HASH,
    "audience": _of(NAME.pattern, REASON_MAX),
    "business_key": _text(TEXT_MAX),
    "causes": CAUSES,
    "corrects": _UUID,
    "external_ref": _text(TEXT_MAX),
    "external_system": _text(SYSTEM_MAX),
    "corrects_key": _KEY,
    "evidence": _list(EVIDENCE_ITEM, EVIDENCE_MAX),
    "handoff": _one_of(POINTS),
    "intent_digest": _HASH,
    "intent_id": _UUID,
    "key": _KEY,
    "kind": _one_of(kind for kind in Kind if kind is not Kind.NOTICE),
    "labels": LABELS,
    "amount": DECIMAL,
    "applied": DECIMAL,
    "currency": CURRENCY.pattern,
    "flow": _one_of(FLOWS),
    "observed": "true",
    "occurred_at": _TIME,
    "reason": _of(NAME.pattern, REASON_MAX),
    "repeat_of": _UUID,
    "reversible_until": _TIME,
    "subject": _text(TEXT_MAX),
    "type": _of(NAME.pattern, TYPE_MAX),
    "id": _UUID,
    "late_for": _of(PERIOD_NAME.pattern, PERIOD_NAME_MAX),
    "ledger": _of(LEDGER_NAME.pattern, NAME_MAX),
    "payloads": PAYLOADS,
    "poster": _of(PRINCIPAL_NAME.pattern, NAME_MAX),
    "prev": _HASH,
    "recorded_at": _TIME,
    # Fifteen digits are surely within 53 bits.
    "seq": "0|[1-9][0-9]{0,14}",
}
"""Member of `PlainEntry` -> the pattern of what it may say."""


def entry_pattern(w: Mapping[str, str]) -> str:
    """The pattern of an entry, of the patterns of what its members say; each a group."""
    # One line for each member, in the order of RFC 8785 Section 3.2.3.
    return (
        '{"effect":{'
        f'(?:"actor":{{"id":"{w["actor_id"]}","kind":"{w["actor_kind"]}"}},)?+'
        f'(?:"approval":{{"at":"{w["approved_at"]}","by":"{w["approved_by"]}",'
        f'"digest":"{w["approved_digest"]}"}},)?+'
        f'(?:"audience":"{w["audience"]}",)?+'
        f'(?:"business_key":"{w["business_key"]}",)?+'
        f'(?:"causes":\\[{w["causes"]}\\],)?+'
        f'(?:"corrects":"{w["corrects"]}",)?+'
        f'(?:"corrects_external":{{"ref":"{w["external_ref"]}",'
        f'"system":"{w["external_system"]}"}},)?+'
        f'(?:"corrects_key":"{w["corrects_key"]}",)?+'
        f'(?:"evidence":\\[{w["evidence"]}\\],)?+'
        f'(?:"handoff":{{"point":"{w["handoff"]}"}},)?+'
        f'(?:"intent":{{"digest":"{w["intent_digest"]}","id":"{w["intent_id"]}"}},)?+'
        f'"key":"{w["key"]}",'
        f'"kind":"{w["kind"]}",'
        f'(?:"labels":{{{w["labels"]}}},)?+'
        f'(?:"money":{{"amount":"{w["amount"]}",(?:"applied":"{w["applied"]}",)?+'
        f'"currency":"{w["currency"]}","flow":"{w["flow"]}"}},)?+'
        f'(?:"observed":{w["observed"]},)?+'
        f'"occurred_at":"{w["occurred_at"]}",'
        f'(?:"reason":"{w["reason"]}",)?+'
        f'(?:"repeat_of":"{w["repeat_of"]}",)?+'
        f'(?:"reversible_until":"{w["reversible_until"]}",)?+'
        f'(?:"subject":"{w["subject"]}",)?+'
        f'"type":"{w["type"]}"}},'
        f'"id":"{w["id"]}",'
        f'(?:"late_for":"{w["late_for"]}",)?+'
        f'"ledger":"{w["ledger"]}",'
        f'(?:"payloads":\\[{w["payloads"]}\\],)?+'
        f'"poster":"{w["poster"]}",'
        f'"prev":"{w["prev"]}",'
        f'"recorded_at":"{w["recorded_at"]}",'
        f'"seq":{w["seq"]},'
        '"v":1}'
    )


def captured(words: Mapping[str, str]) -> dict[str, str]:
    """The patterns of members, each as a group that is captured."""
    return {member: f"({pattern})" for member, pattern in words.items()}


_PLAIN = re.compile(entry_pattern(captured(WORDS))).fullmatch

# Of what the pattern matched: no text in it has a quotation mark.
_EVIDENCE_ITEM = re.compile(
    '{(?:"digest":"([^"]*)",)?"ref":"([^"]*)","rel":"([^"]*)","system":"([^"]*)"}'
)
_CAUSE_ITEM = re.compile('{"kind":"([^"]*)","ref":"([^"]*)"}')
_LABEL_ITEM = re.compile('"([^"]*)":"([^"]*)"')
_PAYLOAD_ITEM = re.compile('{"commitment":"([^"]*)","media_type":"([^"]*)","name":"([^"]*)"}')

"""
Writes effect.json, entry.json, payload.json and notice.json: the byte format by example.

Inputs are chosen here by hand; what they must become is computed. Run it after a change of
the format, and read the difference: bytes that are hashed change by a new version only.

    python tests/vectors/generate_entries.py
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.canonical import canonical_bytes
from ledger.effect import Effect, Rules, build_effect
from ledger.entry import (
    Admitted,
    Entry,
    Head,
    PosterSignature,
    chain,
    effect_signing_bytes,
    genesis_hash,
    parse_entry,
    verify_chain,
)
from ledger.errors import LedgerError
from ledger.forms.payload import Commitment, build_payloads, commitment

HERE = Path(__file__).parent
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ORIGIN = "6f1d0c2a.effect-ledger.invalid/acme.payments"
LEDGER = "acme.payments"
RECORDED_AT = "2026-03-02T12:00:00.000000Z"
ID = "01957f5e-8c00-7{0:03x}-8000-000000000000"
HASH = "ab" * 32

EFFECT: dict[str, Any] = {
    "kind": "effect",
    "type": "card.capture",
    "key": "capture-17",
    "occurred_at": "2026-03-02T09:14:07.000000Z",
}
EVIDENCE = {"system": "stripe", "rel": "transaction", "ref": "txn_A1"}
MONEY = {"amount": "120.00", "currency": "EUR", "flow": "in"}
CORRECTION = {"corrects": ID.format(1), "reason": "customer.request"}
REFUND = {
    **EFFECT,
    "kind": "refund",
    "type": "card.refund",
    **CORRECTION,
    "money": {"amount": "45.00", "currency": "EUR", "flow": "out"},
}
ADJUSTMENT = {**EFFECT, "kind": "adjustment", "type": "chargeback", **CORRECTION}
EXPLANATION = {**EFFECT, "kind": "explanation", "type": "letter", **CORRECTION}
FULL = {
    **EFFECT,
    "subject": "order/12345",
    "business_key": "invoice/123",
    "actor": {"id": "checkout", "kind": "service"},
    "money": MONEY,
    "handoff": {"point": "settled"},
    "evidence": [EVIDENCE, {**EVIDENCE, "rel": "document", "digest": f"sha256:{HASH}"}],
    "causes": [
        {"kind": "entry", "ref": ID.format(9).upper()},
        {"kind": "trace", "ref": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    ],
    "labels": {"region": "eu", "channel": "web"},
    "observed": True,
    "repeat_of": ID.format(2),
    "approval": {"by": "treasurer", "at": "2026-03-01T17:00:00+01:00", "digest": HASH},
    "intent": {"id": ID.format(3), "digest": HASH},
    "reversible_until": "2026-03-09T00:00:00Z",
}


def money(amount: str, currency: str, flow: str = "in", **more: str) -> dict[str, Any]:
    """The members of an effect with this money."""
    return {**EFFECT, "money": {"amount": amount, "currency": currency, "flow": flow, **more}}


def without(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The document without one member."""
    return {key: value for key, value in document.items() if key != name}


EFFECTS: dict[str, dict[str, Any]] = {
    "least": EFFECT,
    "every-member": FULL,
    "time-with-offset": {**EFFECT, "occurred_at": "2026-03-02T10:14:07+01:00"},
    "time-in-nanoseconds-is-cut": {**EFFECT, "occurred_at": "2026-03-02T09:14:07.123456999Z"},
    "time-in-lower-case": {**EFFECT, "occurred_at": "2026-03-02t09:14:07.5z"},
    "time-within-five-minutes": {**EFFECT, "occurred_at": "2026-03-02T12:05:00Z"},
    "time-on-another-day": {**EFFECT, "occurred_at": "2026-02-28T23:30:00-02:00"},
    "empty-members-are-absent": {
        **EFFECT,
        "evidence": [],
        "causes": [],
        "labels": {},
        "observed": False,
    },
    "labels-are-ordered": {**EFFECT, "labels": {"b": "2", "a": "1", "a.b": "3"}},
    "text-beyond-ascii": {**EFFECT, "subject": "Rechnung/Zürich-東京-😀", "labels": {"x": '"\\'}},
    "no-decimals": money("1500", "JPY"),
    "three-decimals": money("0.001", "KWD"),
    "declared-unit": money("10.000001", "USDC"),
    "twenty-digits": money("99999999999999999999.99", "EUR"),
    "longest-texts": {
        **EFFECT,
        "type": "t" * 127,
        "key": "k" * 255,
        "subject": "é" * 255,
        "reason": "r" * 63,
    },
    "refund": REFUND,
    "refund-in-another-currency": {
        **REFUND,
        "money": {"amount": "50.00", "currency": "USD", "flow": "out", "applied": "45.00"},
    },
    "id-in-upper-case": {**REFUND, "corrects": ID.format(0xABC).upper()},
    "refund-by-key": {**without(REFUND, "corrects"), "corrects_key": "capture-17"},
    "refund-of-an-original-elsewhere": {
        **without(REFUND, "corrects"),
        "corrects_external": {"system": "erp", "ref": "4711"},
        "observed": True,
        "evidence": [EVIDENCE],
    },
    "negative-adjustment": {
        **ADJUSTMENT,
        "money": {"amount": "-45.00", "currency": "EUR", "flow": "in"},
    },
    "negative-adjustment-in-another-currency": {
        **ADJUSTMENT,
        "money": {"amount": "-50.00", "currency": "USD", "flow": "in", "applied": "-45.00"},
    },
    "adjustment-without-money": {**ADJUSTMENT, "type": "email.recalled"},
    "explanation": {**EXPLANATION, "audience": "customer"},
    "evidence-ref-is-exempt": {
        **EFFECT,
        "evidence": [{**EVIDENCE, "ref": "<17@mail.example> DE89370400440532013000"}],
    },
    "card-number-outside-its-places": {**EFFECT, "business_key": "4111111111111111"},
    "uuid-key": {**EFFECT, "key": "12345678-1234-4123-8123-123456789012"},
}

REFUSED_EFFECTS: dict[str, dict[str, Any]] = {
    "kind-missing": without(EFFECT, "kind"),
    "type-missing": without(EFFECT, "type"),
    "key-missing": without(EFFECT, "key"),
    "time-missing": without(EFFECT, "occurred_at"),
    "member-unknown": {**EFFECT, "colour": "red"},
    "member-unknown-inside": {**EFFECT, "actor": {"id": "a", "kind": "human", "age": 7}},
    "member-null": {**EFFECT, "subject": None},
    "member-empty": {**EFFECT, "subject": ""},
    "kind-unknown": {**EFFECT, "kind": "rollback"},
    "kind-notice": {**EFFECT, "kind": "notice", "key": "_n", "data": {}},
    "type-in-upper-case": {**EFFECT, "type": "Card.Capture"},
    "type-with-empty-part": {**EFFECT, "type": "card..capture"},
    "type-too-long": {**EFFECT, "type": "t" * 128},
    "key-of-the-ledger": {**EFFECT, "key": "_mine"},
    "key-with-space": {**EFFECT, "key": "a b"},
    "key-beyond-ascii": {**EFFECT, "key": "ü"},
    "key-empty": {**EFFECT, "key": ""},
    "key-too-long": {**EFFECT, "key": "k" * 256},
    "key-a-number": {**EFFECT, "key": 17},
    "subject-too-long": {**EFFECT, "subject": "s" * 256},
    "reason-too-long": {**REFUND, "reason": "r" * 64},
    "text-not-nfc": {**EFFECT, "subject": "u\u0308"},
    "text-with-control": {**EFFECT, "subject": "a\tb"},
    "text-with-c1-control": {**EFFECT, "subject": "a\u0085b"},
    "time-without-offset": {**EFFECT, "occurred_at": "2026-03-02T09:14:07"},
    "time-with-space": {**EFFECT, "occurred_at": "2026-03-02 09:14:07Z"},
    "time-leap-second": {**EFFECT, "occurred_at": "2016-12-31T23:59:60Z"},
    "time-of-no-day": {**EFFECT, "occurred_at": "2026-02-30T00:00:00Z"},
    "time-of-no-hour": {**EFFECT, "occurred_at": "2026-02-03T24:00:00Z"},
    "time-before-1970": {**EFFECT, "occurred_at": "1969-12-31T23:59:59Z"},
    "time-in-the-future": {**EFFECT, "occurred_at": "2026-03-02T12:05:00.000001Z"},
    "actor-kind-unknown": {**EFFECT, "actor": {"id": "a", "kind": "robot"}},
    "actor-without-id": {**EFFECT, "actor": {"kind": "human"}},
    "amount-a-number": {**EFFECT, "money": {**MONEY, "amount": 120}},
    "amount-a-float": {**EFFECT, "money": {**MONEY, "amount": 120.5}},
    "amount-without-decimals": money("120", "EUR"),
    "amount-one-decimal": money("120.0", "EUR"),
    "amount-three-decimals": money("120.000", "EUR"),
    "amount-decimals-in-yen": money("1500.00", "JPY"),
    "amount-point-without-digits": money("1500.", "JPY"),
    "amount-leading-zero": money("0120.00", "EUR"),
    "amount-plus-sign": money("+120.00", "EUR"),
    "amount-exponent": money("1e2", "JPY"),
    "amount-minus-zero": money("-0.00", "EUR"),
    "amount-zero": money("0.00", "EUR"),
    "amount-negative": money("-120.00", "EUR"),
    "amount-comma": money("120,00", "EUR"),
    "amount-other-digits": money("12\u0660.00", "EUR"),
    "amount-twenty-one-digits": money("100000000000000000000.00", "EUR"),
    "currency-in-lower-case": money("120.00", "eur"),
    "currency-unknown": money("120.00", "ABC"),
    "currency-without-unit": money("1", "XAU"),
    "flow-unknown": money("120.00", "EUR", "sideways"),
    "applied-on-an-effect": money("120.00", "EUR", applied="1.00"),
    "applied-of-other-sign": {**REFUND, "money": {**REFUND["money"], "applied": "-45.00"}},
    "applied-zero": {**REFUND, "money": {**REFUND["money"], "applied": "0"}},
    "effect-with-corrects": {**EFFECT, "corrects": ID.format(1)},
    "effect-with-audience": {**EFFECT, "audience": "customer"},
    "effect-with-data": {**EFFECT, "data": {}},
    "refund-without-money": without(REFUND, "money"),
    "refund-of-nothing": {**REFUND, "money": {**REFUND["money"], "amount": "0.00"}},
    "refund-negative": {**REFUND, "money": {**REFUND["money"], "amount": "-1.00"}},
    "refund-without-target": without(REFUND, "corrects"),
    "refund-with-two-targets": {**REFUND, "corrects_key": "capture-17"},
    "refund-without-reason": without(REFUND, "reason"),
    "refund-reversible": {**REFUND, "reversible_until": "2026-03-09T00:00:00Z"},
    "corrects-not-an-id": {**REFUND, "corrects": "capture-17"},
    "external-not-observed": {
        **without(REFUND, "corrects"),
        "corrects_external": {"system": "erp", "ref": "4711"},
        "evidence": [EVIDENCE],
    },
    "observed-without-evidence": {**EFFECT, "observed": True},
    "observed-with-empty-evidence": {**EFFECT, "observed": True, "evidence": []},
    "observed-not-a-boolean": {**EFFECT, "observed": 1, "evidence": [EVIDENCE]},
    "adjustment-of-zero": {**ADJUSTMENT, "money": {**MONEY, "amount": "0.00"}},
    "explanation-with-money": {**EXPLANATION, "money": MONEY},
    "handoff-unknown": {**EFFECT, "handoff": {"point": "hoped"}},
    "evidence-rel-unknown": {**EFFECT, "evidence": [{**EVIDENCE, "rel": "rumour"}]},
    "evidence-digest-short": {**EFFECT, "evidence": [{**EVIDENCE, "digest": "abcd"}]},
    "evidence-too-many": {**EFFECT, "evidence": [EVIDENCE] * 17},
    "causes-too-many": {**EFFECT, "causes": [{"kind": "case", "ref": "1"}] * 33},
    "cause-entry-not-an-id": {**EFFECT, "causes": [{"kind": "entry", "ref": "17"}]},
    "labels-too-many": {**EFFECT, "labels": {f"l{at}": "x" for at in range(17)}},
    "label-name-in-upper-case": {**EFFECT, "labels": {"Region": "eu"}},
    "label-value-too-long": {**EFFECT, "labels": {"region": "x" * 256}},
    "effect-too-large": {
        **EFFECT,
        "causes": [{"kind": "case", "ref": "東" * 255}] * 32,
        "evidence": [{**EVIDENCE, "ref": "東" * 255}] * 16,
    },
    "e-mail-address": {**EFFECT, "subject": "anna@example.org"},
    "e-mail-address-in-label": {**EFFECT, "labels": {"customer": "anna@example.org"}},
    "iban": {**EFFECT, "subject": "DE89370400440532013000"},
    "iban-with-spaces": {**EFFECT, "business_key": "to GB29 NWBK 6016 1331 9268 19 today"},
    "iban-in-lower-case": {**EFFECT, "actor": {"id": "nl91abna0417164300", "kind": "human"}},
    "card-number": {**EFFECT, "subject": "card/4111111111111111"},
    "card-number-with-dashes": {**EFFECT, "key": "5555-5555-5555-4444"},
    "card-number-with-spaces": {**EFFECT, "labels": {"pan": "3782 822463 10005"}},
    "card-number-as-actor": {**EFFECT, "actor": {"id": "6011111111111117", "kind": "human"}},
}

NOTICE = {**EFFECT, "kind": "notice", "key": "_n/1"}
ROOT = hashlib.sha256(b"root").hexdigest()
POSTER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"test poster").digest())
VKEY = f"{ORIGIN}+0123abcd+AbC{'d' * 40}="
CREATED = {
    "origin": ORIGIN,
    "vkey": VKEY,
    "units": {"USDC": 6},
    "time_zone": "Europe/Berlin",
    "signer": "6f1d0c2a",
    "public": False,
}
LOG_KEY = {"key_id": "0123abcd", "purpose": "log", "origin": ORIGIN}
POSTER_KEY = {"key_id": "checkout-1", "purpose": "poster", "principal": "checkout"}
CLOSED = {
    "name": "2026-02",
    "from_seq": 0,
    "to_seq": 41,
    "root": ROOT,
    "counts": {"effect": 40, "refund": 2},
    "sums": [
        {"kind": "effect", "currency": "EUR", "flow": "in", "count": 40, "amount": "4800.00"},
        {"kind": "refund", "currency": "EUR", "flow": "out", "count": 2, "amount": "90.00"},
    ],
    "preparer": "anna.accounting",
    "reviewer": "ben.audit",
}
ISSUED = {
    "export_id": ID.format(6),
    "from_seq": 0,
    "to_seq": 41,
    "root": ROOT,
    "manifest_hash": HASH,
}
ERASED = {"payloads": [{"entry": ID.format(1), "name": "note"}]}

NOTICES: dict[str, tuple[str, dict[str, Any]]] = {
    "ledger-created": ("ledger.created", CREATED),
    "ledger-created-without-units": ("ledger.created", {**CREATED, "units": {}}),
    "log-key-added": ("key.added", {**LOG_KEY, "public_key": VKEY}),
    "log-key-added-for-a-ledger": ("key.added", {**LOG_KEY, "public_key": VKEY, "ledger": LEDGER}),
    "poster-key-added": (
        "key.added",
        {**POSTER_KEY, "public_key": POSTER.public_key().public_bytes_raw().hex()},
    ),
    "log-key-endorsed": (
        "key.added",
        {
            **LOG_KEY,
            "public_key": VKEY,
            "endorsements": [f"\u2014 {ORIGIN} q83vEjRWeJCrze8SNFZ4kKvN7xI0"],
        },
    ),
    "log-key-retired": ("key.retired", {**LOG_KEY, "final_size": 42}),
    "poster-key-retired": ("key.retired", POSTER_KEY),
    "payload-erased": ("payload.erased", ERASED),
    "payload-lost": ("payload.lost", {"from_seq": 40, "to_seq": 41}),
    "payload-lost-of-one-entry": ("payload.lost", {"from_seq": 0, "to_seq": 0}),
    "hold-on-an-entry": ("hold.placed", {"hold_id": ID.format(4), "entry": ID.format(1)}),
    "hold-on-a-person": ("hold.placed", {"hold_id": ID.format(4)}),
    "hold-released": ("hold.released", {"hold_id": ID.format(4)}),
    "period-closed": ("period.closed", CLOSED),
    "period-closed-anew": (
        "period.closed",
        {
            **CLOSED,
            "from_at": "2026-01-31T23:00:00Z",
            "to_at": "2026-02-28T23:00:00Z",
            "supersedes": ID.format(5),
        },
    ),
    "period-closed-empty": (
        "period.closed",
        {**CLOSED, "from_seq": 0, "to_seq": -1, "counts": {}, "sums": []},
    ),
    "period-reviewed": (
        "period.reviewed",
        {
            "name": "2026-02",
            "close": ID.format(5),
            "close_hash": HASH,
            "reviewer": "ben.audit",
        },
    ),
    "checkpoint-recorded": (
        "checkpoint.recorded",
        {"ledger": LEDGER, "origin": ORIGIN, "size": 42, "root": ROOT},
    ),
    "export-issued": ("export.issued", ISSUED),
    "recon-decided": (
        "recon.decided",
        {
            "act": "signoff",
            "decision_id": ID.format(8),
            "decision_hash": HASH,
            "principal": "ben.audit",
        },
    ),
    "period-closed-by-one-alone": ("period.closed", without(CLOSED, "reviewer")),
    "period-closed-with-more-sums-than-fit": (
        "period.closed",
        {**without(CLOSED, "sums"), "totals_hash": HASH},
    ),
    "export-of-a-period-issued": ("export.issued", {**ISSUED, "period": "2026-02"}),
    "export-issued-to-somebody": (
        "export.issued",
        {**ISSUED, "ledger": LEDGER, "principal": "ben.audit", "period": "2026-02"},
    ),
    "export-downloaded": (
        "export.downloaded",
        {
            "export_id": ID.format(6),
            "ledger": LEDGER,
            "principal": "ben.audit",
            "key_id": "aaaabbbbccccdddd",
            "bundle_hash": HASH,
            "manifest_hash": HASH,
        },
    ),
}
REFUSED_NOTICES: dict[str, tuple[str, Any]] = {
    "type-unknown": ("ledger.praised", {}),
    "data-not-an-object": ("hold.released", []),
    "member-unknown": ("hold.released", {"hold_id": ID.format(4), "why": "x"}),
    "member-missing": ("ledger.created", without(CREATED, "origin")),
    "data-subject-is-never-hashed": (
        "hold.placed",
        {"hold_id": ID.format(4), "data_subject": "person-7"},
    ),
    "unit-exponent-too-large": ("ledger.created", {**CREATED, "units": {"USDC": 19}}),
    "unit-name-in-lower-case": ("ledger.created", {**CREATED, "units": {"usdc": 6}}),
    "public-not-a-boolean": ("ledger.created", {**CREATED, "public": 1}),
    "log-key-with-principal": (
        "key.added",
        {**LOG_KEY, "public_key": VKEY, "principal": "checkout"},
    ),
    "poster-key-not-hexadecimal": ("key.added", {**POSTER_KEY, "public_key": "AA=="}),
    "key-purpose-unknown": ("key.added", {**POSTER_KEY, "purpose": "fun", "public_key": HASH}),
    "key-purpose-missing": ("key.retired", without(POSTER_KEY, "purpose")),
    "nothing-erased": ("payload.erased", {"payloads": []}),
    "lost-to-before-it-began": ("payload.lost", {"from_seq": 41, "to_seq": 40}),
    "too-many-erased": ("payload.erased", {"payloads": ERASED["payloads"] * 201}),
    "period-without-sums-and-their-hash": ("period.closed", without(CLOSED, "sums")),
    "period-reviewed-by-its-preparer": (
        "period.closed",
        {**CLOSED, "reviewer": CLOSED["preparer"]},
    ),
    "period-ends-before-it-begins": ("period.closed", {**CLOSED, "from_seq": 43}),
    "root-in-upper-case": ("period.closed", {**CLOSED, "root": ROOT.upper()}),
    "size-a-float": (
        "checkpoint.recorded",
        {"ledger": LEDGER, "origin": ORIGIN, "size": 42.5, "root": ROOT},
    ),
}

PAYLOADS: dict[str, dict[str, Any]] = {
    "text": {"payloads": [{"name": "letter", "text": "Dear Zoë,\r\n"}]},
    "note": {"payloads": [], "note": "refunded at the desk"},
    "json-is-written-once": {
        "payloads": [{"name": "order", "json": {"b": 1.50, "a": [1e21, None, True]}}]
    },
    "base64": {"payloads": [{"name": "scan", "base64": "AAEC/w=="}]},
    "given-media-type": {
        "payloads": [{"name": "page", "media_type": "text/html; charset=utf-8", "text": "<p>"}]
    },
    "ordered-by-name": {
        "payloads": [
            {"name": "b", "text": "2", "data_subject": "person-7"},
            {"name": "a", "text": "1"},
        ],
        "note": "n",
    },
    "empty": {"payloads": [{"name": "nothing", "text": ""}]},
}
REFUSED_PAYLOADS: dict[str, dict[str, Any]] = {
    "no-content": {"payloads": [{"name": "a"}]},
    "two-contents": {"payloads": [{"name": "a", "text": "x", "base64": "AA=="}]},
    "name-missing": {"payloads": [{"text": "x"}]},
    "name-in-upper-case": {"payloads": [{"name": "A", "text": "x"}]},
    "name-too-long": {"payloads": [{"name": "a" * 64, "text": "x"}]},
    "name-twice": {"payloads": [{"name": "note", "text": "x"}], "note": "y"},
    "member-unknown": {"payloads": [{"name": "a", "text": "x", "salt": "00"}]},
    "media-type-of-one-word": {"payloads": [{"name": "a", "text": "x", "media_type": "text"}]},
    "text-not-a-string": {"payloads": [{"name": "a", "text": 7}]},
    "base64-without-padding": {"payloads": [{"name": "a", "base64": "AAEC/w"}]},
    "base64-with-spare-bits": {"payloads": [{"name": "a", "base64": "AAEC/x=="}]},
    "base64-url-alphabet": {"payloads": [{"name": "a", "base64": "AAEC_w=="}]},
    "too-many": {"payloads": [{"name": f"p{at}", "text": "x"} for at in range(9)]},
}


def rules(*, notices: bool = False) -> Rules:
    """The rules of the ledger the vectors are for."""
    return Rules(units={"USDC": 6}, notices=notices)


def vectors() -> dict[str, str]:
    """File name -> text, for every file this writes."""
    return {
        name: json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for name, content in {
            "effect.json": _effects(),
            "entry.json": _entries(),
            "payload.json": _payloads(),
            "notice.json": _notices(),
        }.items()
    }


def _refusal(attempt: Callable[[], object]) -> dict[str, Any]:
    try:
        attempt()
    except LedgerError as error:
        refusal = {"error": type(error).__name__}
        return refusal | {
            name: error.details[name] for name in ("pointer", "limit") if name in error.details
        }
    raise AssertionError("a case that must be refused passed")


def _build(document: Mapping[str, Any], *, notices: bool = False) -> Effect:
    return build_effect(document, rules=rules(notices=notices), now=NOW)


def _effects() -> dict[str, Any]:
    return {
        "about": "document, sent at `now` to a ledger with these units, has these canonical "
        "bytes (UTF-8) or is refused",
        "now": RECORDED_AT,
        "units": {"USDC": 6},
        "accepted": [_accepted(name, _build(words), words) for name, words in EFFECTS.items()],
        "refused": [
            {"name": name, "document": words, **_refusal(lambda words=words: _build(words))}
            for name, words in REFUSED_EFFECTS.items()
        ],
    }


def _accepted(name: str, effect: Effect, words: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "document": words,
        "encoded": effect.encoded.decode(),
        "sha256": hashlib.sha256(effect.encoded).hexdigest(),
    }


def _notices() -> dict[str, Any]:
    accepted = {name: {**NOTICE, "type": t, "data": data} for name, (t, data) in NOTICES.items()}
    refused = {
        name: {**NOTICE, "type": t, "data": data} for name, (t, data) in REFUSED_NOTICES.items()
    }
    return {
        "about": "document, written by the ledger itself, has these canonical bytes (UTF-8) or "
        "is refused",
        "accepted": [
            _accepted(name, _build(words, notices=True), words) for name, words in accepted.items()
        ],
        "refused": [
            {
                "name": name,
                "document": words,
                **_refusal(lambda words=words: _build(words, notices=True)),
            }
            for name, words in refused.items()
        ],
    }


def _payloads() -> dict[str, Any]:
    salt, key, nonce = bytes(range(16)), bytes(range(32)), bytes(range(100, 112))
    place = [ORIGIN, ID.format(1), "note"]
    aad = b"effect-ledger/payload-seal/v1\n" + canonical_bytes(place)
    sealed = nonce + AESGCM(key).encrypt(nonce, salt + b"refunded", aad)
    data_key = hashlib.sha256(b"data key").digest()
    wrap_aad = b"effect-ledger/data-key/v1\n" + canonical_bytes([LEDGER, "person-7"])
    return {
        "about": "contents in base64, keys, salts, nonces and hashes in hexadecimal; the first "
        "12 bytes of what is sealed are the nonce, which is random outside these vectors",
        "commitments": [
            {
                "salt": salt.hex(),
                "content": _base64(content),
                "commitment": commitment(salt, content).hex(),
            }
            for content in (b"", b"refunded at the desk", "Zoë\n".encode(), bytes(256))
        ],
        "accepted": [
            {
                "name": name,
                "request": request,
                "payloads": [
                    {
                        "name": built.name,
                        "media_type": built.media_type,
                        "content": _base64(built.content),
                    }
                    for built in _build_payloads(request)
                ],
            }
            for name, request in PAYLOADS.items()
        ],
        "refused": [
            {
                "name": name,
                "request": request,
                **_refusal(lambda request=request: _build_payloads(request)),
            }
            for name, request in REFUSED_PAYLOADS.items()
        ],
        "sealed": {
            "data_key": key.hex(),
            "origin": ORIGIN,
            "entry_id": ID.format(1),
            "name": "note",
            "aad": aad.decode(),
            "sealed": _base64(sealed),
            "salt": salt.hex(),
            "content": _base64(b"refunded"),
        },
        "wrapped": {
            "payload_key": key.hex(),
            "ledger": LEDGER,
            "data_subject": "person-7",
            "aad": wrap_aad.decode(),
            "wrapped": _base64(nonce + AESGCM(key).encrypt(nonce, data_key, wrap_aad)),
            "data_key": data_key.hex(),
        },
    }


def _build_payloads(request: Mapping[str, Any]) -> Iterable[Any]:
    return build_payloads(request["payloads"], note=request.get("note"))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def make_chain() -> tuple[list[Entry], Head]:
    """Five entries in two batches, with everything an entry can carry."""
    capture = _build(FULL)
    refund = _build({**REFUND, "key": "refund-17"})
    signature = PosterSignature(
        key_id="checkout-1", sig=_base64(POSTER.sign(effect_signing_bytes(refund)))
    )
    note = Commitment(
        name="note",
        media_type="text/plain; charset=utf-8",
        commitment=commitment(bytes(range(16)), b"refunded at the desk").hex(),
    )
    scan = Commitment(name="scan", media_type="application/pdf", commitment=HASH)
    notice = _build({**NOTICE, "type": "period.closed", "data": CLOSED}, notices=True)
    first, head = chain(
        Head.genesis(ledger=LEDGER, origin=ORIGIN),
        [
            Admitted(effect=_build(EFFECT), id=ID.format(1), poster="checkout"),
            Admitted(effect=capture, id=ID.format(2), poster="checkout"),
        ],
        recorded_at=RECORDED_AT,
    )
    second, head = chain(
        head,
        [
            Admitted(
                effect=refund,
                id=ID.format(3),
                poster="checkout",
                payloads=(note,),
                signature=signature,
            ),
            Admitted(
                effect=_build({**EXPLANATION, "key": "letter-17"}),
                id=ID.format(4),
                poster="help-desk",
                payloads=(note, scan),
            ),
            Admitted(effect=notice, id=ID.format(5), poster="_ledger"),
        ],
        recorded_at="2026-03-02T12:00:00.000001Z",
        late_for=lambda effect: "2026-02" if effect.kind == "refund" else None,
    )
    return [*first, *second], head


def rewrite(encoded: bytes, **members: Any) -> bytes:
    """An entry with members changed or, by None, removed; canonical again."""
    words = {**json.loads(encoded), **members}
    return canonical_bytes({name: value for name, value in words.items() if value is not None})


def broken_chains(entries: list[bytes]) -> dict[str, list[bytes]]:
    """Name of the attack or corruption -> the chain after it."""
    a, b, c, d, e = entries
    effect = json.loads(b)["effect"]
    return {
        "edit": [a, rewrite(b, effect={**effect, "subject": "order/12346"}), c, d, e],
        "delete": [a, b, d, e],
        "delete-the-first": [b, c, d, e],
        "insert": [a, b, b, c, d, e],
        "reorder": [a, c, b, d, e],
        "swap-ids": [a, rewrite(b, id=ID.format(3)), rewrite(c, id=ID.format(2)), d, e],
        "renumber": [a, b, rewrite(d, seq=2), e],
        "move-to-another-ledger": [rewrite(a, ledger="acme.refunds"), b, c, d, e],
        "backdate": [a, b, rewrite(c, recorded_at="2026-03-02T11:59:59.999999Z"), d, e],
        "sequence-number-beyond-53-bits": [
            a.replace(b'"seq":0', b'"seq":9007199254740992'),
            b,
            c,
            d,
            e,
        ],
        "change-the-poster": [a, b, c, rewrite(d, poster="somebody"), e],
        "drop-the-signature": [a, b, rewrite(c, signature=None), d, e],
        "drop-the-late-mark": [a, b, rewrite(c, late_for=None), d, e],
        "unknown-member": [rewrite(a, colour="red"), b, c, d, e],
        "version-zero": [rewrite(a, v=0), b, c, d, e],
        "version-missing": [rewrite(a, v=None), b, c, d, e],
        "id-in-upper-case": [rewrite(a, id="01957F5E-8C00-7001-8000-000000000000"), b, c, d, e],
        "time-not-normalised": [rewrite(a, recorded_at="2026-03-02T12:00:00Z"), b, c, d, e],
        "empty-list-of-payloads": [rewrite(a, payloads=[]), b, c, d, e],
        "white-space": [a.replace(b',"id"', b', "id"'), b, c, d, e],
        "member-order": [a.replace(b',"v":1}', b"}").replace(b"{", b'{"v":1,', 1), b, c, d, e],
        "member-twice": [a.replace(b',"v":1}', b',"v":1,"v":1}'), b, c, d, e],
        "number-with-point": [a.replace(b'"seq":0', b'"seq":0.0'), b, c, d, e],
        "truncated-entry": [a, b, c, d, e[:-1]],
        "empty-entry": [a, b, b"", d, e],
    }


def _entries() -> dict[str, Any]:
    entries, head = make_chain()
    encoded = [entry.encoded for entry in entries]
    later = rewrite(encoded[0], v=2, colour="red")
    return {
        "about": "an entry's hash is SHA-256(0x00 || encoded), its bytes the UTF-8 of encoded; "
        "a broken chain is refused at the first entry that does not follow",
        "genesis": [
            {"origin": origin, "hash": genesis_hash(origin).hex()}
            for origin in (ORIGIN, "log.example.org/orders")
        ],
        "ledger": LEDGER,
        "origin": ORIGIN,
        "entries": [
            {"encoded": entry.encoded.decode(), "hash": entry.hash.hex()} for entry in entries
        ],
        "size": head.size,
        "root": head.root.hex(),
        "poster_key": {
            "key_id": "checkout-1",
            "public_key": POSTER.public_key().public_bytes_raw().hex(),
            "signed_seq": 2,
        },
        "later_version": {"encoded": later.decode(), "hash": parse_entry(later).hash.hex()},
        "refused": [
            {
                "name": name,
                "entries": [entry.decode() for entry in chained],
                **_refused_at(chained),
            }
            for name, chained in broken_chains(encoded).items()
        ],
    }


def _refused_at(chained: list[bytes]) -> dict[str, Any]:
    try:
        verify_chain(chained, ledger=LEDGER, origin=ORIGIN)
    except LedgerError as error:
        return {"error": type(error).__name__, "seq": error.details["seq"]}
    raise AssertionError("a chain that must be refused passed")


def main() -> None:
    """Write the files beside this one."""
    for name, content in vectors().items():
        (HERE / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()

"""
Examples: requests and answers as the OpenAPI document shows them.

Requests are held against the rules by a test: what stands here is accepted.
"""

from __future__ import annotations

from typing import Any

_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_OTHER_ID = "01890a5d-ac97-7a11-8d3e-0f2b6c1d9e42"
_HASH = "9c2e4d8fa97d749450edbaa495e21ea4e3a5c6b2d5f4c1f0a6b7e8d9c0a1b2c3"
_ROOT = "1f0e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
_SALT = "AAECAwQFBgcICQoLDA0ODw=="
_TIME = "2026-03-02T09:15:00.000000Z"

CAPTURE: dict[str, Any] = {
    "type": "card.capture",
    "occurred_at": "2026-03-02T10:15:00+01:00",
    "subject": "order/12345",
    "business_key": "capture/order/12345",
    "actor": {"id": "checkout", "kind": "service"},
    "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
    "handoff": {"point": "settled"},
    "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_3Nq8"}],
    "labels": {"shop": "berlin"},
}

EFFECTS: dict[str, Any] = {
    "card_capture": CAPTURE,
    "agent_sent_letter": {
        "type": "tool.call",
        "occurred_at": "2026-03-02T09:15:00Z",
        "subject": "case/77",
        "actor": {"id": "agent-7", "kind": "agent"},
        "handoff": {"point": "notified"},
        "causes": [{"kind": "trace", "ref": "4bf92f3577b34da6a3ce929d0e0e4736"}],
        "payloads": [{"name": "letter", "text": "Dear customer, ...", "data_subject": "cust_8f2a"}],
    },
}

REFUNDS: dict[str, Any] = {
    "part_of_it": {
        "type": "card.refund",
        "occurred_at": "2026-03-03T08:00:00Z",
        "reason": "customer.request",
        "money": {"amount": "5.00", "currency": "EUR", "flow": "out"},
    }
}

ADJUSTMENTS: dict[str, Any] = {
    "chargeback": {
        "type": "chargeback",
        "occurred_at": "2026-04-01T00:00:00Z",
        "reason": "issuer.dispute",
        "money": {"amount": "-14.99", "currency": "EUR", "flow": "in"},
        "observed": True,
        "evidence": [{"system": "psp", "rel": "transaction", "ref": "dp_1A2B"}],
    }
}

EXPLANATIONS: dict[str, Any] = {
    "in_words": {
        "type": "explanation",
        "occurred_at": "2026-04-02T12:00:00Z",
        "reason": "issuer.dispute",
        "audience": "finance",
        "note": "The issuer sided with the card holder; the goods came back on 1 April.",
    }
}

CORRECTIONS: dict[str, Any] = {
    "by_key": {
        "kind": "refund",
        "corrects_key": "capture-12345",
        "type": "card.refund",
        "occurred_at": "2026-03-03T08:00:00Z",
        "reason": "customer.request",
        "money": {"amount": "5.00", "currency": "EUR", "flow": "out"},
    },
    "recorded_elsewhere": {
        "kind": "refund",
        "corrects_external": {"system": "old-shop", "ref": "order/17"},
        "type": "card.refund",
        "occurred_at": "2026-03-03T08:00:00Z",
        "reason": "customer.request",
        "money": {"amount": "5.00", "currency": "EUR", "flow": "out"},
        "observed": True,
        "evidence": [{"system": "psp", "rel": "transaction", "ref": "re_9Z"}],
    },
}

BATCHES: dict[str, Any] = {
    "effect_and_refund": {
        "mode": "atomic",
        "items": [
            {"kind": "effect", "key": "capture-12345", **CAPTURE},
            {"key": "refund-12345-1", **CORRECTIONS["by_key"]},
        ],
    }
}

_RECEIPT: dict[str, Any] = {
    "level": "log-signed",
    "proof": "c2sp.org/tlog-proof@v1\nindex 41\n...",
    "entry": '{"effect":{...},"id":"' + _ID + '",...}',
}

RECORDED: dict[str, Any] = {
    "id": _ID,
    "ledger": "payments",
    "seq": 41,
    "entry_hash": _HASH,
    "recorded_at": _TIME,
    "world": "RML3",
    "replayed": False,
    "receipt": _RECEIPT,
}

PROVISIONAL: dict[str, Any] = {
    "provisional": True,
    "world": "RML1",
    "ledger": "payments",
    "kind": "refund",
    "key": "refund-12345-1",
    "corrects": _ID,
    "replays": None,
    "effect": {"kind": "refund", "key": "refund-12345-1", "type": "card.refund"},
}

BATCH: dict[str, Any] = {
    "mode": "independent",
    "recorded": 1,
    "replayed": 0,
    "refused": 0,
    "items": [
        {
            "index": 0,
            "key": "capture-12345",
            "status": 201,
            "result": {name: RECORDED[name] for name in RECORDED if name != "receipt"},
        }
    ],
}

ENTRY: dict[str, Any] = {
    "id": _ID,
    "ledger": "payments",
    "seq": 41,
    "entry_hash": _HASH,
    "recorded_at": _TIME,
    "world": "RML3",
    "entry": {
        "effect": {**CAPTURE, "kind": "effect", "key": "capture-12345", "occurred_at": _TIME},
        "id": _ID,
        "ledger": "payments",
        "poster": "checkout",
        "prev": _ROOT,
        "recorded_at": _TIME,
        "seq": 41,
        "v": 1,
    },
}

PAGE: dict[str, Any] = {"entries": [ENTRY], "next_cursor": None}

FEED: dict[str, Any] = {"entries": [ENTRY], "next_after": 41}

RECEIPT = _RECEIPT

PAYLOADS: dict[str, Any] = {
    "seq": 41,
    "payloads": [
        {
            "name": "note",
            "media_type": "text/plain; charset=utf-8",
            "commitment": _HASH,
            "erased": False,
            "salt": _SALT,
            "base64": "SGVsbG8=",
        }
    ],
}

INCLUSION: dict[str, Any] = {
    "seq": 41,
    "size": 42,
    "entry_hash": _HASH,
    "root": _ROOT,
    "proof": [_HASH],
}

CONSISTENCY: dict[str, Any] = {
    "from": 41,
    "to": 42,
    "from_root": _HASH,
    "to_root": _ROOT,
    "proof": [_HASH],
}

LEDGER: dict[str, Any] = {
    "ledger": "payments",
    "origin": "ledger.example/payments",
    "vkey": "ledger.example/payments+1a2b3c4d+AbcD...",
    "keys": ["ledger.example/payments+1a2b3c4d+AbcD..."],
    "units": {"USDC": 6},
    "time_zone": "Europe/Berlin",
    "public_log": False,
    "size": 42,
}

VERIFICATION: dict[str, Any] = {
    "id": _OTHER_ID,
    "ledger": "payments",
    "mode": "full",
    "state": "running",
    "progress": {"checked": 0, "size": 42, "makes_way": False},
    "report": None,
}

STATEMENT: dict[str, Any] = {
    "statement": {
        "origin": "ledger.example/payments",
        "ledger": "payments",
        "mode": "full",
        "start": 0,
        "size": 42,
        "root": _ROOT,
        "verdicts": {"tamper": "ok", "completeness": "ok", "time": "ok"},
        "first_bad": None,
        "findings_total": 0,
        "acknowledged": False,
        "not_checked": ["times against anybody else's clock: there are no timestamps"],
        "level": "log-signed",
        "started_at": _TIME,
        "finished_at": _TIME,
    },
    "note": "effect-ledger/verification/v1\n{...}\n\n\u2014 ledger.example/payments Gis8...\n",
}

_STORY_ENTRY: dict[str, Any] = {name: ENTRY[name] for name in ENTRY if name != "world"}

STORY: dict[str, Any] = {
    "world": "RML3",
    "ledger": "payments",
    "id": _ID,
    "kind": "effect",
    "type": CAPTURE["type"],
    "unlinked": False,
    "original": _STORY_ENTRY,
    "position": {
        "currency": "EUR",
        "flow": "in",
        "original": "19.99",
        "adjusted": "0.00",
        "amount": "19.99",
        "refunded": "5.00",
        "held": "0.00",
        "remaining": "14.99",
        "excess": "0.00",
    },
    "standing": {"state": "as-recorded", "amendments": 0, "latest": None},
    "rollback": {
        "as_of": _TIME,
        "reversible_until": None,
        "open": True,
        "can": [
            {
                "act": "refund",
                "scope": "refunds:write",
                "until": None,
                "up_to": {"amount": "14.99", "currency": "EUR"},
                "says": "Give back what remains.",
            }
        ],
        "cannot": [
            {
                "code": "refunded",
                "says": "Was given back already.",
                "amount": {"amount": "5.00", "currency": "EUR"},
            }
        ],
    },
    "corrections": [
        {"corrects": _ID, "depth": 1, **_STORY_ENTRY, "id": _OTHER_ID, "amount_now": "5.00"}
    ],
    "explanations": [],
}

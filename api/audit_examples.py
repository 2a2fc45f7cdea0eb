"""Examples of the auditor's room, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from api.examples import VERIFICATION

_ID = "01980e3c-7b1a-7c3e-9d52-6f2a1b3c4d5e"
_HASH = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"

PERIOD: dict[str, Any] = {
    "id": _ID,
    "ledger": VERIFICATION["ledger"],
    "seq": 42,
    "entry_hash": _HASH,
    "recorded_at": "2026-11-02T09:14:07.000001Z",
    "state": "closed",
    "superseded_by": None,
    "name": "2026-10",
    "from_at": "2026-09-30T22:00:00.000000Z",
    "to_at": "2026-10-31T23:00:00.000000Z",
    "from_seq": 0,
    "to_seq": 41,
    "root": _HASH,
    "counts": {"effect": 40, "refund": 2},
    "sums": [
        {"kind": "effect", "currency": "EUR", "flow": "in", "count": 40, "amount": "4800.00"},
        {"kind": "refund", "currency": "EUR", "flow": "out", "count": 2, "amount": "90.00"},
    ],
    "totals_hash": _HASH,
    "preparer": "anna.accounting",
    "reviewer": "ben.audit",
    "closed_before": [],
    "reviews": [
        {
            "reviewer": "ben.audit",
            "seq": 47,
            "id": _ID,
            "entry_hash": _HASH,
            "recorded_at": "2026-11-03T08:02:11.000001Z",
        }
    ],
    "checkpoint": "ledger.example/payments\n43\nAbcD...\n\n— ledger.example/payments AbcD...\n",
}

CLOSED = PERIOD | {"reviews": [], "replayed": False}
REVIEWED = PERIOD | {"replayed": False}
PERIODS: dict[str, Any] = {"world": "RML3", "periods": [PERIOD]}
CLOSES: dict[str, Any] = {
    "reviewed": {"reviewer": "ben.audit"},
    "named": {
        "reviewer": "ben.audit",
        "from_at": "2026-10-01T00:00:00Z",
        "to_at": "2026-10-15T00:00:00Z",
    },
}

EXPORTS: dict[str, Any] = {
    "period": {"period": "2026-10"},
    "sample": {"period": "2026-10", "filter": {"seqs": [3, 17, 39]}, "payloads": False},
}
EXPORT: dict[str, Any] = {
    "id": _ID,
    "ledger": VERIFICATION["ledger"],
    "principal": "ben.audit",
    "state": "running",
    "period": "2026-10",
    "close": _ID,
    "filter": {},
    "payloads": "denied",
    "progress": {"done": 0, "entries": 42},
    "bundle": None,
    "error": None,
}
EXPORTED: dict[str, Any] = EXPORT | {
    "state": "done",
    "progress": {"done": 42, "entries": 42},
    "bundle": {
        "name": "audit-payments-2026-10-6f2a1b3c4d5e",
        "bytes": 48_213,
        "bundle_hash": _HASH,
        "manifest_hash": _HASH,
        "entries": 42,
        "complete": True,
        "omissions": {"denied": 2},
        "available": True,
        "custody": [
            {
                "act": "export.issued",
                "at": "2026-11-02T09:20:00.000001Z",
                "principal": "ben.audit",
                "key_id": "aaaabbbbccccdddd",
                "registry_seq": 7,
                "digest": _HASH,
            }
        ],
        "timestamp": None,
    },
}

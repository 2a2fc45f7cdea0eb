"""Examples of intents, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from api.examples import RECORDED

_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_ENTRY = "01890a5d-ac97-7a11-8d3e-0f2b6c1d9e42"
_CONTENT_DIGEST = "9c2e4d8fa97d749450edbaa495e21ea4e3a5c6b2d5f4c1f0a6b7e8d9c0a1b2c3"
_DIGEST = "1f0e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

PROMISES: dict[str, Any] = {
    "capture": {
        "type": "card.capture",
        "answer_by": "2027-03-02T10:20:00+01:00",
        "on_silence": "escalate",
        "subject": "order/12345",
        "business_key": "capture/order/12345",
        "actor": {"id": "checkout", "kind": "service"},
        "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
    },
    "refund_with_approval": {
        "kind": "refund",
        "type": "card.refund",
        "answer_by": "2027-03-03T10:00:00Z",
        "corrects": _ENTRY,
        "reason": "customer.request",
        "money": {"amount": "5.00", "currency": "EUR", "flow": "out"},
        "approval_required": True,
    },
}

EXECUTIONS: dict[str, Any] = {
    "started": {"step": "started", "token": 1, "executor": "worker-7"},
    "result": {
        "step": "result",
        "token": 2,
        "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_3Nq8"}],
    },
    "declined": {"step": "error", "token": 2, "outcome": "failed", "reason": "card.declined"},
    "timed_out": {"step": "error", "token": 2, "outcome": "unknown", "reason": "psp.timeout"},
}

APPROVALS: dict[str, Any] = {"approve": {"digest": _CONTENT_DIGEST}}

CANCELLATIONS: dict[str, Any] = {"cancel": {"token": 1, "reason": "customer.left"}}

CONCLUSIONS: dict[str, Any] = {
    "providers_id": {
        "outcome": "executed",
        "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_3Nq8"}],
    },
    "bank_line": {
        "outcome": "not_executed",
        "evidence": [{"system": "bank", "rel": "bank_line", "ref": "2027-03-02/0017"}],
    },
}

HAND_OVERS: dict[str, Any] = {"as_promised": {"token": 2}}

_LINE: dict[str, Any] = {
    "id": _ID,
    "key": "capture-12345",
    "world": "RML2",
    "state": "executing",
    "outcome": "executed",
    "kind": "effect",
    "type": "card.capture",
    "subject": "order/12345",
    "business_key": "capture/order/12345",
    "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
    "on_silence": "escalate",
    "promised_by": "checkout",
    "promised_at": "2027-03-02T09:15:00.000000Z",
    "answer_by": "2027-03-02T09:20:00.000000Z",
    "age_s": 4.2,
    "answer_in_s": 295.8,
}

INTENT: dict[str, Any] = _LINE | {
    "token": 2,
    "content": {
        "kind": "effect",
        "type": "card.capture",
        "answer_by": "2027-03-02T09:20:00.000000Z",
        "on_silence": "escalate",
        "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
    },
    "content_digest": _CONTENT_DIGEST,
    "digest": _DIGEST,
    "approval_required": False,
    "approval": None,
    "held": None,
    "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_3Nq8"}],
    "entry": None,
    "events": [
        {
            "number": 1,
            "step": "started",
            "at": "2027-03-02T09:15:00.010000Z",
            "by": "checkout",
            "key": "capture-12345/started",
            "token": 1,
            "said": {"executor": "worker-7"},
        }
    ],
}

HANDED_OFF: dict[str, Any] = RECORDED | {"intent": {"id": _ID, "digest": _DIGEST}}

INTENT_PAGE: dict[str, Any] = {"intents": [_LINE], "next_cursor": None}

"""Whatever an entry says otherwise than was asked, however little, it is another effect."""

from __future__ import annotations

import pytest

from ledger.client.agreement import asked_of, check_agrees
from ledger.errors import VerificationError

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER_ID = "01890a5d-ac96-774b-bcce-b302099a8058"
DIGEST = "a" * 64
EFFECT = {
    "type": "card.capture",
    "occurred_at": "2026-03-02T09:15:00.000000Z",
    "subject": "order/1",
    "business_key": "capture/1",
    "actor": {"id": "svc", "kind": "service"},
    "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
    "reason": "order.paid",
    "handoff": {"point": "executed"},
    "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_1"}],
    "causes": [{"kind": "workflow", "ref": "run-1"}],
    "labels": {"shop": "1"},
    "observed": True,
    "repeat_of": ID,
    "approval": {"by": "anna", "at": "2026-03-02T09:00:00.000000Z", "digest": DIGEST},
    "intent": {"id": ID, "digest": DIGEST},
    "reversible_until": "2026-04-02T09:15:00.000000Z",
}
OTHER = {
    "type": "card.authorisation",
    "occurred_at": "2026-03-02T09:15:00.000001Z",
    "subject": "order/2",
    "business_key": "capture/2",
    "actor": {"id": "svc", "kind": "agent"},
    "money": {"amount": "19.98", "currency": "EUR", "flow": "in"},
    "reason": "order.due",
    "handoff": {"point": "settled"},
    "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_2"}],
    "causes": [{"kind": "workflow", "ref": "run-2"}],
    "labels": {"shop": "2"},
    "observed": False,
    "repeat_of": OTHER_ID,
    "approval": {"by": "bert", "at": "2026-03-02T09:00:00.000000Z", "digest": DIGEST},
    "intent": {"id": OTHER_ID, "digest": DIGEST},
    "reversible_until": "2026-04-03T09:15:00.000000Z",
}
NEEDED = {"type", "occurred_at"}
RECORDED = {**EFFECT, "kind": "effect", "key": "k-1"}


def agrees(effect, asked, *, replayed=False) -> bool:
    try:
        check_agrees(effect, asked, replayed=replayed)
    except VerificationError:
        return False
    return True


def test_an_entry_that_says_what_was_asked_agrees_in_any_spelling():
    said = {
        **EFFECT,
        "occurred_at": "2026-03-02T10:15:00+01:00",
        "repeat_of": ID.upper(),
        # Beside the effect, and no part of it.
        "note": "Thank you",
        "payloads": [{"name": "mail", "text": "..."}],
        "signature": {"key_id": "k", "sig": "..."},
    }

    assert agrees(RECORDED, asked_of("/effects", said, "k-1"))
    assert agrees({**RECORDED}, asked_of("/effects", {**EFFECT}, "k-1"), replayed=True)


@pytest.mark.parametrize("name", [*EFFECT, "key", "kind"])
def test_no_member_may_be_another_or_missing_or_more(name):
    other = {**OTHER, "key": "k-2", "kind": "adjustment"}[name]
    missing = {member: RECORDED[member] for member in RECORDED.keys() - {name}}
    asked = asked_of("/effects", EFFECT, "k-1")

    assert not agrees({**RECORDED, name: other}, asked)
    assert not agrees(missing, asked)
    if name in EFFECT.keys() - NEEDED - {"evidence"}:
        less = {member: EFFECT[member] for member in EFFECT.keys() - {name}}
        assert not agrees(RECORDED, asked_of("/effects", less, "k-1"))


@pytest.mark.parametrize("effect", [None, [], "effect", {}, {"kind": "effect"}])
def test_what_is_no_effect_agrees_with_nothing(effect):
    assert not agrees(effect, asked_of("/effects", EFFECT, "k-1"))


CORRECTION = {
    "type": "card.refund",
    "occurred_at": "2026-03-03T09:15:00.000000Z",
    "reason": "customer.request",
    "money": {"amount": "5.00", "currency": "EUR", "flow": "out"},
}
PATHS = {
    f"/effects/{ID}/refunds": ({}, {"kind": "refund", "corrects": ID}),
    f"/effects/{OTHER_ID}/refunds": ({}, {"kind": "refund", "corrects": OTHER_ID}),
    f"/entries/{ID}/adjustments": ({}, {"kind": "adjustment", "corrects": ID}),
    "/corrections": (
        {"kind": "refund", "corrects_key": "k-0"},
        {"kind": "refund", "corrects_key": "k-0"},
    ),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("other", PATHS)
def test_what_the_path_says_is_asked_for(path, other):
    body = {**CORRECTION, **PATHS[path][0]}
    recorded = {**CORRECTION, **PATHS[other][1], "key": "r-1"}

    assert agrees(recorded, asked_of(path, body, "r-1")) is (path == other)


# ---- Hand-offs: the ledger says the rest ----------------------------------------------

PROMISED = {
    **{name: EFFECT[name] for name in ("type", "subject", "business_key", "money", "labels")},
    "kind": "effect",
    "answer_by": "2026-03-02T10:00:00Z",
    "evidence": EFFECT["evidence"],
}
HANDED_OFF = {**RECORDED, "key": "i-1/handoff"}
HANDOFF = f"/intents/{ID}/handoff"


def test_a_hand_off_may_add_what_the_ledger_knows_of_the_intent():
    more = [{"system": "bank", "rel": "bank_line", "ref": "7"}, *EFFECT["evidence"]]

    for recorded in (HANDED_OFF, {**HANDED_OFF, "evidence": more}):
        assert agrees(recorded, asked_of(HANDOFF, {"token": 1}, "i-1/handoff", PROMISED))
        assert agrees(recorded, asked_of(HANDOFF, {"token": 1}, "i-1/handoff"))


@pytest.mark.parametrize(
    "name", ["type", "subject", "business_key", "money", "labels", "evidence", "intent"]
)
@pytest.mark.parametrize("replayed", [False, True])
def test_a_hand_off_says_what_was_promised_and_what_was_said_of_it(name, replayed):
    asked = asked_of(HANDOFF, {"token": 1}, "i-1/handoff", PROMISED)

    assert not agrees({**HANDED_OFF, name: OTHER[name]}, asked, replayed=replayed)


def test_an_amount_that_is_said_at_the_hand_off_goes_before_the_promised_one():
    asked = asked_of(HANDOFF, {"token": 1, "money": OTHER["money"]}, "i-1/handoff", PROMISED)

    assert agrees({**HANDED_OFF, "money": OTHER["money"]}, asked)
    assert not agrees(HANDED_OFF, asked)


def test_what_somebody_else_handed_off_before_is_of_the_same_intent_and_promise():
    """Its key and its amount are the other's; a service that says it is new may not say so."""
    asked = asked_of(HANDOFF, {"token": 1}, "i-1/handoff", PROMISED)
    by_another = {**HANDED_OFF, "key": "desk-7", "money": OTHER["money"]}

    assert agrees(by_another, asked, replayed=True)
    assert not agrees(by_another, asked, replayed=False)
    assert not agrees({**by_another, "type": OTHER["type"]}, asked, replayed=True)
    assert not agrees({**by_another, "intent": OTHER["intent"]}, asked, replayed=True)

"""Intents over HTTP: promised, executed, handed off once; unknown outcomes left by evidence."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter

from api import intent_examples as shown
from api import intent_schemas as schemas
from api.shapes import (
    parse_shape,
)
from ledger.canonical import canonical_bytes
from ledger.dialog.promise import build_promise, parse_step, statement_signing_bytes
from ledger.effect import Rules
from ledger.intent import Step
from tests.api.support import NOBODYS_ID, Api, capture, refund

KEYS = itertools.count()
PSP = {"system": "psp", "rel": "transaction", "ref": "ch_1"}


def key() -> str:
    return f"key-{next(KEYS)}"


def soon(seconds: float = 600) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def promised(amount: str = "19.99", **members: Any) -> dict[str, Any]:
    return {
        "type": "card.capture",
        "answer_by": soon(),
        "money": {"amount": amount, "currency": "EUR", "flow": "in"},
    } | members


def promised_refund(effect: str, amount: str, **members: Any) -> dict[str, Any]:
    return {
        "kind": "refund",
        "type": "card.refund",
        "answer_by": soon(),
        "corrects": effect,
        "reason": "customer.request",
        "money": {"amount": amount, "currency": "EUR", "flow": "out"},
    } | members


def promise(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    return good(api.post("/intents", body, key=key()), 201)


def good(response: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answered: dict[str, Any] = response.json()
    return answered


def code(response: httpx.Response) -> str:
    assert response.status_code >= 400, response.text
    problem: dict[str, Any] = response.json()
    assert problem["world"] == response.headers["RML-World"]
    return str(problem["code"])


def step(api: Api, intent: str, path: str, **body: Any) -> httpx.Response:
    return api.post(f"/intents/{intent}/{path}", body, key=key())


def start(api: Api, body: dict[str, Any] | None = None) -> tuple[str, int]:
    made = promise(api, promised() if body is None else body)
    begun = good(step(api, made["id"], "execution", step="started", token=made["token"]))
    return made["id"], begun["token"]


def execute(api: Api, body: dict[str, Any] | None = None) -> tuple[str, int]:
    intent, token = start(api, body)
    good(step(api, intent, "execution", step="result", token=token, evidence=[PSP]))
    return intent, token


def silence(api: Api) -> str:
    """An intent that was started and never heard of again."""
    intent, _ = start(api, promised(answer_by=soon(0.4)))
    while good(api.get(f"/intents/{intent}"))["state"] != "unknown":
        time.sleep(0.05)
    return intent


def test_the_dialog_ends_in_one_entry(api: Api) -> None:
    """Promise, start, result, hand-off: the entry is an observed fact that names the intent."""
    intent, token = execute(api)

    handed = good(step(api, intent, "handoff", token=token), 201)

    entry = good(api.get(f"/entries/{handed['id']}"))["entry"]["effect"]
    after = good(api.get(f"/intents/{intent}"))
    assert entry["intent"] == handed["intent"] == {"id": intent, "digest": after["digest"]}
    assert entry["evidence"] == [PSP]
    assert (entry["observed"], entry["handoff"]) == (True, {"point": "executed"})
    assert (after["state"], after["world"], after["entry"]) == ("handed_off", "RML3", handed["id"])
    assert [event["step"] for event in after["events"]] == [
        "promised",
        "started",
        "result",
        "handed_off",
    ]


def test_the_digests_can_be_computed_by_anyone(api: Api) -> None:
    """From what the service shows, with SHA-256 and RFC 8785."""
    seen = promise(api, promised())

    content = canonical_bytes(seen["content"])
    assert seen["content_digest"] == sha256(b"effect-ledger/promise/v1\n" + content).hexdigest()
    [event] = seen["events"]
    said = {name: value for name, value in event.items() if value is not None}
    bytes_ = canonical_bytes(said | {"intent": seen["id"], "ledger": api.ledger})
    assert seen["digest"] == sha256(b"effect-ledger/intent/v1\n" + bytes_ + b"\n").hexdigest()


def test_an_intent_without_evidence_becomes_an_ordinary_entry(api: Api) -> None:
    """Nobody else says that it happened, so it is not an observed fact."""
    intent, token = start(api)

    handed = good(step(api, intent, "handoff", token=token), 201)

    assert "observed" not in good(api.get(f"/entries/{handed['id']}"))["entry"]["effect"]


def test_a_promise_asked_for_again_past_its_time_is_told_as_it_stands(api: Api) -> None:
    """Whoever was away has to learn that its outcome is unknown; a new one comes too late."""
    body = promised(answer_by=soon(0.4))
    first = good(api.post("/intents", body, key="p"), 201)
    while good(api.get(f"/intents/{first['id']}"))["state"] != "unknown":
        time.sleep(0.05)

    again = good(api.post("/intents", body, key="p"))

    assert (again["id"], again["state"], again["replayed"]) == (first["id"], "unknown", True)
    assert code(api.post("/intents", body, key="q")) == "MALFORMED_EFFECT"


def test_a_hand_off_is_recorded_once_whoever_repeats_it(api: Api) -> None:
    """By the same key and by others the same entry comes back."""
    intent, token = execute(api)
    first = api.post(f"/intents/{intent}/handoff", {"token": token}, key="h1")
    again = api.post(f"/intents/{intent}/handoff", {"token": token}, key="h1")
    other = api.post(f"/intents/{intent}/handoff", {"token": token}, key="h2")

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 200)
    places = {(r.json()["id"], r.json()["seq"], r.json()["entry_hash"]) for r in (first, again)}
    assert {(other.json()["id"], other.json()["seq"], other.json()["entry_hash"])} == places
    assert again.headers["Idempotent-Replayed"] == other.headers["Idempotent-Replayed"] == "true"
    assert good(api.get(""))["size"] == 1
    changed = api.post(f"/intents/{intent}/handoff", {"token": token, "note": "x"}, key="h1")
    assert code(changed) == "IDEMPOTENCY_CONFLICT"


def test_32_concurrent_hand_offs_record_one_entry(api: Api) -> None:
    """Half by one key, half by keys of their own."""
    intent, token = execute(api)

    def hand_off(number: int) -> httpx.Response:
        name = "shared" if number % 2 else f"own-{number}"
        return api.post(f"/intents/{intent}/handoff", {"token": token}, key=name)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(hand_off, range(32)))

    assert sorted(answer.status_code for answer in answers) == [200] * 31 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert good(api.get(""))["size"] == 1


def test_silence_is_an_unknown_outcome(api: Api) -> None:
    """By itself, past answer_by; no new key, start or hand-off leads out of it."""
    intent = silence(api)

    for path, body in (
        ("execution", {"step": "started", "token": 2, "takeover": True}),
        ("execution", {"step": "error", "token": 2, "outcome": "failed"}),
        ("execution", {"step": "error", "token": 2, "outcome": "unknown"}),
        ("execution", {"step": "result", "token": 2, "evidence": [PSP | {"rel": "request"}]}),
        ("cancellation", {"token": 2}),
        ("handoff", {"token": 2}),
    ):
        response = step(api, intent, path, **body)
        assert code(response) == "INTENT_UNKNOWN"
        assert response.headers["RML-Action"] == "reconcile-first"
    seen = good(api.get(f"/intents/{intent}"))
    assert (seen["state"], len(seen["events"])) == ("unknown", 2)
    assert good(api.get("/intents", state="unknown"))["intents"][0]["id"] == intent


def test_evidence_ends_an_unknown_outcome_either_way(api: Api) -> None:
    happened, did_not = silence(api), silence(api)

    good(step(api, happened, "evidence", outcome="executed", evidence=[PSP]))
    line = {"system": "bank", "rel": "bank_line", "ref": "1"}
    good(step(api, did_not, "evidence", outcome="not_executed", evidence=[line]))

    assert good(api.get(f"/intents/{did_not}"))["state"] == "failed"
    seen = good(api.get(f"/intents/{happened}"))
    assert (seen["state"], seen["outcome"]) == ("executing", "executed")
    assert step(api, happened, "handoff", token=seen["token"]).status_code == 201


def test_an_error_that_is_not_sure_is_an_unknown_outcome(api: Api) -> None:
    """A timeout is not a failure; a refusal by the provider is."""
    lost, token = start(api)
    refused, other = start(api)

    timeout = step(api, lost, "execution", step="error", token=token, outcome="unknown")
    declined = step(api, refused, "execution", step="error", token=other, outcome="failed")

    assert (good(timeout)["state"], good(declined)["state"]) == ("unknown", "failed")
    assert code(step(api, refused, "handoff", token=other)) == "ILLEGAL_TRANSITION"


@pytest.mark.parametrize(
    "evidence",
    [
        [PSP | {"rel": "request"}],
        [PSP | {"rel": "webhook"}],
        [PSP | {"rel": "document", "digest": "0" * 64}],
        None,
    ],
)
def test_words_that_prove_nothing_are_no_evidence(api: Api, evidence: Any) -> None:
    intent, _ = start(api)
    body = {"outcome": "executed"} | ({} if evidence is None else {"evidence": evidence})

    assert code(step(api, intent, "evidence", **body)) == "MALFORMED_EFFECT"


def test_a_persons_signed_statement_is_evidence(api: Api, engine) -> None:
    """Signed with a key that is enrolled for the caller, over exactly this intent."""
    person = api.with_key("intents:write", principal="ada")
    private = Ed25519PrivateKey.generate()
    key_id = engine.registry.enrol_poster_key("ada", private.public_key().public_bytes_raw())
    intent, _ = start(api)
    digest = sha256(b"I called the bank; nothing was charged.").hexdigest()
    text = statement_signing_bytes(api.ledger, intent, "not_executed", digest)
    statement = {"digest": digest, "key_id": key_id, "sig": sign(private, text)}

    forged = step(person, intent, "evidence", outcome="executed", statement=statement)
    stolen = step(api, intent, "evidence", outcome="not_executed", statement=statement)
    taken = good(step(person, intent, "evidence", outcome="not_executed", statement=statement))

    assert code(forged) == code(stolen) == "BAD_REFERENCE"
    assert taken["state"] == "failed"
    assert taken["evidence"][0]["digest"] == digest


def sign(private: Ed25519PrivateKey, text: bytes) -> str:
    return base64.b64encode(private.sign(text)).decode()


def test_what_happened_is_taken_whatever_was_thought_before(api: Api) -> None:
    """A provider's word undoes a failure that somebody reported, and a cancellation."""
    failed, token = start(api)
    good(step(api, failed, "execution", step="error", token=token, outcome="failed"))
    cancelled = promise(api, promised())["id"]
    good(step(api, cancelled, "cancellation", token=1))

    for intent in (failed, cancelled):
        seen = good(step(api, intent, "evidence", outcome="executed", evidence=[PSP]))
        assert step(api, intent, "handoff", token=seen["token"]).status_code == 201


def test_whoever_is_overtaken_is_fenced(api: Api) -> None:
    """A new token per start; the old one is refused and writes nothing."""
    intent, first = start(api)
    second = good(step(api, intent, "execution", step="started", token=first, takeover=True))[
        "token"
    ]

    assert second == first + 1
    stale = step(api, intent, "execution", step="result", token=first, evidence=[PSP])
    assert code(stale) == "STALE_TOKEN"
    assert (stale.headers["RML-World"], stale.headers["RML-Action"]) == ("RML2", "stop")
    assert code(step(api, intent, "handoff", token=first)) == "STALE_TOKEN"
    good(step(api, intent, "execution", step="result", token=second, evidence=[PSP]))


def test_a_step_that_is_sent_again_is_the_same_step(api: Api) -> None:
    """With the token it was given then, not the one of whoever took over since."""
    made = promise(api, promised())
    body = {"step": "started", "token": 1, "executor": "w1"}
    first = good(api.post(f"/intents/{made['id']}/execution", body, key="s"))
    good(step(api, made["id"], "execution", step="started", token=2, takeover=True))

    again = good(api.post(f"/intents/{made['id']}/execution", body, key="s"))
    other = api.post(f"/intents/{made['id']}/execution", body | {"executor": "w2"}, key="s")

    assert (first["token"], again["token"]) == (2, 2)
    assert (first["replayed"], again["replayed"], len(again["events"])) == (False, True, 3)
    assert code(other) == "IDEMPOTENCY_CONFLICT"


def test_a_promise_that_is_sent_again_is_the_same_promise(api: Api) -> None:
    body = promised()
    first = api.post("/intents", body, key="p")
    again = api.post("/intents", body, key="p")
    other = api.post("/intents", promised("20.00", answer_by=body["answer_by"]), key="p")

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert code(other) == "IDEMPOTENCY_CONFLICT"


def test_a_promised_refund_holds_the_remainder(api: Api) -> None:
    """Neither another promise nor a refund gets it; a cancellation gives it back."""
    effect = good(api.post("/effects", capture("10.00"), key=key()), 201)["id"]
    held = promise(api, promised_refund(effect, "6.00"))

    assert held["held"] == {"entry": effect, "amount": "6.00", "currency": "EUR"}
    for path, words in (
        ("/intents", promised_refund(effect, "4.01")),
        (f"/effects/{effect}/refunds", refund("4.01")),
    ):
        refused = api.post(path, words, key=key()).json()
        # There is enough: what is in the way is the intent, and it is named.
        assert (refused["code"], refused["world"], refused["action"]) == (
            *("REMAINDER_HELD", "RML2", "reconcile-first"),
        )
        assert held["id"] in refused["detail"]
        assert refused["details"] | {"remaining": "4.00", "held": "6.00"} == refused["details"]
        assert refused["details"]["intents"] == [held["id"]]
    # More than there is without it, too.
    assert code(api.post(f"/effects/{effect}/refunds", refund("10.01"), key=key())) == "OVER_REFUND"
    story = good(api.get(f"/effects/{effect}"))
    assert story["position"]["remaining"] == "4.00"
    good(step(api, held["id"], "cancellation", token=1))
    assert api.post(f"/effects/{effect}/refunds", refund("10.00"), key=key()).status_code == 201


def test_the_hand_off_of_a_refund_takes_what_it_held(api: Api) -> None:
    effect = good(api.post("/effects", capture("10.00"), key=key()), 201)["id"]
    intent, token = execute(api, promised_refund(effect, "6.00"))

    handed = good(step(api, intent, "handoff", token=token), 201)

    story = good(api.get(f"/effects/{effect}"))
    assert story["position"] | {"remaining": "4.00", "held": "0.00"} == story["position"]
    assert handed["receipt"]["level"] == "log-signed"


def test_a_business_key_is_promised_once(api: Api) -> None:
    """Second promises and direct entries are possible repeats, and told only the first's id."""
    first = promise(api, promised(business_key="invoice/1"))

    for path, body in (
        ("/intents", promised(business_key="invoice/1")),
        ("/effects", capture(business_key="invoice/1")),
    ):
        response = api.post(path, body, key=key())
        assert code(response) == "POSSIBLE_REPEAT"
        assert response.json()["details"] == {"id": first["id"], "seq": None}
    repeat = promised(business_key="invoice/1", repeat_of=first["id"])
    assert api.post("/intents", repeat, key=key()).status_code == 201
    good(step(api, first["id"], "cancellation", token=1))
    assert api.post("/intents", promised(business_key="invoice/1"), key=key()).status_code == 201


def test_a_repeat_that_happened_is_recorded_as_one(api: Api) -> None:
    """Whichever is handed off first, the other names it; neither is refused."""
    first, token = execute(api, promised(business_key="invoice/2"))
    second, other = execute(api, promised(business_key="invoice/2", repeat_of=first))

    earlier = good(step(api, second, "handoff", token=other), 201)
    later = good(step(api, first, "handoff", token=token), 201)

    effect = good(api.get(f"/entries/{later['id']}"))["entry"]["effect"]
    assert effect["repeat_of"] == earlier["id"]


def test_an_approval_is_of_exactly_this_content(api: Api) -> None:
    """Without it execution does not start; by the promiser it is none; the entry names it."""
    person = api.with_key("approve", principal="ada")
    made = promise(api, promised(approval_required=True))
    path, digest = made["id"], made["content_digest"]

    missing = step(api, path, "execution", step="started", token=1)
    wrong = step(person, path, "approval", digest="0" * 64)
    own = step(api, path, "approval", digest=digest)
    unscoped = step(api.with_key("intents:write"), path, "approval", digest=digest)

    assert code(missing) == code(wrong) == "APPROVAL_REQUIRED"
    assert missing.headers["RML-Action"] == "wait-for-human"
    assert (code(own), own.status_code) == ("SELF_APPROVAL", 403)
    assert code(unscoped) == "FORBIDDEN"
    approved = good(step(person, path, "approval", digest=digest))["approval"]
    token = good(step(api, path, "execution", step="started", token=1))["token"]
    good(step(api, path, "execution", step="result", token=token, evidence=[PSP]))
    poster = api.with_key("intents:write", principal="ada")
    assert code(step(poster, path, "handoff", token=token)) == "SELF_APPROVAL"
    handed = good(step(api, path, "handoff", token=token), 201)
    assert good(api.get(f"/entries/{handed['id']}"))["entry"]["effect"]["approval"] == approved
    assert approved == {"by": "ada", "at": approved["at"], "digest": digest}


def test_an_approval_is_void_for_another_amount(api: Api) -> None:
    """What happened is recorded, without the approval of something else."""
    person = api.with_key("approve", principal="ada")
    made = promise(api, promised(approval_required=True))
    good(step(person, made["id"], "approval", digest=made["content_digest"]))
    token = good(step(api, made["id"], "execution", step="started", token=1))["token"]
    good(step(api, made["id"], "execution", step="result", token=token, evidence=[PSP]))

    money = {"amount": "18.00", "currency": "EUR", "flow": "in"}
    handed = good(step(api, made["id"], "handoff", token=token, money=money), 201)

    effect = good(api.get(f"/entries/{handed['id']}"))["entry"]["effect"]
    assert (effect["money"], "approval" in effect) == (money, False)


def test_history_does_not_go_back_to_the_dialog(api: Api) -> None:
    """Every step after the hand-off is told the world it is in, and what is left to do."""
    intent, token = execute(api)
    good(step(api, intent, "handoff", token=token), 201)

    for path, body in (
        ("cancellation", {"token": token}),
        ("execution", {"step": "started", "token": token}),
        ("execution", {"step": "error", "token": token, "outcome": "failed"}),
        ("evidence", {"outcome": "not_executed", "evidence": [PSP]}),
    ):
        response = step(api, intent, path, **body)
        assert (code(response), response.status_code) == ("HANDED_OFF", 409)
        assert response.headers["RML-World"] == "RML3"
        assert response.headers["RML-Action"] == "escalate-history"


def test_cancelling_is_for_before_the_start(api: Api) -> None:
    intent, token = start(api)

    refused = step(api, intent, "cancellation", token=token)

    assert (code(refused), refused.status_code) == ("ILLEGAL_TRANSITION", 409)


def test_only_a_hand_off_writes_an_intent_into_an_entry(api: Api) -> None:
    intent, _ = execute(api)
    seen = good(api.get(f"/intents/{intent}"))

    forged = capture(intent={"id": intent, "digest": seen["digest"]})

    assert code(api.post("/effects", forged, key=key())) == "BAD_REFERENCE"


def test_intents_are_listed_by_what_waits(api: Api) -> None:
    """Oldest first, in pages; an unknown filter is refused."""
    first = promise(api, promised(subject="order/1"))["id"]
    second, _ = start(api, promised(business_key="b/1"))
    third, token = execute(api)
    good(step(api, third, "handoff", token=token), 201)

    def listed(**filters: Any) -> list[str]:
        return [line["id"] for line in good(api.get("/intents", **filters))["intents"]]

    assert listed() == [first, second, third]
    assert listed(state="open") == [first, second]
    assert listed(state="promised") == listed(subject="order/1") == [first]
    assert listed(world="RML3") == listed(state="handed_off") == [third]
    assert listed(business_key="b/1", world="RML2") == [second]
    assert (listed(older_than="1h"), listed(older_than="7d", state="open")) == ([], [])
    page = good(api.get("/intents", limit=2))
    assert good(api.get("/intents", cursor=page["next_cursor"]))["intents"][0]["id"] == third
    assert page["intents"][0]["age_s"] >= 0 < page["intents"][0]["answer_in_s"]
    for query in ({"colour": "red"}, {"older_than": "soon"}, {"cursor": "x"}, {"state": "x"}):
        assert api.get("/intents", **query).status_code == 422


def test_dry_runs_leave_no_trace(api: Api, table_counts: Callable[[], dict[str, int]]) -> None:
    """Promise and every step: full validation, and every table has the rows it had."""
    effect = good(api.post("/effects", capture("10.00"), key=key()), 201)["id"]
    made, (ready, token) = promise(api, promised()), execute(api)
    before, seen = table_counts(), good(api.get(f"/intents/{made['id']}"))["digest"]

    for path, body in (
        ("", promised_refund(effect, "10.00", business_key="b")),
        (f"/{made['id']}/execution", {"step": "started", "token": 1}),
        (f"/{made['id']}/cancellation", {"token": 1}),
        (f"/{made['id']}/evidence", {"outcome": "executed", "evidence": [PSP]}),
        (f"/{ready}/handoff", {"token": token}),
    ):
        answered = good(api.post(f"/intents{path}?dry_run=true", body, key=key()))
        assert (answered["provisional"], answered["world"]) == (True, "RML1")
    refused = api.post("/intents?dry_run=true", promised_refund(effect, "10.01"), key=key())
    assert code(refused) == "OVER_REFUND"
    stale = api.post(f"/intents/{ready}/handoff?dry_run=true", {"token": 1}, key=key())
    assert code(stale) == "STALE_TOKEN"

    assert table_counts() == before
    assert good(api.get(f"/intents/{made['id']}"))["digest"] == seen
    assert good(api.get(f"/effects/{effect}"))["position"]["remaining"] == "10.00"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", {}, 422),
        ("", {"type": "t"}, 422),
        ("", {"type": "t", "answer_by": "2020-01-01T00:00:00Z"}, 422),
        ("", promised(observed=True), 422),
        ("", promised(kind="adjustment"), 422),
        ("", promised(subject="ada@example.org"), 422),
        ("", promised(repeat_of=NOBODYS_ID), 422),
        ("", promised(labels={f"k{n}": "v" * 255 for n in range(16)}, subject="ü" * 255), 201),
        ("", promised(causes=[{"kind": "case", "ref": f"{n}" * 250} for n in range(32)]), 413),
        (f"/{NOBODYS_ID}/execution", {"step": "started", "token": 1}, 404),
        ("/nobody/execution", {"step": "started", "token": 1}, 404),
        (f"/{NOBODYS_ID}/execution", {"step": "started"}, 422),
        (f"/{NOBODYS_ID}/execution", {"step": "result", "token": 1}, 422),
        (f"/{NOBODYS_ID}/execution", {"step": "promised", "token": 1}, 422),
        (f"/{NOBODYS_ID}/handoff", {"token": 1}, 404),
        (f"/{NOBODYS_ID}/handoff", [], 422),
    ],
)
def test_bad_requests_are_told_what_is_wrong(api: Api, path: str, body: Any, status: int) -> None:
    assert api.post(f"/intents{path}", body, key=key()).status_code == status


def test_a_step_needs_its_key_and_its_scope(api: Api) -> None:
    assert api.post("/intents", promised()).status_code == 400
    assert api.post("/intents", promised(), key="é".encode("latin-1")).status_code in (400, 422)
    reader = api.with_key("entries:read")
    assert code(reader.post("/intents", promised(), key=key())) == "FORBIDDEN"
    assert reader.get("/intents").status_code == 200
    assert code(api.with_key("effects:write").get("/intents")) == "FORBIDDEN"


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (schemas.IntentOut, shown.INTENT),
        (schemas.IntentPageOut, shown.INTENT_PAGE),
        (schemas.HandedOffOut, shown.HANDED_OFF),
    ],
)
def test_example_answers_have_their_shape(model: Any, example: Any) -> None:
    TypeAdapter(model).validate_python(example)


def test_answers_have_the_shape_that_is_published(api: Api) -> None:
    intent, _ = execute(api)

    TypeAdapter(schemas.IntentOut).validate_python(good(api.get(f"/intents/{intent}")))
    TypeAdapter(schemas.IntentPageOut).validate_python(good(api.get("/intents")))


def test_example_requests_are_accepted() -> None:
    """By the shape and by the rules that need no history."""
    now = datetime(2027, 3, 2, 9, tzinfo=UTC)
    for example in shown.PROMISES.values():
        words = parse_shape(schemas.PromiseIn, example).model_dump(exclude_unset=True)
        assert build_promise(words, key="k", rules=Rules(), now=now).content["answer_by"]
    for model, examples, named in (
        (schemas.ExecutionIn, shown.EXECUTIONS, None),
        (schemas.ApprovalOfIn, shown.APPROVALS, Step.APPROVED),
        (schemas.CancellationIn, shown.CANCELLATIONS, Step.CANCELLED),
        (schemas.ConclusionIn, shown.CONCLUSIONS, Step.EVIDENCE),
    ):
        for example in examples.values():
            words = parse_shape(model, example).model_dump(exclude_unset=True)
            assert parse_step(named or Step(words.pop("step")), words)
    for example in shown.HAND_OVERS.values():
        parse_shape(schemas.HandOverIn, example)

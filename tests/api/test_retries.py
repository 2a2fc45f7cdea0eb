"""A caller that got no answer asks again, and cannot do harm by it: the key says what it meant."""

from __future__ import annotations

import socket
import time
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from ledger.merkle import leaf_hash
from ledger.note import VerifierKey
from ledger.receipt import parse_receipt, verify_receipt
from tests.api.support import Api, capture, item, refund

STAYS = ("id", "ledger", "seq", "entry_hash", "recorded_at", "world")
"""What a replay tells as the first answer did, for ever."""
LOOKS_MAX = 400

PAYLOADS = [
    {"name": "invoice", "json": {"total": 19.99}, "data_subject": "cust_1"},
    {"name": "scan", "base64": "AAEC/w==", "media_type": "image/png"},
]


def stays(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in {200, 201}, answer.text
    return {name: answer.json()[name] for name in STAYS}


def await_size(api: Api, size: int) -> None:
    for _ in range(LOOKS_MAX):
        if api.get("").json()["size"] == size:
            return
        time.sleep(0.01)
    pytest.fail(f"the ledger never had {size} entries")


def lose_answer(api: Api, path: str, body: Any, key: str, *, size: int) -> None:
    """Send a request, and hang up without reading once the ledger has `size` entries."""
    raw = orjson.dumps(body)
    headers = api.headers(key, {"Content-Type": "application/json", "Host": "ledger"})
    lines = [b"%b: %b" % pair for pair in [*headers, (b"Content-Length", b"%d" % len(raw))]]
    url = api.http.base_url
    with socket.create_connection((url.host, url.port)) as connection:
        request = b"\r\n".join([b"POST %b HTTP/1.1" % api.url(path).encode(), *lines, b"", raw])
        connection.sendall(request)
        await_size(api, size)


# ---- No answer ------------------------------------------------------------------------


def test_a_post_whose_answer_was_lost_is_replayed_with_all_it_would_have_said(api: Api) -> None:
    """Receipt and salts too: the caller has lost nothing but time."""
    body = capture(note="Sent by courier.", payloads=PAYLOADS)
    lose_answer(api, "/effects", body, "k", size=1)

    answer = api.post("/effects", body, key="k")

    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (200, "true")
    told = answer.json()
    stored = {each["name"]: each for each in api.get("/entries/0/payloads").json()["payloads"]}
    assert (
        {kept["name"] for kept in told["payloads"]}
        == stored.keys()
        == {
            "invoice",
            "note",
            "scan",
        }
    )
    for kept in told["payloads"]:
        assert kept["salt"] == stored[kept["name"]]["salt"]
        assert kept["commitment"] == stored[kept["name"]]["commitment"]
    vkey = VerifierKey.parse(api.get("").json()["vkey"])
    proved = verify_receipt(parse_receipt(told["receipt"]), [vkey])
    assert leaf_hash(proved.entry).hex() == told["entry_hash"]
    assert api.get("").json()["size"] == 1


def test_a_batch_whose_answer_was_lost_is_replayed_item_by_item(api: Api) -> None:
    """All of it stands, so all of it is told."""
    batch = {"mode": "atomic", "items": [item("k1", note="words"), item("k2")]}
    lose_answer(api, "/batch", batch, "", size=2)

    answer = api.post("/batch", batch).json()

    assert (answer["recorded"], answer["replayed"], answer["refused"]) == (0, 2, 0)
    assert [each["result"]["seq"] for each in answer["items"]] == [0, 1]
    assert answer["items"][0]["result"]["payloads"][0]["salt"] is not None


def test_a_replay_says_the_same_for_ever(api: Api) -> None:
    """History grows behind it, and only the receipt grows with it."""
    first = api.post("/effects", capture(note="words"), key="k")
    sizes = []
    for batch in range(3):
        items = [item(f"{batch}-{at}") for at in range(100)]
        assert api.post("/batch", {"mode": "independent", "items": items}).status_code == 200

        again = api.post("/effects", capture(note="words"), key="k")

        assert stays(again) == stays(first)
        assert again.json()["payloads"] == first.json()["payloads"]
        sizes.append(again.json()["receipt"]["proof"].split("\n\n")[1].split("\n")[1])
    assert sizes == ["101", "201", "301"]


# ---- Another way of asking ------------------------------------------------------------


def test_the_same_correction_by_another_path_is_the_same_request(api: Api) -> None:
    """A request is what it says: by which path it came is not part of it."""
    effect = api.post("/effects", capture(), key="e").json()["id"]
    words = {"kind": "refund", "corrects": effect, **refund("5.00")}

    first = api.post(f"/effects/{effect}/refunds", refund("5.00"), key="k")
    by_body = api.post("/corrections", words, key="k")
    in_batch = api.post("/batch", {"mode": "atomic", "items": [{"key": "k", **words}]})

    assert first.status_code == 201
    assert by_body.status_code == in_batch.status_code == 200
    assert stays(by_body) == stays(first)
    assert in_batch.json()["items"][0]["result"]["id"] == first.json()["id"]
    assert api.get("").json()["size"] == 2


def test_naming_the_target_otherwise_is_another_request(api: Api) -> None:
    """By its key instead of its id: other words are hashed, so it is not the same."""
    effect = api.post("/effects", capture(), key="e").json()["id"]
    api.post(f"/effects/{effect}/refunds", refund("5.00"), key="k")

    words = {"kind": "refund", "corrects_key": "e", **refund("5.00")}
    answer = api.post("/corrections", words, key="k")

    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")


def test_one_key_does_not_name_an_effect_and_its_refund(api: Api) -> None:
    """Keys are the ledger's, not a path's."""
    effect = api.post("/effects", capture(), key="k").json()["id"]

    answer = api.post(f"/effects/{effect}/refunds", refund("5.00"), key="k")

    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")


def test_one_key_names_one_request_per_ledger(api: Api, engine) -> None:
    """The same key in another ledger is another key."""
    other = api.on(engine.registry.create_ledger(f"other-{uuid4().hex[:12]}").name)

    assert api.post("/effects", capture(), key="k").status_code == 201
    assert other.post("/effects", capture("5.00"), key="k").status_code == 201


# ---- Another caller -------------------------------------------------------------------


def test_rotating_a_credential_changes_nothing(api: Api, engine) -> None:
    """Entries belong to the principal, and its keys come and go."""
    old = api.with_key("*", principal="checkout")
    first = old.post("/effects", capture(note="words"), key="k")
    [line] = [each for each in engine.credentials.list() if each.id == key_id_of(old)]
    engine.credentials.revoke(line.id)
    new = api.with_key("effects:write", principal="checkout")

    answer = new.post("/effects", capture(note="words"), key="k")

    assert answer.status_code == 200
    assert stays(answer) == stays(first)
    assert answer.json()["payloads"] == first.json()["payloads"]
    assert new.post("/effects", capture("5.00"), key="k").status_code == 422


def key_id_of(api: Api) -> str:
    assert api.token is not None
    _, key_id, _ = api.token.split("_", 2)
    return key_id


@pytest.mark.parametrize("path", ["/effects", "/batch", "/effects?dry_run=true"])
def test_another_principal_learns_nothing_from_a_key_that_is_taken(api: Api, path: str) -> None:
    """Neither from the same words nor from others: not even whether they are the same."""
    secret = capture(subject="order/secret", note="a secret", payloads=PAYLOADS)
    first = api.post("/effects", secret, key="k").json()
    other = api.with_key("*", principal="somebody-else")

    answers = []
    for body in (secret, capture()):
        sent: Any = body
        if path == "/batch":
            sent = {"mode": "atomic", "items": [{"kind": "effect", "key": "k", **body}]}
        answers.append(other.post(path, sent, key="k"))

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")
        for told in ("secret", first["id"], first["entry_hash"], "tester"):
            assert told not in answer.text
    same, others = ({**each.json(), "trace_id": ""} for each in answers)
    for problem in (same, others):
        for each in problem["details"].get("items", ()):
            each["problem"]["trace_id"] = ""
    assert same == others


# ---- Refusals -------------------------------------------------------------------------


def test_whatever_a_request_was_refused_for_its_key_is_free(api: Api) -> None:
    """400, 401, 403, 404, 409, 413 and 422: none of them reserves anything."""
    effect = api.post("/effects", capture("10.00", business_key="b"), key="e").json()["id"]
    reader = api.with_key("entries:read")
    huge = capture(payloads=[{"name": "a", "base64": "A" * 1_500_000}])
    refusals = [
        (400, lambda: api.send("/effects", b"{", key="k")),
        (401, lambda: api.without_key().post("/effects", capture(), key="k")),
        (403, lambda: reader.post("/effects", capture(), key="k")),
        (404, lambda: api.post(f"/effects/{uuid4()}/refunds", refund("1.00"), key="k")),
        (404, lambda: api.on("nowhere").post("/effects", capture(), key="k")),
        (409, lambda: api.post(f"/effects/{effect}/refunds", refund("10.01"), key="k")),
        (409, lambda: api.post("/effects", capture(business_key="b"), key="k")),
        (413, lambda: api.post("/effects", huge, key="k")),
        (422, lambda: api.post("/effects", capture("1"), key="k")),
        (422, lambda: api.post("/effects", capture(subject="a@example.org"), key="k")),
    ]
    for status, refused in refusals:
        assert refused().status_code == status

    answer = api.post("/effects", capture(subject="order/1"), key="k")

    assert (answer.status_code, answer.json()["seq"]) == (201, 1)


def test_an_atomic_batch_that_was_refused_may_be_mended_and_sent_again(api: Api) -> None:
    """Under the same keys: none of its items was recorded, or is told to be anywhere."""
    whole = item("k1", **capture("10.00"))
    items = [whole, {"kind": "refund", "key": "k2", "corrects_key": "k1", **refund("10.01")}]
    refused = api.post("/batch", {"mode": "atomic", "items": items})
    items[1] = {"kind": "refund", "key": "k2", "corrects_key": "k1", **refund("10.00")}

    answer = api.post("/batch", {"mode": "atomic", "items": items})

    problem = refused.json()["details"]["items"][1]["problem"]
    assert (refused.status_code, problem["code"]) == (409, "OVER_REFUND")
    # The item has no id anybody could look at, and its caller knows its key.
    assert (problem["details"]["target"], problem["details"]["key"]) == (None, "k1")
    assert (answer.status_code, answer.json()["recorded"]) == (200, 2)


# ---- Payloads -------------------------------------------------------------------------


def test_a_replay_of_an_erased_payload_says_that_it_was_erased(api: Api, database) -> None:
    """It can no longer be compared, so whatever is sent in its place replays."""
    body = capture(note="words", payloads=PAYLOADS)
    first = api.post("/effects", body, key="k")
    database.execute(
        "update payloads set sealed = null where ledger = %s and name = 'invoice'", (api.ledger,)
    )

    others = [PAYLOADS[0] | {"json": {"total": 20}}, PAYLOADS[1]]
    for payloads in (PAYLOADS, others):
        answer = api.post("/effects", capture(note="words", payloads=payloads), key="k")

        assert stays(answer) == stays(first)
        kept = {each["name"]: each for each in answer.json()["payloads"]}
        assert {name: each["erased"] for name, each in kept.items()} == {
            "invoice": True,
            "note": False,
            "scan": False,
        }
        assert kept["invoice"]["salt"] is None
    other_note = capture(note="other words", payloads=PAYLOADS)
    assert api.post("/effects", other_note, key="k").status_code == 422


def test_a_dry_run_foretells_replay_and_conflict_by_payloads_too(api: Api) -> None:
    """What was sent is held against what stands, as the write itself would do it."""
    first = api.post("/effects", capture(payloads=PAYLOADS), key="k").json()

    same = api.post("/effects?dry_run=true", capture(payloads=PAYLOADS), key="k")
    other = api.post(
        "/effects?dry_run=true",
        capture(payloads=[PAYLOADS[0] | {"json": {"total": 20}}, PAYLOADS[1]]),
        key="k",
    )

    assert same.json()["replays"] == first["id"]
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")

"""A write is recorded once, answered with its proof, and corrected only forward."""

from __future__ import annotations

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from uuid import uuid4

import pytest

from tests.api.support import NOBODYS_ID, Api, capture, refund


def test_effect_is_recorded_with_its_receipt(api: Api) -> None:
    """The answer of a first write, member for member."""
    response = api.post("/effects", capture(), key="k1")

    assert response.status_code == 201
    body = response.json()
    assert set(body) == {
        "id",
        "ledger",
        "seq",
        "entry_hash",
        "recorded_at",
        "world",
        "replayed",
        "receipt",
    }
    assert (body["ledger"], body["seq"], body["world"], body["replayed"]) == (
        api.ledger,
        0,
        "RML3",
        False,
    )
    assert response.headers["Location"] == f"/v1/ledgers/{api.ledger}/effects/{body['id']}"
    assert "Idempotent-Replayed" not in response.headers
    entry = body["receipt"]["entry"].encode()
    assert hashlib.sha256(b"\0" + entry).hexdigest() == body["entry_hash"]
    assert body["receipt"]["level"] == "log-signed"
    assert body["receipt"]["proof"].startswith("c2sp.org/tlog-proof@v1\n")


def test_same_request_is_replayed(api: Api) -> None:
    """Same key, same request, same principal: the same entry, for ever."""
    first = api.post("/effects", capture(), key="k1").json()

    response = api.post("/effects", capture(), key="k1")

    assert response.status_code == 200
    assert response.headers["Idempotent-Replayed"] == "true"
    again = response.json()
    assert again["replayed"] is True
    for name in ("id", "ledger", "seq", "entry_hash", "recorded_at", "world"):
        assert again[name] == first[name]


def test_replay_does_not_depend_on_how_json_is_spelled(api: Api) -> None:
    """Order of members, white space and the offset of a time are not part of a request."""
    document = capture(occurred_at="2026-03-02T10:15:00+01:00")
    first = api.post("/effects", document, key="k1").json()
    document["occurred_at"] = "2026-03-02T09:15:00Z"
    spelled = json.dumps(dict(reversed(document.items())), indent=2)

    response = api.send("/effects", spelled.encode(), key="k1")

    assert (response.status_code, response.json()["id"]) == (200, first["id"])


def test_other_request_under_a_key_is_refused(api: Api) -> None:
    """Nothing of the first request is told."""
    first = api.post("/effects", capture(subject="order/secret"), key="k1").json()

    response = api.post("/effects", capture(subject="order/2"), key="k1")

    assert response.status_code == 422
    problem = response.json()
    assert (problem["code"], problem["world"], problem["action"]) == (
        "IDEMPOTENCY_CONFLICT",
        "RML2",
        "stop",
    )
    assert "secret" not in response.text
    assert first["id"] not in response.text


def test_other_principal_under_a_key_is_refused(api: Api) -> None:
    """Keys are the ledger's, and what one principal posted is not told to another."""
    first = api.post("/effects", capture(), key="k1").json()
    other = api.with_key("*", principal="somebody-else")

    response = other.post("/effects", capture(), key="k1")

    assert (response.status_code, response.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")
    assert first["id"] not in response.text


def test_refused_request_reserves_nothing(api: Api) -> None:
    """After a refusal the key is free for the right request."""
    assert api.post("/effects", capture(type="No Such Form"), key="k1").status_code == 422

    response = api.post("/effects", capture(), key="k1")

    assert (response.status_code, response.json()["seq"]) == (201, 0)


def test_concurrent_sends_of_one_key_record_once(api: Api) -> None:
    """Twenty callers, one entry."""
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: api.post("/effects", capture(), key="k1"), range(20)))

    assert sorted(response.status_code for response in responses) == [200] * 19 + [201]
    assert len({response.json()["id"] for response in responses}) == 1
    assert api.get("").json()["size"] == 1


def test_refund_adjustment_and_explanation_stand_on_the_effect(api: Api) -> None:
    """Three kinds of correction, each by its path."""
    effect = api.post("/effects", capture(), key="k1").json()["id"]

    refunded = api.post(f"/effects/{effect}/refunds", refund("5.00"), key="k2")
    adjusted = api.post(
        f"/entries/{effect}/adjustments",
        {
            "type": "price.change",
            "occurred_at": "2026-03-03T00:00:00Z",
            "reason": "price.wrong",
            "money": {"amount": "-1.00", "currency": "EUR", "flow": "in"},
        },
        key="k3",
    )
    explained = api.post(
        f"/entries/{refunded.json()['id']}/explanations",
        {
            "type": "explanation",
            "occurred_at": "2026-03-03T00:00:00Z",
            "reason": "customer.request",
            "note": "The customer sent one of two shirts back.",
        },
        key="k4",
    )

    assert [r.status_code for r in (refunded, adjusted, explained)] == [201, 201, 201]
    location = refunded.headers["Location"]
    assert location == f"/v1/ledgers/{api.ledger}/entries/{refunded.json()['id']}"
    entry = json.loads(refunded.json()["receipt"]["entry"])
    assert (entry["effect"]["kind"], entry["effect"]["corrects"]) == ("refund", effect)


def test_over_refund_is_history_to_escalate(api: Api) -> None:
    """More than what remains is refused, and nothing is recorded."""
    effect = api.post("/effects", capture("10.00"), key="k1").json()["id"]
    assert api.post(f"/effects/{effect}/refunds", refund("7.00"), key="k2").status_code == 201

    response = api.post(f"/effects/{effect}/refunds", refund("3.01"), key="k3")

    assert response.status_code == 409
    problem = response.json()
    assert (problem["code"], problem["world"], problem["action"]) == (
        "OVER_REFUND",
        "RML3",
        "escalate-history",
    )
    assert api.get("").json()["size"] == 2


def test_correction_of_the_wrong_kind_is_refused(api: Api) -> None:
    """A refund of a refund is a word without meaning."""
    effect = api.post("/effects", capture("10.00"), key="k1").json()["id"]
    refunded = api.post(f"/effects/{effect}/refunds", refund("7.00"), key="k2").json()["id"]

    response = api.post(f"/effects/{refunded}/refunds", refund("1.00"), key="k3")

    assert (response.status_code, response.json()["world"]) == (409, "RML3")


@pytest.mark.parametrize("target", [NOBODYS_ID, "7", "not-an-id", "x" * 300])
def test_correction_of_nothing_is_not_found(api: Api, target: str) -> None:
    """What a path names and is not there is a 404."""
    for path, body in (
        (f"/effects/{target}/refunds", refund("1.00")),
        (f"/entries/{target}/explanations", explanation()),
    ):
        response = api.post(path, body, key="k1")

        assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


def test_correction_that_names_nothing_in_its_body_is_unprocessable(api: Api) -> None:
    """What a body names and is not there is a 422."""
    body = {"kind": "refund", "corrects_key": "nobody", **refund("1.00")}

    response = api.post("/corrections", body, key="k1")

    assert (response.status_code, response.json()["code"]) == (422, "BAD_REFERENCE")


def test_correction_by_key_by_id_and_outside(api: Api) -> None:
    """The three ways to name what is corrected."""
    effect = api.post("/effects", capture(), key="k1").json()["id"]
    outside = {
        "corrects_external": {"system": "old-shop", "ref": "order/17"},
        "observed": True,
        "evidence": [{"system": "psp", "rel": "transaction", "ref": "re_9"}],
    }

    for key, target in (
        ("k2", {"corrects": effect}),
        ("k3", {"corrects_key": "k1"}),
        ("k4", outside),
    ):
        response = api.post("/corrections", {"kind": "refund", **refund("1.00"), **target}, key=key)
        assert response.status_code == 201, response.text


def test_possible_repeat_waits_for_a_human(api: Api) -> None:
    """A second capture of one order tells id and seq of the first, and nothing else of it."""
    first = api.post("/effects", capture(business_key="order/1", subject="order/secret"), key="k1")

    response = api.post("/effects", capture(business_key="order/1"), key="k2")

    assert response.status_code == 409
    problem = response.json()
    assert (problem["code"], problem["world"], problem["action"]) == (
        "POSSIBLE_REPEAT",
        "RML2",
        "wait-for-human",
    )
    assert first.json()["id"] in json.dumps(problem["details"])
    assert "secret" not in response.text
    repeated = capture(business_key="order/1", repeat_of=first.json()["id"])
    assert api.post("/effects", repeated, key="k2").status_code == 201


def test_payloads_come_back_with_their_salts(api: Api) -> None:
    """The poster can open its own commitments, offline."""
    body = capture(
        note="Sent by courier.",
        payloads=[{"name": "invoice", "json": {"total": 19.99}, "data_subject": "cust_1"}],
    )

    kept = {item["name"]: item for item in api.post("/effects", body, key="k1").json()["payloads"]}

    for name, octets in (("note", b"Sent by courier."), ("invoice", b'{"total":19.99}')):
        salt = base64.b64decode(kept[name]["salt"])
        digest = hashlib.sha256(b"effect-ledger/payload/v1\n" + salt + octets).hexdigest()
        assert kept[name]["commitment"] == digest
        assert kept[name]["erased"] is False


def test_replay_compares_payloads(api: Api) -> None:
    """Equal payloads replay; another content, or one more, is another request."""
    assert api.post("/effects", capture(note="one"), key="k1").status_code == 201

    assert api.post("/effects", capture(note="one"), key="k1").status_code == 200
    for other in (
        capture(note="two"),
        capture(),
        capture(note="one", payloads=[{"name": "b", "text": "x"}]),
    ):
        response = api.post("/effects", other, key="k1")
        assert (response.status_code, response.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")


def test_payload_words_are_not_in_the_entry(api: Api) -> None:
    """What may have to be erased is never hashed as itself."""
    api.post("/effects", capture(note="a very private matter"), key="k1")

    assert b"private matter" not in api.get("/entries/0/bytes").content


def test_receipt_can_be_left_out(api: Api) -> None:
    """RFC 7240: a caller that will fetch it later may say so."""
    response = api.post("/effects", capture(), key="k1", headers={"Prefer": "return=minimal"})

    assert response.status_code == 201
    assert "receipt" not in response.json()


@pytest.mark.parametrize(
    "key",
    ["a key", "ключ", "_mine", "", "tab\there"],
    ids=["space", "cyrillic", "ours", "empty", "tab"],
)
def test_key_outside_its_form_is_refused(api: Api, key: str) -> None:
    """Visible ASCII, and not the ledger's own."""
    response = api.post("/effects", capture(), headers={"Idempotency-Key": key.encode()})

    assert response.status_code in {400, 422}
    assert response.json()["action"] == "fix-request"


def test_missing_or_double_key_is_a_bad_request(api: Api) -> None:
    """Exactly one key names a request."""
    missing = api.post("/effects", capture())
    double = api.post(
        "/effects", capture(), headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    )

    for response in (missing, double):
        assert (response.status_code, response.json()["code"]) == (400, "IDEMPOTENCY_KEY_MISSING")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nothing",
        b'{"a":1} trailing',
        b'{"type":"a","type":"b"}',
        b'{"type":"a","\\u0074ype":"b"}',
        b'{"a":NaN}',
        b"\xff\xfe",
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\\ud800"}',
        b"[" * 2_000,
    ],
)
def test_malformed_json_is_a_bad_request(api: Api, raw: bytes) -> None:
    """What two readers would read differently is not read at all."""
    response = api.send("/effects", raw, key="k1")

    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_JSON")


@pytest.mark.parametrize("raw", [b"null", b"[]", b'"effect"', b"7"])
def test_json_that_is_no_object_is_unprocessable(api: Api, raw: bytes) -> None:
    """A body is an object."""
    response = api.send("/effects", raw, key="k1")

    assert (response.status_code, response.json()["code"]) == (422, "MALFORMED_EFFECT")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"colour": "red"}, "/colour"),
        ({"kind": "effect"}, "/kind"),
        ({"key": "k1"}, "/key"),
        ({"subject": None}, "/subject"),
        ({"subject": 7}, "/subject"),
        ({"observed": "true"}, "/observed"),
        ({"money": {"amount": 19.99, "currency": "EUR", "flow": "in"}}, "/money/amount"),
        ({"money": {"amount": "19.999", "currency": "EUR", "flow": "in"}}, "/money/amount"),
        ({"money": {"amount": "-0", "currency": "EUR", "flow": "in"}}, "/money/amount"),
        ({"money": {"amount": "1", "currency": "EUR", "flow": "sideways"}}, "/money/flow"),
        ({"actor": {"id": "a", "kind": "robot"}}, "/actor/kind"),
        ({"occurred_at": "yesterday"}, "/occurred_at"),
        ({"data": {}}, "/data"),
        ({"corrects": str(uuid4())}, "/corrects"),
        ({"payloads": [{"name": "a"}]}, "/payloads/0"),
    ],
)
def test_wrong_member_is_named(api: Api, change: dict[str, object], pointer: str) -> None:
    """The answer points at the first member that is wrong."""
    response = api.post("/effects", capture() | change, key="k1")

    problem = response.json()
    assert response.status_code == 422, response.text
    assert (problem["code"], problem["details"]["pointer"]) == ("MALFORMED_EFFECT", pointer)


def test_every_wrong_member_of_the_shape_is_listed(api: Api) -> None:
    """A caller repairs its request in one round."""
    response = api.post("/effects", capture() | {"subject": 7, "colour": "red"}, key="k1")

    pointers = {wrong["pointer"] for wrong in response.json()["details"]["wrong"]}
    assert pointers == {"/subject", "/colour"}


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "jane@example.org"},
        {"subject": "DE89370400440532013000"},
        {"subject": "4111111111111111"},
    ],
)
def test_suspected_personal_data_is_refused_and_not_repeated(
    api: Api, change: dict[str, str]
) -> None:
    """The answer does not keep what must not be kept."""
    response = api.post("/effects", capture() | change, key="k1")

    assert (response.status_code, response.json()["code"]) == (422, "PERSONAL_DATA_SUSPECTED")
    assert change["subject"] not in response.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_other_kinds_of_body_are_refused(api: Api, headers: dict[str, str]) -> None:
    """JSON in UTF-8, plain."""
    response = api.send("/effects", b"{}", key="k1", headers=headers)

    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_REQUEST")


@pytest.mark.parametrize("kind", ["application/json", 'Application/JSON; charset="UTF-8"', None])
def test_json_is_taken_however_its_type_is_spelled(api: Api, kind: str | None) -> None:
    """The type may be left out, too."""
    headers = {} if kind is None else {"Content-Type": kind}
    raw = json.dumps(capture()).encode()

    assert api.send("/effects", raw, key="k1", headers=headers).status_code == 201


def test_unknown_parameter_of_a_write_is_refused(api: Api) -> None:
    """A misspelt dry run must not become history."""
    for query in ("dryrun=true", "dry_run=yes", "dry_run=true&dry_run=false", "dry_run="):
        response = api.post(f"/effects?{query}", capture(), key="k1")
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_PARAMETER")
    assert api.get("").json()["size"] == 0


def explanation() -> dict[str, object]:
    return {
        "type": "explanation",
        "occurred_at": "2026-03-03T00:00:00Z",
        "reason": "customer.request",
        "note": "words",
    }


@pytest.mark.parametrize(
    "hashed",
    [
        {"labels": {"4111111111111111": "x"}},
        {"labels": {"de89370400440532013000": "x"}},
        {"payloads": [{"name": "de89370400440532013000", "text": "words"}]},
        {"payloads": [{"name": "n", "text": "t", "media_type": "a/b; u=DE89370400440532013000"}]},
    ],
    ids=["card-label", "iban-label", "payload-name", "media-type"],
)
def test_names_that_are_hashed_are_screened_too(api: Api, hashed: dict[str, object]) -> None:
    """A caller's word is hashed wherever it stands; the answer does not say it again."""
    response = api.post("/effects", capture() | hashed, key="k1")

    assert (response.status_code, response.json()["code"]) == (422, "PERSONAL_DATA_SUSPECTED")
    assert "4111" not in response.text
    assert "893704" not in response.text


def test_nobody_waits_for_witnesses_that_are_not_there(api: Api, monkeypatch) -> None:
    """Without a policy there will be no quorum, however long."""

    def sleeps(_seconds: float) -> None:
        pytest.fail("waited")

    # Not the module's own: the server of this test sleeps as well.
    monkeypatch.setattr("api.anchored.asyncio", SimpleNamespace(sleep=sleeps))

    response = api.post("/effects", capture(), key="k1", headers={"Prefer": "wait=60"})

    assert (response.status_code, response.json()["receipt"]["level"]) == (201, "log-signed")


@pytest.mark.parametrize("tail", ["%0A", "%00", "%0D"])
def test_control_characters_in_a_path_name_nothing(api: Api, tail: str) -> None:
    """Not the path without them either."""
    response = api.send(f"/effects{tail}", b"{}", key="k1")

    assert (response.status_code, response.json()["code"]) == (404, "NO_SUCH_PATH")

"""What was recorded is read back as it was hashed, one by one, filtered, and page by page."""

from __future__ import annotations

import base64
import hashlib

import orjson
import pytest

from tests.api.support import NOBODYS_ID, Api, capture, item, refund


def record(api: Api, *bodies: dict[str, object]) -> list[str]:
    items = [item(f"k{at}") | body for at, body in enumerate(bodies)]
    answer = api.post("/batch", {"mode": "atomic", "items": items})
    assert answer.status_code == 200, answer.text
    return [each["result"]["id"] for each in answer.json()["items"]]


def test_entry_is_read_by_seq_and_by_id(api: Api) -> None:
    """Two names of one thing."""
    posted = api.post("/effects", capture(), key="k1").json()

    by_seq, by_id = api.get("/entries/0").json(), api.get(f"/entries/{posted['id']}").json()

    assert by_seq == by_id
    for name in ("id", "ledger", "seq", "entry_hash", "recorded_at", "world"):
        assert by_seq[name] == posted[name]
    assert by_seq["entry"]["effect"]["key"] == "k1"


def test_bytes_are_those_that_were_hashed(api: Api) -> None:
    """Hash, bytes and the JSON view agree."""
    posted = api.post("/effects", capture(), key="k1").json()

    response = api.get("/entries/0/bytes")

    assert hashlib.sha256(b"\0" + response.content).hexdigest() == posted["entry_hash"]
    assert orjson.loads(response.content) == api.get("/entries/0").json()["entry"]


def test_receipt_is_there_later(api: Api) -> None:
    """The receipt of the answer, or one under a later checkpoint."""
    posted = api.post("/effects", capture(), key="k1").json()

    assert api.get("/entries/0/receipt").json()["entry"] == posted["receipt"]["entry"]
    api.post("/effects", capture(), key="k2")
    receipt = api.get("/entries/0/receipt").json()
    assert (receipt["entry"], receipt["level"]) == (posted["receipt"]["entry"], "log-signed")


@pytest.mark.parametrize("tail", ["", "/bytes", "/receipt", "/payloads"])
@pytest.mark.parametrize(
    "place", ["1", "99999999999999999999999", "-1", "x", NOBODYS_ID, "0.0", "%00"]
)
def test_entry_that_is_not_there_is_not_found(api: Api, place: str, tail: str) -> None:
    """Whatever is asked for."""
    api.post("/effects", capture(), key="k1")

    response = api.get(f"/entries/{place}{tail}")

    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


def test_payloads_are_read_with_their_salts(api: Api) -> None:
    """Whoever has the scope can open the commitments."""
    api.post("/effects", capture(note="words"), key="k1")

    (payload,) = api.get("/entries/0/payloads").json()["payloads"]

    salt, octets = base64.b64decode(payload["salt"]), base64.b64decode(payload["base64"])
    digest = hashlib.sha256(b"effect-ledger/payload/v1\n" + salt + octets).hexdigest()
    assert (octets, payload["commitment"], payload["erased"]) == (b"words", digest, False)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"kind": "refund"}, [3]),
        ({"type": "email.sent"}, [1]),
        ({"key": "k2"}, [2]),
        ({"business_key": "b/1"}, [0]),
        ({"subject": "order/1"}, [0, 1]),
        ({"actor": "agent-7"}, [1]),
        ({"poster": "tester"}, [0, 1, 2, 3]),
        ({"poster": "nobody"}, []),
        ({"currency": "JPY"}, [2]),
        ({"label": "shop:berlin"}, [0, 2]),
        ({"evidence": "psp:ch_1"}, [0]),
        ({"cause": "trace:t1"}, [1]),
        ({"occurred_from": "2026-03-03T00:00:00Z"}, [3]),
        ({"occurred_to": "2026-03-03T00:00:00Z"}, [0, 1, 2]),
        ({"occurred_to": "2026-03-03T01:00:00+01:00"}, [0, 1, 2]),
        ({"recorded_to": "2020-01-01T00:00:00Z"}, []),
        ({"recorded_from": "2020-01-01T00:00:00Z", "subject": "order/1", "currency": "EUR"}, [0]),
        ({"order": "desc"}, [3, 2, 1, 0]),
    ],
    ids=str,
)
def test_filters(api: Api, query: dict[str, str], expected: list[int]) -> None:
    """Every filter that is given must hold."""
    _record_four(api)

    response = api.get("/entries", **query)

    assert response.status_code == 200, response.text
    assert [entry["seq"] for entry in response.json()["entries"]] == expected


def test_filter_by_what_is_corrected(api: Api) -> None:
    """Everything that stands on an entry."""
    first, *_ = _record_four(api)

    found = api.get("/entries", corrects=first).json()["entries"]

    assert [entry["seq"] for entry in found] == [3]


def _record_four(api: Api) -> list[str]:
    email = {
        "type": "email.sent",
        "actor": {"id": "agent-7", "kind": "agent"},
        "subject": "order/1",
    }
    email |= {"causes": [{"kind": "trace", "ref": "t1"}]}
    capture_1 = {"subject": "order/1", "business_key": "b/1", "labels": {"shop": "berlin"}}
    capture_1 |= {"evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_1"}]}
    yen = {
        "money": {"amount": "1500", "currency": "JPY", "flow": "in"},
        "labels": {"shop": "berlin"},
    }
    letter = item("k1") | email
    del letter["money"]
    items = [
        item("k0") | capture_1,
        letter,
        item("k2") | yen,
        {"kind": "refund", "key": "k3", "corrects_key": "k0", **refund("1.00")},
    ]
    answer = api.post("/batch", {"mode": "atomic", "items": items})
    assert answer.status_code == 200, answer.text
    return [each["result"]["id"] for each in answer.json()["items"]]


@pytest.mark.parametrize(
    "query",
    [
        {"colour": "red"},
        {"kinds": "effect"},
        {"kind": "nonsense"},
        {"limit": "0"},
        {"limit": "ten"},
        {"order": "sideways"},
        {"cursor": "nonsense"},
        {"recorded_from": "yesterday"},
        {"corrects": "nonsense"},
        {"label": "nocolon"},
        {"subject": "a\x00b"},
    ],
    ids=str,
)
def test_filter_that_is_unknown_or_wrong_is_refused(api: Api, query: dict[str, str]) -> None:
    """A filter that is ignored answers another question than was asked."""
    response = api.get("/entries", **query)

    assert (response.status_code, response.json()["action"]) == (422, "fix-request"), response.text


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_cover_everything_once(api: Api, order: str) -> None:
    """Seven entries by pages of three, while others are recorded."""
    record(api, *({} for _ in range(7)))
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get("/entries", limit=3, order=order, **cursor).json()
        seen += [entry["seq"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        if len(seen) == 3 and order == "desc":
            api.post("/effects", capture(), key="late")

    assert seen == (list(range(7)) if order == "asc" else list(range(6, -1, -1)))


def test_story_of_an_effect(api: Api) -> None:
    """Original, corrections and what is left, in one read."""
    effect = api.post("/effects", capture("10.00"), key="k1").json()["id"]
    refunded = api.post(f"/effects/{effect}/refunds", refund("4.00"), key="k2").json()["id"]

    response = api.get(f"/effects/{effect}")

    assert response.status_code == 200, response.text
    assert effect in response.text
    assert refunded in response.text
    assert "6.00" in response.text


@pytest.mark.parametrize("effect", [NOBODYS_ID, "x", "0"])
def test_story_of_nothing_is_not_found(api: Api, effect: str) -> None:
    """An effect is named by its id."""
    response = api.get(f"/effects/{effect}")

    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


def test_ledger_says_what_is_fixed_about_it(api: Api) -> None:
    """Identity, key, units, zone and size."""
    body = api.get("").json()

    assert set(body) == {
        *("ledger", "origin", "vkey", "keys", "units", "time_zone", "public_log", "size")
    }
    assert (body["ledger"], body["size"]) == (api.ledger, 0)
    assert body["vkey"].startswith(body["origin"] + "+")

"""A batch answers each item as if it had come alone; an atomic one stands or falls whole."""

from __future__ import annotations

import orjson
import pytest

from tests.api.support import Api, capture, item, refund


def ndjson(*items: object) -> bytes:
    return b"".join(orjson.dumps(each) + b"\n" for each in items)


def test_independent_items_stand_or_fall_alone(api: Api) -> None:
    """One bad item costs only itself."""
    items = [item("k1"), item("k2", type="No Form"), item("k3")]

    response = api.post("/batch", {"mode": "independent", "items": items})

    assert response.status_code == 200
    body = response.json()
    assert (body["recorded"], body["replayed"], body["refused"]) == (2, 0, 1)
    assert [each["status"] for each in body["items"]] == [201, 422, 201]
    assert [each["key"] for each in body["items"]] == ["k1", "k2", "k3"]
    assert body["items"][1]["problem"]["code"] == "MALFORMED_EFFECT"
    assert [each["result"]["seq"] for each in body["items"] if "result" in each] == [0, 1]
    assert "receipt" not in body["items"][0]["result"]


def test_atomic_batch_with_a_bad_item_records_nothing(api: Api) -> None:
    """The answer is the problem of the first bad item, with every item's own."""
    items = [item("k1"), item("k2", type="No Form"), item("k3")]

    response = api.post("/batch", {"mode": "atomic", "items": items})

    assert response.status_code == 422
    problem = response.json()
    assert (problem["code"], problem["details"]["index"]) == ("MALFORMED_EFFECT", 1)
    codes = [each["problem"]["code"] for each in problem["details"]["items"]]
    assert codes == ["ABANDONED", "MALFORMED_EFFECT", "ABANDONED"]
    assert api.get("").json()["size"] == 0


def test_atomic_batch_refused_by_history_records_nothing(api: Api) -> None:
    """Rules of history hold inside a batch too."""
    items = [
        item("k1", **capture("10.00")),
        {"kind": "refund", "key": "k2", "corrects_key": "k1", **refund("7.00")},
        {"kind": "refund", "key": "k3", "corrects_key": "k1", **refund("7.00")},
    ]

    response = api.post("/batch", {"mode": "atomic", "items": items})

    assert response.status_code == 409
    problem = response.json()
    assert (problem["code"], problem["world"], problem["details"]["index"]) == (
        "OVER_REFUND",
        "RML3",
        2,
    )
    assert [each["status"] for each in problem["details"]["items"]] == [409, 409, 409]
    assert api.get("").json()["size"] == 0


def test_atomic_batch_is_recorded_whole(api: Api) -> None:
    """A correction may name an item before it."""
    items = [
        item("k1"),
        {"kind": "refund", "key": "k2", "corrects_key": "k1", **refund("7.00")},
    ]

    response = api.post(
        "/batch", {"mode": "atomic", "items": items}, headers={"Prefer": "return=receipt"}
    )

    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == "return=receipt"
    results = [each["result"] for each in response.json()["items"]]
    assert [result["seq"] for result in results] == [0, 1]
    assert all(result["receipt"]["level"] == "log-signed" for result in results)


@pytest.mark.parametrize("mode", ["atomic", "independent"])
def test_batch_sent_again_is_replayed(api: Api, mode: str) -> None:
    """Each item has its key; the same batch records nothing twice."""
    batch = {"mode": mode, "items": [item("k1"), item("k2")]}
    first = api.post("/batch", batch).json()

    again = api.post("/batch", batch).json()

    assert (again["recorded"], again["replayed"]) == (0, 2)
    assert [each["status"] for each in again["items"]] == [200, 200]
    assert [each["result"]["id"] for each in again["items"]] == [
        each["result"]["id"] for each in first["items"]
    ]


def test_ndjson_batch(api: Api) -> None:
    """One item per line; the mode is in the query; a broken line costs only itself."""
    raw = ndjson(item("k1")) + b"{broken\n\n" + ndjson(item("k3"))

    response = api.send(
        "/batch?mode=independent", raw, headers={"Content-Type": "application/x-ndjson"}
    )

    assert response.status_code == 200
    body = response.json()
    assert [each["status"] for each in body["items"]] == [201, 400, 201]
    assert body["items"][1]["key"] is None
    assert body["items"][1]["problem"]["code"] == "MALFORMED_JSON"


def test_ndjson_without_mode_is_refused(api: Api) -> None:
    """Whether items hang together is never guessed."""
    raw = ndjson(item("k1"))

    response = api.send("/batch", raw, headers={"Content-Type": "application/x-ndjson"})

    assert (response.status_code, response.json()["code"]) == (422, "INVALID_PARAMETER")


@pytest.mark.parametrize(
    "batch",
    [
        {"items": [item("k1")]},
        {"mode": "both", "items": [item("k1")]},
        {"mode": "atomic", "items": []},
        {"mode": "atomic", "items": {}},
        {"mode": "atomic"},
        {"mode": "atomic", "items": [item("k1")], "more": 1},
    ],
)
def test_batch_of_another_shape_is_unprocessable(api: Api, batch: object) -> None:
    """Nothing of it is recorded."""
    response = api.post("/batch", batch)

    assert (response.status_code, response.json()["code"]) == (422, "MALFORMED_EFFECT")
    assert api.get("").json()["size"] == 0


def test_items_that_are_no_objects_fall_alone(api: Api) -> None:
    """Whatever stands in the list, each gets its answer."""
    items = [7, None, "x", [], item("k1"), {"key": 7}]

    body = api.post("/batch", {"mode": "independent", "items": items}).json()

    assert [each["status"] for each in body["items"]] == [422, 422, 422, 422, 201, 422]


def test_item_outside_the_scope_is_forbidden_alone(api: Api) -> None:
    """A batch reaches as far as its credential, item by item."""
    writer = api.with_key("effects:write")
    items = [
        item("k1"),
        {"kind": "refund", "key": "k2", "corrects_key": "k1", **refund("1.00")},
        item("k3", observed=True, evidence=[{"system": "psp", "rel": "result", "ref": "r"}]),
    ]

    body = writer.post("/batch", {"mode": "independent", "items": items}).json()

    assert [each["status"] for each in body["items"]] == [201, 403, 403]


def test_key_twice_in_one_batch_is_one_entry(api: Api) -> None:
    """The second is a replay of the first, or a conflict with it."""
    items = [item("k1"), item("k1"), item("k1", subject="other")]

    body = api.post("/batch", {"mode": "independent", "items": items}).json()

    assert [each["status"] for each in body["items"]] == [201, 200, 422]
    assert body["items"][2]["problem"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_payloads_in_a_batch_come_back_with_salts(api: Api) -> None:
    """As in a single write."""
    body = api.post("/batch", {"mode": "independent", "items": [item("k1", note="words")]}).json()

    assert [kept["name"] for kept in body["items"][0]["result"]["payloads"]] == ["note"]


def test_a_json_batch_says_its_mode_in_the_query_or_the_body(api: Api) -> None:
    """Either place, or both alike; where they differ nothing is guessed and nothing written."""
    items = [item("k1")]

    assert api.post("/batch?mode=atomic", {"items": items}).json()["mode"] == "atomic"
    both = api.post("/batch?mode=independent", {"mode": "independent", "items": items})
    assert both.json()["mode"] == "independent"
    differing = api.post("/batch?mode=atomic", {"mode": "independent", "items": [item("k2")]})
    assert (differing.status_code, differing.json()["code"]) == (422, "INVALID_PARAMETER")
    assert api.post("/batch", {"items": items}).status_code == 422
    assert api.get("").json()["size"] == 1


def test_a_key_in_quotes_is_the_same_key_in_a_batch_with_its_quotes(api: Api) -> None:
    """Who wrote it so keeps it so, wherever it is sent: nothing is recorded twice."""
    quoted = '"k1"'
    first = api.post("/effects", capture(), key=quoted)
    assert first.status_code == 201

    assert api.post("/effects", capture(), key=quoted).headers["idempotent-replayed"] == "true"
    batch = api.post("/batch", {"mode": "atomic", "items": [item(quoted)]}).json()
    assert batch["items"][0]["result"]["id"] == first.json()["id"]
    assert api.get("").json()["size"] == 1

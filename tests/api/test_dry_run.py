"""A dry run answers what would happen, and leaves no trace of having asked."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.api.support import Api, capture, item, refund


def test_dry_run_is_provisional(api: Api) -> None:
    """RML-1: no place, no number, no receipt."""
    response = api.post("/effects?dry_run=true", capture(), key="k1")

    assert response.status_code == 200
    body = response.json()
    assert (body["provisional"], body["world"]) == (True, "RML1")
    assert not {"id", "seq", "entry_hash", "receipt"} & body.keys()
    assert body["effect"]["key"] == "k1"


def test_dry_run_resolves_its_target(api: Api) -> None:
    """The entry a correction would reach is told."""
    effect = api.post("/effects", capture(), key="k1").json()["id"]

    for path, body in (
        (f"/effects/{effect}/refunds", refund("1.00")),
        ("/corrections", {"kind": "refund", "corrects_key": "k1", **refund("1.00")}),
    ):
        assert api.post(f"{path}?dry_run=true", body, key="k2").json()["corrects"] == effect


def test_dry_run_of_a_known_key_tells_the_replay(api: Api) -> None:
    """The entry the key stands for."""
    effect = api.post("/effects", capture(), key="k1").json()["id"]

    assert api.post("/effects?dry_run=true", capture(), key="k1").json()["replays"] == effect


def test_dry_run_is_refused_as_the_write_would_be(api: Api) -> None:
    """Full validation, history included."""
    effect = api.post("/effects", capture("10.00", business_key="b"), key="k1").json()["id"]

    for path, body, key, code in (
        ("/effects", capture(colour="red"), "k2", "MALFORMED_EFFECT"),
        ("/effects", capture(business_key="b"), "k2", "POSSIBLE_REPEAT"),
        ("/effects", capture("11.00"), "k1", "IDEMPOTENCY_CONFLICT"),
        (f"/effects/{effect}/refunds", refund("10.01"), "k2", "OVER_REFUND"),
        (f"/effects/{uuid4()}/refunds", refund("1.00"), "k2", "NOT_FOUND"),
    ):
        response = api.post(f"{path}?dry_run=true", body, key=key)
        assert response.json()["code"] == code


@pytest.mark.parametrize("mode", ["atomic", "independent"])
def test_dry_run_of_a_batch(api: Api, mode: str) -> None:
    """Each item's answer is provisional."""
    items = [item("k1"), {"kind": "refund", "key": "k2", "corrects_key": "k1", **refund("1.00")}]

    body = api.post("/batch?dry_run=true", {"mode": mode, "items": items}).json()

    assert (body["provisional"], body["world"], body["refused"]) == (True, "RML1", 0)
    assert [each["status"] for each in body["items"]] == [200, 200]
    assert all(each["result"]["provisional"] for each in body["items"])


def test_dry_run_leaves_no_trace(api: Api, table_counts) -> None:
    """Every table has the rows it had; the key is free and the next number is the first."""
    before = table_counts()
    submissions = submissions_counted(api)

    for _ in range(3):
        api.post("/effects?dry_run=true", capture(note="words", business_key="b"), key="k1")
        api.post("/batch?dry_run=true", {"mode": "atomic", "items": [item("k2"), item("k3")]})
        api.post("/effects?dry_run=true", capture(colour="red"), key="k1")

    assert table_counts() == before
    assert submissions_counted(api) == submissions
    response = api.post("/effects", capture(subject="another"), key="k1")
    assert (response.status_code, response.json()["seq"]) == (201, 0)


def submissions_counted(api: Api) -> list[str]:
    page = api.http.get("/metrics", headers=api.headers(None)).text
    return [
        line for line in page.splitlines() if line.startswith("effect_ledger_submissions_total")
    ]

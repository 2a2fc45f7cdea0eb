"""Bundles over HTTP: asked for, watched, fetched in parts; and every one of them told of."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from dataclasses import replace
from typing import Any

import orjson
import pytest

from api.audit_schemas import ExportOut
from ledger.errors import SettingsError
from tests.api.support import Api, capture

WITHIN_S = 30.0


@pytest.fixture
def closed(api: Api) -> Api:
    """A ledger with a closed March in it."""
    body = capture(occurred_at="2026-03-02T09:15:00Z", subject="order/7", note="for their eyes")
    assert api.post("/effects", body, key="a").status_code == 201
    for at in range(4):
        api.post("/effects", capture("1.00", type="card.fee"), key=f"b{at}")
    assert api.post("/periods/2026-03/close", {"reviewer": "ben.audit"}).status_code == 201
    return api


def made(api: Api, **words: Any) -> dict[str, Any]:
    """An export that is done."""
    started = api.post("/exports", {"period": "2026-03"} | words)
    assert started.status_code == 202, started.text
    began = time.monotonic()
    job = started.json()
    assert started.headers["Location"].endswith(f"/exports/{job['id']}")
    while job["state"] == "running":
        assert time.monotonic() - began < WITHIN_S
        time.sleep(0.02)
        job = api.get(f"/exports/{job['id']}").json()
    ExportOut.model_validate(job)
    assert job["state"] == "done", job
    return job


def registry(api: Api, type_: str, export: str) -> list[dict[str, Any]]:
    entries = api.on("_registry").get("/entries", type=type_, limit=1000).json()["entries"]
    data = [entry["entry"]["effect"]["data"] for entry in entries]
    return [each for each in data if each["export_id"] == export]


def test_a_bundle_is_asked_for_watched_and_fetched(closed):
    job = made(closed)
    fetched = closed.get(f"/exports/{job['id']}/bundle")

    assert (fetched.status_code, fetched.headers["content-type"]) == (200, "application/zip")
    assert job["bundle"]["bundle_hash"] == hashlib.sha256(fetched.content).hexdigest()
    assert fetched.headers["etag"] == f'"{job["bundle"]["bundle_hash"]}"'
    assert job["progress"] == {"done": 5, "entries": 5}
    with zipfile.ZipFile(io.BytesIO(fetched.content)) as packed:
        name = job["bundle"]["name"]
        manifest = orjson.loads(packed.read(f"{name}/manifest.json"))
        assert (
            hashlib.sha256(packed.read(f"{name}/manifest.json")).hexdigest()
            == (job["bundle"]["manifest_hash"])
        )
    assert manifest["ledger"] == closed.ledger


def test_a_download_goes_on_where_it_broke_off(closed):
    job = made(closed)
    path = f"/exports/{job['id']}/bundle"
    whole = closed.get(path)
    etag = whole.headers["etag"]
    first = closed.get(path, {"Range": "bytes=0-99"})
    rest = closed.get(path, {"Range": "bytes=100-", "If-Range": etag})
    other = closed.get(path, {"Range": "bytes=100-", "If-Range": '"another"'})
    beyond = closed.get(path, {"Range": "bytes=99999999-"})

    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.content + rest.content == whole.content
    assert (other.status_code, other.content) == (200, whole.content)
    assert beyond.status_code == 416


def test_every_export_and_download_is_told_in_the_registry(closed):
    """Who, what, digest; a download that comes in parts is one."""
    job = made(closed)
    for _ in range(3):
        closed.get(f"/exports/{job['id']}/bundle", {"Range": "bytes=0-9"})

    [issued] = registry(closed, "export.issued", job["id"])
    [downloaded] = registry(closed, "export.downloaded", job["id"])
    assert issued["principal"] == downloaded["principal"] == "tester"
    assert (issued["ledger"], issued["period"]) == (closed.ledger, "2026-03")
    assert issued["manifest_hash"] == job["bundle"]["manifest_hash"]
    assert downloaded["bundle_hash"] == job["bundle"]["bundle_hash"]
    [custody] = job["bundle"]["custody"]
    told = closed.on("_registry").get(f"/entries/{custody['registry_seq']}").json()
    assert told["entry"]["effect"]["type"] == "export.issued"


def test_payloads_come_with_the_right_to_read_them(closed):
    auditor = closed.with_key("export", principal="ben.audit")
    denied, shown = made(auditor), made(closed)
    withheld = made(closed, payloads=False)

    assert (denied["payloads"], denied["bundle"]["omissions"]) == ("denied", {"denied": 1})
    assert (shown["payloads"], shown["bundle"]["omissions"]) == ("shown", {})
    assert (withheld["payloads"], withheld["bundle"]["omissions"]) == ("withheld", {"withheld": 1})
    assert auditor.get(f"/exports/{shown['id']}/bundle").status_code == 403
    assert auditor.get(f"/exports/{shown['id']}").status_code == 403
    assert auditor.get(f"/exports/{withheld['id']}/bundle").status_code == 200


def test_a_selection_does_not_claim_to_be_complete(closed):
    job = made(closed, filter={"type": "card.fee"})
    sample = made(closed, filter={"seqs": [4, 0, 4]})

    assert (job["bundle"]["complete"], job["bundle"]["entries"]) == (False, 4)
    assert (sample["filter"], sample["bundle"]["entries"]) == ({"seqs": [0, 4]}, 2)


REFUSED = {
    "period-unknown": ({"period": "2026-04"}, 404, "NOT_FOUND"),
    "period-missing": ({}, 422, "MALFORMED_EFFECT"),
    "filter-unknown": ({"period": "2026-03", "filter": {"kind": "x"}}, 422, "MALFORMED_EFFECT"),
    "sample-empty": ({"period": "2026-03", "filter": {"seqs": []}}, 422, "MALFORMED_EFFECT"),
    "sample-too-large": (
        {"period": "2026-03", "filter": {"seqs": list(range(10_001))}},
        413,
        "TOO_LARGE",
    ),
    "member-unknown": ({"period": "2026-03", "format": "pdf"}, 422, "MALFORMED_EFFECT"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused(closed, case):
    body, status, code = REFUSED[case]
    answer = closed.post("/exports", body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_exports_need_their_scope_and_are_of_their_ledger(closed, engine):
    job = made(closed)
    other = closed.on(engine.registry.create_ledger(f"{closed.ledger}-other").name)

    assert closed.with_key("entries:read").post("/exports", {"period": "x"}).status_code == 403
    assert other.get(f"/exports/{job['id']}").status_code == 404
    assert closed.get("/exports/nonsense").status_code == 404
    assert closed.get("/exports/nonsense/bundle").status_code == 404
    assert closed.get("/exports/%00").status_code == 404
    assert closed.get("/exports/%00/bundle").status_code == 404


def test_a_bundle_that_is_kept_no_longer_is_made_again(closed, engine):
    job = made(closed)
    engine.exports.packed(closed.ledger, job["id"]).unlink()
    gone = closed.get(f"/exports/{job['id']}/bundle")
    again = made(closed)

    assert gone.status_code == 404
    assert "same bytes" in gone.json()["detail"]
    assert closed.get(f"/exports/{job['id']}").json()["bundle"]["available"] is False
    assert again["bundle"]["bundle_hash"] == job["bundle"]["bundle_hash"]


def test_where_the_registry_takes_nothing_it_is_told_beside_it(closed, engine, database):
    """A broken registry keeps nobody from reading; what was taken is told all the same."""
    database.execute(
        "insert into stops (ledger, code, message, details)"
        " values ('_registry', 'broken', 'for a test', '{}')"
    )
    engine.stops.refresh()
    try:
        job = made(closed)
        assert closed.get(f"/exports/{job['id']}/bundle").status_code == 200
    finally:
        database.execute(
            "update stops set lifted_at = now(), lifted_because = 'test' where lifted_at is null"
        )
        engine.stops.refresh()

    rows = database.execute(
        "select act, principal, data from accesses where ledger = %s order by accessed_at",
        (closed.ledger,),
    ).fetchall()
    assert [(act, who) for act, who, _ in rows] == [
        ("export.issued", "tester"),
        ("export.downloaded", "tester"),
    ]
    assert rows[1][2]["bundle_hash"] == job["bundle"]["bundle_hash"]
    assert registry(closed, "export.issued", job["id"]) == []


# ---- Keys that are limited to periods ----


@pytest.fixture
def auditor(closed, engine) -> Api:
    """Whoever may take March away, and nothing else."""
    closed.post("/periods/2026-04/close", {})
    scopes = ["export", "proofs:read", "verify"]
    key = engine.credentials.create("ben.audit", scopes, [closed.ledger], periods=["2026-03"]).key
    return replace(closed, token=str(key))


def test_an_auditors_key_takes_its_period_away(auditor):
    job = made(auditor)

    assert auditor.get(f"/exports/{job['id']}/bundle").status_code == 200
    assert [each["name"] for each in auditor.get("/periods").json()["periods"]] == ["2026-03"]
    assert auditor.get("/periods/2026-03").status_code == 200
    assert auditor.get("/checkpoint").status_code == 200
    assert auditor.post("/verifications", {}).status_code == 202


def test_an_auditors_key_reaches_nothing_beside_its_period(auditor, closed):
    april = closed.get("/periods/2026-04").json()["id"]
    theirs = made(closed, period="2026-04", payloads=False)
    refused = {
        "another-period": auditor.post("/exports", {"period": "2026-04"}),
        "another-close": auditor.post("/exports", {"period": april}),
        "no-such-period": auditor.post("/exports", {"period": "2026-05"}),
        "another-bundle": auditor.get(f"/exports/{theirs['id']}/bundle"),
        "another-job": auditor.get(f"/exports/{theirs['id']}"),
        "another-listed": auditor.get("/periods/2026-04"),
        "an-entry": auditor.get("/entries/0"),
        "entries": auditor.get("/entries"),
        "the-log": auditor.get("/log/tile/entries/000.p/1"),
        "the-ledger": auditor.get(""),
        "a-write": auditor.post("/effects", capture(), key="x"),
        "a-close": auditor.post("/periods/2026-02/close", {}),
        "the-registry": auditor.on("_registry").get("/checkpoint"),
        "the-metrics": auditor.http.get(
            "/metrics", headers={"Authorization": f"Bearer {auditor.token}"}
        ),
    }

    assert {name: answer.status_code for name, answer in refused.items()} == dict.fromkeys(
        refused, 403
    )


def test_a_key_that_is_limited_to_periods_is_an_auditors(engine):
    for scopes, periods in ((["*"], ["2026-03"]), (["entries:read"], ["x"]), (["export"], [])):
        with pytest.raises(SettingsError, match="limited to periods"):
            engine.credentials.create("ben.audit", scopes, periods=periods)


RANGES = {
    "turned around": ("bytes=5-2", 400, "MALFORMED_REQUEST"),
    "no range": ("abc", 400, "MALFORMED_REQUEST"),
    "beyond": ("bytes=99999999-", 416, "RANGE_NOT_SATISFIABLE"),
}


def test_a_range_that_cannot_be_had_is_told_as_a_problem(closed):
    """A unit that nobody knows is passed over, as RFC 9110 has it; HEAD tells and takes nothing."""
    path = f"/exports/{made(closed)['id']}/bundle"
    size = len(closed.get(path).content)

    for sent, status, code in RANGES.values():
        refused = closed.get(path, {"Range": sent})
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert refused.headers["content-range"] == f"bytes */{size}"
    assert len(closed.get(path, {"Range": "items=0-5"}).content) == size

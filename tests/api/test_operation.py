"""Operators see whether it runs, what it counts, and what it serves."""

from __future__ import annotations

import logging
import time

import orjson

from api.logs import JsonLines
from ledger.errors import DatabaseUnavailableError
from tests.api.support import Api, capture


def test_health_and_readiness(api: Api) -> None:
    """The process runs; the database answers."""
    health, ready = (api.http.get(path) for path in ("/healthz", "/readyz"))

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (
        200,
        {
            "status": "ok",
            "quorum_age_s": None,
            "timestamp_age_s": None,
            "ledgers_stopped": 0,
            "verification_age_s": ready.json()["verification_age_s"],
            "ledgers_bad": 0,
        },
    )


def test_not_ready_while_the_database_is_away(api: Api, engine, monkeypatch) -> None:
    """Alive and not ready are two things."""

    def away(*_: object) -> None:
        raise DatabaseUnavailableError("the database does not answer")

    monkeypatch.setattr(engine.reader, "size", away)

    assert api.http.get("/healthz").status_code == 200
    response = api.http.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "DATABASE_UNAVAILABLE")


def test_metrics_count_what_happens(api: Api) -> None:
    """Requests by route, outcomes, batches, sizes; no key, subject or principal."""
    api.post("/effects", capture(subject="order/hush"), key="hush-key")
    api.post("/effects", capture(subject="order/hush"), key="hush-key")
    response = api.http.get("/metrics", headers=api.headers(None))

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    page = response.text
    route = 'route="/v1/ledgers/{ledger}/effects"'
    assert f'effect_ledger_http_requests_total{{method="POST",{route},status="201"}}' in page
    assert f'effect_ledger_http_requests_total{{method="POST",{route},status="200"}}' in page
    assert 'effect_ledger_submissions_total{outcome="recorded"}' in page
    assert 'effect_ledger_submissions_total{outcome="replayed"}' in page
    assert "effect_ledger_batch_seconds_bucket" in page
    assert "effect_ledger_batch_items_bucket" in page
    assert "effect_ledger_waiting_submissions{" in page
    assert f'effect_ledger_size{{ledger="{api.ledger}"}} 1.0' in page
    assert f'effect_ledger_signer_lag_entries{{ledger="{api.ledger}"}} 0.0' in page
    assert "hush" not in page
    assert "tester" not in page


def test_metrics_and_readiness_tell_what_verification_found(api: Api) -> None:
    """How long ago, of how many entries, and whether it was good."""
    api.post("/effects", capture(), key="verified")
    job = api.post("/verifications", {"mode": "full"}).json()
    while job["state"] == "running":
        job = api.get(f"/verifications/{job['id']}").json()

    page = api.http.get("/metrics", headers=api.headers(None)).text
    ready = api.http.get("/readyz").json()
    assert f'effect_ledger_verified_size{{ledger="{api.ledger}"}} 1.0' in page
    assert f'effect_ledger_verification_bad{{ledger="{api.ledger}"}} 0.0' in page
    assert f'age_seconds{{ledger="{api.ledger}",mode="full"}}' in page
    assert ready["verification_age_s"] >= 0


def test_metrics_show_only_ledgers_within_reach(api: Api) -> None:
    """Names of other tenants' ledgers are theirs."""
    other = api.with_key("entries:read", ledgers=["another-ledger"])

    page = api.http.get("/metrics", headers=other.headers(None)).text

    assert api.ledger not in page


def test_access_line_names_no_secret(api: Api, caplog) -> None:
    """Template, status, time, principal and trace id; no path, key or body."""
    with caplog.at_level(logging.INFO, logger="api.access"):
        api.post("/effects", capture(subject="order/hush"), key="hush-key")
        # Written once the answer is out, which may be after it was read.
        ends_at = time.monotonic() + 10.0
        while not any(record.name == "api.access" for record in list(caplog.records)):
            assert time.monotonic() < ends_at
            time.sleep(0.01)

    lines = [JsonLines().format(r) for r in caplog.records if r.name == "api.access"]
    posts = [line for line in map(orjson.loads, lines) if line["method"] == "POST"]
    assert len(posts) == 1
    assert posts[0].keys() >= {"time", "method", "route", "status", "ms", "principal", "trace_id"}
    assert (posts[0]["route"], posts[0]["status"]) == ("/v1/ledgers/{ledger}/effects", 201)
    assert posts[0]["principal"] == "tester"
    assert all("hush" not in line and api.ledger not in line for line in lines)
    assert all(api.token is None or api.token not in line for line in lines)


def test_a_verification_under_no_id_is_not_there(api: Api) -> None:
    """Whatever octets it is asked for by."""
    for id_ in ("%00", "nope", "00000000-0000-0000-0000-000000000000"):
        assert api.get(f"/verifications/{id_}").status_code == 404

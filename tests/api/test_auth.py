"""Who calls is asked first, then how far the call may reach, then whether the ledger is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from api.auth import Authenticator
from ledger.errors import LedgerError, UnauthenticatedError
from tests.api.support import NOBODYS_ID, Api, capture, item, refund

READS = [
    ("", None),
    ("/entries", "entries:read"),
    ("/entries/0", "entries:read"),
    ("/entries/0/bytes", "entries:read"),
    ("/entries/0/receipt", "entries:read"),
    ("/entries/0/payloads", "payload:read"),
    ("/feed", "entries:read"),
    ("/checkpoint", "proofs:read"),
    ("/proofs/inclusion?seq=0&size=1", "proofs:read"),
    ("/proofs/consistency?from=1&to=1", "proofs:read"),
    ("/log/checkpoint", "proofs:read"),
    ("/log/tile/0/000.p/1", "proofs:read"),
    ("/log/tile/entries/000.p/1", "proofs:read"),
]
WRITES = [
    ("/effects", "effects:write"),
    (f"/effects/{NOBODYS_ID}/refunds", "refunds:write"),
    (f"/entries/{NOBODYS_ID}/adjustments", "adjustments:write"),
    (f"/entries/{NOBODYS_ID}/explanations", "explanations:write"),
    ("/corrections", "refunds:write"),
    ("/batch", "effects:write"),
    ("/verifications", "verify"),
]
CALLS: list[tuple[Callable[[Api], object], str]] = [
    *((lambda api, path=path: api.get(path), f"GET {path}") for path, _ in READS),
    *((lambda api, path=path: api.post(path, {}), f"POST {path}") for path, _ in WRITES),
]


@pytest.mark.parametrize("call", [call for call, _ in CALLS], ids=[name for _, name in CALLS])
@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer nonsense", "Basic YTpi", "nonsense"]
)
def test_without_a_good_credential_nothing_answers(
    api: Api, call: Callable[[Api], object], authorization: str | None
) -> None:
    """401 comes before every other question, for ledgers that are there and those that are not."""
    for ledger in (api.ledger, "no-such-ledger"):
        stranger = Stranger(api.on(ledger), authorization)
        response = call(stranger)  # type: ignore[arg-type]
        assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


class Stranger:
    """Calls with an `Authorization` of its own, or none."""

    def __init__(self, api: Api, authorization: str | None) -> None:
        self._api = api.without_key()
        self._headers = {} if authorization is None else {"Authorization": authorization}

    def get(self, path: str):
        return self._api.get(path, headers=self._headers)

    def post(self, path: str, body: object):
        return self._api.post(path, body, headers=self._headers)


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/nowhere", "/v1/ledgers"])
def test_nothing_but_health_answers_strangers(api: Api, path: str) -> None:
    """Not even whether a path exists."""
    assert api.http.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_answers_strangers(api: Api, path: str) -> None:
    """Probes have no keys."""
    assert api.http.get(path).status_code == 200


@pytest.mark.parametrize("call", [call for call, _ in CALLS], ids=[name for _, name in CALLS])
def test_credential_of_other_ledgers_is_forbidden(api: Api, call: Callable[[Api], object]) -> None:
    """The same answer whether the ledger is there or not: reach comes before existence."""
    other = api.with_key("*", ledgers=["another-ledger"])
    for ledger in (api.ledger, "no-such-ledger"):
        response = call(other.on(ledger))
        assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")  # type: ignore[attr-defined]


@pytest.mark.parametrize("call", [call for call, _ in CALLS], ids=[name for _, name in CALLS])
def test_unknown_ledger_is_not_found(api: Api, call: Callable[[Api], object]) -> None:
    """Existence comes before the body: an empty one is not looked at."""
    response = call(api.on("no-such-ledger"))

    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("path", "scope"), [read for read in READS if read[1]])
def test_read_needs_its_scope(api: Api, path: str, scope: str) -> None:
    """Each path has its one scope: it opens, and every other does not."""
    api.post("/effects", capture(note="words"), key="k1")
    others = {"entries:read", "payload:read", "proofs:read", "verify", "effects:write"} - {scope}

    assert api.with_key(scope).get(path).status_code == 200
    refused = api.with_key(*others).get(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert refused.json()["action"] == "stop"


@pytest.mark.parametrize(("path", "scope"), WRITES)
def test_write_needs_its_scope_before_its_body(api: Api, path: str, scope: str) -> None:
    """403 comes before 400: an empty body is not looked at."""
    assert api.with_key("entries:read", "observe").post(path, {}).status_code == 403
    assert api.with_key(scope).post(path, {}).status_code in {202, 400, 404, 422}


def test_observed_fact_needs_observe_too(api: Api) -> None:
    """Facts from elsewhere bypass the remainder, so they have a scope of their own."""
    fact = capture(observed=True, evidence=[{"system": "psp", "rel": "result", "ref": "r1"}])

    refused = api.with_key("effects:write").post("/effects", fact, key="k1")

    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    allowed = api.with_key("effects:write", "observe").post("/effects", fact, key="k1")
    assert allowed.status_code == 201


def test_correction_needs_the_scope_of_its_kind(api: Api) -> None:
    """One path for three kinds gives no more reach than three paths."""
    api.post("/effects", capture(), key="k1")
    body = {"kind": "refund", "corrects_key": "k1", **refund("1.00")}

    assert api.with_key("adjustments:write").post("/corrections", body, key="k2").status_code == 403
    assert api.with_key("refunds:write").post("/corrections", body, key="k2").status_code == 201


def test_checks_come_in_their_published_order(api: Api) -> None:
    """Parameters, headers, size, syntax, members: each is told before the next is looked at."""
    big = b" " * (17 * 1024 * 1024)
    send = api.send

    assert send("/effects?colour=red", big).json()["code"] == "INVALID_PARAMETER"
    assert send("/effects", big).json()["code"] == "IDEMPOTENCY_KEY_MISSING"
    typed = {"Content-Type": "text/plain"}
    assert send("/effects", big, key="k", headers=typed).json()["code"] == "MALFORMED_REQUEST"
    assert send("/effects", big, key="k").json()["code"] == "TOO_LARGE"
    assert send("/effects", b'{"colour":', key="k").json()["code"] == "MALFORMED_JSON"
    assert send("/effects", b'{"colour":1}', key="k").json()["code"] == "MALFORMED_EFFECT"


def test_revoked_key_stops_within_the_published_delay(api: Api, engine, monkeypatch) -> None:
    """Good answers are remembered for five seconds, and no longer."""
    from api import auth

    assert auth.REMEMBERED_S <= 5
    mine = api.with_key("*", principal="leaver")
    assert mine.get("").status_code == 200

    engine.credentials.revoke(engine.credentials.authenticate(mine.token).id)
    monkeypatch.setattr(auth, "REMEMBERED_S", 0.0)
    fresh = api.with_key("*", principal="leaver-2")
    assert fresh.get("").status_code == 200
    engine.credentials.revoke(engine.credentials.authenticate(fresh.token).id)

    assert fresh.get("").status_code == 401


def test_batch_gate_takes_any_write_scope(api: Api) -> None:
    """Whoever may write something may send a batch of it."""
    batch = {"mode": "independent", "items": [item("k1")]}

    assert api.with_key("explanations:write").post("/batch", batch).status_code == 200
    assert api.with_key("entries:read").post("/batch", batch).status_code == 403


@pytest.mark.parametrize("path", [path for path, _ in WRITES if path != "/verifications"])
def test_the_registry_is_written_by_the_service_alone(api: Api, path: str) -> None:
    """Whatever a credential is good for: what callers say there would be taken for its word."""
    answer = api.on("_registry").post(path, capture(), key="k1")

    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


class Store:
    """Says what it is told to say, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: LedgerError | None = None

    def authenticate(self, token: str) -> Any:
        self.asked += 1
        time.sleep(0.01)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(principal=token, labels="full")


def test_a_credential_is_looked_up_once_however_many_wait_for_it():
    """Bad answers too, and those are asked for again; one that hangs up changes nothing."""
    store = Store()
    authenticator = Authenticator(store)

    async def ask(token: str) -> list[Any]:
        headers = {"authorization": f"Bearer {token}"}
        calls = [
            asyncio.ensure_future(
                authenticator.authenticate(
                    SimpleNamespace(headers=headers, state=SimpleNamespace())
                )
            )
            for _ in range(20)
        ]
        await asyncio.sleep(0)
        calls[0].cancel()
        return (await asyncio.gather(*calls, return_exceptions=True))[1:]

    assert {each.principal for each in asyncio.run(ask("good"))} == {"good"}
    assert store.asked == 1
    store.error = UnauthenticatedError("unknown")
    for asked in (2, 3):
        assert asyncio.run(ask("bad")) == [store.error] * 19
        assert store.asked == asked
    assert {each.principal for each in asyncio.run(ask("good"))} == {"good"}
    assert store.asked == 3

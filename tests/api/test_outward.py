"""A service that uses the client tells its own callers what the ledger told it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from api.problems import PROBLEMS, problem_document
from ledger.client import (
    AlreadyConcluded,
    BudgetSpent,
    Client,
    ClientError,
    NotSent,
    OutcomeUnknown,
    ReceiptInvalid,
    ReceiptNotKept,
    ReceiptUnsigned,
    Recorded,
    Refused,
    Unreachable,
)
from ledger.client.outward import ProblemMiddleware, outward, problem_of
from ledger.errors import InclusionError
from ledger.worlds.rml import from_graphql, from_grpc, grpc_status, to_graphql, to_grpc
from tests.api.support import Api, capture

INTENT = {"id": "i-1", "world": "RML3", "state": "handed_off"}
RECORDED = Recorded(
    id="e-1",
    ledger="shop",
    seq=1,
    entry_hash="ab" * 32,
    recorded_at="2026-03-02T09:15:01.000000Z",
    replayed=False,
    receipt=None,
    body={},
)
BUSY = Refused({"code": "LEDGER_BUSY", "status": 503, "world": "RML2", "retry_after_ms": 700})
SECRET = "ledger.internal"
ERRORS: dict[str, ClientError] = {
    "not-sent": NotSent("no key", reason="request.key"),
    "unreachable": Unreachable(f"http://{SECRET}:8420", "refused"),
    "concluded": AlreadyConcluded(INTENT),
    "budget": BudgetSpent("tries", BUSY, tries=6, retry_after_s=2.5),
    "unknown": OutcomeUnknown(f"POST {SECRET}", key="k-1", why="a timeout"),
    "invalid": ReceiptInvalid(InclusionError("not in the tree"), receipt={}),
    "unsigned": ReceiptUnsigned(RECORDED),
    "not-kept": ReceiptNotKept(RECORDED, OSError("disk full")),
    "other": ClientError("what else", world=None, action=None, reason=None),
}
TOLD = {
    "not-sent": (500, "NOT_SENT", "RML1", "fix-request", "INTERNAL"),
    "unreachable": (503, "LEDGER_UNREACHABLE", "RML1", "retry-with-backoff", "UNAVAILABLE"),
    "concluded": (409, "ALREADY_CONCLUDED", "RML3", "stop", "ALREADY_EXISTS"),
    "budget": (503, "LEDGER_BUSY", "RML2", "retry-with-backoff", "UNAVAILABLE"),
    "unknown": (500, "EFFECT_OUTCOME_UNKNOWN", "RML2", "reconcile-first", "UNKNOWN"),
    "invalid": (502, "RECEIPT_INVALID", "RML3", "escalate-history", "DATA_LOSS"),
    "unsigned": (502, "RECEIPT_UNSIGNED", "RML2", "reconcile-first", "INTERNAL"),
    "not-kept": (500, "RECEIPT_NOT_KEPT", "RML3", "wait-for-human", "INTERNAL"),
    "other": (500, "LEDGER_FAILED", None, None, "INTERNAL"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_of_the_client_is_a_problem_outward(name):
    """With world and action as the client has them, and nothing of our own network."""
    answer = outward(ERRORS[name])
    problem = problem_of(ERRORS[name])

    said = (problem["status"], problem["code"], problem["world"], problem["action"])
    assert (*said, grpc_status(problem)) == TOLD[name]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers.get("RML-World") == problem["world"]
    assert answer.headers.get("RML-Action") == problem["action"]
    assert SECRET not in answer.body.decode()
    assert from_graphql(to_graphql(problem)) == problem
    assert from_grpc(to_grpc(problem)[1]) == problem


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_the_ledger_said_is_handed_on_word_for_word(kind):
    """But for our own credential, which is nobody's fault but ours."""
    said = problem_document(kind("words of it", entry="é", limit=7), trace_id="t")

    problem = problem_of(Refused(said))

    if said["status"] in (401, 403):
        assert (problem["status"], problem["action"]) == (502, "wait-for-human")
    else:
        assert problem == said


def test_a_wait_is_told_as_the_ledger_asked_for_it():
    answer = outward(ERRORS["budget"])

    assert answer.headers["Retry-After"] == "3"


@pytest.mark.parametrize("name", ["unreachable", "budget"])
def test_without_a_key_of_its_own_nobody_is_told_to_send_again(name):
    """The caller's request may have done more than ours did."""
    problem = problem_of(ERRORS[name], keyed=False)

    assert (problem["action"], problem["retryable"]) == ("reconcile-first", False)
    assert "Retry-After" not in outward(ERRORS[name], keyed=False).headers


@pytest.mark.parametrize(
    ("labels", "headers"),
    [
        ("full", {"rml-world", "rml-action"}),
        ("action-only", {"rml-action"}),
        ("none", set()),
    ],
)
def test_labels_are_told_as_far_as_the_service_wants(labels, headers):
    answer = outward(ERRORS["concluded"], labels=labels)

    assert {each.lower() for each in answer.headers if each.startswith("RML-")} == headers
    assert (b'"world"' in answer.body) is (labels == "full")


# ---- A service ------------------------------------------------------------------------


def service(api: Api, labels: Any = "full") -> Any:
    app = FastAPI()
    client = Client(str(api.http.base_url), key=api.token, ledger=api.ledger)

    @app.post("/charge/{order}")
    def charge(order: str) -> dict[str, str]:
        said = capture(business_key=f"order/{order}")
        return {"entry": client.effect(key=f"{order}/{len(seen)}", **said).id}

    @app.get("/fails")
    def fails() -> None:
        raise ERRORS["unknown"]

    @app.get("/breaks")
    def breaks() -> None:
        raise ZeroDivisionError

    seen: list[str] = []
    app.add_middleware(ProblemMiddleware, labels=labels)
    app.state.seen = seen
    return app


async def ask(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        return await http.request(method, path, **more)


def asked(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    return asyncio.run(ask(app, method, path, **more))


def test_a_caller_of_a_service_learns_what_the_service_learned(api):
    """A possible repeat, refused by a real ledger, through FastAPI."""
    app = service(api)
    first = asked(app, "POST", "/charge/7")
    app.state.seen.append("once")
    again = asked(app, "POST", "/charge/7")

    assert first.status_code == 200
    assert (again.status_code, again.headers["RML-World"]) == (409, "RML2")
    assert again.headers["Content-Type"] == "application/problem+json"
    assert again.headers["RML-Action"] == again.json()["action"] == "wait-for-human"
    assert again.json()["code"] == "POSSIBLE_REPEAT"


def test_labels_may_depend_on_who_asks(api):
    def labels(scope: Any) -> str:
        return "full" if (b"x-partner", b"1") in scope["headers"] else "none"

    app = service(api, labels)
    partner = asked(app, "GET", "/fails", headers={"X-Partner": "1"})
    anyone = asked(app, "GET", "/fails")

    assert partner.headers["RML-World"] == "RML2"
    assert "RML-World" not in anyone.headers
    assert anyone.json().keys().isdisjoint({"world", "action", "reason", "severity"})


@pytest.mark.parametrize(
    ("headers", "action"),
    [({}, "reconcile-first"), ({"Idempotency-Key": "mine"}, "retry-with-backoff")],
)
def test_a_hint_to_send_again_needs_the_callers_own_key(headers, action):
    async def unreachable(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ERRORS["unreachable"]

    answer = asked(ProblemMiddleware(unreachable), "POST", "/charge/7", headers=headers)

    assert answer.headers["RML-Action"] == action


def test_every_other_error_passes(api):
    with pytest.raises(ZeroDivisionError):
        asked(service(api), "GET", "/breaks")


def test_an_answer_that_has_begun_is_not_answered_again():
    async def page() -> Any:
        yield b"half of it"
        raise ERRORS["unknown"]

    def stream(_request: Any) -> StreamingResponse:
        return StreamingResponse(page())

    app = ProblemMiddleware(Starlette(routes=[Route("/", stream)]))

    with pytest.raises(BaseException) as ended:
        asked(app, "GET", "/")
    assert "EFFECT_OUTCOME_UNKNOWN" not in str(ended.value)


def test_what_is_no_request_passes():
    passed = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["type"])

    asyncio.run(ProblemMiddleware(app)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]

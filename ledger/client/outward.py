"""
Outward: our errors as a service tells them to its own callers.

A service that records its effects here hands on in which world a request got stuck and what to do
about it, as the ledger's own API does: problem+json (RFC 9457), with the hints once more in
headers. `ProblemMiddleware` does it for Starlette, FastAPI and whatever else speaks ASGI;
`outward` is for everything else, and `ledger.worlds.rml` takes its document to GraphQL and gRPC.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from ledger.client.errors import (
    BudgetSpent,
    ClientError,
    NotSent,
    OutcomeUnknown,
    ReceiptInvalid,
    ReceiptNotKept,
    ReceiptUnsigned,
    Refused,
    Unreachable,
)
from ledger.worlds.rml import FULL, PROBLEM_MEDIA_TYPE, exposed, hint_headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Labels = str | Callable[[Scope], str]
"""How much callers are told: `full`, `action-only` or `none`; or by the request."""

UNREACHABLE_AFTER_MS = 1_000

# The credential is this service's own: its caller can neither log in nor fix it.
_OURS = frozenset({401, 403})
_BAD_GATEWAY = 502
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# Of errors that are not the service's word: what names the work, and nothing of our network.
_TOLD = ("key", "intent", "id", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def outward(error: ClientError, *, labels: str = FULL, keyed: bool = True) -> Answer:
    """
    The answer to whoever asked for what raised `error`.

    Args:
        error: As the client raised it.
        labels: How much of the labels is told: `full`, `action-only` or `none`.
        keyed: Whether the caller may send its request again: it has an idempotency key of its
            own, or changes nothing. Without, no hint to send again is passed on.
    """
    problem = problem_of(error, keyed=keyed)
    told = exposed(problem, labels)
    return Answer(
        status=problem["status"],
        headers={
            "Content-Type": PROBLEM_MEDIA_TYPE,
            "Cache-Control": "no-store",
            **hint_headers(told),
        },
        body=orjson.dumps(told, default=str),
    )


def problem_of(error: ClientError, *, keyed: bool = True) -> dict[str, Any]:
    """
    The problem document of an error, with everything in it.

    What the ledger said is handed on word for word, but for two things: a refused credential is
    this service's fault and not its caller's, and a hint to send again needs `keyed`.
    """
    problem = _told_by(error)
    if problem["action"] == "retry-with-backoff" and not keyed:
        problem |= {"action": "reconcile-first", "retryable": False, "retry_after_ms": None}
    return problem


class ProblemMiddleware:
    """Answers requests that end in one of the client's errors; everything else passes."""

    def __init__(self, app: App, labels: Labels = FULL) -> None:
        """
        Wrap an ASGI application.

        Args:
            app: The application, or the next middleware.
            labels: How much callers are told.
        """
        self._app = app
        self._labels = labels

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientError as error:
            if has_begun:
                # A status was sent already: the server ends the connection, and that is no answer.
                raise
            labels = self._labels if isinstance(self._labels, str) else self._labels(scope)
            await _send(send, outward(error, labels=labels, keyed=_is_keyed(scope)))


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _is_keyed(scope: Scope) -> bool:
    return scope["method"] in _SAFE or any(
        name.lower() == b"idempotency-key" and value for name, value in scope["headers"]
    )


def _told_by(error: ClientError) -> dict[str, Any]:
    if isinstance(error, Refused):
        return _refused(error)
    if isinstance(error, BudgetSpent):
        problem = _refused(error.last)
        after_ms = max(problem["retry_after_ms"] or 0, round(error.retry_after_s * 1_000))
        return problem | {
            "action": error.action,
            "retryable": True,
            "retry_after_ms": after_ms or UNREACHABLE_AFTER_MS,
        }
    row = next(row for kind, row in _ROWS.items() if isinstance(error, kind))
    is_retryable = isinstance(error, Unreachable)
    return {
        "type": f"urn:effect-ledger:problem:{row.code.lower().replace('_', '-')}",
        "title": row.title,
        "status": row.status,
        # Not the error's own words: they may name hosts of ours.
        "detail": row.title,
        "code": row.code,
        "world": error.world,
        "action": error.action,
        "reason": error.reason,
        "severity": row.severity,
        "retryable": is_retryable,
        "retry_after_ms": UNREACHABLE_AFTER_MS if is_retryable else None,
        "details": {name: error.details[name] for name in _TOLD if name in error.details},
    }


def _refused(error: Refused) -> dict[str, Any]:
    problem = dict(error.problem)
    status = error.status or _CONFLICT
    if status in _OURS:
        problem |= {"action": "wait-for-human", "severity": "error", "retryable": False}
        status = _BAD_GATEWAY
    missing = {"action": None, "retryable": False, "retry_after_ms": None}
    return missing | problem | {"status": status}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    code: str
    status: int
    severity: str
    title: str


_CONFLICT = 409
# In this order: the first class that an error is of.
_ROWS: Mapping[type[ClientError], _Row] = {
    Unreachable: _Row(
        code="LEDGER_UNREACHABLE",
        status=503,
        severity="error",
        title="The ledger of effects does not answer; nothing was recorded",
    ),
    NotSent: _Row(
        code="NOT_SENT",
        status=500,
        severity="error",
        title="The request to the ledger of effects was not one; nothing was recorded",
    ),
    OutcomeUnknown: _Row(
        code="EFFECT_OUTCOME_UNKNOWN",
        status=500,
        severity="critical",
        title="Whether it happened is unknown; it must not be tried again before that is known",
    ),
    ReceiptUnsigned: _Row(
        code="RECEIPT_UNSIGNED",
        status=_BAD_GATEWAY,
        severity="warning",
        title="The ledger of effects says it is recorded, and nobody has signed that yet",
    ),
    ReceiptInvalid: _Row(
        code="RECEIPT_INVALID",
        status=_BAD_GATEWAY,
        severity="critical",
        title="The ledger of effects answered, and what it answered is not proved",
    ),
    ReceiptNotKept: _Row(
        code="RECEIPT_NOT_KEPT",
        status=500,
        severity="error",
        title="It is recorded, and its receipt could not be kept",
    ),
    ClientError: _Row(
        code="LEDGER_FAILED",
        status=500,
        severity="error",
        title="The ledger of effects could not be used",
    ),
}

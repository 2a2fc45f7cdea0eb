"""
Observation: the outermost layer around every request.

Gives it a trace id, writes the access line, counts it, and turns what nobody expected into
the documented 503. A plain ASGI wrapper, so that it costs little and sees every answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import StoppingError, UnexpectedError, UnexpectedWriteError
from api.metrics import Metrics
from api.problems import problem_response
from ledger.errors import LedgerError, OutcomeUnknownError

logger = logging.getLogger(__name__)
access_log = logging.getLogger("api.access")

NO_ROUTE = "(none)"
OTHER_METHOD = "OTHER"

STOPS_UNCONFIRMED = (
    "the service stops before the commit is confirmed; the same key tells what became of it"
)

# W3C Trace Context Section 3.2; a version of ff and an id of zeros are invalid.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


class Observation:
    """Wraps the application; see the module."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        trace_id = state["trace_id"] = trace_id_of(scope["headers"])
        began = time.perf_counter()
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            # Nobody but the server cancels a request: it stops, and the request took too long.
            if not status:
                response = problem_response(_stopped(scope), state)
                await response(scope, receive, send_and_note)
            # Half an answer is out where there is a status; the server breaks the connection.
        except Exception:
            logger.exception("a request failed", extra={"fields": {"trace_id": trace_id}})
            if status:
                # Half an answer is out; only breaking the connection tells the caller.
                raise
            response = problem_response(_unexpected(scope), state)
            await response(scope, receive, send_and_note)
        finally:
            self._note(scope, state, status, time.perf_counter() - began)

    def _note(self, scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
        note(
            self._metrics,
            method=scope["method"] if scope["method"] in _METHODS else OTHER_METHOD,
            # The template: paths may name what a caller thinks of as its own.
            route=getattr(scope.get("route"), "path", NO_ROUTE),
            status=status,
            seconds=seconds,
            state=state,
            read_state=lambda: state,
        )


def note(
    metrics: Metrics,
    *,
    method: str,
    route: str,
    status: int,
    seconds: float,
    state: Mapping[str, Any],
    read_state: Callable[[], Mapping[str, Any]],
) -> None:
    """
    Count an answer, and write its access line.

    Args:
        metrics: Where it is counted.
        method: One of a few.
        route: The template of its path.
        status: 0 where there was no answer.
        seconds: From the first byte in to the last byte out.
        state: Of the request; `problem` and `streams` are there where they apply.
        read_state: The same with `trace_id` and, where it is known, `principal`.
    """
    metrics.answered(method, route, status, None if state.get("streams") else seconds)
    problem = state.get("problem")
    if problem is not None:
        metrics.refused(problem.code, problem.world, problem.severity)
    if not access_log.isEnabledFor(logging.INFO):
        return
    known = read_state()
    access_log.info(
        "request",
        extra={
            "fields": {
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1_000, 3),
                "principal": known.get("principal"),
                "trace_id": known["trace_id"],
            }
        },
    )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _stopped(scope: Scope) -> LedgerError:
    if _writes(scope):
        return OutcomeUnknownError(STOPS_UNCONFIRMED)
    return StoppingError("the service stops before the answer is there")


def _unexpected(scope: Scope) -> LedgerError:
    detail = "the service failed; the trace id finds it in the log"
    return UnexpectedWriteError(detail) if _writes(scope) else UnexpectedError(detail)


def _writes(scope: Scope) -> bool:
    return scope["method"] == "POST" and b"dry_run=true" not in scope["query_string"]


def trace_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's trace id, else a new one: 32 hexadecimal digits."""
    for name, value in headers:
        if name == b"traceparent":
            match = _TRACEPARENT.fullmatch(value)
            if match:
                return str(match[1], "ascii")
    # Not a secret; asking the kernel costs a switch of threads.
    return f"{random.getrandbits(128):032x}"

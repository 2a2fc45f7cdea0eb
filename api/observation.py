"""
Observation: the outermost layer around every request.

Gives it a trace id, writes the access line, counts it, and turns what nobody expected into
the documented 503. A plain ASGI wrapper, so that it costs little and sees every answer.
"""

from __future__ import annotations

import logging
import random
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import UnexpectedError, UnexpectedWriteError
from api.metrics import Metrics
from api.problems import problem_response
from ledger.errors import LedgerError

logger = logging.getLogger(__name__)
access_log = logging.getLogger("api.access")

NO_ROUTE = "(none)"

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
        trace_id = state["trace_id"] = _trace_id(scope)
        began = time.perf_counter()
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
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
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        timed = None if state.get("streams") else seconds
        self._metrics.answered(method, route, status, timed)
        problem = state.get("problem")
        if problem is not None:
            self._metrics.refused(problem.code, problem.world, problem.severity)
        if not access_log.isEnabledFor(logging.INFO):
            return
        access_log.info(
            "request",
            extra={
                "fields": {
                    "method": method,
                    # The template: paths may name what a caller thinks of as its own.
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1_000, 3),
                    "principal": state.get("principal"),
                    "trace_id": state["trace_id"],
                }
            },
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _unexpected(scope: Scope) -> LedgerError:
    detail = "the service failed; the trace id finds it in the log"
    if scope["method"] == "POST" and b"dry_run=true" not in scope["query_string"]:
        return UnexpectedWriteError(detail)
    return UnexpectedError(detail)


def _trace_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            match = _TRACEPARENT.fullmatch(value)
            if match:
                return str(match[1], "ascii")
    # Not a secret; asking the kernel costs a switch of threads.
    return f"{random.getrandbits(128):032x}"

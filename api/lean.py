"""
Lean routes: described like every other in OpenAPI, served without the framework's machinery.

The hot path reads its request itself. Routing, middleware and dependency resolution of the
framework would cost several times what the request itself costs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.problems import problem_response
from ledger.errors import LedgerError

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class LeanRoute(APIRoute):
    """A route whose endpoint takes the request and returns the response, and nothing else."""

    def get_route_handler(self) -> Endpoint:
        """The endpoint itself."""
        endpoint: Endpoint = self.endpoint
        return endpoint


def find_lean(routes: Sequence[LeanRoute], scope: Scope) -> bool:
    """Whether one of `routes` serves this request; if so, `scope` says which and its parameters."""
    if scope["type"] != "http":
        return False
    path = scope["path"]
    # RFC 9110 Section 9.3.2: HEAD is GET without the body, which the server leaves out by itself.
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    for route in routes:
        if method in (route.methods or ()):
            # Not `match`: its `$` overlooks a newline at the end of the path.
            found = route.path_regex.fullmatch(path)
            if found is not None:
                scope["route"], scope["path_params"] = route, found.groupdict()
                return True
    return False


class LeanRequest(Request):
    """A request whose headers are read once: a write asks for half a dozen of them."""

    @property
    def headers(self) -> Headers:
        """As sent; of one that comes twice, the first."""
        if not hasattr(self, "_headers"):
            self._headers = _LeanHeaders(scope=self.scope)
        return self._headers


class _LeanHeaders(Headers):
    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._first = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(self.raw)
        }

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower()]

    def get(self, key: str, default: Any = None) -> Any:
        return self._first.get(key.lower(), default)


async def serve_lean(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for the lean route that `find_lean` found."""
    try:
        response: Response = await scope["route"].endpoint(LeanRequest(scope, receive))
    except LedgerError as error:
        response = problem_response(error, scope["state"])
    await response(scope, receive, send)

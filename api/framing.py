"""
Framing: what a request may not leave open, whichever path it is for.

A header that is read once and comes twice, or a query in octets that are no text, would be another
question to another reader: nobody should have to guess which of them was meant.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import InvalidParameterError, MalformedRequestError
from api.problems import problem_response
from ledger.errors import LedgerError

ONCE = frozenset(
    {
        b"authorization",
        b"content-type",
        b"content-encoding",
        b"last-event-id",
        b"range",
        b"if-range",
    }
)
"""Headers that are read once. Idempotency-Key has a refusal of its own, which says its use."""


class Framing:
    """Wraps an application; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, unless it is ambiguous."""
        error = _ambiguity(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(error, scope["state"])(scope, receive, send)


def _ambiguity(scope: Scope) -> LedgerError | None:
    seen = set()
    for name, _ in scope["headers"]:
        if name in ONCE:
            if name in seen:
                return MalformedRequestError(f"the header {name.decode()} comes twice")
            seen.add(name)
    if not _is_text(scope["query_string"]):
        return InvalidParameterError("the query is not UTF-8 where it is decoded")
    if not _is_text(scope.get("raw_path") or b""):
        return MalformedRequestError("the path is not UTF-8 where it is decoded")
    return None


def _is_text(escaped: bytes) -> bool:
    if b"%" not in escaped and escaped.isascii():
        return True
    try:
        unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return False
    return True

"""
Signer: answers services on other hosts, over HTTP, with what it remembers and signs.

An application of its own, without the ledger's: whoever runs it needs no database. What is
signed and what is refused, `ledger.signing.signer` says; questions and answers are those of
`ledger.signing.desk`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from api.body import read_body
from api.errors import MalformedRequestError
from ledger.errors import (
    LedgerBrokenError,
    LedgerError,
    SignerUnavailableError,
    TooLargeError,
)
from ledger.signing.desk import REQUEST_BYTES_MAX, LeavesNeededError, SignerDesk, refusal_code

logger = logging.getLogger(__name__)

BODY_TIMEOUT_S = 10.0

Endpoint = Callable[[Request], Awaitable[dict[str, Any]]]


def create_signer_app(desk: SignerDesk, token: str) -> Starlette:
    """The HTTP service of a signer, for those who know `token`."""

    async def identity(_request: Request) -> dict[str, Any]:
        return desk.identity()

    def endpoint(question: str) -> Endpoint:
        async def answer(request: Request) -> dict[str, Any]:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await read_body(request, REQUEST_BYTES_MAX)
            # Files are locked and written, and waited for.
            return await run_in_threadpool(desk.answer, question, body)

        return answer

    async def get_health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/healthz", get_health, methods=["GET"]),
            Route("/v1/identity", _told(identity, token), methods=["GET"]),
            *(
                Route(f"/v1/{each}", _told(endpoint(each), token), methods=["POST"])
                for each in desk.questions
            ),
        ]
    )


def _told(endpoint: Endpoint, token: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint whose errors become answers, for those who know the token."""
    expected = f"Bearer {token}".encode()

    async def answering(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            logger.warning("somebody without the token asked for %s", request.url.path)
            return _refusal(401, "unauthenticated", "this signer answers those who know its token")
        try:
            return JSONResponse(await endpoint(request))
        except (LedgerError, MalformedRequestError, TimeoutError) as error:
            return _explained(error, request.url.path)

    return answering


def _explained(error: Exception, path: str) -> Response:
    if isinstance(error, LedgerBrokenError):
        logger.critical("%s is refused: %s", path, error)
        return _refusal(409, refusal_code(error), error.message, error.details)
    if isinstance(error, SignerUnavailableError):
        logger.error("nothing can be signed now: %s", error)
        return _refusal(503, "unavailable", error.message)
    if isinstance(error, LeavesNeededError):
        return _refusal(428, "leaves_needed", error.message, error.details)
    if isinstance(error, TooLargeError):
        return _refusal(413, "too_large", error.message)
    if isinstance(error, LedgerError) and not isinstance(error, MalformedRequestError):
        return _refusal(422, "malformed", error.message)
    # Nobody may be there to read it.
    return _refusal(400, "malformed", "the body did not come whole")


def _refusal(
    status: int, code: str, message: str, details: dict[str, Any] | None = None
) -> Response:
    return JSONResponse(
        {"code": code, "message": message, "details": details or {}}, status_code=status
    )

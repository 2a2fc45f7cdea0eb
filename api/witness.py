"""
Witness: the two paths of C2SP tlog-witness over HTTP, for logs of any kind.

An application of its own, without the ledger's: whoever runs it needs no database and no
credentials. What is cosigned and what is refused, `ledger.witness` says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.body import read_body
from api.errors import MalformedRequestError
from ledger.errors import NotFoundError, PushbackError, TooLargeError
from ledger.witness.protocol import (
    ADD_CHECKPOINT,
    REQUEST_BYTES_MAX,
    TEXT_TYPE,
    WireAnswer,
    encode_answer,
)
from ledger.witness.witness import Witness

logger = logging.getLogger(__name__)

# A submission is a few kilobytes; who sends them slower keeps others from being heard.
BODY_TIMEOUT_S = 10.0
# What was cosigned last is worth nothing if it is an old one.
FRESH = {"Cache-Control": "no-store"}


def create_witness_app(witness: Witness) -> Starlette:
    """The HTTP service of `witness`, under whose URL both paths stand."""

    async def add_checkpoint(request: Request) -> Response:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await read_body(request, REQUEST_BYTES_MAX)
        # Files are read and written, and waited for.
        answer = await run_in_threadpool(lambda: encode_answer(witness.add_checkpoint(body)))
        return _response(answer)

    async def get_checkpoint(request: Request) -> Response:
        origin_hash = request.path_params["origin_hash"]
        note = await run_in_threadpool(witness.checkpoint, origin_hash)
        return _response(WireAnswer(200, TEXT_TYPE, note))

    async def get_health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route(f"/{ADD_CHECKPOINT}", _told(add_checkpoint), methods=["POST"]),
            Route("/healthz", get_health, methods=["GET"]),
            Route("/{origin_hash}/checkpoint", _told(get_checkpoint), methods=["GET"]),
        ]
    )


Endpoint = Callable[[Request], Awaitable[Response]]


def _told(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose errors become answers, and whose every answer is in the log."""

    async def answering(request: Request) -> Response:
        response = await _answer(endpoint, request)
        logger.info(
            "request",
            extra={
                "fields": {
                    "method": request.method,
                    "path": request.url.path,
                    "status": response.status_code,
                }
            },
        )
        return response

    return answering


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except TooLargeError as error:
        return _refusal(413, error.message)
    except (MalformedRequestError, TimeoutError):
        # Nobody may be there to read it.
        return _refusal(400, "the body did not come whole")
    except NotFoundError as error:
        return _refusal(404, error.message)
    except PushbackError as error:
        # Nothing left: the same submission may be sent later.
        logger.error("nothing can be cosigned now: %s", error)  # noqa: TRY400 - told, not traced.
        return _refusal(503, "nothing can be cosigned now; try again later")


def _refusal(status: int, says: str) -> Response:
    return _response(WireAnswer(status, TEXT_TYPE, f"{says}\n".encode()))


def _response(answer: WireAnswer) -> Response:
    return Response(
        answer.body,
        status_code=answer.status,
        headers={"Content-Type": answer.media_type, **FRESH},
    )

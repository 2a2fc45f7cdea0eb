"""Operation: is it alive, is it ready, what does it count, what does it serve."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import metrics
from api.answers import json_answer
from api.dependencies import skin_of
from api.errors import UnexpectedError
from api.openapi import answer, problems, text_answer
from api.schemas import HealthOut
from ledger import errors as domain
from ledger.names import REGISTRY

router = APIRouter(tags=["operation"])

OPEN: dict[str, Any] = {"security": []}


@router.get(
    "/healthz",
    summary="Whether the process runs",
    responses={200: answer("It runs.", HealthOut, {"status": "ok"})},
    response_class=Response,
    openapi_extra=OPEN,
)
async def get_health() -> Response:
    """Needs no credential and asks nobody."""
    return json_answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="Whether the service can answer",
    responses={
        200: answer("The database answers.", HealthOut, {"status": "ok"}),
        **problems(domain.DatabaseUnavailableError, UnexpectedError),
    },
    response_class=Response,
    openapi_extra=OPEN,
)
def get_readiness(request: Request) -> Response:
    """Needs no credential."""
    skin_of(request).engine.reader.size(REGISTRY)
    return json_answer({"status": "ok"})


@router.get(
    "/metrics",
    summary="Counters, as Prometheus reads them",
    responses={
        200: text_answer("The text format.", "text/plain"),
        **problems(domain.UnauthenticatedError, domain.DatabaseUnavailableError, UnexpectedError),
    },
    response_class=Response,
)
async def get_metrics(request: Request) -> Response:
    """Any credential; sizes are shown of the ledgers it reaches."""
    skin = skin_of(request)
    credential = await skin.authenticator.authenticate(request)
    sizes = await run_in_threadpool(skin.engine.reader.sizes)
    page = skin.metrics.page(
        waiting=skin.engine.sequencer.waiting,
        sizes={
            ledger: pair
            for ledger, pair in sizes.items()
            if credential.ledgers is None or ledger in credential.ledgers
        },
    )
    return Response(page, media_type=metrics.MEDIA_TYPE)


@router.get(
    "/openapi.json",
    summary="This document",
    responses={
        200: {"description": "OpenAPI 3.1.", "content": {"application/json": {}}},
        **problems(domain.UnauthenticatedError, domain.DatabaseUnavailableError, UnexpectedError),
    },
    response_class=Response,
)
async def get_openapi_document(request: Request) -> Response:
    """Any credential."""
    await skin_of(request).authenticator.authenticate(request)
    return json_answer(request.app.openapi())

"""Operation: is it alive, is it ready, what does it count, what does it serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import metrics
from api.answer_schemas import (
    HealthOut,
    ReadyOut,
)
from api.answers import json_answer
from api.auth import check_unlimited
from api.dependencies import skin_of
from api.errors import UnexpectedError
from api.openapi import answer, problems, text_answer
from ledger import errors as domain
from ledger.forms.names import REGISTRY
from ledger.verification.runs import Standing

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
        200: answer(
            "The database answers.",
            ReadyOut,
            {
                "status": "ok",
                "quorum_age_s": 4.2,
                "timestamp_age_s": 41.0,
                "ledgers_stopped": 0,
                "verification_age_s": 61.5,
                "ledgers_bad": 0,
            },
        ),
        **problems(domain.DatabaseUnavailableError, domain.OverloadedError, UnexpectedError),
    },
    response_class=Response,
    openapi_extra=OPEN,
)
def get_readiness(request: Request) -> Response:
    """Needs no credential, and names no ledger."""
    engine = skin_of(request).engine
    engine.reader.size(REGISTRY)
    engine.stops.refresh()
    verified = newest_of_each(engine.verifications.standing())
    quorums = [age_s for _, age_s in engine.anchors.ages("cosigned").values()]
    timestamps = [age_s for _, age_s in engine.anchors.ages("timestamped").values()]
    return json_answer(
        {
            "status": "ok",
            "quorum_age_s": round(max(quorums), 3) if quorums else None,
            "timestamp_age_s": round(max(timestamps), 3) if timestamps else None,
            "ledgers_stopped": len({stop.ledger for stop in engine.stops.standing}),
            "verification_age_s": round(max(each.age_s for each in verified.values()), 3)
            if verified
            else None,
            "ledgers_bad": sum(not each.good for each in verified.values()),
        }
    )


@router.get(
    "/metrics",
    summary="Counters, as Prometheus reads them",
    responses={
        200: text_answer("The text format.", "text/plain"),
        **problems(
            domain.UnauthenticatedError,
            domain.ForbiddenError,
            domain.DatabaseUnavailableError,
            UnexpectedError,
        ),
    },
    response_class=Response,
)
async def get_metrics(request: Request) -> Response:
    """Any credential but one for some periods; sizes are shown of the ledgers it reaches."""
    skin = skin_of(request)
    credential = await skin.authenticator.authenticate(request)
    check_unlimited(credential)
    anchors, stops = skin.engine.anchors, skin.engine.stops
    sizes = await run_in_threadpool(skin.engine.reader.sizes)
    quorums = await run_in_threadpool(anchors.ages, "cosigned")
    timestamps = await run_in_threadpool(anchors.ages, "timestamped")
    registered = await run_in_threadpool(anchors.registered)
    await run_in_threadpool(stops.refresh)
    standing = await run_in_threadpool(skin.engine.verifications.standing)
    waiting = await run_in_threadpool(skin.engine.intents.open)

    def reached(of_all: Mapping[str, Any]) -> dict[str, Any]:
        return {
            ledger: each
            for ledger, each in of_all.items()
            if credential.ledgers is None or ledger in credential.ledgers
        }

    page = skin.metrics.page(
        waiting=skin.engine.sequencer.waiting,
        sizes=reached(sizes),
        quorums=reached(quorums),
        timestamps=reached(timestamps),
        registered=reached(registered),
        stopped={stop.ledger for stop in stops.standing},
        verified=reached(newest_of_each(standing)),
        verified_ages={
            mode: reached({name: at.age_s for (name, each), at in standing.items() if each == mode})
            for mode in ("full", "incremental")
        },
        intents=[
            each
            for each in waiting
            if credential.ledgers is None or each.ledger in credential.ledgers
        ],
    )
    return Response(page, media_type=metrics.MEDIA_TYPE)


def newest_of_each(standing: Mapping[tuple[str, str], Standing]) -> dict[str, Standing]:
    """Of each ledger its newest verification, whatever its mode."""
    newest: dict[str, Standing] = {}
    for (ledger, _), each in standing.items():
        if ledger not in newest or each.age_s < newest[ledger].age_s:
            newest[ledger] = each
    return newest


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

"""
Verifications: the service checks itself from its stored bytes, as a job with progress.

Its report is what an operator can see without trusting memory. Whoever does not trust the
operator verifies a bundle, a receipt or the tiles instead.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.answer_schemas import (
    StatementOut,
    VerificationOut,
)
from api.answers import json_answer
from api.dependencies import Access, reach, skin_of
from api.errors import (
    InvalidParameterError,
    MalformedRequestError,
    UnexpectedError,
    UnexpectedWriteError,
)
from api.lean import LeanRoute
from api.openapi import ACCESS, answer, body, problems
from api.routes.writes import LEDGER
from api.schemas import VerificationIn
from api.shapes import read_shape
from ledger import errors as domain
from ledger.errors import MalformedEffectError, MalformedProofError, SignatureError

router = APIRouter(prefix="/v1/ledgers/{ledger}", tags=["verifications"])

Verify = Annotated[Access, Depends(reach("verify", within_periods=True))]


async def post_verification(request: Request) -> Response:
    """Begin to verify the ledger from its stored bytes."""
    skin = skin_of(request)
    access = await skin.access(request, "verify", within_periods=True)
    words = await read_shape(request, VerificationIn, may_be_empty=True)
    try:
        job = await run_in_threadpool(
            skin.engine.verifications.start, access.ledger.name, words.mode, words.checkpoint
        )
    except (MalformedProofError, SignatureError) as error:
        # It is the caller's checkpoint that is wrong, not a record of ours.
        raise MalformedEffectError(f"/checkpoint {error.message}", pointer="/checkpoint") from error
    return json_answer(
        await run_in_threadpool(skin.engine.verifications.get, access.ledger.name, job),
        status=202,
        headers={"Location": f"/v1/ledgers/{access.ledger.name}/verifications/{job}"},
    )


class LatestQuery(BaseModel):
    """Which verdict."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["full", "incremental"] | None = Field(
        default=None, description="The newest of this mode; of any mode without it."
    )


@router.get(
    "/verifications/latest",
    summary="What the service last found, signed",
    responses={
        200: answer("The newest signed verdict.", StatementOut, examples.STATEMENT),
        **problems(*ACCESS, InvalidParameterError, domain.SignatureError, UnexpectedError),
    },
    response_class=Response,
)
def get_latest_verdict(
    request: Request, access: Verify, query: Annotated[LatestQuery, Query()]
) -> Response:
    """
    Every ledger is verified by the clock, and whenever somebody asks; this is the signed result.

    An incremental verification that found nothing new since the last one has no verdict of its
    own. Scope: `verify`.
    """
    statement, note = skin_of(request).engine.verdicts.latest(access.ledger, query.mode)
    return json_answer({"statement": statement.document(), "note": note.decode()})


@router.get(
    "/verifications/{id}",
    summary="Progress or report of a verification",
    responses={
        200: answer("The job.", VerificationOut, examples.VERIFICATION),
        **problems(*ACCESS, InvalidParameterError, UnexpectedError),
    },
    response_class=Response,
)
def get_verification(request: Request, access: Verify, id: str) -> Response:  # noqa: A002 - the name of the path's parameter.
    """Scope: `verify`."""
    return json_answer(skin_of(request).engine.verifications.get(access.ledger.name, id))


router.add_api_route(
    "/verifications",
    post_verification,
    methods=["POST"],
    status_code=202,
    response_class=Response,
    route_class_override=LeanRoute,
    operation_id=post_verification.__name__,
    summary="Begin to verify the ledger from its stored bytes",
    description="Recomputes every hash, link, proof and index from the entry bytes. A trusted "
    "checkpoint of yours makes it a check against what you saw before.\n\nScope: `verify`.",
    responses={
        202: answer(
            "The job has begun.",
            VerificationOut,
            examples.VERIFICATION,
            headers={"Location": "Where its progress is."},
        ),
        **problems(
            *ACCESS,
            InvalidParameterError,
            MalformedRequestError,
            domain.MalformedJsonError,
            domain.MalformedEffectError,
            domain.TooLargeError,
            domain.OverloadedError,
            UnexpectedWriteError,
        ),
    },
    openapi_extra=body(VerificationIn, {"full": {"mode": "full"}}) | {"parameters": [LEDGER]},
)

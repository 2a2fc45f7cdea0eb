"""Periods: closed by those who may, and listed with what each close says."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import audit_examples as examples
from api.answers import json_answer
from api.audit_schemas import PeriodCloseIn, PeriodOut, PeriodsOut
from api.auth import check_period
from api.dependencies import Access, reach, skin_of
from api.errors import (
    InvalidParameterError,
    MalformedRequestError,
    UnexpectedError,
    UnexpectedWriteError,
)
from api.lean import LeanRoute
from api.openapi import ACCESS, APPENDING, answer, body, parameter, problems
from api.routes.writes import LEDGER
from api.shapes import read_shape
from api.wire import Wire
from ledger import errors as domain
from ledger.forms.grammar import moment, uuid

router = APIRouter(prefix="/v1/ledgers/{ledger}", tags=["periods"])

REVIEW_SCOPES = ("close", "recon:review")
READ_SCOPES = ("entries:read", "close", "export", "verify")
PeriodsRead = Annotated[Access, Depends(reach(*READ_SCOPES, within_periods=True))]


async def close_period(request: Request) -> Response:
    """Close a period: its cut-off, counts, sums and root become an entry."""
    skin = skin_of(request)
    access = await skin.write_access(request, "close")
    words = await read_shape(request, PeriodCloseIn, may_be_empty=True)
    close, replayed = await run_in_threadpool(
        lambda: skin.engine.closing.close(
            access.ledger.name,
            request.path_params["name"],
            preparer=access.credential.principal,
            reviewer=words.reviewer,
            from_at=None if words.from_at is None else moment(words.from_at, "/from_at"),
            to_at=None if words.to_at is None else moment(words.to_at, "/to_at"),
            supersedes=None if words.supersedes is None else uuid(words.supersedes, "/supersedes"),
        )
    )
    # Also where the close stood there already: whoever was cut off between the two asks again.
    await run_in_threadpool(
        lambda: skin.engine.office.casework.carry_forward(
            access.ledger.name, by=access.credential.principal
        )
    )
    return json_answer(
        close.document() | {"replayed": replayed},
        status=200 if replayed else 201,
        headers={"Location": f"/v1/ledgers/{access.ledger.name}/periods/{close.entry.id}"},
    )


async def review_period(request: Request) -> Response:
    """Confirm a close that another principal prepared."""
    skin = skin_of(request)
    access = await skin.write_access(request, *REVIEW_SCOPES)
    # Nothing is asked for, but a request acts when it is here to its end, and not before.
    await read_shape(request, Wire, may_be_empty=True)
    close, replayed = await run_in_threadpool(
        lambda: skin.engine.closing.review(
            access.ledger.name,
            request.path_params["name"],
            reviewer=access.credential.principal,
        )
    )
    return json_answer(close.document() | {"replayed": replayed}, status=200 if replayed else 201)


@router.get(
    "/periods",
    summary="Every close of the ledger",
    responses={
        200: answer("The closes, oldest first.", PeriodsOut, examples.PERIODS),
        **problems(*ACCESS, InvalidParameterError, UnexpectedError, domain.MalformedProofError),
    },
    response_class=Response,
)
def get_periods(request: Request, access: PeriodsRead) -> Response:
    """Scope: one of `entries:read`, `close`, `export`, `verify`."""
    closes = skin_of(request).engine.closing.closes(access.ledger.name)
    periods = access.credential.periods
    shown = [each for each in closes if periods is None or each.data["name"] in periods]
    return json_answer({"world": "RML3", "periods": [close.document() for close in shown]})


@router.get(
    "/periods/{name}",
    summary="The close of a period",
    responses={
        200: answer("The close that stands.", PeriodOut, examples.PERIOD),
        **problems(*ACCESS, InvalidParameterError, UnexpectedError, domain.MalformedProofError),
    },
    response_class=Response,
)
def get_period(request: Request, access: PeriodsRead, name: str) -> Response:
    """
    By the period's name: the close that stands; by the id of a close: that one.

    Scope: one of `entries:read`, `close`, `export`, `verify`.
    """
    check_close(request, access, name)
    engine, ledger = skin_of(request).engine, access.ledger.name
    document = engine.closing.find(ledger, name).document()
    for review in document["reviews"]:
        review["receipt"] = engine.reader.receipt(ledger, review["seq"]).to_document()
    return json_answer(document)


def check_close(request: Request, access: Access, named: str) -> None:
    """
    Check that the caller reaches the period of this name, or of the close of this id.

    Raises:
        ForbiddenError: The credential is limited to other periods.
    """
    periods = access.credential.periods
    if periods is None or named in periods:
        return
    # Whether there is such a period is none of the caller's business.
    with suppress(domain.NotFoundError):
        named = skin_of(request).engine.closing.find(access.ledger.name, named).data["name"]
    check_period(access.credential, named)


_NAME = parameter("name", "path", {"type": "string"}, "Name of the period, such as 2026-10.")
_WRITE_PROBLEMS = (
    InvalidParameterError,
    MalformedRequestError,
    domain.MalformedJsonError,
    domain.MalformedEffectError,
    domain.TooLargeError,
    domain.PeriodError,
    domain.PeriodSpanError,
    domain.PeriodOpenError,
    domain.SelfReviewError,
    domain.PeriodClosedError,
    *APPENDING,
    UnexpectedWriteError,
)

router.add_api_route(
    "/periods/{name}/close",
    close_period,
    methods=["POST"],
    status_code=201,
    response_class=Response,
    route_class_override=LeanRoute,
    operation_id=close_period.__name__,
    summary="Close a period",
    description="A year (2026), quarter (2026-Q4), month (2026-10) or day (2026-10-31) in the "
    "ledger's time zone, or any other name with its two moments. Nothing is refused from being "
    "recorded afterwards: what comes later and occurred in the period carries `late_for`. Safe to "
    "repeat; a close is corrected by a second one that cites it.\n\nScope: `close`.",
    responses={
        201: answer(
            "The period is closed.",
            PeriodOut,
            examples.CLOSED,
            headers={"Location": "Where the close is."},
        ),
        200: answer("It was closed so before.", PeriodOut, examples.CLOSED | {"replayed": True}),
        **problems(
            *ACCESS,
            *_WRITE_PROBLEMS,
        ),
    },
    openapi_extra=body(PeriodCloseIn, examples.CLOSES) | {"parameters": [LEDGER, _NAME]},
)

router.add_api_route(
    "/periods/{name}/review",
    review_period,
    methods=["POST"],
    status_code=201,
    response_class=Response,
    route_class_override=LeanRoute,
    operation_id=review_period.__name__,
    summary="Confirm a close with a key of one's own",
    description="The caller's principal, which must be another than the preparer's, is recorded "
    "as a reviewer of the close, by an entry of the ledger. The period is named, or the close by "
    "its id. Safe to repeat.\n\nScope: one of `close`, `recon:review`.",
    responses={
        201: answer("The close is reviewed.", PeriodOut, examples.REVIEWED),
        200: answer(
            "The caller reviewed it before.", PeriodOut, examples.REVIEWED | {"replayed": True}
        ),
        **problems(*ACCESS, *_WRITE_PROBLEMS),
    },
    openapi_extra={"parameters": [LEDGER, _NAME]},
)

"""Exports: bundles of closed periods, made as jobs and fetched with resume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from api import audit_examples as examples
from api.answers import json_answer
from api.audit_schemas import ExportIn, ExportOut
from api.auth import check_period, check_scope, may
from api.dependencies import Access, reach, skin_of
from api.errors import (
    InvalidParameterError,
    MalformedRequestError,
    UnexpectedError,
    UnexpectedWriteError,
    UnsatisfiableRangeError,
)
from api.lean import LeanRoute
from api.openapi import ACCESS, answer, body, problems, text_answer
from api.problems import problem_response
from api.routes.periods import check_close
from api.routes.writes import LEDGER
from api.shapes import read_shape
from ledger import errors as domain
from ledger.audit.access import Accessor
from ledger.audit.selection import Payloads, parse_selection
from ledger.errors import LedgerError

router = APIRouter(prefix="/v1/ledgers/{ledger}", tags=["exports"])

Export = Annotated[Access, Depends(reach("export", within_periods=True))]
ZIP = "application/zip"


async def post_export(request: Request) -> Response:
    """Begin to make the bundle of a closed period."""
    skin = skin_of(request)
    access = await skin.access(request, "export", within_periods=True)
    words = await read_shape(request, ExportIn)
    selection = parse_selection(words.filter or {}, _payloads(access, words.payloads))
    await run_in_threadpool(check_close, request, access, words.period)
    job = await run_in_threadpool(
        lambda: skin.engine.exports.start(
            access.ledger, words.period, selection, by=_accessor(access)
        )
    )
    return json_answer(
        await run_in_threadpool(skin.engine.exports.get, access.ledger.name, job),
        status=202,
        headers={"Location": f"/v1/ledgers/{access.ledger.name}/exports/{job}"},
    )


@router.get(
    "/exports/{id}",
    summary="Progress or result of an export",
    responses={
        200: answer("The job.", ExportOut, examples.EXPORTED),
        **problems(*ACCESS, InvalidParameterError, UnexpectedError),
    },
    response_class=Response,
)
def get_export(request: Request, access: Export, id: str) -> Response:  # noqa: A002 - the name of the path's parameter.
    """Scope: `export`."""
    return json_answer(_job(request, access, id))


@router.get(
    "/exports/{id}/bundle",
    summary="The bundle as one .zip file",
    responses={
        200: text_answer("The whole file.", ZIP, binary=True),
        206: text_answer("The part that `Range` asks for.", ZIP, binary=True),
        **problems(
            *ACCESS,
            InvalidParameterError,
            MalformedRequestError,
            UnsatisfiableRangeError,
            UnexpectedError,
        ),
    },
    response_class=Response,
)
def get_bundle(request: Request, access: Export, id: str) -> Response:  # noqa: A002 - as above.
    """
    Takes `Range` and `If-Range`; the ETag is the SHA-256 of the file. Each download is told of.

    Scope: `export`, and `payload:read` where payloads are shown.
    """
    exports = skin_of(request).engine.exports
    job = _job(request, access, id)
    path = exports.packed(access.ledger.name, id)
    if request.method != "HEAD":
        exports.downloaded(access.ledger.name, id, by=_accessor(access))
    bundle = job["bundle"]
    return _BundleResponse(
        path,
        media_type=ZIP,
        filename=f"{bundle['name']}.zip",
        headers={"ETag": f'"{bundle["bundle_hash"]}"', "Cache-Control": "private, no-store"},
    )


class _BundleResponse(FileResponse):
    """The file or a part of it; a range that cannot be had is told as a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        refused: Message | None = None

        async def pass_on(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in _RANGE_REFUSALS:
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(_in_bytes_only(scope), receive, pass_on)
        if refused is not None:
            error = _RANGE_REFUSALS[refused["status"]]
            # RFC 9110 Section 15.5.17: how much there is.
            there = Headers(raw=refused["headers"]).get("content-range")
            headers = {} if there is None else {"Content-Range": there}
            await problem_response(error, scope["state"], headers)(scope, receive, send)


_RANGE_REFUSALS: Mapping[int, LedgerError] = {
    400: MalformedRequestError("Range must be as in bytes=0-499"),
    416: UnsatisfiableRangeError("the range begins behind the end of the file"),
}


def _in_bytes_only(scope: Scope) -> Scope:
    # RFC 9110 Section 14.2: a range in a unit that is not known is passed over.
    unit, is_range, _ = Headers(scope=scope).get("range", "").partition("=")
    if not is_range or unit.strip().lower() == "bytes":
        return scope
    return {**scope, "headers": [each for each in scope["headers"] if each[0] != b"range"]}


def _job(request: Request, access: Access, id_: str) -> dict[str, Any]:
    job = skin_of(request).engine.exports.get(access.ledger.name, id_)
    check_period(access.credential, job["period"])
    if job["payloads"] == "shown":
        check_scope(access.credential, "payload:read")
    return job


def _payloads(access: Access, wanted: bool) -> Payloads:
    if not wanted:
        return "withheld"
    return "shown" if may(access.credential, "payload:read") else "denied"


def _accessor(access: Access) -> Accessor:
    return Accessor(principal=access.credential.principal, key_id=access.credential.id)


router.add_api_route(
    "/exports",
    post_export,
    methods=["POST"],
    status_code=202,
    response_class=Response,
    route_class_override=LeanRoute,
    operation_id=post_export.__name__,
    summary="Begin to make the bundle of a closed period",
    description="A bundle proves itself: entries as they were hashed, proofs of both ends, tables, "
    "keys, and the program that checks all this without network. The same close, filter and "
    "rights give the same bytes.\n\nScope: `export`; payloads come along with `payload:read`.",
    responses={
        202: answer(
            "The job has begun.",
            ExportOut,
            examples.EXPORT,
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
            domain.PushbackError,
            UnexpectedWriteError,
        ),
    },
    openapi_extra=body(ExportIn, examples.EXPORTS) | {"parameters": [LEDGER]},
)

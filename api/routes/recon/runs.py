"""Runs: reconciliations with their matches, breaks and statements; and the month board."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.answers import JSON, json_answer
from api.dependencies import skin_of
from api.errors import InvalidParameterError
from api.openapi import body, parameter
from api.recon import (
    CURSOR,
    LIMIT,
    PAGE_MAX,
    PREPARE,
    READ,
    REVIEW,
    add_route,
    after,
    next_cursor,
    number,
    once,
    page,
    reach_recon,
    words,
)
from api.recon_schemas import ReconOut, ReconPageOut, RunIn, SignoffIn
from ledger import errors as domain
from ledger.forms.grammar import wrong
from ledger.recon.office import Office
from ledger.recon.outputs.pdf import statement_pdf
from ledger.recon.outputs.tabular import lists_csv, statement_csv, workbook
from ledger.recon.outputs.text import statement_text
from ledger.recon.reconciler import Asked, period_days
from ledger.recon.signoffs import read_signoffs
from ledger.recon.states import BREAKS, OPEN

router = APIRouter(prefix="/v1/recon", tags=["reconciliation"])

CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FORMATS = ("json", "text", "csv", "lists", "xlsx", "pdf")
DAYS_MAX = 370
RUN = {
    "id": "019a2b5d-ac96-774b-bcce-b302099a8057",
    "ledger": "shop",
    "state": "done",
    "tied": False,
    "untied_because": ["2 differences remain open"],
    "remaining": 2,
    "output_digest": "5f" * 32,
}


async def post_recon_run(request: Request) -> Response:
    """Begin a reconciliation, pinned to a signed checkpoint and to the files that count."""
    access, _ = await reach_recon(request, PREPARE)
    shape, raw = await words(request, RunIn)
    asked = Asked(
        period=shape.period,
        today=datetime.now(UTC).date() if shape.today is None else _day(shape.today, "/today"),
        sources=tuple(shape.sources or ()),
        by=access.credential.principal,
    )
    runs, ledger = skin_of(request).engine.office.runs, access.ledger.name
    return await once(
        request,
        access,
        raw,
        lambda: {"id": runs.start(ledger, asked), "state": "running"},
        status=202,
    )


async def get_recon_runs(request: Request) -> Response:
    """Runs that ended, oldest first."""
    access, given = await reach_recon(request, READ, "period", "limit", "cursor")
    office = skin_of(request).engine.office

    def rows() -> list[dict[str, Any]]:
        return [
            {
                "id": row.id,
                "period": row.period,
                "started_at": row.started_at.isoformat(),
                "started_by": row.started_by,
                "size": row.size,
                "output_digest": row.output_digest,
            }
            for row in office.shelf.run_heads(access.ledger.name, given.get("period"))
        ]

    return json_answer(page(await run_in_threadpool(rows), given))


async def get_recon_run(request: Request) -> Response:
    """How a run stands and, once it ended, everything it came to."""
    access, _ = await reach_recon(request, READ)
    office, ledger, id_ = skin_of(request).engine.office, access.ledger.name, _id(request)

    def found() -> dict[str, Any]:
        progress = office.runs.progress(ledger, id_)
        if progress["state"] != "done":
            return progress
        return office.summary(ledger, office.shelf.run(ledger, id_))

    return json_answer(await run_in_threadpool(found), headers={"Cache-Control": "no-store"})


async def get_recon_run_matches(request: Request) -> Response:
    """What a run matched, and how."""
    return await _standings(request, ("matched", "fee", "timing_difference"))


async def get_recon_run_breaks(request: Request) -> Response:
    """What a run left open, timing differences included; `state` takes one state."""
    return await _standings(request, tuple(sorted(state.value for state in OPEN)))


async def get_recon_run_statement(request: Request) -> Response:
    """The statement of a run: json, text, csv, lists (csv), xlsx or pdf."""
    access, given = await reach_recon(request, READ, "format")
    office, ledger, id_ = skin_of(request).engine.office, access.ledger.name, _id(request)
    wanted = given.get("format", "json")
    if wanted not in FORMATS:
        raise InvalidParameterError(f"format must be of {', '.join(FORMATS)}", parameter="format")
    content, media_type = await run_in_threadpool(_statement, office, ledger, id_, wanted)
    return Response(content, media_type=media_type)


async def post_recon_signoff(request: Request) -> Response:
    """
    Sign the statement of a run that another person prepared.

    Every break that is open stays open; the close of the period carries it forward. A statement
    that is not tied is signed only with `untied`, and the reasons are signed with it.
    """
    access, _ = await reach_recon(request, REVIEW)
    shape, raw = await words(request, SignoffIn)
    office, ledger = skin_of(request).engine.office, access.ledger.name

    def sign() -> Mapping[str, Any]:
        run = office.shelf.run(ledger, shape.run)
        return office.casework.sign_off(
            ledger,
            run,
            by=access.credential.principal,
            note=shape.note,
            untied=bool(shape.untied),
        )

    return await once(request, access, raw, sign)


async def get_recon_signoffs(request: Request) -> Response:
    """Statements that were signed, oldest first."""
    access, given = await reach_recon(request, READ, "limit", "cursor")
    shelf = skin_of(request).engine.office.shelf
    rows = await run_in_threadpool(shelf.decisions, access.ledger.name)
    signed = [
        {"id": row.id, "at": row.made_at.isoformat(), **row.document}
        for row in rows
        if row.act == "signoff"
    ]
    return json_answer(page(signed, given))


async def get_recon_coverage(request: Request) -> Response:
    """The month board: source by day, green, amber, red or grey, each also in words."""
    access, given = await reach_recon(request, READ, "period")
    first, last = period_days(given.get("period") or datetime.now(UTC).strftime("%Y-%m"))
    if (last - first).days > DAYS_MAX:
        raise InvalidParameterError("period must not be longer than a year", parameter="period")
    office = skin_of(request).engine.office
    return json_answer(await run_in_threadpool(office.board, access.ledger.name, first, last))


async def _standings(request: Request, states: tuple[str, ...]) -> Response:
    access, given = await reach_recon(request, READ, "state", "limit", "cursor")
    shelf, ledger, id_ = skin_of(request).engine.office.shelf, access.ledger.name, _id(request)
    limit, start = number(given, "limit", 100, PAGE_MAX), after(given)
    wanted = [each for each in states if given.get("state", each) == each]
    if not wanted:
        raise InvalidParameterError(f"state must be of {', '.join(states)}", parameter="state")

    def rows() -> dict[str, Any]:
        shelf.run(ledger, id_)
        found = shelf.standings(ledger, id_, after=start, limit=limit + 1, states=wanted)
        items = [
            {"fingerprint": fingerprint, **document}
            for _, _, fingerprint, document in found[:limit]
        ]
        more = len(found) > limit
        return {
            "items": items,
            "next_cursor": next_cursor(found[limit - 1][0] if more else 0, more),
        }

    return json_answer(await run_in_threadpool(rows))


def _statement(office: Office, ledger: str, run_id: str, wanted: str) -> tuple[bytes, str]:
    run = office.shelf.run(ledger, run_id)
    if wanted == "lists":
        return lists_csv(office.shelf.all_standings(ledger, run_id)).encode(), CSV
    signoffs = read_signoffs(office.shelf, ledger, run_id)
    if wanted == "pdf":
        return statement_pdf(run, signoffs), "application/pdf"
    if wanted == "xlsx":
        return workbook(run, office.shelf.all_standings(ledger, run_id), signoffs), XLSX
    if wanted == "text":
        return statement_text(run, signoffs).encode(), "text/plain; charset=utf-8"
    if wanted == "csv":
        return statement_csv(run, signoffs).encode(), CSV
    summary = office.summary(ledger, run)
    return orjson.dumps(summary, option=orjson.OPT_APPEND_NEWLINE), JSON


def _day(text: str, pointer: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise wrong(pointer, "must be a day such as 2026-04-02") from error


def _id(request: Request) -> str:
    found: str = request.path_params["id"]
    return found


_STATE = parameter(
    "state",
    "query",
    {"type": "string", "enum": sorted(each.value for each in BREAKS | OPEN)},
    "Only this state.",
)
_PERIOD = parameter("period", "query", {"type": "string"}, "Such as 2026-03.")
_FORMAT = parameter("format", "query", {"type": "string", "enum": list(FORMATS)}, "How it is sent.")
_STANDING = {
    "state": "missing_in_ledger",
    "sub_state": "chargeback",
    "differences": {"EUR": "-900"},
}
_ROWS = {"items": [_STANDING], "next_cursor": None}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PERIOD_PROBLEMS = (domain.PeriodError, domain.MalformedEffectError, domain.TooLargeError)

add_route(
    router,
    "POST",
    "/runs",
    post_recon_run,
    scopes=PREPARE,
    model=ReconOut,
    example={"id": RUN["id"], "state": "running", "replayed": False},
    request_body=body(RunIn, {"march": {"period": "2026-03"}}),
    more_problems=(domain.PeriodError,),
    other_answers={202: {"description": "It has begun: ask for its progress under its id."}},
)
add_route(
    router,
    "GET",
    "/runs",
    get_recon_runs,
    scopes=READ,
    model=ReconPageOut,
    example={"items": [{"id": RUN["id"], "period": "2026-03"}], "next_cursor": None},
    parameters=(_PERIOD, LIMIT, CURSOR),
)
add_route(router, "GET", "/runs/{id}", get_recon_run, scopes=READ, model=ReconOut, example=RUN)
add_route(
    router,
    "GET",
    "/runs/{id}/matches",
    get_recon_run_matches,
    scopes=READ,
    model=ReconPageOut,
    example=_ROWS,
    parameters=(_STATE, LIMIT, CURSOR),
)
add_route(
    router,
    "GET",
    "/runs/{id}/breaks",
    get_recon_run_breaks,
    scopes=READ,
    model=ReconPageOut,
    example=_ROWS,
    parameters=(_STATE, LIMIT, CURSOR),
)
add_route(
    router,
    "GET",
    "/runs/{id}/statement",
    get_recon_run_statement,
    scopes=READ,
    model=ReconOut,
    example=RUN,
    parameters=(_FORMAT,),
    other_answers={
        200: {
            "description": "The statement.",
            "content": {
                "application/json": {"schema": {"type": "object"}, "example": RUN},
                "text/plain": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
                XLSX: _BINARY,
                "application/pdf": _BINARY,
            },
        }
    },
)
add_route(
    router,
    "POST",
    "/signoffs",
    post_recon_signoff,
    scopes=REVIEW,
    model=ReconOut,
    example={"id": RUN["id"], "run": RUN["id"], "preparer": "fin", "reviewer": "ben"},
    request_body=body(SignoffIn, {"march": {"run": RUN["id"]}}),
)
add_route(
    router,
    "GET",
    "/signoffs",
    get_recon_signoffs,
    scopes=READ,
    model=ReconPageOut,
    example={"items": [{"id": RUN["id"], "run": RUN["id"]}], "next_cursor": None},
    parameters=(LIMIT, CURSOR),
)
add_route(
    router,
    "GET",
    "/coverage",
    get_recon_coverage,
    scopes=READ,
    model=ReconOut,
    example={"sources": [], "run": None},
    parameters=(_PERIOD,),
    more_problems=_PERIOD_PROBLEMS,
)

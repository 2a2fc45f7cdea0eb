"""Files: sources, what came from them, and whether it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.answers import json_answer
from api.body import read_body
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
    after_place,
    leads_on,
    next_cursor,
    number,
    once,
    page,
    reach_recon,
    words,
)
from api.recon_schemas import DiscardIn, OverrideIn, ReconOut, ReconPageOut, SourceIn
from api.routes.writes import read_dry_run
from ledger.canonical import parse_json
from ledger.errors import RejectedError
from ledger.forms.timestamps import format_time
from ledger.recon.formats.days import plausible
from ledger.recon.imports import FILE_BYTES_MAX, counts
from ledger.recon.office import Office
from ledger.recon.shelf import DecisionRow, ImportRow, SourceRow
from ledger.recon.source import Control

router = APIRouter(prefix="/v1/recon", tags=["reconciliation"])

SOURCE = {
    "name": "stripe-eur",
    "provider": "stripe",
    "side": "provider",
    "iana_tz": "Europe/Berlin",
    "currency": "EUR",
}
IMPORT = {
    "id": "019a2b5d-ac96-774b-bcce-b302099a8057",
    "source": "stripe-eur",
    "filename": "march.csv",
    "status": "accepted",
    "lines": 412,
    "added": 412,
    "replayed": False,
}


_OF_A_RULING = ("reason", "superseded_by")
_OF_AN_IMPORT = ("source", "filename", "controls")


async def get_recon_sources(request: Request) -> Response:
    """The newest version of each source."""
    access, given = await reach_recon(request, READ, "limit", "cursor")
    shelf = skin_of(request).engine.office.shelf
    rows = await run_in_threadpool(shelf.sources, access.ledger.name)
    return json_answer(page([_source(row) for row in rows], given))


async def post_recon_source(request: Request) -> Response:
    """Save a source: a change is a new version, and what was read before stays as it was."""
    access, _ = await reach_recon(request, PREPARE)
    shape, raw = await words(request, SourceIn)
    imports = skin_of(request).engine.office.imports
    document = shape.model_dump(exclude_unset=True)
    return await once(
        request,
        access,
        raw,
        lambda: _source(
            imports.save_source(access.ledger.name, document, access.credential.principal)
        ),
    )


async def get_recon_imports(request: Request) -> Response:
    """Files that came, newest last, and what became of each."""
    access, given = await reach_recon(request, READ, "source", "status", "limit", "cursor")
    office = skin_of(request).engine.office

    limit, start = number(given, "limit", 100, PAGE_MAX), after_place(given)

    def rows() -> dict[str, Any]:
        ledger = access.ledger.name
        found = office.shelf.page_of_imports(
            ledger,
            source=given.get("source"),
            status=given.get("status"),
            after=start,
            limit=limit + 1,
        )
        return {
            "items": _imports(office, ledger, found[:limit]),
            "next_cursor": leads_on([(row.received_at, row.id) for row in found], limit),
        }

    return json_answer(await run_in_threadpool(rows))


async def post_recon_import(request: Request) -> Response:
    """
    Read a file of a source and keep it.

    The body is the file. Accepted: it counts. Quarantined: it is kept and counts for nothing
    until a reviewer overrides that, or discards it. Rejected: it is kept, and says everything that
    is wrong. The same file again is answered with the import it was. With `dry_run=true` nothing
    is kept, and the first lines are shown as they are understood.
    """
    access, given = await reach_recon(request, PREPARE, *_OF_AN_IMPORT, "dry_run")
    if "source" not in given:
        raise InvalidParameterError("source is required", parameter="source")
    controls = _controls(given.get("controls"))
    data = await read_body(request, FILE_BYTES_MAX)
    office, ledger, name = skin_of(request).engine.office, access.ledger.name, given["source"]
    if read_dry_run(request, "ledger", *_OF_AN_IMPORT):
        preview = await run_in_threadpool(office.imports.preview, ledger, name, data, controls)
        return json_answer(
            {
                "provisional": True,
                "status": preview.status,
                "lines": preview.lines,
                "added": preview.added,
                "first": list(preview.first),
                **preview.document,
            }
        )

    def receive() -> Mapping[str, Any]:
        row, replayed = office.imports.receive(
            ledger,
            name,
            data,
            filename=given.get("filename", "file"),
            by=access.credential.principal,
            controls=controls,
        )
        return _imports(office, ledger, [row])[0] | {"replayed": replayed}

    return await once(request, access, data, receive)


async def get_recon_import(request: Request) -> Response:
    """One import with all its findings."""
    access, _ = await reach_recon(request, READ)
    office = skin_of(request).engine.office

    def found() -> dict[str, Any]:
        row = office.shelf.find_import(access.ledger.name, request.path_params["id"])
        return _imports(office, access.ledger.name, [row])[0]

    return json_answer(await run_in_threadpool(found))


async def get_recon_import_lines(request: Request) -> Response:
    """The lines of an import, as they are understood."""
    access, given = await reach_recon(request, READ, "limit", "cursor")
    shelf, limit = skin_of(request).engine.office.shelf, number(given, "limit", 100, PAGE_MAX)

    def lines() -> dict[str, Any]:
        row = shelf.find_import(access.ledger.name, request.path_params["id"])
        found = list(shelf.lines(access.ledger.name, row.id, after(given), limit + 1))
        items = [
            {"ordinal": ordinal, "line": name, **document}
            for ordinal, name, _, document in found[:limit]
        ]
        last = found[limit - 1][0] if len(found) > limit else -1
        return {"items": items, "next_cursor": next_cursor(last, len(found) > limit)}

    return json_answer(await run_in_threadpool(lines))


async def get_recon_import_raw(request: Request) -> Response:
    """The file, byte for byte."""
    access, _ = await reach_recon(request, READ)
    shelf = skin_of(request).engine.office.shelf
    data = await run_in_threadpool(shelf.content, access.ledger.name, request.path_params["id"])
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"},
    )


async def post_recon_override(request: Request) -> Response:
    """Let a quarantined file count, for a reason; it covers no day by that."""
    access, _ = await reach_recon(request, REVIEW)
    shape, raw = await words(request, OverrideIn)
    imports = skin_of(request).engine.office.imports
    return await once(
        request,
        access,
        raw,
        lambda: {
            "id": imports.override(
                access.ledger.name,
                request.path_params["id"],
                by=access.credential.principal,
                reason=shape.reason,
            )
        },
    )


async def post_recon_discard(request: Request) -> Response:
    """Set a quarantined file aside, for a reason: no statement waits for it any more."""
    access, _ = await reach_recon(request, REVIEW)
    shape, raw = await words(request, DiscardIn)
    imports = skin_of(request).engine.office.imports
    return await once(
        request,
        access,
        raw,
        lambda: {
            "id": imports.discard(
                access.ledger.name,
                request.path_params["id"],
                by=access.credential.principal,
                reason=shape.reason,
                superseded_by=shape.superseded_by,
            )
        },
    )


def _source(row: SourceRow) -> dict[str, Any]:
    return {
        **row.document,
        "version": row.version,
        "created_at": format_time(row.created_at),
        "created_by": row.created_by,
    }


def _imports(office: Office, ledger: str, rows: Sequence[ImportRow]) -> list[dict[str, Any]]:
    rulings = office.imports.rulings_among(ledger, rows)
    return [_import(row, rulings) for row in rows]


def _import(row: ImportRow, rulings: Mapping[str, DecisionRow]) -> dict[str, Any]:
    ruling = rulings.get(row.id)
    return {
        "id": row.id,
        "source": row.source,
        "source_version": row.source_version,
        "filename": row.filename,
        "sha256": row.sha256,
        "status": row.status,
        "counts": counts(row, rulings),
        "ruling": ruling
        and {
            "id": ruling.id,
            "act": ruling.act,
            "at": format_time(ruling.made_at),
            "by": ruling.made_by,
            **{name: ruling.document[name] for name in _OF_A_RULING if name in ruling.document},
        },
        "lines": row.lines,
        "added": row.added,
        "received_at": format_time(row.received_at),
        "received_by": row.received_by,
        **row.document,
    }


def _controls(text: str | None) -> list[Control]:
    """What a person knows of the report from elsewhere: a JSON list in one parameter."""
    if text is None:
        return []
    try:
        return [_control(given) for given in parse_json(text)]
    except (RejectedError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise InvalidParameterError(
            "controls must be a JSON list of currency, period_from, period_to and any of lines, "
            "net_minor, opening_minor, closing_minor",
            parameter="controls",
        ) from error


def _control(given: Mapping[str, Any]) -> Control:
    control = Control(
        **{
            **given,
            "period_from": date.fromisoformat(given["period_from"]),
            "period_to": date.fromisoformat(given["period_to"]),
        }
    )
    numbers = (control.lines, control.net_minor, control.opening_minor, control.closing_minor)
    is_numbers = all(each is None or type(each) is int for each in numbers)
    if not (is_numbers and isinstance(control.currency, str)):
        raise TypeError("a member of a control is of another type")
    if not (plausible(control.period_from.year) and plausible(control.period_to.year)):
        raise ValueError("no statement is of such a year")
    return control


_SOURCE = parameter("source", "query", {"type": "string"}, "Name of the source.")
_STATUS = parameter("status", "query", {"type": "string"}, "accepted, quarantined or rejected.")
_PAGE = {"items": [IMPORT], "next_cursor": None}
_FILE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_RAW: dict[int | str, Any] = {
    200: {
        "description": "The file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

add_route(
    router,
    "GET",
    "/sources",
    get_recon_sources,
    scopes=READ,
    model=ReconPageOut,
    example={"items": [SOURCE], "next_cursor": None},
    parameters=(LIMIT, CURSOR),
)
add_route(
    router,
    "POST",
    "/sources",
    post_recon_source,
    scopes=PREPARE,
    model=ReconOut,
    example=SOURCE | {"version": 1},
    request_body=body(SourceIn, {"stripe": SOURCE}),
)
add_route(
    router,
    "GET",
    "/imports",
    get_recon_imports,
    scopes=READ,
    model=ReconPageOut,
    example=_PAGE,
    parameters=(_SOURCE, _STATUS, LIMIT, CURSOR),
)
add_route(
    router,
    "POST",
    "/imports",
    post_recon_import,
    scopes=PREPARE,
    model=ReconOut,
    example=IMPORT,
    parameters=(
        _SOURCE | {"required": True},
        parameter("filename", "query", {"type": "string"}, "For people."),
        parameter("controls", "query", {"type": "string"}, "Totals known from elsewhere, as JSON."),
        parameter("dry_run", "query", {"type": "boolean"}, "Keep nothing."),
    ),
    request_body=_FILE,
)
add_route(
    router,
    "GET",
    "/imports/{id}",
    get_recon_import,
    scopes=READ,
    model=ReconOut,
    example=IMPORT,
)
add_route(
    router,
    "GET",
    "/imports/{id}/lines",
    get_recon_import_lines,
    scopes=READ,
    model=ReconPageOut,
    example={"items": [{"ordinal": 0, "kind": "refund"}], "next_cursor": None},
    parameters=(LIMIT, CURSOR),
)
add_route(
    router,
    "GET",
    "/imports/{id}/raw",
    get_recon_import_raw,
    scopes=READ,
    model=ReconOut,
    example={},
    other_answers=_RAW,
)
add_route(
    router,
    "POST",
    "/imports/{id}/override",
    post_recon_override,
    scopes=REVIEW,
    model=ReconOut,
    example={"id": IMPORT["id"]},
    request_body=body(OverrideIn, {"reason": {"reason": "The bank confirmed the balance."}}),
)
add_route(
    router,
    "POST",
    "/imports/{id}/discard",
    post_recon_discard,
    scopes=REVIEW,
    model=ReconOut,
    example={"id": IMPORT["id"]},
    request_body=body(
        DiscardIn,
        {
            "superseded": {
                "reason": "The bank sent the month again.",
                "superseded_by": IMPORT["id"],
            }
        },
    ),
)

"""Cases: breaks and what people do about them; matches that people make and take apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.answers import json_answer
from api.auth import check_scope
from api.dependencies import Access, Skin, skin_of
from api.openapi import body, parameter
from api.recon import (
    CURSOR,
    LIMIT,
    PAGE_MAX,
    PREPARE,
    READ,
    REVIEW,
    add_route,
    after_place,
    leads_on,
    number,
    once,
    page,
    reach_recon,
    request_name,
    words,
)
from api.recon_schemas import EventIn, MatchIn, ReconOut, ReconPageOut, UnmatchIn
from api.routes.writes import WRITE_PROBLEMS
from ledger.errors import BreakError, LedgerError, RejectedError
from ledger.forms.grammar import wrong
from ledger.forms.names import check_principal_name
from ledger.recon.casework import REASON
from ledger.submission import Posting

router = APIRouter(prefix="/v1/recon", tags=["reconciliation"])

AGE_MAX = 100_000
BREAK = {
    "id": "019a2b5d-ac96-774b-bcce-b302099a8057",
    "status": "open",
    "state": "missing_in_ledger",
    "sub_state": "reversed_at_provider",
    "differences": {"EUR": "4500"},
    "age_days": 1,
}
_FILTERS = ("status", "state", "owner", "older_than")


async def get_recon_breaks(request: Request) -> Response:
    """Breaks, oldest first: those that are not closed, unless `status` says which."""
    access, given = await reach_recon(request, READ, *_FILTERS, "limit", "cursor")
    older_than = number(given, "older_than", 1, AGE_MAX) if "older_than" in given else None
    limit, start = number(given, "limit", 100, PAGE_MAX), after_place(given)
    casework = skin_of(request).engine.office.casework

    def rows() -> dict[str, Any]:
        found = casework.breaks(
            access.ledger.name,
            today=datetime.now(UTC).date(),
            status=given.get("status"),
            state=given.get("state"),
            owner=given.get("owner"),
            older_than=older_than,
            after=start,
            limit=limit + 1,
        )
        return {
            "items": [document for _, document in found[:limit]],
            "next_cursor": leads_on([(row.created_at, row.id) for row, _ in found], limit),
        }

    return json_answer(await run_in_threadpool(rows))


async def get_recon_break(request: Request) -> Response:
    """One break: both sides, all that happened, and the entry that would close it."""
    access, _ = await reach_recon(request, READ)
    return json_answer(await _found(skin_of(request), access, request.path_params["id"]))


async def get_recon_break_events(request: Request) -> Response:
    """What happened to a break, in order."""
    access, given = await reach_recon(request, READ, "limit", "cursor")
    found = await _found(skin_of(request), access, request.path_params["id"])
    return json_answer(page(found["events"], given))


async def post_recon_break_event(request: Request) -> Response:
    """
    Assign a break, propose how it is closed, reject or approve that.

    An approval records the entry that was proposed, with the break as its cause, and closes the
    break. Above the source's `approval_above` another person approves than proposed. Rejecting
    and approving need `recon:review`.
    """
    access, _ = await reach_recon(request, PREPARE)
    shape, raw = await words(request, EventIn)
    if shape.action in {"reject", "approve"}:
        check_scope(access.credential, *REVIEW)
    if shape.action == "approve":
        return await _approve(request, access, raw)
    act = _acts(skin_of(request), access, request.path_params["id"], shape)
    return await once(request, access, raw, act)


async def post_recon_match(request: Request) -> Response:
    """Put items together by hand, from the next run on: a suggestion that is confirmed, say."""
    access, _ = await reach_recon(request, PREPARE)
    shape, raw = await words(request, MatchIn)
    casework, by = skin_of(request).engine.office.casework, access.credential.principal
    return await once(
        request,
        access,
        raw,
        lambda: {
            "id": casework.put_together(access.ledger.name, shape.items, by=by, note=shape.note)
        },
    )


async def post_recon_unmatch(request: Request) -> Response:
    """Take one match apart, for a reason; no other match is touched."""
    access, _ = await reach_recon(request, PREPARE)
    shape, raw = await words(request, UnmatchIn)
    casework, by = skin_of(request).engine.office.casework, access.credential.principal
    match = request.path_params["id"]
    return await once(
        request,
        access,
        raw,
        lambda: {
            "id": casework.take_apart(
                access.ledger.name, shape.run, match, by=by, reason=shape.reason
            )
        },
    )


def _acts(skin: Skin, access: Access, break_id: str, shape: EventIn) -> Callable[[], Any]:
    casework, ledger = skin.engine.office.casework, access.ledger.name
    by = access.credential.principal

    def act() -> Mapping[str, Any]:
        if shape.action == "assign":
            if shape.to is None:
                raise wrong("/to", "is required where a break is assigned")
            casework.assign(ledger, break_id, by=by, to=check_principal_name(shape.to, "/to"))
            return {"id": break_id, "status": "assigned"}
        if shape.action == "reject":
            casework.reject(ledger, break_id, by=by, note=shape.note or "")
            return {"id": break_id, "status": "open"}
        proposed = casework.propose(
            ledger,
            break_id,
            by=by,
            rules=access.ledger.rules,
            resolution=shape.resolution or "entry",
            note=shape.note,
            reason=shape.reason or REASON,
            entry=shape.entry,
        )
        return {"id": break_id, "status": "proposed", "entry": proposed}

    return act


async def _approve(request: Request, access: Access, raw: bytes) -> Response:
    """Two steps, each safe to repeat: the approval, and the entry under its own key."""
    key, asked = request_name(request, access, raw)
    skin, break_id = skin_of(request), request.path_params["id"]
    office, ledger = skin.engine.office, access.ledger.name
    casework, by = office.casework, access.credential.principal
    answered = await run_in_threadpool(office.shelf.answer, ledger, key, asked)
    if answered is not None:
        return json_answer({**answered, "replayed": True})
    try:
        approved = await run_in_threadpool(
            lambda: casework.approve(ledger, break_id, by=by, rules=access.ledger.rules)
        )
    except BreakError:
        before = await _found(skin, access, break_id)
        if before["status"] != "closed" or before["proposal"] is None:
            raise
        # The answer of an earlier approval may have been lost on its way, or is another person's.
        closed = {"id": break_id, "status": "closed", "closed_by": before["closed_by"]}
        return json_answer(closed | {"replayed": True})
    posting = Posting(
        ledger=ledger, principal=by, submissions=(approved.submission,), with_receipts=False
    )
    [outcome] = await skin.record(posting)

    def conclude() -> dict[str, Any]:
        if isinstance(outcome, RejectedError):
            entry = casework.refuse(ledger, break_id, by=by, approved=approved, error=outcome)
        elif isinstance(outcome, LedgerError):
            # It may be recorded, or may be taken later: the break stays approved.
            raise outcome
        else:
            entry = outcome.entry
        casework.close(ledger, break_id, by=by, approved=approved, entry=entry)
        closed_by = {"by": approved.resolution, "entry": entry.id, "seq": entry.seq}
        closed = {"id": break_id, "status": "closed", "closed_by": closed_by}
        office.shelf.keep_answer(ledger, key, asked, closed)
        return closed

    closed = await run_in_threadpool(conclude)
    replayed = isinstance(outcome, LedgerError) or outcome.replayed
    return json_answer(closed | {"replayed": replayed}, status=201)


async def _found(skin: Skin, access: Access, break_id: str) -> dict[str, Any]:
    casework = skin.engine.office.casework
    today = datetime.now(UTC).date()
    ledger = access.ledger
    return await run_in_threadpool(
        lambda: casework.find(ledger.name, break_id, today=today, rules=ledger.rules)
    )


def _text(name: str, says: str) -> dict[str, Any]:
    return parameter(name, "query", {"type": "string"}, says)


_ROWS = {"items": [BREAK], "next_cursor": None}

add_route(
    router,
    "GET",
    "/breaks",
    get_recon_breaks,
    scopes=READ,
    model=ReconPageOut,
    example=_ROWS,
    parameters=(
        _text("status", "open, assigned, proposed, approved or closed."),
        _text("state", "Such as missing_in_ledger."),
        _text("owner", "Principal it is assigned to."),
        parameter("older_than", "query", {"type": "integer", "minimum": 1}, "Days."),
        LIMIT,
        CURSOR,
    ),
)
add_route(
    router, "GET", "/breaks/{id}", get_recon_break, scopes=READ, model=ReconOut, example=BREAK
)
add_route(
    router,
    "GET",
    "/breaks/{id}/events",
    get_recon_break_events,
    scopes=READ,
    model=ReconPageOut,
    example={"items": [{"ordinal": 0, "action": "opened", "actor": "fin"}], "next_cursor": None},
    parameters=(LIMIT, CURSOR),
)
add_route(
    router,
    "POST",
    "/breaks/{id}/events",
    post_recon_break_event,
    scopes=PREPARE,
    model=ReconOut,
    example=BREAK | {"status": "proposed"},
    request_body=body(EventIn, {"propose": {"action": "propose", "resolution": "entry"}}),
    more_problems=WRITE_PROBLEMS,
)
add_route(
    router,
    "POST",
    "/matches",
    post_recon_match,
    scopes=PREPARE,
    model=ReconOut,
    example={"id": BREAK["id"]},
    request_body=body(MatchIn, {"two": {"items": ["ledger:a", "provider:b"], "note": "Seen."}}),
)
add_route(
    router,
    "POST",
    "/matches/{id}/unmatch",
    post_recon_unmatch,
    scopes=PREPARE,
    model=ReconOut,
    example={"id": BREAK["id"]},
    request_body=body(UnmatchIn, {"one": {"run": BREAK["id"], "reason": "Another order."}}),
)

"""
Recon: what the routes of finance's room have in common.

The ledger is a parameter here, not part of the path: `/v1/recon/...?ledger=shop`. Every POST has
an idempotency key; the same request under it is answered as it was the first time.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.answers import json_answer
from api.auth import check_ledger, check_scope, check_unlimited
from api.body import JSON, SMALL_BODY_BYTES_MAX, media_type, read_body
from api.dependencies import Access, skin_of
from api.errors import (
    InvalidParameterError,
    MalformedRequestError,
    MissingKeyError,
    UnexpectedError,
    UnexpectedWriteError,
)
from api.lean import Endpoint, LeanRoute
from api.openapi import ACCESS, APPENDING, answer, parameter, problems
from api.routes.writes import KEY, read_key
from api.shapes import (
    Shape,
    parse_shape,
)
from ledger import errors as domain
from ledger.canonical import parse_json
from ledger.forms.grammar import below, wrong
from ledger.forms.names import REGISTRY
from ledger.forms.timestamps import format_time, parse_time
from ledger.recon.shelf import FIRST, Place

PREPARE = ("recon:prepare", "recon:review")
REVIEW = ("recon:review",)
READ = ("recon:prepare", "recon:review", "entries:read", "export")
PAGE_MAX = 1_000

LEDGER = parameter("ledger", "query", {"type": "string"}, "Name of the ledger.", required=True)
LIMIT = parameter(
    "limit",
    "query",
    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100},
    "Most rows of the page.",
)
CURSOR = parameter("cursor", "query", {"type": "string"}, "`next_cursor` of the page before.")
ID = parameter("id", "path", {"type": "string"}, "Its id.")

READ_PROBLEMS = (*ACCESS, InvalidParameterError, domain.OverloadedError, UnexpectedError)
WRITE_PROBLEMS = (
    *ACCESS,
    InvalidParameterError,
    MalformedRequestError,
    MissingKeyError,
    domain.MalformedJsonError,
    domain.MalformedEffectError,
    domain.TooLargeError,
    domain.IdempotencyConflictError,
    domain.OverloadedError,
    *APPENDING,
    domain.BreakError,
    UnexpectedWriteError,
)

Parameters = Mapping[str, str]


async def reach_recon(
    request: Request, scopes: tuple[str, ...], *known: str
) -> tuple[Access, dict[str, str]]:
    """
    Who calls, for which ledger, and the other parameters; all checked.

    Raises:
        UnauthenticatedError, ForbiddenError, NotFoundError, InvalidParameterError: In this order.
    """
    skin = skin_of(request)
    credential = await skin.authenticator.authenticate(request)
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in {"ledger", *known} or name in given:
            says = "comes twice" if name in given else "is not a parameter of this path"
            raise InvalidParameterError(f"{name[:63]} {says}", parameter=name[:63])
        if "\0" in value:
            raise InvalidParameterError(f"{name} must not have NUL characters", parameter=name)
        given[name] = value
    if not given.get("ledger"):
        raise InvalidParameterError("ledger is required", parameter="ledger")
    check_ledger(credential, given["ledger"])
    check_unlimited(credential)
    check_scope(credential, *scopes)
    if request.method == "POST" and given["ledger"] == REGISTRY:
        raise domain.ForbiddenError(f"{REGISTRY} is written by the service itself", ledger=REGISTRY)
    return Access(credential=credential, ledger=await skin.ledger(given.pop("ledger"))), given


def number(given: Parameters, name: str, default: int, maximum: int) -> int:
    """
    A parameter that is a whole number from 1 on.

    Raises:
        InvalidParameterError: It is none, or over the maximum.
    """
    text = given.get(name, str(default))
    is_short = len(text) <= len(str(maximum))
    if not (is_short and text.isascii() and text.isdecimal() and 1 <= int(text) <= maximum):
        raise InvalidParameterError(f"{name} must be from 1 to {maximum}", parameter=name)
    return int(text)


def after(given: Parameters) -> int:
    """
    Where a page begins: after this row.

    Raises:
        InvalidParameterError: The cursor is none of ours.
    """
    cursor = given.get("cursor")
    if cursor is None:
        return -1
    try:
        found = base64.urlsafe_b64decode(cursor.encode()).decode()
    except ValueError:
        found = ""
    if not found.isascii() or not found.isdecimal() or len(found) > 15:  # noqa: PLR2004 - digits.
        raise InvalidParameterError("cursor is not one of this listing", parameter="cursor")
    return int(found)


def after_place(given: Parameters) -> Place:
    """
    Where a page begins that is found by time and id.

    Raises:
        InvalidParameterError: The cursor is none of ours.
    """
    cursor = given.get("cursor")
    if cursor is None:
        return FIRST
    try:
        at, _, id_ = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return Place(at=parse_time(at), id=str(UUID(id_)))
    except ValueError as error:
        raise InvalidParameterError(
            "cursor is not one of this listing", parameter="cursor"
        ) from error


def leads_on(places: Sequence[tuple[datetime, str]], limit: int) -> str | None:
    """The cursor of a page of `limit` rows, where more than that were found."""
    if len(places) <= limit:
        return None
    at, id_ = places[limit - 1]
    return base64.urlsafe_b64encode(f"{format_time(at)} {id_}".encode()).decode()


def page(rows: list[Any], given: Parameters, name: str = "items") -> dict[str, Any]:
    """One page of rows that are all at hand."""
    start, limit = after(given) + 1, number(given, "limit", 100, PAGE_MAX)
    cut = rows[start : start + limit]
    return {name: cut, "next_cursor": next_cursor(start + limit - 1, len(rows) > start + limit)}


def next_cursor(last: int, more: bool) -> str | None:
    """The cursor that leads on after row `last`."""
    return base64.urlsafe_b64encode(str(last).encode()).decode() if more else None


async def words(request: Request, shape: type[Shape]) -> tuple[Shape, bytes]:
    """
    The JSON body in the shape of a model, and its bytes.

    Raises:
        MalformedJsonError, MalformedEffectError, TooLargeError: It is none, or cannot be kept.
    """
    media_type(request, JSON)
    raw = await read_body(request, SMALL_BODY_BYTES_MAX)
    document = parse_json(raw) if raw else {}
    check_keepable(document, "")
    return parse_shape(shape, document), raw


def check_keepable(value: Any, pointer: str) -> None:
    """
    Check that no text in a JSON value has what the database cannot keep in one.

    Raises:
        MalformedEffectError: There is a NUL character.
    """
    if isinstance(value, str) and "\0" in value:
        raise wrong(pointer, "must not have NUL characters")
    if isinstance(value, list):
        for at, each in enumerate(value):
            check_keepable(each, below(pointer, at))
    if isinstance(value, dict):
        for name, each in value.items():
            check_keepable(name, pointer)
            check_keepable(each, below(pointer, name))


async def once(
    request: Request,
    access: Access,
    raw: bytes,
    act: Callable[[], Mapping[str, Any]],
    *,
    status: int = 201,
) -> Response:
    """
    Answer a POST under its key: the same request again is answered as it was.

    Raises:
        MissingKeyError: There is no key.
        IdempotencyConflictError: The key names another request.
        OverloadedError: The same request is under way.
    """
    office, ledger = skin_of(request).engine.office, access.ledger.name
    key, asked = request_name(request, access, raw)

    def answered() -> tuple[Mapping[str, Any], bool]:
        with office.requests.hold(f"recon/{ledger}/request/{key}"):
            before = office.shelf.answer(ledger, key, asked)
            if before is not None:
                return before, True
            made = act()
            office.shelf.keep_answer(ledger, key, asked, made)
            return made, False

    document, replayed = await run_in_threadpool(answered)
    return json_answer(
        {**document, "replayed": replayed or document.get("replayed", False)},
        status=200 if replayed else status,
        headers={"Idempotent-Replayed": "true"} if replayed else None,
    )


def request_name(request: Request, access: Access, raw: bytes) -> tuple[str, bytes]:
    """
    The key of a POST, as each principal has its own, and the hash of what it asks.

    Raises:
        MissingKeyError: There is no key.
    """
    said = hashlib.sha256(request.url.path.encode() + b"\0" + request.scope["query_string"])
    asked = hashlib.sha256(said.digest() + raw).digest()
    return f"{access.credential.principal}/{read_key(request)}", asked


def add_route(
    router: APIRouter,
    method: str,
    path: str,
    endpoint: Endpoint,
    *,
    scopes: tuple[str, ...],
    model: type[BaseModel],
    example: Mapping[str, Any],
    parameters: tuple[Mapping[str, Any], ...] = (),
    request_body: Mapping[str, Any] | None = None,
    more_problems: tuple[type[domain.LedgerError], ...] = (),
    other_answers: Mapping[int | str, Any] | None = None,
) -> None:
    """Serve an endpoint, and say everything about it in the OpenAPI document."""
    is_write = method == "POST"
    said = endpoint.__doc__ or ""
    listed = [LEDGER, *parameters, *([ID] if "{id}" in path else []), *([KEY] if is_write else [])]
    responses: dict[int | str, Any] = {200: answer("The answer.", model, example)}
    if is_write:
        responses[201] = answer("Done.", model, example)
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        response_class=Response,
        status_code=201 if is_write else 200,
        route_class_override=LeanRoute,
        operation_id=endpoint.__name__,
        summary=said.partition("\n")[0].rstrip("."),
        description=f"{said.strip()}\n\nScope: one of {', '.join(f'`{each}`' for each in scopes)}.",
        responses={
            **responses,
            **(other_answers or {}),
            **problems(*(WRITE_PROBLEMS if is_write else READ_PROBLEMS), *more_problems),
        },
        openapi_extra={"parameters": listed, **(request_body or {})},
    )

"""
Intents: the dialog before history, one step per request, and what is open.

Writes are plain endpoints (see `api.lean`). A step is taken in a thread, for it waits for its
commit; a hand-off goes the way of every entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import intent_examples as shown
from api.answers import json_answer, provisional_document, recorded_document
from api.body import EFFECT_BODY_BYTES_MAX, JSON, SMALL_BODY_BYTES_MAX, media_type, read_body
from api.dependencies import Access, reach, skin_of
from api.errors import InvalidParameterError, MissingKeyError, UnexpectedError
from api.intent_answers import intent_document, line_document
from api.intent_schemas import (
    ApprovalOfIn,
    CancellationIn,
    ConclusionIn,
    ExecutionIn,
    HandedOffOut,
    HandOverIn,
    IntentOut,
    IntentPageOut,
    PromiseIn,
)
from api.lean import LeanRoute
from api.openapi import ACCESS, answer, body, parameter, problems
from api.routes.writes import (
    DRY_RUN,
    KEY,
    LEDGER,
    PREFER,
    WRITE_PROBLEMS,
    location,
    off_loop_if_large,
    prefers,
    read_dry_run,
    read_key,
)
from api.shapes import (
    parse_shape,
)
from api.wire import Wire
from ledger import errors as domain
from ledger.canonical import parse_json
from ledger.dialog.handoff import Handoffs
from ledger.dialog.intents import PAGE_MAX
from ledger.dialog.promise import build_promise, check_key, parse_step
from ledger.dialog.steps import Asked, Taken
from ledger.effect import Effect
from ledger.errors import (
    HandedOffError,
    IntentChangedError,
    LedgerError,
    NotFoundError,
    PossibleRepeatError,
)
from ledger.forms.grammar import UUID
from ledger.forms.payload import build_payloads
from ledger.intent import Step
from ledger.submission import Handoff, Posting, Provisional, Recorded, Submission

PREFIX = "/v1/ledgers/{ledger}"
router = APIRouter(prefix=PREFIX, tags=["intents"])

IntentsRead = Annotated[
    Access, Depends(reach("entries:read", "intents:write", "approve", "recon:prepare"))
]

# An intent that moves each time it is prepared is being worked on by somebody else.
HANDOFF_TRIES = 4

STEP_PROBLEMS = (
    *WRITE_PROBLEMS,
    MissingKeyError,
    domain.TransitionError,
    domain.IntentUnknownError,
    domain.HandedOffError,
    domain.StaleTokenError,
    domain.ApprovalRequiredError,
    domain.SelfApprovalError,
    domain.IntentChangedError,
)


class IntentQuery(BaseModel):
    """Which intents; all that are given must hold."""

    model_config = ConfigDict(extra="forbid")

    state: (
        Literal["open", "promised", "executing", "handed_off", "cancelled", "failed", "unknown"]
        | None
    ) = Field(default=None, description="open: promised, executing and unknown.")
    world: Literal["RML2", "RML3"] | None = None
    older_than: str | None = Field(default=None, description="Promised longer ago: 90s, 15m, 7d.")
    subject: str | None = None
    business_key: str | None = None
    key: str | None = Field(default=None, description="Idempotency key of the promise.")
    limit: int = Field(default=100, ge=1, le=PAGE_MAX)
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


@router.get(
    "/intents",
    summary="Intents, page by page",
    responses={
        200: answer("One page, oldest promise first.", IntentPageOut, shown.INTENT_PAGE),
        **problems(
            *ACCESS,
            InvalidParameterError,
            domain.OverloadedError,
            UnexpectedError,
        ),
    },
    response_class=Response,
)
def get_intents(
    request: Request, access: IntentsRead, query: Annotated[IntentQuery, Query()]
) -> Response:
    """
    Intents that match every filter. An unknown filter is refused.

    Scope: `entries:read`, `intents:write`, `approve` or `recon:prepare`.
    """
    filters = query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    try:
        lines, cursor = skin_of(request).engine.intents.page(
            access.ledger.name, filters, limit=query.limit, cursor=query.cursor
        )
    except (domain.MalformedEffectError, domain.TooLargeError) as error:
        # The rules know a filter as a member; here it is a parameter.
        raise InvalidParameterError(
            error.message.removeprefix("/"),
            parameter=str(error.details["pointer"]).removeprefix("/"),
        ) from error
    return json_answer({"intents": [line_document(line) for line in lines], "next_cursor": cursor})


@router.get(
    "/intents/{id}",
    summary="An intent with its events, age and world",
    responses={
        200: answer("The intent.", IntentOut, shown.INTENT),
        **problems(
            *ACCESS,
            InvalidParameterError,
            domain.OverloadedError,
            domain.TransitionError,
            UnexpectedError,
        ),
    },
    response_class=Response,
)
def get_intent(request: Request, access: IntentsRead, id: str) -> Response:  # noqa: A002 - the name of the path's parameter.
    """Scope: `entries:read`, `intents:write`, `approve` or `recon:prepare`."""
    seen = skin_of(request).engine.intents.get(access.ledger.name, id)
    return json_answer(intent_document(seen.intent, seen.now))


async def post_intent(request: Request) -> Response:
    """Promise an effect before it is tried."""
    access, words, dry_run, key = await _read_step(request, PromiseIn, "intents:write")
    promise = build_promise(words, key=key, rules=access.ledger.rules, now=datetime.now(UTC))
    asked = Asked(
        ledger=access.ledger.name,
        principal=access.credential.principal,
        key=key,
        step=Step.PROMISED,
        said=promise.content,
        effect=promise.effect,
    )
    return await _take(request, asked, dry_run=dry_run)


async def post_execution(request: Request) -> Response:
    """Say that execution started, what came of it, or how it went wrong."""
    access, words, dry_run, key = await _read_step(request, ExecutionIn, "intents:write")
    return await _step(request, access, Step(words.pop("step")), words, key, dry_run=dry_run)


async def post_approval(request: Request) -> Response:
    """Approve exactly this content, as a person who neither promised it nor carries it out."""
    access, words, dry_run, key = await _read_step(request, ApprovalOfIn, "approve")
    return await _step(request, access, Step.APPROVED, words, key, dry_run=dry_run)


async def post_cancellation(request: Request) -> Response:
    """Give an intent up before its execution has started."""
    access, words, dry_run, key = await _read_step(request, CancellationIn, "intents:write")
    return await _step(request, access, Step.CANCELLED, words, key, dry_run=dry_run)


async def post_evidence(request: Request) -> Response:
    """Say what became of an execution; the only way out of an unknown outcome."""
    access, words, dry_run, key = await _read_step(
        request, ConclusionIn, "intents:write", "observe", "recon:prepare"
    )
    return await _step(request, access, Step.EVIDENCE, words, key, dry_run=dry_run)


async def post_handoff(request: Request) -> Response:
    """Make the intent an entry, once: from here on it is history."""
    access, words, dry_run, key = await _read_step(
        request, HandOverIn, "intents:write", limit=EFFECT_BODY_BYTES_MAX
    )
    skin, record = skin_of(request), access.ledger
    payloads = words.pop("payloads", ())
    note = words.pop("note", None)
    token = words.pop("token")
    kept = (
        build_payloads(payloads, note=note, screen=record.rules.screen)
        if payloads or note is not None
        else ()
    )
    handoffs = Handoffs(intents=skin.engine.intents, reader=skin.engine.reader)
    refused: PossibleRepeatError | None = None
    outcome: Recorded | Provisional | LedgerError | None = None
    for _ in range(HANDOFF_TRIES):
        prepared = await run_in_threadpool(
            lambda why: handoffs.prepare(
                record,
                request.path_params["id"],
                words,
                key=key,
                now=datetime.now(UTC),
                refused=why,
            ),
            refused,
        )
        if isinstance(prepared, Recorded):
            return _handed_off(prepared)
        posting = Posting(
            ledger=record.name,
            principal=access.credential.principal,
            submissions=(_submission(prepared, kept, token),),
            with_receipts=not prefers(request, "return=minimal"),
        )
        if dry_run:
            [outcome] = await run_in_threadpool(skin.engine.dry_run.run, posting)
        else:
            [outcome] = await skin.record(posting)
        refused = outcome if isinstance(outcome, PossibleRepeatError) else None
        if refused is not None and refused.details["seq"] is None:
            break
        if not isinstance(outcome, HandedOffError | IntentChangedError | PossibleRepeatError):
            break
    assert outcome is not None
    if isinstance(outcome, LedgerError):
        raise outcome
    if isinstance(outcome, Provisional):
        return json_answer(provisional_document(outcome, record.name))
    return _handed_off(outcome)


def _submission(effect: Effect, payloads: Any, token: int) -> Submission:
    return Submission(effect=effect, payloads=payloads, handoff=Handoff(token=token))


def _handed_off(recorded: Recorded) -> Response:
    intent = recorded.entry.effect.intent
    assert intent is not None
    headers = {"Location": location(recorded)}
    if recorded.replayed:
        headers["Idempotent-Replayed"] = "true"
    return json_answer(
        recorded_document(recorded) | {"intent": {"id": intent.id, "digest": intent.digest}},
        status=200 if recorded.replayed else 201,
        headers=headers,
    )


async def _read_step(
    request: Request, model: type[Wire], *scopes: str, limit: int = SMALL_BODY_BYTES_MAX
) -> tuple[Access, dict[str, Any], bool, str]:
    """Who asks, the words of the body, whether it is a dry run, and the key."""
    access = await skin_of(request).write_access(request, *scopes)
    intent = request.path_params.get("id")
    if intent is not None and not UUID.fullmatch(intent):
        raise NotFoundError(f"there is no intent {intent[:64]} in this ledger")
    dry_run = read_dry_run(request)
    key = check_key(read_key(request))
    media_type(request, JSON)
    raw = await read_body(request, limit)
    words = await off_loop_if_large(raw, lambda: parse_shape(model, parse_json(raw)))
    return access, words.model_dump(exclude_unset=True, by_alias=True), dry_run, key


async def _step(
    request: Request, access: Access, step: Step, words: Any, key: str, *, dry_run: bool
) -> Response:
    said, token = parse_step(step, words)
    asked = Asked(
        ledger=access.ledger.name,
        principal=access.credential.principal,
        key=key,
        step=step,
        said=said,
        token=token,
        intent=request.path_params["id"].lower(),
    )
    return await _take(request, asked, dry_run=dry_run)


async def _take(request: Request, asked: Asked, *, dry_run: bool) -> Response:
    dialog = skin_of(request).engine.dialog
    taken: Taken = await run_in_threadpool(dialog.rehearse if dry_run else dialog.take, asked)
    document = intent_document(taken.intent, taken.now, token=taken.token)
    if dry_run:
        # The id of what is only rehearsed leads nowhere.
        return json_answer(document | {"provisional": True, "world": "RML1"})
    headers = {"Location": f"/v1/ledgers/{asked.ledger}/intents/{taken.intent.id}"}
    if taken.replayed:
        headers["Idempotent-Replayed"] = "true"
    is_new = asked.step is Step.PROMISED and not taken.replayed
    return json_answer(
        document | {"replayed": taken.replayed}, status=201 if is_new else 200, headers=headers
    )


# ---- The routes -----------------------------------------------------------------------

ID = parameter("id", "path", {"type": "string", "format": "uuid"}, "Id of the intent.")


def _route(
    path: str,
    endpoint: Any,
    model: type[BaseModel],
    example: Mapping[str, Any],
    scope: str,
    *,
    answers: Mapping[int, tuple[str, type[BaseModel], Any]],
) -> None:
    router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        status_code=min(answers),
        response_class=Response,
        route_class_override=LeanRoute,
        operation_id=endpoint.__name__,
        summary=endpoint.__doc__.rstrip("."),
        description=f"{endpoint.__doc__}\n\nScope: {scope}.",
        responses={
            **{
                status: answer(says, out, value, headers={"Location": "Where to read it."})
                for status, (says, out, value) in answers.items()
            },
            **problems(*STEP_PROBLEMS),
        },
        openapi_extra=body(model, example)
        | {"parameters": [LEDGER, *([ID] if "{id}" in path else []), KEY, PREFER, DRY_RUN]},
    )


_REPLAYED = ("The same request before, or a dry run.", IntentOut, shown.INTENT)
_TAKEN = {200: ("The step was taken, now or by this request before.", IntentOut, shown.INTENT)}

_route(
    "/intents",
    post_intent,
    PromiseIn,
    shown.PROMISES,
    "`intents:write`",
    answers={201: ("Promised.", IntentOut, shown.INTENT), 200: _REPLAYED},
)
_route(
    "/intents/{id}/execution",
    post_execution,
    ExecutionIn,
    shown.EXECUTIONS,
    "`intents:write`",
    answers=_TAKEN,
)
_route(
    "/intents/{id}/approval",
    post_approval,
    ApprovalOfIn,
    shown.APPROVALS,
    "`approve`",
    answers=_TAKEN,
)
_route(
    "/intents/{id}/cancellation",
    post_cancellation,
    CancellationIn,
    shown.CANCELLATIONS,
    "`intents:write`",
    answers=_TAKEN,
)
_route(
    "/intents/{id}/evidence",
    post_evidence,
    ConclusionIn,
    shown.CONCLUSIONS,
    "`intents:write`, `observe` or `recon:prepare`",
    answers=_TAKEN,
)
_route(
    "/intents/{id}/handoff",
    post_handoff,
    HandOverIn,
    shown.HAND_OVERS,
    "`intents:write`",
    answers={
        201: ("It is an entry now.", HandedOffOut, shown.HANDED_OFF),
        200: ("It was one before, or this is a dry run.", HandedOffOut, shown.HANDED_OFF),
    },
)

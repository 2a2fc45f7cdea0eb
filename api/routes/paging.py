"""Paging: which rule something would fire, and why; nobody is called by asking."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.answers import json_answer
from api.auth import check_ledger, check_scope
from api.dependencies import Skin, skin_of
from api.errors import InvalidParameterError, UnexpectedError
from api.intent_schemas import PagingOut
from api.openapi import ACCESS, answer, problems
from api.problems import PROBLEMS
from api.routes.operation import newest_of_each
from ledger import errors as domain
from ledger.dialog.intents import SeenIntent
from ledger.forms.timestamps import parse_rfc3339, parse_time
from ledger.intent import Outcome, State
from ledger.registry.credentials import Credential
from ledger.worlds.paging import RULES, Happening, explain

router = APIRouter(tags=["operation"])

EXAMPLE: dict[str, Any] = {
    "at": "2027-03-02T03:00:00+01:00",
    "world": "RML2",
    "rule": "EffectLedgerHandoffDue",
    "pages": "now",
    "is_office_hour": False,
    "why": "an effect happened and is not history 15 minutes before it must be answered, or "
    "later: this calls at any hour",
    "rules": [
        {
            "name": "EffectLedgerHandoffDue",
            "world": "RML2",
            "at_night": True,
            "when": "an effect happened and is not history 15 minutes before it must be answered, "
            "or later",
            "fires": True,
        }
    ],
}


class PagingQuery(BaseModel):
    """What befell: a problem by its code, an intent of a ledger, or a ledger as it stands."""

    model_config = ConfigDict(extra="forbid")

    code: str | None = Field(default=None, description="Code of a problem, such as OVER_REFUND.")
    ledger: str | None = Field(default=None, description="A ledger, as it stands now.")
    intent: str | None = Field(default=None, description="An intent of that ledger.")
    at: str | None = Field(
        default=None,
        description="RFC 3339 time; office hours are those of its offset's clock. Now in UTC, "
        "without.",
    )


@router.get(
    "/v1/paging:explain",
    summary="Which paging rule something would fire, and why",
    responses={
        200: answer("What would become of it.", PagingOut, EXAMPLE),
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
async def get_paging_explanation(
    request: Request, query: Annotated[PagingQuery, Query()]
) -> Response:
    """
    Asks the rules, and calls nobody.

    Any credential for a `code`; `entries:read` or `intents:write` for a ledger or an intent.
    """
    skin = skin_of(request)
    credential = await skin.authenticator.authenticate(request)
    at = _read_at(query.at)
    what = await _happening(skin, credential, query)
    explanation = explain(what, at)
    return json_answer(
        {
            "at": at.isoformat(),
            "world": what.world,
            "rule": explanation.rule.name if explanation.rule else None,
            "pages": explanation.pages,
            "is_office_hour": explanation.is_office_hour,
            "why": explanation.why,
            "rules": [
                {
                    "name": rule.name,
                    "world": rule.world,
                    "at_night": rule.at_night,
                    "when": rule.when,
                    "fires": rule.fires(what),
                }
                for rule in RULES
            ],
        }
    )


async def _happening(skin: Skin, credential: Credential, query: PagingQuery) -> Happening:
    if (query.code is None) == (query.ledger is None):
        raise InvalidParameterError("say what befell: a code, or a ledger", parameter="code")
    if query.code is not None:
        if query.intent is not None:
            raise InvalidParameterError("intent goes with a ledger", parameter="intent")
        return _of_code(query.code)
    assert query.ledger is not None
    check_ledger(credential, query.ledger)
    check_scope(credential, "entries:read", "intents:write")
    record = await skin.ledger(query.ledger)
    if query.intent is not None:
        return _of_intent(
            await run_in_threadpool(skin.engine.intents.get, record.name, query.intent)
        )
    await run_in_threadpool(skin.engine.stops.refresh)
    verified = newest_of_each(await run_in_threadpool(skin.engine.verifications.standing))
    newest = verified.get(record.name)
    return Happening(
        world="RML3",
        is_stopped=any(stop.ledger == record.name for stop in skin.engine.stops.standing),
        is_bad=newest is not None and not newest.good,
    )


def _of_code(code: str) -> Happening:
    row = next((each for each in PROBLEMS.values() if each.code == code), None)
    if row is None:
        raise InvalidParameterError(f"no problem has the code {code[:63]}", parameter="code")
    return Happening(world=row.world, code=row.code, severity=row.severity)


def _of_intent(seen: SeenIntent) -> Happening:
    intent = seen.intent
    state = intent.state_at(seen.now)
    is_executed = state is State.EXECUTING and intent.outcome is Outcome.EXECUTED
    due = parse_time(intent.answer_by) - parse_time(seen.now)
    return Happening(
        world="RML3" if state is State.HANDED_OFF else "RML2",
        standing="executed" if is_executed else state.value,
        on_silence=intent.content["on_silence"],
        answer_in_s=due.total_seconds(),
    )


def _read_at(at: str | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    try:
        parse_rfc3339(at)
        return datetime.fromisoformat(at)
    except ValueError as error:
        raise InvalidParameterError(f"at must be an RFC 3339 time: {error}", parameter="at") from (
            error
        )

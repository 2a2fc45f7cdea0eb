"""
Intents as they stand: one with its events, pages of many, and how many are open.

Silence needs no process that runs: whoever reads compares `answer_by` with the database's clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Engine,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
)

from ledger.admission import stored_intent
from ledger.effect import KEY_MAX, TEXT_MAX
from ledger.errors import NotFoundError
from ledger.forms.grammar import UUID, Parser, form, one_of, text, uuid, wrong
from ledger.forms.timestamps import format_time
from ledger.intent import OPEN, Intent, State
from ledger.storage.database import pool_connection
from ledger.storage.tables import heads, intent_events, intents

PAGE_MAX = 1_000

_SPAN_FORM = "a span such as 90s, 15m, 12h or 7d"
_SPAN = re.compile("([1-9][0-9]{0,6})([smhd])")
_SPAN_UNIT = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_NOW = func.clock_timestamp()
_IS_SILENT = and_(
    intents.c.state.in_([State.PROMISED.value, State.EXECUTING.value]),
    intents.c.outcome.is_(None),
    intents.c.answer_by < _NOW,
)
_STATE = case((_IS_SILENT, State.UNKNOWN.value), else_=intents.c.state)
_IS_OPEN = intents.c.state.in_(sorted(state.value for state in OPEN))
_STATES = {
    "open": _IS_OPEN,
    # Both arms may use the index of what is open.
    State.UNKNOWN: and_(_IS_OPEN, or_(intents.c.state == State.UNKNOWN.value, _IS_SILENT)),
}
_LEDGER: BindParameter[str] = bindparam("ledger")
_ID: BindParameter[str] = bindparam("id")

SELECT_EVENTS = (
    select(intent_events.c.body, _NOW.label("now"))
    .where(intent_events.c.ledger == _LEDGER, intent_events.c.intent == _ID)
    .order_by(intent_events.c.number)
)

_LINE = (
    select(intents, _STATE.label("state_now"), intent_events.c.body, _NOW.label("now"))
    .join(
        intent_events,
        and_(
            intent_events.c.ledger == intents.c.ledger,
            intent_events.c.intent == intents.c.id,
            intent_events.c.number == 0,
        ),
    )
    .where(intents.c.ledger == _LEDGER)
    .order_by(intents.c.id)
    .limit(bindparam("limit"))
)

# By ledger from the heads: the partial index is walked for each, and closed intents are not.
SELECT_OPEN = (
    select(
        intents.c.ledger,
        case((intents.c.outcome == "executed", "executed"), else_=_STATE).label("standing"),
        intents.c.on_silence,
        func.count().label("how_many"),
        func.extract("epoch", _NOW - func.min(intents.c.promised_at)).label("oldest_s"),
        func.extract("epoch", func.min(intents.c.answer_by) - _NOW).label("due_s"),
    )
    .join(heads, heads.c.ledger == intents.c.ledger)
    .where(_IS_OPEN)
    .group_by(intents.c.ledger, "standing", intents.c.on_silence)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenIntent:
    """An intent, and when it was looked at."""

    intent: Intent
    now: str
    """Database clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentLine:
    """One intent as it is listed."""

    id: str
    key: str
    state: State
    outcome: str | None
    content: Mapping[str, Any]
    promised_by: str
    promised_at: datetime
    answer_by: datetime
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIntents:
    """How many intents of a ledger stand alike and wait."""

    ledger: str
    standing: str
    """promised, executing, executed or unknown."""
    on_silence: str
    count: int
    oldest_s: float
    """Seconds since the oldest was promised."""
    due_s: float
    """Seconds until the first must be answered; below zero where that is past."""


class Intents:
    """
    Reads intents. Safe to share between threads.

    Every method may raise DatabaseUnavailableError where the database does not answer, and
    OverloadedError where all connections stay busy.
    """

    def __init__(self, engine: Engine) -> None:
        """Read through connections of `engine`."""
        self._engine = engine

    def get(self, ledger: str, intent_id: str) -> SeenIntent:
        """
        One intent with its events.

        Raises:
            NotFoundError: There is none of this id.
            TransitionError: What is stored are not the events of an intent.
        """
        rows = []
        if UUID.fullmatch(intent_id):
            with pool_connection(self._engine) as connection:
                rows = list(connection.execute(SELECT_EVENTS, {"ledger": ledger, "id": intent_id}))
        if not rows:
            raise NotFoundError(f"there is no intent {intent_id[:64]} in this ledger")
        return SeenIntent(
            intent=stored_intent(intent_id, [row.body for row in rows]),
            now=format_time(rows[-1].now),
        )

    def page(
        self, ledger: str, filters: Mapping[str, str], *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[IntentLine], str | None]:
        """
        Intents that match every filter, oldest promise first.

        Args:
            ledger: Name of the ledger.
            filters: Of `state` (or `open`), `world`, `older_than`, `subject`, `business_key`,
                and `key`, the idempotency key of the promise.
            limit: Most intents of the page, up to `PAGE_MAX`.
            cursor: As the page before gave it.

        Returns:
            The intents, and where the next page begins; None after the last.

        Raises:
            MalformedEffectError, TooLargeError: A filter or the cursor is not in its form.
        """
        query = _LINE
        for name, value in filters.items():
            query = query.where(_condition(name, _PARSERS[name](value, f"/{name}")))
        if cursor is not None:
            query = query.where(intents.c.id > uuid(cursor, "/cursor"))
        with pool_connection(self._engine) as connection:
            rows = connection.execute(query, {"ledger": ledger, "limit": limit + 1}).all()
        lines = [_line(row) for row in rows[:limit]]
        return lines, lines[-1].id if len(rows) > limit else None

    def open(self) -> Sequence[OpenIntents]:
        """What waits in all ledgers, by how it stands."""
        with pool_connection(self._engine) as connection:
            return [
                OpenIntents(
                    ledger=row.ledger,
                    standing=row.standing,
                    on_silence=row.on_silence,
                    count=row.how_many,
                    oldest_s=float(row.oldest_s),
                    due_s=float(row.due_s),
                )
                for row in connection.execute(SELECT_OPEN)
            ]


_SPAN_MAX = timedelta(days=36_500)


def _parse_span(value: Any, pointer: str) -> timedelta:
    match = _SPAN.fullmatch(form(_SPAN, _SPAN_FORM, 8)(value, pointer))
    assert match is not None, "the form was just checked"
    span = timedelta(**{_SPAN_UNIT[match[2]]: int(match[1])})
    if span > _SPAN_MAX:
        raise wrong(pointer, f"must be at most {_SPAN_MAX.days} days")
    return span


_PARSERS: Mapping[str, Parser] = {
    "state": one_of("open", *State),
    "world": one_of("RML2", "RML3"),
    "older_than": _parse_span,
    "subject": text(TEXT_MAX),
    "business_key": text(TEXT_MAX),
    "key": text(KEY_MAX),
}


def _condition(name: str, value: Any) -> ColumnElement[bool]:
    is_history = intents.c.state == State.HANDED_OFF.value
    conditions: dict[str, Callable[[], ColumnElement[bool]]] = {
        "state": lambda: _STATES.get(value, and_(intents.c.state == value, ~_IS_SILENT)),
        "world": lambda: is_history if value == "RML3" else ~is_history,
        "older_than": lambda: intents.c.promised_at < _NOW - value,
        "subject": lambda: intents.c.subject == value,
        "business_key": lambda: intents.c.business_key == value,
        "key": lambda: intents.c.key == value,
    }
    return conditions[name]()


def _line(row: Any) -> IntentLine:
    promise = orjson.loads(row.body)
    return IntentLine(
        id=row.id,
        key=row.key,
        state=State(row.state_now),
        outcome=row.outcome,
        content=promise["said"],
        promised_by=promise["by"],
        promised_at=row.promised_at,
        answer_by=row.answer_by,
        now=row.now,
    )

"""
Sending: rows that were taken go to the ledger, and each comes back with what became of it.

All of them go as one atomic batch, in order: then none of a subject can be recorded before an
earlier one, whatever is refused. Where one is refused nothing was recorded, and those before it go
by themselves. Once it is the first, each subject's first row is asked about for itself: what that
one is told is about it alone.

A refusal says that this try recorded nothing. Where an earlier one had no answer, the ledger is
asked for the key before the row counts as refused; where an answer is not proved, the row is sent
again until one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import orjson

from ledger.client.errors import (
    BudgetSpent,
    ClientError,
    NotSent,
    OutcomeUnknown,
    ReceiptInvalid,
    ReceiptUnsigned,
    Refused,
)
from ledger.client.recorded import FoundEntry, Recorded

UNAUTHENTICATED, FORBIDDEN, NOT_FOUND = 401, 403, 404
SERVER_ERRORS = 500
# About who asks, and where: the same row may pass tomorrow without anybody changing it.
_ABOUT_THE_CALLER = frozenset({UNAUTHENTICATED, FORBIDDEN, NOT_FOUND})
# Of one turn: its lease has to last for them.
_LOOK_UPS_MAX = 10
_PROOF_AWAITED: Mapping[str, Any] = {
    "world": "RML3",
    "action": "retry-with-backoff",
    "reason": "receipt.unsigned",
    "code": "PROOF_AWAITED",
    "status": None,
    "detail": "recorded, proof awaited: the ledger says that it is history, and its receipt is "
    "not signed yet; it is sent again until it is",
}
_TOLD = ("world", "action", "reason", "code", "status", "detail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One effect that a relay has taken from the outbox."""

    id: int
    ledger: str
    subject: str | None
    target: str | None
    """Key of the entry it corrects, where it is named by key."""
    key: str
    body: str
    """An item of a batch, as JSON."""
    tries: int
    """How often it was taken, this time included."""
    doubted: bool = False
    """An earlier try of it had no answer that says whether it is history."""
    underway: bool = False
    """That one may be on its way to the ledger still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOff:
    """It is history, and proved to be."""

    row: Row
    recorded: Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The ledger does not take it as it is: a person decides. It is not in history."""

    row: Row
    problem: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """It is sent again later, under the same key."""

    row: Row
    problem: Mapping[str, Any] | None
    """What stood in its way; None where it was not asked about."""
    sent: bool
    """It may have reached the ledger."""
    doubted: bool = False
    """No answer says whether this try made it history, or none that is proved."""
    rests: bool = False
    """It stood in its own way, so it rests by itself and others go on."""


Outcome = HandedOff | Rejected | Postponed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of the rows of one ledger."""

    outcomes: Sequence[Outcome]
    """One for each row."""
    failure: ClientError | None = None
    """The ledger as a whole could not be asked."""


class Ledger(Protocol):
    """How a ledger is asked; a Client is one."""

    def batch(
        self, items: Iterable[Mapping[str, Any]], *, mode: Literal["independent", "atomic"]
    ) -> Sequence[Recorded | ClientError]:
        """
        Post these items, each under the key it has, as one batch.

        Returns:
            One answer for each.

        Raises:
            ClientError: None of them has an answer of its own. `Refused` says why, with the
                items under `details` where an atomic batch was refused for one of them.
        """
        ...

    def find(self, *, key: str) -> FoundEntry | None:
        """
        The entry under this key, None where there is none.

        Raises:
            ClientError: Nobody says.
        """
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


def send(rows: Sequence[Row], ledger: Ledger) -> Sent:
    """
    Hand off rows of one ledger, in order.

    Args:
        rows: In the order of their ids; of each subject the beginning of what is left of it.
        ledger: That ledger.
    """
    sent = _send(rows, ledger)
    return replace(sent, outcomes=_looked_up(sent.outcomes, ledger))


def _send(rows: Sequence[Row], ledger: Ledger) -> Sent:
    atomic = len(rows) > 1
    try:
        told = _ask(rows, ledger, atomic=atomic)
    except Refused as refusal:
        if atomic and "items" in refusal.details:
            return _send_some(rows, refusal.details.get("index"), ledger)
        return _failed(rows, refusal)
    except ClientError as error:
        return _failed(rows, error)
    return Sent(outcomes=[told[row.id] for row in rows])


def _send_some(rows: Sequence[Row], refused: Any, ledger: Ledger) -> Sent:
    """Hand off what goes before the one that was refused, or find out who is refused."""
    if isinstance(refused, int) and 0 < refused < len(rows):
        some, atomic = list(rows[:refused]), refused > 1
    else:
        some, atomic = heads_of(rows), False
    told: Mapping[int, Outcome] = {}
    try:
        told = _ask(some, ledger, atomic=atomic)
    except ClientError as error:
        # Refused once more: somebody else wrote in between, and the next turn sees what is now.
        if not (isinstance(error, Refused) and "items" in error.details):
            return _failed(rows, error)
    return Sent(
        outcomes=[told.get(row.id) or Postponed(row=row, problem=None, sent=False) for row in rows]
    )


def heads_of(rows: Sequence[Row]) -> list[Row]:
    """Rows that wait for no other of these: the first of each subject, none before its target."""
    heads: list[Row] = []
    subjects: set[str | None] = set()
    keys: set[str | None] = set()
    for row in rows:
        if row.subject not in subjects and row.target not in keys:
            heads.append(row)
        subjects.add(row.subject)
        subjects.discard(None)
        keys.add(row.key)
    return heads


def _ask(rows: Sequence[Row], ledger: Ledger, *, atomic: bool) -> Mapping[int, Outcome]:
    items = [orjson.loads(row.body) for row in rows]
    results: Sequence[Recorded | ClientError]
    try:
        results = ledger.batch(items, mode="atomic" if atomic else "independent")
    except ReceiptUnsigned as error:
        # Of a batch that is recorded whole: what is said of one is true of all.
        results = [error] * len(rows)
    return {row.id: _outcome(row, result) for row, result in zip(rows, results, strict=True)}


def _outcome(row: Row, result: Recorded | ClientError) -> Outcome:
    if isinstance(result, Recorded):
        if result.verified is not None:
            return HandedOff(row=row, recorded=result)
        problem = _PROOF_AWAITED
    else:
        problem = problem_of(result)
        if isinstance(result, Refused) and not _may_pass_later(result):
            return Rejected(row=row, problem=problem)
    return Postponed(row=row, problem=problem, sent=True, doubted=_is_doubtful(result), rests=True)


def _failed(rows: Sequence[Row], error: ClientError) -> Sent:
    problem = problem_of(error)
    sent = not isinstance(error, NotSent)
    # Alone, and still nothing sensible is answered: this row is what the service stumbles over.
    stumbles = len(rows) == 1 and _is_no_answer(error)
    return Sent(
        outcomes=[
            Postponed(
                row=row, problem=problem, sent=sent, doubted=_is_doubtful(error), rests=stumbles
            )
            for row in rows
        ],
        failure=error,
    )


def _is_doubtful(result: Recorded | ClientError) -> bool:
    return not isinstance(result, NotSent | Refused | BudgetSpent)


def _is_no_answer(error: ClientError) -> bool:
    if isinstance(error, Refused):
        return not (error.retryable or _is_the_callers(error))
    return isinstance(error, OutcomeUnknown | ReceiptInvalid)


def _looked_up(outcomes: Sequence[Outcome], ledger: Ledger) -> Sequence[Outcome]:
    """The same, and refused only what is not in history by an earlier try without an answer."""
    held: list[Outcome] = []
    left = _LOOK_UPS_MAX
    for outcome in outcomes:
        row = outcome.row
        if not (isinstance(outcome, Rejected) and row.doubted):
            held.append(outcome)
            continue
        why: str | None
        if row.underway:
            why = "may still be on its way"
        elif not left:
            why = "its key is looked up next"
        else:
            left -= 1
            why = _why_in_doubt(row, ledger)
        if why is None:
            held.append(outcome)
            continue
        told = f"{outcome.problem['detail']}; an earlier try had no answer, and {why}"
        problem = {**outcome.problem, "detail": told}
        held.append(Postponed(row=row, problem=problem, sent=True, rests=True))
    return held


def _why_in_doubt(row: Row, ledger: Ledger) -> str | None:
    """Why it is not known to be outside of history; None where it is."""
    try:
        found = ledger.find(key=row.key)
    except ClientError as error:
        return f"its key could not be looked up: {error.message}"
    return None if found is None else f"its key is in history, under entry {found.id}"


def problem_of(error: ClientError) -> Mapping[str, Any]:
    """What is kept beside a row of why it is not recorded."""
    if isinstance(error, BudgetSpent):
        return problem_of(error.last)
    if isinstance(error, Refused):
        return {name: error.problem.get(name) for name in _TOLD} | {"status": error.status}
    if isinstance(error, ReceiptUnsigned):
        return _PROOF_AWAITED
    code = "OUTCOME_UNKNOWN" if isinstance(error, OutcomeUnknown) else "NOT_ANSWERED"
    return {
        "world": error.world,
        "action": error.action,
        "reason": error.reason,
        "code": code,
        "status": None,
        "detail": error.message,
    }


def _may_pass_later(refusal: Refused) -> bool:
    return (
        refusal.retryable
        or _is_the_callers(refusal)
        or (refusal.status or SERVER_ERRORS) >= SERVER_ERRORS
    )


def _is_the_callers(refusal: Refused) -> bool:
    return refusal.status in _ABOUT_THE_CALLER

"""
Exchange: one request until it has an answer, as steps for whoever has a socket.

A flow yields steps and is sent what came of them; the two drivers, with and without `await`,
perform the same ones. Whether to send again is decided here and nowhere else.

    Send  -> Answer | Failure        Pause -> None        Call -> what it returns
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from ledger.client.budget import RetryBudget
from ledger.client.errors import BudgetSpent, OutcomeUnknown, Refused, Unreachable
from ledger.client.judgement import Answer, Judgement, Meaning, judge
from ledger.client.requests import Request
from ledger.client.retry import Retry, Spent, pause_s

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send this, and tell what came back."""

    request: Request
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Run this, which may wait for a disk."""

    run: Callable[[], Any]


Step = Send | Pause | Call
Flow = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on, and by which clock and dice."""

    url: str
    """Of the service, for people."""
    retry: Retry
    budget: RetryBudget
    clock: Callable[[], float] = time.monotonic
    roll: Callable[[], float] = random.random
    final: frozenset[str] = frozenset()
    """Codes of refusals that are answers here, though they may end: they are not waited out."""


def exchange(request: Request, read: Callable[[Answer], T], patience: Patience) -> Flow[T]:
    """
    Send a request until it is answered, or no more sending is worth it.

    Args:
        request: What is asked.
        read: Makes of a good answer what was asked for.
        patience: The limits.

    Raises:
        Refused: Nothing was recorded.
        BudgetSpent: Nothing was recorded; it was asked to come back later, too often.
        Unreachable: Nothing was recorded; nobody answered.
        OutcomeUnknown: It was sent, and nothing says what became of it.
    """
    patience.budget.earn()
    began = patience.clock()
    doubt: str | None = None
    tries = 0
    while True:
        reply = yield Send(request=request, within_s=patience.retry.attempt_s)
        tries += 1
        found = judge(request, reply, read)
        if found.meaning is Meaning.ACCEPTED:
            return found.value  # type: ignore[return-value]
        if found.meaning in (Meaning.LOST, Meaning.UNCLEAR) and request.writes:
            doubt = doubt or found.why
        is_final = found.problem and found.problem.get("code") in patience.final
        if found.meaning is Meaning.REFUSED or is_final:
            _refuse(request, found, doubt)
        if found.meaning is Meaning.UNCLEAR or not (request.repeatable or doubt is None):
            _give_up(request, found, doubt, patience, tries=tries, which="tries")
        pause = pause_s(
            patience.retry,
            tries=tries,
            elapsed_s=patience.clock() - began,
            asked_s=found.asked_s,
            roll=patience.roll(),
        )
        if isinstance(pause, Spent):
            _give_up(request, found, doubt, patience, tries=tries, which=pause.which)
        if not patience.budget.spend():
            _give_up(request, found, doubt, patience, tries=tries, which="share")
        yield Pause(seconds=pause)


def _refuse(request: Request, found: Judgement[Any], doubt: str | None) -> NoReturn:
    refused = Refused(found.problem, found.status)
    if doubt is None or _is_about_the_words(refused):
        raise refused
    # An earlier try may be under way yet: this refusal speaks of the later one only.
    raise OutcomeUnknown(
        request.name, key=request.key, why=f"{doubt}; a later try was refused: {refused}"
    ) from refused


def _is_about_the_words(refused: Refused) -> bool:
    """Whether the same request was refused at every time: it is not well said, or not the key's."""
    return refused.code == "IDEMPOTENCY_CONFLICT" or (
        refused.action == "fix-request"
        and refused.status in (400, 413, 422)
        # What is named may have been there a moment ago, or be there in a moment.
        and refused.code != "BAD_REFERENCE"
    )


def _give_up(
    request: Request,
    found: Judgement[Any],
    doubt: str | None,
    patience: Patience,
    *,
    tries: int,
    which: str,
) -> NoReturn:
    if doubt is not None:
        again = f", and {tries} tries told no more" if tries > 1 else ""
        raise OutcomeUnknown(request.name, key=request.key, why=doubt + again, tries=tries)
    if found.problem:
        last = Refused(found.problem, found.status)
        if found.meaning is Meaning.UNCLEAR:
            raise last
        raise BudgetSpent(which, last, tries=tries, retry_after_s=found.asked_s) from last
    raise Unreachable(patience.url, found.why)

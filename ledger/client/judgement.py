"""
Judgement: what the answer to a request means, whatever it is.

    accepted   what was asked for is there
    refused    nothing was recorded, and sending it again is of no use
    later      nothing was recorded, and the same may be sent later
    lost       nobody knows yet; under its key the same may be sent again
    unclear    nobody can act on such an answer

A hint that is missing or not known is never acted on, and nothing of RML-3 is ever sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Generic, TypeVar

import orjson

from ledger.client.requests import Request

T = TypeVar("T")

RETRY = "retry-with-backoff"
RECONCILE = "reconcile-first"
ACTIONS = frozenset(
    {
        *(RETRY, RECONCILE, "start-compensation", "escalate-history", "fix-request"),
        *("wait-for-human", "stop"),
    }
)
"""Every hint that is understood here; on any other a client stops."""

NOTHING_WRITTEN = frozenset(
    {
        *("LEDGER_BUSY", "OVERLOADED", "DATABASE_UNAVAILABLE", "CLOCK_UNTRUSTED"),
        *("SIGNER_UNAVAILABLE", "INTENT_CHANGED", "NOT_COSIGNED_YET", "NOT_TIMESTAMPED_YET"),
        *("REQUEST_TIMEOUT", "STOPPING"),
    }
)
"""Codes that come with a wait and say that nothing was written; after any other one cannot know."""

_SERVER_ERRORS = 500
# A question costs nothing to ask again, whoever between us and the service said so.
_BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    content: bytes

    @property
    def is_good(self) -> bool:
        """Whether its status says that what was asked for is done."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's successes.

    def json(self) -> Any:
        """
        The JSON value that came.

        Raises:
            GarbageError: None came.
        """
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError as error:
            raise GarbageError(f"HTTP {self.status} with what is not JSON") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """No whole answer came."""

    why: str
    never_left: bool
    """Certainly not one octet of the request reached anybody."""


class GarbageError(Exception):
    """A good answer is not what was asked for."""


class Meaning(Enum):
    """See the module."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"
    LOST = "lost"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement(Generic[T]):
    """What an answer means, and why."""

    meaning: Meaning
    why: str = ""
    value: T | None = None
    """What was asked for; only where it is accepted."""
    problem: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None
    asked_s: float = 0.0
    """The service asked not to be asked again before so many seconds."""


def judge(
    request: Request,
    reply: Answer | Failure,
    read: Callable[[Answer], T],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Judgement[T]:
    """
    What `reply` means.

    Args:
        request: What was sent.
        reply: What came of it.
        read: Makes of a good answer what was asked for; raises GarbageError where it is not that.
        now: Wall clock, for waits that are told as dates.
    """
    if isinstance(reply, Failure):
        meaning = Meaning.LATER if reply.never_left else Meaning.LOST
        return Judgement(meaning=meaning, why=reply.why)
    if reply.is_good:
        try:
            return Judgement(meaning=Meaning.ACCEPTED, value=read(reply))
        except GarbageError as error:
            return Judgement(meaning=Meaning.UNCLEAR, why=str(error), status=reply.status)
    problem = _problem(reply)
    meaning = meaning_of(problem, reply.status)
    if meaning is Meaning.UNCLEAR and not request.writes and not problem and reply.status in _BUSY:
        meaning = Meaning.LATER
    return Judgement(
        meaning=meaning,
        why=_why(problem, reply.status),
        problem=problem,
        status=reply.status,
        asked_s=_asked_s(problem, reply.headers, now),
    )


def _problem(answer: Answer) -> Mapping[str, Any]:
    """The problem of ours that an answer is; empty where it is none."""
    try:
        found = answer.json()
    except GarbageError:
        return {}
    is_ours = isinstance(found, dict) and isinstance(found.get("code"), str)
    return found if is_ours else {}


def meaning_of(problem: Mapping[str, Any], status: int) -> Meaning:
    """What a problem means; an empty one is none of ours."""
    if not problem:
        return Meaning.UNCLEAR
    action, world = problem.get("action"), problem.get("world")
    if "action" not in problem:
        # This key is not told hints; `code` and `retryable` it is told.
        if problem.get("retryable") is True:
            action = RETRY
        elif problem.get("retryable") is False and status < _SERVER_ERRORS:
            return Meaning.REFUSED
        else:
            return Meaning.UNCLEAR
    if action not in ACTIONS or (action == RECONCILE and status >= _SERVER_ERRORS):
        return Meaning.UNCLEAR
    if action != RETRY or world == "RML3":
        return Meaning.REFUSED
    return Meaning.LATER if problem["code"] in NOTHING_WRITTEN else Meaning.LOST


def _why(problem: Mapping[str, Any], status: int) -> str:
    if not problem:
        return f"HTTP {status} without a problem of an effect ledger"
    said = problem.get("detail") or problem.get("title") or "no words"
    return f"HTTP {status}, {problem['code']}: {said}"


def _asked_s(
    problem: Mapping[str, Any], headers: Mapping[str, str], now: Callable[[], datetime]
) -> float:
    """The longest wait that body and header ask for."""
    in_body = problem.get("retry_after_ms")
    waits = [_header_s(headers, now)]
    if isinstance(in_body, int | float) and not isinstance(in_body, bool):
        waits.append(in_body / 1_000)
    return max(0.0, *waits)


def _header_s(headers: Mapping[str, str], now: Callable[[], datetime]) -> float:
    """RFC 9110 Section 10.2.3: seconds, or a date."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    until = _date(said)
    if until is None:
        return 0.0
    # By the clock of whoever said so, which may not be ours.
    return (until - (_date(headers.get("date", "")) or now())).total_seconds()


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)

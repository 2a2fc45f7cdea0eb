"""
Problems: how each error is told to a client (RFC 9457), in one table.

The domain knows no status codes; here every leaf of `ledger.errors` and `api.errors` has
its row, and a test proves that none is missing. Headers repeat the hints for proxies.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response

from api import errors as http
from ledger import errors as domain
from ledger.errors import LedgerError
from ledger.worlds.rml import FULL, PROBLEM_MEDIA_TYPE, exposed, hint_headers

ACTIONS = (
    "retry-with-backoff",
    "start-compensation",
    "escalate-history",
    "fix-request",
    "reconcile-first",
    "wait-for-human",
    "stop",
)
"""What a client may be told to do; one that meets another word stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One row: everything about an error that does not depend on the request."""

    code: str
    """Stable name for programs."""
    status: int
    world: str
    """World the request is in now: what can still be undone."""
    action: str
    reason: str
    """Dotted code of the cause, coarser than `code`."""
    severity: str
    """`info`, `warning`, `error` or `critical`."""
    title: str
    retry_after_ms: int | None = None
    """Shortest wait before the same request is sent again; None where that is no use."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.retry_after_ms is not None

    @property
    def type(self) -> str:
        """RFC 9457 Section 3.1.1: an identifier, which nobody needs to resolve."""
        return f"urn:effect-ledger:problem:{self.code.lower().replace('_', '-')}"


def _fix(code: str, status: int, reason: str, title: str, **more: Any) -> Problem:
    return Problem(
        code=code,
        status=status,
        world="RML1",
        action="fix-request",
        reason=reason,
        severity="info",
        title=title,
        **more,
    )


def _dialog(code: str, action: str, reason: str, title: str, *, status: int = 409) -> Problem:
    return Problem(
        code=code,
        status=status,
        world="RML2",
        action=action,
        reason=reason,
        severity="warning",
        title=title,
    )


def _history(code: str, status: int, reason: str, title: str) -> Problem:
    return Problem(
        code=code,
        status=status,
        world="RML3",
        action="escalate-history",
        reason=reason,
        severity="warning",
        title=title,
    )


def _retry(code: str, reason: str, title: str, *, after_ms: int, status: int = 503) -> Problem:
    return Problem(
        code=code,
        status=status,
        world="RML2",
        action="retry-with-backoff",
        reason=reason,
        severity="error" if status == 503 else "warning",  # noqa: PLR2004 - an HTTP status.
        title=title,
        retry_after_ms=after_ms,
    )


def _broken(code: str, reason: str, title: str) -> Problem:
    return Problem(
        code=code,
        status=503,
        world="RML3",
        action="escalate-history",
        reason=reason,
        severity="critical",
        title=title,
    )


PROBLEMS: Mapping[type[LedgerError], Problem] = {
    # The request
    domain.MalformedJsonError: _fix(
        "MALFORMED_JSON", 400, "request.syntax", "The body is not JSON every reader reads alike"
    ),
    http.MissingKeyError: _fix(
        "IDEMPOTENCY_KEY_MISSING", 400, "request.key", "A write needs the header Idempotency-Key"
    ),
    http.MalformedRequestError: _fix(
        "MALFORMED_REQUEST", 400, "request.framing", "The request is not in the form taken here"
    ),
    http.HeadTooLargeError: _fix(
        "HEADERS_TOO_LARGE", 431, "request.size", "The headers are over a limit"
    ),
    http.UriTooLongError: _fix(
        "URI_TOO_LONG", 414, "request.size", "Path and query are over a limit"
    ),
    http.LateRequestError: _retry(
        "REQUEST_TIMEOUT",
        "request.late",
        "The request did not come in time; nothing was written",
        after_ms=1_000,
        status=408,
    ),
    http.UnsatisfiableRangeError: _fix(
        "RANGE_NOT_SATISFIABLE",
        416,
        "request.range",
        "The range is beyond the end of what is there",
    ),
    http.InvalidParameterError: _fix(
        "INVALID_PARAMETER", 422, "request.parameter", "A parameter is unknown, missing or wrong"
    ),
    domain.MalformedEffectError: _fix(
        "MALFORMED_EFFECT", 422, "request.member", "A member is missing, unknown or wrong"
    ),
    domain.PersonalDataError: _fix(
        "PERSONAL_DATA_SUSPECTED",
        422,
        "request.personal_data",
        "A text that would be kept for ever seems to name a person",
    ),
    domain.BadReferenceError: _fix(
        "BAD_REFERENCE", 422, "request.reference", "The body names something that is not there"
    ),
    domain.TooLargeError: _fix("TOO_LARGE", 413, "request.size", "Something is over a limit"),
    http.NoSuchPathError: _fix("NO_SUCH_PATH", 404, "request.path", "There is no such path"),
    domain.NotFoundError: _fix("NOT_FOUND", 404, "request.name", "There is nothing of that name"),
    domain.NotCosignedYetError: Problem(
        code="NOT_COSIGNED_YET",
        status=404,
        world="RML2",
        action="retry-with-backoff",
        reason="receipt.level",
        severity="info",
        title="No quorum of witnesses has seen the entry yet",
        retry_after_ms=5_000,
    ),
    domain.NotTimestampedYetError: Problem(
        code="NOT_TIMESTAMPED_YET",
        status=404,
        world="RML2",
        action="retry-with-backoff",
        reason="receipt.level",
        severity="info",
        title="No timestamp covers it yet",
        retry_after_ms=30_000,
    ),
    http.MethodNotAllowedError: _fix(
        "METHOD_NOT_ALLOWED", 405, "request.method", "The path does not take this method"
    ),
    domain.LedgerExistsError: _fix(
        "LEDGER_EXISTS", 409, "ledger.exists", "The name or origin is taken"
    ),
    domain.PeriodError: _fix("NO_SUCH_PERIOD", 422, "period.name", "There is no such period"),
    domain.PeriodSpanError: _fix(
        "PERIOD_SPAN_INVALID", 422, "period.span", "The moments are not those of a period"
    ),
    domain.PeriodOpenError: _fix("PERIOD_NOT_OVER", 422, "period.span", "The period is not over"),
    domain.SelfReviewError: _fix(
        "SELF_REVIEW", 422, "close.four_eyes", "Whoever prepares a close may not review it"
    ),
    domain.PeriodClosedError: _history(
        "PERIOD_CLOSED", 409, "period.closed", "What is closed does not allow this close"
    ),
    # The caller
    domain.UnauthenticatedError: _fix(
        "UNAUTHENTICATED",
        401,
        "credential.unknown",
        "There is no credential, or none we know",
        # RFC 9110 Section 11.6.1: a 401 names the scheme.
        headers={"WWW-Authenticate": 'Bearer realm="effect-ledger"'},
    ),
    domain.ForbiddenError: Problem(
        code="FORBIDDEN",
        status=403,
        world="RML1",
        action="stop",
        reason="credential.reach",
        severity="warning",
        title="The credential does not reach that far",
    ),
    # The dialog
    domain.IdempotencyConflictError: Problem(
        code="IDEMPOTENCY_CONFLICT",
        status=422,
        world="RML2",
        action="stop",
        reason="key.reused",
        severity="error",
        title="The idempotency key already names another request",
    ),
    domain.PossibleRepeatError: Problem(
        code="POSSIBLE_REPEAT",
        status=409,
        world="RML2",
        action="wait-for-human",
        reason="business_key.taken",
        severity="warning",
        title="An effect of this kind and type already has this business key",
    ),
    domain.TransitionError: _dialog(
        "ILLEGAL_TRANSITION", "stop", "intent.state", "The intent's state does not lead there"
    ),
    domain.IntentUnknownError: _dialog(
        "INTENT_UNKNOWN",
        "reconcile-first",
        "intent.unknown",
        "The outcome is unknown; only evidence of it leads on",
    ),
    domain.StaleTokenError: _dialog(
        "STALE_TOKEN", "stop", "intent.token", "Somebody else has taken the intent over"
    ),
    domain.ApprovalRequiredError: _dialog(
        "APPROVAL_REQUIRED",
        "wait-for-human",
        "intent.approval",
        "A person has to approve exactly this content first",
    ),
    domain.SelfApprovalError: _dialog(
        "SELF_APPROVAL",
        "wait-for-human",
        "intent.four_eyes",
        "Whoever approves may not be whoever acts",
        status=403,
    ),
    domain.IntentChangedError: _retry(
        "INTENT_CHANGED",
        "intent.moved",
        "The intent moved while it was being handed off",
        after_ms=200,
        status=409,
    ),
    domain.BreakError: _dialog(
        "BREAK_NOT_SO",
        "wait-for-human",
        "break.status",
        "What is asked does not fit the break as it stands",
    ),
    domain.AbandonedError: _fix(
        "ABANDONED", 409, "batch.atomic", "Another item of the atomic batch was refused"
    ),
    # History
    domain.CorrectionError: _history(
        "CORRECTION_REFUSED", 409, "history.correction", "The effect is history; this does not fit"
    ),
    domain.OverRefundError: _history(
        "OVER_REFUND", 409, "history.remaining", "The correction takes back more than remains"
    ),
    domain.RemainderHeldError: _dialog(
        "REMAINDER_HELD",
        "reconcile-first",
        "intent.holds",
        "Open intents hold what it would take back; conclude or cancel them first",
    ),
    domain.HandedOffError: _history(
        "HANDED_OFF",
        409,
        "history.handed_off",
        "The intent is history; only forward entries follow",
    ),
    http.AheadError: _history(
        "AHEAD_OF_LEDGER",
        409,
        "history.ahead",
        "Whoever asks has seen entries that this ledger does not have",
    ),
    http.HistoryIsPermanentError: _history(
        "HISTORY_IS_PERMANENT",
        405,
        "history.permanent",
        "History is not changed or deleted; add a refund, an adjustment or an explanation",
    ),
    # The service
    domain.PushbackError: _retry(
        "LEDGER_BUSY", "service.busy", "Nothing was written; send it again later", after_ms=500
    ),
    http.StoppingError: _retry(
        "STOPPING", "service.stopping", "The service stops; nothing was written", after_ms=1_000
    ),
    domain.OverloadedError: _retry(
        "OVERLOADED", "service.overload", "Too many requests wait", after_ms=1_000, status=429
    ),
    domain.DatabaseUnavailableError: _retry(
        "DATABASE_UNAVAILABLE", "service.database", "The database is away", after_ms=2_000
    ),
    domain.ClockUntrustedError: _retry(
        "CLOCK_UNTRUSTED", "service.clock", "The clock cannot be believed", after_ms=5_000
    ),
    domain.SignerUnavailableError: _retry(
        "SIGNER_UNAVAILABLE", "service.signer", "The signer is away", after_ms=2_000
    ),
    domain.OutcomeUnknownError: _retry(
        "OUTCOME_UNKNOWN",
        "commit.unconfirmed",
        "The commit was sent and not confirmed; the same key tells the outcome",
        after_ms=1_000,
    ),
    domain.SettingsError: Problem(
        code="NOT_CONFIGURED",
        status=503,
        world="RML1",
        action="wait-for-human",
        reason="service.settings",
        severity="error",
        title="The service lacks a setting this request needs",
    ),
    http.UnexpectedError: Problem(
        code="INTERNAL",
        status=503,
        world="RML1",
        action="stop",
        reason="service.bug",
        severity="critical",
        title="The service failed; nothing was to be written",
    ),
    http.UnexpectedWriteError: Problem(
        code="INTERNAL_OUTCOME_UNKNOWN",
        status=503,
        # Not retry-with-backoff: a bug may answer for ever. Not "nothing was written" either.
        world="RML2",
        action="reconcile-first",
        reason="service.bug",
        severity="critical",
        title="The service failed; look the key up before anything else is done",
    ),
    # The evidence
    domain.LedgerBrokenError: _broken(
        "LEDGER_BROKEN", "ledger.broken", "This ledger takes no more writes; reads go on"
    ),
    domain.RolledBackError: _broken(
        "LEDGER_ROLLED_BACK", "ledger.rollback", "The database is older than what was signed"
    ),
    domain.ForkedError: _broken(
        "LEDGER_FORKED", "ledger.fork", "The database holds another history than was signed"
    ),
    domain.ForeignSignerError: _broken(
        "FOREIGN_SIGNER", "ledger.signer", "Another signer owns this ledger"
    ),
    domain.MalformedProofError: _broken(
        "STORED_PROOF_MALFORMED", "evidence.form", "A stored record is not in its form"
    ),
    domain.ChainBreakError: _broken(
        "CHAIN_BREAK", "evidence.chain", "A stored entry does not follow the one before it"
    ),
    domain.InclusionError: _broken(
        "INCLUSION_FAILED", "evidence.inclusion", "A stored entry is not in the signed tree"
    ),
    domain.ConsistencyError: _broken(
        "CONSISTENCY_FAILED", "evidence.consistency", "The tree does not extend an older one"
    ),
    domain.SignatureError: _broken(
        "SIGNATURE_INVALID", "evidence.signature", "A stored signature is not good"
    ),
    domain.TimestampError: _broken(
        "TIMESTAMP_INVALID", "evidence.timestamp", "A stored timestamp is not good"
    ),
    domain.CommitmentError: _broken(
        "COMMITMENT_MISMATCH", "evidence.payload", "A stored payload is not what was committed to"
    ),
}
"""Each error that is raised, and how it is told. A class without a row has its parent's."""


def problem_of(error: LedgerError) -> Problem:
    """The row for `error`: that of its class, else of the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return PROBLEMS[http.UnexpectedError]


def problem_document(error: LedgerError, *, trace_id: str) -> dict[str, Any]:
    """
    The members of the answer.

    `retry_after_ms` carries jitter: clients that failed together do not return together.
    """
    problem = problem_of(error)
    after_ms = None
    if problem.retry_after_ms is not None:
        after_ms = problem.retry_after_ms + random.randrange(problem.retry_after_ms)  # noqa: S311 - spreads load, hides nothing.
    return {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": error.message,
        "code": problem.code,
        "world": problem.world,
        "action": problem.action,
        "reason": problem.reason,
        "severity": problem.severity,
        "retryable": problem.retryable,
        "retry_after_ms": after_ms,
        "details": error.details,
        "trace_id": trace_id,
    }


def told(document: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """
    What the caller of a request is told of a problem.

    Args:
        document: The problem.
        state: The request's; `labels` is there once its credential is known.
    """
    return exposed(document, state.get("labels", FULL))


def problem_response(
    error: LedgerError, state: MutableMapping[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    """
    The whole answer: document, status, and the hints once more as headers.

    Args:
        error: What befell the request.
        state: The request's: its `trace_id` and `labels`; `problem` is left there to be counted.
        headers: Others that the answer needs.
    """
    problem = state["problem"] = problem_of(error)
    document = told(problem_document(error, trace_id=state["trace_id"]), state)
    sent = {
        **problem.headers,
        **(headers or {}),
        **hint_headers(document),
        "Cache-Control": "no-store",
    }
    return Response(
        orjson.dumps(document, default=str),
        status_code=problem.status,
        headers=sent,
        media_type=PROBLEM_MEDIA_TYPE,
    )

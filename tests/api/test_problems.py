"""Every error has one row, and every answer made from it has one shape."""

from __future__ import annotations

import json

import pytest

from api import errors as http
from api.problems import ACTIONS, PROBLEMS, problem_of, problem_response
from ledger import errors as domain
from ledger.errors import LedgerError
from ledger.worlds.rml import PROBLEM_MEDIA_TYPE

MEMBERS = {
    "type",
    "title",
    "status",
    "detail",
    "code",
    "world",
    "action",
    "reason",
    "severity",
    "retryable",
    "retry_after_ms",
    "details",
    "trace_id",
}

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

# What a parent gathers and nobody raises itself.
GATHERING = {
    LedgerError,
    domain.RejectedError,
    domain.AccessError,
    domain.VerificationError,
    http.RequestError,
}


def tree(kind: type[LedgerError] = LedgerError) -> set[type[LedgerError]]:
    return {kind}.union(*(tree(child) for child in kind.__subclasses__()))


ours = sorted(
    (kind for kind in tree() if kind.__module__ in {domain.__name__, http.__name__}),
    key=lambda kind: kind.__name__,
)
rows = sorted(PROBLEMS, key=lambda kind: kind.__name__)


def test_every_error_has_its_own_row() -> None:
    """A new error without a row fails here, not in front of a client."""
    assert set(ours) - GATHERING == set(PROBLEMS)


@pytest.mark.parametrize("kind", rows)
def test_codes_are_stable_names_used_once(kind: type[LedgerError]) -> None:
    """Two errors a program must tell apart have two codes."""
    code = PROBLEMS[kind].code

    assert code == code.upper()
    assert [row.code for row in PROBLEMS.values()].count(code) == 1


@pytest.mark.parametrize(
    ("kind", "status", "world", "action"),
    [
        (domain.MalformedJsonError, 400, "RML1", "fix-request"),
        (http.MissingKeyError, 400, "RML1", "fix-request"),
        (domain.MalformedEffectError, 422, "RML1", "fix-request"),
        (domain.BadReferenceError, 422, "RML1", "fix-request"),
        (domain.PersonalDataError, 422, "RML1", "fix-request"),
        (domain.TooLargeError, 413, "RML1", "fix-request"),
        (domain.NotFoundError, 404, "RML1", "fix-request"),
        (domain.UnauthenticatedError, 401, "RML1", "fix-request"),
        (domain.ForbiddenError, 403, "RML1", "stop"),
        (domain.IdempotencyConflictError, 422, "RML2", "stop"),
        (domain.PossibleRepeatError, 409, "RML2", "wait-for-human"),
        (domain.OverRefundError, 409, "RML3", "escalate-history"),
        (domain.RemainderHeldError, 409, "RML2", "reconcile-first"),
        (domain.CorrectionError, 409, "RML3", "escalate-history"),
        (http.HistoryIsPermanentError, 405, "RML3", "escalate-history"),
        (domain.OutcomeUnknownError, 503, "RML2", "retry-with-backoff"),
        (domain.DatabaseUnavailableError, 503, "RML2", "retry-with-backoff"),
        (domain.ClockUntrustedError, 503, "RML2", "retry-with-backoff"),
        (domain.OverloadedError, 429, "RML2", "retry-with-backoff"),
        (domain.LedgerBrokenError, 503, "RML3", "escalate-history"),
        (domain.RolledBackError, 503, "RML3", "escalate-history"),
        (domain.ForkedError, 503, "RML3", "escalate-history"),
    ],
)
def test_situation_has_its_published_hints(
    kind: type[LedgerError], status: int, world: str, action: str
) -> None:
    """The table clients are written against."""
    problem = PROBLEMS[kind]

    assert (problem.status, problem.world, problem.action) == (status, world, action)


@pytest.mark.parametrize("kind", rows)
def test_answer_has_every_member_and_no_other(kind: type[LedgerError]) -> None:
    """One shape, whatever went wrong."""
    response = problem_response(kind("words", seq=7), {"trace_id": TRACE})
    document = json.loads(bytes(response.body))

    assert set(document) == MEMBERS
    assert response.media_type == PROBLEM_MEDIA_TYPE
    assert document["status"] == response.status_code
    assert document["detail"] == "words"
    assert document["details"] == {"seq": 7}
    assert document["trace_id"] == TRACE
    assert document["world"] in {"RML1", "RML2", "RML3"}
    assert document["action"] in ACTIONS
    assert document["severity"] in {"info", "warning", "error", "critical"}
    assert document["type"].startswith("urn:effect-ledger:problem:")


@pytest.mark.parametrize("kind", rows)
def test_headers_say_what_the_body_says(kind: type[LedgerError]) -> None:
    """Proxies read headers only, and learn the same."""
    response = problem_response(kind("words"), {"trace_id": TRACE})
    document = json.loads(bytes(response.body))

    assert response.headers["RML-World"] == document["world"]
    assert response.headers["RML-Action"] == document["action"]
    assert ("Retry-After" in response.headers) is document["retryable"]
    assert (document["retry_after_ms"] is not None) is document["retryable"]


@pytest.mark.parametrize("kind", [kind for kind in rows if PROBLEMS[kind].retryable])
def test_wait_is_jittered_and_never_shorter_in_the_header(kind: type[LedgerError]) -> None:
    """Clients that failed together do not come back together, nor before they are told."""
    base = PROBLEMS[kind].retry_after_ms
    assert base is not None
    waits = set()
    for _ in range(50):
        response = problem_response(kind("words"), {"trace_id": TRACE})
        after_ms = json.loads(bytes(response.body))["retry_after_ms"]
        waits.add(after_ms)

        assert base <= after_ms < 2 * base
        assert int(response.headers["Retry-After"]) * 1_000 >= after_ms

    assert len(waits) > 10


@pytest.mark.parametrize("kind", rows)
def test_only_rml2_problems_are_retried_blindly(kind: type[LedgerError]) -> None:
    """Retrying is said only where the same key makes it safe."""
    problem = PROBLEMS[kind]

    assert problem.retryable is (problem.action == "retry-with-backoff")
    if problem.retryable:
        assert problem.world == "RML2"


def test_unauthenticated_answer_names_the_scheme() -> None:
    """RFC 9110 Section 11.6.1."""
    response = problem_response(domain.UnauthenticatedError("who"), {"trace_id": TRACE})

    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_error_without_a_row_has_that_of_its_parent() -> None:
    """A special case of a known error is at least told as that error."""

    class Special(domain.OverRefundError):
        """An error of tomorrow."""

    assert problem_of(Special("words")) is PROBLEMS[domain.OverRefundError]
    assert problem_of(LedgerError("words")) is PROBLEMS[http.UnexpectedError]

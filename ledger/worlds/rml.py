"""
RML: the labels of an error, and how they travel where there is no HTTP.

An error of the service is a problem (RFC 9457) that says in which world the request is, which
action fits, and why. Servers that answer in GraphQL or gRPC pass it on with these functions, and
their clients get back exactly what the service said. Pure: documents in, documents out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ledger.errors import MalformedProofError

FULL = "full"
ACTION_ONLY = "action-only"
NONE = "none"
EXPOSURES = (FULL, ACTION_ONLY, NONE)
"""How much of the labels a key's caller is told."""

_HIDDEN: Mapping[str, tuple[str, ...]] = {
    FULL: (),
    ACTION_ONLY: ("world", "reason", "severity"),
    NONE: ("world", "reason", "severity", "action"),
}

# Members whose names GraphQL's users expect in another spelling; all others keep theirs.
_CAMEL = {"retry_after_ms": "retryAfterMs", "trace_id": "traceId"}
_SNAKE: Mapping[str, str] = {camel: snake for snake, camel in _CAMEL.items()}

# One piece of metadata each, for interceptors that do not parse; the whole problem beside them.
_METADATA = {
    "world": "rml-world",
    "action": "rml-action",
    "reason": "rml-reason",
    "severity": "rml-severity",
    "code": "rml-code",
    "retry_after_ms": "retry-after-ms",
    "trace_id": "rml-trace-id",
}
PROBLEM_MEDIA_TYPE = "application/problem+json"
"""RFC 9457 Section 3."""
PROBLEM_KEY = "rml-problem-bin"
"""Metadata key of the whole problem as JSON; gRPC carries octets under keys that end so."""

Metadata = tuple[tuple[str, str | bytes], ...]

_GRPC_STATUS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "INTERNAL",
    503: "UNAVAILABLE",
}
# Where the code says more than the status: UNAVAILABLE is what gRPC's own retries act on.
_GRPC_CODE: Mapping[str, str] = {
    "IDEMPOTENCY_CONFLICT": "ALREADY_EXISTS",
    "POSSIBLE_REPEAT": "ALREADY_EXISTS",
    "LEDGER_EXISTS": "ALREADY_EXISTS",
    "STALE_TOKEN": "ABORTED",
    "INTENT_CHANGED": "ABORTED",
    "INTERNAL": "INTERNAL",
    "INTERNAL_OUTCOME_UNKNOWN": "UNKNOWN",
    "NOT_CONFIGURED": "FAILED_PRECONDITION",
    # Of clients, who tell their own callers.
    "ALREADY_CONCLUDED": "ALREADY_EXISTS",
    "EFFECT_OUTCOME_UNKNOWN": "UNKNOWN",
    "RECEIPT_INVALID": "DATA_LOSS",
}


def exposed(problem: Mapping[str, Any], labels: str) -> dict[str, Any]:
    """
    What a caller is told of `problem`: `code`, `retryable` and `retry_after_ms` in any case.

    Args:
        problem: A problem document.
        labels: One of `EXPOSURES`.
    """
    hidden = _HIDDEN[labels]
    return {name: value for name, value in problem.items() if name not in hidden}


def hint_headers(problem: Mapping[str, Any]) -> dict[str, str]:
    """The hints of `problem` once more as HTTP headers, for proxies that do not parse."""
    hints = (("RML-World", "world"), ("RML-Action", "action"))
    sent = {header: str(problem[name]) for header, name in hints if problem.get(name) is not None}
    after_ms = problem.get("retry_after_ms")
    if after_ms is not None:
        # RFC 9110 Section 10.2.3 counts whole seconds: never earlier than the body says.
        sent["Retry-After"] = str(-(-after_ms // 1_000))
    return sent


def to_graphql(problem: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of GraphQL's `errors`: `detail` as its message, all else in `extensions`."""
    extensions = {
        _CAMEL.get(name, name): value for name, value in problem.items() if name != "detail"
    }
    error: dict[str, Any] = {"extensions": extensions}
    if "detail" in problem:
        error["message"] = problem["detail"]
    return error


def from_graphql(error: Mapping[str, Any]) -> dict[str, Any]:
    """
    The problem that `to_graphql` made an error of.

    Raises:
        MalformedProofError: The error has no extensions of ours.
    """
    extensions: Any = error.get("extensions")
    if not isinstance(extensions, dict) or "code" not in extensions:
        raise MalformedProofError("the error's extensions have no code of an effect ledger")
    problem: dict[str, Any] = {_SNAKE.get(name, name): each for name, each in extensions.items()}
    return problem | ({"detail": error["message"]} if "message" in error else {})


def to_grpc(problem: Mapping[str, Any]) -> tuple[str, Metadata]:
    """
    The canonical status name and the trailing metadata for `problem`.

    Every member that is a label or a hint has a piece of its own, in printable ASCII; the
    whole problem goes beside them.
    """
    pieces: list[tuple[str, str | bytes]] = [
        (key, str(problem[name]))
        for name, key in _METADATA.items()
        if problem.get(name) is not None
    ]
    pieces.append((PROBLEM_KEY, orjson.dumps(problem)))
    return grpc_status(problem), tuple(pieces)


def from_grpc(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, Any]:
    """
    The problem that `to_grpc` made metadata of, whatever else is among it.

    Raises:
        MalformedProofError: There is none, or it is none.
    """
    for key, value in metadata:
        if key == PROBLEM_KEY and isinstance(value, bytes):
            try:
                problem = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise MalformedProofError(f"{PROBLEM_KEY} is not JSON") from error
            if isinstance(problem, dict) and "code" in problem:
                return problem
            raise MalformedProofError(f"{PROBLEM_KEY} is not a problem")
    raise MalformedProofError(f"there is no {PROBLEM_KEY} in this metadata")


def grpc_status(problem: Mapping[str, Any]) -> str:
    """The canonical status of gRPC for `problem`; UNKNOWN for one that is not of this version."""
    code, status = problem.get("code"), problem.get("status")
    if isinstance(code, str) and code in _GRPC_CODE:
        return _GRPC_CODE[code]
    if status == 503 and problem.get("retryable") is False:  # noqa: PLR2004 - an HTTP status.
        # A broken ledger, or stored evidence that does not hold: no retry helps.
        return "DATA_LOSS"
    return _GRPC_STATUS.get(status, "UNKNOWN") if isinstance(status, int) else "UNKNOWN"

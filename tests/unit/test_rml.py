"""The labels of an error are the same wherever they travel."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.problems import PROBLEMS, problem_document
from ledger.errors import MalformedProofError
from ledger.worlds.rml import (
    EXPOSURES,
    PROBLEM_KEY,
    exposed,
    from_graphql,
    from_grpc,
    grpc_status,
    to_graphql,
    to_grpc,
)

CODES = {
    "OK",
    *("CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
}


def problem(kind: Any) -> dict[str, Any]:
    return problem_document(kind("words of it", entry="é", limit=7, none=None), trace_id="t")


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("labels", EXPOSURES)
def test_every_problem_comes_back_as_it_was(kind, labels):
    """In full, and as much of it as the key's caller is told."""
    told = exposed(problem(kind), labels)

    assert from_graphql(to_graphql(told)) == told
    status, metadata = to_grpc(told)
    assert from_grpc([("user-agent", "x"), *metadata]) == told
    assert status in CODES - {"OK", "CANCELLED"}


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
names = st.text(max_size=12).filter(lambda name: name not in ("retryAfterMs", "traceId", "message"))


@given(st.dictionaries(names, json), st.text(min_size=1))
def test_any_problem_comes_back_as_it_was(members, code):
    """Also one of a later version, with members that nobody knows yet."""
    told = members | {"code": code, "retry_after_ms": 5, "trace_id": "t", "detail": "words"}

    assert from_graphql(to_graphql(told)) == told
    assert from_grpc(to_grpc(told)[1]) == told


@pytest.mark.parametrize("kind", PROBLEMS)
def test_grpc_metadata_says_each_label_alone(kind):
    """For interceptors that do not parse: lower-case keys, printable ASCII."""
    told = problem(kind)

    pieces = dict(to_grpc(told)[1])

    assert (pieces["rml-world"], pieces["rml-action"]) == (told["world"], told["action"])
    assert ("retry-after-ms" in pieces) == (told["retry_after_ms"] is not None)
    for key, value in pieces.items():
        assert key == key.lower()
        if key != PROBLEM_KEY:
            assert isinstance(value, str)
            assert value.isascii()
            assert value.isprintable()


def test_grpc_retries_only_what_may_be_sent_again():
    """UNAVAILABLE is what its own retries act on."""
    retried = {
        row.code
        for kind, row in PROBLEMS.items()
        if grpc_status(problem(kind)) in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
    }

    assert retried == {
        row.code for row in PROBLEMS.values() if row.retryable and row.status in (429, 503)
    }


@pytest.mark.parametrize(
    ("labels", "hidden"),
    [
        ("full", set()),
        ("action-only", {"world", "reason", "severity"}),
        ("none", {"world", "reason", "severity", "action"}),
    ],
)
def test_what_is_hidden_and_what_never_is(labels, hidden):
    full = problem(next(iter(PROBLEMS)))

    told = exposed(full, labels)

    assert full.keys() - told.keys() == hidden
    assert {"code", "detail", "retryable", "retry_after_ms"} <= told.keys()


@pytest.mark.parametrize(
    "error", [{}, {"message": "x"}, {"extensions": None}, {"extensions": {"world": "RML1"}}]
)
def test_an_error_of_somebody_else_is_told(error):
    with pytest.raises(MalformedProofError):
        from_graphql(error)


@pytest.mark.parametrize(
    "metadata", [[], [(PROBLEM_KEY, b"{")], [(PROBLEM_KEY, b"[]")], [(PROBLEM_KEY, "text")]]
)
def test_metadata_of_somebody_else_is_told(metadata):
    with pytest.raises(MalformedProofError):
        from_grpc(metadata)


@pytest.mark.parametrize("other", [{}, {"status": 599}, {"status": "409"}, {"code": 5}])
def test_a_status_of_another_version_is_unknown(other):
    assert grpc_status(other) == "UNKNOWN"

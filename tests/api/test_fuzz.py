"""Whatever is sent, the answer is documented: a problem in its one shape, and no other 5xx."""

from __future__ import annotations

import time

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.answer_schemas import (
    ProblemOut,
)
from api.app import ROUTES
from api.problems import PROBLEMS
from tests.api.support import Api, capture

CODES = {row.code for row in PROBLEMS.values()}
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    not_a_server_error,
]
# The fixtures are one ledger for all examples, which is what is meant: none may hurt the next.
SHARED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PATHS = st.sampled_from(["/effects", "/corrections", "/batch", "/verifications"])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=12,
)
members = st.sampled_from(
    [
        "type", "occurred_at", "subject", "money", "actor", "evidence", "causes", "labels",
        "observed", "repeat_of", "approval", "intent", "payloads", "note", "signature", "mode",
        "items", "kind", "key", "corrects", "corrects_key", "corrects_external", "reason",
        "audience", "reversible_until", "handoff", "business_key", "checkpoint",
    ]
)  # fmt: skip


def fits_a_header(raw: bytes) -> bool:
    """What the client's own HTTP library agrees to send."""
    return raw == raw.strip() and not set(raw) & set(b"\r\n\0\v\f")


def is_documented(response) -> None:
    assert response.status_code in {200, 201, 202, 400, 404, 405, 409, 413, 422}, response.text
    if response.status_code >= 400:
        problem = ProblemOut.model_validate(response.json())
        assert problem.code in CODES
        assert problem.status == response.status_code


@SHARED
@given(path=PATHS, raw=st.binary(max_size=300))
def test_any_bytes_are_answered(api: Api, path: str, raw: bytes) -> None:
    """Bytes that are no JSON, mostly."""
    is_documented(api.send(path, raw, key="k1"))


@SHARED
@given(path=PATHS, document=json_values)
def test_any_json_is_answered(api: Api, path: str, document: object) -> None:
    """JSON that is no request, mostly."""
    raw = (
        orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS, default=str)
        if fits(document)
        else b"{}"
    )
    is_documented(api.send(path, raw, key="k1"))


@SHARED
@given(path=PATHS, changes=st.dictionaries(members, json_values, max_size=3))
def test_any_member_may_be_anything(api: Api, path: str, changes: dict[str, object]) -> None:
    """Requests with something wrong in them, mostly."""
    if fits(changes):
        is_documented(api.post(path, capture() | changes, key="k1"))


@SHARED
@given(key=st.binary(max_size=40).filter(fits_a_header))
def test_any_key_is_answered(api: Api, key: bytes) -> None:
    """Whatever a header can hold."""
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    response = api.send("/effects", orjson.dumps(capture()), headers=headers)
    if response.headers["Content-Type"].startswith("text/plain"):
        # The server's own parser refuses what HTTP forbids before the service sees it.
        assert response.status_code == 400
    else:
        is_documented(response)


@SHARED
@given(place=st.text(max_size=60), tail=st.sampled_from(["", "/bytes", "/receipt", "/payloads"]))
def test_any_place_is_answered(api: Api, place: str, tail: str) -> None:
    """Names of entries that are none, mostly."""
    from urllib.parse import quote

    for path in (f"/entries/{quote(place, safe='')}{tail}", f"/effects/{quote(place, safe='')}"):
        is_documented(api.get(path))


@SHARED
@given(
    path=st.sampled_from(["/entries", "/feed", "/proofs/inclusion", "/proofs/consistency", ""]),
    query=st.dictionaries(
        st.sampled_from(["kind", "cursor", "limit", "after", "seq", "size", "from", "to", "label",
                         "recorded_from", "corrects", "subject", "order", "x"]),
        st.text(max_size=20) | st.integers().map(str),
        max_size=3,
    ),
)  # fmt: skip
def test_any_query_is_answered(api: Api, path: str, query: dict[str, str]) -> None:
    """Parameters with anything in them."""
    is_documented(api.get(path, **query))


def fits(document: object) -> bool:
    try:
        orjson.dumps(document)
    except (TypeError, orjson.JSONEncodeError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_the_document_tells_the_truth(api: Api, mode: GenerationMode) -> None:
    """Requests made from the OpenAPI document, right and wrong, get answers the document has."""
    headers = {"Authorization": f"Bearer {api.token}"}
    document = api.http.get("/openapi.json", headers=headers).json()
    base_url = str(api.http.base_url)
    operations = [
        each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations()
    ]
    assert len(operations) == len(ROUTES)
    recorded = 0
    for operation in operations:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers(case) -> None:
            nonlocal recorded
            if "ledger" in case.path_parameters:
                case.path_parameters["ledger"] = api.ledger
            if case.path.endswith("/feed"):
                # A stream has no end to wait for.
                case.headers = {"Accept": "application/json"}
                case.query = {**(case.query or {}), "wait": 0}
            response = case.call(base_url=base_url, headers=headers, timeout=30)
            case.validate_response(response, checks=CHECKS)
            recorded += entries_of(response)

        try:
            answers()
        except Unsatisfiable:
            # No request of this operation can be wrong: it has no parameters and no body.
            assert mode is GenerationMode.NEGATIVE

    # What was answered as recorded is there, nothing else is, and it proves itself.
    assert api.get("").json()["size"] == recorded
    await_good_verification(api)


def entries_of(response) -> int:
    """How many entries an answer says it recorded."""
    # Other things are made too: promises, sources, jobs. An entry is told by its hash.
    if response.status_code == 201:
        return int("entry_hash" in response.json())
    if response.status_code == 200 and response.request.path_url.split("?")[0].endswith("/batch"):
        return int(response.json().get("recorded", 0))
    return 0


def await_good_verification(api: Api) -> None:
    """Verify the ledger from its stored bytes."""
    job = api.post("/verifications", {"mode": "full"}).json()
    while job["state"] == "running":
        time.sleep(0.02)
        job = api.get(f"/verifications/{job['id']}").json()
    assert (job["state"], set(job["report"]["verdicts"].values())) == ("done", {"ok"}), job

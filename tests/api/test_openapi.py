"""The published document says everything the service does, with examples that hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter

from api import answer_schemas, examples, schemas, shapes
from api.app import ROUTES
from api.problems import PROBLEMS
from ledger.effect import Rules
from tests.api.support import Api

RECON = {
    (method, f"/v1/recon/{path}")
    for method, paths in {
        "GET": (
            *("sources", "imports", "imports/{id}", "imports/{id}/lines", "imports/{id}/raw"),
            *("runs", "runs/{id}", "runs/{id}/matches", "runs/{id}/breaks", "runs/{id}/statement"),
            *("breaks", "breaks/{id}", "breaks/{id}/events", "signoffs", "coverage"),
        ),
        "POST": (
            *(
                "sources",
                "imports",
                "imports/{id}/override",
                "imports/{id}/discard",
                "runs",
                "breaks/{id}/events",
            ),
            *("matches", "matches/{id}/unmatch", "signoffs"),
        ),
    }.items()
    for path in paths
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    response = api.http.get("/openapi.json", headers=api.headers(None))
    assert response.status_code == 200
    described: dict[str, Any] = response.json()
    return described


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_published_path_is_described(document: dict[str, Any]) -> None:
    """The paths of the contract, with their methods."""
    base = "/v1/ledgers/{ledger}"
    described = {(method.upper(), path) for method, path, _ in operations(document)}

    assert described == {
        ("GET", base),
        ("POST", f"{base}/effects"),
        ("GET", f"{base}/effects/{{id}}"),
        ("POST", f"{base}/effects/{{id}}/refunds"),
        ("POST", f"{base}/entries/{{id}}/adjustments"),
        ("POST", f"{base}/entries/{{id}}/explanations"),
        ("POST", f"{base}/corrections"),
        ("POST", f"{base}/batch"),
        ("GET", f"{base}/entries"),
        ("GET", f"{base}/entries/{{place}}"),
        ("GET", f"{base}/entries/{{place}}/bytes"),
        ("GET", f"{base}/entries/{{place}}/receipt"),
        ("GET", f"{base}/entries/{{place}}/payloads"),
        ("GET", f"{base}/feed"),
        ("GET", f"{base}/checkpoint"),
        ("GET", f"{base}/checkpoints/{{size}}/timestamp"),
        ("GET", f"{base}/proofs/inclusion"),
        ("GET", f"{base}/proofs/consistency"),
        ("GET", f"{base}/log/{{path}}"),
        ("POST", f"{base}/verifications"),
        ("GET", f"{base}/verifications/latest"),
        ("GET", f"{base}/verifications/{{id}}"),
        ("GET", f"{base}/periods"),
        ("GET", f"{base}/periods/{{name}}"),
        ("POST", f"{base}/periods/{{name}}/close"),
        ("POST", f"{base}/periods/{{name}}/review"),
        ("POST", f"{base}/intents"),
        ("GET", f"{base}/intents"),
        ("GET", f"{base}/intents/{{id}}"),
        ("POST", f"{base}/intents/{{id}}/execution"),
        ("POST", f"{base}/intents/{{id}}/approval"),
        ("POST", f"{base}/intents/{{id}}/cancellation"),
        ("POST", f"{base}/intents/{{id}}/evidence"),
        ("POST", f"{base}/intents/{{id}}/handoff"),
        ("POST", f"{base}/exports"),
        ("GET", f"{base}/exports/{{id}}"),
        ("GET", f"{base}/exports/{{id}}/bundle"),
        *RECON,
        ("GET", "/v1/paging:explain"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    }


def test_no_route_is_hidden(document: dict[str, Any]) -> None:
    """What is served is described."""
    served = {route.path_format for route in ROUTES}

    assert served == set(document["paths"])


def test_every_operation_has_its_problems_with_examples(document: dict[str, Any]) -> None:
    """An example of each row that a path may answer, from the table itself."""
    codes = {row.code: row for row in PROBLEMS.values()}
    for method, path, operation in operations(document):
        problems = {
            status: response["content"]["application/problem+json"]
            for status, response in operation["responses"].items()
            if status >= "400"
        }
        if path != "/healthz":
            assert problems, (method, path)
        if path.startswith("/v1"):
            assert problems.keys() >= {"401", "403", "404", "422", "503"}, (method, path)
        for status, problem in problems.items():
            assert problem["schema"] == {"$ref": "#/components/schemas/ProblemOut"}
            for code, example in problem["examples"].items():
                assert str(codes[code].status) == status
                answer_schemas.ProblemOut.model_validate(example["value"])


def test_every_problem_is_shown_somewhere(document: dict[str, Any]) -> None:
    """No client meets a code the document does not have; some are never answered by HTTP."""
    shown = {
        code
        for _, _, operation in operations(document)
        for response in operation["responses"].values()
        for code in response.get("content", {})
        .get("application/problem+json", {})
        .get("examples", {})
    }
    # Of no path, for whatever has not come so far.
    any_path = {"URI_TOO_LONG", "HEADERS_TOO_LARGE", "REQUEST_TIMEOUT", "STOPPING"}
    assert all(f"`{code}`" in document["info"]["description"] for code in any_path)
    framework = {"NO_SUCH_PATH", "METHOD_NOT_ALLOWED", "HISTORY_IS_PERMANENT"}
    commands_only = {"LEDGER_EXISTS", "NOT_CONFIGURED"}

    unseen = {row.code for row in PROBLEMS.values()} - shown - any_path
    assert unseen - framework - commands_only == set()


def test_every_operation_needs_a_credential_but_health(document: dict[str, Any]) -> None:
    """The security scheme is global; two probes opt out."""
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    open_paths = {
        path for _, path, operation in operations(document) if operation.get("security") == []
    }
    assert open_paths == {"/healthz", "/readyz"}


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    """No schema is missing."""

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()))
        if isinstance(node, list):
            return set().union(*(references(value) for value in node))
        return set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_summaries_and_operation_ids_are_there_once(document: dict[str, Any]) -> None:
    """Generated clients have names for everything."""
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(set(ids)) == len(ids)
    assert all(operation["summary"] for _, _, operation in operations(document))


@pytest.mark.parametrize(
    ("model", "kind", "example"),
    [
        (model, kind, example)
        for model, kind, group in (
            (schemas.EffectIn, "effect", examples.EFFECTS),
            (schemas.RefundIn, "refund", examples.REFUNDS),
            (schemas.AdjustmentIn, "adjustment", examples.ADJUSTMENTS),
            (schemas.ExplanationIn, "explanation", examples.EXPLANATIONS),
            (schemas.CorrectionIn, None, examples.CORRECTIONS),
        )
        for example in group.values()
    ],
)
def test_example_requests_are_accepted(model: Any, kind: str | None, example: Any) -> None:
    """By the rules themselves."""
    place = {"key": "k"} if kind is None else {"kind": kind, "key": "k"}
    if kind not in {None, "effect"}:
        place["corrects"] = examples.RECORDED["id"]

    submission = shapes.parse_shape(model, example).to_submission(place, Rules(), NOW)

    assert submission.effect.type == example["type"]


def test_example_batch_is_accepted() -> None:
    """Item by item."""
    for batch in examples.BATCHES.values():
        for item in shapes.parse_shape(schemas.BatchIn, batch).items:
            assert shapes.parse_shape(schemas.ItemIn, item).to_submission({}, Rules(), NOW)


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (answer_schemas.RecordedOut, examples.RECORDED),
        (answer_schemas.ProvisionalOut, examples.PROVISIONAL),
        (answer_schemas.BatchOut, examples.BATCH),
        (answer_schemas.EntryOut, examples.ENTRY),
        (answer_schemas.PageOut, examples.PAGE),
        (answer_schemas.FeedOut, examples.FEED),
        (answer_schemas.PayloadsOut, examples.PAYLOADS),
        (answer_schemas.ReceiptOut, examples.RECEIPT),
        (answer_schemas.InclusionOut, examples.INCLUSION),
        (answer_schemas.ConsistencyOut, examples.CONSISTENCY),
        (answer_schemas.LedgerOut, examples.LEDGER),
        (answer_schemas.StoryOut, examples.STORY),
        (answer_schemas.VerificationOut, examples.VERIFICATION),
    ],
)
def test_example_answers_have_their_shape(model: Any, example: Any) -> None:
    """What is shown is what is described."""
    TypeAdapter(model).validate_python(example)


def test_published_members_are_those_of_the_rules() -> None:
    """The shape and the rules know the same members."""
    from ledger.effect import _PARSERS

    wire_only = {"payloads", "note", "signature"}
    published = set(schemas.ItemIn.model_fields) - wire_only

    assert published == set(_PARSERS) - {"data"}

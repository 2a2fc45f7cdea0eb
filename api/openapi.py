"""
OpenAPI: what the document says beside the routes.

Paths, parameters and summaries come from the routes themselves; bodies, answers and
problems from `api.schemas` and `api.problems`, so that no example is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.answer_schemas import ANSWER_MODELS
from api.audit_schemas import AUDIT_MODELS
from api.intent_schemas import INTENT_MODELS
from api.problems import PROBLEMS, problem_document
from api.recon_schemas import RECON_MODELS
from api.schemas import (
    MODELS,
)
from ledger import errors as domain
from ledger.errors import LedgerError
from ledger.worlds.rml import PROBLEM_MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

EXAMPLE_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

ACCESS = (
    domain.UnauthenticatedError,
    domain.ForbiddenError,
    domain.NotFoundError,
    domain.DatabaseUnavailableError,
)
"""What the first three checks of every path under a ledger may answer."""
APPENDING = (
    domain.PushbackError,
    domain.ClockUntrustedError,
    domain.SignerUnavailableError,
    domain.OutcomeUnknownError,
    domain.LedgerBrokenError,
    domain.RolledBackError,
    domain.ForkedError,
    domain.ForeignSignerError,
)
"""What whatever becomes an entry may be answered, in the order of the checks."""

DESCRIPTION = """\
Records effects that cannot be rolled back, and proves what it recorded.

Every error is `application/problem+json` and says in which **world** the request is and
which **action** fits. Checks are made in this order: credential (401), reach (403), ledger
(404), parameters (422), headers (400), size (413), syntax (400), members (422), history (409).
A revoked key works on for at most five seconds.

Before any of this, and of any path: 400 `MALFORMED_REQUEST` where it is not HTTP, 414
`URI_TOO_LONG` and 431 `HEADERS_TOO_LARGE` over 32 KiB or 100 header lines, 408 `REQUEST_TIMEOUT`
where the head is not here within 30 seconds or of the body less than 1 KiB comes in 30. 503
`STOPPING` where the service ends first. Nothing was written then.
"""


def reference(model: type[BaseModel]) -> dict[str, str]:
    """Where the document has the schema of `model`."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def answer(
    description: str,
    model: type[BaseModel],
    example: Any,
    *,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A good answer in JSON."""
    described = {
        "description": description,
        "content": {"application/json": {"schema": reference(model), "example": example}},
    }
    return described | _headers(headers or {})


def text_answer(description: str, media_type: str, *, binary: bool = False) -> dict[str, Any]:
    """A good answer in another form."""
    schema = {"type": "string"} | ({"format": "binary"} if binary else {})
    return {"description": description, "content": {media_type: {"schema": schema}}}


def body(model: type[BaseModel], examples: Mapping[str, Any]) -> dict[str, Any]:
    """A request body in JSON, for `openapi_extra`."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": reference(model),
                    "examples": {name: {"value": value} for name, value in examples.items()},
                }
            },
        }
    }


def problems(*kinds: type[LedgerError]) -> Responses:
    """The problem answers of a path, by status, with an example of each from the table."""
    responses: Responses = {}
    for kind in kinds:
        problem = PROBLEMS[kind]
        response = responses.setdefault(
            problem.status,
            {
                "description": "",
                "content": {
                    PROBLEM_MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/ProblemOut"},
                        "examples": {},
                    }
                },
            }
            | _headers(
                {
                    "RML-World": "World of the problem.",
                    "RML-Action": "What to do.",
                    **({"Retry-After": "Seconds."} if problem.retryable else {}),
                }
            ),
        )
        response["description"] += ("; " if response["description"] else "") + problem.title
        response["content"][PROBLEM_MEDIA_TYPE]["examples"][problem.code] = {
            "value": _example(kind)
        }
    return responses


def _example(kind: type[LedgerError]) -> dict[str, Any]:
    document = problem_document(kind(PROBLEMS[kind].title), trace_id=EXAMPLE_TRACE)
    # The document must be the same each time it is asked for.
    return document | {"retry_after_ms": PROBLEMS[kind].retry_after_ms}


def _headers(described: Mapping[str, str]) -> dict[str, Any]:
    if not described:
        return {}
    return {
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in described.items()
        }
    }


def parameter(
    name: str, place: str, schema: Mapping[str, Any], description: str, *, required: bool = False
) -> dict[str, Any]:
    """A parameter that a plain endpoint reads by itself, for `openapi_extra`."""
    return {
        "name": name,
        "in": place,
        "required": required or place == "path",
        "schema": dict(schema),
        "description": description,
    }


def describe(app: FastAPI, routes: Sequence[APIRoute]) -> dict[str, Any]:
    """The whole document of `app`, which serves `routes`."""
    routes = [_without_head(route) for route in routes]
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=routes,
        tags=app.openapi_tags,
    )
    _, schemas = models_json_schema(
        [
            (model, "validation")
            for model in (*MODELS, *ANSWER_MODELS, *AUDIT_MODELS, *INTENT_MODELS, *RECON_MODELS)
        ],
        ref_template="#/components/schemas/{model}",
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas["$defs"])
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
    }
    document["security"] = [{"key": []}]
    _restore_nulls(document, routes)
    return document


def _without_head(route: APIRoute) -> APIRoute:
    """The same route as it is described: that HEAD is answered as GET goes without saying."""
    described = copy(route)
    described.methods = (route.methods or set()) - {"HEAD"}
    return described


def _restore_nulls(document: dict[str, Any], routes: Sequence[APIRoute]) -> None:
    """Put examples back as they are: the framework drops members that are null."""
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            for status, response in route.responses.items():
                if "content" in response:
                    operation["responses"][str(status)]["content"] = response["content"]

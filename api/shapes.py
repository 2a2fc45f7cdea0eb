"""Shapes: a body or document held to a model, and what is wrong with it in words of ours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from api.body import JSON, SMALL_BODY_BYTES_MAX, media_type, read_body
from api.errors import InvalidParameterError
from api.wire import Wire
from ledger.canonical import parse_json
from ledger.errors import MalformedEffectError
from ledger.forms.grammar import below

WRONG_MEMBERS_MAX = 20
"""Wrong members one answer lists; the rest shows when these are right."""

Shape = TypeVar("Shape", bound=Wire)


async def read_shape(request: Request, model: type[Shape], *, may_be_empty: bool = False) -> Shape:
    """
    The small JSON body of a request without parameters, in the shape of `model`.

    Args:
        request: Whose caller may ask for this.
        model: What is asked for.
        may_be_empty: Whether no body at all says as much as `{}`.

    Raises:
        InvalidParameterError: It has parameters.
        MalformedRequestError, TooLargeError: The body is of another kind, or too long.
        MalformedJsonError: It is not JSON.
        MalformedEffectError: As `parse_shape`.
    """
    check_no_parameters(request)
    media_type(request, JSON)
    raw = await read_body(request, SMALL_BODY_BYTES_MAX)
    return parse_shape(model, parse_json(raw) if raw or not may_be_empty else {})


def check_no_parameters(request: Request) -> None:
    """
    Check that nothing follows a `?`: a parameter nobody knows is a mistake.

    Raises:
        InvalidParameterError: Something does.
    """
    if request.scope["query_string"]:
        raise InvalidParameterError("this path has no parameters")


def parse_shape(model: type[Shape], document: Any) -> Shape:
    """
    `document` in the shape of `model`.

    Raises:
        MalformedEffectError: Another shape; the first member that is wrong is told, all are
            in `details`.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        wrong = wrong_members(error.errors(include_url=False, include_input=False))
        first = wrong[0]
        raise MalformedEffectError(
            f"{first['pointer'] or '/'} {first['says']}", pointer=first["pointer"], wrong=wrong
        ) from error


def wrong_members(errors: Iterable[Mapping[str, Any]], *, skip: int = 0) -> list[dict[str, str]]:
    """
    What pydantic found, as JSON pointers and words of ours; values are never repeated.

    Args:
        errors: As `ValidationError.errors()` gives them.
        skip: How many first parts of each location say only where in the request it was.
    """
    return [
        {"pointer": _pointer(error["loc"][skip:]), "says": _say(error)}
        for error in itertools.islice(errors, WRONG_MEMBERS_MAX)
    ]


def _pointer(location: Iterable[str | int]) -> str:
    pointer = ""
    for part in location:
        pointer = below(pointer, str(part)[:63])
    return pointer


def _say(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        return f"must be one of {error['ctx']['expected']}"
    return _SAYS.get(error["type"]) or error["msg"].replace("Input should", "must")


_SAYS = {
    "missing": "is required",
    "extra_forbidden": "is not a member known here",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}

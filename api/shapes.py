"""Shapes: a document held to a model, and what is wrong with it in words of ours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from api.wire import Wire
from ledger.errors import MalformedEffectError
from ledger.forms.grammar import below

WRONG_MEMBERS_MAX = 20
"""Wrong members one answer lists; the rest shows when these are right."""

Shape = TypeVar("Shape", bound=Wire)


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

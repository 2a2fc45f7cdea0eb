"""The picture of the errors is the truth: whoever reads it knows what there is to catch."""

from __future__ import annotations

import inspect
import re

import pytest

from api.problems import PROBLEMS, problem_of
from ledger import errors
from ledger.errors import LedgerError

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LedgerError)
}
# Gathered for a caller who does the same about all of them; only their leaves are raised.
GATHERING = {"LedgerError", "RejectedError", "AccessError", "VerificationError"}


def drawn() -> dict[str, str | None]:
    """Error -> the one above it, as the picture in the docstring has them."""
    assert errors.__doc__ is not None
    above: dict[str, str | None] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        names = re.findall(r"\b\w+Error\b", line.partition("  # ")[0])
        marks = re.match(r" {4}((?:\|  |   )*)(\|__)?(?=\w)", line)
        if not names or marks is None:
            continue
        depth = len(marks[1]) // 3 + bool(marks[2])
        # Words after the first name explain it; further names stand beside it.
        beside = re.match(r"[ |_]*((?:\w+Error)(?:, \w+Error)*)", line)
        assert beside is not None
        for name in beside[1].split(", "):
            above[name] = path[depth - 1] if depth else None
        path[depth:] = [beside[1].split(", ")[-1]]
    return above


def test_the_picture_shows_every_error_under_its_parent():
    built = {
        name: None if kind is LedgerError else kind.__bases__[0].__name__
        for name, kind in CLASSES.items()
    }

    assert drawn() == built


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_says_what_it_leaves_behind(name):
    """In one sentence of its own, not in that of its parent."""
    said = CLASSES[name].__dict__.get("__doc__")

    assert said
    assert said.strip().endswith(".")


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - GATHERING))
def test_every_error_that_is_raised_is_told_in_its_own_way(name):
    """A row of its own: no client gets the hint that was meant for another error."""
    assert CLASSES[name] in PROBLEMS
    assert problem_of(CLASSES[name]("words")) is PROBLEMS[CLASSES[name]]

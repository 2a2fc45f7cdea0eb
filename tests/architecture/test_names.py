"""What a package offers is what it says it offers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

PACKAGES = ("ledger", "api", "migrations")


def packages() -> list[str]:
    found = list(PACKAGES)
    for root in PACKAGES:
        module = importlib.import_module(root)
        found += [
            each.name
            for each in pkgutil.walk_packages(module.__path__, prefix=f"{root}.")
            if each.ispkg
        ]
    return found


def offered(module: ModuleType) -> set[str]:
    """Public names that are not modules: those are found by their path."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }


@pytest.mark.parametrize("name", packages())
def test_a_package_offers_what_it_lists_and_nothing_else(name):
    """What is imported in passing is not offered; what is listed is there."""
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])

    assert offered(module) == set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", packages())
def test_a_package_says_what_its_room_is_for(name):
    said = importlib.import_module(name).__doc__

    assert said
    assert said.strip().partition("\n")[0].endswith(".")


@pytest.mark.parametrize("name", packages())
def test_everything_offered_says_what_it_is(name):
    """Classes and functions have a docstring of their own; constants stand beside a comment."""
    module = importlib.import_module(name)
    things = {each: getattr(module, each) for each in getattr(module, "__all__", [])}

    silent = {
        each
        for each, thing in things.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not thing.__doc__
    }
    assert silent == set()

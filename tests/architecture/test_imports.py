"""Every file of the library has its floor in the house; imports are checked against it."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import ledger
from tests.architecture.repository import ROOT, project


def layers() -> list[str]:
    """Every module the first contract names, from the street to the cellar."""
    contract, *_rooms = project()["tool"]["importlinter"]["contracts"]
    assert contract["type"] == "layers"
    return [name.strip() for layer in contract["layers"] for name in re.split("[|:]", layer)]


def modules(path: Iterable[str], parent: str) -> Iterator[str]:
    """Every module below `parent`; those of a room that stands on one floor count as the room."""
    for module in pkgutil.iter_modules(path):
        name = f"{parent}.{module.name}"
        if module.ispkg and name not in layers():
            yield from modules([f"{next(iter(path))}/{module.name}"], name)
        else:
            yield name


def test_every_module_of_the_library_is_in_the_contract():
    """A module without a floor could import anything: the linter would not look at it."""
    named = set(layers())

    assert [name for name in modules(ledger.__path__, "ledger") if name not in named] == []


def test_the_contract_names_no_module_that_is_gone():
    for name in layers():
        path = ROOT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_each_module_stands_on_one_floor():
    assert len(layers()) == len(set(layers()))


def test_the_whole_house_is_looked_at():
    """Also what stands beside the library: all that is shipped."""
    roots = project()["tool"]["importlinter"]["root_packages"]

    assert sorted(roots) == ["api", "ledger", "migrations"]


def room(module: str) -> str:
    """The first two words of a module's name: `ledger.storage.wire` is in `ledger.storage`."""
    return ".".join(module.split(".")[:2])


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ledger":
            yield from (f"{node.module}.{each.name}" for each in node.names)


def test_no_rooms_import_each_other_in_a_circle():
    """Files know only what stands below them, and so do rooms as wholes: a plan one can draw."""
    doors: dict[str, set[str]] = {}
    for path in sorted((ROOT / "ledger").rglob("*.py")):
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        doors.setdefault(here, set()).update(map(room, imported(path)))

    plan = {here: there - {here} for here, there in doors.items()}

    assert set(TopologicalSorter(plan).static_order()) >= set(plan)

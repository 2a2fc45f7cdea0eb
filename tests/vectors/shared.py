"""
The shared test data beside the checkout: vectors made by others, in any language.

Where the folder is absent the laws that need it are skipped, and the summary says which. A
file that is missing inside of it is an error: half a folder must not look like none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared_vectors() -> Path:
    """The folder of vectors; skips the module that asks where there is none."""
    folder = SHARED / "vectors"
    if not folder.is_dir():
        pytest.skip(
            "NOT CHECKED against independent vectors: there is no ../shared/vectors beside the "
            "checkout",
            allow_module_level=True,
        )
    return folder


def read_shared(name: str) -> Any:
    """What the JSON file of this name in the shared vectors says."""
    return json.loads((shared_vectors() / name).read_text("utf-8"))


def by_name(cases: list[dict[str, Any]], key: str = "name") -> list[Any]:
    """The cases as parameters of a test, each shown by its name."""
    return [pytest.param(case, id=case[key]) for case in cases]

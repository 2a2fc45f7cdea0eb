"""Every command says in its help how it is called, and how it ends."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
import typer

from ledger.cli.main import PROGRAM, app
from ledger.cli.manual import Readers

ROOT = typer.main.get_command(app)


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command below a group."""
    for name, command in group.commands.items():
        yield from (
            commands(command, *path, name) if hasattr(command, "commands") else [(*path, name)]
        )


COMMANDS = tuple(commands(ROOT))


def help_of(*words: str) -> str:
    with redirect_stdout(io.StringIO()) as told:
        ROOT.main([*words, "--help"], prog_name=PROGRAM, standalone_mode=False)
    return told.getvalue()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_example_is_a_call_that_parses(words):
    """It names the command, and its arguments are all that the command asks for."""
    _, found, rest = help_of(*words).partition("\n  Example:\n")
    assert found
    example = shlex.split(rest.partition("\n\n")[0].replace("\\\n", ""))
    assert example[: 1 + len(words)] == [PROGRAM, *words]

    command: Any = ROOT
    for word in words:
        command = command.commands[word]
    command.make_context(words[-1], example[1 + len(words) :])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_how_a_command_ends(words):
    """0 and 2 are for every command; what else there is has the same meaning everywhere."""
    codes = dict(re.findall(r"^    (\d+)  (.+)$", help_of(*words), flags=re.MULTILINE))

    assert {"0", "2"} <= codes.keys() <= {"0", "1", "2", "3", "4"}
    assert "4" not in codes or words == ("watch",)


def test_every_command_stands_under_whom_it_is_for():
    """What `--help` does not name, nobody finds."""
    told = help_of()
    headings = [f"\n{each.value}:\n" for each in Readers]

    assert [told.index(each) for each in headings] == sorted(told.index(each) for each in headings)
    listed = re.findall("^  ([a-z][a-z-]+)  ", told.partition(headings[0])[2], flags=re.MULTILINE)
    assert sorted(listed) == sorted({words[0] for words in COMMANDS})


def test_no_name_of_a_value_is_the_name_of_its_type():
    """`--out OUT`, and not `--out <path>`."""
    for words in COMMANDS:
        assert not re.search("--[a-z-]+ <", help_of(*words)), words


def test_a_command_is_not_made_to_wait_for_all_others():
    """What is imported before the command is known is next to nothing."""
    said = "import sys, ledger.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)

    assert not {"httpx", "sqlalchemy", "cryptography", "ledger.service"} & set(done.stdout.split())

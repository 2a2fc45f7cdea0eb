"""
Manual: how help reads. Commands stand under whom they are for, and each ends in one example and
its exit codes.

    0 good   1 bad evidence, breaks, refused items   2 bad input, or refused   3 nobody answers
"""

from __future__ import annotations

from enum import StrEnum
from textwrap import wrap
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption


class Readers(StrEnum):
    """Whom a command is for: the headings of `effect-ledger --help`, in order."""

    NEWCOMERS = "To see it work"
    SERVICES = "For services, which record effects"
    AUDITORS = "For auditors, who believe nobody"
    FINANCE = "For finance, who close the month"
    OPERATORS = "For operators, who keep it running"


SHORT_MAX = 200
"""Characters of a command's first sentence that the list shows: all of it."""
EXAMPLE_WIDTH = 76

Exits = dict[int, str]
"""Exit code -> what it says."""

ALONE: Exits = {0: "done", 2: "bad input, or not possible"}
"""Of a command that needs neither service nor database."""
LOCAL: Exits = {
    0: "done",
    2: "bad input, or refused",
    3: "the database or its signer does not answer",
}
CALLS: Exits = {
    0: "done",
    2: "bad input, or the service refused",
    3: "no service answers, or not now; the same command may be run again",
}


class _Command(TyperCommand):
    """A command whose options name their values in one way: `--out OUT`."""

    def __init__(self, *arguments: Any, **properties: Any) -> None:
        super().__init__(*arguments, **properties)
        for parameter in self.params:
            is_flag = isinstance(parameter, TyperOption) and (
                parameter.is_flag or parameter.is_bool_flag
            )
            if parameter.metavar is None and not is_flag:
                parameter.metavar = _value_name(parameter)


def plain_typer(**properties: Any) -> typer.Typer:
    """A program or a group of commands, whose help is read in logs and pagers too."""
    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        # A traceback with local variables would show keys and payloads.
        pretty_exceptions_enable=False,
        **properties,
    )


def manual(example: str, exits: Exits) -> dict[str, Any]:
    """
    What `Typer.command` is told of a command for its help.

    Args:
        example: One call that works, without the program's name.
        exits: Every exit code it has, and what each says.
    """
    codes = [f"  {code}  {says}" for code, says in sorted(exits.items())]
    # Each block as it stands: \b tells the formatter not to fill its lines.
    epilog = "\n".join(["\b", "Example:", *_lines(example), "", "\b", "Exit codes:", *codes])
    return {"cls": _Command, "epilog": epilog}


def _lines(example: str) -> list[str]:
    lines = wrap(
        f"effect-ledger {example}",
        EXAMPLE_WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _value_name(parameter: Any) -> str:
    if isinstance(parameter, TyperOption):
        longest: str = max(parameter.opts, key=len)
        return longest.lstrip("-").replace("-", "_").upper()
    return str(parameter.name).upper()

"""
Manual: how help reads. Commands stand under whom they are for, and each ends in one example and
its exit codes.

    0 good   1 bad evidence, breaks, refused items   2 bad input, or refused   3 nobody answers
"""

from __future__ import annotations

from enum import StrEnum
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter


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


class Manual(TyperGroup):
    """Commands under the headings of their readers."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of commands, a section for each kind of reader."""
        for readers in Readers:
            rows = [
                (name, self.commands[name].get_short_help_str(limit=SHORT_MAX))
                for name in self.list_commands(ctx)
                if getattr(self.commands[name], "rich_help_panel", None) == readers
            ]
            with formatter.section(readers.value):
                formatter.write_dl(rows)


def manual(example: str, exits: Exits, readers: Readers | None = None) -> dict[str, Any]:
    """
    What `Typer.command` is told of a command for its help.

    Args:
        example: One call that works, without the program's name.
        exits: Every exit code it has, and what each says.
        readers: Whom it is for, where it stands at the top.
    """
    codes = [f"  {code}  {says}" for code, says in sorted(exits.items())]
    # Each block as it stands: \b tells the formatter not to fill its lines.
    epilog = "\n".join(["\b", "Example:", *_lines(example), "", "\b", "Exit codes:", *codes])
    return {"cls": _Command, "epilog": epilog, "rich_help_panel": readers}


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

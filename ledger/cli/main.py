"""
Main: the program, and what becomes of what its commands raise.

Each command's help says its exit codes; they mean the same everywhere, see `manual`.
"""

from __future__ import annotations

import sys

import typer

from ledger import __version__
from ledger.cli.commands import Commands
from ledger.cli.manual import plain_typer
from ledger.cli.output import BAD_INPUT, INTERRUPTED, Output, print_json
from ledger.errors import LedgerError, SettingsError

PROGRAM = "effect-ledger"

app = plain_typer(
    name=PROGRAM,
    cls=Commands,
    help="An append-only, hash-chained record of effects that cannot be rolled back.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """An append-only, hash-chained record of effects that cannot be rolled back."""


def main() -> None:
    """Run the command that the process was started with, and end the process."""
    # Also where the command line itself is wrong, and no command could say how to answer.
    output = Output(as_json="--json" in sys.argv[1:])
    try:
        code = typer.main.get_command(app).main(prog_name=PROGRAM, standalone_mode=False)
    except LedgerError as error:
        code = output.fail(error)
    except OSError as error:
        # A file or folder that somebody named; what a service answers is never one.
        code = output.fail(
            SettingsError(f"{error.filename or 'a file'}: {error.strerror or error}")
        )
    except typer.TyperException as error:
        code = _fail_usage(output, error)
    except typer.Abort:
        code = _end_early(output)
    sys.exit(code or 0)


def _end_early(output: Output) -> int:
    """Ctrl-C."""
    output.note(f"{PROGRAM}: interrupted")
    if output.as_json:
        print_json({"error": {"message": "interrupted", "code": "INTERRUPTED", "details": {}}})
    return INTERRUPTED


def _fail_usage(output: Output, error: typer.TyperException) -> int:
    message = error.format_message()
    if message.startswith("Usage: "):
        # Called without a command: the help is the answer.
        output.note(message)
        return BAD_INPUT
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    output.note(f"{PROGRAM}: {message}{hint}")
    if output.as_json:
        print_json({"error": {"message": message, "code": "USAGE", "details": {}}})
    return BAD_INPUT


if __name__ == "__main__":
    main()

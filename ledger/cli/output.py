"""
Output: what commands print, for people and for programs.

With `--json` a command prints exactly one JSON object on standard output, and all prose goes
to standard error; without it, prose is the output. Errors are one plain line each.

A reader that has read enough, as `head` has, changes no exit code: what is left goes nowhere, and
the command goes on to its verdict.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TextIO

import orjson
import typer

from ledger.errors import (
    DatabaseUnavailableError,
    LedgerError,
    OutcomeUnknownError,
    PushbackError,
    VerificationError,
)

GOOD = 0
BAD_EVIDENCE = 1
BAD_INPUT = 2
UNREACHABLE = 3
INTERRUPTED = 130
"""Ended by Ctrl-C, as shells count it: 128 and the number of the signal."""

LedgerArgument = Annotated[str, typer.Argument(metavar="LEDGER", help="Name of the ledger.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object; prose goes to stderr.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]

# Often enough to see that it goes on, seldom enough for a log file.
PROGRESS_LINE_EVERY_S = 5.0

_SHUT_OUT = ("28", "42501")
"""SQLSTATEs: invalid authorization, insufficient privilege."""
# While it connects the driver hands on what the server says, and no SQLSTATE. A server that
# says it in another language is taken for one that is away.
_SHUT_OUT_WORDS = (
    *("authentication failed", "no password supplied", "no pg_hba.conf entry"),
    *("does not exist", "permission denied for database"),
)
_LATER = ("retry-with-backoff", "reconcile-first")

Tell = Callable[[int, int | None], None]
"""(done, of how many): either may grow; the second is None while it is not known."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where one command prints."""

    as_json: bool
    quiet: bool = False

    def say(self, text: str = "") -> bool:
        """Prose for people: the output, or beside it; whether somebody reads it still."""
        return _print(text, sys.stderr if self.as_json else sys.stdout)

    def note(self, text: str) -> None:
        """What a person should know and a pipe should not get."""
        _print(text, sys.stderr)

    def answer(self, document: Mapping[str, Any], prose: str) -> None:
        """The result: as the one JSON object, or as prose."""
        if self.as_json:
            print_json(document)
        else:
            _print(prose, sys.stdout)

    def fail(self, error: LedgerError) -> int:
        """Say what went wrong, and return the exit code for it."""
        message = error.message
        if isinstance(error, DatabaseUnavailableError) and error.__cause__ is not None:
            # Who starts a service may know why; over HTTP it would be nobody's business.
            message += f": {error.__cause__}"
        line = " ".join(message.split())
        _print(f"effect-ledger: {line}", sys.stderr)
        if self.as_json:
            print_json({"error": {"message": line, **error_document(error)}})
        return _code_of(error)

    @contextmanager
    def progress(self, title: str, unit: str) -> Iterator[Tell]:
        """Show how far something is: a bar on a terminal, a line now and then elsewhere."""
        if self.as_json or self.quiet:
            yield lambda _done, _total: None
        elif sys.stderr.isatty():
            with _bar(title, unit) as tell:
                yield tell
        else:
            yield _lines(title, unit)


def print_json(document: Mapping[str, Any]) -> bool:
    """One JSON object, on one line of standard output; whether somebody reads it still."""
    return _write(orjson.dumps(document, default=str).decode(), sys.stdout)


def error_document(error: LedgerError) -> dict[str, Any]:
    """What programs are told of an error: its code and the values behind the message."""
    problem: Mapping[str, Any] | None = getattr(error, "problem", None)
    if problem is not None:
        # A problem of the service carries its own code, with world and way out.
        return dict(problem)
    code = "".join(f"_{c}" if c.isupper() else c for c in type(error).__name__)
    return {"code": code.removeprefix("_").removesuffix("_Error").upper(), "details": error.details}


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns under each other, as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def shown(text: str) -> str:
    """A text of others on one line, with nothing in it that a terminal obeys or that is unseen."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def facts(**members: object) -> str:
    """Names and values under each other, those that are None left out."""
    return table(
        [
            (f"  {name.replace('_', ' ')}", shown(str(value)))
            for name, value in members.items()
            if value is not None
        ]
    )


def _code_of(error: LedgerError) -> int:
    if isinstance(error, VerificationError):
        return BAD_EVIDENCE
    # What the service itself says may succeed later was not refused. Told by attributes, which
    # errors of the client have: most commands start without it.
    problem = getattr(error, "problem", None)
    is_not_now = (
        problem.get("retryable") is True
        if problem is not None
        else getattr(error, "action", None) in _LATER
    )
    if isinstance(error, DatabaseUnavailableError) and _is_shut_out(error.__cause__):
        return BAD_INPUT
    if is_not_now or isinstance(error, PushbackError | OutcomeUnknownError):
        return UNREACHABLE
    return BAD_INPUT


def _is_shut_out(cause: object) -> bool:
    """Whether a database answers, and does not let this login in: it will not do so later."""
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return bool(state.startswith(_SHUT_OUT))
    return any(words in str(cause) for words in _SHUT_OUT_WORDS)


def _print(text: str, stream: TextIO) -> bool:
    return _write("\n".join(map(shown, text.split("\n"))), stream)


def _write(text: str, stream: TextIO) -> bool:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # What is still buffered goes nowhere too, or the end of the process would stumble over it.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return False
    return True


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Tell]:
    # Imported here: it takes longer to load than most commands take to run.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str, unit: str) -> Tell:
    told_at = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at < PROGRESS_LINE_EVERY_S:
            return
        told_at = now
        of = "" if total is None else f" of {total:,}"
        _print(f"{title}: {done:,}{of} {unit}", sys.stderr)

    return tell

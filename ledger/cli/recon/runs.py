"""Runs: a period reconciled, its statement printed, written and signed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.files import write_file
from ledger.cli.output import (
    BAD_EVIDENCE,
    GOOD,
    JsonOption,
    LedgerArgument,
    Output,
    QuietOption,
)
from ledger.cli.recon.room import KeyOption, NoteOption, Room
from ledger.cli.remote import open_remote
from ledger.errors import NotFoundError, PushbackError, SettingsError

POLL_S = 0.2
POLL_MAX_S = 2.0
STATEMENT_FILES = {
    "statement.txt": "text",
    "statement.csv": "csv",
    "lists.csv": "lists",
    "statement.xlsx": "xlsx",
    "statement.pdf": "pdf",
    "statement.json": "json",
}
SourceOption = Annotated[list[str] | None, typer.Option(help="Only these sources. Repeatable.")]


def run(
    ledger: LedgerArgument,
    *,
    period: Annotated[str, typer.Option(help="A year, quarter, month or day, such as 2026-03.")],
    source: SourceOption = None,
    today: Annotated[str | None, typer.Option(help="The day of the question; today.")] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Reconcile a period, and print the statement."""
    output = Output(as_json, quiet)
    with open_remote() as remote:
        room = Room(remote, ledger, key)
        begun = room.post("runs", {"period": period, "sources": source, "today": today})
        found = _wait(room, begun["id"], output)
        text = "" if as_json else room.raw(f"runs/{found['id']}/statement", format="text").decode()
    output.answer(found, f"{text}\n{_standing(found)}")
    raise typer.Exit(GOOD if found["tied"] else BAD_EVIDENCE)


def statement(
    ledger: LedgerArgument,
    *,
    period: Annotated[str | None, typer.Option(help="The newest run of this period.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Instead: this run.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for it as text, CSV, workbook, PDF and JSON.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a statement, or write it in every form."""
    output = Output(as_json)
    with open_remote() as remote:
        room = Room(remote, ledger)
        chosen = _run_of(room, period, run_id)
        found = room.get(f"runs/{chosen}")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            for name, form in STATEMENT_FILES.items():
                write_file(out / name, room.raw(f"runs/{chosen}/statement", format=form))
            output.note(f"written to {out}: {', '.join(STATEMENT_FILES)}")
        text = room.raw(f"runs/{chosen}/statement", format="text").decode()
    output.answer(found, f"{text}\n{_standing(found)}")
    raise typer.Exit(GOOD if found["tied"] else BAD_EVIDENCE)


def signoff(
    ledger: LedgerArgument,
    *,
    period: Annotated[str | None, typer.Option(help="The newest run of this period.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Instead: this run.")] = None,
    note: NoteOption = None,
    untied: Annotated[
        bool, typer.Option("--untied", help="Sign it also where it is not tied; that is recorded.")
    ] = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign the statement of a run that another person prepared."""
    with open_remote() as remote:
        room = Room(remote, ledger, key)
        chosen = _run_of(room, period, run_id)
        made = room.post("signoffs", {"run": chosen, "note": note, "untied": untied or None})
    although = made.get("untied_because", ())
    signed = f"statement {made['statement_digest'][:16]} of {made['period']} is signed"
    Output(as_json).answer(made, "\n".join([signed, *(f"although {each}" for each in although)]))


def match(
    ledger: LedgerArgument,
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Keys of the items.")],
    *,
    note: Annotated[str, typer.Option(help="Why they belong together.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put items together by hand, from the next run on."""
    with open_remote() as remote:
        made = Room(remote, ledger, key).post("matches", {"items": items, "note": note})
    Output(as_json).answer(made, f"{len(items)} items belong together from the next run on")


def unmatch(
    ledger: LedgerArgument,
    match_id: Annotated[str, typer.Argument(metavar="MATCH", help="Id of the match.")],
    *,
    run_id: Annotated[str, typer.Option("--run", help="Run in which it stands.")],
    note: Annotated[str, typer.Option(help="Why.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take one match apart; no other is touched."""
    with open_remote() as remote:
        words = {"run": run_id, "reason": note}
        made = Room(remote, ledger, key).post(f"matches/{match_id}/unmatch", words)
    Output(as_json).answer(made, f"match {match_id} is apart from the next run on")


def _wait(room: Room, run_id: str, output: Output) -> Any:
    pause_s = POLL_S
    with output.progress("reconciling", "items") as tell:
        while True:
            found = room.get(f"runs/{run_id}")
            if found["state"] == "failed":
                raise PushbackError(f"the run failed: {found['error']}", run=run_id)
            if found["state"] == "done":
                return found
            tell(found["done"], None)
            time.sleep(pause_s)
            pause_s = min(POLL_MAX_S, 1.5 * pause_s)


def _standing(found: Mapping[str, Any]) -> str:
    """Whether it is tied and, where it is not, each reason on a line."""
    says = "tied" if found["tied"] else "not tied"
    return "\n".join(
        [f"Run {found['id']}: {says}.", *(f"  - {each}" for each in found["untied_because"])]
    )


def _run_of(room: Room, period: str | None, run_id: str | None) -> str:
    if (period is None) == (run_id is None):
        raise SettingsError("say which: --period, or --run")
    if run_id is not None:
        return run_id
    runs = room.all("runs", period=period)
    if not runs:
        raise NotFoundError(f"there is no run of {period}: begin one with `recon run`")
    return str(runs[-1]["id"])

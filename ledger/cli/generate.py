"""Generate: months of a synthetic shop, to try reconciliation with before there are real files."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.output import JsonOption, Output, QuietOption, facts
from ledger.errors import SettingsError
from ledger.recon.synthetic import Generated, Plan
from ledger.recon.synthetic import generate as write_files


def generate(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to; made where it is not there.")],
    lines: Annotated[int, typer.Option(help="About how many lines the providers report.")] = 1_000,
    breaks: Annotated[int, typer.Option(help="How many breaks are planted among them.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 1,
    first: Annotated[
        str, typer.Option("--from", metavar="YYYY-MM", help="The first month.")
    ] = "2026-03",
    months: Annotated[int, typer.Option(help="How many months.")] = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """
    Write a synthetic shop's ledger, provider reports and bank statements, and what is wrong.

    Nothing in them is real. `truth.json` names every planted break with the state it must be
    found in; everything else matches. Needs no service.
    """
    output = Output(as_json, quiet)
    plan = Plan(lines=lines, breaks=breaks, seed=seed, first=_month(first), months=months)
    try:
        with output.progress("Generating", "lines") as tell:
            made = write_files(plan, out, tell)
    except OSError as error:
        raise SettingsError(
            f"{error.filename or out} cannot be written: {error.strerror}"
        ) from error
    output.answer(_document(made, plan), _prose(made, plan))


def _month(text: str) -> date:
    try:
        if len(text) == len("2026-03"):
            return date.fromisoformat(f"{text}-01")
    except ValueError:
        pass
    raise SettingsError(f"a month is written as 2026-03, found {text[:20]!r}")


def _document(made: Generated, plan: Plan) -> dict[str, Any]:
    return {
        "directory": str(made.directory),
        "seed": plan.seed,
        "ledger_items": made.items,
        "provider_lines": made.lines,
        "bank_lines": made.bank_lines,
        "breaks": made.breaks,
        "files": made.files,
        "period_from": plan.first.isoformat(),
        "period_to": plan.last.isoformat(),
        "today": plan.today.isoformat(),
    }


def _prose(made: Generated, plan: Plan) -> str:
    told = facts(
        ledger=f"{made.items:,} items in {made.directory / 'ledger.ndjson'}",
        providers=f"{made.lines:,} lines",
        bank=f"{made.bank_lines:,} lines",
        breaks=f"{made.breaks:,}, told in {made.directory / 'truth.json'}",
        files=f"{made.files} in {made.directory / 'reports'}, with sources and totals in "
        f"{made.directory / 'setup.json'}",
    )
    return (
        f"Synthetic: {plan.first} to {plan.last}, seed {plan.seed}; a run is for {plan.today}.\n"
        f"{told}\nNext: effect-ledger import LEDGER {made.directory / 'ledger.ndjson'}"
    )

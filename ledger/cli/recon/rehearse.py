"""Rehearse: a generated shop is reconciled from its files, measured, and held to its truth."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.output import BAD_EVIDENCE, GOOD, JsonOption, Output, QuietOption, facts
from ledger.errors import SettingsError

WRONG_SHOWN = 20


def rehearse(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="As `recon generate --out DIR` filled it.")
    ],
    *,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """
    Reconcile a generated shop, and say what was found otherwise than it was planted.

    Reads the files and matches as a run does; needs no service and keeps nothing. Tells
    time and memory.
    """
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.recon.rehearsal import rehearse as reconcile_files

    output = Output(as_json, quiet)
    try:
        with output.progress("rehearsing", "items") as tell:
            found = reconcile_files(directory, time.monotonic, lambda _what, done: tell(done, None))
    except OSError as error:
        raise SettingsError(
            f"{error.filename or directory} cannot be read: {error.strerror}"
        ) from error
    # Kilobytes, and bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    document: dict[str, Any] = {
        "items": found.items,
        "lines": found.lines,
        "planted": found.planted,
        "wrong": found.wrong,
        "unexplained": found.unexplained,
        "output_digest": found.output_digest,
        "seconds": {stage: round(took, 2) for stage, took in found.seconds.items()},
        "peak_bytes": peak,
    }
    prose = facts(
        movements_of_the_ledger=f"{found.items:,}",
        lines_of_statements=f"{found.lines:,}",
        planted_breaks=f"{found.planted:,}",
        found_otherwise=f"{len(found.wrong):,}",
        unexplained=", ".join(found.unexplained) or "0.00",
        files_read_in=f"{found.seconds['files']:.1f} s",
        ledger_read_in=f"{found.seconds['ledger']:.1f} s",
        matched_in=f"{found.seconds['matching']:.1f} s",
        most_memory=f"{peak / 1e6:,.0f} MB",
    )
    for each in found.wrong[:WRONG_SHOWN]:
        output.note(f"{each['item']}: planted {each['planted']}, found {each['found']}")
    output.answer(document, prose)
    is_good = not found.wrong and not found.unexplained
    raise typer.Exit(GOOD if is_good else BAD_EVIDENCE)

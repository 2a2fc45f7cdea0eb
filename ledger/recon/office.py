"""Office: finance's room put together, as an entrance works with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Engine

from ledger.append import Appender
from ledger.dialog.intents import Intents
from ledger.reader import Reader
from ledger.recon.account import build_account
from ledger.recon.board import build_board
from ledger.recon.casework import Casework
from ledger.recon.decisions import Decisions
from ledger.recon.holds import Holds
from ledger.recon.imports import Imports, statements_of
from ledger.recon.reconciler import Reconciler
from ledger.recon.runs import Runs
from ledger.recon.scoping import coverage_of
from ledger.recon.shelf import RunRow, Shelf
from ledger.recon.signoffs import read_signoffs
from ledger.recon.tying import read_tie
from ledger.storage.database import Conninfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Everything about reconciliation. Its parts may be shared between threads."""

    shelf: Shelf
    requests: Holds
    """By key: one request is answered once."""
    imports: Imports
    runs: Runs
    casework: Casework

    def summary(self, ledger: str, run: RunRow) -> dict[str, Any]:
        """A run as JSON: what it was about, its statement, and whether it is tied now."""
        tie = read_tie(self.shelf, ledger, run)
        return {
            "id": run.id,
            "ledger": ledger,
            "state": "done",
            "input": run.input,
            "input_digest": run.input_digest,
            "output_digest": run.output_digest,
            "started_at": run.started_at.isoformat(),
            "started_by": run.started_by,
            "tied": not tie.untied_because,
            "untied_because": list(tie.untied_because),
            "remaining": tie.remaining,
            "signoffs": [each.to_document() for each in read_signoffs(self.shelf, ledger, run.id)],
            **run.output,
        }

    def board(self, ledger: str, first: date, last: date) -> dict[str, Any]:
        """The month board: source by day, by the newest run that saw these days."""
        counting = self.imports.counting(ledger)
        accounts = [build_account(row.document) for row in self.shelf.sources(ledger)]
        run = self.shelf.newest_run(ledger, first, last)
        standings: list[Mapping[str, Any]] = []
        if run is not None:
            standings = [
                document
                for _, state, _, document in self.shelf.standings(ledger, run, limit=1_000_000)
                if state != "matched"
            ]
        return build_board(
            accounts,
            coverage_of(statements_of(counting)),
            standings,
            days=[first + timedelta(days=at) for at in range((last - first).days + 1)],
            files=[(row.source, statements_of([row])) for row in counting],
        ) | {"run": run}


def open_office(
    engine: Engine,
    requests: Engine,
    files: Engine,
    *,
    reader: Reader,
    intents: Intents,
    appender: Appender,
    conninfo: Conninfo | None = None,
) -> Office:
    """
    The office over one database.

    Args:
        engine: With the rights of the writer.
        requests: Likewise; each request under way keeps a connection of it.
        files: Likewise; each file that is read keeps one.
        reader: Reads the ledgers.
        intents: Reads what is open.
        appender: Writes notices of decisions; nobody else uses it.
        conninfo: How the process of a long run connects; None computes them in this one.
    """
    shelf = Shelf(engine)
    decisions = Decisions(shelf, appender)
    imports = Imports(shelf, decisions, Holds(files))
    return Office(
        shelf=shelf,
        requests=Holds(requests),
        imports=imports,
        runs=Runs(shelf, Reconciler(shelf, reader, intents), conninfo),
        casework=Casework(shelf, reader, decisions),
    )

"""Recon: the commands of finance's room."""

from __future__ import annotations

import typer

from ledger.cli.generate import generate

app = typer.Typer(
    help="Reconcile what a ledger holds with what providers and banks say.", no_args_is_help=True
)
app.command("generate")(generate)

"""Recon: finance's room from a terminal, and from a nightly job."""

from ledger.cli.recon.commands import app

__all__ = ["app"]

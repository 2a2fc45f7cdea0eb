"""Shelf: all its rows in one hand."""

from __future__ import annotations

from ledger.recon.shelf.breaks import BreakRows
from ledger.recon.shelf.decisions import DecisionRows
from ledger.recon.shelf.files import Files
from ledger.recon.shelf.jobs import Jobs
from ledger.recon.shelf.requests import Requests
from ledger.recon.shelf.runs import RunRows
from ledger.recon.shelf.sources import Sources


class Shelf(Sources, Files, DecisionRows, RunRows, BreakRows, Requests, Jobs):
    """
    The rows of one database. Safe to share between threads.

    Every method may raise DatabaseUnavailableError where the database does not answer.
    """

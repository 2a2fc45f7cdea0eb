"""
Shelf: where finance's room keeps what it reads, compares and decides. Rows are only added.

Knows no rules: what a file, a run or a break means is for others. No transaction is long:
what has many rows is written in parts, and counts once its last row stands.
"""

from ledger.recon.shelf.breaks import BreakFilter, BreakRow
from ledger.recon.shelf.decisions import DecisionRow
from ledger.recon.shelf.files import ImportRow
from ledger.recon.shelf.rows import FIRST, Place
from ledger.recon.shelf.runs import RunRow
from ledger.recon.shelf.shelf import Shelf
from ledger.recon.shelf.sources import SourceRow

__all__ = [
    "FIRST",
    "BreakFilter",
    "BreakRow",
    "DecisionRow",
    "ImportRow",
    "Place",
    "RunRow",
    "Shelf",
    "SourceRow",
]

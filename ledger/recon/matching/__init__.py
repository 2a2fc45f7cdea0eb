"""
Matching: which movement of the ledger is which line of a statement. Pure, pass by pass.

`engine` has the order of the passes, and each pass has a file. What a match or its absence
means for finance is for `ledger.recon.states`.
"""

from ledger.recon.matching.engine import ENGINE_VERSION, Matching, match
from ledger.recon.matching.item import Item, Leg, Side, key_of
from ledger.recon.matching.link import Link, Strength, Verdict
from ledger.recon.matching.payouts import Payout
from ledger.recon.matching.rules import Decision, Rules, Tolerance, Window

__all__ = [
    "ENGINE_VERSION",
    "Decision",
    "Item",
    "Leg",
    "Link",
    "Matching",
    "Payout",
    "Rules",
    "Side",
    "Strength",
    "Tolerance",
    "Verdict",
    "Window",
    "key_of",
    "match",
]

"""
Synthetic months of a shop: what its ledger, its providers and its bank would say of them.

Everything is invented. The same plan gives the same bytes, so that a planted break can be told
from its truth file by anyone who runs it again.
"""

from ledger.recon.synthetic.generate import Generated, generate
from ledger.recon.synthetic.plan import Plan

__all__ = ["Generated", "Plan", "generate"]

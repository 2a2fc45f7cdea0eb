"""
Bench: what the service does per second, beside what the machine could do at all.

Every figure is a ratio against a yardstick that is measured in the same run, so that it means
something on another machine. `load` drives the service, `yardsticks` drives PostgreSQL alone,
`filling` makes large ledgers, `writes`, `reads`, `verifying`, `bundles` and `reconciling` have one
function for each figure, and `cases` lists them.
"""

from ledger.bench.cases import CASES
from ledger.bench.rig import Bench, Case, Figure

__all__ = ["CASES", "Bench", "Case", "Figure"]

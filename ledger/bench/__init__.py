"""
Bench: what the service does per second, beside what the machine could do at all.

Every figure is a ratio against a yardstick that is measured in the same run, so that it means
something on another machine. `load` drives the service, `yardsticks` drives PostgreSQL alone,
`filling` makes large ledgers, `cases` has one function for each figure.
"""

from ledger.bench.cases import CASES, Bench, Case, Figure

__all__ = ["CASES", "Bench", "Case", "Figure"]

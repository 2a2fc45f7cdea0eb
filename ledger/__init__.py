"""Effect Ledger: an append-only, hash-chained record of effects that cannot be rolled back."""

__version__ = "0.1.0"

"""Anchoring: what others saw of a log and when, and the receipts this strengthens."""

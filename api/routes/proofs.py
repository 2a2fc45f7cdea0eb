"""
Proofs: checkpoints, proofs between trees, and the tiles that other programs verify with.

The paths under `/log/` are C2SP tlog-tiles: their bodies, types and statuses are fixed there.
"""

from __future__ import annotations

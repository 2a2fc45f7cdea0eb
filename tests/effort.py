"""
How many examples a law is tried with: few whenever tests are run, many in CI.

`pytest --hypothesis-profile thorough` is what CI runs; it tries four times as many.
"""

from __future__ import annotations

from hypothesis import settings

FAST, THOROUGH = 50, 200
"""Examples of a law that asks for no number."""


def examples(count: int) -> int:
    """So many in CI, and a quarter of them otherwise. For decorators of tests."""
    return max(1, count * settings().max_examples // THOROUGH)

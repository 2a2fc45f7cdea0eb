"""
When to send again: pure arithmetic over what was asked and a throw of the dice.

Full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"): the pause is uniform between
nothing and a bound that doubles. What the service asks for (`Retry-After`) is waited out first, and
the jitter comes after it, at least as wide as the wait: those who were sent away together return
one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_DOUBLINGS_MAX = 60

SpentWhich = Literal["tries", "time", "share"]
"""Which budget ended: tries, time of this request, or the process's share of retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long one request is worth trying; `Retry(tries=1)` never sends anything twice."""

    tries: int = 6
    """How often it is sent at most."""
    base_s: float = 0.2
    """The first pause is uniform from 0 to this; each further bound is twice the one before."""
    cap_s: float = 30.0
    """No pause is chosen from a wider range."""
    total_s: float = 60.0
    """No try begins later than this after the first."""
    attempt_s: float = 30.0
    """How long one try may take until its answer counts as lost."""

    def __post_init__(self) -> None:
        assert self.tries >= 1
        assert 0 < self.base_s <= self.cap_s
        assert self.total_s >= 0
        assert self.attempt_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """It is not sent again."""

    which: SpentWhich


def pause_s(
    retry: Retry, *, tries: int, elapsed_s: float, asked_s: float, roll: float
) -> float | Spent:
    """
    How long to wait before the same request is sent again.

    Args:
        retry: The limits.
        tries: How often it was sent.
        elapsed_s: Since it was first sent.
        asked_s: The service asked to wait at least so long; 0 where it did not.
        roll: Uniform in [0, 1).

    Returns:
        Seconds, never fewer than `asked_s`; or which budget ended.
    """
    if tries >= retry.tries:
        return Spent(which="tries")
    left_s = retry.total_s - elapsed_s
    if left_s <= 0 or asked_s > left_s:
        return Spent(which="time")
    # Doubled more often than this, any bound is beyond any cap.
    bound_s = retry.base_s * 2.0 ** min(tries - 1, _DOUBLINGS_MAX)
    spread_s = min(retry.cap_s, max(bound_s, asked_s))
    return asked_s + roll * min(spread_s, left_s - asked_s)

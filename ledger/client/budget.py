"""
The retry budget: what share of a process's requests may be retries.

When a service is down, every caller tries again, and what was one request becomes six. A bucket
of tokens bounds that for the whole process: each request earns a part of a token, each retry costs
one, and a trickle lets a quiet process retry at all.

Sources of the idea: Finagle's RetryBudget; gRPC retry throttling (gRFC A6).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RetryBudget:
    """Tokens for retries; safe to share between threads, tasks and clients."""

    def __init__(
        self,
        *,
        share: float = 0.1,
        per_second: float = 1.0,
        reserve: float = 10.0,
        limit: float = 100.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin with a full reserve.

        Args:
            share: Tokens that each request earns: 0.1 lets one retry follow ten requests.
            per_second: Tokens that time gives, up to `reserve`, so that a rare request may retry.
            reserve: See `per_second`; also what there is at the start.
            limit: Most tokens that can be saved up.
            clock: Seconds that only grow.
        """
        assert share >= 0
        assert 0 <= reserve <= limit
        self._share, self._per_second = share, per_second
        self._reserve, self._limit = reserve, limit
        self._tokens = reserve
        self._clock = clock
        self._seen_at = clock()
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Count a request that is no retry."""
        with self._lock:
            self._tokens = min(self._limit, self._tokens + self._share)

    def spend(self) -> bool:
        """Take the token of one retry; False where there is none, and it must not be sent."""
        with self._lock:
            now = self._clock()
            given = (now - self._seen_at) * self._per_second
            self._seen_at = now
            # Time fills the reserve and no more; what requests earned is not taken away.
            self._tokens = max(self._tokens, min(self._reserve, self._tokens + given))
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


PROCESS_BUDGET = RetryBudget()
"""What all clients of a process share unless they are given another."""

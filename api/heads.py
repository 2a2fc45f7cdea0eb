"""
Heads: wakes those who wait for a ledger to grow.

At once for what this process commits; for what others commit, by one poll per ledger,
however many wait. Nothing is polled while nobody waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from ledger.errors import LedgerError, OverloadedError

logger = logging.getLogger(__name__)

POLL_S = 0.5
WAITERS_MAX = 2_000
"""Feeds of one process; each holds a connection."""


@dataclass(slots=True)
class _Watched:
    size: int = 0
    """As far as is known; who waits for less goes on at once, and finds out."""
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0
    poll: asyncio.Task[None] | None = None


class Heads:
    """What is known of heads, and who waits for them. Belongs to one event loop."""

    def __init__(self, read_size: Callable[[str], int]) -> None:
        self._read_size = read_size
        self._watched: dict[str, _Watched] = {}
        self._waiters = 0
        self.is_stopped = False
        """Whether nobody waits here any more."""

    async def wait_beyond(self, ledger: str, size: int, timeout_s: float) -> None:
        """
        Return once `ledger` may have more than `size` entries, after `timeout_s`, or when stopped.

        Raises:
            OverloadedError: Too many wait already.
        """
        if self._waiters >= WAITERS_MAX:
            raise OverloadedError(f"{WAITERS_MAX} feeds wait already", waiting_max=WAITERS_MAX)
        if self.is_stopped:
            return
        watched = self._watched.setdefault(ledger, _Watched())
        if watched.size > size:
            return
        self._waiters += 1
        watched.waiters += 1
        if watched.poll is None:
            watched.poll = asyncio.create_task(self._poll(ledger))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while watched.size <= size and not self.is_stopped:
                        await watched.grown.wait()
        finally:
            self._waiters -= 1
            watched.waiters -= 1
            if watched.waiters == 0:
                watched.poll.cancel()
                del self._watched[ledger]

    def grew(self, ledger: str, size: int) -> None:
        """Say that `ledger` has `size` entries. Called on the event loop."""
        watched = self._watched.get(ledger)
        if watched is not None and size > watched.size:
            watched.size = size
            # Who waits now wakes; who comes later waits for the next growth.
            watched.grown.set()
            watched.grown = asyncio.Event()

    def stop(self) -> None:
        """Let nobody wait any longer. Called on the event loop."""
        self.is_stopped = True
        for watched in self._watched.values():
            watched.grown.set()

    async def _poll(self, ledger: str) -> None:
        while True:
            try:
                self.grew(ledger, await run_in_threadpool(self._read_size, ledger))
            except LedgerError as error:
                # Harmless: waiters time out and meet the same error where it can be told.
                logger.warning("the head of %s cannot be read: %s", ledger, error.message)
            await asyncio.sleep(POLL_S)

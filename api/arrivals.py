"""
Arrivals: brings answers from the sequencer's thread to the event loop, a batch at a time.

The loop is woken once for all that was committed together. One wake for each answer would
cost a system call and a switch of threads apiece, in the thread that everyone waits for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from ledger.errors import LedgerError
from ledger.submission import Outcome
from ledger.waiting import Answer, Tell

logger = logging.getLogger(__name__)


class Arrivals:
    """Answers on their way to those who wait for them. Belongs to one event loop."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[Tell, Answer]] = deque()
        self._is_waking = False

    async def of(self, ask: Callable[[Tell], None]) -> list[Outcome]:
        """
        The outcomes that whoever is asked by `ask` tells, or the error.

        A caller that stops waiting changes nothing: what was asked for is done all the same.
        """
        waiter: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()

        def told(answer: Answer) -> None:
            if waiter.cancelled():
                return
            if isinstance(answer, LedgerError):
                waiter.set_exception(answer)
            else:
                waiter.set_result(answer)

        ask(self.bringing(told))
        return await waiter

    def bringing(self, tell: Tell) -> Tell:
        """What may be told in any thread, so that `tell` is told on the loop that runs now."""
        loop = asyncio.get_running_loop()

        def arrive(answer: Answer) -> None:
            # In the thread that made the answer. Appended first: who drains after the flag
            # was lowered sees it, and who drained before lowers the flag for this wake.
            self._arrived.append((tell, answer))
            if not self._is_waking and not loop.is_closed():
                self._is_waking = True
                loop.call_soon_threadsafe(self._drain)

        return arrive

    def _drain(self) -> None:
        self._is_waking = False
        while self._arrived:
            tell, answer = self._arrived.popleft()
            try:
                tell(answer)
            except Exception:
                # Whoever waited is gone; the others still wait for theirs.
                logger.exception("an answer could not be told")

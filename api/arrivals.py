"""
Arrivals: brings answers from the sequencer's thread to the event loop, a batch at a time.

The loop is woken once for all that was committed together. One wake for each answer would
cost a system call and a switch of threads apiece, in the thread that everyone waits for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Arrivals:
    """Answers on their way to those who await them. Belongs to one event loop."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._is_waking = False

    async def of(self, answer: Future[Answer]) -> Answer:
        """
        What `answer` comes to.

        A caller that stops waiting changes nothing: what was asked for is done all the same.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Answer] = loop.create_future()

        def arrive(done: Future[Answer]) -> None:
            # In the thread that made the answer. Appended first: who drains after the flag
            # was lowered sees it, and who drained before lowers the flag for this wake.
            self._arrived.append((waiter, done))
            if not self._is_waking and not loop.is_closed():
                self._is_waking = True
                loop.call_soon_threadsafe(self._drain)

        answer.add_done_callback(arrive)
        return await waiter

    def _drain(self) -> None:
        self._is_waking = False
        while self._arrived:
            waiter, done = self._arrived.popleft()
            if waiter.cancelled():
                continue
            error = done.exception()
            if error is None:
                waiter.set_result(done.result())
            else:
                waiter.set_exception(error)

"""Ahead: pages that are read before they are needed, by a thread or by processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy import Engine

from ledger.storage.database import driver_connection
from ledger.storage.scan import PostgresScan
from ledger.verify import PAGE, Block, Page, sift_page

# By each of those who read.
PAGES_AHEAD = 3


class Pages(Protocol):
    """Somebody who reads pages in the order in which they were asked for."""

    def ask(self, start: int, stop: int) -> None:
        """Ask for the page that begins at `start`."""

    def receive(self) -> Page:
        """The page that was asked for first and was not received yet."""


class PagesAhead:
    """Asks for pages before they are needed, of several in turn; a `verify.ReadPage`."""

    def __init__(self, readers: Sequence[Pages]) -> None:
        self._readers = deque(readers)
        self._ahead = PAGES_AHEAD * len(readers)
        self._asked: deque[tuple[tuple[int, int], Pages]] = deque()

    def __call__(self, start: int, stop: int) -> Page:
        """The page that begins at `start`."""
        while self._asked and self._asked[0][0] != (start, stop):
            # After a gap, or with a later end: another page than was foreseen.
            self._receive()
        if not self._asked:
            self._ask(start, stop)
        while len(self._asked) < self._ahead:
            following = (self._asked[-1][0][0] // PAGE + 1) * PAGE
            if following >= stop:
                break
            self._ask(following, stop)
        return self._receive()

    def _ask(self, start: int, stop: int) -> None:
        reader = self._readers[0]
        self._readers.rotate(-1)
        reader.ask(start, stop)
        self._asked.append(((start, stop), reader))

    def _receive(self) -> Page:
        _, reader = self._asked.popleft()
        return reader.receive()


@contextmanager
def reading_ahead(engine: Engine, ledger: str) -> Iterator[Pages]:
    """A thread that reads: the server is at work on a page while this process is on another."""
    with driver_connection(engine) as connection, ThreadPoolExecutor(max_workers=1) as thread:
        yield _Thread(PostgresScan(connection, ledger), ledger, thread)


class _Thread:
    def __init__(self, scan: PostgresScan, ledger: str, thread: ThreadPoolExecutor) -> None:
        self._scan = scan
        self._ledger = ledger
        self._thread = thread
        self._asked: deque[tuple[int, int, Future[Block | None]]] = deque()

    def ask(self, start: int, stop: int) -> None:
        block = self._thread.submit(self._scan.block, start, stop)
        self._asked.append((start, stop, block))

    def receive(self) -> Page:
        start, stop, block = self._asked.popleft()
        return sift_page(
            block.result(),
            lambda: self._thread.submit(self._scan.entries, start, stop).result(),
            ledger=self._ledger,
        )

"""Waiting for a ledger to grow costs one poll per ledger, and nothing while nobody waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from api import heads as module
from api.heads import Heads
from ledger.errors import DatabaseUnavailableError, OverloadedError


class Sizes:
    """A head that others move."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.reads = 0

    def __call__(self, _ledger: str) -> int:
        self.reads += 1
        return self.size


def run(story: Callable[[Heads], object], sizes: Callable[[str], int]) -> None:
    async def main() -> None:
        await story(Heads(sizes))  # type: ignore[misc]

    asyncio.run(main())


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)


def test_growth_of_this_process_wakes_at_once() -> None:
    """No poll is waited for."""

    async def story(heads: Heads) -> None:
        waiter = asyncio.create_task(heads.wait_beyond("a", 3, timeout_s=10))
        await asyncio.sleep(0)
        heads.grew("a", 4)
        await asyncio.wait_for(waiter, 1)

    run(story, Sizes(3))


def test_growth_by_others_wakes_after_a_poll() -> None:
    """Another process wrote; the poll finds it."""
    sizes = Sizes(3)

    async def story(heads: Heads) -> None:
        waiter = asyncio.create_task(heads.wait_beyond("a", 3, timeout_s=10))
        await asyncio.sleep(0.03)
        assert not waiter.done()
        sizes.size = 4
        await asyncio.wait_for(waiter, 1)

    run(story, sizes)


def test_wait_ends_by_itself() -> None:
    """Silence is an answer too."""

    async def story(heads: Heads) -> None:
        began = time.monotonic()
        await heads.wait_beyond("a", 3, timeout_s=0.05)
        assert 0.04 < time.monotonic() - began < 1

    run(story, Sizes(3))


def test_growth_of_another_ledger_wakes_nobody() -> None:
    """Each ledger has its own waiters."""

    async def story(heads: Heads) -> None:
        waiter = asyncio.create_task(heads.wait_beyond("a", 3, timeout_s=0.05))
        await asyncio.sleep(0)
        heads.grew("b", 9)
        await asyncio.sleep(0.01)
        assert not waiter.done()
        await waiter

    run(story, Sizes(0))


def test_many_waiters_share_one_poll() -> None:
    """A thousand feeds ask the database as often as one."""
    sizes = Sizes(0)

    async def story(heads: Heads) -> None:
        await asyncio.gather(*(heads.wait_beyond("a", 0, timeout_s=0.1) for _ in range(200)))

    run(story, sizes)

    assert sizes.reads <= 12


def test_nothing_is_polled_while_nobody_waits() -> None:
    """The last waiter ends the poll."""
    sizes = Sizes(0)

    async def story(heads: Heads) -> None:
        await heads.wait_beyond("a", 0, timeout_s=0.02)
        await asyncio.sleep(0.02)
        reads = sizes.reads
        await asyncio.sleep(0.05)
        assert sizes.reads == reads

    run(story, sizes)


def test_database_that_is_away_only_makes_waiters_wait() -> None:
    """The error is told where it has a status: at the next read."""

    def away(_ledger: str) -> int:
        raise DatabaseUnavailableError("the database does not answer")

    async def story(heads: Heads) -> None:
        await heads.wait_beyond("a", 0, timeout_s=0.05)

    run(story, away)


def test_too_many_waiters_are_sent_away(monkeypatch) -> None:
    """Each holds a connection; the limit is told."""
    monkeypatch.setattr(module, "WAITERS_MAX", 1)

    async def story(heads: Heads) -> None:
        waiter = asyncio.create_task(heads.wait_beyond("a", 0, timeout_s=0.05))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await heads.wait_beyond("a", 0, timeout_s=0.05)
        await waiter

    run(story, Sizes(0))


def test_one_who_waits_far_ahead_wakes_nobody_else() -> None:
    """What a reader asks for says nothing of what is there."""

    async def story(heads: Heads) -> None:
        far = asyncio.create_task(heads.wait_beyond("a", 2**53, timeout_s=10))
        await asyncio.sleep(0.03)
        near = asyncio.create_task(heads.wait_beyond("a", 3, timeout_s=10))
        await asyncio.sleep(0.05)
        assert not near.done()
        heads.grew("a", 4)
        await asyncio.wait_for(near, 1)
        far.cancel()

    run(story, Sizes(3))

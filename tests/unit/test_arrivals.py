"""Laws of answers on their way to the event loop."""

from __future__ import annotations

import asyncio

from api.arrivals import Arrivals
from ledger.errors import LedgerError


def test_one_who_cannot_be_told_keeps_nobody_waiting(caplog):
    """A connection that is gone is its own matter; others still get what they wait for."""
    told: list[object] = []

    def gone(_answer: object) -> None:
        raise RuntimeError("the transport is closed")

    async def tell_both() -> None:
        arrivals = Arrivals()
        for tell in (gone, told.append):
            arrivals.bringing(tell)(answer)
        await asyncio.sleep(0)

    answer = LedgerError("any")
    asyncio.run(tell_both())

    assert told == [answer]
    assert "could not be told" in caplog.text

"""Cosigned: how long a caller would wait for witnesses, and the wait itself."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.openapi import parameter
from ledger.errors import NotCosignedYetError
from ledger.ports import LedgerRecord
from ledger.publisher import Publisher
from ledger.reader import Reader
from ledger.receipt import Receipt

WAIT_MAX_S = 60
POLL_S = 0.5
WAITERS_MAX = 200
"""Of one process; each reads twice a second."""
_WAIT = re.compile("wait *= *([0-9]{1,9})", re.IGNORECASE)

PREFER_WAIT = parameter(
    "Prefer",
    "header",
    {"type": "string", "pattern": "^wait=[0-9]+$"},
    f"`wait=N`: with `level=cosigned`, wait up to N seconds for the quorum, {WAIT_MAX_S} at most.",
)


def preferred_wait_s(request: Request) -> int:
    """How many seconds the caller would wait (RFC 7240 Section 4.3), up to a minute."""
    sent = request.headers.get("prefer")
    if sent is None:
        return 0
    for preference in sent.split(","):
        found = _WAIT.fullmatch(preference.strip())
        if found:
            return min(int(found[1]), WAIT_MAX_S)
    return 0


class CosignedReceipts:
    """Receipts under a quorum of witnesses, and those who wait for one. One per application."""

    def __init__(self, reader: Reader, publisher: Publisher | None) -> None:
        self._reader = reader
        self._publisher = publisher
        self._waiting = 0

    async def receipt(self, record: LedgerRecord, place: int | str, wait_s: int) -> Receipt:
        """
        The receipt of an entry under a quorum, as soon as it is there.

        Nobody waits for what cannot come: without a policy, or for a ledger it leaves out, the
        answer is given at once. So it is where too many wait already.

        Raises:
            NotCosignedYetError: It is not there within `wait_s`.
            LedgerError: As `Reader.cosigned_receipt`.
        """
        read = partial(self._reader.cosigned_receipt, record.name, place)
        may_come = self._publisher is not None and self._publisher.is_witnessed(record)
        if not wait_s or not may_come or self._waiting >= WAITERS_MAX:
            return await run_in_threadpool(read)
        gives_up_at = time.monotonic() + wait_s
        self._waiting += 1
        try:
            while True:
                try:
                    return await run_in_threadpool(read)
                except NotCosignedYetError:
                    if time.monotonic() + POLL_S > gives_up_at:
                        raise
                # The publisher may be another process: there is nobody to wake us.
                await asyncio.sleep(POLL_S)
        finally:
            self._waiting -= 1

"""Anchored: receipts that others than the log stand for, and how long a caller waits for one."""

from __future__ import annotations

import asyncio
import re
import time
from functools import cached_property, partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.openapi import parameter
from ledger.anchoring.anchors import AnchorLevel, Anchors
from ledger.errors import NotCosignedYetError, NotFoundError, NotTimestampedYetError
from ledger.ports import LedgerRecord
from ledger.publisher import Publisher
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
    f"`wait=N`: with `level`, wait up to N seconds for it to be reached, {WAIT_MAX_S} at most.",
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


class AnchoredReceipts:
    """Receipts at a level, and those who wait for one. One per application."""

    def __init__(self, anchors: Anchors, publisher: Publisher | None, *, timestamps: bool) -> None:
        """
        Find receipts among `anchors`.

        Args:
            anchors: What is anchored.
            publisher: Tells which ledgers are witnessed; None where none is.
            timestamps: Whether this service asks an authority for them.
        """
        self._anchors = anchors
        self._publisher = publisher
        self._timestamps = timestamps
        self._waiting = 0
        self._is_stopped = False

    def stop(self) -> None:
        """Let nobody wait any longer than for the next look."""
        self._is_stopped = True

    async def receipt(
        self, record: LedgerRecord, place: int | str, level: AnchorLevel, wait_s: int
    ) -> Receipt:
        """
        The receipt of an entry at a level, as soon as it is there.

        Nobody waits for what cannot come, and it is not called late: without a policy or an
        authority, the answer is given at once. So it is where too many wait already.

        Raises:
            NotCosignedYetError, NotTimestampedYetError: It is not there within `wait_s`.
            LedgerError: As `Anchors.receipt`.
        """
        read = partial(self._anchors.receipt, record.name, place, level)
        if not self._may_come(record, level):
            try:
                return await run_in_threadpool(read)
            except (NotCosignedYetError, NotTimestampedYetError) as error:
                raise NotFoundError(
                    f"no receipt of ledger {record.name} is {level}, and none will be: "
                    + _WITHOUT[level],
                    ledger=record.name,
                ) from error
        if not wait_s or self._waiting >= WAITERS_MAX:
            return await run_in_threadpool(read)
        gives_up_at = time.monotonic() + wait_s
        self._waiting += 1
        try:
            while True:
                try:
                    return await run_in_threadpool(read)
                except (NotCosignedYetError, NotTimestampedYetError):
                    if self._is_stopped or time.monotonic() + POLL_S > gives_up_at:
                        raise
                # Another process may be the one that anchors: there is nobody to wake us.
                await asyncio.sleep(POLL_S)
        finally:
            self._waiting -= 1

    def _may_come(self, record: LedgerRecord, level: AnchorLevel) -> bool:
        if level == "timestamped":
            return self._timestamps
        publisher = self._publisher
        if publisher is None:
            return False
        # What witnesses say of the registry is inherited by every ledger.
        return publisher.is_witnessed(record) or publisher.is_witnessed(self._registry)

    @cached_property
    def _registry(self) -> LedgerRecord:
        return self._anchors.registry


_WITHOUT = {
    "cosigned": "this service shows neither it nor the registry to witnesses",
    "timestamped": "this service asks no timestamp authority",
}

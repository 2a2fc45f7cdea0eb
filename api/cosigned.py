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
from ledger.reader import Reader
from ledger.receipt import Receipt

WAIT_MAX_S = 60
POLL_S = 0.5
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


async def cosigned_receipt(reader: Reader, ledger: str, place: int | str, wait_s: int) -> Receipt:
    """
    The receipt of an entry under a quorum of witnesses, as soon as it is there.

    Raises:
        NotCosignedYetError: It is not there within `wait_s`.
        LedgerError: As `Reader.cosigned_receipt`.
    """
    read = partial(reader.cosigned_receipt, ledger, place)
    gives_up_at = time.monotonic() + wait_s
    while True:
        try:
            return await run_in_threadpool(read)
        except NotCosignedYetError:
            if time.monotonic() + POLL_S > gives_up_at:
                raise
        # The publisher may be another process: there is nobody to wake us.
        await asyncio.sleep(POLL_S)

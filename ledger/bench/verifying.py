"""Verifying: how fast a whole ledger is recomputed, in this process and as a service does it."""

from __future__ import annotations

import gc
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ledger.bench import yardsticks
from ledger.bench.rig import Bench, Figure
from ledger.errors import OverloadedError
from ledger.storage.database import WRITER, engine
from ledger.verification.pages import verify_ledger
from ledger.verify import Report

VERIFY_S_MAX = 600.0
SETTLE_S = 3.0


def verification(bench: Bench) -> Figure:
    """Full verification in one process, against reading and hashing the same rows in one."""
    ledger = bench.large()
    size = bench.service.reader.size(ledger)
    # First: the service may have begun one by itself, and nothing else is to run beside the others.
    apart = _verified_apart(bench, ledger)
    scanned = yardsticks.scan_and_hash(bench.conninfo(), ledger, size)
    memory_before = _resident_bytes()
    alone = _verified_alone(bench, ledger)
    memory_grew = _resident_bytes() - memory_before
    assert set(apart["verdicts"].values()) == {"ok"}, apart
    verified = alone.entries / alone.seconds
    return Figure(
        ratio=verified / scanned,
        details={
            "entries": alone.entries,
            "verified_per_second": round(verified),
            "scanned_and_hashed_per_second": round(scanned),
            "memory_grew_by_bytes": memory_grew,
            "in_own_processes_per_second": round(apart["entries"] / apart["seconds"]),
            "in_own_processes_ratio": round(apart["entries"] / apart["seconds"] / scanned, 3),
        },
    )


def _verified_alone(bench: Bench, ledger: str) -> Report:
    """The report of a verification in this process, under the conditions of its own ones."""
    pool = engine(lambda _role: bench.server.conninfo(WRITER), WRITER, pool_size=2)
    gc.disable()
    try:
        report = verify_ledger(pool, ledger, ahead=True)
    finally:
        gc.enable()
        pool.dispose()
    assert report.good, report.document()
    return report


def _verified_apart(bench: Bench, ledger: str) -> dict[str, Any]:
    """The report of a verification as the service runs it, whoever began it."""
    verifications = bench.service.verifications
    # The database counts late what was written just before, and that would be made way for.
    time.sleep(SETTLE_S)
    ends_at = time.monotonic() + VERIFY_S_MAX
    job: str | None = None
    while time.monotonic() < ends_at:
        # Refused while another one runs.
        with suppress(OverloadedError):
            job = job or verifications.start(ledger)
        report = None if job is None else verifications.get(ledger, job)["report"]
        if report is not None:
            return dict(report)
        time.sleep(1.0)
    raise OverloadedError(f"{ledger} was not verified within {VERIFY_S_MAX:.0f} s", ledger=ledger)


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

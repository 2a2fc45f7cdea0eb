"""Bundles: how fast a closed period is taken away and verified alone, in how much memory."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from ledger.audit.access import Accessor
from ledger.audit.selection import Selection
from ledger.bench import yardsticks
from ledger.bench.rig import Bench, Figure
from ledger.forms.names import LEDGER_ITSELF

PERIOD = "2026-01"
"""In which the large ledger begins; a close has all entries that stand before it."""
POLL_S = 0.1
KIB = 1024


def audit_bundles(bench: Bench) -> Figure:
    """Entries verified by verify.py alone against reading and hashing them; and its details."""
    ledger, service = bench.large(), bench.service
    began = time.perf_counter()
    close, replayed = service.closing.close(ledger, PERIOD, preparer="bench")
    closed_s = time.perf_counter() - began
    size = close.data["to_seq"] - close.data["from_seq"] + 1
    scanned = yardsticks.scan_and_hash(bench.conninfo(), ledger, service.reader.size(ledger))

    began = time.perf_counter()
    record = service.reader.ledger(ledger)
    by = Accessor(principal=LEDGER_ITSELF, key_id="bench")
    job = service.exports.start(record, PERIOD, Selection(payloads="shown"), by=by)
    export_peak = 0
    while service.exports.get(ledger, job)["state"] == "running":
        children = multiprocessing.active_children()
        export_peak = max([export_peak, *(_peak_of(child.pid) for child in children)])
        time.sleep(POLL_S)
    exported_s = time.perf_counter() - began
    packed = service.exports.packed(ledger, job)

    with tempfile.TemporaryDirectory(prefix="effect-ledger-bench-bundle-") as made:
        with zipfile.ZipFile(packed) as opened:
            opened.extractall(made)
        [bundle] = Path(made).iterdir()
        verified_s, verify_peak = _verified_alone(bundle, record.vkey)
    verified = size / verified_s
    return Figure(
        ratio=verified / scanned,
        details={
            "entries": size,
            "exported_per_second": round(size / exported_s),
            "export_peak_bytes": export_peak,
            "verified_per_second": round(verified),
            "verify_peak_bytes": verify_peak,
            "scanned_and_hashed_per_second": round(scanned),
            "packed_bytes": packed.stat().st_size,
            "closed_per_second": None if replayed else round(size / closed_s),
        },
    )


def _verified_alone(bundle: Path, vkey: str) -> tuple[float, int]:
    """Seconds and peak bytes of verify.py, run with nothing but the standard library."""
    began = time.perf_counter()
    peak = 0
    with subprocess.Popen(  # noqa: S603 - our own file, in a bundle we just made.
        [sys.executable, "-I", "-S", bundle / "verify.py", bundle, "--vkey", vkey],
        stdout=subprocess.DEVNULL,
    ) as verifier:
        while verifier.poll() is None:
            peak = max(peak, _peak_of(verifier.pid))
            time.sleep(POLL_S)
    assert verifier.returncode == 0, "a bundle that was just made is good"
    return time.perf_counter() - began, peak


def _peak_of(pid: int | None) -> int:
    """The most bytes that were resident in a process that runs; 0 where nothing tells."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        # It ended meanwhile, or this system tells nothing of its processes.
        return 0
    lines = (line.split() for line in status.splitlines() if line.startswith("VmHWM:"))
    return max((int(words[1]) * KIB for words in lines), default=0)

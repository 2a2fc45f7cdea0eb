"""Reconciling: how time and memory grow with the lines of a generated shop."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from typing import Any

import orjson

from ledger.bench.rig import Bench, Figure

SIZES = (1_000, 10_000, 100_000, 1_000_000)
BASE = 10_000
"""Below it a shop is reconciled before the interpreter is warm."""
LINES_PER_BREAK = 200


def reconciliations(bench: Bench) -> Figure:
    """Seconds at the largest size against n log n from the base; and every size's details."""
    sizes = [size for size in SIZES if size <= bench.entries]
    found = []
    for at, size in enumerate(sizes):
        bench.tell(at, len(sizes))
        found.append(_rehearsed(size))
    base = next((each for each in found if each["lines"] >= BASE), found[0])
    largest = found[-1]
    return Figure(
        ratio=_growth(base, largest),
        details={
            "sizes": found,
            "lines_per_second": largest["lines_per_second"],
            "peak_bytes": largest["peak_bytes"],
            "wrong": sum(each["wrong"] for each in found),
        },
    )


def _rehearsed(size: int) -> dict[str, Any]:
    """A shop of about so many lines, made and reconciled by the commands."""
    with tempfile.TemporaryDirectory(prefix="effect-ledger-bench-shop-") as shop:
        _run(
            *("generate", "--out", shop, "--lines", str(size)),
            *("--breaks", str(size // LINES_PER_BREAK), "--quiet"),
        )
        told = orjson.loads(_run("rehearse", shop, "--json"))
    seconds = sum(told["seconds"].values())
    return {
        "lines": told["lines"],
        "movements": told["items"],
        "planted": told["planted"],
        "wrong": len(told["wrong"]) + len(told["unexplained"]),
        "seconds": told["seconds"],
        "lines_per_second": round(told["lines"] / seconds),
        "peak_bytes": told["peak_bytes"],
    }


def _growth(base: dict[str, Any], largest: dict[str, Any]) -> float:
    def expected(each: dict[str, Any]) -> float:
        return float(each["lines"] * math.log(each["lines"]))

    def took(each: dict[str, Any]) -> float:
        return float(sum(each["seconds"].values()))

    return (took(largest) / took(base)) / (expected(largest) / expected(base))


def _run(*words: str) -> bytes:
    """What a command of finance's room prints, in a process of its own: its memory is its own."""
    command = [sys.executable, "-m", "ledger.cli.main", "recon", *words]
    # 1 says that something was found otherwise than it was planted, which is a figure too.
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
    assert done.returncode in {0, 1}, done.stderr.decode()
    return done.stdout

"""Closing times: how long breaks take from the run that first saw them to their close."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ledger.recon.breaks import Action, Status, fold
from ledger.recon.shelf import BreakRow


def measure_closing(breaks: Iterable[BreakRow]) -> list[dict[str, Any]]:
    """
    By the state that was closed: how many breaks, and median and 90th percentile in seconds.

    A break that was opened again counts from the first time it was seen to its last close; the
    percentile is the time within which nine of ten are closed.
    """
    took: dict[str, list[int]] = defaultdict(list)
    for row in breaks:
        found = fold(row.events)
        if found.status is Status.CLOSED:
            closed_at = max(each.at for each in row.events if each.action is Action.CLOSED)
            seconds = (closed_at - row.events[0].at).total_seconds()
            took[str(found.seen["state"])].append(round(seconds))
    return [
        {
            "state": state,
            "closed": len(times),
            "median_s": round(statistics.median(times)),
            "p90_s": sorted(times)[(9 * len(times) - 1) // 10],
        }
        for state, times in sorted(took.items())
    ]

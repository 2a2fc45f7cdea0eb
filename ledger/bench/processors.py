"""Processors: how much of them a service and its database used, by the kernel's account."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_DATABASE = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Processor seconds since the processes began, those of ended children included."""

    service: float
    database: float

    def since(self, before: Used) -> Used:
        """What was used after `before`."""
        return Used(service=self.service - before.service, database=self.database - before.database)


def used_by(*roots: int) -> Used:
    """What processes and all that they started have used; which of it PostgreSQL did."""
    service = database = 0.0
    for process in {each for root in roots for each in _family(root)}:
        try:
            text = Path(f"/proc/{process}/stat").read_text("ascii", errors="replace")
        except OSError:
            # It ended just now, and counts with its parent.
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        # proc(5): utime, stime, cutime and cstime are fields 14 to 17, the state is field 3.
        seconds = sum(map(int, rest.split()[11:15])) / _TICKS_PER_S
        if name == _DATABASE:
            database += seconds
        else:
            service += seconds
    return Used(service=service, database=database)


def _family(root: int) -> Iterator[int]:
    yield root
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        try:
            children = task.read_text("ascii").split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))

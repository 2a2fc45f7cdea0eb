"""
Pace: how a verification makes way for writers, and ends all the same.

    nobody writes    as fast as it can
    somebody does    one part of the time it works, and four it rests, a second at most at a time

That somebody writes is seen in the database's own count of rows, whichever process and whichever
ledger they are for. Where that count cannot be read, nobody is taken to write: a verification
that disturbs is better than none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

from ledger.verify import Progress

REST_PARTS = 4
REST_MAX_S = 1.0
"""After a page of 2,048 entries: so many a second are verified at least, however busy it is."""
BUSY_ROWS_PER_S = 300
"""Of all tables; one entry has two to four. Fewer leave a verification its processors."""
# The database's processes add to the count about once a second, each on its own.
_LOOK_EVERY_S = 1.0
_BUSY_FOR_S = 3.0

SELECT_ROWS_WRITTEN = """
select tup_inserted from pg_stat_database where datname = current_database()
"""

CountRows = Callable[[], int | None]
PacedProgress = Callable[[int, int, bool], None]
"""Told how many entries were checked, of how many, and whether it makes way for writers."""


class Pace:
    """A `verify.Progress` that rests while somebody writes."""

    def __init__(
        self,
        tell: PacedProgress,
        count_rows: CountRows,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Begin to work.

        Args:
            tell: Told of each part that was done.
            count_rows: Rows that were ever inserted into the database; None where nobody can
                say. It may fall, as when the database's statistics are reset.
            clock: Seconds from any beginning.
            sleep: Rests so many seconds.
        """
        self._tell = tell
        self._count_rows = count_rows
        self._clock = clock
        self._sleep = sleep
        self._looked_at = self._resumed_at = clock()
        self._rows = count_rows()
        self._busy_until = self._looked_at

    def __call__(self, checked: int, size: int) -> None:
        """A part was done; returns when the next one may begin."""
        self._look()
        now = self._clock()
        makes_way = now < self._busy_until
        self._tell(checked, size, makes_way)
        if makes_way:
            self._sleep(min(REST_PARTS * (now - self._resumed_at), REST_MAX_S))
        self._resumed_at = self._clock()

    def _look(self) -> None:
        now = self._clock()
        passed = now - self._looked_at
        if passed < _LOOK_EVERY_S:
            return
        before, rows = self._rows, self._count_rows()
        if before is not None and rows is not None and rows - before > BUSY_ROWS_PER_S * passed:
            self._busy_until = now + _BUSY_FOR_S
        self._looked_at, self._rows = now, rows


def paced(tell: PacedProgress, connection: psycopg.Connection[Any]) -> Progress:
    """A progress that makes way for whoever else writes to the database of `connection`."""

    def count_rows() -> int | None:
        try:
            # Of its own: where it fails, the statements that follow do not.
            with connection.transaction():
                row = connection.execute(SELECT_ROWS_WRITTEN).fetchone()
        except psycopg.Error:
            # A connection that is gone is for the next read of entries to tell.
            return None
        return None if row is None or row[0] is None else int(row[0])

    return Pace(tell, count_rows)

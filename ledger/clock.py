"""
Clock: whether the database's time can be believed, and the time one batch is recorded at.

History is stamped once and for ever, so a clock that jumped must stop the ledger, not date it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from ledger.errors import ClockUntrustedError
from ledger.ports import Clock

TOLERANCE_S = 5.0
# A clock that was set on purpose is believed again once it has run steadily for this long.
RECOVERY_S = 60.0


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        return datetime.now(UTC)

    def progress(self) -> float:
        """Seconds since boot, suspension included: a laptop that slept did not jump."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ClockGuard:
    """Compares the database clock with what else is known of time, in one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor: tuple[datetime, float] | None = None
        self._suspect: tuple[datetime, float] | None = None

    def time_of_batch(self, database_now: datetime, previous: datetime | None) -> datetime:
        """
        The time to record a batch at: the database clock, never before the previous entry.

        Args:
            database_now: Database clock, read under the head lock.
            previous: Time of the previous entry; None for the first.

        Raises:
            ClockUntrustedError: The database clock is more than 5 s behind the previous
                entry, off the process clock, or ahead of what has passed since it was
                last read.
        """
        if previous is not None and previous - database_now > timedelta(seconds=TOLERANCE_S):
            raise ClockUntrustedError(
                f"the database clock says {database_now.isoformat()}, "
                f"the previous entry was recorded at {previous.isoformat()}"
            )
        process_now = self._clock.now()
        if abs((database_now - process_now).total_seconds()) > TOLERANCE_S:
            raise ClockUntrustedError(
                f"the database clock says {database_now.isoformat()}, "
                f"this process says {process_now.isoformat()}"
            )
        self._check_progress(database_now)
        return database_now if previous is None else max(database_now, previous)

    def _check_progress(self, database_now: datetime) -> None:
        progress = self._clock.progress()
        if self._anchor is not None and _ahead(self._anchor, database_now, progress) > TOLERANCE_S:
            if self._suspect is None or (
                abs(_ahead(self._suspect, database_now, progress)) > TOLERANCE_S
            ):
                self._suspect = (database_now, progress)
            if progress - self._suspect[1] < RECOVERY_S:
                raise ClockUntrustedError(
                    f"the database clock jumped ahead to {database_now.isoformat()}; it is "
                    f"believed again after it has run steadily for {RECOVERY_S:.0f} s"
                )
        self._anchor = (database_now, progress)
        self._suspect = None


def _ahead(anchor: tuple[datetime, float], now: datetime, progress: float) -> float:
    return (now - anchor[0]).total_seconds() - (progress - anchor[1])

"""
Anchoring: has ledgers recorded, witnessed and timestamped by one process of all.

Each of these is a duty that keeps its own times, and is asked once a turn, in this order: what a
ledger says now is in the registry before witnesses see that, and seen before it is timestamped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from ledger.errors import LedgerError
from ledger.registry.stops import Stops
from ledger.storage.leader import Leader

logger = logging.getLogger(__name__)

# What other processes stopped is known here after this; it is one read of an empty list.
POLL_S = 1.0
ANCHORING_LOCK = 0x6566_776C


class Duty(Protocol):
    """Something to be done now and then by one process alone. Used by one thread."""

    def turn(self) -> None:
        """Do what is due; LedgerError where it cannot be done now."""

    def close(self) -> None:
        """Let go of whatever it holds."""


class Anchoring:
    """Does its duties on a thread of its own, while this process is the one."""

    def __init__(self, *, leader: Leader, stops: Stops, duties: Sequence[Duty]) -> None:
        """
        Prepare; nothing is done before `start`, or `turn`.

        Args:
            leader: Of the lock `ANCHORING_LOCK`.
            stops: Read anew each turn, also by those who are not the one.
            duties: Done in this order.
        """
        self._stops = stops
        self._duties = duties
        self._leader = leader
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="anchoring", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn, and let another process go on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for duty in self._duties:
            duty.close()
        self._leader.resign()

    def turn(self) -> None:
        """
        Look once at what is stopped, and do what is due.

        Raises:
            PushbackError: The database does not answer.
        """
        self._stops.refresh()
        if not self._leader.leads():
            return
        for duty in self._duties:
            try:
                duty.turn()
            except LedgerError as error:
                # The others are none the worse for it, and the next turn looks again.
                logger.warning("%s waits: %s", type(duty).__name__.lower(), error)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except LedgerError as error:
                # Harmless: entries are recorded meanwhile, and the next turn looks again.
                logger.warning("nothing is anchored now: %s", error)
            except Exception:
                # A bug must not end the thread in silence: the ages of anchors tell too.
                logger.exception("a turn of the anchoring failed")
            self._stopping.wait(POLL_S)

"""
Rounds: has every ledger verified by the clock, each in its turn, by one process of all.

    every two seconds     what is committed and was left unsigned, is signed
    every interval        what came since the last good verification, from its signed root on
    every long interval   everything, from the first entry

What is checked is said by `verify`, how a long one stays out of the writers' way by
`verification`, and what follows from a finding by `verdicts`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping

from ledger.errors import LedgerBrokenError, LedgerError, OverloadedError
from ledger.reader import Reader
from ledger.registry.stops import Stops
from ledger.storage.leader import Leader
from ledger.verification.runs import Standing, Verifications
from ledger.verify import Mode

logger = logging.getLogger(__name__)

POLL_S = 2.0
# Whether a verification is due is looked for so often in each interval.
LOOKS_PER_INTERVAL = 20
ROUNDS_LOCK = 0x6566_7276
# A round that is cut off by the end of its process is begun again by the next one.
STOP_PATIENCE_S = 2.0


class Rounds:
    """Verifies ledgers on a thread of its own."""

    def __init__(
        self,
        *,
        reader: Reader,
        stops: Stops,
        verifications: Verifications,
        leader: Leader,
        publish: Callable[[str], None],
        every_s: float,
        full_every_s: float,
    ) -> None:
        """
        Prepare; nothing is verified before `start`, or `turn`.

        Args:
            reader: Tells which ledgers there are.
            stops: Where a ledger that nobody can verify is stopped.
            verifications: Runs each one.
            leader: Of the lock `ROUNDS_LOCK`.
            publish: Signs and publishes a ledger to its end; used by the one thread.
            every_s: Seconds from one verification of a ledger to the next.
            full_every_s: Seconds from one that reads everything to the next.
        """
        self._reader = reader
        self._stops = stops
        self._verifications = verifications
        self._leader = leader
        self._publish = publish
        self._lagging: dict[str, int] = {}
        self._look_at = -math.inf
        self._every_s = every_s
        self._full_every_s = full_every_s
        self._tried_at: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def start(self) -> None:
        """Begin to verify."""
        self._thread.start()

    def stop(self) -> None:
        """Let another process go on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_PATIENCE_S)
        if not self._thread.is_alive():
            self._leader.resign()

    def turn(self) -> None:
        """
        Verify each ledger whose time has come.

        Raises:
            PushbackError: The database does not answer.
        """
        if not self._leader.leads():
            return
        self._sign_lagging()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self._every_s / LOOKS_PER_INTERVAL
            self._verify_due()

    def _sign_lagging(self) -> None:
        """Sign what a signer that was away left unsigned, where no write comes to do it."""
        lagging = {
            ledger: size
            for ledger, (size, published) in self._reader.sizes().items()
            if size > published
        }
        for ledger, size in lagging.items():
            # Not at the first look: whoever wrote it is about to publish it.
            if self._lagging.get(ledger) == size:
                try:
                    self._publish(ledger)
                except LedgerError as error:
                    logger.warning("ledger %s is not signed to its end yet: %s", ledger, error)
        self._lagging = lagging

    def _verify_due(self) -> None:
        # Heads first: a ledger that is created meanwhile has its row with its head.
        heads = self._reader.sizes()
        known = {record.name for record in self._reader.ledgers()}
        standing = self._verifications.standing()
        for ledger in sorted(heads.keys() | known):
            if self._stopping.is_set():
                return
            if ledger not in known:
                self._stop_unknown(ledger)
                continue
            mode = self._due(ledger, standing)
            if mode is not None:
                self._verify(ledger, mode)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except LedgerError as error:
                # Harmless: entries are recorded meanwhile, and the next turn looks again.
                logger.warning("nothing is verified now: %s", error)
            except Exception:
                # A bug must not end the thread in silence: the age of the last verdict tells too.
                logger.exception("a round of verifications failed")
            self._stopping.wait(POLL_S)

    def _due(self, ledger: str, standing: Mapping[tuple[str, str], Standing]) -> Mode | None:
        tried_at = self._tried_at.get(ledger)
        # One that could not be finished is not begun again at once.
        if tried_at is not None and time.monotonic() - tried_at < self._every_s:
            return None
        ages = {mode: each.age_s for (name, mode), each in standing.items() if name == ledger}
        if ages.get("full", self._full_every_s) >= self._full_every_s:
            return "full"
        if min(ages.values()) >= self._every_s:
            return "incremental"
        return None

    def _verify(self, ledger: str, mode: Mode) -> None:
        self._tried_at[ledger] = time.monotonic()
        try:
            self._verifications.run(ledger, mode)
        except OverloadedError:
            # Somebody asked for one, which is as good.
            logger.info("ledger %s is being verified already", ledger)
        except LedgerError as error:
            # The others are none the worse for it.
            logger.warning("ledger %s is not verified now: %s", ledger, error)

    def _stop_unknown(self, ledger: str) -> None:
        self._stops.stop(
            ledger,
            LedgerBrokenError(
                f"ledger {ledger} has a head and no row that says whose it is: it was taken away",
                check="ledger.unknown",
            ),
            findings=[{"check": "ledger.unknown", "seq": None, "message": "its row is gone"}],
        )

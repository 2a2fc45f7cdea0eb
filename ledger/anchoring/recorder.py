"""
Recorder: has the registry record where every ledger stands, so that whoever stands for the
registry stands for all of them.

A checkpoint is recorded by a notice `checkpoint.recorded`, now and then, of ledgers that have
grown since. Witnesses and authorities see the registry later, as any other ledger.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from ledger.anchoring.anchors import Anchors
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.entry import Entry
from ledger.errors import (
    ForkedError,
    IdempotencyConflictError,
    InclusionError,
    LedgerError,
    RolledBackError,
)
from ledger.forms.names import LEDGER_ITSELF, REGISTRY
from ledger.listing import EntryFilter
from ledger.reader import Reader
from ledger.receipt import CHECKPOINT_RECORDED, check_recorded, recorded_data
from ledger.registry.ledgers import build_notice
from ledger.registry.stops import Stops
from ledger.submission import Outcome, Posting, Recorded, Submission

logger = logging.getLogger(__name__)

# Of one posting: thousands of ledgers do not keep the registry's head for long.
NOTICES_MAX = 200

Post = Callable[[Posting], Sequence[Outcome]]
"""Has a posting recorded; returns when it is on disk."""


class Recorder:
    """A duty of the anchoring; see `anchoring.Duty`."""

    def __init__(
        self, *, reader: Reader, anchors: Anchors, stops: Stops, post: Post, every_s: float
    ) -> None:
        """
        Prepare; the first time comes after `every_s`.

        Args:
            reader: Of what is published.
            anchors: Where it is kept which notice recorded what.
            stops: Where an alarm is raised.
            post: Appends to the registry.
            every_s: Time from one recording of all ledgers to the next.
        """
        self._reader = reader
        self._anchors = anchors
        self._stops = stops
        self._post = post
        self._every_s = every_s
        self._at = time.monotonic() + every_s

    def turn(self) -> None:
        """Record every ledger that has grown, once its time has come."""
        if time.monotonic() < self._at:
            return
        # Before it is tried: what fails is tried again in its turn, and not in a hurry.
        self._at = time.monotonic() + self._every_s
        grown = list(self._grown())
        for start in range(0, len(grown), NOTICES_MAX):
            self._record(grown[start : start + NOTICES_MAX])

    def close(self) -> None:
        """Nothing is held."""

    def _grown(self) -> Iterator[tuple[str, Checkpoint, bytes]]:
        """Ledger, newest checkpoint and its note, where the registry has an older one."""
        # In this order: what is published only grows, so less of it than was recorded is less.
        registered = self._anchors.registered()
        stopped = {stop.ledger for stop in self._stops.standing}
        for ledger, (_, size) in self._reader.sizes().items():
            known = registered.get(ledger, 0)
            if ledger == REGISTRY or ledger in stopped or size == known:
                continue
            if size < known:
                self._stop(
                    ledger,
                    RolledBackError(
                        f"ledger {ledger} has published {size} entries, and {REGISTRY} recorded "
                        f"{known}: the ledger was rolled back",
                        size=size,
                        recorded_size=known,
                    ),
                )
                continue
            try:
                note = self._reader.checkpoint(ledger)
                yield ledger, open_checkpoint(note, self._reader.keys(ledger)), note
            except LedgerError as error:
                # The others are none the worse for it.
                logger.warning("the checkpoint of %s is not recorded: %s", ledger, error)

    def _record(self, grown: Sequence[tuple[str, Checkpoint, bytes]]) -> None:
        keys = [f"_{CHECKPOINT_RECORDED}/{ledger}/{at.size}" for ledger, at, _ in grown]
        notices = (
            build_notice(CHECKPOINT_RECORDED, key, recorded_data(ledger, checkpoint))
            for key, (ledger, checkpoint, _) in zip(keys, grown, strict=True)
        )
        outcomes = self._post(
            Posting(
                ledger=REGISTRY,
                principal=LEDGER_ITSELF,
                submissions=tuple(Submission(effect=notice) for notice in notices),
                with_receipts=False,
            )
        )
        for key, (ledger, checkpoint, note), outcome in zip(keys, grown, outcomes, strict=True):
            notice = outcome.entry if isinstance(outcome, Recorded) else None
            if isinstance(outcome, IdempotencyConflictError):
                # Whoever recorded it before us died before it was kept which notice it is.
                notice = self._standing(key)
            if notice is None:
                logger.warning("the checkpoint of %s is not recorded: %s", ledger, outcome)
                continue
            self._keep(ledger, checkpoint, note, notice)

    def _standing(self, key: str) -> Entry | None:
        [entry] = self._reader.page(REGISTRY, EntryFilter(key=key)).entries
        found = self._reader.entry(REGISTRY, entry.seq)
        return found if isinstance(found, Entry) else None

    def _keep(self, ledger: str, checkpoint: Checkpoint, note: bytes, notice: Entry) -> None:
        try:
            check_recorded(notice.encoded, ledger, checkpoint)
        except InclusionError as error:
            self._stop(
                ledger,
                ForkedError(
                    f"{REGISTRY} recorded another root of {ledger} at size {checkpoint.size} than "
                    "the published one: there are two histories",
                    size=checkpoint.size,
                    found=error.details.get("found"),
                ),
            )
            return
        self._anchors.keep_registered(ledger, checkpoint.size, note, notice.seq)

    def _stop(self, ledger: str, alarm: RolledBackError | ForkedError) -> None:
        try:
            self._stops.stop(ledger, alarm)
        except LedgerError:
            # The next turn finds the same.
            logger.exception("the stop of ledger %s could not be written down", ledger)

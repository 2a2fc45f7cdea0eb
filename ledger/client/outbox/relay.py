"""
Relay: hands off what is in the outbox, exactly once, in order per subject.

A row is taken with a lease, sent under the key it was born with, and settled by what the ledger
said. Whoever dies in between leaves a lease that ends, and the next one sends the same again: the
ledger replays what it has. Nothing of a subject is sent while an earlier row of it is open.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import orjson

from ledger.client.errors import NotSent
from ledger.client.outbox.link import OwnLink
from ledger.client.outbox.opening import database_errors
from ledger.client.outbox.sending import HandedOff, Ledger, Postponed, Rejected, Row, Sent, send
from ledger.client.outbox.table import (
    LOCK_TAKE,
    PARK,
    PRUNE,
    PUT_BACK,
    hand_off_statement,
    take_statement,
)
from ledger.errors import DatabaseUnavailableError, LedgerError

logger = logging.getLogger("ledger.client.outbox")

ROWS_MAX = 500
"""Of one take; after a failure fewer, so that what cannot be sent is found and set apart."""
OCTETS_MAX = 3 * 1024 * 1024
# Of the lease: a batch that is begun later might be answered after another relay took the rows.
LEASE_SHARE = 0.4
IDLE_PAUSE_MIN_S = 0.05
IDLE_PAUSE_MAX_S = 1.0
REST_MIN_S = 0.2
REST_MAX_S = 5.0
ROW_REST_MAX_S = 60.0
# A try that was given up may reach the ledger so long after, for all that one can know; before,
# that its key is not there says nothing.
UNDERWAY_S = 60.0
PRUNE_EVERY_S = 60.0
PRUNE_ROWS_MAX = 1_000


@dataclass(slots=True)
class _Rest:
    """A ledger that could not be asked, and until when it is left alone."""

    until: float = 0.0
    """By the monotonic clock."""
    pause_s: float = REST_MIN_S
    failure: LedgerError | None = None


@dataclass(slots=True)
class Relay:
    """One relay. It is of the thread that runs it; any number may run beside it."""

    open_link: Callable[[], OwnLink]
    open_ledger: Callable[[str], Ledger]
    """By its name."""
    lease_s: float = 30.0
    """How long rows are kept from other relays; what a killed one had waits so long."""
    keep: timedelta | None = None
    """Rows that were handed off are deleted when they are older; None keeps them."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that only grow, for what this relay waits for; leases go by the database's clock."""
    counts: Counter[str] = field(default_factory=Counter)
    """`handed_off`, `replayed` among them, `parked`, `failures`: since it was started."""
    _link: OwnLink | None = None
    _ledgers: dict[str, Ledger] = field(default_factory=dict)
    _rests: dict[str, _Rest] = field(default_factory=dict)
    _rows_max: int = ROWS_MAX
    _pruned_at: float = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """
        Hand off until `stop` is set; the batch that is under way is still settled.

        A database or a ledger that is away is waited for.

        Raises:
            LedgerError: It cannot go on: the outbox is not there, or a setting is wrong.
        """
        try:
            self._run(stop)
        finally:
            self.close()

    def _run(self, stop: threading.Event) -> None:
        pause_s = IDLE_PAUSE_MIN_S
        while not stop.is_set():
            try:
                taken = self.turn()
            except DatabaseUnavailableError as error:
                self._disconnect()
                pause_s = min(2 * pause_s, REST_MAX_S)
                logger.warning(
                    "%s (%s); trying again",
                    error.message,
                    " ".join(str(error.__cause__).split()),
                    extra={"fields": {"rest_s": pause_s}},
                )
                stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret.
                continue
            pause_s = IDLE_PAUSE_MIN_S if taken else min(2 * pause_s, IDLE_PAUSE_MAX_S)
            if not taken:
                stop.wait(pause_s)

    def drain(self) -> LedgerError | None:
        """
        Hand off everything that can be, and end.

        Returns:
            What stood in the way of a ledger as a whole; None where nothing did.

        Raises:
            DatabaseUnavailableError: The outbox could not be read.
        """
        try:
            while self.turn():
                pass
            return next((rest.failure for rest in self._rests.values()), None)
        finally:
            self.close()

    def turn(self) -> int:
        """
        Take what is due, send it, and settle it.

        Returns:
            How many rows were taken; 0 where nothing was due.

        Raises:
            DatabaseUnavailableError: What was taken and not settled is taken again when its
                lease ends, and replayed where it was recorded.
        """
        with database_errors():
            if self._link is None:
                self._link = self.open_link()
            link, lease, began_at = self._link, secrets.token_hex(8), self.clock()
            rows = self._take(link, lease)
            gives_up_at = began_at + LEASE_SHARE * self.lease_s
            for ledger in dict.fromkeys(row.ledger for row in rows):
                mine = [row for row in rows if row.ledger == ledger]
                if self.clock() < gives_up_at:
                    sent = send(mine, self._ledger(ledger))
                    self._mind(ledger, sent, len(mine))
                else:
                    sent = Sent(
                        outcomes=[Postponed(row=row, problem=None, sent=False) for row in mine]
                    )
                self._settle(link, lease, sent)
            if self.keep is not None and not rows:
                self._prune(link, self.keep)
        return len(rows)

    def close(self) -> None:
        """Let go of database and ledgers; what is leased is free when its lease ends."""
        self._disconnect()
        while self._ledgers:
            self._ledgers.popitem()[1].close()

    # ---- One turn ----

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            try:
                link.close()
            except Exception:
                logger.debug("a connection did not close", exc_info=True)

    def _take(self, link: OwnLink, lease: str) -> list[Row]:
        rested = [name for name, rest in self._rests.items() if rest.until > self.clock()]
        statement = take_statement(link.dialect, len(rested))
        with link.transaction():
            if link.dialect == "postgresql":
                link.rows(LOCK_TAKE, {})
            now = link.now()
            taken = link.rows(
                statement,
                {
                    "now": now,
                    "until": now + timedelta(seconds=self.lease_s),
                    "underway_since": now - timedelta(seconds=UNDERWAY_S),
                    "lease": lease,
                    "rows_max": self._rows_max,
                    "octets_max": OCTETS_MAX,
                    **{f"rested{at}": name for at, name in enumerate(rested)},
                },
            )
        rows = [_row(columns) for columns in taken]
        return sorted(rows, key=lambda row: row.id)

    def _ledger(self, name: str) -> Ledger:
        if name not in self._ledgers:
            self._ledgers[name] = self.open_ledger(name)
        return self._ledgers[name]

    def _mind(self, ledger: str, sent: Sent, rows: int) -> None:
        """Leave a ledger alone that could not be asked, longer each time, and ask for less."""
        if sent.failure is None:
            self._rests.pop(ledger, None)
            self._rows_max = min(ROWS_MAX, 2 * self._rows_max)
            return
        self.counts["failures"] += 1
        if not isinstance(sent.failure, NotSent):
            self._rows_max = max(1, rows // 2)
        rest = self._rests.setdefault(ledger, _Rest())
        rest.failure = sent.failure
        asked_s = sent.failure.details.get("retry_after_s") or 0.0
        pause_s = max(rest.pause_s * random.uniform(0.5, 1.0), float(asked_s))  # noqa: S311
        rest.until = self.clock() + pause_s
        rest.pause_s = min(2 * rest.pause_s, REST_MAX_S)
        logger.warning(
            "ledger %s could not be asked (%s); it rests",
            ledger,
            type(sent.failure).__name__,
            extra={
                "fields": {
                    "ledger": ledger,
                    "reason": sent.failure.reason,
                    "rest_s": round(pause_s, 3),
                }
            },
        )

    def _settle(self, link: OwnLink, lease: str, sent: Sent) -> None:
        handed_off = [each for each in sent.outcomes if isinstance(each, HandedOff)]
        rejected = [each for each in sent.outcomes if isinstance(each, Rejected)]
        postponed = [each for each in sent.outcomes if isinstance(each, Postponed)]
        with link.transaction():
            now = link.now()
            link.each(hand_off_statement(link.dialect), [_history(each) for each in handed_off])
            link.each(
                PARK,
                [
                    {"id": each.row.id, "lease": lease, "problem": _json(each.problem)}
                    for each in rejected
                ],
            )
            link.each(PUT_BACK, [_put_back(each, lease, now) for each in postponed])
        self._tell(handed_off, rejected)

    def _tell(self, handed_off: Sequence[HandedOff], rejected: Sequence[Rejected]) -> None:
        replayed = sum(each.recorded.replayed for each in handed_off)
        self.counts.update(handed_off=len(handed_off), replayed=replayed, parked=len(rejected))
        if handed_off:
            logger.info(
                "%d handed off",
                len(handed_off),
                extra={
                    "fields": {
                        "ledger": handed_off[0].row.ledger,
                        "replayed": replayed,
                        "seq_max": max(each.recorded.seq for each in handed_off),
                    }
                },
            )
        for each in rejected:
            # Where it is, and why; not a word of what it says.
            logger.error(
                "row %d was refused and is parked; what follows in its subject waits",
                each.row.id,
                extra={
                    "fields": {
                        "ledger": each.row.ledger,
                        **{name: each.problem[name] for name in ("world", "action", "code")},
                    }
                },
            )

    def _prune(self, link: OwnLink, keep: timedelta) -> None:
        if self.clock() - self._pruned_at < PRUNE_EVERY_S:
            return
        self._pruned_at = self.clock()
        with link.transaction():
            link.rows(PRUNE, {"before": link.now() - keep, "rows_max": PRUNE_ROWS_MAX})


class RelayThread:
    """A relay that runs beside the service, in a thread of its own, until it is stopped."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._stop = threading.Event()
        # It may end with the process at any moment: that is what the outbox is for.
        self._thread = threading.Thread(target=self._run, name="outbox-relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether it still hands off; where it ended by itself, the log says why."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float | None = None) -> None:
        """Settle the batch that is under way, and end."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.relay.run(self._stop)
        except LedgerError as error:
            logger.critical("the relay cannot go on: %s", error.message)
        except Exception:
            logger.critical("the relay ended by a fault of ours", exc_info=True)
            raise


def _row(columns: Sequence[Any]) -> Row:
    number, ledger, subject, target, key, body, tries, doubted, underway = columns
    return Row(
        id=number,
        ledger=ledger,
        subject=subject,
        target=target,
        key=key,
        body=body,
        tries=tries,
        doubted=bool(doubted),
        underway=bool(underway),
    )


def _history(each: HandedOff) -> dict[str, Any]:
    receipt = each.recorded.receipt
    return {
        "id": each.row.id,
        "entry_id": each.recorded.id,
        "seq": each.recorded.seq,
        "receipt": None if receipt is None else _json(receipt),
    }


def _put_back(each: Postponed, lease: str, now: datetime) -> dict[str, Any]:
    rest_s = min(REST_MIN_S * 2 ** min(each.row.tries, 16), ROW_REST_MAX_S) if each.rests else 0.0
    return {
        "id": each.row.id,
        "lease": lease,
        "until": now + timedelta(seconds=rest_s) if rest_s else None,
        "problem": None if each.problem is None else _json(each.problem),
        "unsent": int(not each.sent),
        "doubted_at": now if each.doubted else None,
    }


def _json(document: Mapping[str, Any]) -> str:
    return orjson.dumps(document).decode()

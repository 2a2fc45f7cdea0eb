"""
Closing: the cut-off of a period, as a notice in its ledger that sums up all that stands before it.

Nothing is refused from being recorded afterwards: what comes later and occurred in a closed period
is stamped `late_for`. A million entries are summed in short reads while writers go on; only what
came meanwhile is added under the head's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Engine

from ledger.append import Appender
from ledger.audit.close import Close, later_periods, read_close, reviews_by_close
from ledger.audit.verify import Totals
from ledger.effect import Effect
from ledger.entry import Entry
from ledger.errors import (
    LedgerError,
    NotFoundError,
    PeriodClosedError,
    PeriodOpenError,
    PushbackError,
    SelfReviewError,
)
from ledger.forms.names import check_principal_name
from ledger.forms.notices import SUMS_MAX
from ledger.forms.timestamps import format_time
from ledger.period import PERIOD_CLOSED, PERIOD_REVIEWED, Period, build_period
from ledger.ports import AppendTransaction
from ledger.registry.ledgers import build_notice
from ledger.storage.database import driver_connection

FOLD_ROWS = 10_000
"""Entries summed by one statement: some tens of milliseconds."""
FOLD_UNDER_LOCK_MAX = 1_000
"""Entries summed while the head is held: milliseconds."""
TRIES_MAX = 20

Progress = Callable[[int, int], None]

SELECT_RECORD = "select time_zone from ledgers where ledger = %s"

SELECT_SIZE = "select size from heads where ledger = %s"

SELECT_PUBLISHED = "select size, note from published where ledger = %s"

SELECT_CLOSES = """
select e.body, c.size, c.note, s.id::text
from periods p
join entries e on e.ledger = p.ledger and e.seq = p.seq
left join period_checkpoints c on c.ledger = p.ledger and c.seq = p.seq
left join periods s on s.ledger = p.ledger and s.supersedes = p.id
where p.ledger = %s order by p.seq
"""

# As bytes, "0" is the one after "/".
SELECT_REVIEWS = """
select body from entries where ledger = %s
    and key >= '_period.reviewed/' and key < '_period.reviewed0' order by seq
"""

# From the hashed bytes and not from the columns beside them; the database sums, so that the
# interpreter stays with the writers.
FOLD = """
select effect->>'kind', effect->>'type', effect->'money'->>'currency', effect->'money'->>'flow',
    count(*), sum((effect->'money'->>'amount')::numeric)::text
from (
    select convert_from(body, 'UTF8')::jsonb->'effect' as effect
    from entries where ledger = %s and seq >= %s and seq < %s offset 0
) told
group by 1, 2, 3, 4
"""

INSERT_CHECKPOINT = """
insert into period_checkpoints (ledger, seq, size, note) values (%s, %s, %s, %b)
on conflict (ledger, seq) do nothing
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One close that somebody asks for."""

    period: Period
    preparer: str
    reviewer: str | None
    supersedes: str | None
    from_seq: int
    last_seq: int | None
    """Where the newest close stands that was there when it was judged."""

    @property
    def key(self) -> str:
        """One key for the first close of a name and one for each correction of a close."""
        key = f"_{PERIOD_CLOSED}/{self.period.name}"
        return key if self.supersedes is None else f"{key}/{self.supersedes}"


class _MovedOn(Exception):  # noqa: N818 - no error: the caller begins again.
    """What a close was judged by is not what stands there any more."""


class Closing:
    """Closes periods and tells which are closed. Safe to share between threads."""

    def __init__(self, engine: Engine, appender: Appender) -> None:
        """
        Close through `appender`, which nobody else uses; sum through connections of `engine`.

        Args:
            engine: With the rights of the writer.
            appender: Writes the notices.
        """
        self._engine = engine
        self._appender = appender
        self._lock = threading.Lock()

    def close(
        self,
        ledger: str,
        name: str,
        *,
        preparer: str,
        reviewer: str | None = None,
        from_at: str | None = None,
        to_at: str | None = None,
        supersedes: str | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> tuple[Close, bool]:
        """
        Close a period; safe to repeat.

        Args:
            ledger: Its name.
            name: Of the calendar, or any other with `from_at` and `to_at`.
            preparer: The principal that closes it.
            reviewer: The principal that reviewed it, as the preparer states.
            from_at: First moment of a period whose name does not tell it.
            to_at: First moment after it.
            supersedes: Id of the close of this period that is corrected, the ledger's newest.
            progress: Told how many entries are summed, of how many.

        Returns:
            The close, and whether it stood there already.

        Raises:
            NotFoundError: No ledger has this name.
            PeriodError: There is no such period.
            PeriodOpenError: It is not over.
            SelfReviewError: The preparer is the reviewer too.
            PeriodClosedError: It is closed otherwise, or another close stands in the way.
            PushbackError, OutcomeUnknownError, LedgerBrokenError: As `Appender.append`.
        """
        _check_people(preparer, reviewer)
        period = build_period(name, self._time_zone(ledger), from_at=from_at, to_at=to_at)
        if period.to_at > format_time(datetime.now(UTC)):
            raise PeriodOpenError(f"period {name} is not over before {period.to_at}", name=name)
        with self._lock:
            for _ in range(TRIES_MAX):
                standing = self.closes(ledger)
                repeated = _repeated(standing, period, preparer, reviewer, supersedes)
                if repeated is not None:
                    return self._proved(ledger, repeated), True
                asked = _Asked(
                    period=period,
                    preparer=preparer,
                    reviewer=reviewer,
                    supersedes=supersedes,
                    from_seq=_from_seq(standing, period, supersedes),
                    last_seq=standing[-1].entry.seq if standing else None,
                )
                try:
                    entry, replayed = self._append(ledger, asked, progress)
                except _MovedOn:
                    continue
                return self._proved(ledger, self.find(ledger, entry.id)), replayed
        raise PushbackError(f"other periods of ledger {ledger} are being closed", ledger=ledger)

    def review(self, ledger: str, named: str, *, reviewer: str) -> tuple[Close, bool]:
        """
        Confirm a close that somebody else prepared; safe to repeat.

        Args:
            ledger: Its name.
            named: Name of the period, or id of the close.
            reviewer: The principal whose key confirms it.

        Returns:
            The close with its reviews, and whether this one stood there already.

        Raises:
            NotFoundError: There is no such close.
            SelfReviewError: The reviewer prepared it.
            PeriodClosedError: Another close has taken its place.
            PushbackError, OutcomeUnknownError, LedgerBrokenError: As `Appender.append`.
        """
        close = self.find(ledger, named)
        _check_people(close.data["preparer"], reviewer)
        if close.superseded_by is not None:
            raise PeriodClosedError(
                f"close {close.entry.id} is superseded: review {close.superseded_by}",
                close=close.superseded_by,
            )
        key = f"_{PERIOD_REVIEWED}/{close.entry.id}/{reviewer}"
        data = {
            "name": close.data["name"],
            "close": close.entry.id,
            "close_hash": close.entry.hash.hex(),
            "reviewer": reviewer,
        }
        with self._lock:
            _, replayed = self._appender.append_notice(
                ledger, key, lambda _transaction: build_notice(PERIOD_REVIEWED, key, data)
            )
        return self.find(ledger, close.entry.id), replayed

    def closes(self, ledger: str) -> list[Close]:
        """
        Every close of a ledger, superseded ones too, oldest first.

        Raises:
            NotFoundError: No ledger has this name.
            MalformedProofError: What stands there is no close.
        """
        self._time_zone(ledger)
        with driver_connection(self._engine) as connection:
            rows = connection.execute(SELECT_CLOSES, (ledger,), binary=True).fetchall()
            told = connection.execute(SELECT_REVIEWS, (ledger,), binary=True).fetchall()
        reviews = reviews_by_close(body for (body,) in told)
        closes = [read_close(*row) for row in rows]
        return [
            replace(
                each,
                reviews=tuple(reviews[each.entry.id]),
                closed_before=later_periods(each, closes[:at]),
            )
            for at, each in enumerate(closes)
        ]

    def find(self, ledger: str, named: str) -> Close:
        """
        The close of this id, or the one that stands of the period of this name.

        Raises:
            NotFoundError: There is none.
        """
        for close in reversed(self.closes(ledger)):
            if close.entry.id == named:
                return close
            if close.superseded_by is None and close.data["name"] == named:
                return close
        raise NotFoundError(f"ledger {ledger} has no closed period {named[:63]}", ledger=ledger)

    def proved(self, ledger: str, named: str) -> Close:
        """
        As `find`, with the checkpoint it is proved under.

        Raises:
            NotFoundError: There is no such close.
            PushbackError: No signed checkpoint covers it yet.
        """
        close = self.find(ledger, named)
        if close.checkpoint_note is None:
            with self._lock:
                close = self._proved(ledger, close)
        if close.checkpoint_note is None:
            raise PushbackError("the close is not signed yet; ask again later", ledger=ledger)
        return close

    # ---- Parts ------------------------------------------------------------------------

    def _append(self, ledger: str, asked: _Asked, progress: Progress) -> tuple[Entry, bool]:
        totals, folded = Totals(), asked.from_seq
        while True:
            folded = self._fold(ledger, totals, folded, progress)
            try:
                return self._appender.append_notice(
                    ledger,
                    asked.key,
                    # Bound now, not when it is called; a lambda's defaults have no types.
                    lambda transaction, totals=totals, folded=folded: _notice(  # type: ignore[misc]
                        transaction, asked, totals.copy(), folded
                    ),
                )
            except _FarBehind:
                # Writers were faster than one round of summing: another round outside the lock.
                continue

    def _fold(self, ledger: str, totals: Totals, start: int, progress: Progress) -> int:
        """Add all entries from `start` on that are there; how far that was."""
        with driver_connection(self._engine) as connection:
            row = connection.execute(SELECT_SIZE, (ledger,)).fetchone()
            size = 0 if row is None else row[0]
            while start < size:
                stop = min(start + FOLD_ROWS, size)
                for kind, type_, currency, flow, count, amount in connection.execute(
                    FOLD, (ledger, start, stop)
                ).fetchall():
                    totals.add(kind, type_, currency, flow, count=count, amount=amount)
                start = stop
                progress(start, size)
        return start

    def _proved(self, ledger: str, close: Close) -> Close:
        """The close with its checkpoint, which is kept the first time it is there."""
        if close.checkpoint_note is not None:
            return close
        for attempt in range(2):
            with driver_connection(self._engine) as connection:
                row = connection.execute(SELECT_PUBLISHED, (ledger,), binary=True).fetchone()
                if row is not None and row[0] > close.entry.seq:
                    connection.execute(INSERT_CHECKPOINT, (ledger, close.entry.seq, *row))
                    break
            if attempt == 0:
                try:
                    # A crash or a signer that was away left it unsigned.
                    self._appender.publish(ledger)
                except LedgerError:
                    # The close is on disk all the same; whoever needs the checkpoint asks again.
                    return close
        return self.find(ledger, close.entry.id)

    def _time_zone(self, ledger: str) -> str:
        with driver_connection(self._engine) as connection:
            row = connection.execute(SELECT_RECORD, (ledger,)).fetchone()
        if row is None:
            raise NotFoundError(f"there is no ledger {ledger[:80]!r}", ledger=ledger[:80])
        return str(row[0])


class _FarBehind(Exception):  # noqa: N818 - no error: the caller sums on.
    """Too many entries came meanwhile to be summed while the head is held."""


def _notice(transaction: AppendTransaction, asked: _Asked, totals: Totals, folded: int) -> Effect:
    """The close of all that stands before the head, which is held."""
    newest = max((each.seq for each in transaction.closed), default=None)
    if newest != asked.last_seq:
        raise _MovedOn
    size = transaction.head.size
    if size - folded > FOLD_UNDER_LOCK_MAX:
        raise _FarBehind
    for encoded in transaction.entry_bytes(folded, size):
        totals.add_effect(orjson.loads(encoded)["effect"])
    assert totals.count == size - asked.from_seq, "every entry of the period is counted once"
    sums = totals.sums()
    data: dict[str, Any] = {
        "name": asked.period.name,
        "from_at": asked.period.from_at,
        "to_at": asked.period.to_at,
        "from_seq": asked.from_seq,
        "to_seq": size - 1,
        "root": transaction.head.root.hex(),
        "counts": totals.counts(),
        "totals_hash": totals.hash(),
        "preparer": asked.preparer,
    }
    if len(sums) <= SUMS_MAX:
        data["sums"] = sums
    if asked.reviewer is not None:
        data["reviewer"] = asked.reviewer
    if asked.supersedes is not None:
        data["supersedes"] = asked.supersedes
    return build_notice(PERIOD_CLOSED, asked.key, data)


def _check_people(preparer: str, reviewer: str | None) -> None:
    if reviewer is None:
        return
    check_principal_name(reviewer, "/reviewer")
    if reviewer == preparer:
        raise SelfReviewError(
            f"{preparer} prepares this close and cannot review it too: name somebody else",
            reviewer=reviewer,
        )


def _repeated(
    standing: Sequence[Close],
    period: Period,
    preparer: str,
    reviewer: str | None,
    supersedes: str | None,
) -> Close | None:
    """The close that the same request made before, if it did."""
    for close in reversed(standing):
        data = close.data
        if (
            close.period == period
            and (data["preparer"], data.get("reviewer")) == (preparer, reviewer)
            and data.get("supersedes") == supersedes
            and close.superseded_by is None
        ):
            return close
    return None


def _from_seq(standing: Sequence[Close], period: Period, supersedes: str | None) -> int:
    """Where a new close begins, if what is closed allows one."""
    newest = standing[-1] if standing else None
    current = [close for close in standing if close.superseded_by is None]
    if supersedes is not None:
        if newest is None or newest.entry.id != supersedes:
            raise PeriodClosedError(
                "only the newest close of a ledger can be corrected: what comes after an older "
                "one is in the periods that follow it",
                newest=None if newest is None else newest.entry.id,
            )
        if newest.data["name"] != period.name:
            raise PeriodClosedError(
                f"close {supersedes} is of period {newest.data['name']}, not {period.name}",
                name=newest.data["name"],
            )
        current.remove(newest)
    for close in current:
        name = close.data["name"]
        if name == period.name:
            raise PeriodClosedError(
                f"period {name} is closed, at seq {close.entry.seq}: correct that close with a "
                f"second one that cites it (supersedes {close.entry.id})",
                name=name,
                close=close.entry.id,
                seq=close.entry.seq,
            )
        if close.period.from_at < period.to_at and period.from_at < close.period.to_at:
            raise PeriodClosedError(
                f"period {period.name} overlaps {name}, which is closed: an effect is late for "
                "one period",
                name=name,
                close=close.entry.id,
            )
    if newest is None:
        return 0
    # A correction covers what its predecessor did; any other begins with the close before it.
    return int(newest.data["from_seq"]) if supersedes is not None else newest.entry.seq

"""
Carrying: an open break of a closed period goes on in the next one, with its first day and age.

Nothing of it is edited: that it is carried is an event, and it is open until somebody closes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ledger.entry import Entry, parse_entry
from ledger.period import PERIOD_CLOSED, is_close
from ledger.reader import EntryFilter, Reader
from ledger.recon.breaks import Action, BreakState, Status, fold
from ledger.recon.shelf import BreakRow, Shelf
from ledger.recon.states import Scope

PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A period that was closed: once, or again by a close that corrects the first."""

    name: str
    last: date
    """Its last day, as the ledger counts days."""
    entry: str
    """Id of the close."""
    at: datetime


def carry_forward(shelf: Shelf, reader: Reader, ledger: str, *, by: str) -> int:
    """
    Say of every open break of a closed period that it is carried into the next; how many.

    Safe to repeat. Of a break that was found only after closes that cover it, the newest counts.

    Args:
        shelf: Where breaks are kept.
        reader: Reads the closes.
        ledger: Its name.
        by: Principal.

    Raises:
        PushbackError: Somebody else acted on one of them; the rest is carried by the next try.
    """
    closed = list(_closed_periods(reader, ledger))
    if not closed:
        return 0
    carried = 0
    for row in shelf.breaks(ledger):
        found = fold(row.events)
        for ordinal, each in enumerate(_to_carry(row, found, closed), start=found.events):
            document = {
                "period": each.name,
                "close": each.entry,
                "first_seen": row.events[0].at.date().isoformat(),
                "age_days": (each.last - date.fromisoformat(found.seen["age_basis"])).days,
            }
            shelf.add_event(
                ledger,
                row.id,
                ordinal=ordinal,
                by=by,
                action=Action.CARRIED_FORWARD,
                document=document,
            )
            carried += 1
    return carried


def brought_forward(
    breaks: Iterable[BreakRow],
    standings: Iterable[tuple[str, str, Mapping[str, Any]]],
    scope: Scope,
) -> list[dict[str, Any]]:
    """
    The breaks of earlier periods that a run still sees, oldest first.

    Args:
        breaks: As they are known before the run.
        standings: (state, fingerprint, document) of the run.
        scope: Of the run.
    """
    known = {row.fingerprint: row for row in breaks}
    found = []
    for state, fingerprint, document in standings:
        row = known.get(fingerprint)
        if row is None or date.fromisoformat(document["age_basis"]) >= scope.period_from:
            continue
        folded = fold(row.events)
        if folded.status is not Status.CLOSED:
            found.append(
                {
                    "break": row.id,
                    "state": state,
                    "sub_state": document["sub_state"],
                    "differences": document["differences"],
                    "since": document["age_basis"],
                    "first_seen": row.events[0].at.date().isoformat(),
                    "age_days": (scope.today - date.fromisoformat(document["age_basis"])).days,
                    "carried_forward": list(folded.carried_into),
                }
            )
    return sorted(found, key=lambda each: (each["since"], each["break"]))


def _closed_periods(reader: Reader, ledger: str) -> Iterator[Closed]:
    zone = ZoneInfo(reader.ledger(ledger).time_zone)
    cursor: str | None = None
    while True:
        page = reader.page(ledger, EntryFilter(type=PERIOD_CLOSED), cursor=cursor, limit=PAGE)
        for place in page.entries:
            entry = parse_entry(place.encoded)
            if isinstance(entry, Entry) and is_close(entry.effect):
                data = entry.effect.data or {}
                end = datetime.fromisoformat(data["to_at"]).astimezone(zone)
                yield Closed(
                    name=data["name"],
                    last=(end - timedelta(microseconds=1)).date(),
                    entry=entry.id,
                    at=datetime.fromisoformat(entry.recorded_at),
                )
        cursor = page.next_cursor
        if cursor is None:
            return


def _to_carry(row: BreakRow, found: BreakState, closed: Sequence[Closed]) -> list[Closed]:
    if found.status is Status.CLOSED:
        return []
    covering = [each for each in closed if found.seen["age_basis"] <= each.last.isoformat()]
    later = [each for each in covering if each.at >= row.events[0].at] or covering[-1:]
    by_name = {each.name: each for each in later}
    return [each for name, each in by_name.items() if name not in found.carried_into]

"""Breaks: the differences people close, with the events of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from psycopg.types.json import Jsonb

from ledger.errors import PushbackError
from ledger.recon.breaks import Action, Event
from ledger.recon.shelf.rows import FIRST, Place, Rows

SELECT_BREAKS = """
select b.id::text, b.fingerprint, b.created_at, e.ordinal, e.at, e.actor, e.action, e.document
from recon_breaks b join recon_events e on e.ledger = b.ledger and e.break = b.id
where b.ledger = %s and (%s::uuid is null or b.id = %s::uuid)
order by b.created_at, b.id, e.ordinal
"""
# One statement, so that what is listed as open is shown as open. Events are looked up break by
# break: statistics are as old as the last `analyze`, and a page has few breaks.
SELECT_PAGE = """
with page as materialized (
    select s.break, s.created_at from recon_break_states s
    where s.ledger = %(ledger)s and {status} and (s.created_at, s.break) > (%(at)s, %(id)s::uuid)
        and (%(state)s::text is null or s.state = %(state)s)
        and (%(owner)s::text is null or s.owner = %(owner)s)
        and (%(since_before)s::date is null or s.age_basis < %(since_before)s)
    order by s.created_at, s.break limit %(limit)s)
select p.break::text, b.fingerprint, p.created_at, e.ordinal, e.at, e.actor, e.action, e.document
from page p
cross join lateral (select fingerprint from recon_breaks
    where ledger = %(ledger)s and id = p.break offset 0) b
cross join lateral (select ordinal, at, actor, action, document from recon_events
    where ledger = %(ledger)s and break = p.break offset 0) e
order by p.created_at, p.break, e.ordinal
"""
SELECT_UNCLOSED = SELECT_PAGE.format(status="s.status <> 'closed'")
SELECT_IN_STATUS = SELECT_PAGE.format(status="s.status = %(status)s")
SELECT_CLOSED = """
select b.fingerprint from recon_breaks b
join recon_break_states s on s.ledger = b.ledger and s.break = b.id
where b.ledger = %s and b.fingerprint = any(%s) and s.status = 'closed'
"""
SELECT_SEEN_AT = """
select coalesce(max((r.input->>'size')::bigint), 0) from recon_runs r where r.ledger = %s
    and exists (select from recon_standings s
        where s.ledger = r.ledger and s.run = r.id and s.fingerprint = %s)
"""
INSERT_BREAK = """
insert into recon_breaks (ledger, id, fingerprint) values (%s, %s, %s)
on conflict (ledger, fingerprint) do nothing
"""
INSERT_EVENT = """
insert into recon_events (ledger, break, ordinal, actor, action, document)
values (%s, %s, %s, %s, %s, %s) on conflict do nothing
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakRow:
    """A break with its events, in order."""

    id: str
    fingerprint: str
    created_at: datetime
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakFilter:
    """Which breaks a list has; those that are not closed where no status is named."""

    status: str | None = None
    state: str | None = None
    owner: str | None = None
    since_before: date | None = None
    """Their age counts from before this day."""


class BreakRows(Rows):
    """The rows of breaks and of their events."""

    def breaks(self, ledger: str, break_id: str | None = None) -> list[BreakRow]:
        """All breaks with their events, or one of them."""
        asked = (ledger, break_id, break_id)
        return _folded(
            self._rows(SELECT_BREAKS, asked)
            if break_id is None
            else self._by_id(SELECT_BREAKS, asked, break_id)
        )

    def page_of_breaks(
        self, ledger: str, wanted: BreakFilter, *, after: Place = FIRST, limit: int
    ) -> list[BreakRow]:
        """The breaks that are wanted after a place, oldest first, with their events."""
        asked = {"ledger": ledger, **asdict(wanted), "at": after.at, "id": after.id, "limit": limit}
        select = SELECT_UNCLOSED if wanted.status is None else SELECT_IN_STATUS
        return _folded(self._rows(select, asked))

    def closed_among(self, ledger: str, fingerprints: Iterable[str]) -> set[str]:
        """Those of these fingerprints whose break is closed."""
        rows = self._rows(SELECT_CLOSED, (ledger, list(fingerprints)))
        return {fingerprint for (fingerprint,) in rows}

    def seen_at(self, ledger: str, fingerprint: str) -> int:
        """How many entries the newest run knew that saw this fingerprint."""
        [(size,)] = self._rows(SELECT_SEEN_AT, (ledger, fingerprint))
        return int(size)

    def open_break(
        self, ledger: str, break_id: str, fingerprint: str, by: str, document: Mapping[str, Any]
    ) -> None:
        """Begin the life of a break; nothing where its fingerprint has one."""
        with self._connection() as connection, connection.transaction():
            made = connection.execute(INSERT_BREAK, (ledger, break_id, fingerprint)).rowcount
            if made:
                connection.execute(
                    INSERT_EVENT, (ledger, break_id, 0, by, Action.OPENED, Jsonb(document))
                )

    def add_event(
        self,
        ledger: str,
        break_id: str,
        *,
        ordinal: int,
        by: str,
        action: Action,
        document: Mapping[str, Any],
    ) -> None:
        """
        Add the next event of a break.

        Raises:
            PushbackError: Somebody else was faster; look again and decide again.
        """
        parameters = (ledger, break_id, ordinal, by, action, Jsonb(document))
        if not self._write(INSERT_EVENT, parameters):
            raise PushbackError("somebody else acted on this break meanwhile: look again")


def _folded(rows: Iterable[Sequence[Any]]) -> list[BreakRow]:
    """Rows of events, those of a break one after the other, as breaks."""
    found = []
    for (id_, fingerprint, created_at), several in groupby(rows, key=lambda row: row[:3]):
        events = (
            Event(ordinal=ordinal, at=at, actor=actor, action=Action(action), document=document)
            for *_, ordinal, at, actor, action, document in several
        )
        found.append(
            BreakRow(id=id_, fingerprint=fingerprint, created_at=created_at, events=tuple(events))
        )
    return found

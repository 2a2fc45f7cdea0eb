"""Breaks: the differences people close, with the events of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from ledger.errors import PushbackError
from ledger.recon.breaks import Action, Event
from ledger.recon.shelf.rows import Rows

SELECT_BREAKS = """
select b.id::text, b.fingerprint, e.ordinal, e.at, e.actor, e.action, e.document
from recon_breaks b join recon_events e on e.ledger = b.ledger and e.break = b.id
where b.ledger = %s and (%s::uuid is null or b.id = %s::uuid)
order by b.created_at, b.id, e.ordinal
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
    events: tuple[Event, ...]


class BreakRows(Rows):
    """The rows of breaks and of their events."""

    def breaks(self, ledger: str, break_id: str | None = None) -> list[BreakRow]:
        """All breaks with their events, or one of them."""
        found: dict[str, tuple[str, list[Event]]] = {}
        asked = (ledger, break_id, break_id)
        rows = (
            self._rows(SELECT_BREAKS, asked)
            if break_id is None
            else self._by_id(SELECT_BREAKS, asked, break_id)
        )
        for id_, fingerprint, ordinal, at, actor, action, document in rows:
            found.setdefault(id_, (fingerprint, []))[1].append(
                Event(ordinal=ordinal, at=at, actor=actor, action=Action(action), document=document)
            )
        return [
            BreakRow(id=id_, fingerprint=fingerprint, events=tuple(events))
            for id_, (fingerprint, events) in found.items()
        ]

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

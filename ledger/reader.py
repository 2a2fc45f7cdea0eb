"""
Reader: history as it stands. Entries, pages, payloads and the story of an effect; and proofs.

Every answer is a few short reads, each in a snapshot of its own: history only grows, and a
size that was read once stays true. Whether what is stored was tampered with is for `verify`;
who may read what is for the entrances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Text,
    bindparam,
    literal_column,
    select,
    true,
)

from ledger.clock import SystemClock
from ledger.effect import Kind
from ledger.entry import Entry, UnreadEntry, parse_entry, parse_place
from ledger.errors import (
    ChainBreakError,
    MalformedProofError,
    NotFoundError,
    SettingsError,
    TooLargeError,
)
from ledger.forms.grammar import UUID, integer, one_of
from ledger.lifecycle import Position
from ledger.listing import PAGE_MAX, EntryFilter, Listing, Question
from ledger.ports import Clock, SealedPayload
from ledger.proof_reader import ConsistencyProof, InclusionProof, ProofReader
from ledger.storage.database import driver_connection
from ledger.storage.tables import (
    data_keys,
    entries,
    payloads,
    positions,
)
from ledger.vault import OpenedPayload, Vault
from ledger.views.story import Story, build_story

__all__ = [
    "AnyEntry",
    "ConsistencyProof",
    "EntryFilter",
    "InclusionProof",
    "Page",
    "Reader",
]

AnyEntry = Entry | UnreadEntry
"""An entry as it was recorded; of one of a later version, only its place is known here."""

STORY_MAX = 10_000
"""Corrections of one story."""

_LEDGER = bindparam("ledger", type_=Text)

SELECT_PAYLOADS = (
    select(payloads)
    .where(payloads.c.ledger == _LEDGER, payloads.c.seq == bindparam("seq"))
    .order_by(payloads.c.name)
)
SELECT_DATA_KEYS = select(data_keys.c.data_subject, data_keys.c.wrapped).where(
    data_keys.c.ledger == _LEDGER,
    data_keys.c.data_subject.in_(bindparam("subjects", expanding=True)),
)


SELECT_AFTER = """
select seq, body from entries where ledger = %(ledger)s and seq > %(after)s order by seq
limit %(limit)s
"""


def _select_story() -> Any:
    """
    An entry, all that corrects it or one of these, and their positions: of one moment.

    UNION, not UNION ALL: rows beside the hashed bytes can be tampered with, and a circle ends.
    OFFSET 0 keeps each step a look into its index: the planner expects families a hundred times
    their size and would read the ledger for them.
    """
    per_member: ColumnElement[Any] = literal_column("0")
    family = (
        select(entries.c.id, entries.c.seq)
        .where(entries.c.ledger == _LEDGER, entries.c.id == bindparam("id"))
        .cte("family", recursive=True)
    )
    below = (
        select(entries.c.id, entries.c.seq)
        .where(entries.c.ledger == _LEDGER, entries.c.corrects == family.c.id)
        .offset(per_member)
        .lateral("below")
    )
    family = family.union(select(below.c.id, below.c.seq).join_from(family, below, true()))
    # Cut before it is sorted: a family without end is not walked to its end.
    members = select(family).limit(STORY_MAX + 2).subquery("members")
    body = (
        select(entries.c.body)
        .where(entries.c.ledger == _LEDGER, entries.c.seq == members.c.seq)
        .offset(per_member)
        .lateral("body")
    )
    position = (
        select(positions)
        .where(positions.c.ledger == _LEDGER, positions.c.entry == members.c.id)
        .offset(per_member)
        .lateral("position")
    )
    return (
        select(members.c.seq, body.c.body, position)
        .join_from(members, body, true())
        .join(position, true(), isouter=True)
        .order_by(members.c.seq)
    )


SELECT_STORY = _select_story()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries of a listing."""

    entries: tuple[UnreadEntry, ...]
    """May be fewer than asked for, and none, before the last page."""
    next_cursor: str | None
    """Leads to the next page; None at the end."""


class Reader(ProofReader):
    """
    Reads the ledgers of one database. Safe to share between threads.

    An entry is named by its place: its seq, as a number or in decimal digits, or its id.
    Every method may raise DatabaseUnavailableError where the database does not answer, and
    OverloadedError where all connections stay busy; a method that takes a ledger raises
    NotFoundError where none has that name.
    """

    def __init__(
        self, engine: Engine, vault: Vault | None = None, clock: Clock | None = None
    ) -> None:
        """
        Read through connections of `engine`.

        Args:
            engine: With the rights of the writer or of the reader.
            vault: Opens payloads, which takes the rights of the writer; None where nobody may.
            clock: Tells whether an effect's time for being reversed has passed.
        """
        super().__init__(engine)
        self._vault = vault
        self._clock = SystemClock() if clock is None else clock

    def entry(self, ledger: str, place: int | str) -> AnyEntry:
        """
        One entry.

        Raises:
            NotFoundError: There is none at this place.
            MalformedProofError: What is stored there is not an entry.
        """
        with self._reading(ledger) as connection:
            return _parse(self._row(connection, ledger, place))

    def entry_bytes(self, ledger: str, place: int | str) -> bytes:
        """
        The bytes of an entry as they were hashed, whatever they are.

        Raises:
            NotFoundError: There is none at this place.
        """
        with self._reading(ledger) as connection:
            body: bytes = self._row(connection, ledger, place).body
        return body

    def entries_after(self, ledger: str, after: int, limit: int) -> list[UnreadEntry]:
        """
        The first `limit` entries after entry `after`, which is -1 for all; without gaps.

        Raises:
            MalformedEffectError: `limit` is not from 1 to 1,000.
            MalformedProofError: What is stored is not an entry.
        """
        _check_limit(limit, "limit")
        # Before and not within: a thread that waits for a second connection holds the first.
        self.ledger(ledger)
        with driver_connection(self._engine) as connection:
            rows = connection.execute(
                SELECT_AFTER, {"ledger": ledger, "after": after, "limit": limit}, binary=True
            ).fetchall()
        return [_parse_place(seq, body) for seq, body in rows]

    def page(
        self,
        ledger: str,
        filters: EntryFilter,
        cursor: str | None = None,
        limit: int = 100,
        order: str = "asc",
    ) -> Page:
        """
        One page of the entries that match `filters`, in seq order.

        A page looks at no more than `listing.CANDIDATES_MAX` entries, so where several
        filters must hold, or `occurred_at` must be in a range, it may be short or empty and
        still lead on; the end is where there is no cursor.

        Args:
            ledger: Name of the ledger.
            filters: What the entries must have.
            cursor: `next_cursor` of the page before; None for the first.
            limit: Most entries of the page, 1 to 1,000.
            order: `asc` or `desc`.

        Raises:
            MalformedEffectError: `limit`, `order` or `cursor` is not one, or the cursor is of
                another listing.
            MalformedProofError: What is stored is not an entry.
        """
        _check_limit(limit, "limit")
        listing = Listing(ledger, filters, descending=_check_order(order, "order") == "desc")
        after = None if cursor is None else listing.parse_cursor(cursor)
        with driver_connection(self._engine) as connection:

            def ask(question: Question) -> list[Any]:
                return connection.execute(*question, binary=True).fetchall()

            first = end = None
            if listing.is_bounded:
                [(first, end)] = ask(listing.select_bounds())
            start, stop = listing.range(first, end)
            if after is not None:
                start, stop = listing.after(after, start, stop)
            # One more than asked for tells whether there is more.
            rows = ask(listing.select_page(start, stop, limit + 1))
            reached: int | None = None
            if len(rows) > limit:
                rows = rows[:limit]
                reached = rows[-1][0]
            elif listing.is_checked:
                reached = next((seq for (seq,) in ask(listing.select_walked(start, stop))), None)
        if not rows:
            # An empty page of a ledger that is not there would look like one of a ledger that is.
            self.ledger(ledger)
        return Page(
            entries=tuple(_parse_place(seq, body) for seq, body in rows),
            next_cursor=None if reached is None else listing.cursor(reached),
        )

    def payloads(self, ledger: str, place: int | str) -> list[OpenedPayload]:
        """
        The payloads of an entry, by name; without salt and content where they were erased.

        Raises:
            NotFoundError: There is no entry at this place.
            CommitmentError: A payload is not the one its entry committed to.
            SettingsError: This reader has no vault.
        """
        if self._vault is None:
            raise SettingsError("payloads are opened with the payload key; none was given")
        record = self.ledger(ledger)
        with self._reading(ledger) as connection:
            row = self._row(connection, ledger, place)
            found = connection.execute(SELECT_PAYLOADS, {"ledger": ledger, "seq": row.seq}).all()
            subjects = sorted({each.data_subject for each in found})
            keys = connection.execute(
                SELECT_DATA_KEYS, {"ledger": ledger, "subjects": subjects}
            ).all()
        sealed = [
            SealedPayload(
                seq=each.seq,
                name=each.name,
                media_type=each.media_type,
                commitment=each.commitment,
                data_subject=each.data_subject,
                sealed=each.sealed,
            )
            for each in found
        ]
        standing = {each.data_subject: each.wrapped for each in keys}
        return self._vault.open(record, _parse(row).id, sealed, standing)

    def story(self, ledger: str, effect_id: str) -> Story:
        """
        An effect with everything that corrects it, and what is left of it; see `views.story`.

        Args:
            ledger: Name of the ledger.
            effect_id: Id of an effect, or of a correction whose original was recorded elsewhere.

        Raises:
            NotFoundError: No effect has this id; of a correction, `corrects` names the next
                entry on the way to it.
            TooLargeError: More than 10,000 corrections.
            ChainBreakError, MalformedProofError: What is stored cannot be right.
        """
        if not UUID.fullmatch(effect_id):
            raise _no_effect(ledger, effect_id)
        with self._reading(ledger) as connection:
            rows = connection.execute(
                SELECT_STORY, {"ledger": ledger, "id": effect_id.lower()}
            ).all()
        family = {row.seq: row for row in rows}
        if not family:
            raise _no_effect(ledger, effect_id)
        if len(family) > STORY_MAX + 1:
            raise TooLargeError(
                f"effect {effect_id} has more than {STORY_MAX} corrections: list them page by "
                "page with the filter corrects",
                limit=STORY_MAX,
            )
        told = {entry.id: entry for entry in map(_parse_known, family.values())}
        original = told.pop(effect_id.lower(), None)
        if original is None:
            raise ChainBreakError(
                f"entry {min(family)} is indexed as {effect_id} and is another", seq=min(family)
            )
        _check_is_told(original)
        standing = {row.entry: _position(row) for row in rows if row.entry is not None}
        return build_story(original, list(told.values()), standing, self._clock.now())


_check_limit = integer(1, PAGE_MAX)
_check_order = one_of("asc", "desc")


def _parse(row: Any) -> AnyEntry:
    # Held to its form although it was when it was written: the bytes are spliced into JSON
    # answers as they are, and what is not an entry must not pass for one.
    try:
        return parse_entry(row.body)
    except MalformedProofError as error:
        raise MalformedProofError(f"entry {row.seq}: {error.message}", seq=row.seq) from error


def _parse_place(seq: int, body: bytes) -> UnreadEntry:
    # Of many entries only the place: reading what each says would cost more than finding it.
    try:
        return parse_place(body)
    except MalformedProofError as error:
        raise MalformedProofError(f"entry {seq}: {error.message}", seq=seq) from error


def _parse_known(row: Any) -> Entry:
    entry = _parse(row)
    if isinstance(entry, UnreadEntry):
        raise MalformedProofError(
            f"entry {entry.seq} is of version {entry.v}, which this program cannot tell about",
            seq=entry.seq,
        )
    return entry


def _check_is_told(entry: Entry) -> None:
    """Only what corrects nothing in this ledger begins a story; notices are not effects."""
    effect = entry.effect
    corrects = effect.corrects or effect.corrects_key
    if corrects is not None:
        raise NotFoundError(
            f"entry {entry.id} is no effect: it is a {effect.kind} of {corrects}",
            kind=effect.kind.value,
            corrects=corrects,
        )
    if effect.kind is Kind.NOTICE:
        raise NotFoundError(f"entry {entry.id} is no effect: it is a notice", kind="notice")


def _position(row: Any) -> Position:
    return Position(
        entry=row.entry,
        currency=row.currency,
        original=int(row.original),
        adjusted=int(row.adjusted),
        refunded=int(row.refunded),
        held=int(row.held),
        excess=None if row.excess is None else int(row.excess),
    )


def _no_effect(ledger: str, effect_id: str) -> NotFoundError:
    return NotFoundError(f"ledger {ledger} has no effect {effect_id[:80]!r}", ledger=ledger)

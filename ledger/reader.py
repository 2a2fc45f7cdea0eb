"""
Reader: history as it stands. Entries, pages, proofs, receipts, tiles, and the story of an effect.

Every answer is a few short reads, each in a snapshot of its own: history only grows, and a
size that was read once stays true. Whether what is stored was tampered with is for `verify`;
who may read what is for the entrances.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
)

from ledger.clock import SystemClock
from ledger.effect import Kind
from ledger.entry import Entry, UnreadEntry, parse_entry, parse_place
from ledger.errors import (
    BadReferenceError,
    ChainBreakError,
    DatabaseUnavailableError,
    MalformedProofError,
    NotFoundError,
    RejectedError,
    SettingsError,
    TooLargeError,
)
from ledger.forms.grammar import UUID, integer, one_of
from ledger.forms.names import REGISTRY, check_ledger_name
from ledger.lifecycle import Position
from ledger.listing import PAGE_MAX, EntryFilter, Listing, Question
from ledger.merkle import LeafIndex, TreeSize, leaf_hash, verify_inclusion
from ledger.note import VerifierKey
from ledger.ports import Clock, LedgerRecord, SealedPayload
from ledger.receipt import Receipt, TlogProof
from ledger.signing.key_history import ADDED, RETIRED, key_history, notice_range, read_notice
from ledger.storage.database import driver_connection, pool_connection
from ledger.storage.tables import (
    data_keys,
    entries,
    heads,
    ledger_record,
    ledgers,
    payloads,
    positions,
    published,
)
from ledger.storage.tile_rows import read_tiles
from ledger.tiles import TILE_WIDTH, TileCoordinate, entry_bundle, parse_tile_path, partial_width
from ledger.tree import Place, TileCache, Tree
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

RECORDS_KEPT = 4_096
TILES_KEPT = 1_024
STORY_MAX = 10_000
"""Corrections of one story."""

_SEQ = re.compile("0|[1-9][0-9]{0,18}")
_SEQ_MAX = 2**63 - 1

_LEDGER = bindparam("ledger", type_=Text)

SELECT_LEDGERS = select(ledgers).order_by(ledgers.c.ledger)
SELECT_LEDGER = select(ledgers).where(ledgers.c.ledger == _LEDGER)
SELECT_SIZE = select(heads.c.size).where(heads.c.ledger == _LEDGER)
SELECT_SIZES = (
    select(heads.c.ledger, heads.c.size, func.coalesce(published.c.size, 0).label("published"))
    .join(published, published.c.ledger == heads.c.ledger, isouter=True)
    .order_by(heads.c.ledger)
)
SELECT_PUBLISHED = select(published).where(published.c.ledger == _LEDGER)

# Of the registry, about the keys of one ledger: a handful for each rotation.
SELECT_KEY_NOTICES = (
    select(entries.c.body)
    .where(
        entries.c.ledger == REGISTRY,
        or_(
            and_(entries.c.key >= bindparam("added"), entries.c.key < bindparam("added_end")),
            and_(entries.c.key >= bindparam("retired"), entries.c.key < bindparam("retired_end")),
        ),
    )
    .order_by(entries.c.seq)
)

_BODY = select(entries.c.seq, entries.c.body).where(entries.c.ledger == _LEDGER)
SELECT_BY_SEQ = _BODY.where(entries.c.seq == bindparam("seq"))
SELECT_BY_ID = _BODY.where(entries.c.id == bindparam("id"))
SELECT_RANGE = (
    _BODY.where(entries.c.seq >= bindparam("start"), entries.c.seq < bindparam("stop"))
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)

SELECT_PAYLOADS = (
    select(payloads)
    .where(payloads.c.ledger == _LEDGER, payloads.c.seq == bindparam("seq"))
    .order_by(payloads.c.name)
)
SELECT_DATA_KEYS = select(data_keys.c.data_subject, data_keys.c.wrapped).where(
    data_keys.c.ledger == _LEDGER,
    data_keys.c.data_subject.in_(bindparam("subjects", expanding=True)),
)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """That a leaf is in a tree; see `merkle.verify_inclusion`."""

    leaf: bytes
    root: bytes
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """That a tree extends an older one; see `merkle.verify_consistency`."""

    old_root: bytes
    new_root: bytes
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """The newest signed checkpoint, as it is served."""

    size: int
    root: bytes
    note: bytes


class Reader:
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
        self._engine = engine
        self._vault = vault
        self._clock = SystemClock() if clock is None else clock
        # A ledger's record never changes, so one reading is enough.
        self._records = lru_cache(RECORDS_KEPT)(self._read_record)
        self._tiles = TileCache(TILES_KEPT)

    # ---- Ledgers ----------------------------------------------------------------------

    def ledger(self, name: str) -> LedgerRecord:
        """What is fixed about the ledger of this name."""
        return self._records(name)

    def keys(self, name: str) -> tuple[VerifierKey, ...]:
        """The keys that ever signed this ledger, oldest first, read anew; see `key_history`."""
        record = self.ledger(name)
        added, added_end = notice_range(ADDED, name)
        retired, retired_end = notice_range(RETIRED, name)
        with pool_connection(self._engine) as connection:
            bodies = connection.execute(
                SELECT_KEY_NOTICES,
                {
                    "added": added,
                    "added_end": added_end,
                    "retired": retired,
                    "retired_end": retired_end,
                },
            ).scalars()
            return key_history(record.vkey, record.origin, map(read_notice, bodies))

    def ledgers(self) -> list[LedgerRecord]:
        """All ledgers, by name."""
        with pool_connection(self._engine) as connection:
            return [ledger_record(row) for row in connection.execute(SELECT_LEDGERS)]

    def size(self, ledger: str) -> int:
        """Number of entries."""
        with pool_connection(self._engine) as connection:
            size: int | None = connection.execute(SELECT_SIZE, {"ledger": ledger}).scalar()
        if size is None:
            raise _no_ledger(ledger)
        return size

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Ledger -> number of entries, and how many of them a published checkpoint covers."""
        with pool_connection(self._engine) as connection:
            return {
                ledger: (size, covered)
                for ledger, size, covered in connection.execute(SELECT_SIZES)
            }

    # ---- Entries ----------------------------------------------------------------------

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
        with self._reading(ledger) as connection:
            rows = connection.execute(
                SELECT_RANGE,
                {"ledger": ledger, "start": after + 1, "stop": _SEQ_MAX, "limit": limit},
            ).all()
        return [_parse_place(row.seq, row.body) for row in rows]

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

    # ---- Proofs -----------------------------------------------------------------------

    def receipt(self, ledger: str, place: int | str) -> Receipt:
        """
        What proves an entry now: under the published checkpoint, or `unsigned` before it.

        Raises:
            NotFoundError: There is no entry at this place.
            InclusionError: The entry as it is stored is not in the tree that was signed.
            ChainBreakError: The stored tree lacks hashes.
        """
        with self._reading(ledger) as connection:
            row = self._row(connection, ledger, place)
            covering = self._published(connection, ledger)
            if covering is None or covering.size <= row.seq:
                return Receipt(level="unsigned", proof=None, entry=row.body)
            index, size = LeafIndex(row.seq), TreeSize(covering.size)
            hashes = self._tree(connection, ledger).inclusion_proof(index, size)
        # A receipt that proves nothing must not leave the house.
        verify_inclusion(leaf_hash(row.body), index, size, hashes, covering.root)
        proof = TlogProof(index=index, hashes=tuple(hashes), checkpoint_note=covering.note)
        return Receipt(level="log-signed", proof=proof.encode(), entry=row.body)

    def checkpoint(self, ledger: str) -> bytes:
        """
        The newest published checkpoint, as a signed note.

        Raises:
            NotFoundError: None was published yet.
        """
        with self._reading(ledger) as connection:
            newest = self._published(connection, ledger)
        if newest is None:
            raise NotFoundError(f"ledger {ledger} has no published checkpoint yet", ledger=ledger)
        return newest.note

    def published_size(self, ledger: str) -> int:
        """How many entries the newest published checkpoint covers; 0 before the first."""
        with self._reading(ledger) as connection:
            return self._published_size(connection, ledger)

    def inclusion(self, ledger: str, seq: int, size: int) -> InclusionProof:
        """
        Proof that entry `seq` is in the tree of `size` entries.

        Raises:
            BadReferenceError: A tree of this size never has such an entry.
            NotFoundError: No tree of this size was published yet.
            ChainBreakError: The stored tree lacks hashes.
        """
        if not 0 <= seq < size:
            raise BadReferenceError(f"entry {seq} is not in a tree of {size}", seq=seq, size=size)
        with self._reading(ledger) as connection:
            self._check_published(connection, ledger, size)
            tree = self._tree(connection, ledger)
            index, at = LeafIndex(seq), TreeSize(size)
            leaf, root, hashes = tree.prove_inclusion(index, at)
        return InclusionProof(leaf=leaf, root=root, hashes=tuple(hashes))

    def consistency(self, ledger: str, old: int, new: int) -> ConsistencyProof:
        """
        Proof that the tree of `new` entries begins with the tree of `old`.

        Raises:
            BadReferenceError: A tree does not begin with a larger one.
            NotFoundError: No tree of size `new` was published yet.
            ChainBreakError: The stored tree lacks hashes.
        """
        if not 0 <= old <= new:
            raise BadReferenceError(
                f"a tree of {new} does not begin with one of {old}", old=old, new=new
            )
        with self._reading(ledger) as connection:
            self._check_published(connection, ledger, new)
            tree = self._tree(connection, ledger)
            old_root, new_root, hashes = tree.prove_consistency(TreeSize(old), TreeSize(new))
        return ConsistencyProof(old_root=old_root, new_root=new_root, hashes=tuple(hashes))

    def tile(self, ledger: str, path: str) -> bytes:
        """
        A tile of the tree or a bundle of entries, as C2SP tlog-tiles serves it.

        Args:
            ledger: Name of the ledger.
            path: Such as `tile/0/x001/234.p/5` or `tile/entries/000`; any width that the tile
                had at some size up to the published one.

        Raises:
            NotFoundError: Not the path of a tile, or of more than was published.
            ChainBreakError: The stored tree lacks hashes or entries.
        """
        try:
            asked = parse_tile_path(path)
        except MalformedProofError as error:
            raise NotFoundError(error.message, ledger=ledger) from error
        with self._reading(ledger) as connection:
            size = self._published_size(connection, ledger)
            if partial_width(asked.level, asked.index, size) < asked.width:
                raise NotFoundError(f"there is no {path} at size {size}", ledger=ledger)
            if asked.level == "entries":
                return self._bundle(connection, ledger, asked)
            tree = self._tree(connection, ledger)
            return tree.tile(asked.level, asked.index, asked.width)

    # ---- Parts ------------------------------------------------------------------------

    @contextmanager
    def _reading(self, ledger: str) -> Iterator[Connection]:
        """A connection, once it is known that there is such a ledger."""
        # Before and not within: a thread that waits for a second connection holds the first.
        self.ledger(ledger)
        with pool_connection(self._engine) as connection:
            yield connection

    def _read_record(self, name: str) -> LedgerRecord:
        try:
            check_ledger_name(name)
        except RejectedError as error:
            # Nobody can have created it; and not every text is one the database takes.
            raise _no_ledger(name) from error
        with pool_connection(self._engine) as connection:
            row = connection.execute(SELECT_LEDGER, {"ledger": name}).one_or_none()
        if row is None:
            raise _no_ledger(name)
        return ledger_record(row)

    def _row(self, connection: Connection, ledger: str, place: int | str) -> Any:
        """Seq and body of the entry at `place`."""
        named, row = str(place), None
        if UUID.fullmatch(named):
            found = connection.execute(SELECT_BY_ID, {"ledger": ledger, "id": named.lower()})
            row = found.one_or_none()
        elif _SEQ.fullmatch(named) and int(named) <= _SEQ_MAX:
            found = connection.execute(SELECT_BY_SEQ, {"ledger": ledger, "seq": int(named)})
            row = found.one_or_none()
        if row is None:
            raise NotFoundError(f"ledger {ledger} has no entry {named[:80]!r}", ledger=ledger)
        return row

    def _published(self, connection: Connection, ledger: str) -> _Published | None:
        row = connection.execute(SELECT_PUBLISHED, {"ledger": ledger}).one_or_none()
        return None if row is None else _Published(size=row.size, root=row.root, note=row.note)

    def _published_size(self, connection: Connection, ledger: str) -> int:
        newest = self._published(connection, ledger)
        return 0 if newest is None else newest.size

    def _check_published(self, connection: Connection, ledger: str, size: int) -> None:
        largest = self._published_size(connection, ledger)
        if size > largest:
            raise NotFoundError(
                f"ledger {ledger} has published {largest} entries, not {size} yet",
                ledger=ledger,
                published=largest,
            )

    def _tree(self, connection: Connection, ledger: str) -> Tree:
        driver: Any = connection.connection.driver_connection

        def ask(places: Sequence[Place]) -> Sequence[Sequence[bytes]]:
            try:
                return read_tiles(driver, ledger, places)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise DatabaseUnavailableError("the database does not answer") from error

        def ask_one(level: int, index: int, width: int) -> Sequence[bytes]:
            return ask([(level, index, width)])[0]

        return Tree(ask_one, self._tiles, name=ledger, read_tiles=ask)

    def _bundle(self, connection: Connection, ledger: str, asked: TileCoordinate) -> bytes:
        start = asked.index * TILE_WIDTH
        rows = connection.execute(
            SELECT_RANGE,
            {"ledger": ledger, "start": start, "stop": start + asked.width, "limit": TILE_WIDTH},
        ).all()
        if len(rows) != asked.width:
            raise ChainBreakError(
                f"expected entries {start} to {start + asked.width - 1}, found {len(rows)} of them",
                expected=asked.width,
                found=len(rows),
            )
        return entry_bundle(row.body for row in rows)


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


def _no_ledger(name: str) -> NotFoundError:
    return NotFoundError(f"there is no ledger {name[:80]!r}", ledger=name[:80])


def _no_effect(ledger: str, effect_id: str) -> NotFoundError:
    return NotFoundError(f"ledger {ledger} has no effect {effect_id[:80]!r}", ledger=ledger)

"""
Stored: a ledger as it lies in tables, row by row, and the protocol that hands it in.

Nothing here is believed; the auditor compares all of it with the entry bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from ledger.intent import IntentRow
from ledger.tiles import Tile

PAGE = 2_048
"""Entries of one read; whole tiles."""

COLUMNS = (
    "hash",
    "id",
    "key",
    "kind",
    "type",
    "poster",
    "subject",
    "business_key",
    "actor",
    "currency",
    "corrects",
    "repeat_of",
    "occurred_at",
    "recorded_at",
)
"""The index over an entry's bytes, in the order of `StoredEntry.columns`."""


class StoredEntry(NamedTuple):
    """One row of history."""

    seq: int
    body: bytes
    columns: tuple[Any, ...] | None = None
    """See `COLUMNS`; ids and times as text. None where only the bytes were asked for."""


SEPARATOR = "\x01"
"""Between the values of a column; in no text of an entry."""


class JoinedColumns(NamedTuple):
    """The index columns of a page, each as one value; the values of all rows, in their order."""

    hash: bytes
    id: bytes
    """16 octets each."""
    key: str
    """With `SEPARATOR` between them, as all that follow; nothing stands for null."""
    kind: str
    type: str
    poster: str
    subject: str
    business_key: str
    actor: str
    currency: str
    corrects: str
    repeat_of: str
    occurred_at: str
    """As PostgreSQL writes it in UTC: `2026-01-31 12:00:00.5+00`."""
    recorded_at: str
    unfit: int
    """
    Rows that cannot be told apart once joined: with a null or a hash of another length where there
    is none, or an empty text where null is meant.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A page of stored entries, by columns."""

    seqs: Sequence[int]
    bodies: Sequence[bytes]
    columns: JoinedColumns


class StoredPayload(NamedTuple):
    """A payload's row, without the sealed octets."""

    seq: int
    name: str
    media_type: str
    commitment: bytes
    sealed_bytes: int | None
    """None once erased."""


class StoredPosition(NamedTuple):
    """What is left of an entry, in minor units."""

    entry: str
    currency: str
    original: int
    adjusted: int
    refunded: int
    held: int
    excess: int | None
    promised: int | None = None
    """What the rows of intents keep of it together; None where none names it."""


class StoredIntent(NamedTuple):
    """An intent's row, and its events in order."""

    row: IntentRow
    events: Sequence[bytes]


class StoredClose(NamedTuple):
    """A closed period's row: what its notice says, where writers look."""

    seq: int
    id: str
    name: str
    from_at: str
    to_at: str
    from_seq: int
    supersedes: str | None


class StoredPosterKey(NamedTuple):
    """A key that posters sign with."""

    key_id: str
    principal: str
    public_key: bytes
    notice: bytes | None
    """Bytes of the entry of `_registry` that the row refers to."""
    retired: bytes | None
    """Bytes of the entry of `_registry` that retired the key; None while it is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLedger:
    """The ledger's own row."""

    name: str
    origin: str
    vkey: str
    signer: str
    units: Mapping[str, int]
    time_zone: str
    public: bool
    registry_seq: int | None
    notice: StoredEntry | None
    """The entry of `_registry` under the key of this ledger's creation."""
    key_notices: Sequence[bytes] = ()
    """Entries of `_registry` about keys that were added and retired since, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHead:
    """What the next entry would extend."""

    size: int
    last_hash: bytes
    last_recorded_at: str | None
    frontier: bytes
    closes: int = 0
    """How many closes of periods the entries hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheckpoint:
    """The checkpoint that is served."""

    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One moment of the ledger; all of it from one snapshot."""

    head: StoredHead | None
    published: StoredCheckpoint | None
    end: int
    """One above the highest seq of all entries."""
    positions: Sequence[StoredPosition] = ()
    """Those that were asked for and are there."""

    @property
    def size(self) -> int:
        """How many entries there should be at least."""
        return max(self.end, self.head.size if self.head else 0)


class Source(Protocol):
    """
    A ledger as it is stored, in reads that are short.

    Entries, terms, tiles and payloads never change once `pin` has shown them; positions,
    head and checkpoint do, while writers go on.
    """

    def ledger(self) -> StoredLedger:
        """The ledger's row and the notice that announced it; NotFoundError without a row."""

    def pin(self, positions: Sequence[tuple[str, str]] = ()) -> Pinned:
        """The present moment; with the rows of these (entry, currency), in one snapshot."""

    def entries(self, start: int, stop: int) -> Sequence[StoredEntry]:
        """The next entries of [start, stop), in order; none only where there are no more."""

    def block(self, start: int, stop: int) -> Block | None:
        """The same entries by columns; None where there are none, or rows must do."""

    def closes(self, stop: int) -> Sequence[StoredEntry]:
        """Notices that closed a period, before entry `stop`, in order; their bytes suffice."""

    def periods(self) -> Sequence[StoredClose]:
        """All rows of closed periods."""

    def payloads(self, start: int, stop: int) -> Sequence[StoredPayload]:
        """All payload rows of entries [start, stop)."""

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> Sequence[Tile]:
        """The tiles of these (level, index) that are there."""

    def hashes(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        """Hashes [start, stop) of a tile level: of entries at 0, roots of tiles above."""

    def terms(self) -> Iterator[Sequence[tuple[str, int]]]:
        """All (term, seq) of the ledger, in pages, in any order."""

    def salted_terms(self, salt: str, stop: int) -> Iterator[tuple[str, Sequence[tuple[str, int]]]]:
        """
        The same pages, those of entries [0, stop) in one text and the others as they are.

        The text is `<salt><seq>:<term>` of each, with `SEPARATOR` between them. A term that holds
        a `SEPARATOR`, which none should, is among the others whatever its entry.
        """

    def held_terms(self, wanted: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
        """Those of these (term, seq) that are there."""

    def positions(self) -> Iterator[Sequence[StoredPosition]]:
        """All positions, in pages, in any order."""

    def intents(self) -> Iterator[Sequence[StoredIntent]]:
        """All intents, in pages; each page from one snapshot."""

    def intent_events(self, ids: Collection[str]) -> Mapping[str, Sequence[bytes]]:
        """The events of these intents, in order; of those that have any."""

    def find(self, *, ids: Collection[str], keys: Collection[str]) -> Sequence[StoredEntry]:
        """Entries by id and by key; their bytes suffice."""

    def corrections_of(self, ids: Collection[str]) -> Sequence[StoredEntry]:
        """Entries that correct one of these; their bytes suffice."""

    def holders(
        self, column: Literal["id", "key", "business_key"], values: Collection[str]
    ) -> Sequence[tuple[str, int]]:
        """
        (value, seq) of every entry that has one of these values.

        A business key is `<kind> <type> <business key>` here, of entries without `repeat_of`.
        """

    def poster_keys(self, key_ids: Collection[str]) -> Sequence[StoredPosterKey]:
        """The keys of these ids that are there."""

    def strays(self, size: int) -> Sequence[tuple[str, str]]:
        """
        Tiles and payloads beyond the last entry; events and holds that stand alone.

        Args:
            size: How many entries there are at least; the head may have grown since.

        Returns:
            Check, as `tile.extra`, and words for the row.
        """


Progress = Callable[[int, int], None]
"""Told how many entries were checked, of how many; also while other tables are read."""

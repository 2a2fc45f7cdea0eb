"""Proof reader: checkpoints, receipts, proofs between trees, and tiles, from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, Text, bindparam, select

from ledger.errors import (
    BadReferenceError,
    ChainBreakError,
    DatabaseUnavailableError,
    MalformedProofError,
    NotFoundError,
)
from ledger.ledger_reader import SELECT_RANGE, LedgerReader
from ledger.merkle import LeafIndex, TreeSize, leaf_hash, verify_inclusion
from ledger.receipt import Receipt, TlogProof
from ledger.storage.tables import published
from ledger.storage.tile_rows import read_tiles
from ledger.tiles import TILE_WIDTH, TileCoordinate, entry_bundle, parse_tile_path, partial_width
from ledger.tree import Place, TileCache, Tree

TILES_KEPT = 1_024

SELECT_PUBLISHED = select(published).where(published.c.ledger == bindparam("ledger", type_=Text))


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


class ProofReader(LedgerReader):
    """Builds proofs from stored tiles; keeps those that were used last."""

    def __init__(self, engine: Engine) -> None:
        """Read through connections of `engine`, with the rights of the writer or of the reader."""
        super().__init__(engine)
        self._tiles = TileCache(TILES_KEPT)

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

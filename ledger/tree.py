"""
Tree: proofs of any entry and between any two sizes, from stored tiles.

A tile holds every eighth level of the tree; the nodes between are hashed again from it. Where
tiles are stored, and which sizes may be asked for, is for others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from ledger.errors import ChainBreakError
from ledger.merkle import (
    HASH_BYTES,
    Frontier,
    LeafIndex,
    ReadNode,
    TreeSize,
    build_consistency_proof,
    build_inclusion_proof,
    inclusion_prover,
    node_hash,
)
from ledger.tiles import TILE_WIDTH, partial_width

ReadTile = Callable[[int, int, int], Sequence[bytes]]
"""(level, index, width) -> the first `width` hashes of that tile: leaf hashes at level 0, roots
of the tiles below at others."""

Place = tuple[int, int, int]
"""Level and index of a tile, and how many hashes it has at the size in question."""

ReadTiles = Callable[[Sequence[Place]], Sequence[Sequence[bytes]]]
"""The hashes of each of these tiles, as `ReadTile` has them, on one trip to where they are."""

_T = TypeVar("_T")

TILE_LEVELS = 8
"""Levels of the tree from one level of tiles to the next."""

TILES_KEPT = 256
"""By default; 16 KiB each."""


class TileCache:
    """
    The tiles that were used last, with the nodes inside them. Safe to share between threads.

    A tile of so many hashes never changes, full or not, so nothing here grows old.
    """

    def __init__(self, tiles_max: int = TILES_KEPT) -> None:
        self._tiles_max = tiles_max
        self._tiles: OrderedDict[tuple[str, Place], _Pyramid] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, tree: str, place: Place) -> _Pyramid | None:
        """The tile at this place, if it was kept."""
        with self._lock:
            tile = self._tiles.get((tree, place))
            if tile is not None:
                self._tiles.move_to_end((tree, place))
            return tile

    def put(self, tree: str, place: Place, tile: _Pyramid) -> None:
        """Keep the tile, and let go of the one that was not used for longest."""
        with self._lock:
            self._tiles[tree, place] = tile
            self._tiles.move_to_end((tree, place))
            if len(self._tiles) > self._tiles_max:
                self._tiles.popitem(last=False)


class Tree:
    """
    One ledger's tree, at any size it ever had; as safe to share between threads as `read_tile`.

    Tiles are read once and kept; of a partial one only what the size in question has is read,
    so nothing on the right edge need ever be stored.
    """

    def __init__(
        self,
        read_tile: ReadTile,
        cache: TileCache | None = None,
        *,
        name: str = "",
        read_tiles: ReadTiles | None = None,
    ) -> None:
        """
        Build proofs from what `read_tile` hands in.

        Args:
            read_tile: Asked only for what the tree has at the size in question.
            cache: Shared with other trees; None for one of its own.
            name: Tells this tree from the others that share `cache`.
            read_tiles: Asked once for all tiles of a proof; None reads one after another.
        """
        self._read_tile = read_tile
        self._read_tiles = read_tiles
        self._cache = TileCache() if cache is None else cache
        self._name = name

    def inclusion_proof(self, index: LeafIndex, size: TreeSize) -> list[bytes]:
        """
        Sibling hashes of leaf `index` in the tree of `size`, from the leaf upwards.

        Args:
            index: Below `size`.
            size: At most what the tree has now.

        Raises:
            ChainBreakError: A stored tile lacks hashes; so do all methods.
        """
        return self._build(size, lambda read: build_inclusion_proof(index, size, read))

    def inclusion_prover(self, size: TreeSize) -> Callable[[LeafIndex], list[bytes]]:
        """As `inclusion_proof`, for many leaves of the tree of `size`."""
        return inclusion_prover(size, self._node_reader(size))

    def consistency_proof(self, old: TreeSize, new: TreeSize) -> list[bytes]:
        """The hashes that prove the tree of `old`, at most `new`, a prefix of that of `new`."""
        return self._build(new, lambda read: build_consistency_proof(old, new, read))

    def prove_inclusion(self, index: LeafIndex, size: TreeSize) -> tuple[bytes, bytes, list[bytes]]:
        """Leaf `index`, the root of the tree of `size`, and the proof between them."""

        def build(read: ReadNode) -> tuple[bytes, bytes, list[bytes]]:
            proof = build_inclusion_proof(index, size, read)
            return read(0, index), _frontier(size, read).root(), proof

        return self._build(size, build)

    def prove_consistency(self, old: TreeSize, new: TreeSize) -> tuple[bytes, bytes, list[bytes]]:
        """The roots of `old`, at most `new`, and of `new`, and the proof between them."""

        def build(read: ReadNode) -> tuple[bytes, bytes, list[bytes]]:
            # What is complete in the old tree is so in the new one: its tiles do for both.
            roots = _frontier(old, read).root(), _frontier(new, read).root()
            return *roots, build_consistency_proof(old, new, read)

        return self._build(new, build)

    def root(self, size: TreeSize) -> bytes:
        """Root hash of the tree of `size`, 32 bytes."""
        return self.frontier(size).root()

    def frontier(self, size: TreeSize) -> Frontier:
        """All that is needed to extend the tree of `size`."""
        return self._build(size, lambda read: _frontier(size, read))

    def leaf(self, index: LeafIndex, size: TreeSize) -> bytes:
        """Hash of leaf `index`, below `size`, 32 bytes."""
        return self._node_reader(size)(0, index)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile as they are served: 32 bytes each."""
        return b"".join(self._hashes(level, index, width))

    def _build(self, size: int, build: Callable[[ReadNode], _T]) -> _T:
        """What `build` makes of complete nodes of the tree of `size`."""
        if self._read_tiles is not None:
            self._fetch(_places(size, build), self._read_tiles)
        return build(self._node_reader(size))

    def _fetch(self, places: Sequence[Place], read_tiles: ReadTiles) -> None:
        missing = [place for place in places if self._cache.get(self._name, place) is None]
        # A lone one is read when its turn comes.
        if len(missing) > 1:
            for place, hashes in zip(missing, read_tiles(missing), strict=True):
                self._cache.put(self._name, place, _Pyramid(_checked(place, hashes)))

    def _node_reader(self, size: int) -> ReadNode:
        """A reader of the complete nodes of the tree of `size`."""

        def read_node(level: int, index: int) -> bytes:
            place, height, at = _locate(level, index, size)
            return self._tile(place).node(height, at)

        return read_node

    def _tile(self, place: Place) -> _Pyramid:
        tile = self._cache.get(self._name, place)
        if tile is None:
            # Not under the cache's lock: at worst two threads hash the same tile.
            tile = _Pyramid(self._hashes(*place))
            self._cache.put(self._name, place, tile)
        return tile

    def _hashes(self, level: int, index: int, width: int) -> Sequence[bytes]:
        return _checked((level, index, width), self._read_tile(level, index, width))


def _frontier(size: int, read_node: ReadNode) -> Frontier:
    # The last complete node of each level that is left without a sibling.
    edge = [
        read_node(level, (size >> level) - 1)
        for level in reversed(range(size.bit_length()))
        if size >> level & 1
    ]
    return Frontier(size=size, hashes=tuple(edge))


def _places(size: int, build: Callable[[ReadNode], object]) -> Sequence[Place]:
    """The tiles that `build` looks into, found by letting it build of nothing."""
    places: dict[Place, None] = {}

    def note(level: int, index: int) -> bytes:
        places[_locate(level, index, size)[0]] = None
        return b""

    build(note)
    return list(places)


def _locate(level: int, index: int, size: int) -> tuple[Place, int, int]:
    """The tile of a complete node of the tree of `size`, and the node's height and place in it."""
    tile_level, height = divmod(level, TILE_LEVELS)
    tile_index, first = divmod(index << height, TILE_WIDTH)
    width = partial_width(tile_level, tile_index, size)
    return (tile_level, tile_index, width), height, first >> height


def _checked(place: Place, hashes: Sequence[bytes]) -> Sequence[bytes]:
    level, index, width = place
    if len(hashes) != width:
        raise ChainBreakError(
            f"tile {level}/{index}: expected {width} hashes, found {len(hashes)}",
            level=level,
            index=index,
            expected=width,
            found=len(hashes),
        )
    return hashes


class _Pyramid:
    """The hashes of a tile and, above them, every complete node within it."""

    __slots__ = ("_rows",)

    def __init__(self, hashes: Sequence[bytes]) -> None:
        # A row is one bytes object: a quarter of what a list of hashes takes.
        self._rows = [b"".join(hashes)]
        while len(hashes) > 1:
            hashes = [
                node_hash(left, right)
                for left, right in zip(hashes[::2], hashes[1::2], strict=False)
            ]
            self._rows.append(b"".join(hashes))

    def node(self, height: int, index: int) -> bytes:
        """The complete node that many levels above the hashes."""
        at = index * HASH_BYTES
        return self._rows[height][at : at + HASH_BYTES]

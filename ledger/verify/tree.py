"""
Tree: the Merkle tree over the entries, grown tile by tile, and the roots others know of it.

Every hash is computed once: a full tile is dropped when its root stands in the level above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.merkle import HASH_BYTES, Frontier, root_of
from ledger.tiles import TILE_WIDTH, Tile
from ledger.verify.links import Add

ReadHashes = Callable[[int, int, int], Sequence[bytes]]
"""(level, start, stop) -> stored hashes of a tile level: of entries at 0, roots of tiles above."""

_LEVEL_BITS = 8


class Tree:
    """The partial tiles on the right edge: all that is needed to go on."""

    def __init__(self, size: int = 0, edge: Sequence[Sequence[bytes]] = ()) -> None:
        self.size = size
        self._edge = [list(hashes) for hashes in edge] or [[]]

    @classmethod
    def at(cls, size: int, read_hashes: ReadHashes) -> Tree | None:
        """The tree of the first `size` entries, from stored hashes; None where some are gone."""
        edge = []
        for level in range(-(-max(size, 1).bit_length() // _LEVEL_BITS)):
            stop = size >> (_LEVEL_BITS * level)
            start = stop - stop % TILE_WIDTH
            hashes = read_hashes(level, start, stop)
            if len(hashes) != stop - start:
                return None
            edge.append(hashes)
        return cls(size, edge)

    def extend(self, leaves: Sequence[bytes]) -> list[Tile]:
        """Add leaf hashes; the tiles that became full, each after those it is built of."""
        full: list[Tile] = []
        at = 0
        while at < len(leaves):
            room = TILE_WIDTH - len(self._edge[0])
            run = leaves[at : at + room]
            self._edge[0] += run
            self.size += len(run)
            at += len(run)
            if len(self._edge[0]) == TILE_WIDTH:
                self._close(full)
        return full

    def _close(self, full: list[Tile]) -> None:
        level = 0
        while len(self._edge[level]) == TILE_WIDTH:
            hashes = self._edge[level]
            index = (self.size >> (_LEVEL_BITS * (level + 1))) - 1
            root = root_of(hashes)
            full.append(Tile(level=level, index=index, hashes=b"".join(hashes), root=root))
            self._edge[level] = []
            level += 1
            if level == len(self._edge):
                self._edge.append([])
            self._edge[level].append(root)

    def frontier(self) -> Frontier:
        """The compact range [0, size)."""
        hashes: list[bytes] = []
        for level in reversed(self._edge):
            hashes += Frontier.empty().extend(level).hashes
        return Frontier(size=self.size, hashes=tuple(hashes))

    def root(self) -> bytes:
        """Root over all leaves, 32 bytes."""
        return self.frontier().root()


def check_tiles(
    computed: Sequence[Tile], read: Callable[[Sequence[tuple[int, int]]], Sequence[Tile]], add: Add
) -> None:
    """Compare the tiles that entries give with those that are stored."""
    stored: dict[tuple[int, int], Tile] = {}
    for tile in read([(tile.level, tile.index) for tile in computed]):
        if (tile.level, tile.index) in stored:
            add("tile.twice", _first_entry(tile), f"{_tile_name(tile)} stands twice")
        stored[tile.level, tile.index] = tile
    for tile in computed:
        found = stored.get((tile.level, tile.index))
        if found is None:
            add("tile.missing", _first_entry(tile), f"{_tile_name(tile)} is missing")
            continue
        if found.hashes != tile.hashes:
            at = _first_difference(tile, found)
            seq = _first_entry(tile, at)
            add(
                "tile.hashes",
                seq,
                f"{_tile_name(tile)} holds another hash in place {at} than entry {seq} gives",
            )
        elif found.root != tile.root:
            add(
                "tile.root",
                _first_entry(tile),
                f"{_tile_name(tile)} is stored with another root than its entries give",
            )


def _tile_name(tile: Tile) -> str:
    """A tile as messages call it."""
    return f"tile {tile.level}/{tile.index}"


def _first_entry(tile: Tile, at: int = 0) -> int:
    """The first entry under the hash in place `at`."""
    # A hash of level L stands for 256^L entries.
    return (tile.index * TILE_WIDTH + at) << (_LEVEL_BITS * tile.level)


def _first_difference(one: Tile, other: Tile) -> int:
    """The first place in which two tiles hold different hashes."""
    places = range(0, len(one.hashes), HASH_BYTES)
    return next(
        at // HASH_BYTES
        for at in places
        if one.hashes[at : at + HASH_BYTES] != other.hashes[at : at + HASH_BYTES]
    )

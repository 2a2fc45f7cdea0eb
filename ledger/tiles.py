"""
Tiles: the tree and its entries in files of fixed width, per C2SP tlog-tiles.

Knows names and octets of tiles, and which tiles an append completes. Reading them from
storage and serving them is for others. https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ledger.errors import MalformedProofError
from ledger.merkle import root_of

TILE_WIDTH = 256
"""Hashes of a full tile, and entries of a full bundle."""
LEVEL_MAX = 63
ENTRY_BYTES_MAX = 65_535
"""What the length of an entry in a bundle can say."""

Level = int | Literal["entries"]
"""Level of a hash tile, 0 to 63; or the bundles that hold the entries themselves."""

# Six groups reach beyond 2^56, and no log of 64-bit sizes has a tile further on.
_PATH = re.compile(
    r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCoordinate:
    """What a tile's path says."""

    level: Level
    index: int
    width: int = TILE_WIDTH
    """Hashes or entries in it: 1 to 255 for a partial tile, 256 for a full one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A full tile, which never changes again."""

    level: int
    index: int
    hashes: bytes
    """256 hashes, 8,192 bytes."""
    root: bytes
    """Root over them, 32 bytes: a hash of the tile above."""


def bundles_over(start: int, stop: int) -> range:
    """Indexes of the bundles that hold entries [start, stop)."""
    return range(start // TILE_WIDTH, -(-stop // TILE_WIDTH))


def tile_path(level: Level, index: int, width: int = TILE_WIDTH) -> str:
    """Path of a tile below the log's prefix, such as `tile/0/x001/234.p/5`."""
    assert level == "entries" or 0 <= level <= LEVEL_MAX, f"there is no level {level}"
    assert index >= 0, f"there is no tile {index}"
    assert 1 <= width <= TILE_WIDTH, f"no tile has a width of {width}"
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> TileCoordinate:
    """
    What `path` names, if it is the one path of a tile.

    Raises:
        MalformedProofError: It is not; such a path is never found.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise _not_a_tile(path)
    name, groups, partial = match.groups()
    level: Level = "entries" if name == "entries" else int(name)
    index = int(groups.replace("x", "").replace("/", ""))
    width = TILE_WIDTH if partial is None else int(partial)
    if level != "entries" and level > LEVEL_MAX:
        raise _not_a_tile(path)
    # Leading zeros, and a partial tile of full width, come out in another spelling.
    if not 1 <= width <= TILE_WIDTH or tile_path(level, index, width) != path:
        raise _not_a_tile(path)
    return TileCoordinate(level=level, index=index, width=width)


def _not_a_tile(path: str) -> MalformedProofError:
    return MalformedProofError(f"not the path of a tile: {path[:80]!r}", path=path[:80])


def partial_width(level: Level, index: int, size: int) -> int:
    """How much of tile (level, index) a log of `size` entries fills: 0, absent, to 256."""
    # A hash of level L stands for 256^L entries.
    hashes = size if level == "entries" else size >> (8 * level)
    return min(TILE_WIDTH, max(0, hashes - index * TILE_WIDTH))


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries in order, each after its length as two big-endian bytes."""
    parts = []
    for entry in entries:
        assert len(entry) <= ENTRY_BYTES_MAX, f"an entry of {len(entry)} bytes fits no bundle"
        parts += [len(entry).to_bytes(2), entry]
    return b"".join(parts)


def parse_entry_bundle(data: bytes) -> list[bytes]:
    """
    The entries of a bundle.

    Raises:
        MalformedProofError: It ends within an entry, or has more than 256.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start])
        if at > len(data) or start > len(data):
            raise MalformedProofError(
                f"the bundle ends within entry {len(entries)}", found=len(data)
            )
        entries.append(data[start:at])
    if len(entries) > TILE_WIDTH:
        raise MalformedProofError(
            f"the bundle has {len(entries)} entries, the limit is {TILE_WIDTH}",
            limit=TILE_WIDTH,
            found=len(entries),
        )
    return entries


def completed_tiles(
    size_before: int, leaves: Sequence[bytes], read_partial: Callable[[int, int], Sequence[bytes]]
) -> list[Tile]:
    """
    The full tiles, of all levels, that appending `leaves` brings about.

    Args:
        size_before: Entries in the log before the append.
        leaves: Leaf hashes that are appended.
        read_partial: (level, index) -> the hashes that tile has before the append: leaf
            hashes at level 0, roots of the tiles below at others. Asked only for a tile
            that becomes full, and only if it has some.

    Returns:
        Lower levels first; within a level in order.
    """
    tiles = []
    level, run = 0, list(leaves)
    while run:
        index, filled = divmod(size_before >> (8 * level), TILE_WIDTH)
        if filled + len(run) < TILE_WIDTH:
            break
        if filled:
            present = read_partial(level, index)
            assert len(present) == filled, (
                f"tile {level}/{index} has {filled} hashes at size {size_before}, "
                f"found {len(present)}"
            )
            run = [*present, *run]
        full = [
            _full_tile(level, index + at, run[at * TILE_WIDTH : (at + 1) * TILE_WIDTH])
            for at in range(len(run) // TILE_WIDTH)
        ]
        tiles += full
        level, run = level + 1, [tile.root for tile in full]
    return tiles


def _full_tile(level: int, index: int, hashes: Sequence[bytes]) -> Tile:
    return Tile(level=level, index=index, hashes=b"".join(hashes), root=root_of(hashes))

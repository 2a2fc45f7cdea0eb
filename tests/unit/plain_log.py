"""A log of plain words, as it is served at any size it ever had."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.merkle import Frontier, leaf_hash
from ledger.note import NoteKey
from ledger.tiles import (
    TILE_WIDTH,
    completed_tiles,
    entry_bundle,
    parse_tile_path,
    partial_width,
    tile_path,
)

LEDGER = "shop"
ORIGIN = f"ledger.example/{LEDGER}"
LARGE = 65_536 + 300
"""A full tile of level 1, and a little more."""


class Log:
    """A log as it is served, at one size; remembers what it was asked for."""

    def __init__(self, size: int = LARGE, *, word: str = "entry", origin: str = ORIGIN) -> None:
        self._fill([f"{word} {seq}".encode() for seq in range(size)], origin)

    @classmethod
    def of(cls, entries: list[bytes], *, origin: str = ORIGIN) -> Log:
        """The log of these entries."""
        made = cls.__new__(cls)
        made._fill(entries, origin)
        return made

    def _fill(self, entries: list[bytes], origin: str) -> None:
        seed = bytes([len(origin)]) * 32
        self.key = NoteKey(name=origin, private_key=Ed25519PrivateKey.from_private_bytes(seed))
        self.origin = origin
        self.entries = entries
        self.leaves = [leaf_hash(each) for each in self.entries]
        self.roots: dict[int, list[bytes]] = {-1: self.leaves}
        for tile in completed_tiles(0, self.leaves, lambda _level, _index: ()):
            self.roots.setdefault(tile.level, []).append(tile.root)
        self.size = len(entries)
        self.asked: list[str] = []

    def at(self, size: int) -> Log:
        """The same log when it had `size` entries."""
        earlier = Log.__new__(Log)
        earlier.__dict__ |= self.__dict__ | {"size": size, "asked": []}
        return earlier

    def fetch(self, path: str) -> bytes:
        self.asked.append(path)
        if path == "checkpoint":
            root = Frontier.empty().extend(self.leaves[: self.size]).root()
            return sign_checkpoint(
                Checkpoint(origin=self.origin, size=self.size, root=root), self.key
            )
        tile = parse_tile_path(path)
        assert tile.width <= partial_width(tile.level, tile.index, self.size), f"no {path} yet"
        start = tile.index * TILE_WIDTH
        if tile.level == "entries":
            return entry_bundle(self.entries[start : start + tile.width])
        return b"".join(self.roots[tile.level - 1][start : start + tile.width])

    def files(self) -> dict[str, bytes]:
        """Every file of a copy of it, by its path."""
        paths = ["checkpoint"]
        for level in ("entries", *range((self.size.bit_length() + 7) // 8)):
            hashes = self.size if level == "entries" else self.size >> (8 * level)
            paths += [
                tile_path(level, index, partial_width(level, index, self.size))
                for index in range(-(-hashes // TILE_WIDTH))
            ]
        return {path: self.at(self.size).fetch(path) for path in paths}

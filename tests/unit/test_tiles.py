"""Laws of tiles: one path each, nothing in them but the tree, and each is completed once."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ledger.errors import MalformedProofError
from ledger.tiles import (
    ENTRY_BYTES_MAX,
    LEVEL_MAX,
    TILE_WIDTH,
    TileCoordinate,
    completed_tiles,
    entry_bundle,
    parse_entry_bundle,
    parse_tile_path,
    partial_width,
    tile_path,
)

SIZE = 65_536 + 300
"""One full tile of level 1, and a little more."""
LEAVES = [sha256(b"%d" % at).digest() for at in range(SIZE)]
LEVELS = st.integers(0, LEVEL_MAX) | st.just("entries")


def slow_root(hashes):
    """Of a power of two: pairs, and pairs of pairs."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [sha256(b"\1" + left + right).digest() for left, right in pairs]
    return hashes[0]


# ---- Paths ----------------------------------------------------------------------------


@given(level=LEVELS, index=st.integers(0, 10**18 - 1), width=st.integers(1, TILE_WIDTH))
@example(level=0, index=999, width=TILE_WIDTH)
@example(level=63, index=1000, width=255)
@example(level="entries", index=10**18 - 1, width=1)
def test_a_path_reads_back(level, index, width):
    path = tile_path(level, index, width)

    assert parse_tile_path(path) == TileCoordinate(level=level, index=index, width=width)


def test_a_path_groups_its_digits_by_three():
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path("entries", 0, 5) == "tile/entries/000.p/5"


PATH_LIKE = st.text(st.sampled_from("0123456789x/.p-"), max_size=12)


@given(st.builds("tile/{}{}".format, st.sampled_from(["", "0/", "entries/", "63/"]), PATH_LIKE))
@example("tile/0/x000/x001/000")
@example("tile/0/0000")
@example("tile/0/000.p/256")
@example("tile/0/000.p/256/")
@example("tile/64/000")
@example("tile/07/000")
def test_any_text_is_the_one_path_of_its_tile_or_names_nothing(path):
    try:
        tile = parse_tile_path(path)
    except MalformedProofError:
        return
    assert tile_path(tile.level, tile.index, tile.width) == path


def test_a_refused_path_is_shown_in_part():
    with pytest.raises(MalformedProofError, match="not the path of a tile") as refused:
        parse_tile_path("tile/0/" + "x" * 1000)
    assert refused.value.details["path"] == "tile/0/" + "x" * 73


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)]
)
def test_what_is_no_tile_has_no_path(level, index, width):
    with pytest.raises(AssertionError):
        tile_path(level, index, width)


# ---- Widths ---------------------------------------------------------------------------


@given(size=st.integers(0, 2**63), level=st.integers(0, 7), index=st.integers(0, 2**20))
@example(size=70_000, level=1, index=1)
@example(size=65_536, level=2, index=0)
@example(size=65_535, level=1, index=0)
def test_a_tile_has_as_many_hashes_as_full_tiles_stand_below(size, level, index):
    """tlog-tiles: hash i of tile N stands for the entries from (256 N + i) * 256^L on."""

    def is_full(at):
        return (256 * index + at + 1) * 256**level <= size

    width = partial_width(level, index, size)

    assert 0 <= width <= TILE_WIDTH
    assert width == 0 or is_full(width - 1)
    assert width == TILE_WIDTH or not is_full(width)
    if level == 0:
        assert partial_width("entries", index, size) == width


# ---- Bundles --------------------------------------------------------------------------

bundles = st.lists(st.binary(max_size=6), max_size=8)


@given(bundles)
def test_a_bundle_reads_back(entries):
    assert parse_entry_bundle(entry_bundle(entries)) == entries


@given(st.binary(max_size=40))
def test_any_octets_are_the_one_bundle_of_their_entries_or_refused(data):
    try:
        entries = parse_entry_bundle(data)
    except MalformedProofError:
        return
    assert entry_bundle(entries) == data


@given(entries=bundles, cut=st.integers(0, 60))
def test_a_truncated_bundle_is_refused_or_has_fewer_entries(entries, cut):
    """Never another entry: which ones are there is told by the tile of hashes beside it."""
    data = entry_bundle(entries)
    assume(cut < len(data))
    ends = [len(entry_bundle(entries[:count])) for count in range(len(entries))]
    if cut in ends:
        assert parse_entry_bundle(data[:cut]) == entries[: ends.index(cut)]
    else:
        with pytest.raises(MalformedProofError, match="ends within entry"):
            parse_entry_bundle(data[:cut])


def test_a_bundle_takes_the_longest_entry_and_no_longer_one():
    longest = bytes(ENTRY_BYTES_MAX)

    assert parse_entry_bundle(entry_bundle([longest, b"x"])) == [longest, b"x"]
    with pytest.raises(AssertionError, match="fits no bundle"):
        entry_bundle([longest + b"x"])


def test_a_bundle_has_as_many_entries_as_a_tile_has_hashes():
    assert len(parse_entry_bundle(entry_bundle([b""] * TILE_WIDTH))) == TILE_WIDTH
    with pytest.raises(MalformedProofError, match="has 257 entries, the limit is 256"):
        parse_entry_bundle(entry_bundle([b""] * (TILE_WIDTH + 1)))


# ---- Completed tiles ------------------------------------------------------------------


class Log:
    """Appends as the engine does, and keeps the full tiles it is told of."""

    def __init__(self, size=0):
        self.size = size
        self.tiles = {}
        self.read = []

    def append(self, count):
        tiles = completed_tiles(self.size, LEAVES[self.size : self.size + count], self.read_partial)
        for tile in tiles:
            assert (tile.level, tile.index) not in self.tiles, "a full tile never changes again"
            self.tiles[tile.level, tile.index] = tile
        self.size += count
        return [(tile.level, tile.index) for tile in tiles]

    def read_partial(self, level, index):
        self.read.append((level, index))
        start, stop = index * TILE_WIDTH, self.size >> (8 * level)
        assert start < stop, f"tile {level}/{index} has nothing yet"
        if level == 0:
            return LEAVES[start:stop]
        return [slow_root(LEAVES[at * 256 : (at + 1) * 256]) for at in range(start, stop)]


@given(start=st.integers(0, 600), steps=st.lists(st.integers(0, 700), max_size=6))
@example(start=255, steps=[0, 1, 0, 256])
def test_each_tile_is_completed_once_whatever_the_steps(start, steps):
    log = Log(start)
    for step in steps:
        before, asked = log.size, len(log.read)
        completed = log.append(step)
        # Asked for what the batch completes and did not begin, which is one tile at most.
        begun = [(0, before // 256)] if before % 256 and completed else []
        assert log.read[asked:] == begun

    assert list(log.tiles) == [(0, index) for index in range(start // 256, log.size // 256)]
    for (_, index), tile in log.tiles.items():
        hashes = LEAVES[index * 256 : (index + 1) * 256]
        assert tile.hashes == b"".join(hashes)
        assert tile.root == slow_root(hashes)


@pytest.mark.parametrize("before", [0, 1, 65_024, 65_535])
def test_a_tile_of_tiles_is_completed_with_its_last_tile(before):
    log = Log(before)

    completed = log.append(SIZE - before)

    assert completed == [*((0, at) for at in range(before // 256, 257)), (1, 0)]
    roots = [slow_root(LEAVES[at * 256 : (at + 1) * 256]) for at in range(256)]
    assert log.tiles[1, 0].hashes == b"".join(roots)
    assert log.tiles[1, 0].root == slow_root(LEAVES[:65_536])


def test_a_storage_that_gives_another_number_of_hashes_is_not_believed():
    with pytest.raises(AssertionError, match="tile 0/0 has 250 hashes at size 250, found 249"):
        completed_tiles(250, LEAVES[250:256], lambda _level, _index: LEAVES[:249])

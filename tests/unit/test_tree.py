"""Laws of the tree: every proof from tiles verifies, and full tiles are read once."""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ChainBreakError
from ledger.merkle import EMPTY_ROOT, leaf_hash, root_of, verify_consistency, verify_inclusion
from ledger.tiles import TILE_WIDTH, completed_tiles
from ledger.tree import TileCache, Tree

SIZE = 70_000
"""Beyond 2^16, so that there are tiles of level 2."""


class Tiles:
    """Tiles as they are stored: leaf hashes, full tiles, and roots of full tiles."""

    def __init__(self, size: int) -> None:
        self.leaves = [leaf_hash(b"%d" % seq) for seq in range(size)]
        self.roots: dict[int, list[bytes]] = {}
        for tile in completed_tiles(0, self.leaves, lambda _level, _index: ()):
            self.roots.setdefault(tile.level, []).append(tile.root)
        self.reads: Counter[tuple[int, int, int]] = Counter()

    def read(self, level: int, index: int, width: int) -> list[bytes]:
        self.reads[level, index, width] += 1
        hashes = self.leaves if level == 0 else self.roots[level - 1]
        start = index * TILE_WIDTH
        return hashes[start : start + width]


@pytest.fixture(scope="module")
def stored() -> Tiles:
    return Tiles(SIZE)


@pytest.fixture(scope="module")
def tree(stored) -> Tree:
    return Tree(stored.read)


sizes = st.integers(1, SIZE) | st.sampled_from(
    [size + off for size in (256, 512, 65_536) for off in (-1, 0, 1)]
)


@given(data=st.data(), size=sizes)
def test_every_entry_is_proved_in_every_tree(stored, tree, data, size):
    """Of any size the tree ever had, not only the newest."""
    index = data.draw(st.integers(0, size - 1))

    proof = tree.inclusion_proof(index, size)

    verify_inclusion(stored.leaves[index], index, size, proof, tree.root(size))
    assert tree.leaf(index, size) == stored.leaves[index]


@given(data=st.data(), new=sizes)
def test_any_two_sizes_are_proved_consistent(tree, data, new):
    old = data.draw(st.integers(0, new))

    proof = tree.consistency_proof(old, new)

    verify_consistency(old, new, tree.root(old), tree.root(new), proof)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 1_000, 65_536, 65_537, SIZE])
def test_root_is_that_of_the_leaves(stored, tree, size):
    """What was hashed at one go and what comes from tiles is the same tree."""
    assert tree.root(size) == (root_of(stored.leaves[:size]) if size else EMPTY_ROOT)


def test_tiles_are_read_once_full_or_not(stored):
    reads = Tiles(0)
    reads.leaves, reads.roots = stored.leaves, stored.roots
    tree = Tree(reads.read)

    for _ in range(3):
        tree.inclusion_proof(300, 1_000)

    # Tile 0/1 has the entry; of tile 0/3 the tree of 1,000 has 232, of tile 1/0 three.
    assert reads.reads == {(0, 1, 256): 1, (0, 3, 232): 1, (1, 0, 3): 1}


def test_all_tiles_of_a_proof_are_read_on_one_trip(stored):
    """Of three levels, for both trees at once; a second proof finds them kept."""
    trips: list[list[tuple[int, int, int]]] = []

    def read_tiles(places):
        trips.append(list(places))
        return [stored.read(*place) for place in places]

    def read_tile(*place):
        pytest.fail(f"tile {place} was read on a trip of its own")

    tree = Tree(read_tile, read_tiles=read_tiles)

    for _ in range(2):
        old_root, new_root, proof = tree.prove_consistency(66_001, SIZE)

        verify_consistency(66_001, SIZE, old_root, new_root, proof)
    leaf, root, proof = Tree(read_tile, read_tiles=read_tiles).prove_inclusion(65_000, SIZE)
    verify_inclusion(leaf, 65_000, SIZE, proof, root)
    assert len(trips) == 2
    assert all(len(set(trip)) == len(trip) > 3 for trip in trips)


def test_cache_keeps_what_was_used_last_and_no_more(stored):
    cache = TileCache(tiles_max=2)
    reads = Tiles(0)
    reads.leaves, reads.roots = stored.leaves, stored.roots
    tree = Tree(reads.read, cache)

    for tile in (0, 1, 0, 2, 0):
        tree.leaf(tile * TILE_WIDTH, SIZE)

    assert len(cache) == 2
    assert reads.reads == {(0, 0, 256): 1, (0, 1, 256): 1, (0, 2, 256): 1}
    tree.leaf(TILE_WIDTH, SIZE)
    assert reads.reads[0, 1, 256] == 2


def test_trees_that_share_a_cache_do_not_mix(stored):
    cache = TileCache()
    other = Tiles(0)
    other.leaves = [leaf_hash(b"other %d" % seq) for seq in range(TILE_WIDTH)]

    first = Tree(stored.read, cache, name="first").leaf(7, TILE_WIDTH)
    second = Tree(other.read, cache, name="second").leaf(7, TILE_WIDTH)

    assert (first, second) == (stored.leaves[7], other.leaves[7])


def test_threads_share_a_tree(stored):
    """A cache much smaller than what is used loses and finds tiles all the time."""
    tree = Tree(stored.read, TileCache(tiles_max=3))
    root = tree.root(SIZE)

    def prove(index: int) -> None:
        proof = tree.inclusion_proof(index, SIZE)
        verify_inclusion(stored.leaves[index], index, SIZE, proof, root)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(prove, itertools.islice(range(0, SIZE, 97), 400)))


@pytest.mark.parametrize(
    ("level", "index", "width"), [(0, 0, 256), (0, 3, 7), (1, 0, 256), (2, 0, 1)]
)
def test_served_tiles_are_the_hashes(stored, tree, level, index, width):
    hashes = stored.leaves if level == 0 else stored.roots[level - 1]

    served = tree.tile(level, index, width)

    assert served == b"".join(hashes[index * 256 : index * 256 + width])
    assert len(served) == 32 * width


def test_tile_that_lacks_a_hash_is_said_to():
    """A proof from what is left would prove another tree."""
    stored = Tiles(600)
    del stored.leaves[599]

    with pytest.raises(ChainBreakError, match="tile 0/2: expected 88 hashes, found 87"):
        Tree(stored.read).inclusion_proof(3, 600)

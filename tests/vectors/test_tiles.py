"""Laws of tiles against paths of the specification and a log that Tessera wrote."""

from __future__ import annotations

import pytest

from ledger.checkpoint import open_checkpoint
from ledger.errors import MalformedProofError
from ledger.merkle import (
    HASH_BYTES,
    BatchProver,
    Frontier,
    build_consistency_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import VerifierKey
from ledger.tiles import (
    TILE_WIDTH,
    entry_bundle,
    parse_entry_bundle,
    parse_tile_path,
    partial_width,
    tile_path,
)
from tests.vectors.shared import by_name, read_shared, shared_vectors

PATHS = read_shared("tiles/paths.json")
LOG = shared_vectors() / "tiles/tessera_log"
SIZES = range(9)


def checkpoint_of(size):
    verifier = VerifierKey.parse((LOG / "vkey.txt").read_text("utf-8").strip())
    return open_checkpoint((LOG / f"checkpoint.{size}").read_bytes(), [verifier])


def hashes_of(size):
    """The leaf hashes that the log's tile of this size has."""
    if size == 0:
        return []
    tile = (LOG / tile_path(0, 0, size)).read_bytes()
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


@pytest.mark.parametrize("case", by_name(PATHS["valid"], "path"))
def test_a_tile_has_its_path_and_the_path_its_tile(case):
    width = case.get("width", TILE_WIDTH)
    found = parse_tile_path(case["path"])

    assert tile_path(case["level"], case["index"], width) == case["path"]
    assert (found.level, found.index, found.width) == (case["level"], case["index"], width)


@pytest.mark.parametrize("path", PATHS["invalid"])
def test_a_second_spelling_of_a_path_names_nothing(path):
    with pytest.raises(MalformedProofError):
        parse_tile_path(path)


@pytest.mark.parametrize("size", SIZES)
def test_their_checkpoint_is_our_root_of_their_tile(size):
    hashes = hashes_of(size)
    checkpoint = checkpoint_of(size)

    assert len(hashes) == partial_width(0, 0, size) == size
    assert (checkpoint.size, checkpoint.root) == (size, root_of(hashes))


@pytest.mark.parametrize("size", SIZES[1:])
def test_their_bundle_holds_the_entries_their_tile_was_hashed_from(size):
    bundle = (LOG / tile_path("entries", 0, size)).read_bytes()
    entries = parse_entry_bundle(bundle)

    assert [leaf_hash(entry) for entry in entries] == hashes_of(size)
    assert entry_bundle(entries) == bundle


@pytest.mark.parametrize("size", SIZES[1:])
def test_every_entry_of_theirs_is_proved_under_their_checkpoint(size):
    hashes = hashes_of(size)
    prover = BatchProver(Frontier.empty(), hashes)
    for index, leaf in enumerate(hashes):
        verify_inclusion(leaf, index, size, prover.inclusion_proof(index), checkpoint_of(size).root)


@pytest.mark.parametrize("new", SIZES)
def test_each_checkpoint_of_theirs_continues_those_before_it(new):
    hashes = hashes_of(new)

    def read_node(level, index):
        return root_of(hashes[index << level : (index + 1) << level])

    for old in range(new + 1):
        proof = build_consistency_proof(old, new, read_node)
        verify_consistency(old, new, checkpoint_of(old).root, checkpoint_of(new).root, proof)

"""
Merkle tree hashing and proofs, per RFC 6962 Section 2.1 and RFC 9162 Section 2.1.

Pure functions over bytes: no entry, storage or clock is known here. A node is addressed by
(level, index): it covers the leaves from `index << level` on, up to 2^level of them. It is
complete where the tree has all of them; at most one node per level, on the right edge, is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NewType

from ledger.errors import ConsistencyError, InclusionError, MalformedProofError

LeafIndex = NewType("LeafIndex", int)
"""Zero-based position of a leaf."""
TreeSize = NewType("TreeSize", int)
"""Number of leaves."""

ReadNode = Callable[[int, int], bytes]
"""(level, index) of a complete node -> its hash, 32 bytes."""

HASH_BYTES = 32
# Of a prover: some ten megabytes.
_NODES_KEPT_MAX = 65_536
EMPTY_ROOT = sha256().digest()
"""Root hash of the tree without leaves."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf; its prefix keeps it apart from the hash of a node."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the node over two others."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root hash of the tree with exactly these leaves."""
    return Frontier.empty().extend(leaf_hashes).root()


# ---- Growing --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """
    The right edge of a tree: all that is needed to extend it and to know its root.

    Also called the compact range [0, size).
    """

    size: int
    """Number of leaves."""
    hashes: tuple[bytes, ...]
    """Hashes of the complete subtrees, largest first: one per set bit of `size`."""

    def __post_init__(self) -> None:
        assert len(self.hashes) == self.size.bit_count(), "one hash per set bit of the size"

    @classmethod
    def empty(cls) -> Frontier:
        """The frontier of the tree without leaves."""
        return cls(size=0, hashes=())

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """
        The frontier of a tree of `size` leaves, from what `to_bytes` gave.

        Raises:
            MalformedProofError: The length is not 32 bytes per set bit of `size`.
        """
        expected = size.bit_count() * HASH_BYTES
        if size < 0 or len(data) != expected:
            raise MalformedProofError(
                f"a frontier of size {size} has {expected} bytes, found {len(data)}",
                size=size,
                expected=expected,
                found=len(data),
            )
        hashes = tuple(data[at : at + HASH_BYTES] for at in range(0, expected, HASH_BYTES))
        return cls(size=size, hashes=hashes)

    def to_bytes(self) -> bytes:
        """32 bytes per set bit of the size, largest subtree first."""
        return b"".join(self.hashes)

    def extend(self, leaves: Sequence[bytes]) -> Frontier:
        """The frontier after these leaf hashes, in order."""
        size = self.size + len(leaves)
        # The last complete node of a level that is left without a sibling is in the frontier.
        hashes = [run[-1] for start, run in _grow(self, leaves) if (start + len(run)) & 1]
        return Frontier(size=size, hashes=tuple(reversed(hashes)))

    def root(self) -> bytes:
        """Root hash of the tree, 32 bytes."""
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT


def _grow(base: Frontier, leaves: Sequence[bytes]) -> list[tuple[int, Sequence[bytes]]]:
    """
    For each level, the complete nodes that `leaves` add, as (index of the first, hashes).

    A run begins with the node of the base that still waited for a sibling, if there is one.
    """
    runs: list[tuple[int, Sequence[bytes]]] = []
    waiting = list(base.hashes)
    run: Sequence[bytes] = leaves
    for level in range((base.size + len(leaves)).bit_length()):
        start = base.size >> level
        if start & 1:
            start -= 1
            run = (waiting.pop(), *run)
        runs.append((start, run))
        # Hashed in place and not by node_hash: a call would be a third of the time.
        pairs = zip(run[::2], run[1::2], strict=False)
        run = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return runs


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Hash of the node over complete subtrees of falling size."""
    *larger, folded = hashes
    for left in reversed(larger):
        folded = node_hash(left, folded)
    return folded


class BatchProver:
    """
    Inclusion proofs for leaves that were just appended, in the tree they made.

    Nothing is read: a path leads through the batch and the frontier as it stood before it.
    All proofs share the inner nodes, which are hashed once.
    """

    def __init__(self, base: Frontier, leaves: Sequence[bytes]) -> None:
        self._first = base.size
        self._size = base.size + len(leaves)
        self._levels: list[tuple[int, Sequence[bytes]]] = []
        edge: bytes | None = None
        for start, run in _grow(base, leaves):
            # What is incomplete at this level follows the complete nodes, as their sibling.
            self._levels.append((start, run if edge is None else (*run, edge)))
            if (start + len(run)) & 1:
                edge = run[-1] if edge is None else node_hash(run[-1], edge)

    def inclusion_proof(self, index: LeafIndex) -> list[bytes]:
        """
        Sibling hashes of leaf `index`, from the leaf upwards, 32 bytes each.

        Args:
            index: Position in the whole tree; of a leaf of the batch.

        Source: RFC 9162 Section 2.1.3.1.
        """
        assert self._first <= index < self._size, f"leaf {index} is not of this batch"
        proof = []
        node = int(index)
        for start, hashes in self._levels:
            sibling = (node ^ 1) - start
            # Beyond the right edge there is no sibling: the node is its own parent.
            if sibling < len(hashes):
                proof.append(hashes[sibling])
            node >>= 1
        return proof


# ---- Building proofs from stored nodes ------------------------------------------------


def build_inclusion_proof(index: LeafIndex, size: TreeSize, read_node: ReadNode) -> list[bytes]:
    """
    Sibling hashes of leaf `index` in the tree of `size`, from the leaf upwards.

    Args:
        index: Below `size`.
        size: Any size the tree ever had.
        read_node: Asked for complete nodes only; the right edge is composed of them.

    Source: RFC 9162 Section 2.1.3.1.
    """
    assert 0 <= index < size, f"leaf {index} is not in a tree of {size}"
    return [_read(level, at, size, read_node) for level, at in _path(0, index, size)]


def inclusion_prover(size: TreeSize, read_node: ReadNode) -> Callable[[LeafIndex], list[bytes]]:
    """As `build_inclusion_proof`, for many leaves of one tree: what they share is read once."""
    nodes: dict[tuple[int, int], bytes] = {}

    def prove(index: LeafIndex) -> list[bytes]:
        assert 0 <= index < size, f"leaf {index} is not in a tree of {size}"
        proof = []
        for place in _path(0, index, size):
            node = nodes.get(place)
            if node is None:
                if len(nodes) >= _NODES_KEPT_MAX:
                    nodes.clear()
                node = nodes[place] = _read(*place, size, read_node)
            proof.append(node)
        return proof

    return prove


def build_consistency_proof(old: TreeSize, new: TreeSize, read_node: ReadNode) -> list[bytes]:
    """
    The hashes that prove the tree of `old` leaves a prefix of the tree of `new`.

    Args:
        old: At most `new`. From size 0, and between equal sizes, the proof is empty.
        new: Any size the tree ever had.
        read_node: Asked for complete nodes only; the right edge is composed of them.

    Source: RFC 9162 Section 2.1.4.1.
    """
    assert 0 <= old <= new, f"size {old} is not before size {new}"
    if old in (0, new):
        return []
    level, index = _last_complete(old)
    # Where that subtree is the whole old tree, the verifier has its root.
    opening = [(level, index)] if index else []
    nodes = [*opening, *_path(level, index, new)]
    return [_read(level, at, new, read_node) for level, at in nodes]


def _last_complete(size: int) -> tuple[int, int]:
    """The complete subtree that the tree of `size` ends with; its smallest."""
    level = (size & -size).bit_length() - 1
    return level, (size >> level) - 1


def _path(level: int, index: int, size: int) -> list[tuple[int, int]]:
    """
    Siblings on the way from a node to the root of the tree of `size`.

    A sibling of odd index stands to the right, one of even index to the left.
    """
    nodes = []
    while (size - 1) >> level:
        sibling = index ^ 1
        if sibling << level < size:
            nodes.append((level, sibling))
        level, index = level + 1, index >> 1
    return nodes


def _read(level: int, index: int, size: int, read_node: ReadNode) -> bytes:
    if (index + 1) << level <= size:
        return read_node(level, index)
    # RFC 6962 Section 2.1: an incomplete node is built of complete ones of falling size.
    hashes = []
    start = index << level
    for below in reversed(range(level)):
        if (size - start) >> below:
            hashes.append(read_node(below, start >> below))
            start += 1 << below
    return _fold(hashes)


# ---- Verifying ------------------------------------------------------------------------


def verify_inclusion(
    leaf: bytes, index: LeafIndex, size: TreeSize, proof: Sequence[bytes], root: bytes
) -> None:
    """
    Check that `leaf` is entry `index` of the tree of `size` entries under `root`.

    Args:
        leaf: Leaf hash, 32 bytes.
        index: Zero-based position of the leaf; below `size`.
        size: Entries in the tree, from a checkpoint whose signature was checked.
        proof: Sibling hashes from the leaf upwards, 32 bytes each.
        root: Root hash from the same checkpoint, 32 bytes.

    Raises:
        InclusionError: The index is outside the tree, a hash or the proof has the wrong
            length, or the computed root differs from `root`.

    Source: RFC 9162 Section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise InclusionError(f"entry {index} is not in a tree of {size}", index=index, size=size)
    _check_lengths(InclusionError, itertools.chain((leaf, root), proof))
    path = _path(0, index, size)
    if len(proof) != len(path):
        raise InclusionError(
            f"entry {index} of {size}: expected {len(path)} hashes, found {len(proof)}",
            expected=len(path),
            found=len(proof),
        )
    computed = leaf
    for (_, at), sibling in zip(path, proof, strict=True):
        computed = node_hash(computed, sibling) if at & 1 else node_hash(sibling, computed)
    if computed != root:
        raise InclusionError(
            f"entry {index} of {size}: expected root {root.hex()}, computed {computed.hex()}",
            index=index,
            expected=root.hex(),
            found=computed.hex(),
        )


def verify_consistency(
    old_size: TreeSize,
    new_size: TreeSize,
    old_root: bytes,
    new_root: bytes,
    proof: Sequence[bytes],
) -> None:
    """
    Check that the tree of `new_size` begins with the tree of `old_size`.

    Every tree begins with the empty one: from size 0 the proof must be empty and `old_root`
    the root of the empty tree, and nothing is learnt about `new_root`.

    Args:
        old_size: From a checkpoint that is trusted.
        new_size: From a checkpoint whose signature was checked.
        old_root: Root hash at `old_size`, 32 bytes.
        new_root: Root hash at `new_size`, 32 bytes.
        proof: From `build_consistency_proof` or another log's, 32 bytes each.

    Raises:
        ConsistencyError: The new tree is smaller, a hash or the proof has the wrong length,
            or a computed root differs from the one given.

    Source: RFC 9162 Section 2.1.4.2.
    """
    if not 0 <= old_size <= new_size:
        raise ConsistencyError(
            f"a tree of {new_size} does not extend one of {old_size}", old=old_size, new=new_size
        )
    _check_lengths(ConsistencyError, itertools.chain((old_root, new_root), proof))
    if old_size == 0:
        _check_root("old", EMPTY_ROOT, old_root)
    if old_size == new_size:
        _check_root("new", old_root, new_root)
    if old_size in (0, new_size):
        if proof:
            raise ConsistencyError(
                f"from {old_size} to {new_size}: expected no hashes, found {len(proof)}",
                expected=0,
                found=len(proof),
            )
        return
    level, index = _last_complete(old_size)
    path = _path(level, index, new_size)
    # A power of two is one complete subtree: its root is known, and left out of the proof.
    opening = [old_root] if index == 0 else []
    expected = 1 - len(opening) + len(path)
    if len(proof) != expected:
        raise ConsistencyError(
            f"from {old_size} to {new_size}: expected {expected} hashes, found {len(proof)}",
            expected=expected,
            found=len(proof),
        )
    first, *siblings = [*opening, *proof]
    old_computed = new_computed = first
    for (_, at), sibling in zip(path, siblings, strict=True):
        if at & 1:
            # What stands to the right of the old tree is in the new one only.
            new_computed = node_hash(new_computed, sibling)
        else:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
    _check_root("old", old_root, old_computed)
    _check_root("new", new_root, new_computed)


def _check_root(which: str, expected: bytes, found: bytes) -> None:
    if found != expected:
        raise ConsistencyError(
            f"{which} root: expected {expected.hex()}, found {found.hex()}",
            expected=expected.hex(),
            found=found.hex(),
        )


def _check_lengths(error: type[InclusionError | ConsistencyError], hashes: Iterable[bytes]) -> None:
    for each in hashes:
        if len(each) != HASH_BYTES:
            raise error(
                f"a hash has {HASH_BYTES} bytes, found {len(each)}",
                expected=HASH_BYTES,
                found=len(each),
            )

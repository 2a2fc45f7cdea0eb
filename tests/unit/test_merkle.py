"""
Laws of the tree: one root per history, a proof for every leaf, and no damage goes through.

The referee is a tree that is hashed anew from its definition for every question.
"""

from __future__ import annotations

import itertools
from hashlib import sha256

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ledger import merkle
from ledger.errors import ConsistencyError, InclusionError, MalformedProofError
from ledger.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    BatchProver,
    Frontier,
    build_consistency_proof,
    build_inclusion_proof,
    inclusion_prover,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [sha256(b"\0leaf %d" % at).digest() for at in range(400)]
OTHERS = [sha256(b"\0other %d" % at).digest() for at in range(400)]
SMALL = 20
"""Up to this size, every proof there is gets tried."""


# ---- The tree by its definition: RFC 6962 Section 2.1 ---------------------------------


def split(leaves):
    """The left subtree is the largest full one that leaves something for the right."""
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return left


def slow_root(leaves):
    """MTH."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    left = split(leaves)
    return sha256(b"\1" + slow_root(leaves[:left]) + slow_root(leaves[left:])).digest()


def slow_inclusion(index, leaves):
    """PATH: what stands beside the leaf at each step down, the last step first."""
    beside = []
    while len(leaves) > 1:
        left = split(leaves)
        if index < left:
            beside.append(slow_root(leaves[left:]))
            leaves = leaves[:left]
        else:
            beside.append(slow_root(leaves[:left]))
            leaves, index = leaves[left:], index - left
    return beside[::-1]


def slow_consistency(old, leaves, *, whole=True):
    """SUBPROOF: `whole` while the old tree is a subtree of its own, whose root is known."""
    if old == len(leaves):
        return [] if whole else [slow_root(leaves)]
    left = split(leaves)
    if old <= left:
        return [*slow_consistency(old, leaves[:left], whole=whole), slow_root(leaves[left:])]
    return [*slow_consistency(old - left, leaves[left:], whole=False), slow_root(leaves[:left])]


def read_node(leaves):
    """As a storage gives complete nodes, and those only."""

    def read(level, index):
        start, stop = index << level, (index + 1) << level
        assert stop <= len(leaves), f"node {level}/{index} is not complete at {len(leaves)}"
        return slow_root(leaves[start:stop])

    return read


sizes = st.integers(1, 80) | st.integers(1, len(LEAVES)) | st.sampled_from([128, 255, 256, 257])


@st.composite
def places(draw, least=1):
    """A size and the index of one of its leaves."""
    size = draw(sizes.filter(lambda size: size >= least))
    return draw(st.integers(0, size - 1)), size


@st.composite
def spans(draw):
    """Two sizes, the smaller one first and not 0."""
    old, new = sorted((draw(sizes), draw(sizes)))
    return old, new


# ---- Growing --------------------------------------------------------------------------


def test_leaves_and_nodes_are_hashed_apart():
    """A node's two hashes, taken as an entry, are another leaf: nothing stands at two levels."""
    left, right = LEAVES[:2]

    assert leaf_hash(b"x") == sha256(b"\0x").digest()
    assert node_hash(left, right) == sha256(b"\1" + left + right).digest()
    assert leaf_hash(left + right) != node_hash(left, right)


@given(sizes)
@example(0)
def test_root_is_that_of_the_definition(size):
    assert root_of(LEAVES[:size]) == slow_root(LEAVES[:size])


def test_the_tree_without_leaves_has_a_root_too():
    assert root_of([]) == Frontier.empty().root() == EMPTY_ROOT == sha256(b"").digest()


@given(st.lists(st.integers(0, 60), max_size=6))
def test_a_frontier_grown_in_any_steps_is_the_same(steps):
    frontier = Frontier.empty()
    for step in steps:
        frontier = frontier.extend(LEAVES[frontier.size : frontier.size + step])

    assert frontier.size == sum(steps)
    assert frontier == Frontier.empty().extend(LEAVES[: sum(steps)])
    assert frontier.root() == slow_root(LEAVES[: sum(steps)])


@given(sizes)
@example(0)
def test_a_frontier_is_the_full_subtrees_from_the_largest_on(size):
    subtrees, start = [], 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            subtrees.append(slow_root(LEAVES[start : start + (1 << bit)]))
            start += 1 << bit

    frontier = Frontier.empty().extend(LEAVES[:size])

    assert list(frontier.hashes) == subtrees
    assert frontier.to_bytes() == b"".join(subtrees)
    assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier


@given(size=st.integers(-3, 2**40), octets=st.integers(0, 200))
@example(size=0, octets=32)
@example(size=-1, octets=32)
@example(size=3, octets=63)
def test_a_frontier_of_another_length_is_no_frontier(size, octets):
    assume(size < 0 or octets != size.bit_count() * HASH_BYTES)
    with pytest.raises(MalformedProofError, match=f"found {octets}"):
        Frontier.from_bytes(size, bytes(octets))


def test_a_frontier_without_a_hash_per_bit_is_not_made():
    with pytest.raises(AssertionError):
        Frontier(size=3, hashes=(LEAVES[0],))


# ---- Building -------------------------------------------------------------------------


def test_every_inclusion_proof_of_small_trees_is_that_of_the_definition():
    for size in range(1, SMALL + 1):
        leaves = LEAVES[:size]
        for index in range(size):
            proof = build_inclusion_proof(index, size, read_node(leaves))
            assert proof == slow_inclusion(index, leaves)
            verify_inclusion(leaves[index], index, size, proof, slow_root(leaves))


@pytest.mark.parametrize("kept", [1, 3, 1_000])
def test_a_prover_of_many_leaves_proves_each_as_if_it_were_the_only_one(monkeypatch, kept):
    """However much it keeps; what it keeps it does not read again."""
    monkeypatch.setattr(merkle, "_NODES_KEPT_MAX", kept)
    for size in range(1, SMALL + 1):
        read = []

        def node(level, index, leaves=LEAVES[:size], read=read):
            read.append((level, index))
            return read_node(leaves)(level, index)

        prove = inclusion_prover(size, node)
        for _ in range(2):
            for index in range(size):
                assert prove(index) == slow_inclusion(index, LEAVES[:size])
            first, read[:] = list(read), []
        assert kept < SMALL or not first


def test_every_consistency_proof_of_small_trees_is_that_of_the_definition():
    for new in range(SMALL + 1):
        leaves = LEAVES[:new]
        for old in range(new + 1):
            proof = build_consistency_proof(old, new, read_node(leaves))
            assert proof == (slow_consistency(old, leaves) if old else [])
            verify_consistency(old, new, slow_root(leaves[:old]), slow_root(leaves), proof)


@given(places())
def test_every_leaf_is_proved_from_stored_nodes(place):
    index, size = place
    leaves = LEAVES[:size]

    proof = build_inclusion_proof(index, size, read_node(leaves))

    assert proof == slow_inclusion(index, leaves)
    verify_inclusion(leaves[index], index, size, proof, slow_root(leaves))


@given(spans())
def test_every_continuation_is_proved_from_stored_nodes(span):
    old, new = span
    leaves = LEAVES[:new]

    proof = build_consistency_proof(old, new, read_node(leaves))

    assert proof == slow_consistency(old, leaves)
    verify_consistency(old, new, slow_root(leaves[:old]), slow_root(leaves), proof)


@given(base=st.integers(0, 300), batch=st.integers(1, 40), data=st.data())
@example(base=0, batch=1, data=None)
@example(base=255, batch=2, data=None)
def test_every_leaf_of_a_batch_is_proved_without_reading(base, batch, data):
    leaves = LEAVES[: base + batch]
    prover = BatchProver(Frontier.empty().extend(leaves[:base]), leaves[base:])
    indices = (
        range(base, base + batch)
        if data is None
        else [data.draw(st.integers(base, base + batch - 1), "index")]
    )

    for index in indices:
        proof = prover.inclusion_proof(index)
        assert proof == slow_inclusion(index, leaves)
        verify_inclusion(leaves[index], index, len(leaves), proof, slow_root(leaves))


@pytest.mark.parametrize("index", [-1, 4, 9])
def test_a_leaf_outside_the_batch_is_not_proved(index):
    prover = BatchProver(Frontier.empty().extend(LEAVES[:5]), LEAVES[5:9])
    with pytest.raises(AssertionError, match="not of this batch"):
        prover.inclusion_proof(index)


def test_nothing_is_built_for_what_is_not_in_the_tree():
    def never(level, index):
        raise AssertionError(f"node {level}/{index} was read")

    for index in (-1, 5, 6):
        with pytest.raises(AssertionError, match="not in a tree of 5"):
            build_inclusion_proof(index, 5, never)
    for old in (-1, 6):
        with pytest.raises(AssertionError, match="not before size 5"):
            build_consistency_proof(old, 5, never)


# ---- Damage ---------------------------------------------------------------------------


def flipped(octets, bit):
    damaged = bytearray(octets)
    damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    return bytes(damaged)


def damaged_proofs(proof, at, bit):
    """Name of the damage -> the proof after it."""
    damaged = {
        "lengthened-proof": [*proof, LEAVES[0]],
        "lengthened-in-front": [LEAVES[0], *proof],
        "short-hash-added": [*proof, b""],
    }
    if proof:
        at %= len(proof)
        before, each, after = proof[:at], proof[at], proof[at + 1 :]
        damaged |= {
            "flipped-bit": [*before, flipped(each, bit), *after],
            "dropped-hash": [*before, *after],
            "doubled-hash": [*before, each, each, *after],
            "shortened-hash": [*before, each[:-1], *after],
            "lengthened-hash": [*before, each + b"\0", *after],
            "empty-hash": [*before, b"", *after],
        }
    if len(proof) > 1:
        at = max(at, 1)
        damaged["swapped-hashes"] = [*proof[: at - 1], proof[at], proof[at - 1], *proof[at + 1 :]]
        damaged["reversed-proof"] = proof[::-1]
    return damaged


def goes_through(verify, *claim):
    """Whether a claim is believed; it must be refused by the error that callers expect."""
    refusal = InclusionError if verify is verify_inclusion else ConsistencyError
    try:
        verify(*claim)
    except refusal:
        return False
    return True


bits = st.integers(0, 8 * HASH_BYTES - 1)


@given(place=places(), at=st.integers(0, 9), bit=bits)
def test_no_damaged_proof_includes_a_leaf(place, at, bit):
    index, size = place
    leaves = LEAVES[:size]
    root = slow_root(leaves)
    damaged = damaged_proofs(slow_inclusion(index, leaves), at, bit)

    assert not [
        name
        for name, proof in damaged.items()
        if goes_through(verify_inclusion, leaves[index], index, size, proof, root)
    ]


@given(place=places(), bit=bits, other=st.integers(-2, 500))
def test_no_proof_includes_another_leaf_root_or_place(place, bit, other):
    index, size = place
    leaves = LEAVES[:size]
    leaf, root, proof = leaves[index], slow_root(leaves), slow_inclusion(index, leaves)
    assume(other != index)
    claims = {
        "flipped-leaf": (flipped(leaf, bit), index, size, proof, root),
        "flipped-root": (leaf, index, size, proof, flipped(root, bit)),
        "other-leaf": (OTHERS[index], index, size, proof, root),
        "root-of-other-leaves": (leaf, index, size, proof, slow_root(OTHERS[:size])),
        "other-place": (leaf, other, size, proof, root),
        "place-at-size": (leaf, size, size, proof, root),
        "place-beyond-64-bits": (leaf, index + 2**64, size, proof, root),
        "negative-place": (leaf, index - size, size, proof, root),
        "no-tree": (leaf, 0, 0, proof, root),
        "half-a-leaf": (leaf[:16], index, size, proof, root),
        "half-a-root": (leaf, index, size, proof, root[:16]),
        "no-root": (leaf, index, size, proof, b""),
    }

    assert not [name for name, claim in claims.items() if goes_through(verify_inclusion, *claim)]


@given(span=spans(), at=st.integers(0, 9), bit=bits)
def test_no_damaged_proof_continues_a_tree(span, at, bit):
    old, new = span
    leaves = LEAVES[:new]
    old_root, new_root = slow_root(leaves[:old]), slow_root(leaves)
    damaged = damaged_proofs(slow_consistency(old, leaves), at, bit)

    assert not [
        name
        for name, proof in damaged.items()
        if goes_through(verify_consistency, old, new, old_root, new_root, proof)
    ]


@given(span=spans(), bit=bits, other=st.integers(1, 400))
def test_no_proof_continues_another_tree(span, bit, other):
    old, new = span
    leaves = LEAVES[:new]
    old_root, new_root = slow_root(leaves[:old]), slow_root(leaves)
    proof = slow_consistency(old, leaves)
    claims = {
        "flipped-old-root": (old, new, flipped(old_root, bit), new_root),
        "flipped-new-root": (old, new, old_root, flipped(new_root, bit)),
        "fork": (old, new, slow_root(OTHERS[:old]), new_root),
        "rewritten": (old, new, old_root, slow_root(OTHERS[:new])),
        "half-a-root": (old, new, old_root[:16], new_root),
        "negative-size": (-old, new, old_root, new_root),
        "from-nothing": (0, new, old_root, new_root),
    }
    if old != new:
        claims["rollback"] = (new, old, new_root, old_root)
        claims["same-size"] = (new, new, old_root, new_root)
    if other != old:
        claims["other-old-size"] = (other, new, old_root, new_root)

    assert not [
        name for name, claim in claims.items() if goes_through(verify_consistency, *claim, proof)
    ]


def test_entries_appended_to_a_fork_do_not_continue_the_signed_tree():
    """The attacker builds a flawless proof, of another history."""
    for old, new in itertools.combinations(range(1, SMALL), 2):
        forked = [*LEAVES[: old - 1], *OTHERS[old - 1 : new]]
        proof = slow_consistency(old, forked)
        with pytest.raises(ConsistencyError, match="root: expected"):
            verify_consistency(old, new, slow_root(LEAVES[:old]), slow_root(forked), proof)


@given(size=sizes, root=st.binary(min_size=32, max_size=32))
def test_every_tree_continues_the_empty_one_and_nothing_is_learnt(size, root):
    verify_consistency(0, size, EMPTY_ROOT, root, [])
    with pytest.raises(ConsistencyError, match="expected no hashes, found 1"):
        verify_consistency(0, size, EMPTY_ROOT, root, [root])
    assume(root != EMPTY_ROOT)
    with pytest.raises(ConsistencyError, match="old root"):
        verify_consistency(0, size, root, root, [])


def test_a_refusal_says_what_was_expected_and_what_was_found():
    proof = slow_inclusion(4, LEAVES[:7])
    with pytest.raises(InclusionError, match="entry 4 of 7: expected 3 hashes, found 2") as short:
        verify_inclusion(LEAVES[4], 4, 7, proof[1:], slow_root(LEAVES[:7]))
    assert short.value.details == {"expected": 3, "found": 2}

    with pytest.raises(InclusionError) as other:
        verify_inclusion(LEAVES[4], 4, 7, proof, EMPTY_ROOT)
    assert other.value.details == {
        "index": 4,
        "expected": EMPTY_ROOT.hex(),
        "found": slow_root(LEAVES[:7]).hex(),
    }

    with pytest.raises(ConsistencyError, match="a tree of 5 does not extend one of 6"):
        verify_consistency(6, 5, EMPTY_ROOT, EMPTY_ROOT, [])

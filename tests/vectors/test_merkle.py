"""
Laws of the tree against trees of others: transparency-dev's probes and reference, Go's tlog.

Each proof is verified, and built again in both of our ways; the bytes must be theirs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from ledger.checkpoint import open_checkpoint
from ledger.errors import ConsistencyError, InclusionError
from ledger.merkle import (
    EMPTY_ROOT,
    BatchProver,
    Frontier,
    build_consistency_proof,
    build_inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import VerifierKey
from tests.vectors.shared import by_name, read_shared

INCLUSION = read_shared("merkle/inclusion_probes.json")
CONSISTENCY = read_shared("merkle/consistency_probes.json")
REFERENCE = read_shared("merkle/reference_tree_8.json")
GOLDEN = read_shared("merkle/xmod_golden.json")
LEAVES = [leaf_hash(f'{{"n":{at},"set":"dev"}}'.encode()) for at in range(1000)]


def octets(hashes):
    return [base64.b64decode(each) for each in hashes or ()]


def read_node(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    def read(level: int, index: int) -> bytes:
        start, stop = index << level, (index + 1) << level
        assert stop <= len(leaves), f"node {level}/{index} is not complete"
        return root_of(leaves[start:stop])

    return read


# ---- Probes ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", by_name(INCLUSION, "file"))
def test_inclusion_probes_hold_or_are_refused(case):
    leaf, root, *proof = octets([case["leafHash"], case["root"], *(case["proof"] or ())])

    def verify():
        verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)

    if case["wantErr"]:
        with pytest.raises(InclusionError):
            verify()
    else:
        verify()


@pytest.mark.parametrize("case", by_name(CONSISTENCY, "file"))
def test_consistency_probes_hold_or_are_refused(case):
    old_root, new_root, *proof = octets([case["root1"], case["root2"], *(case["proof"] or ())])

    def verify():
        verify_consistency(case["size1"], case["size2"], old_root, new_root, proof)

    if case["wantErr"]:
        with pytest.raises(ConsistencyError):
            verify()
    else:
        verify()


# ---- The reference tree ---------------------------------------------------------------


def test_the_reference_tree_grows_root_by_root():
    inputs = [bytes.fromhex(each) for each in REFERENCE["leaf_inputs_hex"]]
    hashes = [leaf_hash(each) for each in inputs]

    assert [each.hex() for each in hashes] == REFERENCE["leaf_hashes_hex"]
    assert EMPTY_ROOT.hex() == REFERENCE["empty_root_hex"]
    frontier, roots = Frontier.empty(), []
    for each in hashes:
        frontier = frontier.extend([each])
        roots.append(frontier.root().hex())
    assert roots == REFERENCE["roots_hex_by_size_1_to_8"]


# ---- Go's trees, up to a thousand leaves ----------------------------------------------


@pytest.mark.parametrize("head", GOLDEN["heads"], ids=lambda head: str(head["size"]))
def test_the_golden_heads_are_our_roots_under_their_signatures(head):
    log = VerifierKey.parse(GOLDEN["log_vkey"])
    witness = VerifierKey.parse(GOLDEN["witness_vkey"])

    assert root_of(LEAVES[: head["size"]]).hex() == head["root"]
    for note, verifiers in (
        (head["checkpoint"], [log]),
        (head["cosigned_checkpoint"], [log, witness]),
    ):
        checkpoint = open_checkpoint(note.encode(), verifiers)
        assert (checkpoint.origin, checkpoint.size, checkpoint.root.hex()) == (
            GOLDEN["origin"],
            head["size"],
            head["root"],
        )


@pytest.mark.parametrize(
    "case", GOLDEN["inclusion"], ids=lambda case: f"{case['index']}-of-{case['tree_size']}"
)
def test_golden_inclusion_proofs_are_the_ones_we_build(case):
    index, size = case["index"], case["tree_size"]
    leaves, proof = LEAVES[:size], [bytes.fromhex(each) for each in case["proof"]]
    leaf = leaf_hash(case["leaf"].encode())

    verify_inclusion(leaf, index, size, proof, bytes.fromhex(case["root"]))
    assert build_inclusion_proof(index, size, read_node(leaves)) == proof
    for start in {0, index // 2, index}:
        prover = BatchProver(Frontier.empty().extend(leaves[:start]), leaves[start:])
        assert prover.inclusion_proof(index) == proof


@pytest.mark.parametrize(
    "case", GOLDEN["consistency"], ids=lambda case: f"{case['size1']}-to-{case['size2']}"
)
def test_golden_consistency_proofs_are_the_ones_we_build(case):
    old, new = case["size1"], case["size2"]
    proof = [bytes.fromhex(each) for each in case["proof"]]
    old_root, new_root = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])

    verify_consistency(old, new, old_root, new_root, proof)
    assert build_consistency_proof(old, new, read_node(LEAVES[:new])) == proof

"""Laws of proof text against proofs of another program, which also refused the damaged ones."""

from __future__ import annotations

import pytest

from ledger.errors import InclusionError, MalformedProofError, SignatureError
from ledger.merkle import leaf_hash
from ledger.note import VerifierKey
from ledger.receipt import parse_tlog_proof, verify_tlog_proof
from tests.vectors.shared import by_name, read_shared

PROOFS = read_shared("tlog_proof/proofs.json")
GOOD = [case for case in PROOFS["cases"] if case["expect"] == "valid"]
DAMAGED = [case for case in PROOFS["cases"] if case["expect"] == "invalid"]
LOG = VerifierKey.parse(PROOFS["log_vkey"])
WITNESS = VerifierKey.parse(PROOFS["witness_vkey"])

REFUSED_AS = {
    "entry-changed-one-byte": InclusionError,
    "header-missing": MalformedProofError,
    "header-wrong-version": MalformedProofError,
    "index-plus-one": InclusionError,
    "index-negative": MalformedProofError,
    "proof-hashes-swapped": InclusionError,
    "proof-hash-removed": InclusionError,
    "proof-hash-inserted": InclusionError,
    "proof-hash-31-bytes": MalformedProofError,
    "blank-line-missing": MalformedProofError,
    "checkpoint-size-changed": SignatureError,
    "witness-cosignature-dropped-but-required": SignatureError,
    "log-signature-dropped": SignatureError,
    "cosignature-timestamp-changed": SignatureError,
}


def verify(case, quorum=1):
    return verify_tlog_proof(
        parse_tlog_proof(case["tlog_proof"]),
        leaf_hash(case["entry"].encode()),
        [LOG],
        witnesses=[WITNESS],
        quorum=quorum,
    )


@pytest.mark.parametrize("case", GOOD, ids=lambda case: str(PROOFS["cases"].index(case)))
def test_their_proofs_hold_and_are_written_as_we_would_write_them(case):
    place = verify(case)
    proof = parse_tlog_proof(case["tlog_proof"])

    assert case["entry"] == f'{{"n":{place.index},"set":"dev"}}'
    assert (place.level, place.witnesses) == ("cosigned", (WITNESS.name,))
    assert proof.extra in (None, b"receipt extra")
    assert proof.encode() == case["tlog_proof"]


@pytest.mark.parametrize("case", by_name(DAMAGED))
def test_each_damage_is_refused_for_what_it_is(case):
    with pytest.raises(REFUSED_AS[case["name"]]) as refused:
        verify(case)
    assert refused.type is REFUSED_AS[case["name"]]


def test_a_proof_without_its_witness_is_good_for_who_asks_for_none():
    [case] = [case for case in DAMAGED if case["name"].startswith("witness-")]

    assert verify(case, quorum=0).level == "log-signed"

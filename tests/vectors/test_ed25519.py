"""
Laws of Ed25519 at its edges: which odd signatures are good is known, and does not drift.

The verifier is OpenSSL's. It refuses points that are encoded in a second way and residues of
low order, and takes the rest of what C2SP's collection tries; a release that decided otherwise
would make old receipts good or bad over night.
"""

from __future__ import annotations

import pytest

from ledger.errors import SignatureError
from ledger.note import ED25519, VerifierKey, key_id
from tests.vectors.shared import read_shared

CASES = read_shared("ed25519/cctv_even.json")
NAME = "edge.example"
REFUSED = frozenset({"non_canonical_R", "low_order_residue"})


def is_good(case):
    public_key = bytes.fromhex(case["key"])
    verifier = VerifierKey(
        name=NAME,
        key_id=key_id(NAME, ED25519, public_key),
        algorithm=ED25519,
        public_key=public_key,
    )
    try:
        verifier.verify(case["msg"], bytes.fromhex(case["sig"]))
    except SignatureError:
        return False
    return True


def test_exactly_second_encodings_and_low_order_residues_are_refused():
    """Other oddities, such as keys of low order, make no signature bad by themselves."""
    refused = {case["number"] for case in CASES if not is_good(case)}
    expected = {case["number"] for case in CASES if REFUSED.intersection(case["flags"] or ())}

    assert refused == expected
    assert 0 < len(refused) < len(CASES)


@pytest.mark.parametrize("flag", ["low_order_A", "low_order_R", "non_canonical_A", "reencoded_k"])
def test_an_oddity_is_taken_where_it_stands_without_the_refused_ones(flag):
    tolerated = [
        case
        for case in CASES
        if flag in (case["flags"] or ()) and not REFUSED.intersection(case["flags"])
    ]

    assert tolerated
    assert all(map(is_good, tolerated))

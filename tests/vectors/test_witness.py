"""Laws of witnessing against what other programs signed, accepted, refused and answered."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ledger.checkpoint import parse_checkpoint
from ledger.cosignature import cosignatures_of, ed25519_cosigner, ml_dsa_44_cosigner
from ledger.errors import SignatureError, VerificationError
from ledger.merkle import leaf_hash
from ledger.note import VerifierKey, dated_tree, open_note, parse_note
from ledger.policy import parse_policy
from ledger.receipt import parse_tlog_proof, verify_tlog_proof
from ledger.signing.keys import load_signing_key
from ledger.witness.protocol import (
    Cosigned,
    encode_answer,
    parse_add_checkpoint,
    parse_answer,
)
from ledger.witness.store import WitnessStore
from ledger.witness.witness import Witness, read_logs
from tests.vectors.shared import by_name, read_shared

ML_DSA = read_shared("notes/mldsa44_cosignatures.json")
PROOFS = read_shared("tlog_proof/proofs.json")
RECORDED = read_shared("witness/add_checkpoint_recorded.json")
EXCHANGES = RECORDED["exchanges_in_order"]
CLOCK = SimpleNamespace(now=lambda: datetime(2026, 11, 25, tzinfo=UTC))

# ---- ML-DSA-44 ------------------------------------------------------------------------


@pytest.mark.parametrize("case", ML_DSA["cases"], ids=lambda case: f"{case['name']}-{case['size']}")
def test_a_post_quantum_cosignature_is_good_where_others_say_so(case):
    log, witness = (VerifierKey.parse(ML_DSA[key]) for key in ("log_vkey", "witness_vkey"))
    note = case["note"].encode()
    if case["expect"] == "invalid":
        with pytest.raises(SignatureError, match=r"mldsa-dev.* did not sign this text"):
            open_note(note, [log, witness])
        return

    opened = open_note(note, [log, witness])
    [cosignature] = cosignatures_of(opened, [witness])

    assert parse_checkpoint(opened.text).size == case["size"]
    message = dated_tree(witness.name, cosignature.time, opened.text)
    assert message.hex() == case["signed_message_hex"]


# ---- A policy -------------------------------------------------------------------------


def verify_under(policy, proof, leaf):
    """As a receipt is verified: the policy accepts the tree, and the leaf is in it."""
    accepted = policy.verify(proof.checkpoint_note)
    return verify_tlog_proof(
        proof,
        leaf,
        [log.verifier for log in policy.logs],
        witnesses=[each.witness for _, each in accepted.cosignatures],
    )


@pytest.mark.parametrize("case", PROOFS["cases"], ids=lambda case: str(PROOFS["cases"].index(case)))
def test_a_proof_holds_under_a_policy_exactly_where_others_say_so(case):
    policy = parse_policy(PROOFS["policy"].encode())
    leaf = leaf_hash(case["entry"].encode())
    if case["expect"] == "valid":
        proof = parse_tlog_proof(case["tlog_proof"])
        assert verify_under(policy, proof, leaf).level == "cosigned"
        return
    with pytest.raises(VerificationError):
        verify_under(policy, parse_tlog_proof(case["tlog_proof"]), leaf)


# ---- Exchanges with another witness ---------------------------------------------------


@pytest.mark.parametrize("exchange", by_name(EXCHANGES))
def test_what_was_asked_of_another_witness_and_answered_by_it_reads_back(exchange):
    request = parse_add_checkpoint(exchange["request"].encode())
    answer = parse_answer(
        exchange["status"], exchange["content_type"], exchange["response"].encode()
    )

    assert request.encode().decode() == exchange["request"]
    assert encode_answer(answer) == (
        exchange["status"],
        exchange["content_type"],
        exchange["response"].encode(),
    )
    if isinstance(answer, Cosigned):
        # As the client does: its lines under our text, and only good ones are kept.
        witness = VerifierKey.parse(RECORDED["witness_vkey"])
        text = parse_note(request.note).text
        opened = open_note(f"{text}\n{exchange['response']}".encode(), [witness])
        assert len(cosignatures_of(opened, [witness])) == 1


def test_our_witness_answers_as_the_recorded_one_did(tmp_path):
    """In the same order, for each answer depends on the ones before it."""
    cosigner = ed25519_cosigner("w.example", load_signing_key(None, tmp_path / "key.pem"))
    post_quantum = ml_dsa_44_cosigner("w.example", bytes(32))
    witness = Witness(
        keys=[cosigner, post_quantum],
        logs=read_logs([RECORDED["log_vkey"]]),
        store=WitnessStore(tmp_path / "memory.sqlite"),
        clock=CLOCK,
    )
    for exchange in EXCHANGES:
        body = exchange["request"].encode()
        status, media_type, answer = encode_answer(witness.add_checkpoint(body))

        assert (status, media_type) == (exchange["status"], exchange["content_type"]), exchange
        if status == 409:
            assert answer.decode() == exchange["response"]
        if status == 200:
            text = parse_note(parse_add_checkpoint(body).note).text
            keys = [cosigner.verifier, post_quantum.verifier]
            opened = open_note(f"{text}\n".encode() + answer, keys)
            assert [each.witness for each in cosignatures_of(opened, keys)] == keys

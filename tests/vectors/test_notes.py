"""Laws of signed notes against notes that other logs and witnesses signed."""

from __future__ import annotations

import pytest

from ledger.checkpoint import open_checkpoint, parse_checkpoint
from ledger.errors import MalformedProofError, SignatureError
from ledger.note import ED25519, ED25519_COSIGNATURE, VerifierKey, open_note, parse_note
from tests.vectors.shared import by_name, read_shared

NOTES = read_shared("notes/signed_notes.json")
OPENED = [case for case in NOTES if case["open"] == "valid"]
REFUSED = [case for case in NOTES if case["open"] == "invalid"]
VKEYS = read_shared("notes/vkeys.json")
# ECDSA keys have their id from another encoding; no ledger and no witness of ours has one.
KNOWN_ALGORITHMS = {ED25519, ED25519_COSIGNATURE}
REFUSED_AS = {
    "text-size-changed": SignatureError,
    "wrong-key-name": SignatureError,
    "no-blank-line": MalformedProofError,
    "crlf": MalformedProofError,
    "trailing-space-on-signature-line": MalformedProofError,
    # Its base64 has spare bits that are not zero: one more spelling of other octets.
    "sigsum-bad-signature": MalformedProofError,
}


def keys_of(case):
    return [VerifierKey.parse(vkey) for vkey in case["vkeys"]]


@pytest.mark.parametrize("case", by_name(OPENED))
def test_a_note_opens_to_its_good_signatures_and_leaves_out_the_unknown(case):
    data = case["note"].encode()
    note = open_note(data, keys_of(case))
    found = parse_note(data)

    assert len(note.signatures) == case["verified_signatures"]
    assert len(found.signatures) - len(note.signatures) == case["unverified_signatures"]
    assert found.encode() == data


@pytest.mark.parametrize("case", by_name(REFUSED))
def test_a_note_that_others_refuse_is_refused(case):
    with pytest.raises(REFUSED_AS[case["name"]]) as refused:
        open_note(case["note"].encode(), keys_of(case))
    assert refused.type is REFUSED_AS[case["name"]]


@pytest.mark.parametrize("case", by_name(OPENED))
def test_the_text_of_a_note_is_a_checkpoint_where_others_find_one(case):
    text = parse_note(case["note"].encode()).text
    if case["checkpoint"] != "valid":
        with pytest.raises(MalformedProofError):
            parse_checkpoint(text)
        return
    checkpoint = parse_checkpoint(text)
    assert checkpoint.encode() == text
    assert (checkpoint.origin, str(checkpoint.size)) == tuple(text.split("\n")[:2])


@pytest.mark.parametrize(
    ("name", "speaks_for_the_origin"),
    [
        ("rekor-v2-alpha1", True),
        ("sigsum-size-1", True),
        ("extension-line-present", True),
        ("unknown-extra-signature-ignored", True),
        # A witness alone says nothing for the log, and Go's old log names its key otherwise.
        ("skylight-witness-cosigned", False),
        ("sumdb-checkpoint", False),
    ],
)
def test_only_a_key_named_like_the_origin_speaks_for_it(name, speaks_for_the_origin):
    [case] = [case for case in NOTES if case["name"] == name]
    if speaks_for_the_origin:
        checkpoint = open_checkpoint(case["note"].encode(), keys_of(case))
        assert checkpoint.origin == keys_of(case)[0].name
        return
    with pytest.raises(SignatureError, match="no signature by a key of"):
        open_checkpoint(case["note"].encode(), keys_of(case))


@pytest.mark.parametrize("case", VKEYS, ids=lambda case: f"{case['name']}-{case['key_id_hex']}")
def test_a_verifier_key_reads_back_or_is_refused_for_what_is_wrong(case):
    if not case["key_id_matches"]:
        with pytest.raises(MalformedProofError, match="expected key id"):
            VerifierKey.parse(case["vkey"])
        return
    if case["type"] not in KNOWN_ALGORITHMS:
        with pytest.raises(MalformedProofError, match=f"algorithm {case['type']:#04x}"):
            VerifierKey.parse(case["vkey"])
        return
    key = VerifierKey.parse(case["vkey"])

    assert (key.name, key.key_id.hex(), key.algorithm, len(key.public_key)) == (
        case["name"],
        case["key_id_hex"],
        case["type"],
        case["key_len"],
    )
    assert key.encode() == case["vkey"]

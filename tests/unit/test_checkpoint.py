"""Laws of checkpoints: one text per tree, and only the log's own key speaks for its origin."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import (
    SIZE_MAX,
    Checkpoint,
    open_checkpoint,
    parse_checkpoint,
    read_checkpoint,
    sign_checkpoint,
)
from ledger.errors import MalformedProofError, SignatureError
from ledger.merkle import EMPTY_ROOT
from ledger.note import ED25519_COSIGNATURE, NoteKey, Signature, VerifierKey, key_id, open_note

ORIGIN = "log.example/orders"
KEY = NoteKey(name=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32))
SECOND_KEY = NoteKey(name=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(b"M" * 32))
STRANGER = NoteKey(name="log.example/others", private_key=KEY.private_key)
CHECKPOINT = Checkpoint(origin=ORIGIN, size=7, root=bytes(range(32)))
ROOT = base64.b64encode(bytes(range(32))).decode()
TEXT = f"{ORIGIN}\n7\n{ROOT}\n"


def cosigner(name):
    """A witness, which may bear any name."""
    private_key = Ed25519PrivateKey.from_private_bytes(b"W" * 32)
    public_key = private_key.public_key().public_bytes_raw()
    verifier = VerifierKey(
        name=name,
        key_id=key_id(name, ED25519_COSIGNATURE, public_key),
        algorithm=ED25519_COSIGNATURE,
        public_key=public_key,
    )
    signature = private_key.sign(f"cosignature/v1\ntime 5\n{TEXT}".encode())
    line = Signature(
        name=name, key_id=verifier.key_id, signature=(5).to_bytes(8) + signature
    ).encode()
    return verifier, line.encode()


NOTE = sign_checkpoint(CHECKPOINT, KEY)

lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1)
checkpoints = st.builds(
    Checkpoint,
    origin=lines,
    size=st.integers(0, SIZE_MAX),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(lines, max_size=3).map(tuple),
)


# ---- Text -----------------------------------------------------------------------------


def test_a_checkpoint_is_three_lines():
    assert CHECKPOINT.encode() == TEXT
    assert parse_checkpoint(TEXT) == CHECKPOINT


@given(checkpoints)
def test_a_checkpoint_reads_back(checkpoint):
    assert parse_checkpoint(checkpoint.encode()) == checkpoint


@given(st.text(st.characters(), max_size=60) | lines.map(lambda line: f"{line}\n7\n{ROOT}\n{line}"))
def test_any_text_is_a_checkpoint_of_one_spelling_or_refused_by_our_error(text):
    try:
        checkpoint = parse_checkpoint(text)
    except MalformedProofError:
        return
    assert checkpoint.encode() == text


@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_sizes_reach_to_63_bits(size):
    assert parse_checkpoint(TEXT.replace("\n7\n", f"\n{size}\n")).size == size


NOT_A_CHECKPOINT = {
    "nothing": "",
    "origin-alone": f"{ORIGIN}\n",
    "origin-missing": TEXT.removeprefix(ORIGIN),
    "size-missing": TEXT.replace("\n7", ""),
    "size-empty": TEXT.replace("\n7\n", "\n\n"),
    "size-negative": TEXT.replace("\n7\n", "\n-7\n"),
    "size-with-plus": TEXT.replace("\n7\n", "\n+7\n"),
    "size-with-leading-zero": TEXT.replace("\n7\n", "\n07\n"),
    "size-with-space": TEXT.replace("\n7\n", "\n7 \n"),
    "size-in-hexadecimal": TEXT.replace("\n7\n", "\n0x7\n"),
    "size-in-other-digits": TEXT.replace("\n7\n", "\n\N{ARABIC-INDIC DIGIT SEVEN}\n"),
    "size-of-64-bits": TEXT.replace("\n7\n", f"\n{2**63}\n"),
    "size-of-a-hundred-digits": TEXT.replace("\n7\n", f"\n{'7' * 100}\n"),
    "root-missing": f"{ORIGIN}\n7\n",
    "root-without-line-end": TEXT.removesuffix("\n"),
    "root-not-base64": TEXT.replace(ROOT, "?" * 44),
    "root-without-padding": TEXT.replace("=\n", "\n"),
    "root-with-spare-bits": TEXT.replace("8=\n", "9=\n"),
    "root-a-byte-short": TEXT.replace(ROOT, base64.b64encode(bytes(31)).decode()),
    "root-a-byte-long": TEXT.replace(ROOT, base64.b64encode(bytes(33)).decode()),
    "line-ends-of-windows": TEXT.replace("\n", "\r\n"),
    "empty-extension": TEXT + "\n",
    "extension-without-line-end": TEXT + "more",
    "empty-extension-in-between": TEXT + "more\n\nmore\n",
}


@pytest.mark.parametrize("text", NOT_A_CHECKPOINT.values(), ids=NOT_A_CHECKPOINT)
def test_what_is_not_a_checkpoint_is_refused(text):
    assert text != TEXT
    with pytest.raises(MalformedProofError):
        parse_checkpoint(text)


# ---- Signatures -----------------------------------------------------------------------


def test_what_was_signed_is_opened():
    assert NOTE.decode() == f"{TEXT}\n{KEY.sign(TEXT)}"
    assert open_checkpoint(NOTE, [KEY.verifier]) == CHECKPOINT


def test_the_empty_tree_is_signed_too():
    empty = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)

    assert open_checkpoint(sign_checkpoint(empty, KEY), [KEY.verifier]) == empty


def test_a_key_signs_for_its_own_origin_and_without_extensions_only():
    with pytest.raises(AssertionError, match="does not sign for"):
        sign_checkpoint(CHECKPOINT, STRANGER)
    extended = Checkpoint(origin=ORIGIN, size=7, root=CHECKPOINT.root, extensions=("more",))
    with pytest.raises(AssertionError, match="may refuse extension lines"):
        sign_checkpoint(extended, KEY)


def test_a_rotated_log_is_opened_with_either_key():
    both = NOTE + SECOND_KEY.sign(TEXT).encode()
    for verifiers in ([KEY.verifier], [SECOND_KEY.verifier], [KEY.verifier, SECOND_KEY.verifier]):
        assert open_checkpoint(both, verifiers) == CHECKPOINT


def test_the_key_of_another_log_does_not_speak_for_the_origin():
    signed_by_stranger = f"{TEXT}\n{STRANGER.sign(TEXT)}".encode()
    with pytest.raises(SignatureError, match=f"no signature by a key of {ORIGIN}"):
        open_checkpoint(signed_by_stranger, [STRANGER.verifier])
    with pytest.raises(SignatureError, match="no signature by a known key"):
        open_checkpoint(signed_by_stranger, [KEY.verifier])


@pytest.mark.parametrize("name", ["witness.example", ORIGIN], ids=["own-name", "name-of-the-log"])
def test_a_witness_does_not_speak_for_the_origin_whatever_its_name(name):
    verifier, line = cosigner(name)
    cosigned = NOTE + line
    alone = f"{TEXT}\n".encode() + line

    assert open_checkpoint(cosigned, [KEY.verifier, verifier]) == CHECKPOINT
    for note in (alone, cosigned):
        with pytest.raises(SignatureError, match="no signature by a key of"):
            open_checkpoint(note, [verifier])
    with pytest.raises(SignatureError, match="no signature by a key of"):
        open_checkpoint(alone, [KEY.verifier, verifier])


def test_a_key_that_is_trusted_and_did_not_sign_opens_nothing():
    verifier, line = cosigner("witness.example")
    opened = open_note(NOTE + line, [verifier])
    with pytest.raises(SignatureError):
        read_checkpoint(opened, [KEY.verifier])


def test_a_signed_text_that_is_no_checkpoint_is_none():
    text = "hello\n"
    with pytest.raises(MalformedProofError, match="lines for origin, size and root"):
        open_checkpoint(f"{text}\n{KEY.sign(text)}".encode(), [KEY.verifier])

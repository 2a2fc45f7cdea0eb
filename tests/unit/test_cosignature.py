"""Laws of cosignatures: a line says who saw which tree when, and says nothing else."""

from __future__ import annotations

import base64
import sys
from types import SimpleNamespace

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.checkpoint import SIZE_MAX, Checkpoint
from ledger.cosignature import (
    CosignerKey,
    cosignatures_of,
    ed25519_cosigner,
    is_checkable,
    ml_dsa_44_cosigner,
)
from ledger.errors import MalformedProofError, SettingsError, SignatureError
from ledger.note import (
    ED25519,
    ML_DSA_44_COSIGNATURE,
    NoteKey,
    Signature,
    VerifierKey,
    open_note,
)

LOG = NoteKey(name="log.example/shop", private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32))
NAME = "witness.example/w1"
TODAY = ed25519_cosigner(NAME, Ed25519PrivateKey.from_private_bytes(b"W" * 32))
TOMORROW = ml_dsa_44_cosigner(NAME, b"Q" * 32)
OTHER = ed25519_cosigner("other.example", Ed25519PrivateKey.from_private_bytes(b"O" * 32))
BOTH = pytest.mark.parametrize("key", [TODAY, TOMORROW], ids=["ed25519", "ml-dsa-44"])
TEXT = Checkpoint(origin=LOG.name, size=7, root=b"r" * 32).encode()
TIME = 1_772_452_800


def opened(*lines: Signature, known, text=TEXT):
    body = "".join(line.encode() for line in lines)
    return open_note(f"{text}\n{LOG.sign(text)}{body}".encode(), [LOG.verifier, *known])


# ---- Signing --------------------------------------------------------------------------


@given(
    size=st.integers(0, SIZE_MAX),
    root=st.binary(min_size=32, max_size=32),
    time=st.integers(1, 2**63 - 1),
)
@example(size=SIZE_MAX, root=bytes(32), time=2**63 - 1)
def test_what_is_cosigned_is_good_and_names_its_time(size, root, time):
    text = Checkpoint(origin=LOG.name, size=size, root=root).encode()
    witnesses = [TODAY.verifier, TOMORROW.verifier]

    note = opened(
        *(key.sign(text, time=time) for key in (TODAY, TOMORROW)), known=witnesses, text=text
    )

    assert [(each.witness, each.time) for each in cosignatures_of(note, witnesses)] == [
        (TODAY.verifier, time),
        (TOMORROW.verifier, time),
    ]


@BOTH
@pytest.mark.parametrize("time", [0, -1, 2**63])
def test_nothing_is_cosigned_without_a_time(key, time):
    """A time of 0 would say that nothing is said about what was the largest."""
    with pytest.raises(AssertionError):
        key.sign(TEXT, time=time)


@BOTH
def test_a_cosigner_has_one_key_under_each_name(key):
    """Its vkey is what a policy and a witness's operator hand around."""
    vkey = key.verifier.encode()
    renamed = CosignerKey(name="w2", algorithm=key.algorithm, private_key=key.private_key)

    assert VerifierKey.parse(vkey) == key.verifier
    assert renamed.verifier.key_id != key.verifier.key_id
    assert "private_key" not in repr(key)
    with pytest.raises(MalformedProofError, match="not a key name"):
        CosignerKey(name="no name", algorithm=key.algorithm, private_key=key.private_key)


def test_a_log_does_not_cosign():
    with pytest.raises(AssertionError, match="0x01 does not cosign"):
        CosignerKey(name=NAME, algorithm=ED25519, private_key=LOG.private_key)


SPELLINGS = {
    "size-with-zeros": TEXT.replace("\n7\n", "\n07\n"),
    "size-with-sign": TEXT.replace("\n7\n", "\n+7\n"),
    "size-with-space": TEXT.replace("\n7\n", "\n 7\n"),
    "size-with-underscore": TEXT.replace("\n7\n", "\n0_7\n"),
    "size-in-other-digits": TEXT.replace("\n7\n", "\n\N{ARABIC-INDIC DIGIT SEVEN}\n"),
    "root-with-spare-bits": TEXT.replace("nI=\n", "nJ=\n"),
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_ml_dsa_is_good_for_one_text_alone(text):
    """It signs the number and the hash, so another spelling of them has the same signature."""
    assert text != TEXT
    line = TOMORROW.sign(TEXT, time=TIME)

    TOMORROW.verifier.verify(TEXT, line.signature)
    with pytest.raises(SignatureError, match="did not sign this text"):
        TOMORROW.verifier.verify(text, line.signature)
    with pytest.raises(ValueError, match=r"spelling|literal"):
        TOMORROW.sign(text, time=TIME)


# ---- Reading --------------------------------------------------------------------------


def test_each_line_of_a_known_witness_is_told_in_order_and_no_other():
    known = [TODAY.verifier, TOMORROW.verifier, LOG.verifier]
    late, early = TODAY.sign(TEXT, time=TIME + 9), TODAY.sign(TEXT, time=TIME)
    note = opened(late, OTHER.sign(TEXT, time=TIME), early, known=known[:2])

    assert [(each.line, each.time) for each in cosignatures_of(note, known)] == [
        (late, TIME + 9),
        (early, TIME),
    ]


def test_a_line_that_names_no_time_is_no_cosignature():
    """It is good under its key, and says nothing about what was the largest."""
    message = TOMORROW.private_key.sign(
        b"subtree/v1\n\0"
        + bytes([len(NAME)])
        + NAME.encode()
        + bytes(8)
        + bytes([len(LOG.name)])
        + LOG.name.encode()
        + bytes(8)
        + (7).to_bytes(8)
        + b"r" * 32
    )
    undated = Signature(name=NAME, key_id=TOMORROW.verifier.key_id, signature=bytes(8) + message)

    note = opened(undated, known=[TOMORROW.verifier])

    assert note.is_signed_by(TOMORROW.verifier)
    assert cosignatures_of(note, [TOMORROW.verifier]) == ()


# ---- Where ML-DSA-44 is not to be had -------------------------------------------------


def refuse(*_arguments):
    raise UnsupportedAlgorithm("this build has no ML-DSA-44")


ABSENT = {
    "older-release": lambda patch: patch.setitem(sys.modules, mldsa.__name__, None),
    "other-build": lambda patch: patch.setitem(
        sys.modules,
        mldsa.__name__,
        SimpleNamespace(
            MLDSA44PublicKey=SimpleNamespace(from_public_bytes=refuse),
            MLDSA44PrivateKey=SimpleNamespace(from_seed_bytes=refuse),
        ),
    ),
}


@pytest.mark.parametrize("how", ABSENT.values(), ids=ABSENT)
def test_where_ml_dsa_is_not_to_be_had_nothing_passes_for_checked(how, monkeypatch):
    line = TOMORROW.sign(TEXT, time=TIME)
    assert is_checkable(TOMORROW.verifier)

    how(monkeypatch)

    assert not is_checkable(TOMORROW.verifier)
    assert is_checkable(TODAY.verifier)
    with pytest.raises(SignatureError, match=r"needs a newer release|cannot be checked here"):
        TOMORROW.verifier.verify(TEXT, line.signature)
    with pytest.raises(SettingsError, match="ML-DSA-44 cannot be signed with here"):
        ml_dsa_44_cosigner(NAME, b"Q" * 32)


def test_a_key_that_is_none_is_checkable_and_nothing_is_good_under_it():
    """What cannot be right is refused, and not left out as unchecked."""
    damaged = base64.b64encode(bytes([ML_DSA_44_COSIGNATURE]) + bytes(1312)).decode()
    identifier = "0" * 8
    with pytest.raises(MalformedProofError, match="expected key id"):
        VerifierKey.parse(f"{NAME}+{identifier}+{damaged}")
    nothing = VerifierKey(
        name=NAME, key_id=bytes(4), algorithm=ML_DSA_44_COSIGNATURE, public_key=b"short"
    )

    assert is_checkable(nothing)
    with pytest.raises(SignatureError):
        nothing.verify(TEXT, TOMORROW.sign(TEXT, time=TIME).signature)

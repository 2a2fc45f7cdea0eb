"""Laws of signed notes: a changed bit is refused, and only known keys are listened to."""

from __future__ import annotations

import base64
import sys
from hashlib import sha256
from types import SimpleNamespace

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.errors import MalformedProofError, SignatureError
from ledger.merkle import EMPTY_ROOT
from ledger.note import (
    ED25519,
    ED25519_COSIGNATURE,
    ML_DSA_44_COSIGNATURE,
    NOTE_BYTES_MAX,
    Note,
    NoteKey,
    Signature,
    VerifierKey,
    decode_base64,
    key_id,
    open_note,
    parse_note,
    parse_signatures,
)

LOG = NoteKey(
    name="log.example/orders", private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32)
)
OTHER = NoteKey(name="other.example", private_key=Ed25519PrivateKey.from_private_bytes(b"O" * 32))
WITNESS_NAME = "witness.example/w1"
WITNESS_PRIVATE = Ed25519PrivateKey.from_private_bytes(b"W" * 32)
POST_QUANTUM_PRIVATE = MLDSA44PrivateKey.from_seed_bytes(b"Q" * 32)
TEXT = f"log.example/orders\n0\n{base64.b64encode(EMPTY_ROOT).decode()}\n"
TIME = 1_772_452_800


def verifier(algorithm, private_key, name=WITNESS_NAME):
    public_key = private_key.public_key().public_bytes_raw()
    return VerifierKey(
        name=name,
        key_id=key_id(name, algorithm, public_key),
        algorithm=algorithm,
        public_key=public_key,
    )


WITNESS = verifier(ED25519_COSIGNATURE, WITNESS_PRIVATE)
POST_QUANTUM = verifier(ML_DSA_44_COSIGNATURE, POST_QUANTUM_PRIVATE)


def note_of(text, *lines):
    return f"{text}\n{''.join(lines)}".encode()


def line_of(name, blob):
    return f"\N{EM DASH} {name} {base64.b64encode(blob).decode()}\n"


def cosignature(text=TEXT, at=TIME):
    """What the witness's line says after its key id, per tlog-cosignature."""
    message = f"cosignature/v1\ntime {at}\n{text}".encode()
    return at.to_bytes(8) + WITNESS_PRIVATE.sign(message)


def post_quantum_cosignature(origin="log.example/orders", size=0, root=EMPTY_ROOT, at=TIME):
    message = b"".join(
        [
            b"subtree/v1\n\0",
            bytes([len(WITNESS_NAME)]) + WITNESS_NAME.encode(),
            at.to_bytes(8),
            bytes([len(origin)]) + origin.encode(),
            bytes(8),
            size.to_bytes(8),
            root,
        ]
    )
    return at.to_bytes(8) + POST_QUANTUM_PRIVATE.sign(message)


GOOD = note_of(TEXT, LOG.sign(TEXT))

# ---- Signing and opening --------------------------------------------------------------


def test_a_signed_note_is_these_bytes():
    """Computed from primitives: the key id, and a signature over the text alone."""
    public_key = LOG.private_key.public_key().public_bytes_raw()
    identifier = sha256(b"log.example/orders\n\x01" + public_key).digest()[:4]
    blob = base64.b64encode(identifier + LOG.private_key.sign(TEXT.encode())).decode()

    assert GOOD.decode() == f"{TEXT}\n\N{EM DASH} log.example/orders {blob}\n"
    assert LOG.verifier.encode() == (
        f"log.example/orders+{identifier.hex()}+"
        f"{base64.b64encode(bytes([1]) + public_key).decode()}"
    )


texts = st.text(
    st.characters(exclude_categories=["Cs"], min_codepoint=0x20) | st.just("\n"), max_size=40
).map(lambda text: text + "\n")


@given(texts)
@example("\n")
@example("\n\n\n")
@example(f"a\n\n{LOG.sign(TEXT)}")
def test_any_text_is_signed_and_opened(text):
    """Blank lines and what looks like a signature are text, where a blank line follows."""
    note = open_note(note_of(text, LOG.sign(text)), [LOG.verifier])

    assert note.text == text
    assert note.is_signed_by(LOG.verifier)
    assert note.encode() == note_of(text, LOG.sign(text))


@pytest.mark.parametrize("text", ["", "no line end", "tab\t\n", "a\r\n", "\x00\n", "\x1f\n"])
def test_what_no_note_may_say_is_not_signed(text):
    with pytest.raises(MalformedProofError, match="the text of a note"):
        LOG.sign(text)


def test_no_changed_bit_goes_unnoticed():
    """Whichever it is: the note no longer parses, or the known key did not sign it."""
    for at in range(8 * len(GOOD)):
        damaged = bytearray(GOOD)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises((MalformedProofError, SignatureError)):
            open_note(bytes(damaged), [LOG.verifier])


def test_no_truncated_note_opens():
    for size in range(len(GOOD)):
        with pytest.raises(MalformedProofError):
            open_note(GOOD[:size], [LOG.verifier])


def test_lines_of_unknown_keys_are_left_out():
    """Anyone may add one, also under a name that is known."""
    for stranger in (
        OTHER.sign(TEXT),
        line_of(LOG.name, b"\0\0\0\0" + bytes(64)),
        line_of("grease.invalid", b"\1\2\3\4\5"),
    ):
        for lines in ((stranger, LOG.sign(TEXT)), (LOG.sign(TEXT), stranger)):
            opened = open_note(note_of(TEXT, *lines), [LOG.verifier])
            assert opened.encode() == GOOD


def test_every_good_line_of_a_known_key_is_kept_in_order():
    lines = (
        OTHER.sign(TEXT),
        line_of(WITNESS_NAME, WITNESS.key_id + cosignature()),
        LOG.sign(TEXT),
    )

    opened = open_note(note_of(TEXT, *lines), [LOG.verifier, WITNESS, OTHER.verifier])

    assert opened.encode() == note_of(TEXT, *lines)
    assert all(map(opened.is_signed_by, [LOG.verifier, WITNESS, OTHER.verifier]))
    assert not opened.is_signed_by(POST_QUANTUM)


def test_a_line_that_stands_twice_counts_once():
    opened = open_note(note_of(TEXT, LOG.sign(TEXT), LOG.sign(TEXT)), [LOG.verifier])

    assert opened.encode() == GOOD


def test_a_bad_line_of_a_known_key_refuses_the_note_whatever_else_is_under_it():
    forged = line_of(OTHER.name, OTHER.verifier.key_id + bytes(64))
    for lines in ((LOG.sign(TEXT), forged), (forged, LOG.sign(TEXT))):
        with pytest.raises(SignatureError, match=r"other\.example.* did not sign this text"):
            open_note(note_of(TEXT, *lines), [LOG.verifier, OTHER.verifier])


def test_a_note_without_a_known_key_says_whose_lines_it_has():
    with pytest.raises(SignatureError, match="no signature by a known key") as refused:
        open_note(note_of(TEXT, OTHER.sign(TEXT), LOG.sign(TEXT)), [WITNESS])
    assert refused.value.details == {
        "expected": [WITNESS.encode()],
        "found": ["log.example/orders", "other.example"],
    }
    strangers = [line_of(name, bytes(9)) for name in ("e", "b", "d", "a", "c")]
    with pytest.raises(SignatureError, match=r"found a, b, c, d, e$"):
        open_note(note_of(TEXT, *strangers), [LOG.verifier])
    with pytest.raises(SignatureError):
        open_note(GOOD, [])


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_signature_of_another_length_is_not_good(size):
    with pytest.raises(SignatureError):
        LOG.verifier.verify(TEXT, bytes(size))


# ---- The form -------------------------------------------------------------------------

BLOB = base64.b64encode(LOG.verifier.key_id + bytes(64)).decode()
NOT_A_NOTE = {
    "nothing": b"",
    "text-alone": TEXT.encode(),
    "no-blank-line": f"{TEXT}\N{EM DASH} a {BLOB}\n".encode(),
    "blank-line-at-the-end": f"{TEXT}\n\N{EM DASH} a {BLOB}\n\n".encode(),
    "no-signatures": f"{TEXT}\n".encode(),
    "no-line-end": f"{TEXT}\n\N{EM DASH} a {BLOB}".encode(),
    "line-ends-of-windows": GOOD.replace(b"\n", b"\r\n"),
    "not-utf-8": b"\xff" + GOOD,
    "control-in-text": b"a\tb" + GOOD,
    "zero-in-text": b"\0" + GOOD,
    "hyphen-for-dash": f"{TEXT}\n- a {BLOB}\n".encode(),
    "en-dash": f"{TEXT}\n\N{EN DASH} a {BLOB}\n".encode(),
    "dash-without-space": f"{TEXT}\n\N{EM DASH}a {BLOB}\n".encode(),
    "name-missing": f"{TEXT}\n\N{EM DASH}  {BLOB}\n".encode(),
    "name-with-plus": f"{TEXT}\n\N{EM DASH} a+b {BLOB}\n".encode(),
    "name-with-wide-space": f"{TEXT}\n\N{EM DASH} a\N{EM SPACE}b {BLOB}\n".encode(),
    "signature-missing": f"{TEXT}\n\N{EM DASH} a\n".encode(),
    "signature-empty": f"{TEXT}\n\N{EM DASH} a \n".encode(),
    "key-id-alone": f"{TEXT}\n\N{EM DASH} a AAECAw==\n".encode(),
    "base64-without-padding": f"{TEXT}\n\N{EM DASH} a AAECAwQFBg\n".encode(),
    "base64-with-spare-bits": f"{TEXT}\n\N{EM DASH} a AAECAwQFBh==\n".encode(),
    "base64-url-alphabet": f"{TEXT}\n\N{EM DASH} a AAECAwQF_w==\n".encode(),
    "base64-and-a-space": f"{TEXT}\n\N{EM DASH} a {BLOB} \n".encode(),
    "base64-beyond-ascii": f"{TEXT}\n\N{EM DASH} a \N{ANGSTROM SIGN}AAA\n".encode(),
    "one-good-line-and-one-not": GOOD + b"not a line\n",
}


@pytest.mark.parametrize("data", NOT_A_NOTE.values(), ids=NOT_A_NOTE)
def test_what_is_not_a_note_is_refused(data):
    with pytest.raises(MalformedProofError):
        parse_note(data)


@given(st.binary(max_size=60) | texts.map(lambda text: f"{text}\n\N{EM DASH} {text}".encode()))
def test_any_octets_are_a_note_of_one_spelling_or_refused_by_our_error(data):
    try:
        note = parse_note(data)
    except MalformedProofError:
        return
    assert note.encode() == data


def test_signature_lines_are_read_alike_under_a_note_and_alone():
    """As a witness answers with them."""
    lines = OTHER.sign(TEXT) + LOG.sign(TEXT)

    assert parse_signatures(lines) == parse_note(note_of(TEXT, lines)).signatures
    for damaged in ("", lines.removesuffix("\n"), lines + "\n", "\n" + lines, lines + "x\n"):
        with pytest.raises(MalformedProofError):
            parse_signatures(damaged)


signatures = st.builds(
    Signature,
    name=st.text(st.characters(categories=["L", "N", "P"], exclude_characters="+"), min_size=1),
    key_id=st.binary(min_size=4, max_size=4),
    signature=st.binary(min_size=1, max_size=80),
)


@given(text=texts, lines=st.lists(signatures, min_size=1, max_size=4))
def test_a_note_reads_back(text, lines):
    note = Note(text=text, signatures=tuple(lines))

    assert parse_note(note.encode()) == note


def test_a_note_has_at_most_one_mebibyte():
    """Some dozen signatures of any algorithm fit; a flood of lines does not."""
    filler = "x" * (NOTE_BYTES_MAX - len(GOOD)) + TEXT
    largest = note_of(filler, LOG.sign(filler))
    assert len(largest) == NOTE_BYTES_MAX

    assert open_note(largest, [LOG.verifier]).text == filler
    with pytest.raises(MalformedProofError, match="the limit is 1048576"):
        parse_note(b"x" + largest)


@given(st.binary(max_size=40), st.text(st.characters(), max_size=8))
def test_octets_have_one_base64_spelling(octets, text):
    spelt = base64.b64encode(octets).decode()
    assert decode_base64(spelt) == octets
    for other in (spelt + text, text + spelt, spelt.rstrip("="), spelt + "\n", text):
        try:
            found = decode_base64(other)
        except MalformedProofError:
            continue
        assert base64.b64encode(found).decode() == other


# ---- Keys -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", [LOG.verifier, WITNESS, POST_QUANTUM], ids=lambda key: key.name)
def test_a_verifier_key_reads_back(key):
    assert VerifierKey.parse(key.encode()) == key


VKEY = LOG.verifier.encode()
KEY_ID = LOG.verifier.key_id.hex()
NOT_A_KEY = {
    "nothing": "",
    "name-alone": "log.example/orders",
    "no-key": f"log.example/orders+{KEY_ID}",
    "empty-key": f"log.example/orders+{KEY_ID}+",
    "no-name": VKEY.removeprefix("log.example/orders"),
    "other-name": VKEY.replace("orders", "refunds"),
    "name-with-space": VKEY.replace("/", " "),
    "name-with-control": VKEY.replace("/", "\x1f"),
    "name-not-utf-8": VKEY.replace("/", "\udcff"),
    "other-key-id": VKEY.replace(KEY_ID, "00000000"),
    "key-id-in-upper-case": VKEY.replace(KEY_ID, KEY_ID.upper()),
    "key-id-short": VKEY.replace(KEY_ID, KEY_ID[:-1]),
    "key-not-base64": VKEY[:-1] + "?",
    "key-not-base64-beyond-ascii": VKEY[:-1] + "\udcff",
    "key-without-padding": VKEY.rstrip("=")[:-1],
    "key-of-no-algorithm": f"log.example/orders+{KEY_ID}+{base64.b64encode(bytes(33)).decode()}",
    "key-a-byte-short": f"log.example/orders+{KEY_ID}+{base64.b64encode(b'x' * 32).decode()}",
    "trailing-line-end": VKEY + "\n",
}


@pytest.mark.parametrize("vkey", NOT_A_KEY.values(), ids=NOT_A_KEY)
def test_what_is_not_a_key_is_refused(vkey):
    with pytest.raises(MalformedProofError):
        VerifierKey.parse(vkey)


@given(st.text(st.characters(), max_size=12), st.text(st.characters(), max_size=12))
def test_any_text_is_a_key_of_one_spelling_or_refused_by_our_error(name, key):
    for vkey in (name, f"{name}+{KEY_ID}+{key}", f"{name}+{KEY_ID}+{VKEY.rpartition('+')[2]}"):
        try:
            found = VerifierKey.parse(vkey)
        except MalformedProofError:
            continue
        assert found.encode() == vkey


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\x01", "\u2003", "a\ud800"])
def test_a_key_that_could_not_be_named_in_a_line_is_not_made(name):
    with pytest.raises(MalformedProofError, match="not a key name"):
        NoteKey(name=name, private_key=LOG.private_key)


def test_a_private_key_stays_out_of_logs():
    assert "private_key" not in repr(LOG)


@pytest.mark.parametrize("algorithm", [ED25519, ED25519_COSIGNATURE])
def test_a_key_has_another_id_under_another_name_or_algorithm(algorithm):
    identifiers = {
        key_id(name, each, bytes(32))
        for name in ("a", "b")
        for each in (ED25519, ED25519_COSIGNATURE)
    }
    assert len(identifiers) == 4
    assert key_id("a", algorithm, bytes(32)) in identifiers


# ---- Cosignatures ---------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, TIME, 2**63 - 1])
def test_a_witness_signs_time_and_text(at):
    WITNESS.verify(TEXT, cosignature(at=at))
    POST_QUANTUM.verify(TEXT, post_quantum_cosignature(at=at))


WRONG_COSIGNATURES = {
    "other-time": (TIME + 1).to_bytes(8) + cosignature()[8:],
    "time-of-64-bits": cosignature(at=2**63),
    "time-alone": TIME.to_bytes(8),
    "half-a-time": TIME.to_bytes(8)[:4],
    "nothing": b"",
    "no-time": cosignature()[8:],
    "other-text": cosignature(TEXT.replace("\n0\n", "\n1\n")),
    "truncated": cosignature()[:-1],
    "signature-of-a-log": bytes(8) + WITNESS_PRIVATE.sign(TEXT.encode()),
}


@pytest.mark.parametrize("signature", WRONG_COSIGNATURES.values(), ids=WRONG_COSIGNATURES)
def test_another_time_or_text_was_not_cosigned(signature):
    with pytest.raises(SignatureError, match="did not sign this text"):
        WITNESS.verify(TEXT, signature)


def test_a_cosignature_is_no_signature_of_a_log():
    """Not even by the same key pair: the key id, and what is signed, name the purpose."""
    as_log = verifier(ED25519, WITNESS_PRIVATE)
    assert as_log.key_id != WITNESS.key_id
    with pytest.raises(SignatureError):
        as_log.verify(TEXT, cosignature()[8:])


WRONG_POST_QUANTUM_COSIGNATURES = {
    "other-time": (TIME + 1).to_bytes(8) + post_quantum_cosignature()[8:],
    "time-of-64-bits": post_quantum_cosignature(at=2**63),
    "other-origin": post_quantum_cosignature(origin="log.example/others"),
    "other-size": post_quantum_cosignature(size=1),
    "other-root": post_quantum_cosignature(root=bytes(32)),
    "truncated": post_quantum_cosignature()[:-1],
    "nothing": b"",
}


@pytest.mark.parametrize(
    "signature", WRONG_POST_QUANTUM_COSIGNATURES.values(), ids=WRONG_POST_QUANTUM_COSIGNATURES
)
def test_another_tree_was_not_cosigned_with_ml_dsa(signature):
    with pytest.raises(SignatureError, match="did not sign this text"):
        POST_QUANTUM.verify(TEXT, signature)


OTHER_TEXTS = {
    "extended": TEXT + "an extension\n",
    "unterminated": TEXT + "a line without end",
    "prose": "not a checkpoint\n",
    "size-negative": TEXT.replace("\n0\n", "\n-1\n"),
    "size-no-number": TEXT.replace("\n0\n", "\nzero\n"),
    "size-too-large": TEXT.replace("\n0\n", f"\n{2**64}\n"),
    "size-in-another-spelling": TEXT.replace("\n0\n", "\n00\n"),
    "root-not-base64": TEXT.replace("=\n", "?\n"),
    "root-in-another-spelling": TEXT.replace("U=\n", "V=\n"),
    "origin-too-long": "o" * 256 + TEXT,
}


@pytest.mark.parametrize("text", OTHER_TEXTS.values(), ids=OTHER_TEXTS)
def test_ml_dsa_speaks_for_the_three_lines_of_a_checkpoint_alone(text):
    """What is signed is a number and a hash: whatever else would say the same is refused."""
    assert text != TEXT
    with pytest.raises(SignatureError):
        POST_QUANTUM.verify(text, post_quantum_cosignature())


class WithoutTheAlgorithm:
    """The key class of a build whose OpenSSL is too old."""

    @staticmethod
    def from_public_bytes(_octets):
        raise UnsupportedAlgorithm("ML-DSA-44")


@pytest.mark.parametrize(
    ("library", "says"),
    [
        (None, "needs a newer release of cryptography"),
        (SimpleNamespace(MLDSA44PublicKey=WithoutTheAlgorithm), "cannot be checked here"),
    ],
    ids=["older-release", "older-openssl"],
)
def test_where_ml_dsa_cannot_be_checked_the_reader_is_told(monkeypatch, library, says):
    """Nothing is taken on trust, and no signature is called bad that was not looked at."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", library)
    line = line_of(WITNESS_NAME, POST_QUANTUM.key_id + post_quantum_cosignature())
    with pytest.raises(SignatureError, match=says):
        open_note(note_of(TEXT, line), [POST_QUANTUM])

"""Laws of the witness protocol: questions and answers read back, and nothing else is one."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import SIZE_MAX, Checkpoint, sign_checkpoint
from ledger.cosignature import ed25519_cosigner
from ledger.errors import MalformedProofError
from ledger.note import NoteKey, Signature
from ledger.witness.protocol import (
    ANSWER_BYTES_MAX,
    PROOF_HASHES_MAX,
    REQUEST_BYTES_MAX,
    AddCheckpoint,
    Conflict,
    Cosigned,
    Ground,
    Refused,
    checkpoint_path,
    encode_answer,
    parse_add_checkpoint,
    parse_answer,
)

LOG = NoteKey(name="log.example/shop", private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32))
WITNESS = ed25519_cosigner("w.example", Ed25519PrivateKey.from_private_bytes(b"W" * 32))
CHECKPOINT = Checkpoint(origin=LOG.name, size=3, root=b"r" * 32)
NOTE = sign_checkpoint(CHECKPOINT, LOG)
LINE = WITNESS.sign(CHECKPOINT.encode(), time=1_772_452_800)
HASH = base64.b64encode(b"h" * 32).decode()

# ---- The request ----------------------------------------------------------------------

hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=PROOF_HASHES_MAX).map(tuple)


def test_a_request_is_these_lines():
    request = AddCheckpoint(old_size=1, proof=(b"h" * 32,), note=NOTE)

    assert request.encode().decode() == f"old 1\n{HASH}\n\n{NOTE.decode()}"
    assert AddCheckpoint(old_size=0, proof=(), note=NOTE).encode() == b"old 0\n\n" + NOTE


@given(old_size=st.integers(0, SIZE_MAX), proof=hashes)
def test_a_request_reads_back(old_size, proof):
    request = AddCheckpoint(old_size=old_size, proof=proof, note=NOTE)

    assert parse_add_checkpoint(request.encode()) == request
    assert len(request.encode()) < REQUEST_BYTES_MAX


def body(head: str, note: bytes = NOTE) -> bytes:
    return f"{head}\n".encode() + note


NOT_A_REQUEST = {
    "nothing": b"",
    "note-alone": NOTE,
    "no-old-size": body("\n"),
    "no-blank-line": b"old 0\n" + NOTE.split(b"\n\n")[0],
    "old-without-size": body("old\n"),
    "old-with-two-spaces": body("old  1\n"),
    "old-in-capitals": body("OLD 1\n"),
    "old-size-with-zeros": body("old 01\n"),
    "old-size-negative": body("old -1\n"),
    "old-size-with-sign": body("old +1\n"),
    "old-size-with-space-behind": body("old 1 \n"),
    "old-size-in-other-digits": body("old \N{ARABIC-INDIC DIGIT ONE}\n"),
    "old-size-of-64-bits": body(f"old {2**63}\n"),
    "old-size-endless": body(f"old {'9' * 5_000}\n"),
    "line-ends-of-windows": body("old 1\r\n").replace(b"\n", b"\r\n"),
    "proof-not-base64": body("old 1\n?\n"),
    "proof-of-31-bytes": body(f"old 1\n{base64.b64encode(bytes(31)).decode()}\n"),
    "proof-of-33-bytes": body(f"old 1\n{base64.b64encode(bytes(33)).decode()}\n"),
    "proof-with-spare-bits": body(f"old 1\n{HASH.replace('aGg=', 'aGh=')}\n"),
    "proof-without-padding": body(f"old 1\n{HASH.rstrip('=')}\n"),
    "proof-of-64-hashes": body("old 1\n" + f"{HASH}\n" * (PROOF_HASHES_MAX + 1)),
    "proof-not-utf-8": b"old 1\n\xff\n\n" + NOTE,
    "note-missing": b"old 0\n\n",
    "note-without-signatures": b"old 0\n\n" + CHECKPOINT.encode().encode(),
    "note-cut-short": b"old 0\n\n" + NOTE[:-1],
}


def test_the_damaged_hash_is_another_spelling_of_the_same():
    """Or its case below would show nothing."""
    assert HASH.replace("aGg=", "aGh=") != HASH


@pytest.mark.parametrize("data", NOT_A_REQUEST.values(), ids=NOT_A_REQUEST)
def test_what_is_not_a_request_is_refused(data):
    with pytest.raises(MalformedProofError):
        parse_add_checkpoint(data)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda head: b"old 0\n" + head + NOTE))
def test_any_octets_are_a_request_of_one_spelling_or_refused_by_our_error(data):
    try:
        request = parse_add_checkpoint(data)
    except MalformedProofError:
        return
    assert request.encode() == data


def test_a_request_is_read_whatever_its_note_says():
    """Whether it is a checkpoint, and of whom, is the witness's to judge."""
    note = f"hello\n\n{LOG.sign('hello' + chr(10))}".encode()
    assert parse_add_checkpoint(b"old 0\n\n" + note).note == note


# ---- The answers ----------------------------------------------------------------------

ANSWERS = {
    200: Cosigned(signatures=(LINE, LINE)),
    400: Refused(ground=Ground.MALFORMED, reason="not a request"),
    403: Refused(ground=Ground.UNSIGNED, reason="who signed this"),
    404: Refused(ground=Ground.UNKNOWN_LOG, reason="never heard of it"),
    409: Conflict(size=1_000),
    422: Refused(ground=Ground.INCONSISTENT, reason="another history"),
}


@pytest.mark.parametrize(("status", "answer"), ANSWERS.items(), ids=map(str, ANSWERS))
def test_each_of_the_six_answers_reads_back(status, answer):
    wire = encode_answer(answer)

    assert wire.status == status
    assert wire.body.endswith(b"\n")
    assert parse_answer(*wire) == answer


def test_a_conflict_is_a_size_of_its_own_type():
    assert encode_answer(Conflict(size=20)) == (409, "text/x.tlog.size", b"20\n")
    assert parse_answer(409, "Text/X.tlog.size; charset=utf-8", b"20\n") == Conflict(size=20)


def test_the_first_version_of_the_protocol_tells_another_root_by_a_conflict():
    assert parse_answer(409, "text/plain", b"roots differ\n") == Conflict(size=None)
    assert parse_answer(*encode_answer(Conflict(size=None))) == Conflict(size=None)


signatures = st.builds(
    Signature,
    name=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
    key_id=st.binary(min_size=4, max_size=4),
    signature=st.binary(min_size=1, max_size=80),
)


@given(st.lists(signatures, min_size=1, max_size=4), st.integers(0, SIZE_MAX))
def test_any_answer_reads_back(lines, size):
    for answer in (Cosigned(signatures=tuple(lines)), Conflict(size=size)):
        assert parse_answer(*encode_answer(answer)) == answer


NOT_AN_ANSWER = {
    "success-without-lines": (200, "text/plain", b""),
    "success-with-prose": (200, "text/html", b"<p>welcome</p>\n"),
    "success-without-line-end": (200, "text/plain", LINE.encode().encode()[:-1]),
    "success-with-a-blank-line": (200, "text/plain", LINE.encode().encode() + b"\n"),
    "success-not-utf-8": (200, "text/plain", b"\xff" + LINE.encode().encode()),
    "created": (201, "text/plain", LINE.encode().encode()),
    "moved": (301, "text/plain", b""),
    "busy": (429, "text/plain", b""),
    "broken": (500, "text/plain", b""),
    "away": (503, "text/plain", b""),
    "size-missing": (409, "text/x.tlog.size", b""),
    "size-without-line-end": (409, "text/x.tlog.size", b"20"),
    "size-with-zeros": (409, "text/x.tlog.size", b"020\n"),
    "size-of-64-bits": (409, "text/x.tlog.size", b"%d\n" % 2**63),
    "size-of-two": (409, "text/x.tlog.size", b"20\n20\n"),
    "size-not-utf-8": (409, "text/x.tlog.size", b"\xff\n"),
    "too-large": (404, "text/plain", b"x" * (ANSWER_BYTES_MAX + 1)),
}


@pytest.mark.parametrize("wire", NOT_AN_ANSWER.values(), ids=NOT_AN_ANSWER)
def test_what_no_witness_answers_is_refused(wire):
    with pytest.raises(MalformedProofError):
        parse_answer(*wire)


@given(st.integers(100, 599), st.text(max_size=20), st.binary(max_size=80))
def test_anything_is_an_answer_or_refused_by_our_error(status, media_type, data):
    try:
        parse_answer(status, media_type, data)
    except MalformedProofError:
        return
    assert status in ANSWERS


def test_a_reason_is_one_line_however_long_a_witness_speaks():
    answer = parse_answer(422, "text/plain", b"a\n" * 9_000)

    assert isinstance(answer, Refused)
    assert "\n" not in answer.reason
    assert len(answer.reason) == 200


def test_a_log_is_found_by_the_hash_of_its_origin():
    """As `printf %s log.example/shop | sha256sum` says."""
    assert checkpoint_path("log.example/shop") == (
        "513542afbd264ed6868271af583cfed9dfa977ebbc3998af2ad1554e1b0718f8/checkpoint"
    )

"""A statement says what was found, under one signature, in one spelling."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.errors import LedgerError, MalformedProofError, SignatureError
from ledger.note import NoteKey
from ledger.signing.signer import FileSigner
from ledger.statement import HEADER, Statement, open_statement, parse_statement

KEY = NoteKey(
    name="ledger.example/shop", private_key=Ed25519PrivateKey.from_private_bytes(bytes(32))
)
OTHER = NoteKey(name="ledger.example/other", private_key=KEY.private_key)
STATEMENT = Statement(
    origin=KEY.name,
    ledger="shop",
    mode="full",
    start=0,
    size=42,
    root="ab" * 32,
    verdicts={"tamper": "bad", "completeness": "ok", "time": "unchecked"},
    first_bad={"check": "entry.bytes", "seq": 7, "message": "changed", "id": None},
    findings_total=1,
    acknowledged=False,
    not_checked=["the clock"],
    level="log-signed",
    started_at="2026-03-01T09:30:00.000000Z",
    finished_at="2026-03-01T09:31:00.000000Z",
)


@pytest.fixture
def signer(tmp_path):
    made = FileSigner(tmp_path / "signer", KEY.private_key)
    yield made
    made.close()


def test_what_was_signed_is_what_is_read(signer):
    note = signer.attest(STATEMENT.text())

    assert open_statement(note, [KEY.verifier]) == STATEMENT
    assert not STATEMENT.good


def test_a_signer_attests_nothing_but_statements(signer):
    """A checkpoint above all: those have to pass its record."""
    with pytest.raises(MalformedProofError):
        signer.attest(Checkpoint(origin=KEY.name, size=9, root=bytes(32)).encode())
    with pytest.raises(MalformedProofError):
        signer.attest("anything\n")


def test_a_statement_is_no_checkpoint_and_the_other_way_round(signer):
    note = signer.attest(STATEMENT.text())
    checkpoint = sign_checkpoint(Checkpoint(origin=KEY.name, size=9, root=bytes(32)), KEY)

    with pytest.raises(MalformedProofError):
        open_checkpoint(note, [KEY.verifier])
    with pytest.raises(MalformedProofError):
        open_statement(checkpoint, [KEY.verifier])


def test_only_the_ledgers_own_key_speaks_for_it():
    text = STATEMENT.text()
    note = f"{text}\n{OTHER.sign(text)}".encode()

    with pytest.raises(SignatureError):
        open_statement(note, [OTHER.verifier])
    with pytest.raises(SignatureError):
        open_statement(note, [KEY.verifier])


WRONG = {
    "no header": STATEMENT.text().removeprefix(HEADER),
    "not JSON": HEADER + "{\n",
    "an array": HEADER + "[]\n",
    "another order": HEADER + '{"size":1,"origin":"x"}\n',
    "no line end": STATEMENT.text().rstrip(),
    "two lines": STATEMENT.text() + "{}\n",
    "a spare member": STATEMENT.text().replace('"size"', '"more":1,"size"'),
    "a size of true": STATEMENT.text().replace('"size":42', '"size":true'),
    "a flag of one": STATEMENT.text().replace('"acknowledged":false', '"acknowledged":1'),
    "another verdict": STATEMENT.text().replace('"bad"', '"fine"'),
    "a verdict less": STATEMENT.text().replace(',"time":"unchecked"', ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_statement_has_one_form(name):
    assert WRONG[name] != STATEMENT.text()
    with pytest.raises(MalformedProofError):
        parse_statement(WRONG[name])


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_flipped_bit_passes(at, flip):
    """Nothing but an error of ours, or the very same statement."""
    text = STATEMENT.text()
    note = bytearray(f"{text}\n{KEY.sign(text)}".encode())
    note[at % len(note)] ^= flip
    try:
        assert open_statement(bytes(note), [KEY.verifier]) == STATEMENT
    except LedgerError:
        return

"""Timestamps both ways: openssl answers our queries and verifies our tokens; we verify its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.anchoring.tsa import HttpAuthority
from ledger.checkpoint import Checkpoint, log_part, sign_checkpoint
from ledger.errors import LedgerError, MalformedProofError, SettingsError, TimestampError
from ledger.merkle import EMPTY_ROOT
from ledger.note import NoteKey
from ledger.ports import NotAnswered
from ledger.rfc3161 import (
    TOKEN_BYTES_MAX,
    Authorities,
    build_query,
    load_authorities,
    parse_authorities,
    verify_timestamp,
)
from tests.integration.authorities import (
    DAY,
    Authority,
    authority,
    listening,
    openssl,
    openssl_verifies,
)
from tests.integration.commands import free_port

KEY = NoteKey(name="log.example/shop", private_key=Ed25519PrivateKey.from_private_bytes(b"T" * 32))
NOTE = sign_checkpoint(Checkpoint(origin=KEY.name, size=0, root=EMPTY_ROOT), KEY)


@pytest.fixture(scope="module")
def tsa(tmp_path_factory) -> Authority:
    return authority(tmp_path_factory.mktemp("tsa") / "good")


@pytest.fixture(scope="module")
def token(tsa) -> bytes:
    return tsa.reply(build_query(NOTE).encoded)


def trusted(tsa: Authority) -> Authorities:
    return load_authorities(tsa.root)


# ---- Both ways ------------------------------------------------------------------------


def test_openssl_answers_our_query_over_http_and_verifies_the_token(tsa, tmp_path):
    query = build_query(NOTE)
    with listening(tsa) as url:
        transport = HttpAuthority(url)
        token = transport.ask(query.encoded)
        transport.close()
    assert isinstance(token, bytes)
    timestamp = verify_timestamp(token, NOTE, trusted(tsa), nonce=query.nonce)
    assert timestamp.authority == "CN=Authority of good"
    assert (timestamp.not_after - timestamp.at).total_seconds() == 1

    for name, content in {"note": NOTE, "token": token, "other": NOTE + b"x"}.items():
        (tmp_path / name).write_bytes(content)
    assert openssl_verifies(tmp_path / "token", tmp_path / "note", tsa.root)
    assert not openssl_verifies(tmp_path / "token", tmp_path / "other", tsa.root)


def test_a_token_that_openssl_asked_for_verifies_here(tsa, tmp_path):
    """With the nonce, the hash and the form of its own making."""
    (tmp_path / "note").write_bytes(NOTE)
    query = tmp_path / "query.tsq"
    openssl("ts", "-query", "-data", tmp_path / "note", "-sha256", "-cert", "-out", query)

    token = tsa.reply(query.read_bytes())
    assert verify_timestamp(token, NOTE, trusted(tsa)).authority == "CN=Authority of good"


def test_openssl_reads_our_query(tmp_path):
    query = build_query(NOTE)
    (tmp_path / "query").write_bytes(query.encoded)

    said = openssl("ts", "-query", "-in", tmp_path / "query", "-text")
    assert "Hash Algorithm: sha256" in said
    assert f"Nonce: 0x{query.nonce:016X}" in said
    assert "Certificate required: yes" in said


def test_a_timestamp_is_over_what_the_log_signed_whoever_cosigned_it():
    """Cosignatures come later; the log's own lines are there from the first moment."""
    cosigned = NOTE + "— witness.example/w1 ".encode() + b"AAAA" * 20 + b"\n"
    assert log_part(cosigned) == NOTE


# ---- Refusals, each with its own words ------------------------------------------------


def test_a_token_over_other_octets_is_refused(tsa, token):
    with pytest.raises(TimestampError, match="over other octets"):
        verify_timestamp(token, NOTE + b"x", trusted(tsa))


def test_an_answer_to_another_query_is_refused(tsa, token):
    with pytest.raises(TimestampError, match="its nonce is another"):
        verify_timestamp(token, NOTE, trusted(tsa), nonce=build_query(NOTE).nonce)


def test_a_token_of_an_authority_that_nobody_trusts_is_refused(tsa, token, tmp_path):
    other = trusted(authority(tmp_path / "other"))
    with pytest.raises(TimestampError, match="unable to get local issuer certificate"):
        verify_timestamp(token, NOTE, other)
    both = Authorities(roots=(*other.roots, *trusted(tsa).roots))
    assert verify_timestamp(token, NOTE, both).authority == "CN=Authority of good"


def test_a_certificate_that_had_expired_when_it_signed_is_refused(tmp_path):
    expired = authority(tmp_path / "expired", until=-DAY)
    token = expired.reply(build_query(NOTE).encoded)
    with pytest.raises(TimestampError, match="certificate has expired"):
        verify_timestamp(token, NOTE, trusted(expired))


def test_a_refusal_says_why(tsa, tmp_path):
    (tmp_path / "note").write_bytes(NOTE)
    query = tmp_path / "query.tsq"
    openssl("ts", "-query", "-data", tmp_path / "note", "-sha384", "-cert", "-out", query)
    refusal = tsa.reply(query.read_bytes())
    with pytest.raises(TimestampError, match=r"rejection; Message digest algorithm is not supp"):
        verify_timestamp(refusal, NOTE, trusted(tsa))


def test_another_hash_than_ours_is_refused(tsa, tmp_path):
    """Whoever keeps a token must know what it is over."""
    (tmp_path / "note").write_bytes(NOTE)
    query = tmp_path / "query.tsq"
    openssl("ts", "-query", "-data", tmp_path / "note", "-sha512", "-cert", "-out", query)
    with pytest.raises(TimestampError, match="another kind of hash"):
        verify_timestamp(tsa.reply(query.read_bytes()), NOTE, trusted(tsa))


def test_a_token_without_its_certificate_is_refused(tsa, tmp_path):
    (tmp_path / "note").write_bytes(NOTE)
    query = tmp_path / "query.tsq"
    openssl("ts", "-query", "-data", tmp_path / "note", "-sha256", "-out", query)
    with pytest.raises(TimestampError, match="signer certificate not found"):
        verify_timestamp(tsa.reply(query.read_bytes()), NOTE, trusted(tsa))


@pytest.mark.parametrize(
    "reply", [b"", b"junk", b"0" * (TOKEN_BYTES_MAX + 1)], ids=["empty", "junk", "huge"]
)
def test_what_is_no_reply_is_refused(tsa, reply):
    with pytest.raises(MalformedProofError):
        verify_timestamp(reply, NOTE, trusted(tsa))


def test_no_flipped_bit_makes_a_token_say_something_else(tsa, token):
    """Most are refused; a few stand in what nobody signs, and then it says the same."""
    good, authorities, taken = verify_timestamp(token, NOTE, trusted(tsa)), trusted(tsa), 0
    for at in range(len(token)):
        flipped = bytearray(token)
        flipped[at] ^= 1 << at % 8
        try:
            assert verify_timestamp(bytes(flipped), NOTE, authorities) == good, at
        except LedgerError:
            continue
        taken += 1
    assert taken < len(token) // 20


# ---- The way there --------------------------------------------------------------------


def test_an_authority_that_does_not_answer_is_no_error(tsa):
    nobody = HttpAuthority(f"http://user:secret@127.0.0.1:{free_port()}/tsa")
    away = nobody.ask(b"query")
    assert isinstance(away, NotAnswered)
    assert "does not answer: ConnectError" in away.reason
    assert "secret" not in away.reason

    tsa.refuses = True
    with listening(tsa) as url:
        transport = HttpAuthority(url)
        assert transport.ask(build_query(NOTE).encoded) == NotAnswered(reason=f"{url} answers 503")
        transport.close()
    tsa.refuses = False


def test_certificates_that_lead_to_no_root_are_refused(tsa, tmp_path):
    with pytest.raises(SettingsError, match="no root is among"):
        parse_authorities((tsa.home / "tsa.pem").read_bytes())
    with pytest.raises(SettingsError, match="in PEM"):
        parse_authorities(b"junk")
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_authorities(Path(tmp_path / "absent"))
    for url, says in {"http://": "names no host", "http://a\nb/": "not the URL"}.items():
        with pytest.raises(SettingsError, match=says):
            HttpAuthority(url)

"""
RFC 3161: a timestamp authority's word that octets were there at a time; asked for and verified.

How a query travels, and when one is sent, is for others. Verifying needs no network: a token and
the certificates that its reader trusts are enough, for as long as the token is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509

from ledger.errors import MalformedProofError, SettingsError, TimestampError

TOKEN_BYTES_MAX = 65_536
"""Of a reply; one with a chain of certificates has a few thousand."""

_SHA_256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
# What the library underneath says of a chain, between much that only its authors can read.
_REASON = re.compile('Verify error: ([^"]+)|reason: "([^"]+)"')
_STATUS_MEANS = (
    "granted",
    "granted with changes",
    "rejection",
    "waiting",
    "a revocation is imminent",
    "a revocation has occurred",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """Certificates of timestamp authorities that are trusted."""

    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question to an authority."""

    encoded: bytes
    """DER, as `application/timestamp-query`."""
    nonce: int
    """Its answer names it too, so an old answer does not pass for a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """What a token was found to say."""

    at: datetime
    """UTC, by the authority's clock."""
    accuracy: timedelta
    authority: str
    """Subject of the certificate that it was signed with, as RFC 4514 spells it."""
    serial: int

    @property
    def not_after(self) -> datetime:
        """The octets were there by this time."""
        return self.at + self.accuracy


def parse_authorities(pem: bytes) -> Authorities:
    """
    The certificates of a file.

    Args:
        pem: One or more certificates in PEM: roots, and what lies between them and the authority.

    Raises:
        SettingsError: Not certificates, or no root among them.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise SettingsError("expected certificates of timestamp authorities in PEM") from error
    roots = tuple(each for each in certificates if each.issuer == each.subject)
    if not roots:
        raise SettingsError(
            "no root is among the certificates of timestamp authorities: give the self-signed "
            "one that their chain ends in"
        )
    between = tuple(each for each in certificates if each.issuer != each.subject)
    return Authorities(roots=roots, intermediates=between)


def load_authorities(path: Path) -> Authorities:
    """
    The certificates in the file at `path`, as `parse_authorities`.

    Raises:
        SettingsError: The file cannot be read, or as `parse_authorities`.
    """
    try:
        return parse_authorities(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def build_query(octets: bytes) -> Query:
    """A query for a timestamp over `octets`, with a nonce and the wish for certificates."""
    # Imported here, as below: the commands that verify no token do not wait for it.
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    request = TimestampRequestBuilder().data(octets).hash_algorithm(HashAlgorithm.SHA256).build()
    assert request.nonce is not None, "the builder adds one unless told not to"
    return Query(encoded=request.as_bytes(), nonce=request.nonce)


def verify_timestamp(
    token: bytes, octets: bytes, authorities: Authorities, *, nonce: int | None = None
) -> Timestamp:
    """
    Check that a trusted authority says that `octets` were there, and when.

    Certificates need to have been valid at the token's time, not now.

    Args:
        token: The authority's reply in DER, `TimeStampResp`.
        octets: What it is over.
        authorities: Who is trusted.
        nonce: Of the query, for an answer that has just come.

    Raises:
        MalformedProofError: Not a reply with a token.
        TimestampError: The authority refused, it is over other octets or another query's, or no
            trusted authority signed it; the message says which.

    Source: RFC 3161 Section 2.4.2.
    """
    from rfc3161_client import VerificationError as NotVerified
    from rfc3161_client import VerifierBuilder

    reply = _decode(token)
    info = _info(reply)
    _check_imprint(info.message_imprint, octets)
    if nonce is not None and info.nonce != nonce:
        raise TimestampError("the timestamp answers another query: its nonce is another")
    verifier = VerifierBuilder(
        roots=list(authorities.roots), intermediates=list(authorities.intermediates)
    ).build()
    try:
        verifier.verify_message(reply, octets)
    except NotVerified as error:
        raise TimestampError(f"the timestamp does not verify: {_reason(str(error))}") from error
    except ValueError as error:
        raise MalformedProofError("the timestamp cannot be read") from error
    return Timestamp(
        at=info.gen_time.astimezone(UTC),
        accuracy=_accuracy(info.accuracy),
        authority=_signed_by(reply),
        serial=info.serial_number,
    )


def check_imprint(token: bytes, octets: bytes) -> None:
    """
    Check that a token is over `octets`, whoever made it; without a certificate, and quickly.

    Raises:
        MalformedProofError, TimestampError: As `verify_timestamp`.
    """
    _check_imprint(_info(_decode(token)).message_imprint, octets)


def _check_imprint(imprint: Any, octets: bytes) -> None:
    if imprint.hash_algorithm != _SHA_256:
        raise TimestampError("the timestamp is over another kind of hash than SHA-256")
    if imprint.message != sha256(octets).digest():
        raise TimestampError(
            "the timestamp is over other octets",
            expected=sha256(octets).hexdigest(),
            found=imprint.message.hex(),
        )


def _decode(token: bytes) -> Any:
    from rfc3161_client import decode_timestamp_response

    if len(token) > TOKEN_BYTES_MAX:
        raise MalformedProofError(f"a timestamp has at most {TOKEN_BYTES_MAX} bytes")
    try:
        return decode_timestamp_response(token)
    except ValueError as error:
        raise MalformedProofError("not a timestamp reply (RFC 3161) in DER") from error


def _info(reply: Any) -> Any:
    """What the token states. Of a refusal there is none."""
    status = reply.status
    if status != 0:
        known = 0 <= status < len(_STATUS_MEANS)
        words = "; ".join([_STATUS_MEANS[status] if known else "unknown", *reply.status_string])
        raise TimestampError(
            f"the authority gave no timestamp: status {status} ({words[:200]})", status=status
        )
    try:
        return reply.tst_info
    except ValueError as error:
        raise MalformedProofError("the timestamp reply has no token") from error


def _reason(says: str) -> str:
    found = _REASON.findall(says)
    # The last one is the most particular.
    return str(found[-1][0] or found[-1][1]) if found else says[:200]


def _accuracy(accuracy: Any) -> timedelta:
    if accuracy is None:
        return timedelta(0)
    return timedelta(
        seconds=accuracy.seconds or 0,
        milliseconds=accuracy.millis or 0,
        microseconds=accuracy.micros or 0,
    )


def _signed_by(reply: Any) -> str:
    """Whose certificate it was; RFC 3161 asks for its digest under the signature."""
    [signer] = reply.signed_data.signer_infos
    certificates: Sequence[x509.Certificate] = [
        x509.load_der_x509_certificate(each) for each in reply.signed_data.certificates
    ]
    for each in certificates:
        if (each.issuer, each.serial_number) == (signer.issuer, signer.serial_number):
            return each.subject.rfc4514_string()
    raise MalformedProofError("the timestamp does not carry the certificate it was signed with")

"""
Payloads: words and documents that stay outside the hashed bytes, so that they can be erased.

An entry holds a commitment to each; the octets are stored sealed under a data key, and
data keys are stored wrapped. Where keys and sealed octets are kept is for others to say.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.canonical import canonical_bytes, canonical_bytes_with_floats
from ledger.errors import CommitmentError, MalformedJsonError
from ledger.forms import personal_data
from ledger.forms.grammar import Parser, decode_base64, form, members, text, too_large, wrong
from ledger.forms.names import check_payload_name

SALT_BYTES = 16
NONCE_BYTES = 12
KEY_BYTES = 32
PAYLOADS_MAX = 8
PAYLOAD_BYTES_MAX = 1_048_576
MEDIA_TYPE_MAX = 127
NOTE = "note"
"""Name of the payload that the shorthand `note` stands for."""

_COMMITMENT_PURPOSE = b"effect-ledger/payload/v1\n"
_SEAL_PURPOSE = b"effect-ledger/payload-seal/v1\n"
_WRAP_PURPOSE = b"effect-ledger/data-key/v1\n"

# RFC 6838 Section 4.2 names, with parameters whose values need no quotes.
_RESTRICTED = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
MEDIA_TYPE = re.compile(f"{_RESTRICTED}/{_RESTRICTED}(?:; ?[A-Za-z0-9-]+=[A-Za-z0-9._+-]+)*")

parse_media_type: Parser = form(MEDIA_TYPE, "a media type such as application/json", MEDIA_TYPE_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadIn:
    """A payload as its poster sent it. Its words stay out of logs."""

    name: str
    media_type: str
    content: bytes = field(repr=False)
    data_subject: str | None = field(default=None, repr=False)
    """Opaque id of the person it is about; never hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """What an entry says about a payload."""

    name: str
    media_type: str
    commitment: str
    """Lower-case hexadecimal SHA-256 over salt and content."""


def build_payloads(
    items: Sequence[Any], *, note: str | None = None, screen: frozenset[str] = frozenset()
) -> tuple[PayloadIn, ...]:
    """
    The payloads of a request, ordered by name.

    Args:
        items: Objects of `name`, exactly one of `json`, `text` and `base64`, and optionally
            `media_type` and `data_subject`. What `json` holds is written once, as RFC 8785.
        note: Text of a payload of that name.
        screen: Checks of `personal_data` that names and media types, which are hashed, are held to.

    Raises:
        MalformedEffectError: A member is missing, unknown or wrong, or a name comes twice.
        PersonalDataError: A name or media type seems to name a person.
        TooLargeError: More than 8 payloads, or one of more than 1 MiB.
    """
    payloads = [_build_payload(item, f"/payloads/{at}") for at, item in enumerate(items)]
    for at, payload in enumerate(payloads):
        hashed = {"name": payload.name, "media_type": payload.media_type}
        personal_data.screen(personal_data.texts_of(hashed, f"/payloads/{at}"), screen)
    if note is not None:
        payloads.append(
            PayloadIn(
                name=NOTE,
                media_type=_MEDIA_TYPES["text"],
                content=_content_of_text(note, "/note"),
            )
        )
    if len(payloads) > PAYLOADS_MAX:
        raise too_large("/payloads", len(payloads), PAYLOADS_MAX, "items")
    payloads.sort(key=lambda payload: payload.name)
    for before, payload in itertools.pairwise(payloads):
        if before.name == payload.name:
            raise wrong("/payloads", f"must have different names, found {payload.name} twice")
    return tuple(payloads)


def _build_payload(item: Any, pointer: str) -> PayloadIn:
    words = _wire(item, pointer)
    forms = [name for name in _CONTENTS if name in words]
    if len(forms) != 1:
        raise wrong(pointer, f"must have exactly one of json, text and base64, found {len(forms)}")
    content = _CONTENTS[forms[0]](words[forms[0]], f"{pointer}/{forms[0]}")
    return PayloadIn(
        name=words["name"],
        media_type=words.get("media_type", _MEDIA_TYPES[forms[0]]),
        content=content,
        data_subject=words.get("data_subject"),
    )


def _content_of_json(value: Any, pointer: str) -> bytes:
    try:
        return _sized(canonical_bytes_with_floats(value), pointer)
    except MalformedJsonError as error:
        raise wrong(pointer, f"has {error.message}") from error


def _content_of_text(value: Any, pointer: str) -> bytes:
    if not isinstance(value, str):
        raise wrong(pointer, "must be a string")
    # Not the text rules of hashed strings: a document keeps its line ends as it has them.
    try:
        return _sized(value.encode(), pointer)
    except UnicodeEncodeError as error:
        raise wrong(pointer, "must not have unpaired surrogates") from error


def _content_of_base64(value: Any, pointer: str) -> bytes:
    if not isinstance(value, str):
        raise wrong(pointer, "must be a string")
    # Four characters stand for three octets; decoding what is too long anyway costs memory.
    if len(value) // 4 * 3 > PAYLOAD_BYTES_MAX + 2:
        raise too_large(pointer, len(value) // 4 * 3, PAYLOAD_BYTES_MAX, "bytes")
    return _sized(decode_base64(value, pointer), pointer)


def _sized(content: bytes, pointer: str) -> bytes:
    if len(content) > PAYLOAD_BYTES_MAX:
        raise too_large(pointer, len(content), PAYLOAD_BYTES_MAX, "bytes")
    return content


def _as_is(value: Any, _pointer: str) -> Any:
    return value


_CONTENTS = {"json": _content_of_json, "text": _content_of_text, "base64": _content_of_base64}
_MEDIA_TYPES = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "base64": "application/octet-stream",
}
_wire = members(
    {
        "name": check_payload_name,
        "media_type": parse_media_type,
        "json": _as_is,
        "text": _as_is,
        "base64": _as_is,
        "data_subject": text(255),
    },
    optional=["media_type", "json", "text", "base64", "data_subject"],
)


def commitment(salt: bytes, content: bytes) -> bytes:
    """
    What an entry keeps of a payload: SHA-256, 32 bytes.

    The salt, 16 random bytes, is destroyed with the content: without it a commitment to a
    guessable text would still tell the text.
    """
    assert len(salt) == SALT_BYTES, "a commitment needs its whole salt"
    return hashlib.sha256(_COMMITMENT_PURPOSE + salt + content).digest()


def seal(
    content: bytes, salt: bytes, *, data_key: bytes, origin: str, entry_id: str, name: str
) -> bytes:
    """
    `salt` and `content`, encrypted with AES-256-GCM and bound to their place.

    Returns:
        12 bytes of random nonce, the ciphertext, and the tag. Sealed octets that are moved
        to another ledger, entry or name do not open.
    """
    assert len(salt) == SALT_BYTES, "a sealed payload begins with its whole salt"
    aad = _SEAL_PURPOSE + canonical_bytes([origin, entry_id, name])
    return _encrypt(data_key, salt + content, aad)


def open_sealed(
    sealed: bytes, *, data_key: bytes, origin: str, entry_id: str, name: str
) -> tuple[bytes, bytes]:
    """
    The salt and the content that `seal` was given.

    Raises:
        CommitmentError: Changed since, sealed for another place, or under another key.
    """
    aad = _SEAL_PURPOSE + canonical_bytes([origin, entry_id, name])
    plain = _decrypt(data_key, sealed, aad)
    if plain is None or len(plain) < SALT_BYTES:
        raise CommitmentError(
            f"payload {name} of entry {entry_id} does not open: changed, moved or another key",
            entry_id=entry_id,
            name=name,
        )
    return plain[:SALT_BYTES], plain[SALT_BYTES:]


def wrap_data_key(payload_key: bytes, data_key: bytes, ledger: str, data_subject: str) -> bytes:
    """A data key of 32 bytes, encrypted under the payload key and bound to whom it is for."""
    assert len(data_key) == KEY_BYTES, "AES-256 has keys of 32 bytes"
    return _encrypt(payload_key, data_key, _WRAP_PURPOSE + canonical_bytes([ledger, data_subject]))


def unwrap_data_key(payload_key: bytes, wrapped: bytes, ledger: str, data_subject: str) -> bytes:
    """
    The data key that `wrap_data_key` was given.

    Raises:
        CommitmentError: Changed since, wrapped for someone else, or under another payload
            key. Nothing sealed under it can be read.
    """
    plain = _decrypt(payload_key, wrapped, _WRAP_PURPOSE + canonical_bytes([ledger, data_subject]))
    if plain is None or len(plain) != KEY_BYTES:
        # The data subject stays out of the message: it is never logged.
        raise CommitmentError(
            f"a data key of ledger {ledger} does not open: changed, moved or another payload key",
            ledger=ledger,
        )
    return plain


def _encrypt(key: bytes, plain: bytes, aad: bytes) -> bytes:
    assert len(key) == KEY_BYTES, "AES-256 has keys of 32 bytes"
    # Random nonces are safe for 2^32 messages under one key (NIST SP 800-38D Section 8.3):
    # a data key has the payloads of one person, the payload key one message per person.
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, aad)


def _decrypt(key: bytes, sealed: bytes, aad: bytes) -> bytes | None:
    assert len(key) == KEY_BYTES, "AES-256 has keys of 32 bytes"
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except (InvalidTag, ValueError):
        # ValueError: too short to hold a nonce, so not something we sealed.
        return None

"""
Signed notes: a text with signature lines under it, per C2SP signed-note.

Also checks the lines that witnesses add, per C2SP tlog-cosignature. What a text says is for
others to read. https://c2sp.org/signed-note https://c2sp.org/tlog-cosignature
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.errors import MalformedProofError, SignatureError

ED25519 = 0x01
"""Ed25519 over the text."""
ED25519_COSIGNATURE = 0x04
"""Ed25519 over time and text: a witness's."""
ML_DSA_44_COSIGNATURE = 0x06
"""ML-DSA-44 over the tree that a checkpoint states: a witness's."""
COSIGNATURES = frozenset({ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE})

NOTE_BYTES_MAX = 1_048_576
"""By bytes and not by lines: readers take at least 16 signatures, and a post-quantum one has
3,300 characters."""

TIME_END = 2**63
"""Seconds that a cosignature can no longer name."""

_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_PUBLIC_KEY_BYTES = {ED25519: 32, ED25519_COSIGNATURE: 32, ML_DSA_44_COSIGNATURE: 1312}
_LINE_START = "\N{EM DASH} "
# signed-note: no control character but the newline.
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f]")
# An unpaired surrogate comes from arguments that are not UTF-8, and has no octets to hash.
_NAME = re.compile(r"[^\s+\ud800-\udfff]+")
_KEY_ID_HEX = re.compile("[0-9a-f]{8}")


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """
    The four bytes by which a signature line names its key.

    Args:
        name: Key name.
        algorithm: Signature type, such as `ED25519`.
        public_key: Raw public key.
    """
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:_KEY_ID_BYTES]


def decode_base64(text: str) -> bytes:
    """
    The octets of `text`, which must be their one padded base64 spelling.

    Raises:
        MalformedProofError: It is not; a second spelling would be a second proof.
    """
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedProofError(f"not padded base64: {text[:80]!r}") from error
    if base64.b64encode(octets).decode() != text:
        raise MalformedProofError(f"not the shortest base64: {text[:80]!r}")
    return octets


# ---- Keys -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key with its name."""

    name: str
    key_id: bytes
    """4 bytes."""
    algorithm: int
    public_key: bytes
    final_size: int | None = None
    """Of a log's key that was retired: the largest tree it speaks for."""

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """
        The key that a vkey line is: name, key id in hexadecimal, and key, joined by `+`.

        Raises:
            MalformedProofError: Another form, an algorithm or key length that is not known
                here, or a key id that is not this key's.
        """
        name, plus, rest = vkey.partition("+")
        identifier, also_plus, encoded = rest.partition("+")
        if not (plus and also_plus and _KEY_ID_HEX.fullmatch(identifier)):
            raise MalformedProofError(f"not a verifier key: {vkey[:80]!r}")
        check_key_name(name)
        key = decode_base64(encoded)
        algorithm, public_key = key[0] if key else 0, key[1:]
        if len(public_key) != _PUBLIC_KEY_BYTES.get(algorithm):
            raise MalformedProofError(
                f"key {name}: no known algorithm {algorithm:#04x} has a key of "
                f"{len(public_key)} bytes",
                name=name,
                algorithm=algorithm,
            )
        expected = key_id(name, algorithm, public_key)
        if identifier != expected.hex():
            raise MalformedProofError(
                f"key {name}: expected key id {expected.hex()}, found {identifier}",
                expected=expected.hex(),
                found=identifier,
            )
        return cls(name=name, key_id=expected, algorithm=algorithm, public_key=public_key)

    def encode(self) -> str:
        """The vkey line, without line end."""
        key = base64.b64encode(bytes([self.algorithm]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    def verify(self, text: str, signature: bytes) -> None:
        """
        Check what a signature line says after the key id.

        Args:
            text: Text of the note, with its final line end.
            signature: 64 bytes of Ed25519; for a witness's, 8 bytes of time come first.

        Raises:
            SignatureError: The signature is not this key's over this text, or the algorithm
                cannot be checked here.
        """
        try:
            if self.algorithm == ED25519:
                self._verify_ed25519(text.encode(), signature)
            elif self.algorithm == ED25519_COSIGNATURE:
                time, signature = split_time(signature)
                self._verify_ed25519(dated_text(time, text), signature)
            else:
                time, signature = split_time(signature)
                self._verify_ml_dsa_44(dated_tree(self.name, time, text), signature)
        except UnsupportedAlgorithm as error:
            raise SignatureError(
                f"key {self.name}: signatures of type {self.algorithm:#04x} cannot be checked here"
            ) from error
        except (InvalidSignature, ValueError, OverflowError) as error:
            raise SignatureError(
                f"key {self.name}+{self.key_id.hex()} did not sign this text",
                name=self.name,
                key_id=self.key_id.hex(),
            ) from error

    def _verify_ed25519(self, message: bytes, signature: bytes) -> None:
        Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)

    def _verify_ml_dsa_44(self, message: bytes, signature: bytes) -> None:
        # Imported where it is needed: older releases of cryptography do not have it.
        try:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
        except ImportError as error:
            raise SignatureError(
                f"key {self.name}: ML-DSA-44 needs a newer release of cryptography"
            ) from error
        MLDSA44PublicKey.from_public_bytes(self.public_key).verify(signature, message)


def split_time(signature: bytes) -> tuple[int, bytes]:
    """
    POSIX seconds of a cosignature, and the signature itself.

    Raises:
        ValueError: The time has more than 63 bits.
    """
    time = int.from_bytes(signature[:_TIME_BYTES])
    if time >= TIME_END:
        raise ValueError("tlog-cosignature: a time has 63 bits")
    return time, signature[_TIME_BYTES:]


def dated_text(time: int, text: str) -> bytes:
    """What a witness signs with Ed25519: when it saw the text, and all of the text."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def dated_tree(name: str, time: int, text: str) -> bytes:
    """
    What ML-DSA-44 signs: not the text, but what the three lines of a checkpoint state.

    Raises:
        ValueError, OverflowError: The text is no checkpoint, or not in its one spelling.
    """
    # A further line would stand above the signature without being under it.
    origin, size, root, nothing_else = text.split("\n")
    if nothing_else:
        raise ValueError("tlog-cosignature: only a checkpoint is signed")
    octets = base64.b64decode(root, validate=True)
    # So would another spelling: the signature is over the number and the hash.
    if (str(int(size)), base64.b64encode(octets).decode()) != (size, root):
        raise ValueError("tlog-cosignature: only a checkpoint in its one spelling is signed")
    return b"".join(
        [
            b"subtree/v1\n\x00",
            bytes([len(name.encode())]),
            name.encode(),
            time.to_bytes(8),
            bytes([len(origin.encode())]),
            origin.encode(),
            (0).to_bytes(8),
            int(size).to_bytes(8),
            octets,
        ]
    )


class SigningKey(Protocol):
    """An Ed25519 key that signs: held here, or by something that shows only its public half."""

    def public_key(self) -> Ed25519PublicKey:
        """The public half."""

    def sign(self, data: bytes, /) -> bytes:
        """64 bytes over `data`; SignerUnavailableError where whoever holds it does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteKey:
    """A private key with the name it signs under."""

    name: str
    private_key: SigningKey = field(repr=False)
    verifier: VerifierKey = field(init=False)
    """The public half."""

    def __post_init__(self) -> None:
        check_key_name(self.name)
        public_key = self.private_key.public_key().public_bytes_raw()
        verifier = VerifierKey(
            name=self.name,
            key_id=key_id(self.name, ED25519, public_key),
            algorithm=ED25519,
            public_key=public_key,
        )
        # Made once: it takes as long as the signature itself.
        object.__setattr__(self, "verifier", verifier)

    def sign(self, text: str) -> str:
        """Signature line over `text`, a note's text with its final line end; ends in one too."""
        _check_text(text)
        verifier = self.verifier
        signature = Signature(
            name=self.name,
            key_id=verifier.key_id,
            signature=self.private_key.sign(text.encode()),
        )
        return signature.encode()


def check_key_name(name: str) -> None:
    """Raise MalformedProofError unless `name` can stand in a signature line."""
    if not _NAME.fullmatch(name) or _CONTROLS.search(name):
        raise MalformedProofError(f"not a key name, which has no space or plus: {name[:80]!r}")


# ---- Notes ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    """4 bytes."""
    signature: bytes
    """What follows the key id; its form is the algorithm's."""

    def encode(self) -> str:
        """The line, with its end."""
        blob = base64.b64encode(self.key_id + self.signature).decode()
        return f"{_LINE_START}{self.name} {blob}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text and signatures over it."""

    text: str
    """Ends in a line end."""
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note as it is kept and sent."""
        lines = "".join(signature.encode() for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()

    def is_signed_by(self, verifier: VerifierKey) -> bool:
        """Whether there is a line of that key; whether it is good, `open_note` tells."""
        return any(_is_by(signature, verifier) for signature in self.signatures)


def parse_note(data: bytes) -> Note:
    """
    The parts of a note. No signature is checked.

    Raises:
        MalformedProofError: Not a signed note, or over 1 MiB.
    """
    if len(data) > NOTE_BYTES_MAX:
        raise MalformedProofError(
            f"the note has {len(data)} bytes, the limit is {NOTE_BYTES_MAX}",
            limit=NOTE_BYTES_MAX,
            found=len(data),
        )
    try:
        decoded = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedProofError(f"the note is not UTF-8 at byte {error.start}") from error
    # The text may have blank lines of its own: the last one divides.
    text, divider, signatures = decoded.rpartition("\n\n")
    if not divider or not signatures.endswith("\n"):
        raise MalformedProofError("the note has no signatures after a blank line")
    text += "\n"
    _check_text(text)
    return Note(text=text, signatures=parse_signatures(signatures))


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """
    Signature lines as they stand under a note, or as a witness sends them. None is checked.

    Raises:
        MalformedProofError: A line is in another form, or the last one has no end.
    """
    if not text.endswith("\n"):
        raise MalformedProofError("a signature line ends in a line end")
    return tuple(_parse_signature(line) for line in text.removesuffix("\n").split("\n"))


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise MalformedProofError("the text of a note ends in a line end")
    if _CONTROLS.search(text):
        raise MalformedProofError("the text of a note has no control characters but line ends")


def _parse_signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_LINE_START).partition(" ")
    if not line.startswith(_LINE_START) or not space:
        raise MalformedProofError(f"not a signature line: {line[:80]!r}")
    check_key_name(name)
    blob = decode_base64(encoded)
    if len(blob) <= _KEY_ID_BYTES:
        raise MalformedProofError(f"the signature line of {name[:80]!r} has no signature")
    return Signature(name=name, key_id=blob[:_KEY_ID_BYTES], signature=blob[_KEY_ID_BYTES:])


def open_note(data: bytes, verifiers: Sequence[VerifierKey]) -> Note:
    """
    A note with those of its signatures that were checked and are good.

    Lines of keys that are not among `verifiers` are left out: anyone may add one.

    Raises:
        MalformedProofError: Not a signed note.
        SignatureError: No line is by one of `verifiers`, or one that is does not verify.
    """
    note = parse_note(data)
    good = []
    for signature in dict.fromkeys(note.signatures):
        keys = [verifier for verifier in verifiers if _is_by(signature, verifier)]
        # A known key's bad signature makes the note a forgery, whatever else is under it.
        for key in keys:
            key.verify(note.text, signature.signature)
        if keys:
            good.append(signature)
    if not good:
        names = sorted({signature.name for signature in note.signatures})
        raise SignatureError(
            f"no signature by a known key, found {', '.join(names)[:200]}",
            expected=[verifier.encode() for verifier in verifiers],
            found=names,
        )
    return Note(text=note.text, signatures=tuple(good))


def _is_by(signature: Signature, verifier: VerifierKey) -> bool:
    return (signature.name, signature.key_id) == (verifier.name, verifier.key_id)

"""
Signer desk: the questions that other hosts ask a signer, and its answers, as JSON.

    base         the committed tree that is about to be extended   -> what was signed
    sign         hashes that were committed                        -> the signed checkpoint
    checkpoint   the largest tree that was signed, and its note
    register     begin the record of a new origin
    attest       a verdict, to be signed
    bundle       the hash of a bundle's manifest, to be signed
    endorse      a key that signs, to be vouched for by the others that do

Where the record is behind what it is told of, the answer is not an error but from which entry on
hashes are needed. What is signed and what is refused, `signer` says; how it travels, the entrances.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ledger.canonical import parse_json
from ledger.checkpoint import SIZE_MAX
from ledger.errors import (
    ForkedError,
    LedgerBrokenError,
    MalformedJsonError,
    MalformedProofError,
    RolledBackError,
)
from ledger.merkle import HASH_BYTES, Frontier
from ledger.signing.signer import CATCH_UP_LEAVES, FileSigner

REQUEST_BYTES_MAX = 4 * 1024 * 1024
"""As many hashes as are told at a time, in base64, with all around them."""
assert CATCH_UP_LEAVES * HASH_BYTES * 4 // 3 < REQUEST_BYTES_MAX, "a chunk fits a request"

REFUSALS: Mapping[str, type[LedgerBrokenError]] = {
    "rolled_back": RolledBackError,
    "forked": ForkedError,
    "broken": LedgerBrokenError,
}
"""Code on the wire -> the refusal it is; a kind comes before those it is one of."""


class LeavesNeededError(MalformedProofError):
    """The record ends before what it was told of: hashes from `start` on are needed."""

    def __init__(self, start: int) -> None:
        super().__init__(f"hashes from entry {start} on are needed", start=start)
        self.start = start


class SignerDesk:
    """Answers for a signer. Safe to share between threads, as the signer is."""

    def __init__(self, signer: FileSigner) -> None:
        self._signer = signer
        self._answers: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "base": self._base,
            "sign": self._sign,
            "checkpoint": self._checkpoint,
            "register": self._register,
            "verifiers": self._verifiers,
            "attest": self._attest,
            "bundle": self._bundle,
            "endorse": self._endorse,
        }

    @property
    def questions(self) -> tuple[str, ...]:
        """What may be asked."""
        return tuple(self._answers)

    def identity(self) -> dict[str, Any]:
        """Which record this is."""
        return {"identity": self._signer.identity}

    def answer(self, question: str, body: bytes) -> dict[str, Any]:
        """
        The answer to one of `questions`.

        Args:
            question: Its name.
            body: A JSON object.

        Raises:
            LeavesNeededError: Ask again, with these hashes.
            MalformedProofError: The question is not in its form.
            LedgerBrokenError: The signer refuses; one of `REFUSALS`.
            SignerUnavailableError: The record cannot be read or written.
        """
        try:
            document = parse_json(body)
        except MalformedJsonError as error:
            raise MalformedProofError(f"the question is not JSON: {error.message}") from error
        if not isinstance(document, dict):
            raise MalformedProofError("the question is not a JSON object")
        return self._answers[question](document)

    def _base(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        origin, size = _text(asked, "origin"), _size(asked, "size")
        first = _size(asked, "leaves_from") if "leaves_from" in asked else size
        told = read_hashes(_text(asked, "leaves")) if "leaves" in asked else []

        def read(start: int, stop: int) -> Sequence[bytes]:
            if not first <= start <= stop <= first + len(told):
                raise LeavesNeededError(start)
            return told[start - first : stop - first]

        self._signer.show_base(origin, size, read_hash(_text(asked, "root")), read)
        return self._signed(origin)

    def _sign(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        origin = _text(asked, "origin")

        def read(start: int, _stop: int) -> Sequence[bytes]:
            raise LeavesNeededError(start)

        _, note = self._signer.sign(
            origin, _size(asked, "start"), read_hashes(_text(asked, "leaves")), read
        )
        return {"note": note.decode(), **self._signed(origin)}

    def _checkpoint(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        origin = _text(asked, "origin")
        _, note = self._signer.checkpoint(origin)
        return {"note": note.decode(), **self._signed(origin)}

    def _register(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._signer.register(_text(asked, "origin"))
        return {}

    def _verifiers(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        origin = _text(asked, "origin")
        second = self._signer.ml_dsa_verifier(origin)
        return {
            "vkeys": [key.encode() for key in self._signer.verifiers(origin)],
            "ml_dsa_vkey": None if second is None else second.encode(),
        }

    def _attest(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"note": self._signer.attest(_text(asked, "text")).decode()}

    def _bundle(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        manifest_hash = read_hash(_text(asked, "manifest_hash"))
        return {"note": self._signer.sign_bundle(_text(asked, "origin"), manifest_hash).decode()}

    def _endorse(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"lines": self._signer.endorse(_text(asked, "origin"), _text(asked, "vkey"))}

    def _signed(self, origin: str) -> dict[str, Any]:
        frontier = self._signer.frontier(origin)
        return {"size": frontier.size, "frontier": write_hashes([frontier.to_bytes()])}


def refusal_code(error: LedgerBrokenError) -> str:
    """How a refusal is called on the wire."""
    return next(code for code, kind in REFUSALS.items() if isinstance(error, kind))


def write_hashes(hashes: Sequence[bytes]) -> str:
    """Hashes behind each other, as base64."""
    return base64.b64encode(b"".join(hashes)).decode()


def read_hashes(text: str) -> list[bytes]:
    """
    The hashes that `write_hashes` wrote.

    Raises:
        MalformedProofError: It is not base64 of whole hashes.
    """
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedProofError("hashes are not in base64") from error
    if len(octets) % HASH_BYTES:
        raise MalformedProofError(f"a hash has {HASH_BYTES} bytes")
    return [octets[at : at + HASH_BYTES] for at in range(0, len(octets), HASH_BYTES)]


def read_hash(text: str) -> bytes:
    """
    One hash.

    Raises:
        MalformedProofError: It is none, or not one.
    """
    hashes = read_hashes(text)
    if len(hashes) != 1:
        raise MalformedProofError(f"expected one hash, found {len(hashes)}")
    return hashes[0]


def read_frontier(answer: Mapping[str, Any]) -> Frontier:
    """
    The compact range in an answer.

    Raises:
        MalformedProofError: It has another number of hashes than its size asks for.
    """
    size = _size(answer, "size")
    hashes = read_hashes(_text(answer, "frontier"))
    if len(hashes) != size.bit_count():
        raise MalformedProofError("the compact range is not that of its size")
    return Frontier.from_bytes(size, b"".join(hashes))


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise MalformedProofError(f"{name} must be a string")
    return value


def _size(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    # To Python, True is a number.
    if type(value) is not int or not 0 <= value <= SIZE_MAX:
        raise MalformedProofError(f"{name} must be a number of entries")
    return value

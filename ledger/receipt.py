"""
Receipt: what a caller keeps as proof. An entry, its inclusion proof and a checkpoint.

The proof is C2SP tlog-proof text, which other programs verify as well. What the entry says
beyond its place, its payloads, the registry's second proof and timestamps are for `verify`.
https://c2sp.org/tlog-proof
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ledger.canonical import parse_json
from ledger.checkpoint import SIZE_MAX, Checkpoint, read_checkpoint
from ledger.errors import InclusionError, MalformedJsonError, MalformedProofError, SignatureError
from ledger.merkle import HASH_BYTES, LeafIndex, TreeSize, leaf_hash, verify_inclusion
from ledger.note import COSIGNATURES, VerifierKey, decode_base64, open_note, parse_note

ReceiptLevel = Literal["unsigned", "log-signed", "cosigned", "timestamped"]
"""How much a receipt proves; each level includes the one before it."""

_HEADER = "c2sp.org/tlog-proof@v1"
_PROOF_HASHES_MAX = 63
_INDEX = re.compile("0|[1-9][0-9]{0,18}")


# ---- Proof text -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """Place of a leaf in a tree, and a signed checkpoint of that tree."""

    index: int
    """Zero-based position of the leaf."""
    hashes: tuple[bytes, ...]
    """Siblings from the leaf upwards, 32 bytes each."""
    checkpoint_note: bytes
    """Signed note, with the cosignatures there are."""
    extra: bytes | None = None
    """Octets that come along and are not under any signature."""

    def encode(self) -> str:
        """Text of a `.tlog-proof` file."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += map(_base64, self.hashes)
        head = "\n".join(lines)
        return f"{head}\n\n{self.checkpoint_note.decode()}"


def parse_tlog_proof(text: str) -> TlogProof:
    """
    The parts of a proof. Nothing is verified.

    Raises:
        MalformedProofError: Not tlog-proof@v1 text, or what should be the checkpoint is not
            a signed note.
    """
    head, blank, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != _HEADER:
        raise MalformedProofError(f"expected a first line of {_HEADER}, found {header[:80]!r}")
    if not blank:
        raise MalformedProofError("the proof has no checkpoint after a blank line")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "))
    index = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
    if not _INDEX.fullmatch(index) or int(index) > SIZE_MAX:
        raise MalformedProofError(f"expected a line with the index, found {index[:80]!r}")
    if len(lines) > _PROOF_HASHES_MAX:
        raise MalformedProofError(
            f"the proof has {len(lines)} hashes, the limit is {_PROOF_HASHES_MAX}",
            limit=_PROOF_HASHES_MAX,
            found=len(lines),
        )
    checkpoint_note = _encode(note, "proof")
    parse_note(checkpoint_note)
    return TlogProof(
        index=int(index),
        hashes=tuple(map(_parse_hash, lines)),
        checkpoint_note=checkpoint_note,
        extra=extra,
    )


def _parse_hash(line: str) -> bytes:
    octets = decode_base64(line)
    if len(octets) != HASH_BYTES:
        raise MalformedProofError(
            f"a hash has {HASH_BYTES} bytes, found {len(octets)}",
            expected=HASH_BYTES,
            found=len(octets),
        )
    return octets


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _encode(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedProofError(f"the {what} has an unpaired surrogate") from error


# ---- Receipts -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An entry with what proves it; as received, nothing of it is proved yet."""

    level: ReceiptLevel
    """What the sender says it proves; `verify_receipt` tells what it does."""
    proof: str | None
    """tlog-proof text; None exactly at level `unsigned`."""
    entry: bytes
    """The entry as it is hashed."""
    payloads: tuple[Mapping[str, Any], ...] = ()
    """For each payload shown: name, media type, commitment and, where allowed, its salt."""
    registry: Mapping[str, Any] | None = None
    """Proof that the registry recorded a checkpoint of this ledger; not read here."""

    def __post_init__(self) -> None:
        assert (self.proof is None) == (self.level == "unsigned"), "a signed receipt has a proof"

    def to_document(self) -> dict[str, Any]:
        """The receipt as a JSON object. The entry is a string: its bytes are what counts."""
        document: dict[str, Any] = {
            "level": self.level,
            "proof": self.proof,
            "entry": self.entry.decode(),
        }
        if self.payloads:
            document["payloads"] = [dict(payload) for payload in self.payloads]
        if self.registry is not None:
            document["registry"] = dict(self.registry)
        return document

    def to_text(self) -> str:
        """
        The one-file form: the proof, carrying the entry in its `extra` line.

        Payloads and the registry's proof do not come along.

        Raises:
            SignatureError: The receipt is unsigned; there is no proof to carry anything.
        """
        proof = parse_tlog_proof(_proof_of(self))
        return TlogProof(
            index=proof.index,
            hashes=proof.hashes,
            checkpoint_note=proof.checkpoint_note,
            extra=self.entry,
        ).encode()


_MEMBERS = frozenset({"level", "proof", "entry", "payloads", "registry"})


def parse_receipt(document: Any) -> Receipt:
    """
    The receipt that a JSON object is. Nothing is verified.

    Args:
        document: As `parse_json` gives it.

    Raises:
        MalformedProofError: A member is missing, unknown or wrong.
    """
    if not isinstance(document, dict):
        raise MalformedProofError("a receipt is a JSON object")
    if unknown := sorted(map(str, document.keys() - _MEMBERS)):
        raise MalformedProofError(f"receipt: {unknown[0][:63]} is not a member known here")
    level: Any = document.get("level")
    proof, entry = document.get("proof"), document.get("entry")
    if level not in get_args(ReceiptLevel):
        raise MalformedProofError(f"receipt: expected a level, found {str(level)[:63]!r}")
    if not isinstance(entry, str):
        raise MalformedProofError("receipt: entry must be a string")
    if level == "unsigned":
        if proof is not None:
            raise MalformedProofError("receipt: an unsigned one has no proof")
    elif not isinstance(proof, str):
        raise MalformedProofError("receipt: proof must be a string")
    payloads = document.get("payloads", [])
    if not isinstance(payloads, list) or not all(isinstance(each, dict) for each in payloads):
        raise MalformedProofError("receipt: payloads must be a list of objects")
    registry = document.get("registry")
    if "registry" in document and not isinstance(registry, dict):
        raise MalformedProofError("receipt: registry must be an object")
    return Receipt(
        level=level,
        proof=proof,
        entry=_encode(entry, "entry"),
        payloads=tuple(payloads),
        registry=registry,
    )


def parse_receipt_text(text: str) -> Receipt:
    """
    The receipt that the one-file form is. Nothing is verified.

    Raises:
        MalformedProofError: Not a proof, or one that carries no entry in UTF-8.
    """
    proof = parse_tlog_proof(text)
    if proof.extra is None:
        raise MalformedProofError("the proof has no extra line with the entry")
    try:
        proof.extra.decode()
    except UnicodeDecodeError as error:
        raise MalformedProofError(f"the entry is not UTF-8 at byte {error.start}") from error
    return Receipt(level="log-signed", proof=text, entry=proof.extra)


# ---- Verifying ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPlace:
    """What a proof was found to prove: this leaf is in that tree."""

    index: LeafIndex
    checkpoint: Checkpoint
    witnesses: tuple[str, ...]
    """Names of the known witnesses that cosigned, in order."""
    level: ReceiptLevel
    """The level reached: `log-signed` or `cosigned`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEntry:
    """What a receipt was found to prove."""

    entry: bytes
    """The entry as it is hashed."""
    ledger: str
    seq: LeafIndex
    place: ProvenPlace

    @property
    def level(self) -> ReceiptLevel:
        """The level reached, whatever the receipt says of itself."""
        return self.place.level


def verify_receipt(
    receipt: Receipt,
    verifiers: Sequence[VerifierKey],
    *,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int = 0,
) -> VerifiedEntry:
    """
    Check that the ledger's own key signed a tree that has this entry at its place.

    Not checked: what else the entry says, its payloads, the registry's proof, timestamps.

    Args:
        receipt: As received.
        verifiers: Keys of the ledger that are trusted.
        witnesses: Keys of witnesses that are trusted.
        quorum: How many of them, by name, must have cosigned.

    Raises:
        SignatureError: The receipt is unsigned, a signature is missing or not good, or fewer
            than `quorum` witnesses cosigned.
        InclusionError: The entry is not in the tree at the proof's index, or names another
            place or ledger than where it was found.
        MalformedProofError: A part is not in the form it claims.
    """
    proof = parse_tlog_proof(_proof_of(receipt))
    place = verify_tlog_proof(
        proof, leaf_hash(receipt.entry), verifiers, witnesses=witnesses, quorum=quorum
    )
    ledger = _check_place(receipt.entry, place)
    return VerifiedEntry(entry=receipt.entry, ledger=ledger, seq=place.index, place=place)


def verify_tlog_proof(
    proof: TlogProof,
    leaf: bytes,
    verifiers: Sequence[VerifierKey],
    *,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int = 0,
) -> ProvenPlace:
    """
    Check that a log key signed a tree that has `leaf`, 32 bytes, at the proof's index.

    The leaf may be anything; otherwise as `verify_receipt`.

    Raises:
        SignatureError, InclusionError, MalformedProofError: As `verify_receipt`.
    """
    opened = open_note(proof.checkpoint_note, [*verifiers, *witnesses])
    checkpoint = read_checkpoint(opened, verifiers)
    # By name: one witness with two keys is one witness.
    cosigned = {
        witness.name: None
        for witness in witnesses
        if witness.algorithm in COSIGNATURES and opened.is_signed_by(witness)
    }
    if len(cosigned) < quorum:
        raise SignatureError(
            f"expected {quorum} of {len(witnesses)} witnesses, found {len(cosigned)}",
            expected=quorum,
            found=list(cosigned),
        )
    index = LeafIndex(proof.index)
    verify_inclusion(leaf, index, TreeSize(checkpoint.size), proof.hashes, checkpoint.root)
    return ProvenPlace(
        index=index,
        checkpoint=checkpoint,
        witnesses=tuple(cosigned),
        level="cosigned" if cosigned else "log-signed",
    )


def _proof_of(receipt: Receipt) -> str:
    if receipt.proof is None:
        raise SignatureError(
            "this receipt is unsigned and proves nothing yet: fetch the signed one with "
            "GET /v1/ledgers/{ledger}/entries/{seq}/receipt"
        )
    return receipt.proof


def _check_place(entry: bytes, place: ProvenPlace) -> str:
    try:
        members = parse_json(entry)
    except MalformedJsonError as error:
        raise MalformedProofError(f"the entry is not JSON: {error.message}") from error
    if not isinstance(members, dict):
        raise MalformedProofError("the entry is not a JSON object")
    # An origin is <host>/<ledger>: a receipt of one ledger is no receipt of another.
    ledger = place.checkpoint.origin.rpartition("/")[2]
    for name, expected in (("seq", int(place.index)), ("ledger", ledger)):
        found = members.get(name)
        # By type too: to Python, 1.0 and True equal 1.
        if type(found) is not type(expected) or found != expected:
            raise InclusionError(
                f"the entry has {name} {str(found)[:63]!r}, its place is {expected!r}",
                expected=expected,
                found=str(found)[:63],
            )
    return ledger

"""
Receipt: what a caller keeps as proof. An entry, its inclusion proof and a checkpoint.

The proof is C2SP tlog-proof text, which other programs verify as well. What the entry says
beyond its place, and its payloads, are for `verify`.

    entry -- inclusion --> checkpoint of its ledger -- cosignatures, timestamp
                               |__ recorded by an entry of the registry, with a receipt of its own:
                                   what anchors the registry's checkpoint anchors this one

https://c2sp.org/tlog-proof
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, get_args

from ledger.canonical import parse_json
from ledger.checkpoint import (
    LOG_ALGORITHMS,
    SIZE_MAX,
    Checkpoint,
    log_part,
    parse_checkpoint,
    read_checkpoint,
)
from ledger.cosignature import cosignatures_of
from ledger.entry import Entry, parse_entry
from ledger.errors import InclusionError, MalformedJsonError, MalformedProofError, SignatureError
from ledger.forms.names import REGISTRY
from ledger.forms.timestamps import from_posix
from ledger.merkle import HASH_BYTES, LeafIndex, TreeSize, leaf_hash, verify_inclusion
from ledger.note import (
    COSIGNATURES,
    Note,
    VerifierKey,
    decode_base64,
    key_id,
    open_note,
    parse_note,
)
from ledger.rfc3161 import Authorities, Timestamp, verify_timestamp

ReceiptLevel = Literal["unsigned", "log-signed", "cosigned", "timestamped"]
"""
How much a receipt proves: nothing yet; that the log signed it; that witnesses saw the log sign it;
that an authority says when. The last says nothing of witnesses: who wants both asks for a quorum.
"""
LEVELS: tuple[ReceiptLevel, ...] = get_args(ReceiptLevel)
"""From the least to the most."""

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

    @property
    def origin(self) -> str:
        """Whose checkpoint it says it is; MalformedProofError where it is none."""
        return parse_checkpoint(parse_note(self.checkpoint_note).text).origin

    def encode(self) -> str:
        """Text of a `.tlog-proof` file."""
        extra = "" if self.extra is None else f"extra {_base64(self.extra)}\n"
        return proof_text(self.index, self.hashes, self.checkpoint_note.decode(), extra)


def proof_text(index: int, hashes: Iterable[bytes], note: str, extra: str = "") -> str:
    """
    Text of a `.tlog-proof` file, as `TlogProof.encode` has it.

    Args:
        index: Zero-based position of the leaf.
        hashes: Siblings from the leaf upwards, 32 bytes each.
        note: The checkpoint's signed note.
        extra: The line with what comes along, and its end; or nothing.
    """
    lines = "\n".join((f"index {index}", *map(_hash_line, hashes)))
    return f"{_HEADER}\n{extra}{lines}\n\n{note}"


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


# Nodes near the root stand in the proofs of all entries of a batch, and in those of the next.
@lru_cache(maxsize=4_096)
def _hash_line(node: bytes) -> str:
    return _base64(node)


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
    """Receipt of the registry's entry that recorded the checkpoint of `proof`."""
    timestamp: bytes | None = None
    """RFC 3161 reply over the log's part of the checkpoint of `proof`."""

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
        if self.timestamp is not None:
            document["timestamp"] = _base64(self.timestamp)
        return document

    def to_text(self) -> str:
        """
        The one-file form: the proof, carrying the entry in its `extra` line.

        Payloads, the registry's receipt and the timestamp do not come along.

        Raises:
            SignatureError: The receipt is unsigned; there is no proof to carry anything.
        """
        proof = parse_tlog_proof(proof_of(self))
        return TlogProof(
            index=proof.index,
            hashes=proof.hashes,
            checkpoint_note=proof.checkpoint_note,
            extra=self.entry,
        ).encode()


_MEMBERS = frozenset({"level", "proof", "entry", "payloads", "registry", "timestamp"})


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
    return Receipt(
        level=level, proof=proof, entry=_encode(entry, "entry"), **_parse_companions(document)
    )


def _parse_companions(document: Mapping[str, Any]) -> dict[str, Any]:
    """What may come along with entry and proof."""
    payloads = document.get("payloads", [])
    if not isinstance(payloads, list) or not all(isinstance(each, dict) for each in payloads):
        raise MalformedProofError("receipt: payloads must be a list of objects")
    registry = document.get("registry")
    if "registry" in document and not isinstance(registry, dict):
        raise MalformedProofError("receipt: registry must be an object")
    timestamp = document.get("timestamp")
    if "timestamp" in document and not isinstance(timestamp, str):
        raise MalformedProofError("receipt: timestamp must be a string")
    return {
        "payloads": tuple(payloads),
        "registry": registry,
        "timestamp": None if timestamp is None else decode_base64(timestamp),
    }


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


def proof_of(receipt: Receipt) -> str:
    """
    The proof's text.

    Raises:
        SignatureError: The receipt is unsigned; it has none.
    """
    if receipt.proof is None:
        raise SignatureError(
            "this receipt is unsigned and proves nothing yet: fetch the signed one with "
            "GET /v1/ledgers/{ledger}/entries/{seq}/receipt"
        )
    return receipt.proof


# ---- Verifying ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPlace:
    """What a proof was found to prove: this leaf is in that tree."""

    index: LeafIndex
    checkpoint: Checkpoint
    witnesses: tuple[str, ...]
    """Names of the known witnesses that cosigned, in order."""
    seen_at: tuple[datetime, ...]
    """When they first had seen it, by their own clocks; the earliest first."""
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
    timestamp: Timestamp | None
    """Over the checkpoint of `place`."""
    registry: VerifiedEntry | None
    """The registry's entry that recorded the checkpoint of `place`."""
    quorum: int
    """How many witnesses it takes to believe when it was seen."""
    overclaim: str | None
    """That the receipt says more of itself than it carries, for people; None where it does not."""
    unproved: tuple[str, ...]
    """What came along and could not be checked with what is trusted here, for people."""

    @property
    def level(self) -> ReceiptLevel:
        """The level reached, whatever the receipt says of itself."""
        if self.timestamps:
            return "timestamped"
        return "cosigned" if self.witnesses else "log-signed"

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Names of the known witnesses under the ledger's checkpoint and the registry's."""
        names = (name for each in self._anchored() for name in each.place.witnesses)
        return tuple(dict.fromkeys(names))

    @property
    def timestamps(self) -> tuple[Timestamp, ...]:
        """Of the ledger's checkpoint and the registry's."""
        found = (each.timestamp for each in self._anchored())
        return tuple(timestamp for timestamp in found if timestamp is not None)

    @property
    def not_after(self) -> datetime | None:
        """The entry was there by then, as witnesses and authorities say; None where none does."""
        times = [
            time for each in self._anchored() for time in each.place.seen_at[self.quorum - 1 :]
        ]
        times += [each.not_after for each in self.timestamps]
        return min(times, default=None)

    def _anchored(self) -> Iterator[VerifiedEntry]:
        yield self
        if self.registry is not None:
            yield self.registry


def verify_receipt(
    receipt: Receipt,
    verifiers: Sequence[VerifierKey],
    *,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int = 0,
    authorities: Authorities | None = None,
) -> VerifiedEntry:
    """
    Check that the ledger's own key signed a tree that has this entry at its place.

    What the registry's receipt and timestamps add is checked as far as those who made them are
    trusted. Not checked: what else the entry says, and its payloads.

    Args:
        receipt: As received.
        verifiers: Keys of the ledger that are trusted. A key also counts for the registry of the
            same host, which the same service keeps.
        witnesses: Keys of witnesses that are trusted.
        quorum: How many of them, by name, must have cosigned, here or in the registry.
        authorities: Timestamp authorities that are trusted.

    Raises:
        SignatureError: The receipt is unsigned, a signature is missing or not good, or fewer
            than `quorum` witnesses cosigned.
        InclusionError: The entry is not in the tree at the proof's index, or names another
            place or ledger than where it was found; or the registry recorded something else.
        TimestampError: A timestamp is not over this checkpoint, or not by a trusted authority.
        MalformedProofError: A part is not in the form it claims.
    """
    own = _verify_alone(receipt, verifiers, witnesses, authorities)
    verified = own
    if receipt.registry is not None:
        verified = _with_registry(own, receipt.registry, verifiers, witnesses, authorities)
    recorded = verified.registry
    most = max(len(own.place.witnesses), len(recorded.place.witnesses) if recorded else 0)
    if most < quorum:
        raise SignatureError(
            f"expected {quorum} of {len(witnesses)} witnesses, found {most}",
            expected=quorum,
            found=list(verified.witnesses),
        )
    return replace(verified, quorum=max(quorum, 1), overclaim=_overclaim(receipt))


def _verify_alone(
    receipt: Receipt,
    verifiers: Sequence[VerifierKey],
    witnesses: Sequence[VerifierKey],
    authorities: Authorities | None,
) -> VerifiedEntry:
    """The receipt without what the registry adds."""
    proof = parse_tlog_proof(proof_of(receipt))
    place = verify_tlog_proof(proof, leaf_hash(receipt.entry), verifiers, witnesses=witnesses)
    ledger = _check_place(receipt.entry, place)
    timestamp, unproved = None, []
    if receipt.timestamp is not None:
        if authorities is None:
            unproved.append("its timestamp: no authority is trusted here")
        else:
            timestamp = verify_timestamp(
                receipt.timestamp, log_part(proof.checkpoint_note), authorities
            )
    return VerifiedEntry(
        entry=receipt.entry,
        ledger=ledger,
        seq=place.index,
        place=place,
        timestamp=timestamp,
        registry=None,
        quorum=1,
        overclaim=None,
        unproved=tuple(unproved),
    )


def _with_registry(
    own: VerifiedEntry,
    document: Mapping[str, Any],
    verifiers: Sequence[VerifierKey],
    witnesses: Sequence[VerifierKey],
    authorities: Authorities | None,
) -> VerifiedEntry:
    """What was verified of a receipt, with what the registry's receipt adds."""
    receipt = parse_receipt(document)
    if receipt.registry is not None:
        raise MalformedProofError("receipt: the registry's receipt has no registry above it")
    origin = parse_tlog_proof(proof_of(receipt)).origin
    keys = registry_keys(own.place.checkpoint.origin, origin, verifiers)
    if not keys:
        unproved = f"what the registry says: no key of {origin} is trusted here"
        return replace(own, unproved=(*own.unproved, unproved))
    recorded = _verify_alone(receipt, keys, witnesses, authorities)
    if recorded.ledger != REGISTRY:
        raise InclusionError(
            f"the second proof is of ledger {recorded.ledger}, not of {REGISTRY}",
            expected=REGISTRY,
            found=recorded.ledger,
        )
    check_recorded(recorded.entry, own.ledger, own.place.checkpoint)
    return replace(own, registry=recorded, unproved=(*own.unproved, *recorded.unproved))


def registry_keys(
    origin: str, registry_origin: str, verifiers: Sequence[VerifierKey]
) -> list[VerifierKey]:
    """
    The keys that are believed for a registry, where those of one of its ledgers are trusted.

    A service signs its registry with the key of its ledgers, and an origin says whose it is: of
    `host/shop`, only `host/_registry`. Of another host there could be two, with two histories.

    Args:
        origin: Of the ledger.
        registry_origin: Of the log that claims to be its registry.
        verifiers: Keys that are trusted, of the registry itself among them or not.
    """
    keys = [each for each in verifiers if each.name == registry_origin]
    if registry_origin == f"{origin.rpartition('/')[0]}/{REGISTRY}":
        keys += [
            VerifierKey(
                name=registry_origin,
                key_id=key_id(registry_origin, each.algorithm, each.public_key),
                algorithm=each.algorithm,
                public_key=each.public_key,
            )
            for each in verifiers
            if each.name == origin and each.algorithm in LOG_ALGORITHMS
        ]
    return list(dict.fromkeys(keys))


def check_recorded(notice: bytes, ledger: str, checkpoint: Checkpoint) -> None:
    """
    Check that an entry of the registry records this very checkpoint.

    Raises:
        InclusionError: It records another one, or none.
        MalformedProofError: Not an entry.
    """
    entry = parse_entry(notice)
    if not isinstance(entry, Entry) or entry.effect.type != CHECKPOINT_RECORDED:
        raise InclusionError(f"the entry of {REGISTRY} records no checkpoint")
    expected = recorded_data(ledger, checkpoint)
    if entry.effect.data != expected:
        raise InclusionError(
            f"{REGISTRY} recorded another checkpoint than the one of this receipt",
            expected=expected,
            found=entry.effect.data,
        )


CHECKPOINT_RECORDED = "checkpoint.recorded"
"""Type of the notice by which the registry records a checkpoint."""


def recorded_data(ledger: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What such a notice says."""
    return {
        "ledger": ledger,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
    }


def _overclaim(receipt: Receipt) -> str | None:
    parts = [receipt]
    if receipt.registry is not None:
        parts.append(parse_receipt(receipt.registry))
    if receipt.level == "timestamped" and all(each.timestamp is None for each in parts):
        return "the receipt says it is timestamped, and carries no timestamp"
    if receipt.level == "cosigned" and not any(map(_is_cosigned, parts)):
        return "the receipt says it is cosigned, and only its log has signed it"
    return None


def _is_cosigned(receipt: Receipt) -> bool:
    """Whether anybody but the log signed its checkpoint; whether it is good is another matter."""
    note = parse_tlog_proof(proof_of(receipt)).checkpoint_note
    return log_part(note) != note


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
        seen_at=_seen_at(opened, witnesses),
        level="cosigned" if cosigned else "log-signed",
    )


def _seen_at(opened: Note, witnesses: Sequence[VerifierKey]) -> tuple[datetime, ...]:
    first: dict[str, int] = {}
    for each in cosignatures_of(opened, witnesses):
        name = each.witness.name
        first[name] = min(each.time, first.get(name, each.time))
    return tuple(filter(None, map(from_posix, sorted(first.values()))))


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

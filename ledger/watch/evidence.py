"""
Evidence: two checkpoints that a log signed and that no single history can have.

One file that a third party checks with the log's key and nothing else, and the two signed notes
beside it as other programs read them. What a contradiction is, `continuity` says.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ledger.checkpoint import open_checkpoint
from ledger.copies.continuity import Contradiction
from ledger.errors import ConsistencyError, MalformedProofError, SettingsError
from ledger.merkle import HASH_BYTES
from ledger.note import VerifierKey, decode_base64
from ledger.watch.memory import write_synced

KIND = "effect-ledger/fork/v1"
_MEMBERS = {"kind", "old", "new", "old_root", "proof"}


def keep_evidence(directory: Path, found: Contradiction, old_note: bytes, new_note: bytes) -> Path:
    """
    Write what proves a fork, and return the file to check once all of it is on disk.

    Raises:
        SettingsError: It cannot be written.
    """
    place = directory / f"fork-{found.old.size}-{found.new.size}-{found.new.root.hex()[:8]}"
    document = {
        "kind": KIND,
        "old": old_note.decode(),
        "new": new_note.decode(),
        "old_root": base64.b64encode(found.old_root).decode(),
        "proof": [base64.b64encode(each).decode() for each in found.hashes],
    }
    try:
        write_synced(place / "old.checkpoint", old_note)
        write_synced(place / "new.checkpoint", new_note)
        write_synced(place / "fork.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise SettingsError(f"the evidence cannot be kept in {place}: {error.strerror}") from error
    return place / "fork.json"


def is_evidence(document: object) -> bool:
    """Whether a JSON document says that it proves a fork."""
    return isinstance(document, dict) and document.get("kind") == KIND


def verify_evidence(document: Mapping[str, Any], logs: Sequence[VerifierKey]) -> Contradiction:
    """
    Check that two histories were signed.

    Args:
        document: As `parse_json` gives it.
        logs: Keys of the log that are trusted.

    Raises:
        MalformedProofError: A member is missing, unknown or wrong.
        SignatureError: A checkpoint is not signed by a key that is trusted.
        ConsistencyError: One history can have both.
    """
    if document.keys() != _MEMBERS:
        raise MalformedProofError(f"a fork has the members {', '.join(sorted(_MEMBERS))}")
    texts, proof = [document[name] for name in ("old", "new", "old_root")], document["proof"]
    if not isinstance(proof, list) or not all(isinstance(each, str) for each in [*texts, *proof]):
        raise MalformedProofError("a fork has strings, and a list of them in proof")
    old_note, new_note, encoded_root = texts
    found = Contradiction(
        old=open_checkpoint(_octets(old_note), logs),
        new=open_checkpoint(_octets(new_note), logs),
        old_root=_hash(encoded_root),
        hashes=tuple(map(_hash, proof)),
    )
    found.verify()
    return found


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedProofError("a checkpoint has an unpaired surrogate") from error


def _hash(text: str) -> bytes:
    octets = decode_base64(text)
    if len(octets) != HASH_BYTES:
        raise ConsistencyError(f"a hash has {HASH_BYTES} bytes, found {len(octets)}")
    return octets

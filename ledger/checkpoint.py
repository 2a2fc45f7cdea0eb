"""
Checkpoint: origin, size and root of a tree as text, and under a signature.

The form is C2SP tlog-checkpoint. Whether a tree may be signed, and which checkpoint is the
newest, is for others to say. https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import MalformedProofError, SignatureError
from ledger.merkle import HASH_BYTES
from ledger.note import (
    ED25519,
    ML_DSA_44_COSIGNATURE,
    Note,
    NoteKey,
    VerifierKey,
    decode_base64,
    open_note,
    parse_note,
)

SIZE_MAX = 2**63 - 1
"""Largest tree size that readers with signed 64-bit integers take."""

LOG_ALGORITHMS = frozenset({ED25519, ML_DSA_44_COSIGNATURE})
"""Kinds of keys that a log signs with; the second says when, as a witness's does."""

_SIZE = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Statement of origin, tree size and root hash."""

    origin: str
    """Identity of the log; also the name of the key that signs for it."""
    size: int
    root: bytes
    """32 bytes."""
    extensions: tuple[str, ...] = ()
    """Further lines, on other logs' checkpoints only: some witnesses refuse them."""

    def encode(self) -> str:
        """Text of the note: a line each, with line ends."""
        root = base64.b64encode(self.root).decode()
        lines = (self.origin, str(self.size), root, *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """
    What the text of a checkpoint states. Nothing is proved by it.

    Raises:
        MalformedProofError: Not origin, decimal size without leading zeros and base64 of
            32 bytes on a line each.
    """
    origin, _, rest = text.partition("\n")
    size, _, rest = rest.partition("\n")
    encoded_root, end, rest = rest.partition("\n")
    if not origin or not end:
        raise MalformedProofError("a checkpoint has lines for origin, size and root")
    if not _SIZE.fullmatch(size) or int(size) > SIZE_MAX:
        raise MalformedProofError(f"not a tree size: {size[:80]!r}")
    root = decode_base64(encoded_root)
    if len(root) != HASH_BYTES:
        raise MalformedProofError(
            f"a root has {HASH_BYTES} bytes, found {len(root)}",
            expected=HASH_BYTES,
            found=len(root),
        )
    *extensions, behind = rest.split("\n")
    if behind or "" in extensions:
        raise MalformedProofError("an extension line of a checkpoint is empty or has no end")
    return Checkpoint(origin=origin, size=int(size), root=root, extensions=tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, *keys: NoteKey) -> bytes:
    """The signed note of a checkpoint of ours: named like its keys, without extension lines."""
    assert keys, "somebody signs"
    assert {key.name for key in keys} == {checkpoint.origin}, (
        f"another key does not sign for {checkpoint.origin}"
    )
    assert not checkpoint.extensions, "a witness may refuse extension lines"
    text = checkpoint.encode()
    lines = "".join(key.sign(text) for key in keys)
    return f"{text}\n{lines}".encode()


def log_part(note: bytes) -> bytes:
    """
    A checkpoint with the lines of its own log alone: what a timestamp is over.

    Cosignatures come later, and more of them; the log's lines are there from the first moment,
    and a token over them says that the key had signed this tree by then.

    Raises:
        MalformedProofError: Not a signed note.
    """
    parsed = parse_note(note)
    origin = parsed.text.partition("\n")[0]
    lines = tuple(line for line in parsed.signatures if line.name == origin)
    return Note(text=parsed.text, signatures=lines).encode()


def open_checkpoint(note: bytes, verifiers: Sequence[VerifierKey]) -> Checkpoint:
    """
    The checkpoint that one of `verifiers` signed as its log.

    Raises:
        MalformedProofError: Not a signed note, or its text is not a checkpoint.
        SignatureError: A signature of `verifiers` is not good, or none of them has the name
            of the origin and is a log's.
    """
    return read_checkpoint(open_note(note, verifiers), verifiers)


def read_checkpoint(opened: Note, verifiers: Sequence[VerifierKey]) -> Checkpoint:
    """As `open_checkpoint`, from a note that was opened with `verifiers`."""
    checkpoint = parse_checkpoint(opened.text)
    # A witness signs every log's checkpoints; only the log's own key speaks for the origin.
    retired: VerifierKey | None = None
    for verifier in verifiers:
        if (
            verifier.name == checkpoint.origin
            and verifier.algorithm in LOG_ALGORITHMS
            and opened.is_signed_by(verifier)
        ):
            if verifier.final_size is None or checkpoint.size <= verifier.final_size:
                return checkpoint
            retired = verifier
    if retired is not None:
        raise SignatureError(
            f"{checkpoint.origin} at size {checkpoint.size} is signed only by key "
            f"{retired.key_id.hex()}, which was retired at size {retired.final_size}",
            key_id=retired.key_id.hex(),
            size=checkpoint.size,
            final_size=retired.final_size,
        )
    raise SignatureError(
        f"no signature by a key of {checkpoint.origin}", expected=checkpoint.origin
    )

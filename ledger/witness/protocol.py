"""
Protocol: what a log asks of a witness, and every answer, as values and as bytes.

Nothing is sent, verified or remembered here. The text is C2SP tlog-witness, add-checkpoint.
https://c2sp.org/tlog-witness
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from http import HTTPStatus
from typing import NamedTuple

from ledger.checkpoint import SIZE_MAX
from ledger.errors import MalformedProofError
from ledger.merkle import HASH_BYTES
from ledger.note import Signature, decode_base64, parse_note, parse_signatures

ADD_CHECKPOINT = "add-checkpoint"
"""Path of a submission, under the witness's URL."""
PROOF_HASHES_MAX = 63
REQUEST_BYTES_MAX = 131_072
"""Of a submission: sixteen signatures of any kind, a full proof, and as much again."""
ANSWER_BYTES_MAX = 65_536

TEXT_TYPE = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"

_SIZE = re.compile("0|[1-9][0-9]{0,18}")
_REASON_SHOWN = 200


def checkpoint_path(origin: str) -> str:
    """Where a witness shows the checkpoint it cosigned last, under its URL."""
    return f"{sha256(origin.encode()).hexdigest()}/checkpoint"


# ---- The request ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """Asks a witness to cosign a checkpoint that extends the one it cosigned last."""

    old_size: int
    """Of the tree that the witness is believed to have cosigned last; 0 where it has none."""
    proof: tuple[bytes, ...]
    """Consistency proof from that tree on, 32 bytes each; empty from size 0 and to the same."""
    note: bytes
    """The checkpoint, signed by its log."""

    def encode(self) -> bytes:
        """The body of the request."""
        assert len(self.proof) <= PROOF_HASHES_MAX, "no tree has a longer proof"
        lines = [f"old {self.old_size}", *(base64.b64encode(each).decode() for each in self.proof)]
        head = "".join(f"{line}\n" for line in lines)
        return f"{head}\n".encode() + self.note


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """
    What a request asks. Nothing is verified, and the note may say anything.

    Raises:
        MalformedProofError: Not the body of such a request.
    """
    head, blank, note = body.partition(b"\n\n")
    if not blank:
        raise MalformedProofError("the request has no checkpoint after a blank line")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedProofError(f"the request is not ASCII at byte {error.start}") from error
    if len(lines) > PROOF_HASHES_MAX:
        raise MalformedProofError(
            f"the proof has {len(lines)} hashes, the limit is {PROOF_HASHES_MAX}"
        )
    old_size = _parse_size(first.removeprefix("old ")) if first.startswith("old ") else None
    if old_size is None:
        raise MalformedProofError(f"expected a line with the old size, found {first[:80]!r}")
    # That it is a note is part of the request's form; what it says is the witness's to judge.
    parse_note(note)
    return AddCheckpoint(old_size=old_size, proof=tuple(map(_parse_hash, lines)), note=note)


def _parse_size(text: str) -> int | None:
    return int(text) if _SIZE.fullmatch(text) and int(text) <= SIZE_MAX else None


def _parse_hash(line: str) -> bytes:
    octets = decode_base64(line)
    if len(octets) != HASH_BYTES:
        raise MalformedProofError(f"a hash has {HASH_BYTES} bytes, found {len(octets)}")
    return octets


# ---- The answers ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """200: the tree is remembered, and here is the witness's word for it."""

    signatures: tuple[Signature, ...]
    """Not verified; at least one, and perhaps of keys that nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """409: the tree that the witness cosigned last is not the old one of the request."""

    size: int | None
    """Its size. None where the size is the same and the root is not: so says the first version of
    the protocol, and later ones answer `INCONSISTENT`."""


class Ground(IntEnum):
    """Why a witness refuses, and the HTTP status that says so."""

    MALFORMED = 400
    """Not such a request, or the old size is above the new one."""
    UNSIGNED = 403
    """No good signature by a key that the witness trusts for this log."""
    UNKNOWN_LOG = 404
    """The witness does not know the log."""
    INCONSISTENT = 422
    """The tree does not extend the one that the witness cosigned last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """400, 403, 404 or 422: nothing was cosigned or remembered."""

    ground: Ground
    reason: str
    """For people; one line."""


_GROUNDS = frozenset(map(int, Ground))

Answer = Cosigned | Conflict | Refused
"""Everything that a witness may answer."""


class WireAnswer(NamedTuple):
    """An answer as HTTP carries it."""

    status: int
    media_type: str
    body: bytes


def encode_answer(answer: Answer) -> WireAnswer:
    """The answer as a witness sends it."""
    if isinstance(answer, Cosigned):
        lines = "".join(signature.encode() for signature in answer.signatures)
        return WireAnswer(HTTPStatus.OK, TEXT_TYPE, lines.encode())
    if isinstance(answer, Refused):
        return WireAnswer(int(answer.ground), TEXT_TYPE, f"{answer.reason}\n".encode())
    if answer.size is None:
        return WireAnswer(HTTPStatus.CONFLICT, TEXT_TYPE, b"another root at the same size\n")
    return WireAnswer(HTTPStatus.CONFLICT, SIZE_TYPE, f"{answer.size}\n".encode())


def parse_answer(status: int, media_type: str, body: bytes) -> Answer:
    """
    What a witness answered. Nothing is verified.

    Args:
        status: HTTP status.
        media_type: Content-Type; empty where there is none.
        body: Up to `ANSWER_BYTES_MAX` and a little more, which is not read to its end.

    Raises:
        MalformedProofError: No answer that a witness may give.
    """
    if len(body) > ANSWER_BYTES_MAX:
        raise MalformedProofError(f"the answer is over the limit of {ANSWER_BYTES_MAX} bytes")
    # What is not text is shown as far as it is; signature lines are then refused for it.
    text = body.decode(errors="replace")
    if status == HTTPStatus.OK:
        return Cosigned(signatures=parse_signatures(text))
    if status == HTTPStatus.CONFLICT:
        return Conflict(size=_parse_conflict(media_type, text))
    if status in _GROUNDS:
        return Refused(ground=Ground(status), reason=" ".join(text.split())[:_REASON_SHOWN])
    raise MalformedProofError(f"a witness does not answer {status}", status=status)


def _parse_conflict(media_type: str, text: str) -> int | None:
    if media_type.partition(";")[0].strip().lower() != SIZE_TYPE:
        return None
    size = _parse_size(text.removesuffix("\n")) if text.endswith("\n") else None
    if size is None:
        raise MalformedProofError(f"expected the size of a tree, found {text[:80]!r}")
    return size

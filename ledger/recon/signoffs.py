"""
Sign-offs: what a reviewer signs of a run, and which entry of the ledger tells of it.

What is signed is the statement's figures as canonical JSON, never a print of them: prints change
with releases, and a signature must not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.canonical import canonical_bytes
from ledger.entry import Entry, parse_entry
from ledger.errors import CommitmentError, MalformedProofError
from ledger.forms.timestamps import format_time
from ledger.recon.shelf import RunRow, Shelf

FORMAT = "effect-ledger/reconciliation-statement/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signoff:
    """One signature under the statement of a run."""

    decision: str
    """Id of the decision."""
    document: Mapping[str, Any]
    """What was decided, of which the notice has the hash."""
    notice: Entry
    """The entry of the ledger that records it."""

    @property
    def run(self) -> str:
        """Whose statement was signed."""
        return str(self.document["run"])

    def to_document(self) -> dict[str, Any]:
        """As JSON: the decision, and where the ledger records it."""
        notice = self.notice
        return {
            "decision": self.decision,
            "document": dict(self.document),
            "notice": {
                "seq": notice.seq,
                "id": notice.id,
                "entry_hash": notice.hash.hex(),
                "recorded_at": notice.recorded_at,
            },
        }


def statement_document(run: RunRow) -> dict[str, Any]:
    """A statement as it is signed: what it is about, its figures, and who prepared it."""
    return {
        "format": FORMAT,
        "ledger": run.input["ledger"],
        "run": run.id,
        "prepared_by": run.started_by,
        "prepared_at": format_time(run.started_at),
        "input": dict(run.input),
        "input_digest": run.input_digest,
        "output_digest": run.output_digest,
        "statement": run.output["statement"],
        "reasons": run.output["reasons"],
        "unexplained": run.output["unexplained"],
    }


def statement_digest(run: RunRow) -> str:
    """SHA-256 of the canonical JSON of the statement, hexadecimal: what a reviewer signs."""
    return hashlib.sha256(canonical_bytes(statement_document(run))).hexdigest()


def read_signoffs(shelf: Shelf, ledger: str, run: str | None = None) -> list[Signoff]:
    """
    The sign-offs of a ledger, or of one run, in the order in which history has them.

    Raises:
        CommitmentError: What was decided is not kept as the ledger has its hash.
        MalformedProofError: What stands under its key is no such notice.
    """
    return [
        _read(decision, document, body)
        for decision, document, body in shelf.signoffs(ledger)
        if run is None or document.get("run") == run
    ]


def _read(decision: str, document: Mapping[str, Any], body: bytes) -> Signoff:
    notice = parse_entry(body)
    if not isinstance(notice, Entry) or notice.effect.data is None:
        raise MalformedProofError(f"what records decision {decision} is no notice")
    told = notice.effect.data["decision_hash"]
    found = hashlib.sha256(canonical_bytes(dict(document))).hexdigest()
    if told != found:
        raise CommitmentError(
            f"decision {decision} is not kept as entry {notice.seq} has its hash",
            expected=told,
            found=found,
        )
    return Signoff(decision=decision, document=document, notice=notice)

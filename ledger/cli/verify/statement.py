"""A signed verdict: what a service said about itself when it verified a ledger, read offline."""

from __future__ import annotations

from typing import Any

from ledger.cli.verify.judgement import Judgement
from ledger.cli.verify.trust import Trust
from ledger.statement import HEADER, open_statement

_NOT_CHECKED = (
    "whether the verdict is true: it is the word of the ledger's keeper, who cannot take it back",
    "what was recorded after it",
)


def note_of(content: bytes, document: Any) -> bytes | None:
    """
    The signed note that a file holds, also within the answer of a service; None where it has none.

    Args:
        content: Of the file.
        document: The JSON value that it is; None where it is none.
    """
    if content.startswith(HEADER.encode()):
        return content
    note = document.get("note") if isinstance(document, dict) else None
    return note.encode() if isinstance(note, str) and note.startswith(HEADER) else None


def judge_statement(note: bytes, trust: Trust) -> Judgement:
    """
    What the keeper of a ledger signed that it found.

    Raises:
        SignatureError: No key that is trusted signed it.
        MalformedProofError: It is no statement.
    """
    statement = open_statement(note, trust.logs)
    accepted = "; a person accepted what was found" if statement.acknowledged else ""
    return Judgement(
        subject="the ledger, says its keeper,",
        verdicts=statement.verdicts,
        level=statement.level,
        document=statement.document(),
        told={
            "origin": statement.origin,
            "entries": f"{statement.size:,}, of which the keeper read from {statement.start:,} on",
            "root": statement.root,
            "signed_at": f"{statement.finished_at}{accepted}",
        },
        not_checked=[*_NOT_CHECKED, *(f"by the keeper: {each}" for each in statement.not_checked)],
        first_bad=statement.first_bad,
        findings_total=statement.findings_total,
    )

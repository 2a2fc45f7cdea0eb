"""
Statement: what a verification found, under the signature of the ledger's own key.

A signed note (C2SP signed-note) whose text is one line that names the form and one of RFC 8785
JSON. It is the operator's word: whoever holds it can show later what the service said of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ledger.canonical import canonical_bytes, parse_json
from ledger.errors import LedgerError, MalformedProofError, SignatureError
from ledger.note import ED25519, VerifierKey, open_note

HEADER = "effect-ledger/verification/v1\n"
"""First line. The second one of a checkpoint is a number, so neither passes for the other."""

Verdict = Literal["ok", "bad", "unchecked"]

_VERDICTS = ("tamper", "completeness", "time")
_LEVELS = ("unsigned", "log-signed")

_MEMBERS: Mapping[str, type | tuple[type, ...]] = {
    "origin": str,
    "ledger": str,
    "mode": str,
    "start": int,
    "size": int,
    "root": (str, type(None)),
    "verdicts": dict,
    "first_bad": (dict, type(None)),
    "findings_total": int,
    "acknowledged": bool,
    "not_checked": list,
    "level": str,
    "started_at": str,
    "finished_at": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What the keeper of a ledger says it found."""

    origin: str
    ledger: str
    mode: str
    """`full`, or `incremental` from `start` on."""
    start: int
    size: int
    root: str | None
    """Of all entries, hexadecimal; None where one is missing and there is no tree."""
    verdicts: Mapping[str, Verdict]
    """`tamper`, `completeness`, `time`: each `ok`, `bad` or `unchecked`."""
    first_bad: Mapping[str, Any] | None
    findings_total: int
    acknowledged: bool
    """Whether a person accepted all that was found; it is bad all the same."""
    not_checked: Sequence[str]
    level: Literal["unsigned", "log-signed"]
    """Of receipts: `log-signed` where a signed root stands over the entries."""
    started_at: str
    finished_at: str

    @property
    def good(self) -> bool:
        """Whether nothing bad was found; what was not checked is in `not_checked`."""
        return "bad" not in self.verdicts.values()

    def document(self) -> dict[str, Any]:
        """The statement as JSON."""
        return {name: getattr(self, name) for name in _MEMBERS} | {
            "not_checked": list(self.not_checked)
        }

    def text(self) -> str:
        """What is signed."""
        return f"{HEADER}{canonical_bytes(self.document()).decode()}\n"


def open_statement(note: bytes, verifiers: Sequence[VerifierKey]) -> Statement:
    """
    The statement that one of `verifiers` signed about its own log.

    Raises:
        MalformedProofError: Not a signed note, or its text is no statement.
        SignatureError: Not signed by a key of the ledger that it is about.
    """
    opened = open_note(note, verifiers)
    statement = parse_statement(opened.text)
    for verifier in verifiers:
        if (
            verifier.name == statement.origin
            and verifier.algorithm == ED25519
            and opened.is_signed_by(verifier)
            and (verifier.final_size is None or statement.size <= verifier.final_size)
        ):
            return statement
    raise SignatureError(f"no signature by a key of {statement.origin}", expected=statement.origin)


def parse_statement(text: str) -> Statement:
    """
    The statement that a text is. No signature is checked.

    Raises:
        MalformedProofError: It is none.
    """
    if not text.startswith(HEADER):
        raise MalformedProofError(f"a statement begins with the line {HEADER.strip()}")
    line = text.removeprefix(HEADER)
    try:
        document = parse_json(line)
        is_canonical = f"{canonical_bytes(document).decode()}\n" == line
    except LedgerError as error:
        raise MalformedProofError(f"the statement cannot be read: {error.message}") from error
    if not is_canonical or not isinstance(document, dict) or document.keys() != _MEMBERS.keys():
        raise MalformedProofError("the statement has other members, or is not RFC 8785 JSON")
    for name, kind in _MEMBERS.items():
        # To Python, True is a number.
        is_flag = isinstance(document[name], bool)
        if not isinstance(document[name], kind) or is_flag != (kind is bool):
            raise MalformedProofError(f"the statement's {name} is not in its form")
    verdicts = document["verdicts"]
    said = {*get_args(Verdict)}
    if set(verdicts) != {*_VERDICTS} or not all(each in said for each in verdicts.values()):
        raise MalformedProofError("the statement's verdicts are not in their form")
    if document["level"] not in _LEVELS:
        raise MalformedProofError("the statement's level is not one known here")
    return Statement(**document)

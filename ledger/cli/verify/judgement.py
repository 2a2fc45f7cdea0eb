"""
Judgement: what any kind of evidence was found to prove, and how it is told.

    tamper         the recorded bytes are what was signed
    completeness   nothing is left out up to the size that was signed
    time           entries are not dated as they cannot have been

A verdict that nothing speaks for is `unchecked`, and never `ok`. Exit codes: 0 good, 1 bad
evidence, 2 where nobody vouched for it but its own sender.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.cli.output import BAD_EVIDENCE, BAD_INPUT, GOOD, Output, error_document, facts, table
from ledger.errors import (
    ChainBreakError,
    ConsistencyError,
    VerificationError,
)
from ledger.receipt import ReceiptLevel
from ledger.statement import Verdict

VERDICTS = ("tamper", "completeness", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was found, in the form that all kinds of evidence share."""

    subject: str
    """What it is about, as a sentence begins: `the receipt`."""
    verdicts: Mapping[str, Verdict]
    """For each of `VERDICTS`."""
    level: ReceiptLevel | None
    """The level reached; None where no signature that is trusted was found."""
    document: Mapping[str, Any]
    """What else programs are told."""
    told: Mapping[str, object]
    """The same for people: names and values, those that are None left out."""
    not_checked: Sequence[str]
    first_bad: Mapping[str, Any] | None = None
    """`check`, `seq` and `message` of the first finding."""
    findings_total: int = 0
    nothing: str | None = None
    """Why it shows nothing, though nothing in it is bad."""
    unrelated: Sequence[Mapping[str, str]] = ()
    """`code` and `message`: why what was given beside it is bad itself, or of something else."""
    authenticated: bool = True
    """Whether anyone the caller trusts vouched for it."""
    error: VerificationError | None = field(default=None, repr=False)
    """What ended it early."""

    @property
    def good(self) -> bool:
        """Whether nothing bad was found."""
        return "bad" not in self.verdicts.values()

    def tell(self, output: Output) -> int:
        """Print it, and return the exit code for it."""
        output.answer(self._document(), self._prose())
        if self.error is not None and not output.as_json:
            output.note(f"effect-ledger: {self.error.message}")
        if not self.good:
            return BAD_EVIDENCE
        return GOOD if self._is_shown else BAD_INPUT

    @property
    def _is_shown(self) -> bool:
        return self.authenticated and self.nothing is None and not self.unrelated

    def _document(self) -> dict[str, Any]:
        document = {
            "verified": self.good and self._is_shown,
            "authenticated": self.authenticated,
            **self.document,
            "verdicts": {name: self.verdicts[name] for name in VERDICTS},
            "level": self.level,
            "first_bad": self.first_bad,
            "not_checked": list(self.not_checked),
        }
        if self.error is not None:
            document["error"] = {"message": self.error.message, **error_document(self.error)}
        return document

    def _prose(self) -> str:
        lines = [
            f"{self._headline()}.",
            table([(f"  {name}", self.verdicts[name]) for name in VERDICTS]),
            facts(level=self.level or "none", **self.told),
        ]
        if self.first_bad is not None:
            seq = self.first_bad["seq"]
            place = "" if seq is None else f"seq {seq}: "
            more = f"; {self.findings_total} findings in all" if self.findings_total else ""
            lines.append(
                f"First bad\n  {place}{self.first_bad['message']} ({self.first_bad['check']}){more}"
            )
        if self.unrelated:
            beside = (f"  {each['message']} ({each['code']})" for each in self.unrelated)
            lines.append("Bad itself, or of something else\n" + "\n".join(beside))
        if self.not_checked:
            lines.append("Not checked\n" + "\n".join(f"  {each}" for each in self.not_checked))
        return "\n".join(lines)

    def _headline(self) -> str:
        subject = self.subject[0].upper() + self.subject[1:]
        if not self.good:
            return f"{subject} is NOT good"
        if self.nothing is not None:
            return f"NOTHING SHOWN: {self.nothing}"
        if not self.authenticated:
            return f"NOT AUTHENTICATED: {self.subject} is good by its own word alone"
        if self.unrelated:
            return (
                f"NOT COMPARED: {self.subject} is good, and what was given beside it is not of it"
            )
        return f"{subject} is good"


def refuted(subject: str, error: VerificationError, document: Mapping[str, Any]) -> Judgement:
    """The judgement of evidence that was found not to prove what it claims."""
    bad = _verdicts_against(error)
    return Judgement(
        subject=subject,
        verdicts={name: "bad" if name in bad else "unchecked" for name in VERDICTS},
        level=None,
        document=document,
        told={},
        not_checked=["what comes after the first that is bad"],
        first_bad={
            "check": error_document(error)["code"].lower(),
            "seq": error.details.get("seq"),
            "message": " ".join(error.message.split()),
        },
        error=error,
    )


def _verdicts_against(error: VerificationError) -> set[str]:
    if isinstance(error, ChainBreakError) and error.details.get("member") == "recorded_at":
        return {"time"}
    if isinstance(error, ChainBreakError | ConsistencyError):
        # An entry that is not there, or a history that ends before one that was signed.
        return {"tamper", "completeness"}
    return {"tamper"}

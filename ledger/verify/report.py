"""
Report: what an audit found, in three verdicts, with the first bad entry named.

Each finding has the name of its check; the name decides which verdict it bears on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ledger.statement import Verdict

Mode = Literal["full", "incremental"]

FINDINGS_MAX = 100
"""Findings a report lists. All are counted, and the first bad entry is among them."""

_SHOWN_MAX = 80

# What these checks find is missing or not the history that was signed: what else may be
# left out, nobody can tell from it.
_COMPLETENESS = frozenset(
    {"checkpoint.ahead", "trusted.ahead", "signer.ahead", "earlier.ahead", "anchor.ahead"}
)
_BOTH = frozenset({"entry.missing", "head.missing", "trusted.root", "signer.root", "anchor.root"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    check: str
    """What found it, dotted, such as `entry.bytes`."""
    seq: int | None
    """The entry it concerns; None where it concerns the ledger as a whole."""
    message: str
    """A plain sentence."""

    def document(self) -> dict[str, Any]:
        """As it stands in a report."""
        return {"check": self.check, "seq": self.seq, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an audit found."""

    ledger: str
    mode: Mode
    tamper: Verdict
    completeness: Verdict
    time: Verdict
    first_bad: Finding | None
    """The finding of the lowest seq; one that concerns no entry only where all do not."""
    first_bad_id: str | None
    findings: Sequence[Finding]
    findings_total: int
    not_checked: Sequence[str]
    """What this audit could not see or did not look at, in words."""
    level: Literal["unsigned", "log-signed"]
    """Of receipts: whether a signed root stands over these entries."""
    size: int
    root: bytes | None
    """Of all entries, 32 bytes; None where one is missing and the tree cannot be built."""
    checkpoint: str | None
    """The published checkpoint, where it is good."""
    start: int
    """The first entry that was read."""
    entries: int
    """How many entries were read."""
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing bad was found; what was not checked is in `not_checked`."""
        return "bad" not in (self.tamper, self.completeness, self.time)

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        first = self.first_bad
        return {
            "ledger": self.ledger,
            "mode": self.mode,
            "verdicts": {
                "tamper": self.tamper,
                "completeness": self.completeness,
                "time": self.time,
            },
            "first_bad": None if first is None else {**first.document(), "id": self.first_bad_id},
            "findings": [finding.document() for finding in self.findings],
            "findings_total": self.findings_total,
            "not_checked": list(self.not_checked),
            "level": self.level,
            "size": self.size,
            "root": None if self.root is None else self.root.hex(),
            "checkpoint": self.checkpoint,
            "start": self.start,
            "entries": self.entries,
            "seconds": round(self.seconds, 3),
        }


class Findings:
    """All findings counted, the first hundred kept."""

    def __init__(self) -> None:
        self.total = 0
        self.first: Finding | None = None
        self.bad: set[str] = set()
        """Verdicts something was found for: `tamper`, `completeness`, `time`."""
        self._kept: list[Finding] = []

    def add(self, check: str, seq: int | None, message: str) -> None:
        """Keep one; what concerns an entry's bytes counts before what lies beside them."""
        finding = Finding(check=check, seq=seq, message=message)
        self.total += 1
        self.bad |= verdicts_of(check)
        if len(self._kept) < FINDINGS_MAX:
            self._kept.append(finding)
        if self.first is None or _place(finding) < _place(self.first):
            self.first = finding

    def listed(self) -> list[Finding]:
        """Those that are kept, in the order of the entries they concern."""
        listed = sorted(self._kept, key=_place)
        if self.first is not None and self.first not in listed:
            listed = [self.first, *listed[:-1]]
        return listed


def verdicts_of(check: str) -> set[str]:
    """The verdicts that a finding of this check makes bad."""
    if check.startswith("time."):
        return {"time"}
    if check in _BOTH:
        return {"tamper", "completeness"}
    return {"completeness"} if check in _COMPLETENESS else {"tamper"}


def shown(value: object) -> str:
    """A stored value as a message shows it."""
    if value is None:
        return "nothing"
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 3]}..."


def _place(finding: Finding) -> tuple[bool, int, bool]:
    about_bytes = finding.check.startswith(("entry.", "chain."))
    return finding.seq is None, finding.seq or 0, not about_bytes

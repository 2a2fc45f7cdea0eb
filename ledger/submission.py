"""
Submission: an effect with its payloads on its way to a place; Outcome: what became of it.

These are the values that cross from an entrance (HTTP, command line) into the engine
and back. How an outcome is spelled on the wire is the entrance's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.effect import Effect
from ledger.entry import Entry, PosterSignature
from ledger.errors import LedgerError
from ledger.forms.payload import PayloadIn
from ledger.receipt import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """An effect is what became of an intent, which `effect.intent` names."""

    token: int
    """The fencing token that was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One effect as its poster sent it, every rule that needs no history already checked."""

    effect: Effect
    payloads: tuple[PayloadIn, ...] = ()
    signature: PosterSignature | None = None
    handoff: Handoff | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """What one request asks of one ledger."""

    ledger: str
    principal: str
    submissions: tuple[Submission, ...]
    atomic: bool = False
    """All submissions are recorded, or none is."""
    with_receipts: bool = True

    @property
    def weight(self) -> int:
        """Bytes this posting holds in memory while it waits."""
        return sum(
            len(submission.effect.encoded) + sum(len(p.content) for p in submission.payloads)
            for submission in self.submissions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPayload:
    """A payload as its poster gets it back: the salt opens the commitment in the entry."""

    name: str
    media_type: str
    commitment: str
    salt: bytes | None
    """16 bytes; None where the payload was erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The effect has its place; the commit is on disk."""

    entry: Entry
    replayed: bool
    receipt: Receipt | None
    """None only where the posting asked for none."""
    payloads: tuple[KeptPayload, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisional:
    """What a dry run found: the effect would be recorded, or would replay `replays`."""

    effect: Effect
    target: str | None
    """Id of the entry the correction would reach; None where that is yet to be recorded, too."""
    replays: Entry | None


Outcome = Recorded | LedgerError

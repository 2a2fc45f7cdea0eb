"""A ledger in memory that keeps its promises: what outboxes are held to, without a service."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ledger.checkpoint import Checkpoint
from ledger.client.errors import (
    ClientError,
    OutcomeUnknown,
    ReceiptUnsigned,
    Refused,
    Unreachable,
)
from ledger.client.recorded import FoundEntry, Recorded
from ledger.merkle import LeafIndex
from ledger.receipt import ProvenPlace, VerifiedEntry

REFUSAL = {
    "code": "OVER_REFUND",
    "status": 409,
    "world": "RML3",
    "action": "escalate-history",
    "reason": "history.remaining",
    "detail": "more than remains",
}


class Killed(BaseException):
    """The process of the relay ends here."""


@dataclass(kw_only=True)
class PlainLedger:
    """Takes batches as `POST /batch` does, and fails around them as it is told."""

    entries: list[Mapping[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Keys that it does not take."""
    problem: Mapping[str, Any] = field(default_factory=lambda: REFUSAL)
    """What it says of them."""
    failure: ClientError | None = None
    """All that it answers, where it is set."""
    fault: str = "none"
    """Of the next batch."""
    orphans: list[str] = field(default_factory=list)
    """Keys of corrections that came before what they correct."""
    asked: list[tuple[list[str], str]] = field(default_factory=list)
    """Keys and mode of each batch."""
    meanwhile: Callable[[], None] = lambda: None
    """Happens while a batch is on its way, once."""
    underway: list[tuple[list[Mapping[str, Any]], bool]] = field(default_factory=list)
    """Batches that were given up, and have not arrived yet; whether each is atomic."""

    def batch(
        self, items: Iterable[Mapping[str, Any]], *, mode: str
    ) -> Sequence[Recorded | ClientError]:
        listed = list(items)
        self.asked.append(([each["key"] for each in listed], mode))
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if self.failure is not None:
            raise self.failure
        fault, self.fault = self.fault, "none"
        if fault == "away":
            raise Unreachable("http://ledger", "nobody is there")
        if fault == "not there":
            raise Refused({**REFUSAL, "code": "NOT_FOUND", "action": "fix-request", "status": 404})
        if fault == "killed before":
            raise Killed
        if fault == "late":
            self.underway.append((listed, mode == "atomic"))
            raise OutcomeUnknown("a batch", key=None, why="nothing came in time")
        if fault == "late, and killed":
            self.underway.append((listed, mode == "atomic"))
            raise Killed
        answers = self._record(listed, atomic=mode == "atomic", signed=fault != "unsigned")
        if fault == "killed after":
            raise Killed
        unsigned = [each for each in answers if isinstance(each, ReceiptUnsigned)]
        if unsigned and mode == "atomic":
            raise unsigned[0]
        if fault == "lost":
            raise OutcomeUnknown("a batch", key=None, why="the connection broke")
        return answers

    def find(self, *, key: str) -> FoundEntry | None:
        if self.failure is not None:
            raise self.failure
        keys = [each["key"] for each in self.entries]
        return _found(keys.index(key), key) if key in keys else None

    def arrive(self) -> None:
        """What was given up gets there after all."""
        late, self.underway = self.underway, []
        for items, atomic in late:
            with suppress(Refused):
                self._record(items, atomic=atomic)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _record(
        self, items: Sequence[Mapping[str, Any]], *, atomic: bool, signed: bool = True
    ) -> list[Recorded | ClientError]:
        keys = [each["key"] for each in self.entries]
        fresh: list[Mapping[str, Any]] = []
        answers: list[Recorded | ClientError] = []
        for index, item in enumerate(items):
            key, target = item["key"], item.get("corrects_key")
            is_known = key in keys
            if not is_known and (key in self.refused or (target and target not in keys)):
                if key not in self.refused:
                    self.orphans.append(key)
                if atomic:
                    raise Refused({**self.problem, "details": {"index": index, "items": []}})
                answers.append(Refused(self.problem))
                continue
            if not is_known:
                keys.append(key)
                fresh.append(item)
            recorded = _recorded(keys.index(key), replayed=is_known, signed=signed)
            answers.append(recorded if signed else ReceiptUnsigned(recorded))
        self.entries += fresh
        return answers


def _recorded(seq: int, *, replayed: bool, signed: bool) -> Recorded:
    return Recorded(
        id=str(uuid.UUID(int=seq)),
        ledger="shop",
        seq=seq,
        entry_hash=f"{seq:064x}",
        recorded_at="2026-03-02T09:15:00.000000Z",
        replayed=replayed,
        receipt={"level": "log-signed", "proof": "", "entry": ""}
        if signed
        else {"level": "unsigned", "proof": None, "entry": ""},
        body={},
        verified=_verified(seq) if signed else None,
    )


def _found(seq: int, key: str) -> FoundEntry:
    return FoundEntry(
        id=str(uuid.UUID(int=seq)),
        ledger="shop",
        seq=seq,
        entry_hash=f"{seq:064x}",
        recorded_at="2026-03-02T09:15:00.000000Z",
        entry={"effect": {"key": key}},
        body={},
    )


def _verified(seq: int) -> VerifiedEntry:
    index = LeafIndex(seq)
    place = ProvenPlace(
        index=index,
        checkpoint=Checkpoint(origin="test/shop", size=seq + 1, root=bytes(32)),
        witnesses=(),
        seen_at=(),
        level="log-signed",
    )
    return VerifiedEntry(
        entry=b"",
        ledger="shop",
        seq=index,
        place=place,
        timestamp=None,
        registry=None,
        quorum=0,
        overclaim=None,
        unproved=(),
    )

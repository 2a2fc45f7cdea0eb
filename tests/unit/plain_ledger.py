"""A ledger in memory that keeps its promises: what outboxes are held to, without a service."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.client.errors import ClientError, OutcomeUnknown, Refused, Unreachable
from ledger.client.recorded import Recorded

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
        if fault == "killed before":
            raise Killed
        answers = self._record(listed, atomic=mode == "atomic")
        if fault == "killed after":
            raise Killed
        if fault == "lost":
            raise OutcomeUnknown("a batch", key=None, why="the connection broke")
        return answers

    def close(self) -> None:
        """There is nothing to let go of."""

    def _record(
        self, items: Sequence[Mapping[str, Any]], *, atomic: bool
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
            answers.append(_recorded(keys.index(key), replayed=is_known))
        self.entries += fresh
        return answers


def _recorded(seq: int, *, replayed: bool) -> Recorded:
    return Recorded(
        id=str(uuid.UUID(int=seq)),
        ledger="shop",
        seq=seq,
        entry_hash=f"{seq:064x}",
        recorded_at="2026-03-02T09:15:00.000000Z",
        replayed=replayed,
        receipt={"level": "log-signed", "proof": "", "entry": ""},
        body={},
    )

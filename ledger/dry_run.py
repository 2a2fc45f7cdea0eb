"""
Dry run: the closed world (RML-1). Says what a posting would do, and does nothing.

The same rules as an append, over a read-only snapshot and without the head's lock: no key
is reserved, no number taken, nothing is written anywhere.
"""

from __future__ import annotations

import threading
from typing import Protocol

from ledger.admission import Admission, Place, Replay, wanted
from ledger.entry import new_entry_id, recorded_entry
from ledger.errors import RejectedError
from ledger.ports import Clock, Found, LedgerRecord, Wanted
from ledger.submission import Posting, Provisional


class Snapshot(Protocol):
    """History as it stands, read without locking. `PostgresStorage` is one."""

    def ledger(self, name: str) -> LedgerRecord:
        """The ledger of this name."""

    def peek(self, record: LedgerRecord, wanted: Wanted) -> Found:
        """What history says to `wanted` now."""


class DryRun:
    """Judges postings without recording them; safe to share between threads."""

    def __init__(self, snapshot: Snapshot, clock: Clock) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def run(self, posting: Posting) -> list[Provisional | RejectedError]:
        """
        What an append of `posting` would answer now.

        Raises:
            NotFoundError: No ledger has this name.
            DatabaseUnavailableError: The database does not answer.
        """
        with self._one_at_a_time:
            record = self._snapshot.ledger(posting.ledger)
            found = self._snapshot.peek(record, wanted([posting]))
        now_ms = int(self._clock.now().timestamp() * 1000)
        admission = Admission(found, new_id=lambda: new_entry_id(now_ms))
        verdicts = admission.judge(posting)
        return [
            verdict
            if isinstance(verdict, RejectedError)
            else Provisional(
                effect=submission.effect,
                target=admission.targets[verdict.index] if isinstance(verdict, Place) else None,
                replays=recorded_entry(verdict.encoded, submission.effect)
                if isinstance(verdict, Replay)
                else None,
            )
            for verdict, submission in zip(verdicts, posting.submissions, strict=True)
        ]

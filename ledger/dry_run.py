"""
Dry run: the closed world (RML-1). Says what a posting would do, and does nothing.

The same rules as an append, over a read-only snapshot and without the head's lock: no key
is reserved, no number taken, nothing is written anywhere.
"""

from __future__ import annotations

import threading
from typing import Protocol

from ledger.admission import Admission, Place, Replay, Verdict, told_by_key, wanted
from ledger.append import PayloadStore, replayed_payloads
from ledger.entry import new_entry_id, recorded_entry
from ledger.errors import LedgerError, RejectedError
from ledger.forms.timestamps import format_time
from ledger.ports import Clock, Found, LedgerRecord, Stops, Wanted
from ledger.submission import Posting, Provisional, Submission
from ledger.vault import Vault


class Snapshot(PayloadStore, Protocol):
    """History as it stands, read without locking. `PostgresStorage` is one."""

    def ledger(self, name: str) -> LedgerRecord:
        """The ledger of this name."""

    def peek(self, record: LedgerRecord, wanted: Wanted) -> Found:
        """What history says to `wanted` now."""


class DryRun:
    """Judges postings without recording them; safe to share between threads."""

    def __init__(
        self, snapshot: Snapshot, vault: Vault, clock: Clock, stops: Stops | None = None
    ) -> None:
        self._stops = stops
        self._snapshot = snapshot
        self._vault = vault
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def run(self, posting: Posting) -> list[Provisional | LedgerError]:
        """
        What an append of `posting` would answer now.

        Raises:
            NotFoundError: No ledger has this name.
            DatabaseUnavailableError: The database does not answer.
            LedgerBrokenError: The ledger is stopped.
        """
        if self._stops is not None:
            self._stops.check(posting.ledger)
        now = self._clock.now()
        now_ms = int(now.timestamp() * 1000)
        # One connection, used by one request at a time.
        with self._one_at_a_time:
            record = self._snapshot.ledger(posting.ledger)
            found = self._snapshot.peek(record, wanted([posting]))
            admission = Admission(
                found,
                new_id=lambda: new_entry_id(now_ms),
                now=format_time(now),
                check_payloads=lambda submission, encoded: self._check_payloads(
                    record, submission, encoded
                ),
            )
            verdicts = admission.judge(posting)
            return [
                self._foretell(record, admission, verdict, submission)
                for verdict, submission in zip(verdicts, posting.submissions, strict=True)
            ]

    def _foretell(
        self, record: LedgerRecord, admission: Admission, verdict: Verdict, submission: Submission
    ) -> Provisional | LedgerError:
        if isinstance(verdict, RejectedError):
            return told_by_key(verdict, admission.admitted)
        if isinstance(verdict, Place):
            target = admission.targets[verdict.index]
            # An item of the same request has no id yet.
            recorded = target not in {item.id for item in admission.admitted}
            return Provisional(
                effect=submission.effect, target=target if recorded else None, replays=None
            )
        return self._replay(record, verdict, submission)

    def _check_payloads(self, record: LedgerRecord, submission: Submission, encoded: bytes) -> None:
        # Here too, so that what is foretold of an atomic request is what would become of it.
        told = self._replay(record, Replay(encoded=encoded), submission)
        if isinstance(told, RejectedError):
            raise told

    def _replay(
        self, record: LedgerRecord, verdict: Replay, submission: Submission
    ) -> Provisional | LedgerError:
        try:
            entry = recorded_entry(verdict.encoded, submission.effect)
            replayed_payloads(self._snapshot, self._vault, record, entry, submission)
        except LedgerError as error:
            return error
        return Provisional(effect=submission.effect, target=None, replays=entry)

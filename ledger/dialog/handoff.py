"""
Hand-off: the effect that an intent becomes, given how both stand now.

What is prepared here is judged once more under the head's lock, against the events as they are
then: an intent that moved in between, or became an entry, is told from one that did not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.dialog.intents import Intents
from ledger.dialog.promise import build_handoff
from ledger.effect import Effect
from ledger.entry import Entry
from ledger.errors import NotFoundError, PossibleRepeatError
from ledger.intent import Intent, Outcome, State, before_handoff
from ledger.ports import LedgerRecord
from ledger.reader import Reader
from ledger.submission import Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoffs:
    """Prepares hand-offs. Safe to share between threads."""

    intents: Intents
    reader: Reader

    def prepare(
        self,
        record: LedgerRecord,
        intent_id: str,
        said: Mapping[str, Any],
        *,
        key: str,
        now: datetime,
        refused: PossibleRepeatError | None = None,
    ) -> Effect | Recorded:
        """
        The effect to record, or what was recorded by another request before.

        Args:
            record: The ledger.
            intent_id: The intent.
            said: Members of the request; see `build_handoff`.
            key: Idempotency key of the request.
            now: Wall clock, with its offset.
            refused: Why what was prepared just before was refused.

        Raises:
            NotFoundError: There is no such intent.
            PossibleRepeatError: It was not executed, so far as anyone says, and repeats an entry.
            RejectedError: A member of the request is wrong.
        """
        intent = self.intents.get(record.name, intent_id).intent
        if intent.state is State.HANDED_OFF:
            if intent.events[-1].key != key:
                return self.recorded(record, intent)
            # The very same request again: prepared as it was, it replays like any other.
            repeated = self._entry(record, intent).effect.repeat_of
        else:
            repeated = self._repeated(record, intent, refused)
        return build_handoff(
            before_handoff(intent), said, key=key, rules=record.rules, now=now, repeat_of=repeated
        )

    def recorded(self, record: LedgerRecord, intent: Intent) -> Recorded:
        """What an intent became, as a replay tells it."""
        entry = self._entry(record, intent)
        return Recorded(
            entry=entry, replayed=True, receipt=self.reader.receipt(record.name, entry.id)
        )

    def _entry(self, record: LedgerRecord, intent: Intent) -> Entry:
        assert intent.entry is not None
        entry = self.reader.entry(record.name, intent.entry)
        assert isinstance(entry, Entry), "no version is above that of its writer"
        return entry

    def _repeated(
        self, record: LedgerRecord, intent: Intent, refused: PossibleRepeatError | None
    ) -> str | None:
        if refused is not None:
            if intent.outcome is not Outcome.EXECUTED:
                raise refused
            # It happened, and something else of its name was recorded first: so it is a repeat.
            holder: str = refused.details["id"]
            return holder
        named: str | None = intent.content.get("repeat_of")
        if named is None:
            return None
        try:
            return self.intents.get(record.name, named).intent.entry
        except NotFoundError:
            # Of an entry, as it was checked when it was promised.
            return named

"""
Intents: whether what entries say of them is what their stored events say, and their rows too.

An entry names the digest of the events before its hand-off, so these cannot be edited unseen;
of an intent that is no entry yet only the row is held against its events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.entry import Entry, parse_entry
from ledger.errors import MalformedProofError, RejectedError
from ledger.intent import Intent, State, before_handoff, fold, parse_event, row_of
from ledger.verify.links import Add
from ledger.verify.report import shown
from ledger.verify.stored import Source, StoredIntent


class Intents:
    """Intents that entries name, and, in a full verification, all there are."""

    def __init__(self, source: Source, add: Add) -> None:
        self._source = source
        self._add = add
        self._page: list[Entry] = []
        self._differing: list[tuple[str, int, str]] = []
        self.lost = 0
        """Intents whose events were lost with a database, as notices say."""

    def take(self, entry: Entry) -> None:
        """An entry of the page, which may have been an intent."""
        if entry.effect.intent is not None:
            self._page.append(entry)

    def end_page(self) -> None:
        """Hold the entries of the page against the events of their intents."""
        if not self._page:
            return
        named = {entry.effect.intent.id for entry in self._page if entry.effect.intent}
        stored = self._source.intent_events(named)
        for entry in self._page:
            intent = entry.effect.intent
            assert intent is not None, "only such were taken"
            events = stored.get(intent.id)
            found = _fold(events) if events else "it has no events"
            if isinstance(found, str):
                self._differ("intent.missing", entry, found)
            elif before_handoff(found).digest != intent.digest:
                self._differ("intent.digest", entry, "its stored events have another digest")
            elif found.entry != entry.id:
                self._differ("intent.entry", entry, f"its events lead to {shown(found.entry)}")
        self._page.clear()

    def _differ(self, check: str, entry: Entry, says: str) -> None:
        assert entry.effect.intent is not None
        words = f"entry {entry.seq} was intent {entry.effect.intent.id}: {says}"
        self._differing.append((check, entry.seq, words))

    def end(self, is_lost: Callable[[int], bool], beat: Callable[[], None], *, whole: bool) -> None:
        """
        Tell what differs, unless it was lost, and compare the rows of all intents.

        Args:
            is_lost: Whether a notice says that what belonged to entry n was lost.
            beat: Called between two reads.
            whole: Whether rows are compared too.
        """
        for check, seq, words in self._differing:
            if is_lost(seq):
                self.lost += 1
            else:
                self._add(check, seq, words)
        if not whole:
            return
        for page in self._source.intents():
            self._check_rows(page)
            beat()

    def _check_rows(self, page: Sequence[StoredIntent]) -> None:
        entries: dict[str, str] = {}
        for stored in page:
            found = _fold(stored.events)
            if isinstance(found, str):
                self._add("intent.events", None, f"intent {stored.row.id}: {found}")
                continue
            for column, here, there in zip(
                stored.row._fields, stored.row, row_of(found), strict=True
            ):
                if here != there:
                    self._add(
                        f"intent.{column}",
                        None,
                        f"intent {found.id} has {column} {shown(here)}, its events give "
                        f"{shown(there)}",
                    )
            if found.state is State.HANDED_OFF and found.entry is not None:
                entries[found.entry] = found.id
        self._check_entries(entries)

    def _check_entries(self, entries: dict[str, str]) -> None:
        """An intent that says it is history has its entry."""
        if not entries:
            return
        told = set()
        for row in self._source.find(ids=list(entries), keys=()):
            try:
                entry = parse_entry(row.body)
            except MalformedProofError:
                # Reported where it stands.
                continue
            if isinstance(entry, Entry) and entry.effect.intent is not None:
                told.add((entry.id, entry.effect.intent.id))
        for entry_id, intent_id in entries.items():
            if (entry_id, intent_id) not in told:
                self._add(
                    "intent.entry",
                    None,
                    f"intent {intent_id} says it became entry {entry_id}, which does not say so",
                )


def _fold(events: Sequence[bytes]) -> Intent | str:
    """The intent that stored events give, or what is wrong with them."""
    try:
        return fold([parse_event(event) for event in events])
    except (RejectedError, MalformedProofError) as error:
        return error.message
    except (KeyError, TypeError, IndexError):
        return "its events do not say what events say"

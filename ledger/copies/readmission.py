"""
Readmission: entries that were recorded once, taken again through the arithmetic of an append.

They are what they were; what they move in positions and intents is found as it was then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.admission import stored_intent
from ledger.entry import Entry, Head
from ledger.errors import LedgerError, RejectedError
from ledger.forms.names import LEDGER_ITSELF
from ledger.intent import Hold, Intent, Step, next_event, take
from ledger.lifecycle import History, lineage_references, references
from ledger.ports import Found, SealedPayload, Wanted


def wanted(entries: Sequence[Entry]) -> Wanted:
    """What the arithmetic of these entries asks of history."""
    named = [references(entry.effect) for entry in entries]
    moved = [lineage_references(entry.effect) for entry in entries]
    return Wanted(
        entry_ids=[each for ids, _ in named for each in ids],
        entry_keys=[each for _, keys in named for each in keys],
        lineage_ids=[each for ids, _ in moved for each in ids],
        lineage_keys=[each for _, keys in moved for each in keys],
        intents=[entry.effect.intent.id for entry in entries if entry.effect.intent],
    )


def closed_intents(
    found: Found, entries: Sequence[Entry], now: str
) -> dict[str, tuple[Hold | None, Intent]]:
    """
    Intents that were open when the database was kept, by the entries they had become.

    Returns:
        Entry id -> what the intent held, and the intent as it is closed now.
    """
    closed = {}
    for entry in entries:
        named = entry.effect.intent
        if named is None or named.id not in found.intents:
            continue
        intent = stored_intent(named.id, found.intents[named.id])
        event = next_event(
            intent,
            Step.RESTORED,
            now=now,
            by=LEDGER_ITSELF,
            key="_restored",
            said={"entry": entry.id, "digest": named.digest},
        )
        closed[entry.id] = (intent.hold, take(intent, event))
    return closed


def admit(history: History, entry: Entry, closed: tuple[Hold | None, Intent] | None) -> str | None:
    """What `entry` corrects; its money moves what it moved when it was recorded."""
    try:
        hold, _ = closed or (None, None)
        return history.admit(entry.effect, entry.id, seq=entry.seq, hold=hold)
    except RejectedError as error:
        raise LedgerError(
            f"entry {entry.seq} was signed, and by today's rules it would be refused: "
            f"{error.message}. Entries before it are back; it and what follows are not",
            seq=entry.seq,
        ) from error


def emptied(entry: Entry) -> Iterator[SealedPayload]:
    """The payloads of an entry without their octets, which no log has."""
    for payload in entry.payloads:
        yield SealedPayload(
            seq=entry.seq,
            name=payload.name,
            media_type=payload.media_type,
            commitment=bytes.fromhex(payload.commitment),
            # Whom it was about is in no log either; the entry stands for itself.
            data_subject=f"entry:{entry.id}",
            sealed=None,
        )


def follow(head: Head, entries: Sequence[Entry]) -> Head:
    """The head after entries that were chained before."""
    first, last = entries[0], entries[-1]
    assert (first.seq, first.prev) == (head.size, head.last_hash), "what was checked still fits"
    return Head(
        ledger=head.ledger,
        origin=head.origin,
        size=last.seq + 1,
        last_hash=last.hash,
        last_recorded_at=last.recorded_at,
        frontier=head.frontier.extend([entry.hash for entry in entries]),
    )

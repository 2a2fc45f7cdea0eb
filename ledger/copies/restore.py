"""
Restore: brings back the entries that a database has lost, from any copy of its log.

    what was signed: size, root  ->  read the copy, hold it to both  ->  write  ->  publish

The signer's record says where history ends; the copy is believed in nothing, and nothing is
written until all of it is known to lead there. Entries come back byte for byte, under the same
lock and through the same arithmetic and statements as when they were recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.admission import history_of
from ledger.append import Appender, check_owner
from ledger.clock import ClockGuard
from ledger.copies.difference import find_difference
from ledger.copies.log_copy import LogCopy
from ledger.copies.missing import (
    Missing,
    Tell,
    announced_registry,
    check_note,
    find_missing,
    read_missing,
)
from ledger.copies.readmission import admit, closed_intents, emptied, follow, wanted
from ledger.entry import Admitted, Entry, Head, chain, genesis_hash, new_entry_id, parse_entry
from ledger.errors import (
    ConsistencyError,
    LedgerBrokenError,
    NotFoundError,
    VerificationError,
)
from ledger.forms.names import LEDGER_ITSELF, REGISTRY
from ledger.forms.timestamps import format_time, parse_time
from ledger.ports import AppendTransaction, Batch, Clock, LedgerRecord, Signer, Storage, Wanted
from ledger.reader import Reader
from ledger.registry.ledgers import Registry, build_notice
from ledger.tiles import completed_tiles

PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was brought back."""

    ledger: str
    entries: int
    first: int
    """Seq of the first that was missing."""
    size: int
    """Of the ledger now."""
    root: bytes
    payloads_lost: int
    """Payloads whose octets are in no log: what they were committed to stays."""
    reopened: Sequence[str]
    """Ledgers that were created after the backup, and are known again."""


class Shelf(Storage, Protocol):
    """Where what was lost is put back. `PostgresStorage` is one."""

    def add_ledger(self, record: LedgerRecord, last_hash: bytes, registry_seq: int | None) -> None:
        """Open a ledger; harmless where it stands already."""

    def first_emptied(self, ledger: str, start: int) -> int | None:
        """Seq of the first entry from `start` on that no copy of the log brings back whole."""


class Restorer:
    """Restores ledgers. Used by one thread at a time; others may write meanwhile."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        signer: Signer,
        appender: Appender,
        registry: Registry,
        reader: Reader,
        clock: Clock,
    ) -> None:
        self._shelf = shelf
        self._signer = signer
        self._appender = appender
        self._registry = registry
        self._reader = reader
        self._clock = clock
        self._guard = ClockGuard(clock)

    def check(self, ledger: str, copy: LogCopy, tell: Tell = lambda _done, _total: None) -> Missing:
        """
        Find out what is missing, and that `copy` has exactly that. Nothing is written.

        Every entry must follow the one before it, from the last one that is there on, and all
        together must have the size and the root that were signed.

        Raises:
            NotFoundError: No ledger has this name.
            ForeignSignerError, LedgerBrokenError: There is no record to restore it to.
            VerificationError: The copy is short, damaged, or of another history; which entry,
                where it can be told.
            LedgerError: An entry is of a later version.
            ForkedError: The database holds another history than was signed; from which entry on.
            SettingsError: The copy cannot be read.
        """
        record, base = self._find(ledger, copy)
        check_owner(record, self._signer)
        signed, _ = self._signer.checkpoint(record.origin)
        if base.size >= signed.size:
            return Missing(record=record, base=base, signed=signed, digests={})
        # What a restored registry has forgotten of its keys, the signer knows.
        keys = [*self._reader.keys(ledger), *self._signer.verifiers(record.origin)]
        check_note(copy, record, signed, keys)
        try:
            return find_missing(copy, record, base, signed, tell)
        except VerificationError as error:
            blamed = find_difference(self._shelf, record, base, signed, copy)
            raise (blamed or _unclear(error)) from error

    def write(
        self, missing: Missing, copy: LogCopy, tell: Tell = lambda _done, _total: None
    ) -> Restored:
        """
        Write what is missing, and let the ledger take writes again.

        May be killed and begun again at any time: what is there by then is not written twice.

        Raises:
            ConsistencyError: The copy changed since it was checked.
            RolledBackError, ForkedError: Nothing was missing by size, and what is there is not
                what was signed.
            PushbackError, OutcomeUnknownError: As for an append; begin again.
        """
        record, signed = missing.record, missing.signed
        if record.name == REGISTRY:
            self._shelf.add_ledger(record, genesis_hash(record.origin), None)
        at, lost = missing.base.size, 0
        while at < signed.size:
            entries = read_missing(copy, missing, at)
            at = self._write(missing, entries)
            if at == entries[-1].seq + 1:
                lost += sum(len(entry.payloads) for entry in entries)
            tell(min(at, signed.size) - missing.base.size, missing.entries)
        self._appender.publish(record.name)
        published = self._shelf.published(record.name)
        assert published is not None, "it was published just now"
        return Restored(
            ledger=record.name,
            entries=missing.entries,
            first=missing.base.size,
            size=published[0].size,
            root=published[0].root,
            payloads_lost=lost,
            reopened=self._reopen() if record.name == REGISTRY else (),
        )

    def behind(self) -> Mapping[str, tuple[int, int]]:
        """Ledgers that lack entries: name -> how many are there, how many were signed."""
        found = {}
        for record in self._reader.ledgers():
            try:
                signed, _ = self._signer.checkpoint(record.origin)
            except LedgerBrokenError:
                # Without a record there is nothing it could be restored to.
                continue
            size = self._reader.size(record.name)
            if size < signed.size:
                found[record.name] = (size, signed.size)
        return found

    # ---- What is there ----

    def _find(self, ledger: str, copy: LogCopy) -> tuple[LedgerRecord, Head]:
        try:
            record = self._shelf.ledger(ledger)
        except NotFoundError as error:
            if ledger != REGISTRY:
                raise NotFoundError(
                    f"there is no ledger {ledger} in this database: if it was created after the "
                    f"backup, restore {REGISTRY} first, which opens it again",
                    ledger=ledger,
                ) from error
            # Not even the registry is left: its first entry says which it is.
            record = announced_registry(copy)
            return record, Head.genesis(ledger=record.name, origin=record.origin)
        with self._shelf.append_transaction(record, Wanted()) as transaction:
            return record, transaction.head

    # ---- Writing ----

    def _write(self, missing: Missing, entries: Sequence[Entry]) -> int:
        """Write the next entries; how many are there now."""
        record, start = missing.record, entries[0].seq
        first_lost = None
        if entries[-1].seq + 1 == missing.signed.size:
            # Restoring publishes nothing before its end: above what is published, octets can
            # only have been lost, by this run or by one that was killed.
            published = self._shelf.published(record.name)
            first_lost = self._shelf.first_emptied(
                record.name, 0 if published is None else published[0].size
            )
        with self._shelf.append_transaction(record, wanted(entries)) as transaction:
            if transaction.head.size != start:
                # Somebody else restores it too, and is further.
                return transaction.head.size
            transaction.insert(self._batch(missing, transaction, entries, first_lost))
        return start + len(entries)

    def _batch(
        self,
        missing: Missing,
        transaction: AppendTransaction,
        entries: Sequence[Entry],
        first_lost: int | None,
    ) -> Batch:
        history = history_of(transaction.found)
        closed = closed_intents(transaction.found, entries, format_time(transaction.now))
        targets = [admit(history, entry, closed.get(entry.id)) for entry in entries]
        payloads = [payload for entry in entries for payload in emptied(entry)]
        head = follow(transaction.head, entries)
        written = list(entries)
        if head.size == missing.signed.size:
            if head.root != missing.signed.root:
                raise ConsistencyError("what is about to be written is not what was signed")
            # The base of whatever comes next, as before any other commit.
            self._signer.show_base(
                missing.record.origin, head.size, head.root, transaction.leaf_hashes
            )
            lost = [entry.seq for entry in entries if entry.payloads or entry.effect.intent]
            lost = lost if first_lost is None else [first_lost]
            if lost:
                notice, head = self._announce_loss(transaction, head, lost[0])
                written.append(notice)
                targets.append(None)
        return Batch(
            head=head,
            entries=written,
            targets=targets,
            positions=history.changed_positions,
            payloads=payloads,
            data_keys={},
            tiles=completed_tiles(
                transaction.head.size, [entry.hash for entry in written], transaction.read_tile
            ),
            intents=[intent for _, intent in closed.values()],
        )

    def _announce_loss(
        self, transaction: AppendTransaction, head: Head, first: int
    ) -> tuple[Entry, Head]:
        """The notice that payloads were lost: what is gone and not erased must not look erased."""
        last = head.size - 1
        effect = build_notice(
            "payload.lost", f"_payload.lost/{first}-{last}", {"from_seq": first, "to_seq": last}
        )
        assert head.last_recorded_at is not None, "a head of entries has a time"
        recorded_at = self._guard.time_of_batch(transaction.now, parse_time(head.last_recorded_at))
        notice_id = new_entry_id(int(self._clock.now().timestamp() * 1000))
        admitted = Admitted(effect=effect, id=notice_id, poster=LEDGER_ITSELF)
        [notice], head = chain(head, [admitted], recorded_at=format_time(recorded_at))
        return notice, head

    def _reopen(self) -> list[str]:
        """Put back the rows that follow from the registry's notices."""
        reopened = []
        after = -1
        while page := self._reader.entries_after(REGISTRY, after, PAGE):
            for each in page:
                entry = parse_entry(each.encoded)
                name = self._registry.reopen(entry) if isinstance(entry, Entry) else None
                if name is not None:
                    reopened.append(name)
            after = page[-1].seq
        return reopened


def _unclear(error: VerificationError) -> VerificationError:
    return type(error)(
        f"the copy does not lead to what was signed: {error.message}. Nothing was written",
        **error.details,
    )

"""
Restore: brings back the entries that a database has lost, from any copy of its log.

    what was signed: size, root  ->  read the copy, hold it to both  ->  write  ->  publish

The signer's record says where history ends; the copy is believed in nothing, and nothing is
written until all of it is known to lead there. Entries come back byte for byte, under the same
lock and through the same arithmetic and statements as when they were recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from typing import Protocol

from ledger.admission import history_of, stored_intent
from ledger.append import Appender, check_owner
from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from ledger.clock import ClockGuard
from ledger.copies.log_copy import LogCopy, read_bundle, read_leaf_hashes
from ledger.entry import (
    Admitted,
    Entry,
    Head,
    chain,
    genesis_hash,
    new_entry_id,
    parse_entry,
    verify_chain,
)
from ledger.errors import (
    ChainBreakError,
    ConsistencyError,
    ForkedError,
    LedgerBrokenError,
    LedgerError,
    MalformedProofError,
    NotFoundError,
    RejectedError,
    SignatureError,
    VerificationError,
)
from ledger.forms.names import LEDGER_ITSELF, REGISTRY
from ledger.forms.timestamps import format_time, parse_time
from ledger.intent import Hold, Intent, Step, next_event, take
from ledger.lifecycle import History, lineage_references, references
from ledger.merkle import Frontier, leaf_hash
from ledger.note import VerifierKey
from ledger.ports import (
    AppendTransaction,
    Batch,
    Clock,
    Found,
    LedgerRecord,
    SealedPayload,
    Signer,
    Storage,
    Wanted,
)
from ledger.reader import Reader
from ledger.registry.ledgers import Registry, announced_ledger, build_notice
from ledger.tiles import TILE_WIDTH, completed_tiles

logger = logging.getLogger(__name__)

BUNDLES_PER_TRANSACTION = 4
PAGE = 1_000

Tell = Callable[[int, int], None]
"""Told how many entries are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a database lacks of a ledger, and a copy was found to have."""

    record: LedgerRecord
    base: Head
    """What is there."""
    signed: Checkpoint
    """What was signed."""
    digests: Mapping[int, bytes]
    """Index of each bundle -> SHA-256 over its entries: it is read once more to be written."""

    @property
    def entries(self) -> int:
        """How many are missing."""
        return max(0, self.signed.size - self.base.size)


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
        digests: Mapping[int, bytes] = {}
        if base.size < signed.size:
            # What a restored registry has forgotten of its keys, the signer knows.
            keys = [*self._reader.keys(ledger), *self._signer.verifiers(record.origin)]
            _check_note(copy, record, signed, keys)
            try:
                digests = _check_entries(copy, base, signed, tell)
            except VerificationError as error:
                raise (self._blame(record, base, signed, copy) or _unclear(error)) from error
        return Missing(record=record, base=base, signed=signed, digests=digests)

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
            entries = _read_again(copy, missing, at)
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
            record = _announced_in(copy)
            return record, Head.genesis(ledger=record.name, origin=record.origin)
        with self._shelf.append_transaction(record, Wanted()) as transaction:
            return record, transaction.head

    # ---- Who is wrong ----

    def _blame(
        self, record: LedgerRecord, base: Head, signed: Checkpoint, copy: LogCopy
    ) -> LedgerError | None:
        """
        The first entry that is not the one that was signed, of the database or of the copy.

        None where the copy does not have the signed tree: then nothing here tells who is wrong.
        """
        for read in (read_leaf_hashes, _read_entry_hashes):
            try:
                frontier = Frontier.empty()
                for index in _bundles(0, signed.size):
                    frontier = frontier.extend(read(copy, index, signed.size))
                if frontier.root() == signed.root:
                    return self._first_difference(record, base, signed, copy, read)
            except VerificationError:
                # Tiles of the one kind are missing or damaged; there is the other kind.
                continue
        return None

    def _first_difference(
        self,
        record: LedgerRecord,
        base: Head,
        signed: Checkpoint,
        copy: LogCopy,
        read: Callable[[LogCopy, int, int], list[bytes]],
    ) -> LedgerError | None:
        for index in _bundles(0, base.size):
            start, stop = index * TILE_WIDTH, min((index + 1) * TILE_WIDTH, base.size)
            there = self._shelf.leaf_hashes(record.name, start, stop)
            seq = _first_unequal(there, read(copy, index, signed.size)[: stop - start])
            if seq is not None:
                return ForkedError(
                    f"entry {start + seq} of the database is not the one that was signed: the "
                    f"database of {record.origin} holds another history from there on, and the "
                    "copy the right one. Nothing was written",
                    origin=record.origin,
                    seq=start + seq,
                )
        for index in _bundles(base.size, signed.size):
            found = _read_entry_hashes(copy, index, signed.size)
            seq = _first_unequal(found, read(copy, index, signed.size))
            if seq is not None:
                seq += index * TILE_WIDTH
                return ChainBreakError(
                    f"entry {seq} of the copy is not the one that was signed: the copy is damaged "
                    "there. Nothing was written",
                    seq=seq,
                )
        return None

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
        with self._shelf.append_transaction(record, _wanted(entries)) as transaction:
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
        closed = _closed_intents(transaction.found, entries, format_time(transaction.now))
        targets = [_admit(history, entry, closed.get(entry.id)) for entry in entries]
        payloads = [payload for entry in entries for payload in _emptied(entry)]
        head = _follow(transaction.head, entries)
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


# ---- The copy -------------------------------------------------------------------------


def _bundles(start: int, stop: int) -> range:
    """Indexes of the bundles that hold entries [start, stop)."""
    return range(start // TILE_WIDTH, -(-stop // TILE_WIDTH))


def _check_note(
    copy: LogCopy, record: LedgerRecord, signed: Checkpoint, keys: Sequence[VerifierKey]
) -> None:
    """What the copy says of itself; its entries are held to what was signed in any case."""
    note = copy.read("checkpoint")
    if note is None:
        # Bundles alone prove as much: the record has the root.
        return
    found = _open_note(note, record, keys)
    if found.size < signed.size:
        raise ChainBreakError(
            f"the copy ends before entry {found.size}, and entries up to {signed.size - 1} were "
            "signed: find a longer one. Nothing was written",
            seq=found.size,
        )
    if found.size > signed.size:
        raise ConsistencyError(
            f"{found.size} entries of {record.origin} are signed in the copy, and the signer's "
            f"record knows of {signed.size}: the record itself is an old one. Bring back the "
            "newest; what it does not know it must not sign over. Nothing was written",
            size=found.size,
            signed_size=signed.size,
        )
    if found.root != signed.root:
        raise ForkedError(
            f"two trees of {signed.size} entries were signed for {record.origin}: the copy's, "
            "and the one in the signer's record. Nothing was written",
            root=found.root.hex(),
            signed_root=signed.root.hex(),
        )


def _open_note(note: bytes, record: LedgerRecord, keys: Sequence[VerifierKey]) -> Checkpoint:
    try:
        return open_checkpoint(note, keys)
    except SignatureError as error:
        raise SignatureError(
            f"the copy is not of {record.origin}: {error.message}. Nothing was written",
            **error.details,
        ) from error


def _check_entries(
    copy: LogCopy, base: Head, signed: Checkpoint, tell: Tell
) -> Mapping[int, bytes]:
    head = base
    digests = {}
    for index in _bundles(base.size, signed.size):
        bundle = read_bundle(copy, index, signed.size)
        digests[index] = _digest(bundle)
        missing = bundle[head.size - index * TILE_WIDTH :]
        head = verify_chain(missing, ledger=head.ledger, origin=head.origin, start=head)
        _check_is_known(missing, head.size)
        tell(head.size - base.size, signed.size - base.size)
    if head.root != signed.root:
        raise ConsistencyError(
            f"its entries follow each other up to entry {signed.size - 1}, to the root "
            f"{head.root.hex()}; what was signed has {signed.root.hex()}, so they are another "
            "history",
            root=head.root.hex(),
            signed_root=signed.root.hex(),
        )
    return digests


def _check_is_known(entries: Sequence[bytes], stop: int) -> None:
    for seq, entry in enumerate(entries, start=stop - len(entries)):
        # The last member of every entry of the version whose terms and positions we know.
        if not entry.endswith(b',"v":1}'):
            raise LedgerError(
                f"entry {seq} is of a later version than this program knows: restore it with the "
                "one that recorded it. Nothing was written",
                seq=seq,
            )


def _announced_in(copy: LogCopy) -> LedgerRecord:
    """The registry whose log this is."""
    note = copy.read("checkpoint")
    if note is None:
        raise NotFoundError(f"there is no {REGISTRY} in this database, and {copy.where} is no log")
    # Its signature is checked once its key is known; until then it tells how many there are.
    claimed = parse_checkpoint(note.decode(errors="replace").partition("\n\n")[0] + "\n")
    first = parse_entry(read_bundle(copy, 0, claimed.size)[0])
    if (
        not isinstance(first, Entry)
        or first.ledger != REGISTRY
        or first.effect.type != "ledger.created"
        or announced_ledger(first).name != REGISTRY
    ):
        raise MalformedProofError(
            f"entry 0 of the copy does not announce {REGISTRY}: this is not its log", seq=0
        )
    return announced_ledger(first)


def _read_again(copy: LogCopy, missing: Missing, start: int) -> list[Entry]:
    """The next entries from `start` on, the same that were checked."""
    size = missing.signed.size
    stop = (start // TILE_WIDTH + BUNDLES_PER_TRANSACTION) * TILE_WIDTH
    entries = []
    for index in _bundles(start, min(stop, size)):
        bundle = read_bundle(copy, index, size)
        if _digest(bundle) != missing.digests[index]:
            raise ConsistencyError(
                f"the copy changed while it was read, from entry {index * TILE_WIDTH} on; what "
                "was written before is right, and the rest can be brought back from another",
                seq=index * TILE_WIDTH,
            )
        entries += [parse_entry(encoded) for encoded in bundle]
    return [entry for entry in entries if entry.seq >= start and isinstance(entry, Entry)]


def _read_entry_hashes(copy: LogCopy, index: int, size: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in read_bundle(copy, index, size)]


def _digest(entries: Sequence[bytes]) -> bytes:
    return sha256(b"".join(map(leaf_hash, entries))).digest()


def _first_unequal(found: Sequence[bytes], expected: Sequence[bytes]) -> int | None:
    for at, (one, other) in enumerate(zip_longest(found, expected)):
        if one != other:
            return at
    return None


def _unclear(error: VerificationError) -> VerificationError:
    return type(error)(
        f"the copy does not lead to what was signed: {error.message}. Nothing was written",
        **error.details,
    )


# ---- The entries ----------------------------------------------------------------------


def _wanted(entries: Sequence[Entry]) -> Wanted:
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


def _closed_intents(
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


def _admit(history: History, entry: Entry, closed: tuple[Hold | None, Intent] | None) -> str | None:
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


def _emptied(entry: Entry) -> Iterator[SealedPayload]:
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


def _follow(head: Head, entries: Sequence[Entry]) -> Head:
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

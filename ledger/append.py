"""
Appender: the life of an effect, from postings to receipts, for one ledger at a time.

    lock the head -> answer replays -> check corrections -> number, chain, extend the tree
    -> show the base to the signer -> commit -> sign once -> build receipts

Everything that waits is one batch in one transaction. Knows no HTTP, no queue, no SQL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from ledger.admission import (
    Admission,
    Place,
    Replay,
    Verdict,
    conflict,
    is_same_request,
    wanted,
)
from ledger.checkpoint import Checkpoint
from ledger.clock import ClockGuard
from ledger.effect import Effect
from ledger.entry import Entry, Head, chain, new_entry_ids, parse_entry, recorded_entry
from ledger.errors import (
    CommitmentError,
    ForeignSignerError,
    LedgerBrokenError,
    LedgerError,
    OutcomeUnknownError,
    PushbackError,
    RejectedError,
    VerificationError,
)
from ledger.forms.names import LEDGER_ITSELF
from ledger.forms.payload import commitment
from ledger.forms.timestamps import format_time, parse_time
from ledger.merkle import BatchProver, Frontier, LeafIndex, TreeSize
from ledger.period import lateness
from ledger.ports import (
    AppendTransaction,
    Batch,
    Clock,
    LedgerRecord,
    SealedPayload,
    Signer,
    Stops,
    Storage,
    Wanted,
)
from ledger.receipt import Receipt, proof_text
from ledger.submission import KeptPayload, Outcome, Posting, Recorded, Submission
from ledger.tiles import completed_tiles
from ledger.tree import Tree
from ledger.vault import SaltedPayload, Vault

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Committed:
    """A batch that is on disk."""

    base: Frontier
    head: Head
    entries: Sequence[Entry]
    payloads: Sequence[tuple[SaltedPayload, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """A checkpoint that covers a batch, and how to prove its entries under it."""

    checkpoint: Checkpoint
    note: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A batch that is on disk, and how the receipts of its entries are made."""

    committed: _Committed
    prove: Callable[[Entry], Receipt]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Covering:
    """A published checkpoint, and how entries are proved under it."""

    checkpoint: Checkpoint
    note: str
    prove: Callable[[LeafIndex], list[bytes]]


class Appender:
    """
    Appends to ledgers through one storage connection. Used by one thread at a time.

    Any number of appenders, in any number of processes, may write one ledger: the head
    row's lock orders them, and the signer's record is shared.
    """

    def __init__(
        self,
        storage: Storage,
        signer: Signer,
        vault: Vault,
        clock: Clock,
        stops: Stops | None = None,
    ) -> None:
        self._stops = stops
        self._storage = storage
        self._signer = signer
        self._vault = vault
        self._clock = clock
        self._guard = ClockGuard(clock)
        self._records: dict[str, LedgerRecord] = {}
        self._trees: dict[str, Tree] = {}
        # What the replays of one batch are proved under, and those before of each ledger.
        self._covering: _Covering | None = None
        self._coverings: dict[str, _Covering] = {}

    def append(self, ledger: str, postings: Sequence[Posting]) -> list[list[Outcome]]:
        """
        Record what `postings` ask for; durable, chained and provable when this returns.

        Returns:
            For each posting, one outcome per submission: recorded, replayed or refused.

        Raises:
            NotFoundError: No ledger has this name.
            PushbackError: Nothing was written; the same postings may be sent later.
            OutcomeUnknownError: The commit was sent and not confirmed.
            LedgerBrokenError: The ledger takes no more writes.
        """
        record = self._record(ledger)
        self._covering = None
        try:
            return self._write(record, postings)
        except LedgerError as error:
            told = self._told_in_spite_of(error, record, postings)
            if all(outcome is error for outcomes in told for outcome in outcomes):
                raise
            return told

    def publish(self, ledger: str) -> None:
        """
        Sign and publish what is committed, where a crash cut that short; or nothing, at first.

        Raises:
            RolledBackError, ForkedError: As for `append`.
        """
        record = self._record(ledger)
        with self._storage.append_transaction(record, wanted(())) as transaction:
            self._show_base(record, transaction)
            size = transaction.head.size
        signed = self._sign(record, size, ())
        self._storage.publish(record.name, signed.checkpoint, signed.note)
        self._storage.settle()

    def append_notice(
        self, ledger: str, key: str, build: Callable[[AppendTransaction], Effect]
    ) -> tuple[Entry, bool]:
        """
        Record what the ledger itself says of all that stands before it.

        Args:
            ledger: Its name.
            key: The notice's key.
            build: Makes the notice while the head is held; what it raises, nothing is written.

        Returns:
            The entry, and whether it stood there already.

        Raises:
            PushbackError, OutcomeUnknownError, LedgerBrokenError: As for `append`.
        """
        record = self._record(ledger)
        if self._stops is not None:
            self._stops.check(ledger)
        with self._storage.append_transaction(record, Wanted(keys=[key])) as transaction:
            standing = transaction.found.replays.get(key)
            if standing is not None:
                entry = parse_entry(standing)
                assert isinstance(entry, Entry), "a notice is of the version that wrote it"
                return entry, True
            self._show_base(record, transaction)
            submission = Submission(effect=build(transaction))
            posting = Posting(
                ledger=ledger,
                principal=LEDGER_ITSELF,
                submissions=(submission,),
                with_receipts=False,
            )
            admission = Admission(
                transaction.found,
                new_id=self._new_ids(),
                now=format_time(transaction.now),
                size=transaction.head.size,
            )
            [verdict] = admission.judge(posting)
            if isinstance(verdict, RejectedError):
                raise verdict
            committed = self._insert(record, transaction, admission)
        self._sign_batch(record, committed)
        self._settle(record)
        return committed.entries[0], False

    def _write(self, record: LedgerRecord, postings: Sequence[Posting]) -> list[list[Outcome]]:
        try:
            return self._append(record, postings)
        except (RejectedError, CommitmentError) as error:
            # The database refused a value, or the vault a data key: halve the batch until
            # the item is alone.
            halves = _halves(postings)
            if halves is None:
                return [[error for _ in posting.submissions] for posting in postings]
        first, second = (self._write_half(record, half) for half in halves)
        if len(postings) == 1:
            return [[*first[0], *second[0]]]
        return [*first, *second]

    def _write_half(self, record: LedgerRecord, postings: Sequence[Posting]) -> list[list[Outcome]]:
        try:
            return self._write(record, postings)
        except LedgerError as error:
            # The other half may be on disk, so what befell this one is told to this one only.
            return self._told_in_spite_of(error, record, postings)

    def _told_in_spite_of(
        self, error: LedgerError, record: LedgerRecord, postings: Sequence[Posting]
    ) -> list[list[Outcome]]:
        """What a batch is told that was not written: of `error`, but for those known before."""
        known: Mapping[str, bytes] = {}
        # Where nobody knows, what is there by now may be this very batch.
        if not isinstance(error, OutcomeUnknownError):
            with suppress(PushbackError):
                known = self._storage.replays(record.name, wanted(postings).keys)
        return [
            [
                self._asked_again(record, known[s.effect.key], s, posting)
                for s in posting.submissions
            ]
            if _all_known(posting, known)
            else [error for _ in posting.submissions]
            for posting in postings
        ]

    def _append(self, record: LedgerRecord, postings: Sequence[Posting]) -> list[list[Outcome]]:
        if self._stops is not None:
            # What was recorded before is answered all the same: only history stands still.
            self._stops.check(record.name)
        with self._storage.append_transaction(record, wanted(postings)) as transaction:
            if not all(_all_known(posting, transaction.found.replays) for posting in postings):
                self._show_base(record, transaction)
            admission = Admission(
                transaction.found,
                new_id=self._new_ids(),
                now=format_time(transaction.now),
                size=transaction.head.size,
                check_payloads=lambda submission, encoded: self._check_payloads(
                    record, submission, encoded
                ),
            )
            verdicts = [admission.judge(posting) for posting in postings]
            committed = self._insert(record, transaction, admission)
        # Only past the commit: a receipt for an entry that rolled back is a false receipt.
        signed = self._sign_batch(record, committed)
        proved = any(posting.with_receipts for posting in postings)
        placed = _Placed(
            committed=committed,
            prove=self._prover(record, committed, signed) if signed and proved else _unproved,
        )
        outcomes = [
            [
                self._outcome(record, verdict, submission, posting, placed)
                for verdict, submission in zip(judged, posting.submissions, strict=True)
            ]
            for judged, posting in zip(verdicts, postings, strict=True)
        ]
        self._settle(record)
        return outcomes

    def _show_base(self, record: LedgerRecord, transaction: AppendTransaction) -> None:
        check_owner(record, self._signer)
        head = transaction.head
        self._signer.show_base(
            record.origin, head.size, head.frontier.root(), transaction.leaf_hashes
        )

    def _insert(
        self, record: LedgerRecord, transaction: AppendTransaction, admission: Admission
    ) -> _Committed:
        base = transaction.head
        if not admission.admitted:
            return _Committed(base=base.frontier, head=base, entries=(), payloads=())
        previous = base.last_recorded_at
        recorded_at = format_time(
            self._guard.time_of_batch(transaction.now, parse_time(previous) if previous else None)
        )
        late_for = lateness(transaction.closed)
        entries, head = chain(base, admission.admitted, recorded_at=recorded_at, late_for=late_for)
        sealed, data_keys = self._seal(record, transaction, entries, admission.payloads)
        transaction.insert(
            Batch(
                head=head,
                entries=entries,
                targets=admission.targets,
                positions=admission.changed_positions,
                payloads=sealed,
                data_keys=data_keys,
                tiles=completed_tiles(
                    base.size, [entry.hash for entry in entries], transaction.read_tile
                ),
                intents=admission.intents,
            )
        )
        return _Committed(
            base=base.frontier, head=head, entries=entries, payloads=admission.payloads
        )

    def _seal(
        self,
        record: LedgerRecord,
        transaction: AppendTransaction,
        entries: Sequence[Entry],
        payloads: Sequence[tuple[SaltedPayload, ...]],
    ) -> tuple[list[SealedPayload], dict[str, bytes]]:
        standing = dict(transaction.found.data_keys)
        sealed: list[SealedPayload] = []
        made: dict[str, bytes] = {}
        for entry, salted in zip(entries, payloads, strict=True):
            if salted:
                rows, keys = self._vault.seal(record, entry.id, entry.seq, salted, standing)
                sealed += rows
                made |= keys
        return sealed, made

    def _sign_batch(self, record: LedgerRecord, committed: _Committed) -> _Signed | None:
        if not committed.entries:
            return None
        leaves = [entry.hash for entry in committed.entries]
        signed = None
        try:
            signed = self._sign(record, committed.base.size, leaves)
            self._storage.publish(record.name, signed.checkpoint, signed.note)
        except LedgerBrokenError:
            # What is committed stays; the next base that is shown stops the ledger.
            logger.exception("the signer refuses ledger %s", record.name)
        except PushbackError as error:
            _warn_unpublished(record, error)
        return signed

    def _settle(self, record: LedgerRecord) -> None:
        # Last of all: receipts are built while the database is busy with it.
        try:
            self._storage.settle()
        except PushbackError as error:
            _warn_unpublished(record, error)

    def _sign(self, record: LedgerRecord, start: int, leaves: Sequence[bytes]) -> _Signed:
        checkpoint, note = self._signer.sign(
            record.origin,
            start,
            leaves,
            lambda first, last: self._storage.leaf_hashes(record.name, first, last),
        )
        return _Signed(checkpoint=checkpoint, note=note)

    def _prover(
        self, record: LedgerRecord, committed: _Committed, signed: _Signed
    ) -> Callable[[Entry], Receipt]:
        """How the receipts of a batch are made."""
        size, note = signed.checkpoint.size, signed.note.decode()
        if size == committed.head.size:
            leaves = [entry.hash for entry in committed.entries]
            path = BatchProver(committed.base, leaves).inclusion_proof
        else:
            # Another process signed a larger tree first; the proofs lead there.
            tree = self._tree(record.name)

            def path(index: LeafIndex) -> list[bytes]:
                return tree.inclusion_proof(index, TreeSize(size))

        def prove(entry: Entry) -> Receipt:
            try:
                hashes = path(LeafIndex(entry.seq))
            except LedgerError as error:
                # The batch is on disk; its receipts can be asked for once the tree can be read.
                logger.warning("receipts of ledger %s come unsigned: %s", record.name, error)
                return _unproved(entry)
            return _proved(entry, proof_text(entry.seq, hashes, note))

        return prove

    def _outcome(
        self,
        record: LedgerRecord,
        verdict: Verdict,
        submission: Submission,
        posting: Posting,
        placed: _Placed,
    ) -> Outcome:
        if isinstance(verdict, Place):
            entry = placed.committed.entries[verdict.index]
            return Recorded(
                entry=entry,
                replayed=verdict.replayed,
                receipt=placed.prove(entry) if posting.with_receipts else None,
                payloads=_kept(placed.committed.payloads[verdict.index]),
            )
        if isinstance(verdict, Replay):
            return self._replay(record, verdict.encoded, submission, posting)
        return verdict

    def _asked_again(
        self, record: LedgerRecord, encoded: bytes, submission: Submission, posting: Posting
    ) -> Outcome:
        """What is told of a known key, whatever it was that was sent."""
        if not is_same_request(submission, posting.principal, encoded):
            return conflict(submission.effect)
        return self._replay(record, encoded, submission, posting)

    def _replay(
        self, record: LedgerRecord, encoded: bytes, submission: Submission, posting: Posting
    ) -> Outcome:
        try:
            entry = recorded_entry(encoded, submission.effect)
            return Recorded(
                entry=entry,
                replayed=True,
                receipt=self._stored_receipt(record, entry) if posting.with_receipts else None,
                payloads=replayed_payloads(self._storage, self._vault, record, entry, submission),
            )
        except LedgerError as error:
            # Told to this one only: others that came with it may have been recorded.
            return error

    def _check_payloads(self, record: LedgerRecord, submission: Submission, encoded: bytes) -> None:
        # Before the commit, for an atomic request stands or falls with each of its items.
        try:
            entry = recorded_entry(encoded, submission.effect)
            replayed_payloads(self._storage, self._vault, record, entry, submission)
        except VerificationError:
            # What stands there was damaged: told to whoever asks for it, and to nobody else.
            return

    def _stored_receipt(self, record: LedgerRecord, entry: Entry) -> Receipt:
        if self._covering is None or self._covering.checkpoint.size <= entry.seq:
            self._covering = self._cover(record, entry.seq)
        covering = self._covering
        if covering is None:
            return _unproved(entry)
        hashes = covering.prove(LeafIndex(entry.seq))
        return _proved(entry, proof_text(entry.seq, hashes, covering.note))

    def _cover(self, record: LedgerRecord, seq: int) -> _Covering | None:
        """The newest checkpoint, over entry `seq`; None where there is none yet."""
        published = self._storage.published(record.name)
        if published is None or published[0].size <= seq:
            published = self._catch_up(record)
        if published is None:
            return None
        checkpoint, note = published[0], published[1].decode()
        before = self._coverings.get(record.name)
        if before is not None and (before.checkpoint, before.note) == (checkpoint, note):
            return before
        prove = self._tree(record.name).inclusion_prover(TreeSize(checkpoint.size))
        covering = _Covering(checkpoint=checkpoint, note=note, prove=prove)
        self._coverings[record.name] = covering
        return covering

    def _catch_up(self, record: LedgerRecord) -> tuple[Checkpoint, bytes] | None:
        """The checkpoint over what a crash, or a signer that was away, left unsigned."""
        try:
            self.publish(record.name)
        except (PushbackError, LedgerBrokenError) as error:
            _warn_unpublished(record, error)
            return None
        return self._storage.published(record.name)

    def _record(self, ledger: str) -> LedgerRecord:
        # A ledger's record never changes, so one reading is enough.
        if ledger not in self._records:
            self._records[ledger] = self._storage.ledger(ledger)
        return self._records[ledger]

    def _tree(self, ledger: str) -> Tree:
        if ledger not in self._trees:
            self._trees[ledger] = Tree(
                lambda level, index, width: self._storage.tile_hashes(ledger, level, index, width)
            )
        return self._trees[ledger]

    def _new_ids(self) -> Callable[[], str]:
        return new_entry_ids(int(self._clock.now().timestamp() * 1000)).__next__


def _warn_unpublished(record: LedgerRecord, error: LedgerError) -> None:
    # Of the signer or the database. What is committed is on disk, and nobody may be told that
    # it is not: the next checkpoint covers it.
    logger.warning("ledger %s is not published to its end: %s", record.name, error)


def check_owner(record: LedgerRecord, signer: Signer) -> None:
    """
    Check that `signer` is the one that may sign for this ledger.

    Raises:
        ForeignSignerError: It is another.
    """
    if record.signer != signer.identity:
        raise ForeignSignerError(
            f"ledger {record.name} is signed by {record.signer}, "
            f"this process holds {signer.identity}",
            ledger=record.name,
        )


class PayloadStore(Protocol):
    """Where payloads are kept. `PostgresStorage` is one."""

    def sealed_payloads(self, ledger: str, seqs: Sequence[int]) -> Sequence[SealedPayload]:
        """The payloads of these entries as they are stored."""

    def data_keys(self, ledger: str, subjects: Sequence[str]) -> Mapping[str, bytes]:
        """Wrapped data keys by data subject, for those that stand."""


def replayed_payloads(
    store: PayloadStore, vault: Vault, record: LedgerRecord, entry: Entry, submission: Submission
) -> tuple[KeptPayload, ...]:
    """
    What stands of the payloads of `entry`, which `submission` asks for again.

    Raises:
        IdempotencyConflictError: One that was sent is not the one recorded.
        CommitmentError: One that is stored is not the one committed to.
    """
    if not submission.payloads:
        return ()
    rows = store.sealed_payloads(record.name, [entry.seq])
    data_keys = store.data_keys(record.name, [row.data_subject for row in rows])
    opened = {each.name: each for each in vault.open(record, entry.id, rows, data_keys)}
    kept = []
    for sent, committed in zip(submission.payloads, entry.payloads, strict=True):
        # Erased or lost, it cannot be compared; the answer shows it by the missing salt.
        salt = opened[sent.name].salt if sent.name in opened else None
        if salt is not None and commitment(salt, sent.content).hex() != committed.commitment:
            raise conflict(submission.effect)
        kept.append(
            KeptPayload(
                name=committed.name,
                media_type=committed.media_type,
                commitment=committed.commitment,
                salt=salt,
            )
        )
    return tuple(kept)


def _halves(postings: Sequence[Posting]) -> tuple[Sequence[Posting], Sequence[Posting]] | None:
    """Two smaller batches in the same order; None where what is left stands or falls whole."""
    if len(postings) > 1:
        middle = len(postings) // 2
        return postings[:middle], postings[middle:]
    [posting] = postings
    items = posting.submissions
    if posting.atomic or len(items) == 1:
        return None
    middle = len(items) // 2
    return (
        [replace(posting, submissions=items[:middle])],
        [replace(posting, submissions=items[middle:])],
    )


def _all_known(posting: Posting, known: Mapping[str, bytes]) -> bool:
    return all(submission.effect.key in known for submission in posting.submissions)


def _kept(payloads: tuple[SaltedPayload, ...]) -> tuple[KeptPayload, ...]:
    if not payloads:
        return ()
    return tuple(
        KeptPayload(
            name=item.payload.name,
            media_type=item.payload.media_type,
            commitment=item.commitment.commitment,
            salt=item.salt,
        )
        for item in payloads
    )


def _unproved(entry: Entry) -> Receipt:
    return Receipt(level="unsigned", proof=None, entry=entry.encoded)


def _proved(entry: Entry, proof: str) -> Receipt:
    return Receipt(level="log-signed", proof=proof, entry=entry.encoded)

"""
Ports: what the engine needs from the world, as protocols, and the values that cross them.

Storage and signer are introduced to the engine by the entrances; neither knows the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from ledger.checkpoint import Checkpoint
from ledger.effect import Rules
from ledger.entry import Entry, Head
from ledger.intent import Intent
from ledger.lifecycle import Position
from ledger.note import VerifierKey
from ledger.period import ClosedPeriod
from ledger.tiles import Tile


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """What is fixed about a ledger from its creation on."""

    name: str
    origin: str
    vkey: str
    signer: str
    """Identity of the signer record that owns the origin."""
    units: Mapping[str, int]
    time_zone: str
    public: bool
    screen: frozenset[str]

    @property
    def rules(self) -> Rules:
        """The rules a caller's words are held to here."""
        return Rules(units=self.units, screen=self.screen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the rules will ask of history, so that storage answers it in one round trip."""

    keys: Sequence[str] = ()
    """Idempotency keys, to tell replays."""
    entry_ids: Sequence[str] = ()
    entry_keys: Sequence[str] = ()
    """Entries that are named, by id and by key."""
    lineage_ids: Sequence[str] = ()
    lineage_keys: Sequence[str] = ()
    """Those of them whose lineage comes with them: their targets, up to the originals."""
    business_keys: Sequence[str] = ()
    data_subjects: Sequence[str] = ()
    signing_keys: Sequence[str] = ()
    intents: Sequence[str] = ()
    intent_keys: Sequence[str] = ()
    """Intents, by id and by the key of their promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What history says to a `Wanted`."""

    replays: Mapping[str, bytes] = field(default_factory=dict)
    """Idempotency key -> entry bytes."""
    lineage: Sequence[tuple[bytes, str | None]] = ()
    """Bytes of what was asked for with the id of the entry they correct, lineages included."""
    positions: Sequence[Position] = ()
    business_keys: Mapping[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)
    """(kind, type, business key) -> id and seq of the effect that holds it."""
    data_keys: Mapping[str, bytes] = field(default_factory=dict)
    """Data subject -> wrapped data key."""
    signing_keys: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    """Poster key id -> principal and public key."""
    promised: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """(kind, type, business key) -> id of the open intent that holds it."""
    holders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Entry id -> ids of open intents that hold some of it, the oldest first, as far as told."""
    intents: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """Intent id -> its events, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPayload:
    """A payload as it is stored."""

    seq: int
    name: str
    media_type: str
    commitment: bytes
    data_subject: str
    sealed: bytes | None
    """None once erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything one append writes, in one transaction."""

    head: Head
    """The head after the batch."""
    entries: Sequence[Entry]
    targets: Sequence[str | None]
    """Beside each entry, the id of the entry it corrects."""
    positions: Sequence[Position]
    payloads: Sequence[SealedPayload]
    data_keys: Mapping[str, bytes]
    """New data keys, wrapped."""
    tiles: Sequence[Tile]
    intents: Sequence[Intent] = ()
    """What moved, one for each step and in their order: an intent's last event is the step."""


class AppendTransaction(Protocol):
    """The head of one ledger, held."""

    head: Head
    now: datetime
    """Database clock, read under the lock."""
    found: Found
    closed: Sequence[ClosedPeriod]
    """Closes that stand, read under the lock."""

    def read_tile(self, level: int, index: int) -> Sequence[bytes]:
        """The hashes that tile holds so far, under the lock."""

    def leaf_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        """Entry hashes [start, stop), under the lock."""

    def entry_bytes(self, start: int, stop: int) -> Sequence[bytes]:
        """Entries [start, stop) as they are hashed, under the lock."""

    def insert(self, batch: Batch) -> None:
        """Write `batch` when the block ends."""


class Storage(Protocol):
    """Where entries are kept. Used by one thread at a time."""

    def ledger(self, name: str) -> LedgerRecord:
        """
        The ledger of this name.

        Raises:
            NotFoundError: There is none.
            DatabaseUnavailableError: The database does not answer.
        """

    def replays(self, ledger: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Entry bytes by idempotency key, for those that are taken; a plain read, no lock."""

    def sealed_payloads(self, ledger: str, seqs: Sequence[int]) -> Sequence[SealedPayload]:
        """The payloads of these entries as they are stored."""

    def data_keys(self, ledger: str, subjects: Sequence[str]) -> Mapping[str, bytes]:
        """Wrapped data keys by data subject, for those that stand."""

    def append_transaction(
        self, record: LedgerRecord, wanted: Wanted
    ) -> AbstractContextManager[AppendTransaction]:
        """
        Hold the head of a ledger until the block ends, then commit durably.

        Leaving the block normally means that what was inserted is on disk. Leaving it
        with an exception means that nothing is, except for OutcomeUnknownError.

        Raises:
            PushbackError: Another writer kept the head too long, or the database is
                away. Nothing was written.
            RejectedError: The database refuses a value. Nothing was written.
            OutcomeUnknownError: The commit was sent and not confirmed.
        """

    def leaf_hashes(self, ledger: str, start: int, stop: int) -> Sequence[bytes]:
        """Committed entry hashes [start, stop)."""

    def tile_hashes(self, ledger: str, level: int, index: int, width: int) -> Sequence[bytes]:
        """The first `width` hashes of tile (level, index), committed."""

    def published(self, ledger: str) -> tuple[Checkpoint, bytes] | None:
        """The newest published checkpoint and its note; None before the first."""

    def publish(self, ledger: str, checkpoint: Checkpoint, note: bytes) -> None:
        """
        Have every process serve this checkpoint, unless a larger one is served already.

        Sent when this returns; `settle` waits for it, and so does whatever is asked next.
        """

    def settle(self) -> None:
        """
        Wait until what was published is served.

        Raises:
            PushbackError: It may not be.
        """


class Signer(Protocol):
    """Owns origins: remembers, outside the database, the largest tree it signed of each."""

    @property
    def identity(self) -> str:
        """Which record this is; a ledger names the one signer that may sign for it."""

    def verifiers(self, origin: str) -> Sequence[VerifierKey]:
        """The keys that sign `origin` now, oldest first; SignerUnavailableError as below."""

    def ml_dsa_verifier(self, origin: str) -> VerifierKey | None:
        """The ML-DSA-44 key that signs `origin` beside the other; None where there is none."""

    def register(self, origin: str) -> None:
        """Begin the record of a new origin at size 0; harmless where it has one."""

    def checkpoint(self, origin: str) -> tuple[Checkpoint, bytes]:
        """
        The largest tree of the record, and its signed note.

        Raises:
            LedgerBrokenError: There is no record of this origin.
            SignerUnavailableError: The record cannot be read.
        """

    def show_base(
        self,
        origin: str,
        size: int,
        root: bytes,
        read_leaves: Callable[[int, int], Sequence[bytes]],
    ) -> None:
        """
        Show the tree that is about to be extended. Before the commit.

        Raises:
            RolledBackError: The base is behind what was signed.
            ForkedError: The base is not a continuation of what was signed.
            SignerUnavailableError: The record cannot be read or written.
        """

    def sign(
        self,
        origin: str,
        start: int,
        leaves: Sequence[bytes],
        read_leaves: Callable[[int, int], Sequence[bytes]],
    ) -> tuple[Checkpoint, bytes]:
        """
        Sign the tree that `leaves` extend from `start`. After the commit.

        Returns:
            The checkpoint and its signed note; of a larger tree where one was signed already.

        Raises:
            ForkedError, SignerUnavailableError: As for `show_base`.
        """

    def attest(self, text: str) -> bytes:
        """
        Sign what a verification found.

        Args:
            text: Of a `statement`; nothing else is signed this way.

        Returns:
            The signed note.

        Raises:
            MalformedProofError: It is no statement.
            SignerUnavailableError: The signer does not answer.
        """

    def endorse(self, origin: str, vkey: str) -> list[str]:
        """
        Let the other keys that sign an origin say that this one does too.

        Returns:
            Signature lines (C2SP signed-note), one for each of them.

        Raises:
            MalformedProofError: It is no key of this signer.
            SignerUnavailableError: The signer does not answer.
        """


class Stops(Protocol):
    """Ledgers that take no writes until a person has looked."""

    def check(self, ledger: str) -> None:
        """
        Let a write pass; asked before each batch, from any thread.

        Raises:
            LedgerBrokenError: The ledger is stopped.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAnswered:
    """There is no reply this time, and nothing is known to be wrong with what was asked."""

    reason: str
    """For people; one line."""


class TimestampTransport(Protocol):
    """The way to a timestamp authority. Used by one thread at a time."""

    def ask(self, query: bytes) -> bytes | NotAnswered:
        """
        Carry a query (RFC 3161, DER) to the authority, and bring back what it replies.

        Nothing of a reply is believed: it may say anything.
        """

    def close(self) -> None:
        """Let go of whatever is held."""


class Clock(Protocol):
    """Time as the process sees it."""

    def now(self) -> datetime:
        """Wall clock, UTC."""

    def progress(self) -> float:
        """Seconds that passed since some fixed moment; never steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementsAsked:
    """Whose statements of reconciliations go with a closed period."""

    ledger: str
    from_seq: int
    to_seq: int
    """The entries of the period; the close is the one after the last."""
    days: tuple[date, date]
    """First and last day of the period, in the ledger's time zone."""
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class FiledView:
    """A statement as people read it: a file whose name ends so."""

    suffix: str
    media_type: str
    parts: Iterable[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledStatement:
    """A statement of a reconciliation, as the files that a bundle has of it."""

    name: str
    """Of its files, but for their endings."""
    run: str
    period: str
    size: int
    """Entries of the ledger that it is about."""
    decisions: tuple[str, ...]
    """Ids of the decisions that signed it; empty where nobody did."""
    content: bytes
    """Canonical JSON: `{statement, measures, files, signoffs}`."""
    views: Sequence[FiledView]


class FiledStatements(Protocol):
    """Reads statements; a function of a module, for it is sent to a process of its own."""

    def __call__(self, conninfo: str, asked: StatementsAsked) -> Iterator[FiledStatement]:
        """The statements that go with a closed period, the same whenever they are asked for."""

"""
PostgreSQL as the place where entries are kept: the append path.

One connection, used by one thread. An append is two trips: the head is locked and everything
the rules ask for is read on the first, everything is written and committed on the second; many
entries travel between them. Reading for its own sake lives in `ledger.reader`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.types.json import Jsonb

from ledger.checkpoint import Checkpoint
from ledger.entry import Head
from ledger.errors import (
    DatabaseUnavailableError,
    LedgerError,
    MalformedEffectError,
    NotFoundError,
    OutcomeUnknownError,
    PushbackError,
)
from ledger.forms.timestamps import format_time
from ledger.merkle import HASH_BYTES, Frontier
from ledger.period import ClosedPeriod, Period
from ledger.ports import Batch, Found, LedgerRecord, SealedPayload, Wanted
from ledger.storage.binary import bigints, texts
from ledger.storage.database import WRITER, Conninfo, connect
from ledger.storage.questions import SELECT_DATA_KEYS, SELECT_REPLAYS, Questions
from ledger.storage.rows import (
    COPY_ENTRIES,
    INSERT_ENTRIES,
    copied_entries,
    inserted_entries,
    statements_beside,
)
from ledger.storage.tables import ledger_record
from ledger.storage.wire import Parameter, Rows, Statement, Wire
from ledger.tiles import TILE_WIDTH

logger = logging.getLogger(__name__)

# A writer that waits longer than this is told to come back: the queue stays short.
LOCK_TIMEOUT_MS = 2_000
# No append takes this long. Frozen between two trips its session ends by itself; frozen within
# one no timeout of the server runs, and whoever waits behind it ends it.
FROZEN_AFTER_S = 10
# From so many entries on COPY takes less time than INSERT, its two trips more included.
COPIED_ENTRIES_MIN = 33

BEGIN = Statement("begin", "begin")
COMMIT = Statement("commit", "commit")
ROLLBACK = Statement("rollback", "rollback")
BEGIN_SNAPSHOT = Statement("begin_snapshot", "begin isolation level repeatable read read only")

# FOR UPDATE and not SERIALIZABLE: one row per ledger is the whole contention, and a
# waiting writer gets the head it will extend instead of a serialization failure.
# The clock is read from what was locked: beside the lock it could be read before that is held.
LOCK_HEAD = Statement(
    "lock_head",
    """
with locked as materialized (
    select size, last_hash, last_recorded_at, frontier, closes from heads
    where ledger = $1 for update
)
select size, last_hash, last_recorded_at, frontier, closes, clock_timestamp() from locked
""",
)

# One plan for whatever values: by statistics that do not know a new ledger, reading all of it for
# each key seems as cheap as looking the key up.
ONE_PLAN = "set plan_cache_mode = force_generic_plan"
# Plans are kept, and those that were made while a ledger had next to nothing are bad ones later.
DISCARD_PLANS = Statement("discard_plans", "discard plans")
PLANS_MADE_AGAIN_AT = 256

# Closes that no other close supersedes, and which therefore do not overlap.
SELECT_CLOSED = Statement(
    "select_closed",
    """
select p.name, p.from_at, p.to_at, p.seq from periods p
where p.ledger = $1 and not exists (
    select from periods s where s.ledger = $1 and s.supersedes = p.id
)
order by p.seq
""",
)

# Who holds a row is not listed, but to lock one of a table is to hold this lock on the table.
# Sessions of the same login only: no other's may be ended, or is anything of ours.
END_FROZEN = """
select pg_terminate_backend(l.pid)
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.relation = 'effect_ledger.heads'::regclass and l.mode = 'RowShareLock' and l.granted
    and a.usename = session_user and a.xact_start < clock_timestamp() - make_interval(secs => %s)
"""

SELECT_LEDGER = Statement(
    "select_ledger",
    "select ledger, origin, vkey, signer, units, time_zone, public, screen "
    "from ledgers where ledger = $1",
)

SELECT_PAYLOADS = Statement(
    "select_payloads",
    "select seq, name, media_type, commitment, data_subject, sealed "
    "from payloads where ledger = $1 and seq = any($2::bigint[]) order by seq, name",
)

# Payloads without octets, and entries that were intents: their events are in no copy of a log.
SELECT_FIRST_EMPTIED = Statement(
    "select_first_emptied",
    """
select least(
    (select min(seq) from payloads where ledger = $1 and seq >= $2 and sealed is null),
    (select min(seq) from entries where ledger = $1 and seq >= $2
        and position('"intent":{"digest":"'::bytea in body) > 0)
)
""",
)

SELECT_HASHES = Statement(
    "select_hashes",
    "select hash from entries where ledger = $1 and seq >= $2 and seq < $3 order by seq",
)

SELECT_BODIES = Statement(
    "select_bodies",
    "select body from entries where ledger = $1 and seq >= $2 and seq < $3 order by seq",
)

SELECT_TILE_ROOTS = Statement(
    "select_tile_roots",
    "select root from tiles "
    "where ledger = $1 and level = $2 and idx >= $3 and idx < $4 order by idx",
)

SELECT_FULL_TILE = Statement(
    "select_full_tile", "select hashes from tiles where ledger = $1 and level = $2 and idx = $3"
)

SELECT_PUBLISHED = Statement(
    "select_published",
    "select l.origin, p.size, p.root, p.note "
    "from published p join ledgers l on l.ledger = p.ledger where p.ledger = $1",
)

INSERT_LEDGER = """
insert into ledgers (ledger, origin, vkey, signer, units, time_zone, public, screen, registry_seq)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (ledger) do nothing
"""

INSERT_HEAD = """
insert into heads (ledger, size, last_hash, frontier) values (%s, 0, %b, '')
on conflict (ledger) do nothing
"""

INSERT_PRINCIPAL = "insert into principals (principal) values (%s) on conflict do nothing"

INSERT_RETIRED_POSTER_KEY = """
insert into retired_poster_keys (key_id, registry_seq) values (%s, %s)
on conflict (key_id) do nothing
"""

INSERT_POSTER_KEY = """
insert into poster_keys (key_id, principal, public_key, registry_seq) values (%s, %s, %b, %s)
on conflict (key_id) do nothing
"""

# Lost in a crash, a checkpoint is signed again from the record: no need to wait for the disk.
# Until the trip ends, for what it says is one transaction.
PUBLISH = Statement(
    "publish",
    """
with no_wait_for_disk as materialized (select set_config('synchronous_commit', 'off', true))
insert into published (ledger, size, root, note)
select $1, $2::bigint, $3::bytea, $4::bytea from no_wait_for_disk
on conflict (ledger) do update
set size = excluded.size, root = excluded.root, note = excluded.note
where published.size <= excluded.size
""",
)


class PostgresTransaction:
    """The head of one ledger, locked, and what is to be written when it is let go."""

    def __init__(
        self,
        wire: Wire,
        head: Head,
        now: datetime,
        found: Found,
        *,
        closed: Sequence[ClosedPeriod],
    ) -> None:
        self.head = head
        self.now = now
        self.found = found
        self.closed = closed
        self.batch: Batch | None = None
        self._wire = wire
        self._ledger = head.ledger

    def read_tile(self, level: int, index: int) -> Sequence[bytes]:
        """The hashes that tile (level, index) holds so far."""
        start = index * TILE_WIDTH
        if level == 0:
            return self.leaf_hashes(start, start + TILE_WIDTH)
        return self._hashes(SELECT_TILE_ROOTS, level - 1, start, start + TILE_WIDTH)

    def leaf_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        """Entry hashes [start, stop)."""
        return self._hashes(SELECT_HASHES, start, stop)

    def entry_bytes(self, start: int, stop: int) -> Sequence[bytes]:
        """Entries [start, stop) as they are hashed."""
        return self._hashes(SELECT_BODIES, start, stop)

    def _hashes(self, statement: Statement, *place: int) -> list[bytes]:
        return [each for (each,) in self._wire.ask(statement, self._ledger, *place)]

    def insert(self, batch: Batch) -> None:
        """Write `batch` when the block ends."""
        self.batch = batch


class PostgresStorage:
    """Appends through one connection, opened when needed and again after it broke."""

    def __init__(self, conninfo: Conninfo) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None
        self._wire: Wire | None = None
        self._is_publishing = False
        self._plans_until = PLANS_MADE_AGAIN_AT
        """Size of a ledger from which on statements are to be planned anew."""
        # Ledger -> how many closes it had when they were read, and those that stand.
        self._closed: dict[str, tuple[int, tuple[ClosedPeriod, ...]]] = {}

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._wire = None
        self._is_publishing = False

    def ledger(self, name: str) -> LedgerRecord:
        """The ledger of this name; see `ports.Storage.ledger`."""
        rows = self._ask(SELECT_LEDGER, name)
        if not rows:
            raise NotFoundError(f"there is no ledger {name}", ledger=name)
        return ledger_record(rows[0])

    def replays(self, ledger: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Entry bytes by idempotency key, for those that are taken."""
        return dict(self._ask(SELECT_REPLAYS, ledger, texts(keys).array()))

    def sealed_payloads(self, ledger: str, seqs: Sequence[int]) -> Sequence[SealedPayload]:
        """The payloads of these entries as they are stored."""
        return [
            SealedPayload(
                seq=seq,
                name=name,
                media_type=media_type,
                commitment=commitment,
                data_subject=data_subject,
                sealed=sealed,
            )
            for seq, name, media_type, commitment, data_subject, sealed in self._ask(
                SELECT_PAYLOADS, ledger, bigints(seqs).array()
            )
        ]

    def data_keys(self, ledger: str, subjects: Sequence[str]) -> Mapping[str, bytes]:
        """Wrapped data keys by data subject, for those that stand."""
        return dict(self._ask(SELECT_DATA_KEYS, ledger, texts(subjects).array()))

    def first_emptied(self, ledger: str, start: int) -> int | None:
        """Seq of the first entry from `start` on that no copy of the log brings back whole."""
        [(seq,)] = self._ask(SELECT_FIRST_EMPTIED, ledger, start)
        return None if seq is None else int(seq)

    def leaf_hashes(self, ledger: str, start: int, stop: int) -> Sequence[bytes]:
        """Committed entry hashes [start, stop)."""
        return [each for (each,) in self._ask(SELECT_HASHES, ledger, start, stop)]

    def tile_hashes(self, ledger: str, level: int, index: int, width: int) -> Sequence[bytes]:
        """The first `width` hashes of tile (level, index), committed."""
        if width == TILE_WIDTH:
            for (hashes,) in self._ask(SELECT_FULL_TILE, ledger, level, index):
                return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        start = index * TILE_WIDTH
        if level == 0:
            return self.leaf_hashes(ledger, start, start + width)
        roots = self._ask(SELECT_TILE_ROOTS, ledger, level - 1, start, start + width)
        return [root for (root,) in roots]

    def published(self, ledger: str) -> tuple[Checkpoint, bytes] | None:
        """The newest published checkpoint and its note; None before the first."""
        for origin, size, root, note in self._ask(SELECT_PUBLISHED, ledger):
            return Checkpoint(origin=origin, size=size, root=root), note
        return None

    def publish(self, ledger: str, checkpoint: Checkpoint, note: bytes) -> None:
        """Begin to serve this checkpoint; see `ports.Storage.publish`."""
        wire = self._open_wire()
        with self._database_errors():
            wire.say(PUBLISH, ledger, checkpoint.size, checkpoint.root, note)
            if checkpoint.size >= self._plans_until:
                wire.say(DISCARD_PLANS)
                self._plans_until = 2 * checkpoint.size
            wire.send()
        self._is_publishing = True

    def settle(self) -> None:
        """Wait until what was published is served."""
        if self._is_publishing and self._wire is not None:
            self._is_publishing = False
            with self._database_errors():
                self._wire.hear()

    def peek(self, record: LedgerRecord, wanted: Wanted) -> Found:
        """What history says to `wanted` now: no lock, and a transaction that cannot write."""
        questions = Questions(record.name, wanted)
        wire = self._open_wire()
        with self._database_errors():
            wire.say(BEGIN_SNAPSHOT)
            questions.say(wire)
            wire.say(COMMIT)
            wire.send()
            _, *heard, _ = wire.hear()
        return questions.answered(heard)

    def add_ledger(self, record: LedgerRecord, last_hash: bytes, registry_seq: int | None) -> None:
        """
        Open a ledger whose creation the registry holds; harmless where it stands already.

        Args:
            record: What is fixed about it.
            last_hash: Hash its first entry will name as previous, 32 bytes.
            registry_seq: Where `_registry` holds the notice; None for the registry itself.
        """
        connection = self._open_connection()
        with self._database_errors(), connection.transaction():
            connection.execute(
                INSERT_LEDGER,
                (
                    record.name,
                    record.origin,
                    record.vkey,
                    record.signer,
                    Jsonb(dict(record.units)),
                    record.time_zone,
                    record.public,
                    sorted(record.screen),
                    registry_seq,
                ),
            )
            connection.execute(INSERT_HEAD, (record.name, last_hash))

    def add_poster_key(
        self, key_id: str, principal: str, public_key: bytes, registry_seq: int
    ) -> None:
        """Let effects be signed with this key; harmless where it stands already."""
        connection = self._open_connection()
        with self._database_errors(), connection.transaction():
            connection.execute(INSERT_PRINCIPAL, (principal,))
            connection.execute(INSERT_POSTER_KEY, (key_id, principal, public_key, registry_seq))

    def retire_poster_key(self, key_id: str, registry_seq: int) -> None:
        """Let nothing more be signed with this key; harmless where it is retired already."""
        connection = self._open_connection()
        with self._database_errors():
            connection.execute(INSERT_RETIRED_POSTER_KEY, (key_id, registry_seq))

    @contextmanager
    def append_transaction(
        self, record: LedgerRecord, wanted: Wanted
    ) -> Iterator[PostgresTransaction]:
        """Hold the head until the block ends, then commit; see `ports.Storage`."""
        wire = self._open_wire()
        committing = False
        try:
            transaction = self._lock(wire, record, wanted)
            yield transaction
            if transaction.batch is None:
                wire.ask(ROLLBACK)
            else:
                _write(wire, record.name, transaction.batch)
                committing = True
                wire.say(COMMIT)
                wire.send()
                wire.hear()
        except psycopg.Error as error:
            # Whatever it was, what this connection would say next is not known.
            self.close()
            if committing and not _is_refusal(error):
                raise OutcomeUnknownError(
                    "the commit was sent and not confirmed; the same key tells the outcome"
                ) from error
            if isinstance(error, pg.LockNotAvailable):
                self._end_frozen()
            raise _nothing_written(error) from error
        except BaseException:
            # Ends the transaction too: nothing on the wire can be relied on behind a bug of ours.
            self._rollback(wire)
            raise

    def _lock(self, wire: Wire, record: LedgerRecord, wanted: Wanted) -> PostgresTransaction:
        questions = Questions(record.name, wanted)
        wire.say(BEGIN)
        wire.say(LOCK_HEAD, record.name)
        questions.say(wire)
        wire.send()
        _, heads, *heard = wire.hear()
        if not heads:
            raise NotFoundError(f"there is no ledger {record.name}", ledger=record.name)
        [(*place, closes, now)] = heads
        closed = self._read_closed(wire, record.name, closes)
        found = questions.answered(heard)
        return PostgresTransaction(wire, _head(record, place), now, found, closed=closed)

    def _read_closed(self, wire: Wire, ledger: str, closes: int) -> tuple[ClosedPeriod, ...]:
        """The closes that stand: read again when the head says that there are others now."""
        if not closes:
            return ()
        known, closed = self._closed.get(ledger, (0, ()))
        if known != closes:
            closed = tuple(map(_closed, wire.ask(SELECT_CLOSED, ledger)))
            self._closed[ledger] = (closes, closed)
        return closed

    def _rollback(self, wire: Wire) -> None:
        if wire.is_quiet:
            with suppress(psycopg.Error):
                wire.ask(ROLLBACK)
                return
        # A broken connection rolls back by itself, and so does one that is closed.
        self.close()

    def _end_frozen(self) -> None:
        """End the sessions that have kept a head for so long that nobody is behind them."""
        try:
            connection = self._open_connection()
            with connection.transaction():
                # The session's own login sees and ends its other sessions; the role does not.
                connection.execute("set local role none")
                ended = connection.execute(END_FROZEN, (FROZEN_AFTER_S,)).rowcount
        except (psycopg.Error, PushbackError):
            # Harmless: the next one that has waited tries again.
            self.close()
            return
        if ended:
            logger.error("%d sessions were ended: each kept a ledger's head for long", ended)

    def _ask(self, statement: Statement, *values: Parameter) -> Rows:
        wire = self._open_wire()
        with self._database_errors():
            return wire.ask(statement, *values)

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            # Also where the server is well: see `Wire`.
            self.close()
            if isinstance(error, pg.LockNotAvailable):
                raise _kept("what this needs") from error
            raise DatabaseUnavailableError("the database does not answer") from error

    def _open_wire(self) -> Wire:
        connection = self._open_connection()
        if self._wire is None:
            self._wire = Wire(connection)
        return self._wire

    def _open_connection(self) -> psycopg.Connection[Any]:
        try:
            self.settle()
        except PushbackError as error:
            logger.warning("a checkpoint may not be published: %s", error)
        if self._connection is None or self._connection.closed:
            self.close()
            self._connection = connect(self._conninfo, WRITER)
            self._connection.execute(ONE_PLAN)
            # For an append, which waits for the head, and for whatever else meets a kept row.
            self._connection.execute(f"set lock_timeout = {LOCK_TIMEOUT_MS}")
            self._plans_until = PLANS_MADE_AGAIN_AT
            # Another database may answer now, as after a restore.
            self._closed.clear()
        return self._connection


def _write(wire: Wire, ledger: str, batch: Batch) -> None:
    """Have `batch` written, as far as that needs no trip; the rest goes with the commit."""
    if len(batch.entries) >= COPIED_ENTRIES_MIN:
        wire.copy(COPY_ENTRIES, copied_entries(ledger, batch))
    elif batch.entries:
        wire.say(INSERT_ENTRIES, *inserted_entries(ledger, batch))
    for statement, values in statements_beside(ledger, batch):
        wire.say(statement, *values)


def _closed(row: tuple[Any, ...]) -> ClosedPeriod:
    name, from_at, to_at, seq = row
    period = Period(name=name, from_at=format_time(from_at), to_at=format_time(to_at))
    return ClosedPeriod(period=period, seq=seq)


def _head(record: LedgerRecord, row: Sequence[Any]) -> Head:
    size, last_hash, last_recorded_at, frontier = row
    return Head(
        ledger=record.name,
        origin=record.origin,
        size=size,
        last_hash=last_hash,
        last_recorded_at=None if last_recorded_at is None else format_time(last_recorded_at),
        frontier=Frontier.from_bytes(size, frontier),
    )


def _is_refusal(error: psycopg.Error) -> bool:
    """Whether this ends a transaction for sure before its commit."""
    # The driver's word for how it lost the server differs from time to time, and so does what
    # it knows of its connection then: only what the server says of a statement is believed.
    if error.sqlstate is None:
        # But for a value the driver cannot spell: nothing after it was sent.
        return isinstance(error, psycopg.DataError)
    if error.diag.severity_nonlocalized != "ERROR":
        # A session that ends may end after the commit.
        return False
    return not error.sqlstate.startswith(("08", "57P"))


def _nothing_written(error: psycopg.Error) -> LedgerError:
    if isinstance(error, pg.LockNotAvailable):
        return _kept("the ledger")
    if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
        # The rules let through what the database refuses: our fault, one item's price.
        logger.error("the database refuses a value: %s %s", error.sqlstate, type(error).__name__)
        return MalformedEffectError(
            f"the database refuses a value of this item ({error.sqlstate})",
            sqlstate=error.sqlstate,
        )
    return DatabaseUnavailableError("the database did not take the write")


def _kept(what: str) -> PushbackError:
    return PushbackError(
        f"another writer kept {what} for {LOCK_TIMEOUT_MS} ms", lock_timeout_ms=LOCK_TIMEOUT_MS
    )

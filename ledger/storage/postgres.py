"""
PostgreSQL as the place where entries are kept: the append path.

One connection, used by one thread. An append is two round trips: the head is locked and
everything the rules ask for is read in one pipeline, everything is written and committed
in a second. Reading for its own sake lives in `ledger.reader`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.types.json import Jsonb

from ledger.checkpoint import Checkpoint
from ledger.effect import Kind
from ledger.entry import Entry, Head
from ledger.errors import (
    DatabaseUnavailableError,
    LedgerError,
    MalformedEffectError,
    NotFoundError,
    OutcomeUnknownError,
    PushbackError,
)
from ledger.lifecycle import Position
from ledger.merkle import HASH_BYTES, Frontier
from ledger.period import PERIOD_CLOSED, ClosedPeriod, Period
from ledger.ports import Batch, Found, LedgerRecord, SealedPayload, Wanted
from ledger.storage.database import WRITER, Conninfo, connect
from ledger.terms import terms_of
from ledger.tiles import TILE_WIDTH
from ledger.timestamps import format_time

logger = logging.getLogger(__name__)

# A writer that waits longer than this is told to come back: the queue stays short.
LOCK_TIMEOUT_MS = 2_000
# No append takes this long. Frozen between two statements its session ends by itself; frozen
# within a pipeline no timeout of the server runs, and whoever waits behind it ends it.
FROZEN_AFTER_S = 10

SELECT_LEDGER = """
select l.ledger, l.origin, l.vkey, l.signer, l.units, l.time_zone, l.public, l.screen
from ledgers l
where l.ledger = %s
"""

# FOR UPDATE and not SERIALIZABLE: one row per ledger is the whole contention, and a
# waiting writer gets the head it will extend instead of a serialization failure.
LOCK_HEAD = """
select size, last_hash, last_recorded_at, frontier, closes from heads
where ledger = %s for update
"""

# Closes that no other close supersedes, and which therefore do not overlap.
SELECT_CLOSED = """
select p.name, p.from_at, p.to_at, p.seq from periods p
where p.ledger = %(ledger)s and not exists (
    select from periods s where s.ledger = %(ledger)s and s.supersedes = p.id
)
order by p.seq
"""

# A statement of its own: in the locking one it could be read before the lock is held.
READ_CLOCK = "select clock_timestamp()"

# Who holds a row is not listed, but to lock one of a table is to hold this lock on the table.
# Sessions of the same login only: no other's may be ended, or is anything of ours.
END_FROZEN = """
select pg_terminate_backend(l.pid)
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.relation = 'effect_ledger.heads'::regclass and l.mode = 'RowShareLock' and l.granted
    and a.usename = session_user and a.xact_start < clock_timestamp() - make_interval(secs => %s)
"""

SELECT_REPLAYS = "select key, body from entries where ledger = %s and key = any(%s)"

# What is named, and from some of it upwards all that is corrected, to the originals.
SELECT_LINEAGE = """
with recursive lineage as (
    select id, corrects, body from entries
    where ledger = %(ledger)s
        and (id = any(%(lineage_ids)s::uuid[]) or key = any(%(lineage_keys)s))
    union
    select e.id, e.corrects, e.body
    from entries e join lineage l on e.ledger = %(ledger)s and e.id = l.corrects
), named as (
    select id, corrects, body from lineage
    union
    select id, corrects, body from entries
    where ledger = %(ledger)s and (id = any(%(ids)s::uuid[]) or key = any(%(keys)s))
)
select n.body, n.corrects::text, p.entry::text, p.currency, p.original, p.adjusted, p.refunded,
    p.held, p.excess
from named n left join positions p on p.ledger = %(ledger)s and p.entry = n.id
"""

SELECT_BUSINESS_KEYS = """
select distinct on (kind, type, business_key) kind, type, business_key, id::text, seq
from entries
where ledger = %s and business_key = any(%s) and repeat_of is null
order by kind, type, business_key, seq
"""

SELECT_DATA_KEYS = """
select data_subject, wrapped from effect_ledger_keys.data_keys
where ledger = %s and data_subject = any(%s)
"""

SELECT_SIGNING_KEYS = "select key_id, principal, public_key from poster_keys where key_id = any(%s)"

SELECT_PAYLOADS = """
select seq, name, media_type, commitment, data_subject, sealed
from payloads where ledger = %s and seq = any(%s) order by seq, name
"""

SELECT_FIRST_EMPTIED = """
select min(seq) from payloads where ledger = %s and seq >= %s and sealed is null
"""

SELECT_HASHES = "select hash from entries where ledger = %s and seq >= %s and seq < %s order by seq"

SELECT_BODIES = "select body from entries where ledger = %s and seq >= %s and seq < %s order by seq"

SELECT_TILE_ROOTS = """
select root from tiles where ledger = %s and level = %s and idx >= %s and idx < %s order by idx
"""

SELECT_FULL_TILE = "select hashes from tiles where ledger = %s and level = %s and idx = %s"

SELECT_PUBLISHED = """
select l.origin, p.size, p.root, p.note
from published p join ledgers l on l.ledger = p.ledger where p.ledger = %s
"""

INSERT_LEDGER = """
insert into ledgers (ledger, origin, vkey, signer, units, time_zone, public, screen, registry_seq)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (ledger) do nothing
"""

INSERT_HEAD = """
insert into heads (ledger, size, last_hash, frontier) values (%s, 0, %b, '')
on conflict (ledger) do nothing
"""

INSERT_PRINCIPAL = "insert into principals (principal) values (%s) on conflict do nothing"

INSERT_POSTER_KEY = """
insert into poster_keys (key_id, principal, public_key, registry_seq) values (%s, %s, %b, %s)
on conflict (key_id) do nothing
"""

INSERT_ENTRIES = """
insert into entries (ledger, seq, id, key, kind, type, poster, subject, business_key, actor,
    currency, corrects, repeat_of, occurred_at, recorded_at, hash, body)
select %s, * from unnest(%b::bigint[], %s::uuid[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::uuid[],
    %s::timestamptz[], %s::timestamptz[], %b::bytea[], %b::bytea[])
"""

INSERT_TERMS = """
insert into entry_terms (ledger, term, seq) select %s, * from unnest(%s::text[], %b::bigint[])
"""

INSERT_PAYLOADS = """
insert into payloads (ledger, seq, name, media_type, commitment, data_subject, sealed)
select %s, * from unnest(%b::bigint[], %s::text[], %s::text[], %b::bytea[], %s::text[],
    %b::bytea[])
"""

INSERT_DATA_KEYS = """
insert into effect_ledger_keys.data_keys (ledger, data_subject, wrapped)
select %s, * from unnest(%s::text[], %b::bytea[])
"""

UPSERT_POSITIONS = """
insert into positions (ledger, entry, currency, original, adjusted, refunded, held, excess)
select %s, * from unnest(%s::uuid[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
    %s::numeric[], %s::numeric[])
on conflict (ledger, entry, currency) do update set adjusted = excluded.adjusted,
    refunded = excluded.refunded, held = excluded.held, excess = excluded.excess
"""

INSERT_TILES = """
insert into tiles (ledger, level, idx, hashes, root)
select %s, * from unnest(%b::smallint[], %b::bigint[], %b::bytea[], %b::bytea[])
"""

INSERT_PERIODS = """
insert into periods (ledger, seq, id, name, from_at, to_at, from_seq, supersedes)
select %s, * from unnest(%b::bigint[], %s::uuid[], %s::text[], %s::timestamptz[],
    %s::timestamptz[], %b::bigint[], %s::uuid[])
"""

COUNT_CLOSES = "update heads set closes = closes + %s where ledger = %s"

UPDATE_HEAD = """
update heads set size = %s, last_hash = %b, last_recorded_at = %s::timestamptz, frontier = %b
where ledger = %s
"""

# Lost in a crash, a checkpoint is signed again from the record: no need to wait for the disk.
PUBLISH = """
insert into published (ledger, size, root, note) values (%s, %s, %b, %b)
on conflict (ledger) do update
set size = excluded.size, root = excluded.root, note = excluded.note
where published.size < excluded.size
"""


class PostgresTransaction:
    """The head of one ledger, locked, and what is to be written when it is let go."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        pipeline: psycopg.Pipeline,
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
        self._connection = connection
        self._pipeline = pipeline
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

    def _hashes(self, statement: str, *place: int) -> list[bytes]:
        rows = self._connection.execute(statement, (self._ledger, *place), binary=True)
        self._pipeline.sync()
        return [each for (each,) in rows]

    def insert(self, batch: Batch) -> None:
        """Write `batch` when the block ends."""
        self.batch = batch


class PostgresStorage:
    """Appends through one connection, opened when needed and again after it broke."""

    def __init__(self, conninfo: Conninfo) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None
        # Ledger -> how many closes it had when they were read, and those that stand.
        self._closed: dict[str, tuple[int, tuple[ClosedPeriod, ...]]] = {}

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ledger(self, name: str) -> LedgerRecord:
        """The ledger of this name; see `ports.Storage.ledger`."""
        row = self._read(SELECT_LEDGER, (name,)).fetchone()
        if row is None:
            raise NotFoundError(f"there is no ledger {name}", ledger=name)
        return LedgerRecord(
            name=row[0],
            origin=row[1],
            vkey=row[2],
            signer=row[3],
            units=row[4],
            time_zone=row[5],
            public=row[6],
            screen=frozenset(row[7]),
        )

    def replays(self, ledger: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Entry bytes by idempotency key, for those that are taken."""
        return dict(self._read(SELECT_REPLAYS, (ledger, list(keys))).fetchall())

    def sealed_payloads(self, ledger: str, seqs: Sequence[int]) -> Sequence[SealedPayload]:
        """The payloads of these entries as they are stored."""
        rows = self._read(SELECT_PAYLOADS, (ledger, list(seqs))).fetchall()
        return [
            SealedPayload(
                seq=seq,
                name=name,
                media_type=media_type,
                commitment=commitment,
                data_subject=data_subject,
                sealed=sealed,
            )
            for seq, name, media_type, commitment, data_subject, sealed in rows
        ]

    def data_keys(self, ledger: str, subjects: Sequence[str]) -> Mapping[str, bytes]:
        """Wrapped data keys by data subject, for those that stand."""
        return dict(self._read(SELECT_DATA_KEYS, (ledger, list(subjects))).fetchall())

    def first_emptied(self, ledger: str, start: int) -> int | None:
        """Seq of the first entry from `start` on that has a payload without octets."""
        row = self._read(SELECT_FIRST_EMPTIED, (ledger, start)).fetchone()
        return None if row is None else row[0]

    def leaf_hashes(self, ledger: str, start: int, stop: int) -> Sequence[bytes]:
        """Committed entry hashes [start, stop)."""
        rows = self._read(SELECT_HASHES, (ledger, start, stop)).fetchall()
        return [leaf_hash for (leaf_hash,) in rows]

    def tile_hashes(self, ledger: str, level: int, index: int, width: int) -> Sequence[bytes]:
        """The first `width` hashes of tile (level, index), committed."""
        if width == TILE_WIDTH:
            row = self._read(SELECT_FULL_TILE, (ledger, level, index)).fetchone()
            if row is not None:
                (hashes,) = row
                return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        start = index * TILE_WIDTH
        if level == 0:
            return self.leaf_hashes(ledger, start, start + width)
        rows = self._read(SELECT_TILE_ROOTS, (ledger, level - 1, start, start + width)).fetchall()
        return [root for (root,) in rows]

    def published(self, ledger: str) -> tuple[Checkpoint, bytes] | None:
        """The newest published checkpoint and its note; None before the first."""
        row = self._read(SELECT_PUBLISHED, (ledger,)).fetchone()
        if row is None:
            return None
        origin, size, root, note = row
        return Checkpoint(origin=origin, size=size, root=root), note

    def publish(self, ledger: str, checkpoint: Checkpoint, note: bytes) -> None:
        """Serve this checkpoint from every process, unless a larger one is served already."""
        connection = self._open_connection()
        with self._database_errors(), connection.pipeline():
            connection.execute("begin")
            connection.execute("set local synchronous_commit = off")
            connection.execute(PUBLISH, (ledger, checkpoint.size, checkpoint.root, note))
            connection.execute("commit")

    def peek(self, record: LedgerRecord, wanted: Wanted) -> Found:
        """What history says to `wanted` now: no lock, and a transaction that cannot write."""
        connection = self._open_connection()
        with self._database_errors():
            with connection.pipeline():
                connection.execute("begin isolation level repeatable read read only")
                answer = _ask(connection, record.name, wanted)
                connection.execute("commit")
            return answer()

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

    @contextmanager
    def append_transaction(
        self, record: LedgerRecord, wanted: Wanted
    ) -> Iterator[PostgresTransaction]:
        """Hold the head until the block ends, then commit; see `ports.Storage`."""
        connection = self._open_connection()
        committing = False
        try:
            with connection.pipeline() as pipeline:
                transaction = self._lock(connection, pipeline, record, wanted)
                yield transaction
                if transaction.batch is None:
                    connection.execute("rollback")
                else:
                    committing = True
                    for statement, parameters in _statements(record.name, transaction.batch):
                        connection.execute(statement, parameters)
                    connection.execute("commit")
        except psycopg.Error as error:
            # Whatever it was, what this connection would say next is not known.
            self._give_up_connection()
            if committing and not _is_refusal(error):
                raise OutcomeUnknownError(
                    "the commit was sent and not confirmed; the same key tells the outcome"
                ) from error
            if isinstance(error, pg.LockNotAvailable):
                self._end_frozen()
            raise _nothing_written(error) from error
        except BaseException:
            if committing:
                # Our own code failed while sending: the commit was not among what was sent.
                self.close()
            else:
                self._rollback(connection)
            raise

    def _lock(
        self,
        connection: psycopg.Connection[Any],
        pipeline: psycopg.Pipeline,
        record: LedgerRecord,
        wanted: Wanted,
    ) -> PostgresTransaction:
        ledger = record.name
        connection.execute("begin")
        connection.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
        head = connection.execute(LOCK_HEAD, (ledger,), binary=True)
        clock = connection.execute(READ_CLOCK, binary=True)
        answer = _ask(connection, ledger, wanted)
        # One pipeline to the end, and not one for each trip: psycopg closes a pipeline with a
        # word too many, after which PostgreSQL's idle_in_transaction_session_timeout is off.
        pipeline.sync()
        row = head.fetchone()
        if row is None:
            raise NotFoundError(f"there is no ledger {ledger}", ledger=ledger)
        now = clock.fetchone()
        assert now is not None
        *place, closes = row
        closed = self._read_closed(connection, pipeline, ledger, closes)
        return PostgresTransaction(
            connection, pipeline, _head(record, place), now[0], answer(), closed=closed
        )

    def _read_closed(
        self,
        connection: psycopg.Connection[Any],
        pipeline: psycopg.Pipeline,
        ledger: str,
        closes: int,
    ) -> tuple[ClosedPeriod, ...]:
        """The closes that stand: read again when the head says that there are others now."""
        if not closes:
            return ()
        known, closed = self._closed.get(ledger, (0, ()))
        if known != closes:
            rows = connection.execute(SELECT_CLOSED, {"ledger": ledger}, binary=True)
            pipeline.sync()
            closed = tuple(_closed(row) for row in rows)
            self._closed[ledger] = (closes, closed)
        return closed

    def _rollback(self, connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("rollback")
        except psycopg.Error:
            # Harmless: a broken connection rolls back by itself.
            self.close()

    def _give_up_connection(self) -> None:
        # The driver keeps a statement as prepared once it is sent, and behind an error in a
        # pipeline the server reads nothing: on this connection it could fail for ever.
        self.close()

    def _end_frozen(self) -> None:
        """End the sessions that have kept a head for so long that nobody is behind them."""
        try:
            connection = self._open_connection()
            with connection.transaction():
                # The session's own login sees and ends its other sessions; the role does not.
                connection.execute("set local role none")
                ended = connection.execute(END_FROZEN, (FROZEN_AFTER_S,)).rowcount
        except (psycopg.Error, DatabaseUnavailableError):
            # Harmless: the next one that has waited tries again.
            self.close()
            return
        if ended:
            logger.error("%d sessions were ended: each kept a ledger's head for long", ended)

    def _read(self, statement: str, parameters: tuple[Any, ...]) -> psycopg.Cursor[Any]:
        connection = self._open_connection()
        with self._database_errors():
            return connection.execute(statement, parameters, binary=True)

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.close()
            raise DatabaseUnavailableError("the database does not answer") from error

    def _open_connection(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._conninfo, WRITER)
            # Another database may answer now, as after a restore.
            self._closed.clear()
        return self._connection


def _ask(connection: psycopg.Connection[Any], ledger: str, wanted: Wanted) -> Callable[[], Found]:
    """Send the questions of `wanted` down an open pipeline; the answer is read after it."""

    def send(asked: object, statement: str, parameters: Any) -> psycopg.Cursor[Any] | None:
        return connection.execute(statement, parameters, binary=True) if asked else None

    replays = send(wanted.keys, SELECT_REPLAYS, (ledger, list(wanted.keys)))
    lineage = send(
        wanted.entry_ids or wanted.entry_keys,
        SELECT_LINEAGE,
        {
            "ledger": ledger,
            "ids": list(wanted.entry_ids),
            "keys": list(wanted.entry_keys),
            "lineage_ids": list(wanted.lineage_ids),
            "lineage_keys": list(wanted.lineage_keys),
        },
    )
    business_keys = send(
        wanted.business_keys, SELECT_BUSINESS_KEYS, (ledger, list(wanted.business_keys))
    )
    data_keys = send(wanted.data_subjects, SELECT_DATA_KEYS, (ledger, list(wanted.data_subjects)))
    signing_keys = send(wanted.signing_keys, SELECT_SIGNING_KEYS, (list(wanted.signing_keys),))

    def answer() -> Found:
        related = lineage.fetchall() if lineage else []
        return Found(
            replays=dict(replays.fetchall() if replays else ()),
            lineage=[(body, corrects) for body, corrects, *_ in related],
            positions=[_position(row[2:]) for row in related if row[2] is not None],
            business_keys={
                (kind, type_, key): (entry_id, seq)
                for kind, type_, key, entry_id, seq in (
                    business_keys.fetchall() if business_keys else ()
                )
            },
            data_keys=dict(data_keys.fetchall() if data_keys else ()),
            signing_keys={
                key_id: (principal, public_key)
                for key_id, principal, public_key in (
                    signing_keys.fetchall() if signing_keys else ()
                )
            },
        )

    return answer


def _statements(ledger: str, batch: Batch) -> Iterator[tuple[str, tuple[Any, ...]]]:
    entries = batch.entries
    effects = [entry.effect for entry in entries]
    yield (
        INSERT_ENTRIES,
        (
            ledger,
            [entry.seq for entry in entries],
            [entry.id for entry in entries],
            [effect.key for effect in effects],
            [str(effect.kind) for effect in effects],
            [effect.type for effect in effects],
            [entry.poster for entry in entries],
            [effect.subject for effect in effects],
            [effect.business_key for effect in effects],
            [effect.actor.id if effect.actor else None for effect in effects],
            [effect.money.currency if effect.money else None for effect in effects],
            list(batch.targets),
            [effect.repeat_of for effect in effects],
            [effect.occurred_at for effect in effects],
            [entry.recorded_at for entry in entries],
            [entry.hash for entry in entries],
            [entry.encoded for entry in entries],
        ),
    )
    terms = [(term, entry.seq) for entry in entries for term in terms_of(entry.effect)]
    if terms:
        yield INSERT_TERMS, (ledger, [term for term, _ in terms], [seq for _, seq in terms])
    if batch.data_keys:
        yield INSERT_DATA_KEYS, (ledger, list(batch.data_keys), list(batch.data_keys.values()))
    if batch.payloads:
        yield (
            INSERT_PAYLOADS,
            (
                ledger,
                [payload.seq for payload in batch.payloads],
                [payload.name for payload in batch.payloads],
                [payload.media_type for payload in batch.payloads],
                [payload.commitment for payload in batch.payloads],
                [payload.data_subject for payload in batch.payloads],
                [payload.sealed for payload in batch.payloads],
            ),
        )
    if batch.positions:
        yield (
            UPSERT_POSITIONS,
            (
                ledger,
                [position.entry for position in batch.positions],
                [position.currency for position in batch.positions],
                [Decimal(position.original) for position in batch.positions],
                [Decimal(position.adjusted) for position in batch.positions],
                [Decimal(position.refunded) for position in batch.positions],
                [Decimal(position.held) for position in batch.positions],
                [
                    None if position.excess is None else Decimal(position.excess)
                    for position in batch.positions
                ],
            ),
        )
    if batch.tiles:
        yield (
            INSERT_TILES,
            (
                ledger,
                [tile.level for tile in batch.tiles],
                [tile.index for tile in batch.tiles],
                [tile.hashes for tile in batch.tiles],
                [tile.root for tile in batch.tiles],
            ),
        )
    yield from _close_statements(ledger, entries)
    head = batch.head
    yield (
        UPDATE_HEAD,
        (head.size, head.last_hash, head.last_recorded_at, head.frontier.to_bytes(), ledger),
    )


def _close_statements(
    ledger: str, entries: Sequence[Entry]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What follows from the closes among `entries`."""
    closes = [
        (entry, entry.effect.data)
        for entry in entries
        if entry.effect.type == PERIOD_CLOSED and entry.effect.kind is Kind.NOTICE
    ]
    # Schemas allow one without its moments; it closes nothing that an effect could be late for.
    told = [(entry, data) for entry, data in closes if data and "from_at" in data]
    if not told:
        return
    yield (
        INSERT_PERIODS,
        (
            ledger,
            [entry.seq for entry, _ in told],
            [entry.id for entry, _ in told],
            [data["name"] for _, data in told],
            [data["from_at"] for _, data in told],
            [data["to_at"] for _, data in told],
            [data["from_seq"] for _, data in told],
            [data.get("supersedes") for _, data in told],
        ),
    )
    yield COUNT_CLOSES, (len(told), ledger)


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


def _position(row: tuple[Any, ...]) -> Position:
    entry, currency, original, adjusted, refunded, held, excess = row
    return Position(
        entry=entry,
        currency=currency,
        original=int(original),
        adjusted=int(adjusted),
        refunded=int(refunded),
        held=int(held),
        excess=None if excess is None else int(excess),
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
        return PushbackError(
            f"another writer kept the ledger for {LOCK_TIMEOUT_MS} ms",
            lock_timeout_ms=LOCK_TIMEOUT_MS,
        )
    if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
        # The rules let through what the database refuses: our fault, one item's price.
        logger.error("the database refuses a value: %s %s", error.sqlstate, type(error).__name__)
        return MalformedEffectError(
            f"the database refuses a value of this item ({error.sqlstate})",
            sqlstate=error.sqlstate,
        )
    return DatabaseUnavailableError("the database did not take the write")

"""
Rows: what one append leaves in the tables, and how it is said to PostgreSQL.

The order of what is said, the lock and the commit are for `postgres`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.entry import Entry
from ledger.lifecycle import Position
from ledger.period import is_close
from ledger.ports import Batch, SealedPayload
from ledger.storage.binary import (
    Column,
    bigints,
    copy_rows,
    few_texts,
    octets,
    smallints,
    texts,
    times,
    uuids,
)
from ledger.storage.intent_rows import intent_statements
from ledger.storage.wire import Parameter, Statement
from ledger.terms import terms_of
from ledger.tiles import Tile

INSERT_ENTRIES = Statement(
    "insert_entries",
    """
insert into entries (ledger, seq, id, key, kind, type, poster, subject, business_key, actor,
    currency, corrects, repeat_of, occurred_at, recorded_at, hash, body)
select * from unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::uuid[],
    $14::timestamptz[], $15::timestamptz[], $16::bytea[], $17::bytea[])
""",
)

# Encoded while the server takes those before.
COPIED_TOGETHER = 128

COPY_ENTRIES = """
copy entries (ledger, seq, id, key, kind, type, poster, subject, business_key, actor,
    currency, corrects, repeat_of, occurred_at, recorded_at, hash, body)
from stdin with (format binary)
"""

INSERT_TERMS = Statement(
    "insert_terms",
    "insert into entry_terms (ledger, term, seq) "
    "select $1, * from unnest($2::text[], $3::bigint[])",
)

INSERT_DATA_KEYS = Statement(
    "insert_data_keys",
    "insert into effect_ledger_keys.data_keys (ledger, data_subject, wrapped) "
    "select $1, * from unnest($2::text[], $3::bytea[])",
)

INSERT_PAYLOADS = Statement(
    "insert_payloads",
    """
insert into payloads (ledger, seq, name, media_type, commitment, data_subject, sealed)
select $1, * from unnest($2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::text[],
    $7::bytea[])
""",
)

UPSERT_POSITIONS = Statement(
    "upsert_positions",
    """
insert into positions (ledger, entry, currency, original, adjusted, refunded, held, excess)
select $1, entry, currency, original::numeric, adjusted::numeric, refunded::numeric,
    held::numeric, excess::numeric
from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
    as moved (entry, currency, original, adjusted, refunded, held, excess)
on conflict (ledger, entry, currency) do update set adjusted = excluded.adjusted,
    refunded = excluded.refunded, held = excluded.held, excess = excluded.excess
""",
)

INSERT_TILES = Statement(
    "insert_tiles",
    "insert into tiles (ledger, level, idx, hashes, root) "
    "select $1, * from unnest($2::smallint[], $3::bigint[], $4::bytea[], $5::bytea[])",
)

INSERT_PERIODS = Statement(
    "insert_periods",
    """
insert into periods (ledger, seq, id, name, from_at, to_at, from_seq, supersedes)
select $1, * from unnest($2::bigint[], $3::uuid[], $4::text[], $5::timestamptz[],
    $6::timestamptz[], $7::bigint[], $8::uuid[])
""",
)

COUNT_CLOSES = Statement("count_closes", "update heads set closes = closes + $1 where ledger = $2")

UPDATE_HEAD = Statement(
    "update_head",
    "update heads set size = $1, last_hash = $2, last_recorded_at = $3::timestamptz, "
    "frontier = $4 where ledger = $5",
)


def inserted_entries(ledger: str, batch: Batch) -> list[Parameter]:
    """How a batch of few entries is written: what `INSERT_ENTRIES` takes."""
    return _arrays(_entries(ledger, batch.entries, batch.targets))


def copied_entries(ledger: str, batch: Batch) -> Iterator[bytes]:
    """How a batch of many entries is written: what `COPY_ENTRIES` takes, part by part."""
    return copy_rows(
        _entries(
            ledger,
            batch.entries[start : start + COPIED_TOGETHER],
            batch.targets[start : start + COPIED_TOGETHER],
        )
        for start in range(0, len(batch.entries), COPIED_TOGETHER)
    )


def statements_beside(ledger: str, batch: Batch) -> Iterator[tuple[Statement, list[Parameter]]]:
    """How everything else of a batch is written, the head, where it moves, last."""
    for statement, columns in (
        (INSERT_TERMS, _terms(batch.entries)),
        (INSERT_DATA_KEYS, [texts(batch.data_keys), octets(batch.data_keys.values())]),
        (INSERT_PAYLOADS, _payloads(batch.payloads)),
        (UPSERT_POSITIONS, _positions(batch.positions)),
        (INSERT_TILES, _tiles(batch.tiles)),
    ):
        if columns[0].fields:
            yield statement, [ledger, *_arrays(columns)]
    closes = _closes(batch.entries)
    if closes:
        yield INSERT_PERIODS, [ledger, *_arrays(_periods(closes))]
        yield COUNT_CLOSES, [len(closes), ledger]
    yield from intent_statements(ledger, batch.intents)
    if not batch.entries:
        return
    head = batch.head
    yield (
        UPDATE_HEAD,
        [head.size, head.last_hash, head.last_recorded_at, head.frontier.to_bytes(), ledger],
    )


def _arrays(columns: Sequence[Column]) -> list[Parameter]:
    return [column.array() for column in columns]


def _entries(ledger: str, entries: Sequence[Entry], targets: Sequence[str | None]) -> list[Column]:
    effects = [entry.effect for entry in entries]
    return [
        few_texts([ledger] * len(entries)),
        bigints([entry.seq for entry in entries]),
        uuids([entry.id for entry in entries]),
        texts([effect.key for effect in effects]),
        few_texts([effect.kind for effect in effects]),
        few_texts([effect.type for effect in effects]),
        few_texts([entry.poster for entry in entries]),
        texts([effect.subject for effect in effects]),
        texts([effect.business_key for effect in effects]),
        few_texts([effect.actor.id if effect.actor else None for effect in effects]),
        few_texts([effect.money.currency if effect.money else None for effect in effects]),
        uuids(targets),
        uuids([effect.repeat_of for effect in effects]),
        times([effect.occurred_at for effect in effects]),
        times([entry.recorded_at for entry in entries]),
        octets([entry.hash for entry in entries]),
        octets([entry.encoded for entry in entries]),
    ]


def _terms(entries: Sequence[Entry]) -> list[Column]:
    terms = [(term, entry.seq) for entry in entries for term in terms_of(entry.effect)]
    return [texts(term for term, _ in terms), bigints(seq for _, seq in terms)]


def _payloads(payloads: Sequence[SealedPayload]) -> list[Column]:
    return [
        bigints(payload.seq for payload in payloads),
        texts(payload.name for payload in payloads),
        texts(payload.media_type for payload in payloads),
        octets(payload.commitment for payload in payloads),
        texts(payload.data_subject for payload in payloads),
        octets(payload.sealed for payload in payloads),
    ]


def _positions(positions: Sequence[Position]) -> list[Column]:
    return [
        uuids(position.entry for position in positions),
        texts(position.currency for position in positions),
        texts(str(position.original) for position in positions),
        texts(str(position.adjusted) for position in positions),
        texts(str(position.refunded) for position in positions),
        texts(str(position.held) for position in positions),
        texts(None if position.excess is None else str(position.excess) for position in positions),
    ]


def _tiles(tiles: Sequence[Tile]) -> list[Column]:
    return [
        smallints(tile.level for tile in tiles),
        bigints(tile.index for tile in tiles),
        octets(tile.hashes for tile in tiles),
        octets(tile.root for tile in tiles),
    ]


def _closes(entries: Sequence[Entry]) -> list[tuple[Entry, Mapping[str, Any]]]:
    """The closes of periods among `entries`, with what they say."""
    return [
        (entry, entry.effect.data)
        for entry in entries
        if is_close(entry.effect) and entry.effect.data is not None
    ]


def _periods(closes: Sequence[tuple[Entry, Mapping[str, Any]]]) -> list[Column]:
    return [
        bigints(entry.seq for entry, _ in closes),
        uuids(entry.id for entry, _ in closes),
        texts(data["name"] for _, data in closes),
        times([data["from_at"] for _, data in closes]),
        times([data["to_at"] for _, data in closes]),
        bigints(data["from_seq"] for _, data in closes),
        uuids(data.get("supersedes") for _, data in closes),
    ]

"""
Scan: a ledger as PostgreSQL holds it, read for the auditor.

Every read is one statement over at most a few thousand rows: its snapshot is gone before a
writer would feel it. What never changes needs no snapshot that lasts; what does is read by
`pin`, which is one statement too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from ledger.errors import NotFoundError
from ledger.forms.names import REGISTRY
from ledger.intent import IntentRow
from ledger.period import PERIOD_CLOSED
from ledger.signing.key_history import ADDED, RETIRED, notice_range
from ledger.tiles import Tile
from ledger.verify import (
    PAGE,
    Pinned,
    StoredCheckpoint,
    StoredEntry,
    StoredHead,
    StoredIntent,
    StoredLedger,
    StoredPayload,
    StoredPosition,
    StoredPosterKey,
)
from ledger.verify.stored import Block, JoinedColumns, StoredClose

TERMS_PER_READ = 10_000
POSITIONS_PER_READ = 5_000
INTENTS_PER_READ = 500

SELECT_LEDGER = """
select origin, vkey, signer, units, time_zone, public, registry_seq from ledgers where ledger = %s
"""

SELECT_KEY_NOTICES = """
select body from entries
where ledger = %s and ((key >= %s and key < %s) or (key >= %s and key < %s)) order by seq
"""

SELECT_NOTICE = "select seq, body from entries where ledger = %s and key = %s"

# Times as they are hashed, so that they compare as text.
PIN = """
select h.size, h.last_hash,
    to_char(h.last_recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), h.frontier,
    h.closes, c.size, c.root, c.note,
    (select max(seq) from entries where ledger = l.ledger),
    p.entry::text, p.currency, p.original::text, p.adjusted::text, p.refunded::text,
    p.held::text, p.excess::text,
    (select sum(i.held)::text from intents i where i.ledger = p.ledger and i.target = p.entry)
from ledgers l
left join heads h on h.ledger = l.ledger
left join published c on c.ledger = l.ledger
left join (
    positions p join unnest(%(entries)s::uuid[], %(currencies)s::text[]) as wanted (entry, currency)
        on p.entry = wanted.entry and p.currency = wanted.currency
) on p.ledger = l.ledger
where l.ledger = %(ledger)s
"""

# Up to the next multiple of a page and not so many rows: pages then hold whole tiles, and a
# number that stands twice does not fall between two of them.
SELECT_ENTRIES = """
select seq, body, hash, id::text, key, kind, type, poster, subject, business_key, actor,
    currency, corrects::text, repeat_of::text,
    to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
from entries
where ledger = %(ledger)s and seq >= %(start)s and seq < %(stop)s and seq < (
    select (min(seq) / %(page)s + 1) * %(page)s from entries
    where ledger = %(ledger)s and seq >= %(start)s
)
order by seq
"""

# The same page for `verify.Block`. What is joined by the server is one value of the answer
# instead of thousands; bodies, which are large, are cheaper one by one.
_PAGE_IN_ORDER = """
entries where ledger = %(ledger)s and seq >= %(start)s and seq < %(stop)s and seq < (
    select (min(seq) / %(page)s + 1) * %(page)s from entries
    where ledger = %(ledger)s and seq >= %(start)s
)
order by seq
"""

SELECT_BODIES = f"select seq, body from {_PAGE_IN_ORDER}"  # noqa: S608 - our own words

SELECT_JOINED = f"""
select string_agg(hash, ''::bytea), string_agg(uuid_send(id), ''::bytea),
    string_agg(key, E'\\x01'), string_agg(kind, E'\\x01'), string_agg(type, E'\\x01'),
    string_agg(poster, E'\\x01'), string_agg(coalesce(subject, ''), E'\\x01'),
    string_agg(coalesce(business_key, ''), E'\\x01'), string_agg(coalesce(actor, ''), E'\\x01'),
    string_agg(coalesce(currency, ''), E'\\x01'),
    string_agg(coalesce(corrects::text, ''), E'\\x01'),
    string_agg(coalesce(repeat_of::text, ''), E'\\x01'),
    string_agg(occurred_at::text, E'\\x01'), string_agg(recorded_at::text, E'\\x01'),
    count(*) filter (where subject = '' or business_key = '' or actor = '' or currency = ''
        or octet_length(hash) <> 32
        or num_nulls(hash, id, key, kind, type, poster, occurred_at, recorded_at) > 0)
from (select * from {_PAGE_IN_ORDER}) page
"""  # noqa: S608 - our own words

SELECT_PAYLOADS = """
select seq, name, media_type, commitment, octet_length(sealed)
from payloads where ledger = %s and seq >= %s and seq < %s order by seq, name
"""

SELECT_CLOSES = """
select seq, body from entries
where hashtextextended(type, hashtextextended(ledger, 0))
        = hashtextextended(%(type)s, hashtextextended(%(ledger)s, 0))
    and ledger = %(ledger)s and type = %(type)s and kind = 'notice' and seq < %(stop)s
order by seq
"""

SELECT_PERIODS = """
select seq, id::text, name,
    to_char(from_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(to_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), from_seq, supersedes::text
from periods where ledger = %s order by seq
"""

SELECT_TILES = """
select t.level, t.idx, t.hashes, t.root
from tiles t join unnest(%(levels)s::smallint[], %(indexes)s::bigint[]) as wanted (level, idx)
    on t.level = wanted.level and t.idx = wanted.idx
where t.ledger = %(ledger)s
"""

SELECT_HASHES = "select hash from entries where ledger = %s and seq >= %s and seq < %s order by seq"

SELECT_TILE_ROOTS = """
select root from tiles where ledger = %s and level = %s and idx >= %s and idx < %s order by idx
"""

SELECT_TERMS = """
select term, seq from entry_terms where ledger = %s and (term, seq) > (%s, %s::bigint)
order by term, seq limit %s
"""

# As `terms.placed` has them, behind a salt. The last one leads to the next page.
# A term that holds the separator would fall apart once joined, so it is handed in as it is.
SELECT_SALTED_TERMS = """
with page as materialized (
    select term, seq,
        seq >= 0 and seq < %(stop)s and position(E'\\x01' in term) = 0 as joins
    from entry_terms
    where ledger = %(ledger)s and (term, seq) > (%(term)s, %(seq)s::bigint)
    order by term, seq limit %(limit)s
)
select string_agg(%(salt)s || seq || ':' || term, E'\\x01') filter (where joins),
    array_agg(term) filter (where not joins), array_agg(seq) filter (where not joins),
    (select array[term, seq::text] from page order by term desc, seq desc limit 1)
from page
"""

SELECT_HELD_TERMS = """
select t.term, t.seq
from entry_terms t join unnest(%(terms)s::text[], %(seqs)s::bigint[]) as wanted (term, seq)
    on t.term = wanted.term and t.seq = wanted.seq
where t.ledger = %(ledger)s
"""

SELECT_POSITIONS = """
select entry::text, currency, original::text, adjusted::text, refunded::text, held::text,
    excess::text,
    (select sum(i.held)::text from intents i where i.ledger = p.ledger and i.target = p.entry)
from positions p where ledger = %s and (entry, currency) > (%s::uuid, %s)
order by entry, currency limit %s
"""

# A row and its events of one snapshot, and times as they are hashed.
SELECT_INTENTS = """
select i.id::text, i.key, i.kind, i.type, i.subject, i.business_key, i.state, i.outcome,
    i.on_silence, to_char(i.promised_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(i.answer_by at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), i.is_reserving,
    i.target::text, i.held::text, i.events,
    array(
        select e.body from intent_events e where e.ledger = i.ledger and e.intent = i.id
        order by e.number
    )
from intents i where i.ledger = %s and i.id > %s::uuid order by i.id limit %s
"""

SELECT_INTENT_EVENTS = """
select intent::text, body from intent_events
where ledger = %s and intent = any(%s::uuid[]) order by intent, number
"""

SELECT_STRAY_EVENTS = """
select distinct e.intent::text from intent_events e
where e.ledger = %s and not exists (
    select from intents i where i.ledger = e.ledger and i.id = e.intent
)
limit 100
"""

SELECT_STRAY_HOLDS = """
select i.id::text from intents i
where i.ledger = %s and i.held > 0 and not exists (
    select from positions p where p.ledger = i.ledger and p.entry = i.target
)
limit 100
"""

SELECT_FOUND = """
select seq, body from entries where ledger = %s and (id = any(%s::uuid[]) or key = any(%s))
"""

SELECT_CORRECTIONS = (
    "select seq, body from entries where ledger = %s and corrects = any(%s::uuid[])"
)

SELECT_HOLDERS = {
    "id": "select id::text, seq from entries where ledger = %s and id = any(%s::uuid[])",
    "key": "select key, seq from entries where ledger = %s and key = any(%s)",
    "business_key": """
select kind || ' ' || type || ' ' || e.business_key, seq
from entries e
where ledger = %s and repeat_of is null
    and (kind, type, business_key) in (select * from unnest(%s::text[], %s::text[], %s::text[]))
""",
}

SELECT_POSTER_KEYS = """
select k.key_id, k.principal, k.public_key, e.body, r.body
from poster_keys k
left join entries e on e.ledger = %(registry)s and e.seq = k.registry_seq
left join entries r on r.ledger = %(registry)s and r.key = '_key.retired/' || k.key_id
where k.key_id = any(%(keys)s)
"""

# A hash of tile level L stands for 256^L entries, a full tile for 256 of these.
SELECT_STRAY_TILES = """
select t.level, t.idx from tiles t
where t.ledger = %(ledger)s and t.idx >= trunc(
    greatest(%(size)s, (select size from heads where ledger = %(ledger)s))
    / 256::numeric ^ (t.level + 1)
)
order by t.level, t.idx limit 100
"""

SELECT_STRAY_PAYLOADS = """
select seq, name from payloads
where ledger = %(ledger)s and (
    seq < 0 or seq >= greatest(%(size)s, (select size from heads where ledger = %(ledger)s))
)
order by seq, name limit 100
"""


class PostgresScan:
    """One ledger through one connection; a `verify.Source`. Used by one thread."""

    def __init__(self, connection: psycopg.Connection[Any], ledger: str) -> None:
        """
        Read `ledger` through `connection`, whose transactions are not touched.

        Args:
            connection: With the rights of the writer: the reader does not see payloads. In
                autocommit mode, unless nobody else writes.
            ledger: Name of the ledger.
        """
        self._connection = connection
        self._ledger = ledger

    def ledger(self) -> StoredLedger:
        """The ledger's row and the notice that announced it; see `verify.Source`."""
        row = next(iter(self._rows(SELECT_LEDGER, (self._ledger,))), None)
        if row is None:
            raise NotFoundError(f"there is no ledger {self._ledger}", ledger=self._ledger)
        notices = self._rows(SELECT_NOTICE, (REGISTRY, f"_ledger.created/{self._ledger}"))
        origin, vkey, signer, units, time_zone, public, registry_seq = row
        return StoredLedger(
            name=self._ledger,
            origin=origin,
            vkey=vkey,
            signer=signer,
            units=units,
            time_zone=time_zone,
            public=public,
            registry_seq=registry_seq,
            notice=next((StoredEntry(*notice) for notice in notices), None),
            key_notices=self.key_notices(),
        )

    def key_notices(self) -> list[bytes]:
        """What `_registry` says of this ledger's keys, in order."""
        ranges = (*notice_range(ADDED, self._ledger), *notice_range(RETIRED, self._ledger))
        return [body for (body,) in self._rows(SELECT_KEY_NOTICES, (REGISTRY, *ranges))]

    def pin(self, positions: Sequence[tuple[str, str]] = ()) -> Pinned:
        """The present moment, from one snapshot."""
        rows = self._rows(
            PIN,
            {
                "ledger": self._ledger,
                "entries": [entry for entry, _ in positions],
                "currencies": [currency for _, currency in positions],
            },
        )
        if not rows:
            raise NotFoundError(f"there is no ledger {self._ledger}", ledger=self._ledger)
        size, last_hash, last_recorded_at, frontier, closes, *checkpoint, last_seq = rows[0][:9]
        c_size, c_root, c_note = checkpoint
        return Pinned(
            head=None
            if size is None
            else StoredHead(
                size=size,
                last_hash=last_hash,
                last_recorded_at=last_recorded_at,
                frontier=frontier,
                closes=closes,
            ),
            published=None
            if c_size is None
            else StoredCheckpoint(size=c_size, root=c_root, note=c_note),
            end=0 if last_seq is None else last_seq + 1,
            positions=[_position(row[9:]) for row in rows if row[9] is not None],
        )

    def entries(self, start: int, stop: int) -> Sequence[StoredEntry]:
        """The next entries of [start, stop), up to the end of a page."""
        rows = self._rows(
            SELECT_ENTRIES,
            {"ledger": self._ledger, "start": start, "stop": stop, "page": PAGE},
        )
        return [StoredEntry(row[0], row[1], row[2:]) for row in rows]

    def block(self, start: int, stop: int) -> Block | None:
        """The same entries for `verify.sift_block`; None where there are none."""
        where = {"ledger": self._ledger, "start": start, "stop": stop, "page": PAGE}
        rows = self._rows(SELECT_BODIES, where)
        joined = self._rows(SELECT_JOINED, where)
        if not rows:
            return None
        return Block(
            seqs=[seq for seq, _ in rows],
            bodies=[body for _, body in rows],
            columns=JoinedColumns._make(joined[0]),
        )

    def closes(self, stop: int) -> Sequence[StoredEntry]:
        """Notices that closed a period, before entry `stop`, in order."""
        where = {"ledger": self._ledger, "type": PERIOD_CLOSED, "stop": stop}
        return [StoredEntry(*row) for row in self._rows(SELECT_CLOSES, where)]

    def periods(self) -> Sequence[StoredClose]:
        """All rows of closed periods."""
        return [StoredClose(*row) for row in self._rows(SELECT_PERIODS, (self._ledger,))]

    def payloads(self, start: int, stop: int) -> Sequence[StoredPayload]:
        """All payload rows of entries [start, stop)."""
        return [
            StoredPayload(*row) for row in self._rows(SELECT_PAYLOADS, (self._ledger, start, stop))
        ]

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> Sequence[Tile]:
        """The tiles of these (level, index) that are there."""
        rows = self._rows(
            SELECT_TILES,
            {
                "ledger": self._ledger,
                "levels": [level for level, _ in wanted],
                "indexes": [index for _, index in wanted],
            },
        )
        return [
            Tile(level=level, index=index, hashes=hashes, root=root)
            for level, index, hashes, root in rows
        ]

    def hashes(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        """Hashes [start, stop) of a tile level."""
        if level == 0:
            rows = self._rows(SELECT_HASHES, (self._ledger, start, stop))
        else:
            rows = self._rows(SELECT_TILE_ROOTS, (self._ledger, level - 1, start, stop))
        return [each for (each,) in rows]

    def terms(self) -> Iterator[Sequence[tuple[str, int]]]:
        """All (term, seq), in pages, in the order of the table's key."""
        last: tuple[str, int] = ("", -(2**63))
        while page := self._rows(SELECT_TERMS, (self._ledger, *last, TERMS_PER_READ)):
            yield page
            last = page[-1]

    def salted_terms(self, salt: str, stop: int) -> Iterator[tuple[str, Sequence[tuple[str, int]]]]:
        """All terms, in the same pages, as `verify.Source` has them."""
        where = {"ledger": self._ledger, "salt": salt, "stop": stop, "limit": TERMS_PER_READ}
        last: tuple[str, int] | None = ("", -(2**63))
        while last is not None:
            [(text, terms, seqs, end)] = self._rows(
                SELECT_SALTED_TERMS, where | {"term": last[0], "seq": last[1]}
            )
            yield text or "", list(zip(terms or (), seqs or (), strict=True))
            last = None if end is None else (end[0], int(end[1]))

    def held_terms(self, wanted: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
        """Those of these (term, seq) that are there."""
        return self._rows(
            SELECT_HELD_TERMS,
            {
                "ledger": self._ledger,
                "terms": [term for term, _ in wanted],
                "seqs": [seq for _, seq in wanted],
            },
        )

    def positions(self) -> Iterator[Sequence[StoredPosition]]:
        """All positions, in pages, in the order of the table's key."""
        last = ("00000000-0000-0000-0000-000000000000", "")
        while rows := self._rows(SELECT_POSITIONS, (self._ledger, *last, POSITIONS_PER_READ)):
            page = [_position(row) for row in rows]
            yield page
            last = (page[-1].entry, page[-1].currency)

    def intents(self) -> Iterator[Sequence[StoredIntent]]:
        """All intents, in pages, in the order of the table's key."""
        last = "00000000-0000-0000-0000-000000000000"
        while rows := self._rows(SELECT_INTENTS, (self._ledger, last, INTENTS_PER_READ)):
            yield [
                StoredIntent(IntentRow._make([*row[:13], int(row[13]), row[14]]), row[15])
                for row in rows
            ]
            last = rows[-1][0]

    def intent_events(self, ids: Collection[str]) -> Mapping[str, Sequence[bytes]]:
        """The events of these intents, in order."""
        events: dict[str, list[bytes]] = {}
        for intent, body in self._rows(SELECT_INTENT_EVENTS, (self._ledger, list(ids))):
            events.setdefault(intent, []).append(body)
        return events

    def find(self, *, ids: Collection[str], keys: Collection[str]) -> Sequence[StoredEntry]:
        """Entries by id and by key."""
        rows = self._rows(SELECT_FOUND, (self._ledger, list(ids), list(keys)))
        return [StoredEntry(*row) for row in rows]

    def corrections_of(self, ids: Collection[str]) -> Sequence[StoredEntry]:
        """Entries that correct one of these."""
        return [
            StoredEntry(*row) for row in self._rows(SELECT_CORRECTIONS, (self._ledger, list(ids)))
        ]

    def holders(self, column: str, values: Collection[str]) -> Sequence[tuple[str, int]]:
        """(value, seq) of every entry that has one of these values; see `verify.Source`."""
        if column == "business_key":
            # Kind and type have no spaces in them.
            split = [value.split(" ", 2) for value in values]
            lists = [[each[at] for each in split] for at in range(3)]
            return self._rows(SELECT_HOLDERS[column], (self._ledger, *lists))
        return self._rows(SELECT_HOLDERS[column], (self._ledger, list(values)))

    def poster_keys(self, key_ids: Collection[str]) -> Sequence[StoredPosterKey]:
        """The keys of these ids that are there, with the notices they refer to."""
        rows = self._rows(SELECT_POSTER_KEYS, {"registry": REGISTRY, "keys": list(key_ids)})
        return [StoredPosterKey(*row) for row in rows]

    def strays(self, size: int) -> Sequence[tuple[str, str]]:
        """Rows that belong to nothing, at most a hundred of each kind."""
        where = {"ledger": self._ledger, "size": size}
        tiles = self._rows(SELECT_STRAY_TILES, where)
        payloads = self._rows(SELECT_STRAY_PAYLOADS, where)
        return [
            *(("tile.extra", f"tile {level}/{index}") for level, index in tiles),
            *(("payload.extra", f"payload {name} of entry {seq}") for seq, name in payloads),
            *(
                ("intent.extra", f"an event of intent {intent}")
                for (intent,) in self._rows(SELECT_STRAY_EVENTS, (self._ledger,))
            ),
            *(
                ("position.missing", f"what intent {intent} holds")
                for (intent,) in self._rows(SELECT_STRAY_HOLDS, (self._ledger,))
            ),
        ]

    def _rows(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        return self._connection.execute(statement, parameters, binary=True).fetchall()


def _position(row: Sequence[Any]) -> StoredPosition:
    entry, currency, *amounts = row
    numbers = [None if amount is None else int(amount) for amount in amounts]
    return StoredPosition(entry, currency, *numbers)  # type: ignore[arg-type]


def _intent(row: Sequence[Any]) -> StoredIntent:
    *columns, held, count, events = row
    return StoredIntent(IntentRow._make([*columns, int(held), count]), events)

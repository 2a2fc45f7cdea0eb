"""
Questions: what the rules ask of history, as it is asked of PostgreSQL.

Every question of a batch goes on one trip; one that nobody asks is not sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ledger.lifecycle import Position
from ledger.ports import Found, Wanted
from ledger.storage.binary import texts, uuids
from ledger.storage.wire import Parameter, Rows, Statement, Wire

# Rows are looked up one by one, which `offset 0` keeps the planner to: its statistics are older
# than a growing ledger, and by them it may seem cheap to read all of it to find a few entries.

SELECT_REPLAYS = Statement(
    "select_replays",
    """
select e.key, e.body from unnest($2::text[]) as asked (key), lateral (
    select key, body from entries where ledger = $1 and key = asked.key offset 0
) e
""",
)

# What is named, and from some of it upwards all that is corrected, to the originals.
SELECT_LINEAGE = Statement(
    "select_lineage",
    """
with recursive lineage as ((
    select e.id, e.corrects, e.body from unnest($4::uuid[]) as asked (id), lateral (
        select id, corrects, body from entries where ledger = $1 and id = asked.id offset 0
    ) e
    union all
    select e.id, e.corrects, e.body from unnest($5::text[]) as asked (key), lateral (
        select id, corrects, body from entries where ledger = $1 and key = asked.key offset 0
    ) e
    ) union
    select e.id, e.corrects, e.body from lineage l, lateral (
        select id, corrects, body from entries where ledger = $1 and id = l.corrects offset 0
    ) e
), named as (
    select id, corrects, body from lineage
    union (
    select e.id, e.corrects, e.body from unnest($2::uuid[]) as asked (id), lateral (
        select id, corrects, body from entries where ledger = $1 and id = asked.id offset 0
    ) e
    union all
    select e.id, e.corrects, e.body from unnest($3::text[]) as asked (key), lateral (
        select id, corrects, body from entries where ledger = $1 and key = asked.key offset 0
    ) e
    )
)
select n.body, n.corrects::text, p.entry::text, p.currency, p.original, p.adjusted, p.refunded,
    p.held, p.excess,
    case when p.held > 0 then (
        select string_agg(h.id::text, ' ' order by h.promised_at, h.id) from (
            select id, promised_at from intents
            where ledger = $1 and target = n.id and held > 0 order by promised_at, id limit 10
        ) h
    ) end
from named n left join lateral (
    select * from positions where ledger = $1 and entry = n.id offset 0
) p on true
""",
)

SELECT_BUSINESS_KEYS = Statement(
    "select_business_keys",
    """
select distinct on (e.kind, e.type, e.business_key)
    e.kind, e.type, e.business_key, e.id::text, e.seq
from unnest($2::text[]) as asked (business_key), lateral (
    select kind, type, business_key, id, seq from entries
    where ledger = $1 and business_key = asked.business_key and repeat_of is null offset 0
) e
order by e.kind, e.type, e.business_key, e.seq
""",
)

SELECT_PROMISED = Statement(
    "select_promised",
    "select kind, type, business_key, id::text from intents "
    "where ledger = $1 and business_key = any($2::text[]) and is_reserving",
)

# Under the head's lock: every step of every intent of a ledger is taken under it.
SELECT_INTENTS = Statement(
    "select_intents",
    """
select i.id::text, e.body
from intents i, lateral (
    select number, body from intent_events where ledger = $1 and intent = i.id offset 0
) e
where i.ledger = $1 and (i.id = any($2::uuid[]) or i.key = any($3::text[]))
order by i.id, e.number
""",
)

# What these intents hold, or held, is let go of by some of their steps.
SELECT_HELD = Statement(
    "select_held",
    """
select p.entry::text, p.currency, p.original, p.adjusted, p.refunded, p.held, p.excess
from intents i, lateral (
    select * from positions where ledger = $1 and entry = i.target offset 0
) p
where i.ledger = $1 and i.id = any($2::uuid[])
""",
)

SELECT_DATA_KEYS = Statement(
    "select_data_keys",
    "select data_subject, wrapped from effect_ledger_keys.data_keys "
    "where ledger = $1 and data_subject = any($2::text[])",
)

SELECT_SIGNING_KEYS = Statement(
    "select_signing_keys",
    "select key_id, principal, public_key from poster_keys k where key_id = any($1::text[])"
    " and not exists (select from retired_poster_keys r where r.key_id = k.key_id)",
)


class Questions:
    """The questions of one batch: asked on a trip of a `Wire`, answered by what is heard there."""

    def __init__(self, ledger: str, wanted: Wanted) -> None:
        self.asked = list(_questions(ledger, wanted))
        """Each statement with its values."""

    def say(self, wire: Wire) -> None:
        """Put them on the next trip."""
        for statement, values in self.asked:
            wire.say(statement, *values)

    def answered(self, heard: Sequence[Rows]) -> Found:
        """What history says, given the rows of each question in order."""
        statements = [statement for statement, _ in self.asked]
        rows = dict(zip(statements, heard, strict=True))
        related = rows.get(SELECT_LINEAGE, ())
        intents: dict[str, list[bytes]] = {}
        for intent, event in rows.get(SELECT_INTENTS, ()):
            intents.setdefault(intent, []).append(event)
        return Found(
            replays=dict(rows.get(SELECT_REPLAYS, ())),
            lineage=[(body, corrects) for body, corrects, *_ in related],
            positions=[
                *(_position(row[2:9]) for row in related if row[2] is not None),
                *(_position(row) for row in rows.get(SELECT_HELD, ())),
            ],
            business_keys={
                (kind, type_, key): (entry_id, seq)
                for kind, type_, key, entry_id, seq in rows.get(SELECT_BUSINESS_KEYS, ())
            },
            data_keys=dict(rows.get(SELECT_DATA_KEYS, ())),
            signing_keys={
                key_id: (principal, public_key)
                for key_id, principal, public_key in rows.get(SELECT_SIGNING_KEYS, ())
            },
            promised={
                (kind, type_, key): intent
                for kind, type_, key, intent in rows.get(SELECT_PROMISED, ())
            },
            intents=intents,
            # Asked for only where something is held; a refusal names them.
            holders={row[2]: row[9].split() for row in related if row[9] is not None},
        )


def _questions(ledger: str, wanted: Wanted) -> Iterator[tuple[Statement, list[Parameter]]]:
    if wanted.keys:
        yield SELECT_REPLAYS, [ledger, texts(wanted.keys).array()]
    if wanted.entry_ids or wanted.entry_keys:
        yield (
            SELECT_LINEAGE,
            [
                ledger,
                uuids(wanted.entry_ids).array(),
                texts(wanted.entry_keys).array(),
                uuids(wanted.lineage_ids).array(),
                texts(wanted.lineage_keys).array(),
            ],
        )
    if wanted.business_keys:
        yield SELECT_BUSINESS_KEYS, [ledger, texts(wanted.business_keys).array()]
        yield SELECT_PROMISED, [ledger, texts(wanted.business_keys).array()]
    if wanted.intents or wanted.intent_keys:
        ids = uuids(wanted.intents).array()
        yield SELECT_INTENTS, [ledger, ids, texts(wanted.intent_keys).array()]
        yield SELECT_HELD, [ledger, ids]
    if wanted.data_subjects:
        yield SELECT_DATA_KEYS, [ledger, texts(wanted.data_subjects).array()]
    if wanted.signing_keys:
        yield SELECT_SIGNING_KEYS, [texts(wanted.signing_keys).array()]


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

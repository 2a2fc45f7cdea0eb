"""Intent rows: what steps of intents leave in the tables, and how it is said to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.intent import Intent, IntentRow, row_of
from ledger.storage.binary import Column, booleans, octets, smallints, texts, times, uuids
from ledger.storage.wire import Parameter, Statement

INSERT_INTENT_EVENTS = Statement(
    "insert_intent_events",
    "insert into intent_events (ledger, intent, number, body) "
    "select $1, * from unnest($2::uuid[], $3::smallint[], $4::bytea[])",
)

INSERT_INTENTS = Statement(
    "insert_intents",
    """
insert into intents (ledger, id, key, kind, type, subject, business_key, state, on_silence,
    promised_at, answer_by, is_reserving, target, held, events)
select $1, id, key, kind, type, subject, business_key, state, on_silence, promised_at, answer_by,
    is_reserving, target, held::numeric, events
from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::timestamptz[], $11::timestamptz[], $12::boolean[], $13::uuid[], $14::text[],
    $15::smallint[])
    as promised (id, key, kind, type, subject, business_key, state, on_silence, promised_at,
        answer_by, is_reserving, target, held, events)
""",
)

UPDATE_INTENTS = Statement(
    "update_intents",
    """
update intents i
set state = m.state, outcome = m.outcome, is_reserving = m.is_reserving,
    held = m.held::numeric, events = m.events
from unnest($2::uuid[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::smallint[])
    as m (id, state, outcome, is_reserving, held, events)
where i.ledger = $1 and i.id = m.id
""",
)


def intent_statements(
    ledger: str, intents: Sequence[Intent]
) -> Iterator[tuple[Statement, list[Parameter]]]:
    """How the steps that `intents` end with are written."""
    if not intents:
        return
    rows = [row_of(intent) for intent in intents]
    promised = [row for row in rows if row.events == 1]
    # Of several steps of one intent the last says where it stands.
    moved = {row.id: row for row in rows if row.events > 1}
    for statement, columns in (
        (INSERT_INTENT_EVENTS, _events(intents)),
        (INSERT_INTENTS, _promised(promised)),
        (UPDATE_INTENTS, _moved(list(moved.values()))),
    ):
        if columns[0].fields:
            yield statement, [ledger, *(column.array() for column in columns)]


def _events(intents: Sequence[Intent]) -> list[Column]:
    events = [intent.events[-1] for intent in intents]
    return [
        uuids(event.intent for event in events),
        smallints(event.number for event in events),
        octets(event.encoded for event in events),
    ]


def _promised(rows: Sequence[IntentRow]) -> list[Column]:
    return [
        uuids(row.id for row in rows),
        texts(row.key for row in rows),
        texts(row.kind for row in rows),
        texts(row.type for row in rows),
        texts(row.subject for row in rows),
        texts(row.business_key for row in rows),
        texts(row.state for row in rows),
        texts(row.on_silence for row in rows),
        times([row.promised_at for row in rows]),
        times([row.answer_by for row in rows]),
        booleans(row.is_reserving for row in rows),
        uuids(row.target for row in rows),
        texts(str(row.held) for row in rows),
        smallints(row.events for row in rows),
    ]


def _moved(rows: Sequence[IntentRow]) -> list[Column]:
    return [
        uuids(row.id for row in rows),
        texts(row.state for row in rows),
        texts(row.outcome for row in rows),
        booleans(row.is_reserving for row in rows),
        texts(str(row.held) for row in rows),
        smallints(row.events for row in rows),
    ]

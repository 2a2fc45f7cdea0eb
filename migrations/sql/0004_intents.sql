-- The dialog before history: effects that are promised, executed, and handed off once.
--
-- Events are history of their own and never change. The row of an intent is an index over them,
-- as the columns beside an entry are over its bytes; verification recomputes it.

create table effect_ledger.intent_events (
    ledger text collate "C" not null,
    intent uuid not null,
    number smallint not null check (number >= 0),
    body   bytea not null check (octet_length(body) <= 65535),
    primary key (ledger, intent, number)
);
comment on table effect_ledger.intent_events is
    'What was said of an intent, in order; the hand-off''s entry names a digest over it.';
comment on column effect_ledger.intent_events.intent is 'Id of the intent.';
comment on column effect_ledger.intent_events.number is '0: the promise; without gaps.';
comment on column effect_ledger.intent_events.body is
    'The event exactly as the digest covers it (RFC 8785 JSON).';

create table effect_ledger.intents (
    ledger       text collate "C" not null,
    id           uuid not null,
    key          text collate "C" not null,
    kind         text collate "C" not null check (kind in ('effect', 'refund')),
    type         text collate "C" not null,
    subject      text collate "C",
    business_key text collate "C",
    state        text collate "C" not null check (
        state in ('promised', 'executing', 'handed_off', 'cancelled', 'failed', 'unknown')
    ),
    outcome      text collate "C" check (outcome in ('executed', 'not_executed')),
    on_silence   text collate "C" not null check (on_silence in ('ask', 'escalate')),
    promised_at  timestamptz not null,
    answer_by    timestamptz not null,
    is_reserving boolean not null,
    target       uuid,
    held         numeric(38, 0) not null default 0 check (held >= 0),
    events       smallint not null check (events > 0),
    primary key (ledger, id),
    unique (ledger, key)
);
comment on table effect_ledger.intents is
    'Where each intent stands: an index over its events.';
comment on column effect_ledger.intents.kind is
    'effect: an original; refund: takes back from target.';
comment on column effect_ledger.intents.type is 'Dotted code of what is to happen: card.capture.';
comment on column effect_ledger.intents.subject is
    'Business reference it is about: order/12345. Never a person.';
comment on column effect_ledger.intents.business_key is
    'What it is: invoice/123. Nobody else may promise or record it while is_reserving.';
comment on column effect_ledger.intents.state is
    'promised -> executing -> handed_off | cancelled | failed | unknown; promised and executing without an outcome are unknown, too, past answer_by.';
comment on column effect_ledger.intents.outcome is
    'What became of the execution; null where nobody has said it yet.';
comment on column effect_ledger.intents.on_silence is
    'What a person is to do about an unknown outcome: ask, or escalate.';
comment on column effect_ledger.intents.promised_at is 'Of the promise, by this database''s clock.';
comment on column effect_ledger.intents.answer_by is
    'From then on silence is an unknown outcome.';
comment on column effect_ledger.intents.is_reserving is
    'Whether it keeps its business key, where it has one and repeats nothing.';
comment on column effect_ledger.intents.target is 'Entry that a promised refund would refund.';
comment on column effect_ledger.intents.held is
    'What it keeps of target now, in minor units; the sum of an entry is in its position.';
comment on column effect_ledger.intents.events is 'How many events it has.';

create index intents_by_open on effect_ledger.intents (ledger, id)
    where state in ('promised', 'executing', 'unknown');
create index intents_by_subject on effect_ledger.intents (ledger, subject, id)
    where subject is not null;
create index intents_by_business_key on effect_ledger.intents (ledger, business_key, id)
    where business_key is not null;
create index intents_by_target on effect_ledger.intents (ledger, target)
    where target is not null;

create trigger append_only before update or delete on effect_ledger.intent_events
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.intent_events enable always trigger append_only;
create trigger no_truncate before truncate on effect_ledger.intent_events
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.intent_events enable always trigger no_truncate;

create trigger no_delete before delete on effect_ledger.intents
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.intents enable always trigger no_delete;
create trigger no_truncate before truncate on effect_ledger.intents
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.intents enable always trigger no_truncate;

grant select, insert on effect_ledger.intent_events to effect_ledger_writer;
grant select, insert, update (state, outcome, is_reserving, held, events)
    on effect_ledger.intents to effect_ledger_writer;
grant select on effect_ledger.intent_events, effect_ledger.intents to effect_ledger_reader;

-- What a key is told of worlds -------------------------------------------------------------------

alter table effect_ledger.api_keys add column labels text collate "C" not null default 'full'
    check (labels in ('full', 'action-only', 'none'));
comment on column effect_ledger.api_keys.labels is
    'What errors tell its caller of worlds: full: world, action, reason and severity; action-only: what to do; none: neither.';

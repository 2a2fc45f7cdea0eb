-- The auditor's room: closed periods, bundles that were made, and who took what.

-- Closed periods ---------------------------------------------------------------------------------

alter table effect_ledger.heads add column closes bigint not null default 0 check (closes >= 0);
comment on column effect_ledger.heads.closes is
    'How many closes the ledger has: read under the lock, it tells a writer whether it knows them all.';

create table effect_ledger.periods (
    ledger     text collate "C" not null,
    seq        bigint not null check (seq >= 0),
    id         uuid not null,
    name       text collate "C" not null,
    from_at    timestamptz not null,
    to_at      timestamptz not null,
    from_seq   bigint not null check (from_seq between 0 and seq),
    supersedes uuid,
    primary key (ledger, seq),
    check (from_at < to_at)
);
comment on table effect_ledger.periods is
    'Closes, one row per period.closed notice: an index over what the notices say.';
comment on column effect_ledger.periods.seq is
    'Where the notice stands. The entries of the period are from_seq to seq - 1.';
comment on column effect_ledger.periods.name is 'Of the calendar (2026-10), or of the preparer''s choice.';
comment on column effect_ledger.periods.from_seq is
    'First entry: the close before it, so that closes cover the ledger without a gap.';
comment on column effect_ledger.periods.id is 'Id of the notice.';
comment on column effect_ledger.periods.from_at is 'First moment of the period.';
comment on column effect_ledger.periods.to_at is 'First moment after it.';
comment on column effect_ledger.periods.supersedes is
    'Id of the close of the same period that this one corrects.';

create table effect_ledger.period_checkpoints (
    ledger text collate "C" not null,
    seq    bigint not null,
    size   bigint not null,
    note   bytea not null,
    primary key (ledger, seq),
    check (size > seq)
);
comment on table effect_ledger.period_checkpoints is
    'The signed checkpoint each close is proved under, for ever the same.';
comment on column effect_ledger.period_checkpoints.seq is 'Where the close stands.';
comment on column effect_ledger.period_checkpoints.size is
    'Entries it covers: the close is the last one, unless others came before it was signed.';
comment on column effect_ledger.period_checkpoints.note is 'Signed note (C2SP tlog-checkpoint).';

-- Bundles ----------------------------------------------------------------------------------------

create table effect_ledger.exports (
    ledger     text collate "C" not null,
    id         uuid not null,
    principal  text collate "C" not null,
    state      text not null check (state in ('running', 'done', 'failed')),
    requested  jsonb not null,
    done       bigint not null default 0,
    entries    bigint not null,
    result     jsonb,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (ledger, id)
);
comment on table effect_ledger.exports is 'Bundles that were asked for, and how far each one is.';
comment on column effect_ledger.exports.principal is 'Who asked.';
comment on column effect_ledger.exports.requested is
    'Close, filter and scopes: what decides about every byte of the bundle.';
comment on column effect_ledger.exports.done is 'Entries written so far.';
comment on column effect_ledger.exports.entries is 'Entries to write.';
comment on column effect_ledger.exports.result is
    'Null while it runs; hashes and size of the bundle, or the error.';
comment on column effect_ledger.exports.updated_at is
    'Last sign of life; a running one that gives none has lost its process.';
comment on column effect_ledger.exports.state is
    'running -> done (the bundle can be fetched) | failed (result says why)';

-- Who took what ----------------------------------------------------------------------------------

create table effect_ledger.accesses (
    ledger      text collate "C" not null,
    id          uuid not null,
    accessed_at timestamptz not null default clock_timestamp(),
    principal   text collate "C" not null,
    key_id      text collate "C" not null,
    act         text not null check (act in ('export.issued', 'export.downloaded')),
    data        jsonb not null,
    because     text not null,
    primary key (ledger, id)
);
comment on table effect_ledger.accesses is
    'Exports and downloads that _registry could not take: reading never depends on writing there.';
comment on column effect_ledger.accesses.accessed_at is 'By the database''s clock.';
comment on column effect_ledger.accesses.key_id is 'API key that was used.';
comment on column effect_ledger.accesses.act is 'Type of the notice that it would have been.';
comment on column effect_ledger.accesses.data is 'Data of that notice: what was taken, with digests.';
comment on column effect_ledger.accesses.because is 'Why _registry did not take it.';

alter table effect_ledger.api_keys add column periods text[];
comment on column effect_ledger.api_keys.periods is
    'Names of the periods it reaches, and nothing beside them; null: not limited to periods.';

-- Guards and grants ------------------------------------------------------------------------------

do $$
declare
    guarded text;
begin
    foreach guarded in array array['periods', 'period_checkpoints', 'accesses'] loop
        execute format(
            'create trigger append_only before update or delete on effect_ledger.%I '
            'for each row execute function effect_ledger.refuse_change()', guarded);
        execute format(
            'alter table effect_ledger.%I enable always trigger append_only', guarded);
        execute format(
            'create trigger no_truncate before truncate on effect_ledger.%I '
            'for each statement execute function effect_ledger.refuse_change()', guarded);
        execute format(
            'alter table effect_ledger.%I enable always trigger no_truncate', guarded);
    end loop;
end $$;

grant select, insert on effect_ledger.periods, effect_ledger.period_checkpoints,
    effect_ledger.accesses to effect_ledger_writer;
grant select, insert, update on effect_ledger.exports to effect_ledger_writer;
grant select on effect_ledger.periods, effect_ledger.period_checkpoints, effect_ledger.exports,
    effect_ledger.accesses to effect_ledger_reader;

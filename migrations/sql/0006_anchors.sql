-- Anchors: checkpoints that the registry recorded, and those that an authority timestamped.
-- Both tables hold what no later moment can make again; rows are added, and none is changed.

create table effect_ledger.registered (
    ledger       text collate "C" not null,
    size         bigint not null check (size > 0),
    registry_seq bigint not null check (registry_seq > 0),
    note         bytea not null,
    primary key (ledger, size)
);
comment on table effect_ledger.registered is
    'Checkpoints that an entry of _registry records: receipts under them inherit what anchors that entry.';
comment on column effect_ledger.registered.registry_seq is
    'The entry of _registry, a notice checkpoint.recorded, that states origin, size and root.';
comment on column effect_ledger.registered.note is
    'C2SP signed note of the checkpoint, as it was published.';

create table effect_ledger.timestamped (
    ledger         text collate "C" not null,
    size           bigint not null check (size > 0),
    timestamped_at timestamptz not null default now(),
    stated_at      timestamptz not null,
    note           bytea not null,
    token          bytea not null,
    primary key (ledger, size, timestamped_at)
);
comment on table effect_ledger.timestamped is
    'Checkpoints that a timestamp authority has seen (RFC 3161).';
comment on column effect_ledger.timestamped.timestamped_at is
    'When the token came, by this database''s clock.';
comment on column effect_ledger.timestamped.stated_at is
    'What the token says, by the authority''s clock.';
comment on column effect_ledger.timestamped.note is
    'The octets that the token is over: C2SP signed note with the lines of the log alone.';
comment on column effect_ledger.timestamped.token is
    'The authority''s reply as it came, TimeStampResp in DER; verified before it was kept.';

create trigger append_only before update or delete on effect_ledger.registered
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.registered enable always trigger append_only;
create trigger no_truncate before truncate on effect_ledger.registered
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.registered enable always trigger no_truncate;

create trigger append_only before update or delete on effect_ledger.timestamped
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.timestamped enable always trigger append_only;
create trigger no_truncate before truncate on effect_ledger.timestamped
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.timestamped enable always trigger no_truncate;

grant select, insert on effect_ledger.registered, effect_ledger.timestamped
    to effect_ledger_writer;
grant select on effect_ledger.registered, effect_ledger.timestamped to effect_ledger_reader;

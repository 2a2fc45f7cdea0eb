-- What the service found when it verified itself, signed; findings that a person acknowledged; and
-- the ends of keys, which are as permanent as their beginnings.

create table effect_ledger.statements (
    ledger      text collate "C" not null,
    finished_at timestamptz not null,
    id          uuid not null,
    mode        text not null check (mode in ('full', 'incremental')),
    size        bigint not null check (size >= 0),
    good        boolean not null,
    note        bytea not null,
    primary key (ledger, finished_at, id)
);
comment on table effect_ledger.statements is
    'Signed verdicts of verifications: each full one, and incremental ones that say something new.';
comment on column effect_ledger.statements.finished_at is 'When the verification ended.';
comment on column effect_ledger.statements.id is 'The verification, as in verifications.';
comment on column effect_ledger.statements.mode is
    'full: from the first entry; incremental: from where an earlier good one ended.';
comment on column effect_ledger.statements.size is 'Entries it speaks of.';
comment on column effect_ledger.statements.good is 'Whether none of its three verdicts is bad.';
comment on column effect_ledger.statements.note is
    'C2SP signed note by the ledger''s key; the columns beside it are an index over it.';

create trigger append_only before update or delete on effect_ledger.statements
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.statements enable always trigger append_only;
create trigger no_truncate before truncate on effect_ledger.statements
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.statements enable always trigger no_truncate;

-- Stops ------------------------------------------------------------------------------------------

alter table effect_ledger.stops
    add column acknowledged boolean not null default false,
    add check (lifted_at is not null or not acknowledged);
comment on column effect_ledger.stops.acknowledged is
    'Whether the findings in details were accepted as they stand: they stop the ledger no more.';

-- Keys -------------------------------------------------------------------------------------------

create table effect_ledger.retired_poster_keys (
    key_id       text collate "C" primary key references effect_ledger.poster_keys,
    registry_seq bigint not null
);
comment on table effect_ledger.retired_poster_keys is
    'Keys of posters that sign no more, each announced by a key.retired notice.';
comment on column effect_ledger.retired_poster_keys.key_id is 'As in poster_keys.';
comment on column effect_ledger.retired_poster_keys.registry_seq is
    'Where _registry holds the key.retired notice.';

create trigger append_only before update or delete on effect_ledger.retired_poster_keys
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.retired_poster_keys enable always trigger append_only;
create trigger no_truncate before truncate on effect_ledger.retired_poster_keys
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.retired_poster_keys enable always trigger no_truncate;

create function effect_ledger.allow_revoking_only() returns trigger
language plpgsql as $$
begin
    if old.revoked_at is null
        and new.revoked_at is not null
        and (new.id, new.principal, new.secret_hash, new.scopes, new.ledgers, new.periods,
             new.created_at, new.expires_at)
            is not distinct from
            (old.id, old.principal, old.secret_hash, old.scopes, old.ledgers, old.periods,
             old.created_at, old.expires_at)
    then
        return new;
    end if;
    raise exception 'a key may be revoked, once, and not edited'
        using errcode = 'restrict_violation';
end $$;

comment on function effect_ledger.allow_revoking_only() is
    'A key that was revoked opens nothing again, and its reach stays what it was made with.';

create trigger revoking_only before update on effect_ledger.api_keys
    for each row execute function effect_ledger.allow_revoking_only();
alter table effect_ledger.api_keys enable always trigger revoking_only;
create trigger no_delete before delete on effect_ledger.api_keys
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.api_keys enable always trigger no_delete;
create trigger no_truncate before truncate on effect_ledger.api_keys
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.api_keys enable always trigger no_truncate;

-- Grants -----------------------------------------------------------------------------------------

grant select, insert on effect_ledger.statements, effect_ledger.retired_poster_keys
    to effect_ledger_writer;
grant update (acknowledged) on effect_ledger.stops to effect_ledger_writer;
-- Jobs are no history: those that a clock began are cleared away once newer ones are done.
grant delete on effect_ledger.verifications to effect_ledger_writer;
grant select on effect_ledger.statements to effect_ledger_reader;

-- What witnesses said: checkpoints that a quorum cosigned, and ledgers that one of them stopped.
-- Both are history of their own: rows are added, and a stop is lifted, never taken back.

create table effect_ledger.cosigned (
    ledger      text collate "C" not null,
    size        bigint not null check (size > 0),
    cosigned_at timestamptz not null default now(),
    reached_at  timestamptz not null,
    note        bytea not null,
    primary key (ledger, size, cosigned_at)
);
comment on table effect_ledger.cosigned is
    'Checkpoints under which the quorum of the policy was reached, with all lines that were good.';
comment on column effect_ledger.cosigned.cosigned_at is
    'When the quorum was there, by this database''s clock; the same size is cosigned again now and then.';
comment on column effect_ledger.cosigned.reached_at is
    'When enough witnesses had seen the tree, by their own clocks.';
comment on column effect_ledger.cosigned.note is
    'C2SP signed note: the ledger''s line, and a cosignature of each witness.';

create table effect_ledger.stops (
    ledger         text collate "C" not null,
    stopped_at     timestamptz not null default now(),
    code           text collate "C" not null
        check (code in ('broken', 'rolled_back', 'forked')),
    message        text not null,
    details        jsonb not null,
    lifted_at      timestamptz,
    lifted_because text,
    primary key (ledger, stopped_at),
    check ((lifted_at is null) = (lifted_because is null))
);
comment on table effect_ledger.stops is
    'Ledgers that take no writes until a person has looked. Reading them goes on.';
comment on column effect_ledger.stops.code is
    'broken: the stored tree is not the signed one; rolled_back: a witness has seen a larger one; forked: a witness has seen another one. Each -> lifted, once.';
comment on column effect_ledger.stops.message is 'What was found, for people.';
comment on column effect_ledger.stops.details is
    'Values behind it: witness, sizes, roots, and the checkpoint that the witness shows.';
comment on column effect_ledger.stops.lifted_at is 'Null: the ledger takes no writes.';
comment on column effect_ledger.stops.lifted_because is 'What the person who lifted it found.';

create function effect_ledger.allow_lifting_only() returns trigger
language plpgsql as $$
begin
    if old.lifted_at is null
        and new.lifted_at is not null
        and (new.ledger, new.stopped_at, new.code, new.message, new.details)
            is not distinct from
            (old.ledger, old.stopped_at, old.code, old.message, old.details)
    then
        return new;
    end if;
    raise exception 'a stop may be lifted, once, and not edited'
        using errcode = 'restrict_violation';
end $$;

comment on function effect_ledger.allow_lifting_only() is
    'Why a ledger was stopped stays as it was found, whatever became of it.';

create trigger append_only before update or delete on effect_ledger.cosigned
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.cosigned enable always trigger append_only;
create trigger no_truncate before truncate on effect_ledger.cosigned
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.cosigned enable always trigger no_truncate;

create trigger lifting_only before update on effect_ledger.stops
    for each row execute function effect_ledger.allow_lifting_only();
alter table effect_ledger.stops enable always trigger lifting_only;
create trigger no_delete before delete on effect_ledger.stops
    for each row execute function effect_ledger.refuse_change();
alter table effect_ledger.stops enable always trigger no_delete;
create trigger no_truncate before truncate on effect_ledger.stops
    for each statement execute function effect_ledger.refuse_change();
alter table effect_ledger.stops enable always trigger no_truncate;

grant select, insert on effect_ledger.cosigned to effect_ledger_writer;
grant select, insert, update (lifted_at, lifted_because) on effect_ledger.stops
    to effect_ledger_writer;
grant select on effect_ledger.cosigned, effect_ledger.stops to effect_ledger_reader;

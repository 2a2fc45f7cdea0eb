-- The ledger's first schema. Everything lives in the schema effect_ledger, what an erasure must
-- reach in effect_ledger_keys (a store of its own, which backups leave out).
--
-- Every growing table is keyed by ledger first, so that the database can be sharded by ledger.
-- Identifiers are COLLATE "C": they are compared as bytes, never as words.

-- The schema effect_ledger itself stands already: the version table lives in it.

create schema effect_ledger_keys;

comment on schema effect_ledger is 'Append-only ledgers of effects that cannot be rolled back.';
comment on schema effect_ledger_keys is
    'Keys that open payloads: what an erasure must reach, and what backups leave out.';
comment on table effect_ledger.schema_versions is
    'Newest migration that was applied; the service refuses any other than its own.';

-- Roles ------------------------------------------------------------------------------------------
-- owner   runs migrations and nothing else
-- writer  what the service connects as: appends, never edits or deletes history
-- reader  reports and verification
-- eraser  destroys payloads and data keys on request, and can do nothing else

do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'effect_ledger_writer', 'effect_ledger_reader', 'effect_ledger_eraser'
    ] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I', role_name);
        end if;
    end loop;
end $$;

-- Guards -----------------------------------------------------------------------------------------

create function effect_ledger.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception 'history is append-only: % on %.% is refused',
        tg_op, tg_table_schema, tg_table_name
        using errcode = 'restrict_violation',
              hint = 'Record a refund, an adjustment or an explanation instead.';
end $$;

comment on function effect_ledger.refuse_change() is
    'Fires ENABLE ALWAYS, so it also refuses superusers and session_replication_role = replica.';

create function effect_ledger.allow_erasure_only() returns trigger
language plpgsql as $$
begin
    if new.sealed is null
        and old.sealed is not null
        and (new.ledger, new.seq, new.name, new.media_type, new.commitment, new.data_subject)
            is not distinct from
            (old.ledger, old.seq, old.name, old.media_type, old.commitment, old.data_subject)
    then
        return new;
    end if;
    raise exception 'a payload may be erased, not edited'
        using errcode = 'restrict_violation';
end $$;

comment on function effect_ledger.allow_erasure_only() is
    'A payload''s octets may go, once; everything else about it stays.';

create function effect_ledger.only_grow() returns trigger
language plpgsql as $$
begin
    if new.ledger = old.ledger and new.size >= old.size then
        return new;
    end if;
    raise exception '% of ledger % would shrink from % to %',
        tg_table_name, old.ledger, old.size, new.size
        using errcode = 'restrict_violation';
end $$;

comment on function effect_ledger.only_grow() is
    'A size that shrinks is history that was dropped.';

-- Ledgers ----------------------------------------------------------------------------------------

create table effect_ledger.ledgers (
    ledger       text collate "C" primary key,
    origin       text collate "C" not null unique,
    vkey         text collate "C" not null,
    signer       text collate "C" not null,
    units        jsonb not null default '{}',
    time_zone    text not null,
    public       boolean not null default false,
    screen       text[] not null,
    registry_seq bigint,
    check (ledger ~ '^(_registry|[a-z0-9][a-z0-9._-]{0,61})$')
);
comment on table effect_ledger.ledgers is
    'One row per ledger, inserted after its ledger.created notice stands in _registry.';
comment on column effect_ledger.ledgers.origin is
    'Identity of the ledger: first line of its checkpoints, name of its key; never reused.';
comment on column effect_ledger.ledgers.vkey is 'C2SP verifier key of the log, at creation.';
comment on column effect_ledger.ledgers.signer is
    'Identity of the one signer record that may sign for this origin.';
comment on column effect_ledger.ledgers.units is
    'Units declared beyond ISO 4217: name to exponent.';
comment on column effect_ledger.ledgers.time_zone is
    'IANA zone that periods are counted in; fixed at creation.';
comment on column effect_ledger.ledgers.public is
    'Whether anyone may read the log without a key; never taken back.';
comment on column effect_ledger.ledgers.screen is
    'Personal-data checks applied to hashed text: at-sign, iban, card.';
comment on column effect_ledger.ledgers.registry_seq is
    'Where _registry holds the ledger.created notice of this ledger.';

create table effect_ledger.heads (
    ledger           text collate "C" primary key,
    size             bigint not null check (size >= 0),
    last_hash        bytea not null check (octet_length(last_hash) = 32),
    last_recorded_at timestamptz,
    frontier         bytea not null
        check (octet_length(frontier) = 32 * bit_count(size::bit(64))),
    check ((size = 0) = (last_recorded_at is null))
);
comment on table effect_ledger.heads is
    'What the next entry must extend. Locked first by every append; its lock orders the ledger.';
comment on column effect_ledger.heads.last_hash is
    'Hash of the newest entry; of the genesis text where the ledger is empty.';
comment on column effect_ledger.heads.frontier is
    'Compact range [0, size): 32 bytes per set bit of size, largest subtree first.';

create table effect_ledger.published (
    ledger text collate "C" primary key,
    size   bigint not null check (size >= 0),
    root   bytea not null check (octet_length(root) = 32),
    note   bytea not null
);
comment on table effect_ledger.published is
    'The newest signed checkpoint of each ledger, as every process serves it.';
comment on column effect_ledger.published.root is 'Merkle root of the first size entries.';
comment on column effect_ledger.published.note is
    'The checkpoint as served: a C2SP signed note of origin, size and root.';

-- History ----------------------------------------------------------------------------------------

create table effect_ledger.entries (
    ledger       text collate "C" not null,
    seq          bigint not null check (seq >= 0),
    id           uuid not null,
    key          text collate "C" not null,
    kind         text collate "C" not null
        check (kind in ('effect', 'refund', 'adjustment', 'explanation', 'notice')),
    type         text collate "C" not null,
    poster       text collate "C" not null,
    subject      text collate "C",
    business_key text collate "C",
    actor        text collate "C",
    currency     text collate "C",
    corrects     uuid,
    repeat_of    uuid,
    occurred_at  timestamptz not null,
    recorded_at  timestamptz not null,
    hash         bytea not null check (octet_length(hash) = 32),
    body         bytea not null check (octet_length(body) <= 65535),
    primary key (ledger, seq),
    unique (ledger, id),
    unique (ledger, key)
);
comment on table effect_ledger.entries is
    'History. The columns beside body are an index over it, which verification recomputes.';
comment on column effect_ledger.entries.kind is
    'effect: the original; refund, adjustment, explanation: forward corrections; notice: the ledger itself.';
comment on column effect_ledger.entries.type is 'Dotted code of what happened: card.capture.';
comment on column effect_ledger.entries.poster is 'Principal whose API key posted it.';
comment on column effect_ledger.entries.subject is
    'Business reference it is about: order/12345. Never a person.';
comment on column effect_ledger.entries.business_key is
    'What it is: invoice/123. A second one of its kind and type is refused without repeat_of.';
comment on column effect_ledger.entries.actor is 'Id of who caused it: a service, human or agent.';
comment on column effect_ledger.entries.currency is
    'Of its money, ISO 4217 or a unit the ledger declares; null where no money moved.';
comment on column effect_ledger.entries.occurred_at is 'When it happened, as the poster says.';
comment on column effect_ledger.entries.recorded_at is
    'When it was appended, by this database''s clock; never earlier than the entry before.';
comment on column effect_ledger.entries.corrects is
    'Entry this one corrects, also where the caller named it by its key.';
comment on column effect_ledger.entries.repeat_of is
    'Entry the caller knows to repeat; exempts this one from the business key rule.';
comment on column effect_ledger.entries.hash is
    'RFC 6962 leaf hash of body: chain link and Merkle leaf in one.';
comment on column effect_ledger.entries.body is 'The entry exactly as hashed (RFC 8785 JSON).';

create index entries_by_kind on effect_ledger.entries (ledger, kind, seq);
create index entries_by_type on effect_ledger.entries (ledger, type, seq);
create index entries_by_poster on effect_ledger.entries (ledger, poster, seq);
create index entries_by_subject on effect_ledger.entries (ledger, subject, seq)
    where subject is not null;
create index entries_by_business_key on effect_ledger.entries (ledger, business_key, seq)
    where business_key is not null;
create index entries_by_actor on effect_ledger.entries (ledger, actor, seq)
    where actor is not null;
create index entries_by_currency on effect_ledger.entries (ledger, currency, seq)
    where currency is not null;
create index entries_by_corrects on effect_ledger.entries (ledger, corrects, seq)
    where corrects is not null;
create index entries_by_recorded_at on effect_ledger.entries (ledger, recorded_at, seq);

create table effect_ledger.entry_terms (
    ledger text collate "C" not null,
    term   text collate "C" not null,
    seq    bigint not null,
    primary key (ledger, term, seq)
);
comment on table effect_ledger.entry_terms is
    'Index over the members an entry may carry many of: label:key:value, evidence:system:ref, cause:kind:ref.';

create table effect_ledger.tiles (
    ledger text collate "C" not null,
    level  smallint not null check (level between 0 and 7),
    idx    bigint not null check (idx >= 0),
    hashes bytea not null check (octet_length(hashes) = 8192),
    root   bytea not null check (octet_length(root) = 32),
    primary key (ledger, level, idx)
);
alter table effect_ledger.tiles alter column hashes set storage external;
comment on table effect_ledger.tiles is
    'Full tiles of the Merkle tree (C2SP tlog-tiles), inserted once; partial ones are range reads.';
comment on column effect_ledger.tiles.level is '0: hashes of entries; above: roots of tiles below.';
comment on column effect_ledger.tiles.idx is 'Position within its level, from 0.';
comment on column effect_ledger.tiles.hashes is '256 hashes of 32 bytes, left to right.';
comment on column effect_ledger.tiles.root is 'Root over hashes: one hash of the tile above.';

create table effect_ledger.payloads (
    ledger       text collate "C" not null,
    seq          bigint not null,
    name         text collate "C" not null,
    media_type   text not null,
    commitment   bytea not null check (octet_length(commitment) = 32),
    data_subject text collate "C" not null,
    sealed       bytea,
    primary key (ledger, seq, name)
);
comment on table effect_ledger.payloads is
    'Octets an entry commits to. Detachable: erasing them leaves every proof valid.';
comment on column effect_ledger.payloads.name is 'Name within its entry: note, message.';
comment on column effect_ledger.payloads.commitment is
    'What the entry says of it: SHA-256 over a purpose, a secret salt and the octets.';
comment on column effect_ledger.payloads.data_subject is
    'Whose data key seals this payload: the opaque id the poster gave, or entry:<id>.';
comment on column effect_ledger.payloads.sealed is
    'AES-256-GCM over salt and octets; null once erased.';

create table effect_ledger_keys.data_keys (
    ledger       text collate "C" not null,
    data_subject text collate "C" not null,
    wrapped      bytea not null,
    primary key (ledger, data_subject)
);
comment on table effect_ledger_keys.data_keys is
    'One data key per data subject, wrapped by the payload key. Deleting a row erases its payloads.';
comment on column effect_ledger_keys.data_keys.data_subject is 'As in payloads.';
comment on column effect_ledger_keys.data_keys.wrapped is
    'The data key under AES-256-GCM of the payload key, which is not in the database.';

-- Derived ----------------------------------------------------------------------------------------

create table effect_ledger.positions (
    ledger   text collate "C" not null,
    entry    uuid not null,
    currency text collate "C" not null,
    original numeric(38, 0) not null,
    adjusted numeric(38, 0) not null default 0,
    refunded numeric(38, 0) not null default 0,
    held     numeric(38, 0) not null default 0,
    excess   numeric(38, 0) default 0,
    primary key (ledger, entry, currency),
    constraint remainder check (refunded + held <= original + adjusted + excess)
);
comment on table effect_ledger.positions is
    'What is left of an entry with money, in minor units; a row from its first money correction on.';
comment on column effect_ledger.positions.entry is
    'The entry corrected: an effect, a refund or an adjustment.';
comment on column effect_ledger.positions.original is 'Its own amount.';
comment on column effect_ledger.positions.adjusted is 'Signed sum of the adjustments of it.';
comment on column effect_ledger.positions.refunded is
    'Sum of its refunds, each with its own adjustments counted in.';
comment on column effect_ledger.positions.held is 'Promised to open intents.';
comment on column effect_ledger.positions.excess is
    'Surplus that observed facts took beyond the remainder; null on adjustments, which nothing bounds.';

-- Who may post -----------------------------------------------------------------------------------

create table effect_ledger.principals (
    principal text collate "C" primary key,
    since     timestamptz not null default now()
);
comment on table effect_ledger.principals is
    'Durable identities that API keys belong to. Names are never reused: rows are never deleted.';

create table effect_ledger.api_keys (
    id          text collate "C" primary key,
    principal   text collate "C" not null references effect_ledger.principals,
    secret_hash bytea not null check (octet_length(secret_hash) = 32),
    scopes      text[] not null,
    ledgers     text[],
    created_at  timestamptz not null default now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);
comment on table effect_ledger.api_keys is
    'Keys that requests carry. They rotate under their principal; rows are kept once revoked.';
comment on column effect_ledger.api_keys.id is 'Public part of the key.';
comment on column effect_ledger.api_keys.principal is 'Whom entries posted with it name.';
comment on column effect_ledger.api_keys.scopes is 'Acts it is good for; * is every one.';
comment on column effect_ledger.api_keys.expires_at is 'Null: never.';
comment on column effect_ledger.api_keys.revoked_at is
    'Null: in force. Set once, and then the key opens nothing.';
comment on column effect_ledger.api_keys.secret_hash is
    'SHA-256 of a 256-bit random secret: nothing to guess, so nothing to stretch.';
comment on column effect_ledger.api_keys.ledgers is 'Null: all ledgers, present and future.';

create table effect_ledger.poster_keys (
    key_id       text collate "C" primary key,
    principal    text collate "C" not null references effect_ledger.principals,
    public_key   bytea not null check (octet_length(public_key) = 32),
    registry_seq bigint not null
);
comment on table effect_ledger.poster_keys is
    'Ed25519 keys posters sign their effects with, each announced by a key.added notice.';
comment on column effect_ledger.poster_keys.key_id is
    'Hash of principal and public key, as in a signed note; what signatures name.';
comment on column effect_ledger.poster_keys.registry_seq is
    'Where _registry holds the key.added notice.';

-- Verification jobs ------------------------------------------------------------------------------

create table effect_ledger.verifications (
    ledger      text collate "C" not null,
    id          uuid not null,
    mode        text not null check (mode in ('full', 'incremental')),
    state       text not null check (state in ('running', 'done', 'failed')),
    requested   jsonb not null,
    checked     bigint not null default 0,
    size        bigint not null,
    report      jsonb,
    started_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (ledger, id)
);
comment on table effect_ledger.verifications is
    'Verifications that were asked for, with their progress and what they found.';
comment on column effect_ledger.verifications.mode is
    'full: from the first entry; incremental: from where the last good one ended.';
comment on column effect_ledger.verifications.requested is
    'What it is held against: checkpoints kept elsewhere, signatures checked.';
comment on column effect_ledger.verifications.checked is 'Entries read so far.';
comment on column effect_ledger.verifications.size is 'Entries to read.';
comment on column effect_ledger.verifications.report is 'Null while it runs.';
comment on column effect_ledger.verifications.updated_at is
    'Last sign of life; a running one that gives none has lost its process.';
comment on column effect_ledger.verifications.state is
    'running -> done (a report stands) | failed (could not be finished; says why in report)';

-- Guards on the tables ---------------------------------------------------------------------------

do $$
declare
    guarded text;
begin
    foreach guarded in array array['ledgers', 'entries', 'entry_terms', 'tiles', 'poster_keys'] loop
        execute format(
            'create trigger append_only before update or delete on effect_ledger.%I '
            'for each row execute function effect_ledger.refuse_change()', guarded);
        execute format(
            'alter table effect_ledger.%I enable always trigger append_only', guarded);
    end loop;
    foreach guarded in array array['heads', 'published', 'positions', 'payloads', 'principals'] loop
        execute format(
            'create trigger no_delete before delete on effect_ledger.%I '
            'for each row execute function effect_ledger.refuse_change()', guarded);
        execute format(
            'alter table effect_ledger.%I enable always trigger no_delete', guarded);
    end loop;
    foreach guarded in array array[
        'ledgers', 'entries', 'entry_terms', 'tiles', 'poster_keys',
        'heads', 'published', 'positions', 'payloads', 'principals'
    ] loop
        execute format(
            'create trigger no_truncate before truncate on effect_ledger.%I '
            'for each statement execute function effect_ledger.refuse_change()', guarded);
        execute format(
            'alter table effect_ledger.%I enable always trigger no_truncate', guarded);
    end loop;
end $$;

create trigger only_grow before update on effect_ledger.heads
    for each row execute function effect_ledger.only_grow();
alter table effect_ledger.heads enable always trigger only_grow;

create trigger only_grow before update on effect_ledger.published
    for each row execute function effect_ledger.only_grow();
alter table effect_ledger.published enable always trigger only_grow;

create trigger erasure_only before update on effect_ledger.payloads
    for each row execute function effect_ledger.allow_erasure_only();
alter table effect_ledger.payloads enable always trigger erasure_only;

-- Grants, per table ------------------------------------------------------------------------------

revoke all on schema effect_ledger, effect_ledger_keys from public;
grant usage on schema effect_ledger
    to effect_ledger_writer, effect_ledger_reader, effect_ledger_eraser;
grant usage on schema effect_ledger_keys to effect_ledger_writer, effect_ledger_eraser;

grant select on effect_ledger.schema_versions to effect_ledger_writer, effect_ledger_reader;

grant select, insert on effect_ledger.ledgers, effect_ledger.entries, effect_ledger.entry_terms,
    effect_ledger.tiles, effect_ledger.payloads, effect_ledger.principals,
    effect_ledger.poster_keys to effect_ledger_writer;
grant select, insert, update on effect_ledger.heads, effect_ledger.published,
    effect_ledger.positions, effect_ledger.verifications to effect_ledger_writer;
grant select, insert, update (revoked_at) on effect_ledger.api_keys to effect_ledger_writer;
grant select, insert on effect_ledger_keys.data_keys to effect_ledger_writer;

grant select on effect_ledger.ledgers, effect_ledger.heads, effect_ledger.published,
    effect_ledger.entries, effect_ledger.entry_terms, effect_ledger.tiles,
    effect_ledger.positions, effect_ledger.verifications to effect_ledger_reader;
grant select (ledger, seq, name, media_type, commitment, data_subject)
    on effect_ledger.payloads to effect_ledger_reader;

grant select (ledger, seq, name, data_subject), update (sealed)
    on effect_ledger.payloads to effect_ledger_eraser;
grant select (ledger, data_subject), delete on effect_ledger_keys.data_keys
    to effect_ledger_eraser;

-- Finance's room. Rows are added and never changed; only a job's progress is.

create table effect_ledger.recon_sources (
    ledger     text collate "C" not null,
    name       text collate "C" not null,
    version    integer not null check (version > 0),
    document   jsonb not null,
    created_at timestamptz not null default now(),
    created_by text collate "C" not null,
    primary key (ledger, name, version)
);
comment on table effect_ledger.recon_sources is
    'Accounts at providers and banks, and how their files are read and compared. A change is a new version.';
comment on column effect_ledger.recon_sources.name is 'As people call it, such as stripe-eur.';
comment on column effect_ledger.recon_sources.version is 'From 1; the newest one counts for new imports and runs.';
comment on column effect_ledger.recon_sources.document is 'All settings.';
comment on column effect_ledger.recon_sources.created_by is 'Principal.';

create table effect_ledger.recon_imports (
    ledger         text collate "C" not null,
    id             uuid not null,
    source         text collate "C" not null,
    source_version integer not null,
    filename       text not null,
    sha256         bytea not null check (octet_length(sha256) = 32),
    content        bytea not null,
    status         text collate "C" not null
        check (status in ('accepted', 'quarantined', 'rejected')),
    document       jsonb not null,
    lines          bigint not null,
    added          bigint not null,
    received_at    timestamptz not null default now(),
    received_by    text collate "C" not null,
    primary key (ledger, id)
);
create index recon_imports_by_source on effect_ledger.recon_imports (ledger, source, sha256);
comment on table effect_ledger.recon_imports is
    'Files as they came, and what became of each. A row is the last thing an import writes: lines without one do not count.';
comment on column effect_ledger.recon_imports.source is 'Name of the source.';
comment on column effect_ledger.recon_imports.source_version is 'Version it was read with.';
comment on column effect_ledger.recon_imports.filename is 'As it was sent; says nothing.';
comment on column effect_ledger.recon_imports.sha256 is 'Of content.';
comment on column effect_ledger.recon_imports.content is 'The file, byte for byte.';
comment on column effect_ledger.recon_imports.status is
    'accepted; quarantined (counts for nothing until a decision overrides it); rejected (has no lines).';
comment on column effect_ledger.recon_imports.document is
    'Format, parser, findings, and its statements without their lines.';
comment on column effect_ledger.recon_imports.lines is 'Lines of the file.';
comment on column effect_ledger.recon_imports.added is 'Lines that no earlier import had.';
comment on column effect_ledger.recon_imports.received_at is 'By the database''s clock.';
comment on column effect_ledger.recon_imports.received_by is 'Principal.';

create table effect_ledger.recon_lines (
    ledger   text collate "C" not null,
    import   uuid not null,
    ordinal  bigint not null check (ordinal >= 0),
    line     text collate "C" not null,
    said     bytea not null check (octet_length(said) = 16),
    booked   date not null,
    document jsonb not null,
    primary key (ledger, import, ordinal)
);
create index recon_lines_by_line on effect_ledger.recon_lines (ledger, line);
comment on table effect_ledger.recon_lines is 'Lines of statements in one shape, as each file has them.';
comment on column effect_ledger.recon_lines.import is 'Id of its import.';
comment on column effect_ledger.recon_lines.ordinal is 'Zero-based, over all statements of the file.';
comment on column effect_ledger.recon_lines.line is
    'Names the movement: the same in every file that has it, and another for a second one like it.';
comment on column effect_ledger.recon_lines.said is
    'Hash of what it says: another one under the same name is a restated line.';
comment on column effect_ledger.recon_lines.booked is 'Day, as the source counts days.';
comment on column effect_ledger.recon_lines.document is 'Everything else, raw values and place in the file included.';

create table effect_ledger.recon_decisions (
    ledger   text collate "C" not null,
    id       uuid not null,
    made_at  timestamptz not null default now(),
    made_by  text collate "C" not null,
    act      text collate "C" not null check (act in ('override', 'match', 'unmatch', 'signoff')),
    document jsonb not null,
    primary key (ledger, id)
);
comment on table effect_ledger.recon_decisions is 'What people decided, in the order of their time; the later one counts.';
comment on column effect_ledger.recon_decisions.made_at is 'By the database''s clock.';
comment on column effect_ledger.recon_decisions.made_by is 'Principal.';
comment on column effect_ledger.recon_decisions.act is
    'override: a quarantined import counts; match, unmatch: items belong together, or not; signoff: a statement is signed.';
comment on column effect_ledger.recon_decisions.document is 'About what, with the reason.';

create table effect_ledger.recon_runs (
    ledger        text collate "C" not null,
    id            uuid not null,
    input         jsonb not null,
    input_digest  bytea not null check (octet_length(input_digest) = 32),
    output        jsonb not null,
    output_digest bytea not null check (octet_length(output_digest) = 32),
    started_at    timestamptz not null,
    started_by    text collate "C" not null,
    primary key (ledger, id)
);
comment on table effect_ledger.recon_runs is
    'Reconciliations that ended. A row is the last thing a run writes: standings without one do not count.';
comment on column effect_ledger.recon_runs.input is
    'Period, day, sources, imports, rules, and the checkpoint of the ledger: all that decides about the output.';
comment on column effect_ledger.recon_runs.input_digest is 'SHA-256 over everything that was compared.';
comment on column effect_ledger.recon_runs.output is 'Statement and measures.';
comment on column effect_ledger.recon_runs.output_digest is 'SHA-256 over all standings: the same input gives the same.';
comment on column effect_ledger.recon_runs.started_by is 'Principal.';

create table effect_ledger.recon_standings (
    ledger      text collate "C" not null,
    run         uuid not null,
    ordinal     bigint not null check (ordinal >= 0),
    state       text collate "C" not null,
    fingerprint text collate "C" not null,
    document    jsonb not null,
    primary key (ledger, run, ordinal)
);
create index recon_standings_by_fingerprint
    on effect_ledger.recon_standings (ledger, run, fingerprint);
comment on table effect_ledger.recon_standings is 'Where every item of a run stands: each in exactly one row of a leg.';
comment on column effect_ledger.recon_standings.run is 'Id of the run.';
comment on column effect_ledger.recon_standings.ordinal is 'In the order of the run.';
comment on column effect_ledger.recon_standings.state is 'matched, amount_mismatch, ...; see ledger.recon.states.';
comment on column effect_ledger.recon_standings.fingerprint is 'What it is about, the same in every run.';
comment on column effect_ledger.recon_standings.document is 'Items, reason, match and suggestions.';

create table effect_ledger.recon_breaks (
    ledger      text collate "C" not null,
    id          uuid not null,
    fingerprint text collate "C" not null,
    created_at  timestamptz not null default now(),
    primary key (ledger, id),
    unique (ledger, fingerprint)
);
comment on table effect_ledger.recon_breaks is 'Differences that a person has to close; one row each, however many runs see it.';
comment on column effect_ledger.recon_breaks.fingerprint is 'Of the standing that raised it.';

create table effect_ledger.recon_events (
    ledger   text collate "C" not null,
    break    uuid not null,
    ordinal  integer not null check (ordinal >= 0),
    at       timestamptz not null default now(),
    actor    text collate "C" not null,
    action   text collate "C" not null,
    document jsonb not null,
    primary key (ledger, break, ordinal)
);
comment on table effect_ledger.recon_events is 'The life of each break; what it is now is a fold over these.';
comment on column effect_ledger.recon_events.break is 'Id of the break.';
comment on column effect_ledger.recon_events.ordinal is 'Zero-based; two that act at once cannot both be the next.';
comment on column effect_ledger.recon_events.at is 'By the database''s clock.';
comment on column effect_ledger.recon_events.actor is 'Principal; of what a run saw, who started it.';
comment on column effect_ledger.recon_events.action is
    'opened, changed, assigned, proposed, approved, rejected, closed, reopened, carried_forward.';
comment on column effect_ledger.recon_events.document is 'With what: note, entry, state, run.';

create table effect_ledger.recon_requests (
    ledger  text collate "C" not null,
    key     text collate "C" not null,
    asked   bytea not null check (octet_length(asked) = 32),
    answer  jsonb not null,
    primary key (ledger, key)
);
comment on table effect_ledger.recon_requests is 'Requests that were answered, by principal and idempotency key.';
comment on column effect_ledger.recon_requests.asked is 'SHA-256 of the request: the same key with another one is refused.';
comment on column effect_ledger.recon_requests.answer is 'What was answered, and is again.';

create table effect_ledger.recon_jobs (
    ledger     text collate "C" not null,
    id         uuid not null,
    state      text collate "C" not null check (state in ('running', 'done', 'failed')),
    step       text not null,
    done       bigint not null default 0,
    error      text,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (ledger, id)
);
comment on table effect_ledger.recon_jobs is 'Runs on their way, with their progress.';
comment on column effect_ledger.recon_jobs.state is
    'running -> done (the run stands in recon_runs) | failed (error says why).';
comment on column effect_ledger.recon_jobs.step is 'What it is at, for people.';
comment on column effect_ledger.recon_jobs.done is 'How many of what step names.';
comment on column effect_ledger.recon_jobs.error is 'Null unless it failed.';
comment on column effect_ledger.recon_jobs.updated_at is
    'Last sign of life; a running one that gives none has lost its process.';

-- Guards and grants ------------------------------------------------------------------------------

do $$
declare
    guarded text;
begin
    foreach guarded in array array[
        'recon_sources', 'recon_imports', 'recon_lines', 'recon_decisions', 'recon_runs',
        'recon_standings', 'recon_breaks', 'recon_events', 'recon_requests'
    ] loop
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
        execute format(
            'grant select, insert on effect_ledger.%I to effect_ledger_writer', guarded);
    end loop;
end $$;

grant select, insert, update on effect_ledger.recon_jobs to effect_ledger_writer;

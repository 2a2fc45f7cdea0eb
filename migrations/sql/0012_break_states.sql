-- What each break is now, beside the events that say so, and the orders in which finance's lists
-- are read. Before this a page of breaks read every event of every break.

create table effect_ledger.recon_break_states (
    ledger     text collate "C" not null,
    break      uuid not null,
    created_at timestamptz not null,
    status     text collate "C" not null
        check (status in ('open', 'assigned', 'proposed', 'approved', 'closed')),
    state      text collate "C" not null,
    owner      text collate "C",
    age_basis  date not null,
    primary key (ledger, break)
);
comment on table effect_ledger.recon_break_states is
    'What each break is now: kept by a trigger on recon_events, which remain what counts. Lists find their rows by it and show the fold over the events.';
comment on column effect_ledger.recon_break_states.break is 'Id of the break.';
comment on column effect_ledger.recon_break_states.status is 'open, assigned, proposed, approved or closed.';
comment on column effect_ledger.recon_break_states.state is 'As the newest run that saw it says, such as missing_in_ledger.';
comment on column effect_ledger.recon_break_states.owner is 'Principal it is assigned to.';
comment on column effect_ledger.recon_break_states.age_basis is 'Day from which its age counts.';

-- Read by the list of breaks: without `status`, and with it.
create index recon_break_states_unclosed on effect_ledger.recon_break_states
    (ledger, created_at, break) where status <> 'closed';
create index recon_break_states_by_status on effect_ledger.recon_break_states
    (ledger, status, created_at, break);

-- Read by the list of imports: all of them, those of a source, those that became one thing.
create index recon_imports_in_order on effect_ledger.recon_imports (ledger, received_at, id);
create index recon_imports_of_source on effect_ledger.recon_imports
    (ledger, source, received_at, id);
create index recon_imports_by_status on effect_ledger.recon_imports
    (ledger, status, received_at, id);
-- Read by whatever shows imports: which quarantined ones count all the same.
create index recon_decisions_overriding on effect_ledger.recon_decisions
    (ledger, (document->>'import')) where act = 'override';

-- The fold of ledger.recon.breaks, as far as lists ask for it.
create function effect_ledger.recon_state_of(asked_ledger text, asked_break uuid)
returns setof effect_ledger.recon_break_states
language sql stable set search_path = pg_catalog, pg_temp as $$
    select b.ledger, b.id, b.created_at,
        case
            when step.action in ('approved', 'closed') then step.action
            when step.action = 'proposed' and not exists (
                select from effect_ledger.recon_events e
                where e.ledger = b.ledger and e.break = b.id and e.ordinal > step.ordinal
                    and e.action = 'changed') then step.action
            when given.owner is null then 'open'
            else 'assigned'
        end,
        seen.state, given.owner, seen.age_basis
    from effect_ledger.recon_breaks b
    cross join lateral (
        select e.action, e.ordinal from effect_ledger.recon_events e
        where e.ledger = b.ledger and e.break = b.id and e.action in
            ('opened', 'proposed', 'approved', 'rejected', 'closed', 'reopened')
        order by e.ordinal desc limit 1) step
    cross join lateral (
        select e.document->'seen'->>'state' as state,
            (e.document->'seen'->>'age_basis')::pg_catalog.date as age_basis
        from effect_ledger.recon_events e
        where e.ledger = b.ledger and e.break = b.id
            and e.action in ('opened', 'changed', 'reopened')
        order by e.ordinal desc limit 1) seen
    left join lateral (
        select e.document->>'to' as owner from effect_ledger.recon_events e
        where e.ledger = b.ledger and e.break = b.id and e.action = 'assigned'
        order by e.ordinal desc limit 1) given on true
    where b.ledger = asked_ledger and b.id = asked_break
$$;
comment on function effect_ledger.recon_state_of(text, uuid) is
    'What a break is after all its events; no row without any.';
revoke execute on function effect_ledger.recon_state_of(text, uuid) from public;

-- Whoever may add an event may not set a state by hand. Unless pg_temp is named last it is searched
-- first, and a type that the session made there would run its checks with the owner's rights.
create function effect_ledger.keep_break_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into effect_ledger.recon_break_states
    select * from effect_ledger.recon_state_of(new.ledger, new.break)
    on conflict (ledger, break) do update set
        status = excluded.status, state = excluded.state,
        owner = excluded.owner, age_basis = excluded.age_basis;
    return null;
end $$;
comment on function effect_ledger.keep_break_state() is
    'Keeps recon_break_states in the transaction that adds an event.';
revoke execute on function effect_ledger.keep_break_state() from public;

-- No event may come between the fill and the trigger. In the order in which writers take them.
lock table effect_ledger.recon_breaks, effect_ledger.recon_events in share row exclusive mode;
insert into effect_ledger.recon_break_states
select s.* from effect_ledger.recon_breaks b
cross join lateral effect_ledger.recon_state_of(b.ledger, b.id) s;

create trigger break_state after insert on effect_ledger.recon_events
    for each row execute function effect_ledger.keep_break_state();
alter table effect_ledger.recon_events enable always trigger break_state;

grant select on effect_ledger.recon_break_states to effect_ledger_writer;

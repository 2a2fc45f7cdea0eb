"""
Table: the outbox as the service's own database has it, and everything that is said to it.

    waiting --> handed_off        recorded: an entry of the ledger, and its receipt proves it
       |  ^
       v  | released
     parked --> withdrawn         refused by the ledger, not in history, and a person decides

Per subject, rows go in the order of their ids. That is the order of commits: in PostgreSQL a lock
per subject is held from before the id is drawn to the commit, in SQLite there is one writer at a
time. No mark of a highest id seen is kept anywhere, so a row that is committed late is not skipped.
"""

from __future__ import annotations

from typing import Final

from ledger.client.outbox.link import Dialect

NAME: Final = "effect_ledger_outbox"

_TABLE = """\
create table if not exists effect_ledger_outbox (
    id         {id},
    ledger     {name} not null,
    -- Rows of one subject are handed off in the order of their ids; those without, in any.
    subject    {name},
    kind       {name} not null,
    -- Key of the entry that this one corrects, where it is named by its key.
    target     {name},
    -- Idempotency key: fixed here, so that sending it again is safe for ever.
    key        {name} not null,
    -- What is sent, as JSON.
    body       text not null,
    added_at   {time} not null default {now},
    -- waiting -> handed_off; waiting -> parked -> waiting or withdrawn.
    state      {name} not null default 'waiting'
               check (state in ('waiting', 'parked', 'handed_off', 'withdrawn')),
    -- How often a relay took it, save where it certainly was not sent.
    tries      integer not null default 0,
    -- The relay that has it now.
    lease      {name},
    -- Not taken before: until then a relay has it, or it rests.
    not_before {time},
    -- When a try of it was last seen to have no answer that says whether it is history.
    doubted_at {time},
    -- What stood in its way last, as JSON.
    problem    text,
    -- Why a person released or withdrew it, as JSON.
    decision   text,
    -- The entry that it became, and the receipt that proves it, as JSON.
    entry_id   {uuid},
    seq        {number},
    receipt    text,
    unique (ledger, key)
);
create index if not exists effect_ledger_outbox_waiting
    on effect_ledger_outbox (id) where state = 'waiting';
create index if not exists effect_ledger_outbox_held
    on effect_ledger_outbox (ledger, subject, id)
    where state = 'parked'
       or (state = 'waiting' and (not_before is not null or target is not null));
"""

_POSTGRESQL = _TABLE.format(
    id="bigint generated always as identity primary key",
    number="bigint",
    name='text collate "C"',
    uuid="uuid",
    time="timestamptz",
    now="now()",
)
_SQLITE = _TABLE.format(
    id="integer primary key autoincrement",
    number="integer",
    name="text",
    uuid="text",
    time="text",
    now="(strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')",
)

DDL: Final[dict[Dialect, str]] = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
"""Statements that make the table, each ended by a semicolon; safe to repeat."""

# ---- The service's transaction --------------------------------------------------------

# Held to the end of the transaction. Ids of a subject are drawn under it, so that they are in
# the order of commits; without it a later id could be seen first, and be handed off first.
LOCK_SUBJECT: Final = """
select pg_advisory_xact_lock(
    hashtextextended(:subject, hashtextextended(:ledger, cast(:seed as bigint)))
)
"""
LOCK_SEED: Final = 0x0B0C
# A key that another transaction has just used is waited for, and nothing fails.
INSERT: Final = """
insert into effect_ledger_outbox (ledger, subject, kind, target, key, body)
values (:ledger, :subject, :kind, :target, :key, :body)
on conflict (ledger, key) do nothing
returning id
"""
SELECT_BY_KEY: Final = """
select id, body, state from effect_ledger_outbox where ledger = :ledger and key = :key
"""

# ---- The relay ------------------------------------------------------------------------

# One take at a time. Skipping rows that others have locked would be the trap: a later row of a
# subject would be free while the take of an earlier one is not yet committed.
LOCK_TAKE: Final = """
select pg_advisory_xact_lock(
    hashtextextended('take', cast(cast('effect_ledger_outbox' as regclass) as bigint))
)
"""

# A row is due where nobody has it and it does not rest, no row before it in its subject is held,
# and what it corrects is handed off, or goes before it in the same subject. Held is what is
# parked, what rests, what a relay has, and what waits for a row of another subject, whatever that
# one waits for; so no row is due while one before it in its subject is not. What is due of a
# subject is the beginning of what is left of it, and a limit by rows or octets takes the beginning
# of that.
_TAKE: Final = """
with held as (
    select late.ledger, late.subject, min(late.id) as since
    from effect_ledger_outbox late
    where (late.state = 'parked'
           or (late.state = 'waiting' and (late.not_before is not null or late.target is not null)))
      and late.subject is not null
      and (late.state = 'parked' or late.not_before > :now or exists (
          select 1 from effect_ledger_outbox corrected
          where corrected.ledger = late.ledger and corrected.key = late.target
            and corrected.id < late.id and corrected.state in ('waiting', 'parked')
            and (corrected.subject = late.subject) is not true
      ))
    group by late.ledger, late.subject
),
due as (
    select waiting.id, {octets} as octets
    from effect_ledger_outbox waiting
    left join held on held.ledger = waiting.ledger and held.subject = waiting.subject
    where waiting.state = 'waiting'
      and (waiting.not_before is null or waiting.not_before <= :now)
      and (held.since is null or waiting.id < held.since)
      and not exists (
          select 1 from effect_ledger_outbox corrected
          where corrected.ledger = waiting.ledger and corrected.key = waiting.target
            and corrected.id < waiting.id and corrected.state in ('waiting', 'parked')
            and (corrected.subject = waiting.subject) is not true
      )
      {rested}
    order by waiting.id
    limit :rows_max
),
fits as (
    select id, sum(octets) over (order by id) - octets as ahead from due
)
update effect_ledger_outbox
set lease = :lease, not_before = :until, tries = tries + 1,
    -- Whoever had it before did not come back to say what became of it.
    doubted_at = case when lease is null then doubted_at else :now end
where state = 'waiting' and id in (select id from fits where ahead < :octets_max)
returning id, ledger, subject, target, key, body, tries,
    doubted_at is not null, coalesce(doubted_at > :underway_since, false)
"""
_OCTETS: Final[dict[Dialect, str]] = {
    "postgresql": "octet_length(waiting.body)",
    "sqlite": "length(cast(waiting.body as blob))",
}

# What is in history is in history, whoever has the row by now and whatever was decided about it.
HAND_OFF: Final = """
update effect_ledger_outbox
set state = 'handed_off', lease = null, not_before = null, doubted_at = null, problem = null,
    entry_id = {uuid}, seq = :seq, receipt = :receipt
where id = :id and state <> 'handed_off'
"""
# Parked or put back is only what one still has: another relay may be sending it by now.
PARK: Final = """
update effect_ledger_outbox
set state = 'parked', lease = null, not_before = null, doubted_at = null, problem = :problem
where id = :id and state = 'waiting' and lease = :lease
"""
PUT_BACK: Final = """
update effect_ledger_outbox
set lease = null, not_before = :until, problem = coalesce(:problem, problem),
    doubted_at = coalesce(:doubted_at, doubted_at), tries = tries - :unsent
where id = :id and state = 'waiting' and lease = :lease
"""
PRUNE: Final = """
delete from effect_ledger_outbox where id in (
    select id from effect_ledger_outbox
    where state = 'handed_off' and added_at < :before order by id limit :rows_max
)
"""

# ---- People ---------------------------------------------------------------------------

COUNT: Final = """
select ledger, state, count(*), min(added_at) from effect_ledger_outbox
group by ledger, state order by ledger, state
"""
# What waits behind a row that is parked: later in its subject, or for it as what is corrected, or
# behind another that does.
COUNT_BEHIND: Final = """
with recursive stuck as (
    select id, ledger, subject from effect_ledger_outbox where state = 'parked'
    union
    select correction.id, correction.ledger, correction.subject
    from stuck
    join effect_ledger_outbox corrected
      on corrected.ledger = stuck.ledger and corrected.state in ('waiting', 'parked')
     and (corrected.id = stuck.id
          or (corrected.subject = stuck.subject and corrected.id > stuck.id))
    join effect_ledger_outbox correction
      on correction.ledger = corrected.ledger and correction.target = corrected.key
     and correction.state = 'waiting' and correction.id > corrected.id
),
since as (
    select ledger, subject, min(id) as id from stuck where subject is not null
    group by ledger, subject
)
select count(*) from effect_ledger_outbox waiting
left join since on since.ledger = waiting.ledger and since.subject = waiting.subject
where waiting.state = 'waiting'
  and (waiting.id > since.id or waiting.id in (select id from stuck))
"""
SELECT_PARKED: Final = """
select id, ledger, subject, kind, key, added_at, tries, problem from effect_ledger_outbox
where state = 'parked' order by id limit :rows_max
"""
SELECT_TROUBLED: Final = """
select id, ledger, subject, kind, key, added_at, tries, problem from effect_ledger_outbox
where state = 'waiting' and problem is not null order by id limit :rows_max
"""
SELECT_LEDGERS: Final = """
select distinct ledger from effect_ledger_outbox where key = :key order by ledger
"""
RELEASE: Final = """
update effect_ledger_outbox
set state = 'waiting', lease = null, not_before = null, decision = :decision
where ledger = :ledger and key = :key and state = 'parked'
returning id
"""
# Only what is known not to be in history: refused, and not there if an earlier try of it had no
# answer; or no relay has it, and each try of it was answered that nothing was recorded, as for a
# ledger that is not there. Of what else was sent nobody knows, and a relay finds out.
WITHDRAW: Final = """
update effect_ledger_outbox
set state = 'withdrawn', lease = null, not_before = null, decision = :decision
where ledger = :ledger and key = :key
  and (state = 'parked' or (state = 'waiting' and lease is null and doubted_at is null))
returning id
"""


def take_statement(dialect: Dialect, rested: int) -> str:
    """
    Take what is due, in order.

    Args:
        dialect: Of the database.
        rested: Of how many ledgers nothing is taken; they are `:rested0` and so on.
    """
    names = ", ".join(f":rested{at}" for at in range(rested))
    return _TAKE.format(
        octets=_OCTETS[dialect],
        rested=f"and waiting.ledger not in ({names})" if rested else "",
    )


def hand_off_statement(dialect: Dialect) -> str:
    """Note what a row became."""
    return HAND_OFF.format(
        uuid="cast(:entry_id as uuid)" if dialect == "postgresql" else ":entry_id"
    )

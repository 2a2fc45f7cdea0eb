"""History refuses UPDATE, DELETE and TRUNCATE, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from ledger.storage.database import OWNER, READER, WRITER, connect
from tests.faults.attacks import LEDGER

# Table -> what nobody may do to its rows. Heads, checkpoints and positions move, payloads
# are erased, stops are lifted; each by its own rule below.
PERMANENT = (
    *("ledgers", "entries", "entry_terms", "tiles", "poster_keys", "cosigned"),
    *("intent_events", "periods", "period_checkpoints", "accesses"),
    *("statements", "retired_poster_keys", "registered", "timestamped"),
    *("recon_sources", "recon_imports", "recon_lines", "recon_decisions", "recon_runs"),
    *("recon_standings", "recon_breaks", "recon_events", "recon_requests"),
)
KEPT = (
    *("heads", "published", "positions", "payloads", "principals", "stops", "intents"),
    "api_keys",
)


GUARDED = "guarded"
"""No ledger that anybody verifies: these rows fit no entry."""


ROWS = (
    "insert into registered values (%s, 1, 1, 'note')",
    (
        "insert into timestamped (ledger, size, stated_at, note, token)"
        " values (%s, 1, now(), 'note', 'token')"
    ),
    (
        "insert into recon_sources (ledger, name, version, document, created_by)"
        " values (%s, 'stripe', 1, '{}', 'p')"
    ),
    (
        "insert into recon_imports (ledger, id, source, source_version, filename, sha256, content,"
        " status, document, lines, added, received_by) values (%s, gen_random_uuid(), 's', 1, 'f',"
        " decode(repeat('00', 32), 'hex'), '', 'accepted', '{}', 0, 0, 'p')"
    ),
    (
        "insert into recon_lines values (%s, gen_random_uuid(), 0, 'l',"
        " decode(repeat('00', 16), 'hex'), '2026-03-01', '{}')"
    ),
    (
        "insert into recon_decisions (ledger, id, made_by, act, document)"
        " values (%s, gen_random_uuid(), 'p', 'match', '{}')"
    ),
    (
        "insert into recon_runs values (%s, gen_random_uuid(), '{}',"
        " decode(repeat('00', 32), 'hex'), '{}', decode(repeat('00', 32), 'hex'), now(), 'p')"
    ),
    "insert into recon_standings values (%s, gen_random_uuid(), 0, 's', 'f', '{}')",
    "insert into recon_breaks (ledger, id, fingerprint) values (%s, gen_random_uuid(), 'f')",
    (
        "insert into recon_events (ledger, break, ordinal, actor, action, document)"
        " values (%s, gen_random_uuid(), 0, 'p', 'opened', '{}')"
    ),
    "insert into recon_requests values (%s, 'k', decode(repeat('00', 32), 'hex'), '{}')",
)


@pytest.fixture(scope="module", autouse=True)
def rows_to_guard(attacked, conninfo) -> None:
    """What a witness said, and an intent: guards that act row by row need a row."""
    assert attacked.record.name == LEDGER
    with connect(conninfo, WRITER) as connection:
        connection.execute(
            "insert into cosigned (ledger, size, reached_at, note) values (%s, 1, now(), 'note')",
            [GUARDED],
        )
        connection.execute(
            "insert into stops (ledger, code, message, details) values (%s, 'forked', 'x', '{}')",
            [GUARDED],
        )
        connection.execute(
            "insert into periods (ledger, seq, id, name, from_at, to_at, from_seq)"
            " values (%s, 0, gen_random_uuid(), 'p', now() - interval '1 day', now(), 0)",
            [GUARDED],
        )
        connection.execute(
            "insert into period_checkpoints (ledger, seq, size, note) values (%s, 0, 1, 'note')",
            [GUARDED],
        )
        connection.execute(
            "insert into accesses (ledger, id, principal, key_id, act, data, because)"
            " values (%s, gen_random_uuid(), 'p', 'k', 'export.issued', '{}', 'x')",
            [GUARDED],
        )
        connection.execute(
            "insert into intents (ledger, id, key, kind, type, state, on_silence, promised_at,"
            " answer_by, is_reserving, events) values (%s, gen_random_uuid(), 'k', 'effect', 't',"
            " 'promised', 'ask', now(), now(), false, 1)",
            [GUARDED],
        )
        connection.execute(
            "insert into intent_events (ledger, intent, number, body)"
            " select ledger, id, 0, 'body' from intents where ledger = %s",
            [GUARDED],
        )
        connection.execute(
            "insert into statements (ledger, finished_at, id, mode, size, good, note)"
            " values (%s, now(), gen_random_uuid(), 'full', 1, true, 'note')",
            [GUARDED],
        )
        for statement in ROWS:
            connection.execute(statement, [GUARDED])
        connection.execute("insert into principals values ('revoked') on conflict do nothing")
        connection.execute(
            "insert into poster_keys values ('guarded', 'revoked', %s, 0)", [bytes(32)]
        )
        connection.execute("insert into retired_poster_keys values ('guarded', 1)")
        connection.execute(
            "insert into api_keys (id, principal, secret_hash, scopes, revoked_at)"
            " values ('revoked', 'revoked', %s, '{*}', now())",
            [bytes(32)],
        )


@pytest.fixture(params=["superuser", "superuser as replica", "owner"])
def strong(request, attacked, conninfo, as_superuser) -> Iterator[psycopg.Connection]:
    """Someone whom no privilege stops."""
    assert attacked.record.name == LEDGER
    if request.param == "owner":
        with connect(conninfo, OWNER) as connection:
            yield connection
        return
    role = "replica" if request.param.endswith("replica") else "origin"
    as_superuser.execute(f"set session_replication_role = {role}")
    yield as_superuser
    as_superuser.execute("set session_replication_role = origin")


def any_column(connection, table):
    [(column,)] = connection.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum = 1", (table,)
    ).fetchall()
    return column


@pytest.mark.parametrize("table", PERMANENT)
def test_rows_of_history_are_never_updated(strong, table):
    column = any_column(strong, table)

    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        strong.execute(f"update {table} set {column} = {column}")


@pytest.mark.parametrize("table", PERMANENT + KEPT)
def test_rows_are_never_deleted(strong, table):
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        strong.execute(f"delete from {table}")


@pytest.mark.parametrize("table", PERMANENT + KEPT)
def test_tables_are_never_truncated(strong, table):
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        strong.execute(f"truncate {table} cascade")


@pytest.mark.parametrize("table", ["heads", "published"])
def test_what_grows_never_shrinks(strong, table):
    with pytest.raises(psycopg.errors.RestrictViolation, match="would shrink"):
        strong.execute(f"update {table} set size = size - 1 where size > 0")


def test_a_payload_is_erased_and_never_edited(strong):
    with pytest.raises(psycopg.errors.RestrictViolation, match="erased, not edited"):
        strong.execute("update payloads set media_type = 'text/html'")
    with pytest.raises(psycopg.errors.RestrictViolation, match="erased, not edited"):
        strong.execute("update payloads set sealed = '\\x00'")


def test_a_stop_is_lifted_once_and_never_edited(strong):
    with pytest.raises(psycopg.errors.RestrictViolation, match="lifted, once, and not edited"):
        strong.execute("update stops set message = 'never mind'")
    with strong.transaction(force_rollback=True):
        lift = "update stops set lifted_at = now(), lifted_because = 'restored'"
        assert strong.execute(lift).rowcount == 1
        with pytest.raises(psycopg.errors.RestrictViolation, match="lifted, once, and not edited"):
            strong.execute(lift)


REACHES = {
    "revoked no more": "revoked_at = null",
    "revoked at another time": "revoked_at = now() + interval '1 day'",
    "for more": "scopes = '{admin}'",
    "for others": "principal = 'checkout'",
    "with another secret": "secret_hash = '\\x00'",
}


@pytest.mark.parametrize("reach", REACHES)
def test_a_key_is_revoked_once_and_never_edited(strong, reach):
    """Whoever has a key revoked may rely on it."""
    with pytest.raises(psycopg.errors.RestrictViolation, match="revoked, once, and not edited"):
        strong.execute(f"update api_keys set {REACHES[reach]} where id = 'revoked'")


def test_every_table_of_the_schema_has_a_rule(as_superuser):
    """A table that holds history cannot be added without a guard."""
    rows = as_superuser.execute(
        "select relname from pg_class "
        "where relnamespace = 'effect_ledger'::regnamespace and relkind in ('r', 'p')"
    ).fetchall()
    free = {"verifications", "exports", "recon_jobs", "recon_break_states", "schema_versions"}

    assert {name for (name,) in rows} == {*PERMANENT, *KEPT} | free


MOVED = ("heads", "published", "positions")
DEEDS = {
    "delete": "delete from {0}",
    "truncate": "truncate {0}",
    "update": "update {0} set {1} = {1}",
}


@pytest.mark.usefixtures("attacked")
@pytest.mark.parametrize(
    ("role", "table", "deed"),
    [
        (role, table, deed)
        for role in (WRITER, READER)
        for table in PERMANENT + KEPT
        for deed in DEEDS
        # The writer moves these; the triggers above and the positions' check hold them.
        if (role, deed, table in MOVED) != (WRITER, "update", True)
    ],
)
def test_no_role_of_the_service_has_the_privilege(conninfo, as_superuser, role, table, deed):
    statement = DEEDS[deed].format(table, any_column(as_superuser, table))

    with (
        connect(conninfo, role) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


WAYS_AROUND = {
    "replica": "set session_replication_role = replica",
    "disable": "alter table entries disable trigger append_only",
    "drop-trigger": "drop trigger append_only on entries",
    "drop-table": "drop table entries",
    "disarm": "create or replace function refuse_change() returns trigger "
    "language plpgsql as 'begin return new; end'",
}


@pytest.mark.usefixtures("attacked")
@pytest.mark.parametrize("way", WAYS_AROUND)
def test_the_writer_has_no_way_around_the_guards(conninfo, way):
    with (
        connect(conninfo, WRITER) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(WAYS_AROUND[way])

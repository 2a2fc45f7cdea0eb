"""What the migrations make of an empty database is what the code and its guards rely on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, Inspector, Table, create_engine, inspect
from sqlalchemy.dialects import postgresql

import migrations
from ledger.storage.database import ERASER, OWNER, READER, WRITER
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.schema import newest_version
from ledger.storage.tables import metadata

SCHEMAS = ("effect_ledger", "effect_ledger_keys")
DIALECT = postgresql.dialect()
# Kept by the migrations themselves, and read by nothing else.
VERSION_TABLE = "effect_ledger.schema_versions"


def named(table: Table) -> str:
    return f"{table.schema}.{table.name}"


TABLES = {named(table): table for table in metadata.sorted_tables}


@pytest.fixture(scope="module")
def engine(migrated) -> Iterator[Engine]:
    made = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(migrated.conninfo(SUPERUSER))
    )
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def schema(engine) -> Inspector:
    return inspect(engine)


# ---- Migrations and tables.py ---------------------------------------------------------


def test_the_newest_version_is_the_end_of_the_chain():
    """A file that is numbered last and follows another would never be asked for."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_heads() == [newest_version()]


def test_tables_of_the_code_are_those_of_the_database(schema):
    found = {f"{name}.{table}" for name in SCHEMAS for table in schema.get_table_names(name)}

    assert found == {*TABLES, VERSION_TABLE}


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_the_same_in_code_and_database(schema, name):
    """Names, order, types and whether they may be null."""
    table = TABLES[name]

    expected = [(each.name, type_of(each.type), each.nullable) for each in table.columns]
    found = [
        (each["name"], type_of(each["type"]), each["nullable"])
        for each in schema.get_columns(table.name, table.schema)
    ]

    assert found == expected


def type_of(type_) -> str:
    """As the database spells it; how a text is compared has a test of its own."""
    return re.sub(' COLLATE "[^"]+"', "", type_.compile(dialect=DIALECT))


@pytest.mark.parametrize("name", TABLES)
def test_primary_keys_are_the_same_in_code_and_database(schema, name):
    table = TABLES[name]

    found = schema.get_pk_constraint(table.name, table.schema)["constrained_columns"]

    assert found == [column.name for column in table.primary_key]


# Whatever grows with the ledgers is kept by ledger; these few rows are about all of them.
ABOUT_ALL = {
    f"effect_ledger.{table}"
    for table in ("principals", "api_keys", "poster_keys", "retired_poster_keys")
}


@pytest.mark.parametrize("name", sorted(TABLES.keys() - ABOUT_ALL))
def test_every_unique_key_begins_with_the_ledger(schema, name):
    """So that the tables can be sharded by it, and one ledger never waits for another's key."""
    table = TABLES[name]
    unique = schema.get_unique_constraints(table.name, table.schema)
    keys = [each["column_names"] for each in unique] + [[c.name for c in table.primary_key]]
    # An origin is unique among all ledgers, of which there are few.
    keys = [key for key in keys if key != ["origin"]]

    assert {key[0] for key in keys} == {"ledger"}


def test_entries_are_unique_by_seq_id_and_key(schema):
    unique = schema.get_unique_constraints("entries", "effect_ledger")

    assert sorted(each["column_names"] for each in unique) == [["ledger", "id"], ["ledger", "key"]]


def test_no_foreign_key_stands_on_the_entry_path(schema):
    """Tables about who may post have some; no write of an entry asks another table."""
    found = {
        name for name, table in TABLES.items() if schema.get_foreign_keys(table.name, table.schema)
    }

    assert found == ABOUT_ALL - {"effect_ledger.principals"}


# Texts that are never compared with what somebody sent.
WORDS = {
    "stops.message",
    "stops.lifted_because",
    "ledgers.time_zone",
    "payloads.media_type",
    "statements.mode",
    "verifications.mode",
    "verifications.state",
    "accesses.act",
    "accesses.because",
    "exports.state",
    "recon_imports.filename",
    "recon_jobs.step",
    "recon_jobs.error",
}


def test_identifiers_are_compared_as_bytes(catalog):
    """In whatever language the database was made: COLLATE "C" on every one of them."""
    rows = catalog.execute(
        "select relname || '.' || attname, collname from pg_attribute"
        " join pg_class on pg_class.oid = attrelid join pg_collation c on c.oid = attcollation"
        " where relnamespace = any(%s::regnamespace[]) and relkind = 'r' and attnum > 0"
        " and atttypid = 'text'::regtype and relname <> 'schema_versions'",
        [list(SCHEMAS)],
    ).fetchall()

    assert {name for name, collation in rows if collation != "C"} == WORDS


# ---- Comments -------------------------------------------------------------------------

# Words that mean one thing everywhere (see the words of the project), and plain counts.
SELF_EVIDENT = {
    *("ledger", "seq", "id", "key", "size", "term", "currency", "principal", "since"),
    *("media_type", "last_recorded_at", "public_key", "created_at", "started_at", "stopped_at"),
}


def test_every_table_and_schema_says_what_it_holds(catalog):
    silent = catalog.execute(
        "select relname::text from pg_class where relnamespace = any(%(schemas)s::regnamespace[])"
        " and relkind in ('r', 'p') and obj_description(oid, 'pg_class') is null"
        " union all select nspname::text from pg_namespace where"
        " oid = any(%(schemas)s::regnamespace[]) and obj_description(oid, 'pg_namespace') is null",
        {"schemas": list(SCHEMAS)},
    ).fetchall()

    assert silent == []


def test_every_column_says_what_its_name_does_not(catalog):
    rows = catalog.execute(
        "select relname, attname, col_description(attrelid, attnum) from pg_attribute"
        " join pg_class on pg_class.oid = attrelid"
        " where relnamespace = any(%s::regnamespace[]) and relkind = 'r' and attnum > 0"
        " and not attisdropped and relname <> 'schema_versions'",
        [list(SCHEMAS)],
    ).fetchall()

    silent = {f"{table}.{column}" for table, column, said in rows if said is None}
    assert {each for each in silent if each.partition(".")[2] not in SELF_EVIDENT} == set()


# ---- Guards ---------------------------------------------------------------------------

TRIGGERS = {
    **{
        f"{table}.append_only": "refuse_change: BEFORE ROW UPDATE DELETE"
        for table in (
            *("cosigned", "entries", "entry_terms", "ledgers", "poster_keys", "tiles"),
            *("accesses", "period_checkpoints", "periods"),
            "intent_events",
            *("statements", "retired_poster_keys"),
            *("registered", "timestamped"),
        )
    },
    **{
        f"{table}.no_delete": "refuse_change: BEFORE ROW DELETE"
        for table in (
            "intents",
            *("heads", "payloads", "positions", "principals", "published", "stops", "api_keys"),
        )
    },
    **{
        f"{table}.no_truncate": "refuse_change: BEFORE TRUNCATE"
        for table in (
            *("entries", "entry_terms", "heads", "ledgers", "payloads", "positions"),
            *("poster_keys", "principals", "published", "tiles", "cosigned", "stops"),
            *("accesses", "period_checkpoints", "periods"),
            *("intent_events", "intents"),
            *("statements", "retired_poster_keys", "api_keys"),
            *("registered", "timestamped"),
        )
    },
    "api_keys.revoking_only": "allow_revoking_only: BEFORE ROW UPDATE",
    "stops.lifting_only": "allow_lifting_only: BEFORE ROW UPDATE",
    "heads.only_grow": "only_grow: BEFORE ROW UPDATE",
    "published.only_grow": "only_grow: BEFORE ROW UPDATE",
    "payloads.erasure_only": "allow_erasure_only: BEFORE ROW UPDATE",
}
# Finance's room: rows are added and never changed.
RECON = tuple(
    f"recon_{each}"
    for each in (
        *("sources", "imports", "lines", "decisions", "runs", "standings"),
        *("breaks", "events", "requests"),
    )
)
TRIGGERS |= {f"{table}.append_only": TRIGGERS["entries.append_only"] for table in RECON}
TRIGGERS |= {f"{table}.no_truncate": TRIGGERS["entries.no_truncate"] for table in RECON}
TRIGGERS["recon_events.break_state"] = "keep_break_state: AFTER ROW INSERT"
# pg_trigger.tgtype, bit by bit.
WHEN = {1: "ROW", 4: "INSERT", 8: "DELETE", 16: "UPDATE", 32: "TRUNCATE"}


def triggers(catalog: psycopg.Connection) -> list[tuple[str, str, str, int]]:
    return catalog.execute(
        "select relname || '.' || tgname, tgenabled::text, proname::text, tgtype"
        " from pg_trigger join pg_class on pg_class.oid = tgrelid join pg_proc p on p.oid = tgfoid"
        " where relnamespace = any(%s::regnamespace[]) and not tgisinternal",
        [list(SCHEMAS)],
    ).fetchall()


def test_every_guard_is_there_and_no_other(catalog):
    found = {name: f"{function}: {fires_on(kind)}" for name, _, function, kind in triggers(catalog)}

    assert found == TRIGGERS


def fires_on(kind: int) -> str:
    events = [word for bit, word in sorted(WHEN.items()) if kind & bit]
    ordered = sorted(events, key=["ROW", "INSERT", "UPDATE", "DELETE", "TRUNCATE"].index)
    return " ".join(["BEFORE" if kind & 2 else "AFTER", *ordered])


def test_every_guard_fires_whoever_is_connected(catalog):
    """ENABLE ALWAYS: also for a superuser who says that they are a replica."""
    assert {name for name, enabled, *_ in triggers(catalog) if enabled != "A"} == set()


# ---- Grants ---------------------------------------------------------------------------

R, RA, RAW = {"SELECT"}, {"SELECT", "INSERT"}, {"SELECT", "INSERT", "UPDATE"}
SHOWN = ("ledger", "seq", "name", "media_type", "commitment", "data_subject")

TABLE_GRANTS = {
    WRITER: {
        **{
            f"effect_ledger.{table}": RA
            for table in (
                *("ledgers", "entries", "entry_terms", "tiles", "payloads"),
                *("principals", "poster_keys", "api_keys", "cosigned", "stops"),
                *("accesses", "period_checkpoints", "periods"),
                *("intent_events", "intents"),
                *("statements", "retired_poster_keys"),
                *("registered", "timestamped"),
                *RECON,
            )
        },
        **{
            f"effect_ledger.{table}": RAW
            for table in ("heads", "published", "positions", "exports", "recon_jobs")
        },
        "effect_ledger.verifications": RAW | {"DELETE"},
        "effect_ledger.recon_break_states": R,
        VERSION_TABLE: R,
        "effect_ledger_keys.data_keys": RA,
    },
    READER: {
        f"effect_ledger.{table}": R
        for table in (
            *("ledgers", "heads", "published", "entries", "entry_terms", "tiles"),
            *("positions", "verifications", "schema_versions", "cosigned", "stops"),
            *("accesses", "exports", "period_checkpoints", "periods"),
            *("intent_events", "intents"),
            "statements",
            *("registered", "timestamped"),
        )
    },
    ERASER: {"effect_ledger_keys.data_keys": {"DELETE"}},
}
COLUMN_GRANTS = {
    WRITER: {
        "effect_ledger.api_keys.revoked_at": {"UPDATE"},
        "effect_ledger.stops.lifted_at": {"UPDATE"},
        "effect_ledger.stops.lifted_because": {"UPDATE"},
        **{
            f"effect_ledger.intents.{column}": {"UPDATE"}
            for column in ("state", "outcome", "is_reserving", "held", "events")
        },
        "effect_ledger.stops.acknowledged": {"UPDATE"},
    },
    READER: {f"effect_ledger.payloads.{column}": R for column in SHOWN},
    ERASER: {
        **{
            f"effect_ledger.payloads.{column}": R
            for column in ("ledger", "seq", "name", "data_subject")
        },
        "effect_ledger.payloads.sealed": {"UPDATE"},
        **{f"effect_ledger_keys.data_keys.{column}": R for column in ("ledger", "data_subject")},
    },
}
SCHEMA_GRANTS = {
    WRITER: {"effect_ledger": {"USAGE"}, "effect_ledger_keys": {"USAGE"}},
    READER: {"effect_ledger": {"USAGE"}},
    ERASER: {"effect_ledger": {"USAGE"}, "effect_ledger_keys": {"USAGE"}},
}

Grants = dict[str, dict[str, set[str]]]


def grants(catalog: psycopg.Connection, query: str) -> Grants:
    """Role -> object -> privileges, of everyone but the owner, who has all of them."""
    found: Grants = {}
    for role, item, privilege in catalog.execute(query, [list(SCHEMAS)]).fetchall():
        if role != OWNER:
            found.setdefault(role, {}).setdefault(item, set()).add(privilege)
    return found


# Grantee 0 is PUBLIC, which must have nothing.
GRANTEE = "case grantee when 0 then 'PUBLIC' else grantee::regrole::text end"


def test_each_role_has_the_rights_of_its_work_on_tables(catalog):
    found = grants(
        catalog,
        f"select {GRANTEE}, nspname || '.' || relname, privilege_type from pg_class"
        " join pg_namespace n on n.oid = relnamespace, aclexplode(relacl)"
        " where nspname = any(%s) and relkind in ('r', 'p', 'v', 'S')",
    )

    assert found == TABLE_GRANTS


def test_each_role_has_the_rights_of_its_work_on_columns(catalog):
    found = grants(
        catalog,
        f"select {GRANTEE}, nspname || '.' || relname || '.' || attname, privilege_type"
        " from pg_attribute join pg_class on pg_class.oid = attrelid"
        " join pg_namespace n on n.oid = relnamespace, aclexplode(attacl)"
        " where nspname = any(%s) and attacl is not null",
    )

    assert found == COLUMN_GRANTS


def test_functions_with_the_owners_rights_find_nothing_a_session_made(catalog):
    """pg_temp named last: unnamed, it is searched before everything else."""
    found = catalog.execute(
        "select proname::text, proconfig, has_function_privilege(%s, oid, 'execute') from pg_proc"
        " where pronamespace = any(%s::regnamespace[]) and prosecdef",
        [WRITER, list(SCHEMAS)],
    ).fetchall()

    assert found == [("keep_break_state", ["search_path=pg_catalog, pg_temp"], False)]


def test_a_type_that_the_writer_made_is_not_used_with_the_owners_rights(migrated):
    """Its check would be run by whoever casts to it."""
    break_id = "00000000-0000-0000-0000-000000000001"
    with psycopg.connect(migrated.conninfo(WRITER)) as connection:
        connection.execute("create temp table seen (who text)")
        connection.execute("grant insert on seen to public")
        connection.execute(
            "create function pg_temp.look(date) returns boolean language plpgsql as $$"
            " begin insert into pg_temp.seen values (current_user); return true; end $$"
        )
        connection.execute(
            "create domain pg_temp.date as pg_catalog.date check (pg_temp.look(value))"
        )
        connection.execute(
            "insert into effect_ledger.recon_breaks (ledger, id, fingerprint)"
            " values ('l', %s, 'f')",
            [break_id],
        )
        connection.execute(
            "insert into effect_ledger.recon_events"
            " (ledger, break, ordinal, actor, action, document)"
            " values ('l', %s, 0, 'a', 'opened', %s)",
            [break_id, '{"seen": {"state": "s", "age_basis": "2026-03-01"}}'],
        )

        assert connection.execute("select who from pg_temp.seen").fetchall() == []
        states = connection.execute(
            "select status, age_basis::text from effect_ledger.recon_break_states"
        ).fetchall()
        assert states == [("open", "2026-03-01")]
        connection.rollback()


def test_each_role_has_the_rights_of_its_work_on_schemas(catalog):
    found = grants(
        catalog,
        f"select {GRANTEE}, nspname, privilege_type"
        " from pg_namespace, aclexplode(nspacl) where nspname = any(%s)",
    )

    assert found == SCHEMA_GRANTS


def test_nothing_is_granted_in_advance(catalog):
    """A table of a later migration is closed until that migration says who may use it."""
    assert catalog.execute("select count(*) from pg_default_acl").fetchone() == (0,)

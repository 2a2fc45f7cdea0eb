"""`migrate` may be run again, and by several at once; a service never guesses at a schema."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command as alembic

from ledger.storage.database import OWNER, WRITER
from ledger.storage.embedded import find_binaries
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.schema import MIGRATION_LOCK, migrate, newest_version
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, free_port

WAITING_S = 30.0


@pytest.fixture
def shell(tmp_path, empty) -> Shell:
    """A shell whose database is the empty one, as its owner."""
    return Shell(data_dir=tmp_path / "data").set(DATABASE_URL=empty.url(OWNER))


def dumped(database) -> list[str]:
    """Everything about a schema, as a backup would have it."""
    done = subprocess.run(
        [find_binaries() / "pg_dump", "--schema-only", database.conninfo(SUPERUSER)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    # Each dump guards itself with a random word of its own.
    return [line for line in done.stdout.splitlines() if not line.startswith("\\")]


def test_migrating_twice_changes_nothing(shell, empty):
    first = shell.good("migrate")
    before = dumped(empty)
    again = shell.good("migrate")

    assert first == again == {"version": newest_version()}
    assert dumped(empty) == before
    assert any("CREATE TABLE effect_ledger.entries" in line for line in before)


def test_two_processes_that_migrate_at_once_both_succeed(shell, empty):
    """The second waits for the first, and finds everything done."""
    with empty.as_superuser() as connection:
        connection.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        both = [
            subprocess.Popen(
                [*COMMAND, "migrate", "--json"],
                env=shell.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            for _ in range(2)
        ]
        # Only now that each has come to the door is it opened.
        wait_until(lambda: waiting(connection, "advisory") == len(both))
        connection.execute("select pg_advisory_unlock(%s)", [MIGRATION_LOCK])
        said = [process.communicate(timeout=TIMEOUT_S) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    with empty.as_superuser() as connection:
        versions = connection.execute("select * from effect_ledger.schema_versions").fetchall()
    assert versions == [(newest_version(),)]


def waiting(connection, kind: str) -> int:
    [count] = connection.execute(
        "select count(*) from pg_locks where locktype = %s and not granted"
        " and database = (select oid from pg_database where datname = current_database())",
        [kind],
    ).fetchone()
    return int(count)


def wait_until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + WAITING_S
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


def test_a_migration_that_fails_leaves_nothing_behind(empty):
    """All of a version or nothing: what is in its way can be cleared, and then it runs."""
    with empty.as_superuser() as connection:
        # A name the migration needs, taken by somebody else.
        connection.execute("create schema effect_ledger_keys")
        with pytest.raises(Exception, match="effect_ledger_keys"):
            migrate(empty.conninfo)
        found = connection.execute(
            "select relname from pg_class where relnamespace = 'effect_ledger'::regnamespace"
            " and relkind = 'r' and relname <> 'schema_versions'"
        ).fetchall()
        assert found == []

        connection.execute("drop schema effect_ledger_keys")
        assert migrate(empty.conninfo) == newest_version()


def test_a_break_that_begins_while_its_state_is_migrated_has_one(empty, monkeypatch):
    """Whoever writes then is waited for, before what is there is read."""
    break_id, upgrade = uuid4(), alembic.upgrade
    with monkeypatch.context() as until:
        until.setattr(alembic, "upgrade", lambda config, _: upgrade(config, "0008"))
        migrate(empty.conninfo)
    with ThreadPoolExecutor() as pool, empty.as_superuser() as connection:
        with psycopg.connect(empty.conninfo(WRITER)) as writer:
            writer.execute(
                "insert into effect_ledger.recon_breaks (ledger, id, fingerprint)"
                " values ('l', %s, 'f')",
                [break_id],
            )
            writer.execute(
                "insert into effect_ledger.recon_events"
                " (ledger, break, ordinal, actor, action, document)"
                " values ('l', %s, 0, 'a', 'opened', %s)",
                [break_id, '{"seen": {"state": "s", "age_basis": "2026-03-01"}}'],
            )
            migrated = pool.submit(migrate, empty.conninfo)
            wait_until(lambda: waiting(connection, "relation") == 1)
        assert migrated.result(WAITING_S) == newest_version()
        states = connection.execute(
            "select break, status from effect_ledger.recon_break_states"
        ).fetchall()

    assert states == [(break_id, "open")]


@pytest.mark.parametrize("command", [("serve",), ("ledger", "list"), ("key", "list")])
def test_a_database_of_yours_without_a_schema_is_refused(shell, empty, command):
    """A service does not change a database of yours: the owner migrates it, once."""
    as_service = shell.set(DATABASE_URL=empty.url(WRITER), PORT=str(free_port()))
    done = as_service.run(*command)

    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        f"effect-ledger: the database has schema version none, this program needs "
        f"{newest_version()}: run 'effect-ledger migrate' as the owner"
    )


def test_a_database_that_is_not_there_is_a_wrong_setting(shell, empty):
    """The server answers, and will say the same tomorrow: whoever set the URL has to act."""
    there = empty.url(WRITER)
    nowhere = shell.set(DATABASE_URL=there.replace(empty.name, "nowhere")).run("key", "list")
    nobody = shell.set(DATABASE_URL=there.replace(WRITER, "nobody")).run("key", "list")

    assert (nowhere.code, nobody.code) == (2, 2)
    assert 'database "nowhere" does not exist' in nowhere.err
    assert 'authentication failed for user "nobody"' in nobody.err


def test_the_owners_login_does_not_run_the_service(shell, empty):
    """The one that may change the schema is not the one that takes requests."""
    migrate(empty.conninfo)
    done = shell.set(PORT=str(free_port())).run("serve")

    assert done.code == 2
    assert "too few rights" in done.err
    assert WRITER in done.err


@pytest.mark.parametrize("found", ["0000", "9999"])
def test_a_schema_of_another_version_is_refused(shell, empty, found):
    """Older or newer: the message names both versions and the way out; nothing is touched."""
    migrate(empty.conninfo)
    with empty.as_superuser() as connection:
        connection.execute("update effect_ledger.schema_versions set version_num = %s", [found])
    before = dumped(empty)

    as_service = shell.set(DATABASE_URL=empty.url(WRITER))
    done = as_service.run("serve", "--port", str(free_port()))

    assert done.code == 2
    assert f"schema version {found}, this program needs {newest_version()}" in done.err
    assert dumped(empty) == before


def test_only_the_owner_migrates(shell, empty):
    """Anybody else is told who does, in one line."""
    done = shell.set(DATABASE_URL=empty.url(WRITER)).run("migrate")

    assert done.code == 2
    assert "effect-ledger: " in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_versions_follow_each_other_in_one_line():
    """Forward only: each follows another one, one is the last, and none goes back."""
    versions = Path(__file__).resolve().parents[2] / "migrations" / "versions"
    texts = {path.name.partition("_")[0]: path.read_text() for path in versions.glob("[0-9]*.py")}
    before = {}
    for number, text in texts.items():
        assert f'revision = "{number}"' in text
        assert "def downgrade" not in text
        [before[number]] = re.findall(r'down_revision = (?:"([0-9]+)"|None)', text)

    line = [newest_version()]
    while before[line[-1]]:
        line.append(before[line[-1]])
    assert sorted(line) == sorted(texts)

"""
Cluster: PGDATA, its settings, who may connect, and the roles and database in it.

Everything here may be done again at each start. What stands in the database's schema is
the migrations' business.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.errors import DatabaseUnavailableError, SettingsError
from ledger.storage.database import CONNECT_TIMEOUT_S, ERASER, OWNER, READER, WRITER
from ledger.storage.embedded.account import LOCALE, Account, connecting_users, run_as
from ledger.storage.embedded.binaries import MAJOR
from ledger.storage.embedded.layout import (
    PORT,
    Layout,
    make_directory,
    sync_directory,
    write_atomically,
)

DATABASE = "effect_ledger"
SUPERUSER = "postgres"
ROLES = (OWNER, WRITER, READER, ERASER)

# Ten files of 10 MB: the log cannot fill the disk the ledger needs.
LOG_FILES_MAX = 10

# initdb's own choices are written to a file we replace; what is not named here has the
# value PostgreSQL gives it.
SETTINGS = f"""\
# Written at each start. Settings of your own belong in local.conf beside this file.

listen_addresses = ''
port = {PORT}
unix_socket_directories = %s
unix_socket_permissions = 0700
max_connections = 400
shared_buffers = 128MB
# A 201 is a promise: what was answered survives a power cut.
fsync = on
synchronous_commit = on
full_page_writes = on
# This build has no lz4, and pglz costs the commit more than it saves.
wal_compression = off
max_wal_size = 1GB
# Containers give 64 MB of shared memory files, which parallel plans outgrow.
max_parallel_workers_per_gather = 0
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
lc_messages = '{LOCALE}'
default_text_search_config = 'pg_catalog.simple'

logging_collector = on
log_directory = '../log'
log_filename = 'postgresql-%%Y%%m%%d-%%H%%M%%S.log'
log_file_mode = 0600
log_rotation_age = 1d
log_rotation_size = 10MB
log_line_prefix = '%%m [%%p] '
log_checkpoints = off
# Values may be a person's: no statement, no parameter and no row is ever logged.
log_error_verbosity = terse
log_min_error_statement = panic
log_min_duration_statement = -1
log_statement = none
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0

include_if_exists = 'local.conf'
"""

# A connection is who its process is: there is no password to leak and no one else gets in.
HBA = "local all all peer map=effect_ledger\n"


def check_major(layout: Layout) -> None:
    """
    Check that the data is of this major version of PostgreSQL, or that there is none yet.

    Raises:
        SettingsError: It is of another one; names both and the way out.
    """
    found = {pgdata.name: _major_of(pgdata) for pgdata in _data_directories(layout)}
    major = found.get(str(MAJOR), str(MAJOR) if not found else max(found.values()))
    if major != str(MAJOR):
        raise SettingsError(
            f"the data in {layout.postgres} was written by PostgreSQL {major}, this service "
            f"runs PostgreSQL {MAJOR}: dump it with the version of the service that wrote it, and "
            "restore the dump into a new data directory beside the same keys and signer",
            found=major,
            expected=str(MAJOR),
        )


def initialise(layout: Layout, account: Account, binaries: Path) -> None:
    """
    Make PGDATA unless it stands; it appears complete or not at all.

    Raises:
        DatabaseUnavailableError: initdb failed; says why.
        SettingsError: PGDATA belongs to a user we are not.
    """
    if layout.pgdata.exists():
        _own(layout.pgdata, account)
        return

    fresh = layout.postgres / f"{MAJOR}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    make_directory(fresh, account.uid, account.gid, 0o700)
    made = run_as(
        account,
        [
            *(binaries / "initdb", "--pgdata", fresh, "--username", SUPERUSER),
            *("--encoding", "UTF8", "--locale", LOCALE),
            # Compares code points by PostgreSQL's own tables: an update of the machine's C
            # library cannot reorder an index.
            *("--locale-provider", "builtin", "--builtin-locale", LOCALE),
            *("--auth", "peer", "--data-checksums", "--no-instructions"),
        ],
    )
    if made.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        lines = made.stdout.strip().splitlines()
        raise DatabaseUnavailableError(
            f"PostgreSQL could not make its data directory: {' '.join(lines[-3:])}"
        )
    fresh.rename(layout.pgdata)
    sync_directory(layout.postgres)


def configure(layout: Layout, account: Account, socket_dir: Path) -> None:
    """Write the settings, and who may connect as whom."""
    # A list of quoted names: spaces and commas of a path stay in it.
    directories = _quoted('"{}"'.format(str(socket_dir).replace('"', '""')))
    users = "".join(
        f'effect_ledger "{user}" {role}\n'
        for user in connecting_users(account)
        for role in (SUPERUSER, *ROLES)
    )
    for name, content in {
        "postgresql.conf": SETTINGS % directories,
        "pg_hba.conf": HBA,
        "pg_ident.conf": users,
    }.items():
        path = layout.pgdata / name
        write_atomically(path, content.encode(), uid=account.uid, gid=account.gid)


def conninfo(socket_dir: Path, role: str, database: str = DATABASE) -> str:
    """A libpq connection string that reaches this server whatever PG* variables say."""
    assert role in (SUPERUSER, *ROLES), role
    return make_conninfo(host=str(socket_dir), hostaddr="", port=PORT, dbname=database, user=role)


def ensure_database(socket_dir: Path) -> None:
    """
    Make the roles and the database that are missing.

    Raises:
        DatabaseUnavailableError: The server does not answer as it should.
    """
    try:
        with psycopg.connect(
            conninfo(socket_dir, SUPERUSER, "postgres"),
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
        ) as connection:
            for role in ROLES:
                _ensure_role(connection, role)
            if not _exists(connection, "select from pg_database where datname = %s", DATABASE):
                connection.execute(
                    sql.SQL("create database {} owner {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(OWNER)
                    )
                )
            for statement in _database_grants():
                connection.execute(statement)
    except psycopg.Error as error:
        raise DatabaseUnavailableError(
            f"PostgreSQL started and cannot be set up: {error}"
        ) from error


def prune_logs(layout: Layout) -> None:
    """Delete the oldest log files beyond the number that is kept."""
    # Their names hold their time, so they sort by age.
    for path in sorted(layout.log.glob("postgresql-*.log"))[:-LOG_FILES_MAX]:
        path.unlink(missing_ok=True)


def _data_directories(layout: Layout) -> Iterator[Path]:
    if layout.postgres.is_dir():
        yield from (path for path in layout.postgres.iterdir() if path.name.isdecimal())


def _major_of(pgdata: Path) -> str:
    try:
        return (pgdata / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise SettingsError(
            f"{pgdata} is not a data directory of PostgreSQL: move it away, or restore it"
        ) from error


def _own(pgdata: Path, account: Account) -> None:
    owner = pgdata.stat().st_uid
    if owner == account.uid:
        return
    # Root gives files away only below directories of its own: in another's, a link put in
    # the way would give away something else.
    if os.geteuid() != 0 or account.keeper_uid != 0:
        raise SettingsError(
            f"{pgdata} belongs to user id {owner}, not to {account.name}: "
            "give it to that user, or start the service as its owner"
        )
    # Restored from an archive, or brought from a machine with other user ids.
    for directory, _, names in os.walk(pgdata):
        for path in (Path(directory), *(Path(directory, name) for name in names)):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _exists(
    connection: psycopg.Connection[tuple[object, ...]], query: LiteralString, name: str
) -> bool:
    return connection.execute(query, [name]).fetchone() is not None


def _ensure_role(connection: psycopg.Connection[tuple[object, ...]], role: str) -> None:
    name = sql.Identifier(role)
    if not _exists(connection, "select from pg_roles where rolname = %s", role):
        connection.execute(sql.SQL("create role {}").format(name))
    connection.execute(sql.SQL("alter role {} login").format(name))
    # An error's first line may quote a value ('invalid input syntax: "..."'). The client
    # gets it and the log does not; what the server itself has to say is still logged.
    connection.execute(sql.SQL("alter role {} set log_min_messages = fatal").format(name))


def _database_grants() -> Iterator[sql.Composed]:
    database = sql.Identifier(DATABASE)
    yield sql.SQL("revoke all on database {} from public").format(database)
    yield sql.SQL("grant connect on database {} to {}").format(
        database, sql.SQL(", ").join(map(sql.Identifier, (WRITER, READER, ERASER)))
    )

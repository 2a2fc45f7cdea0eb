"""
Schema: brings a database to the newest version, or says that it is not there.

Alembic keeps the order; the statements are the SQL files of `migrations`.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool, create_engine, text

import migrations
from ledger.errors import SettingsError
from ledger.storage.database import OWNER, Conninfo, connect

# Two processes that start at once on an empty database must not both create it.
MIGRATION_LOCK = 0x6566_6C64


def migrate(conninfo: Conninfo) -> str:
    """
    Bring the database to the newest schema; safe to call again and from several processes.

    Returns:
        The schema version that stands now.
    """
    # No pool: the lock belongs to the connection, and is given back with it, also on failure.
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: connect(conninfo, OWNER), poolclass=NullPool
    )
    config = _alembic_config()
    with engine.connect() as connection:
        connection.execute(text("set statement_timeout = 0"))
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(text("create schema if not exists effect_ledger"))
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return newest_version()


def newest_version() -> str:
    """The schema version this code was written for."""
    version = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    assert version is not None
    return version


def check_version(engine: Engine) -> None:
    """
    Check that the database has the schema this code was written for.

    Raises:
        SettingsError: It is older, newer or empty; says what to run.
    """
    with engine.connect() as connection:
        found = MigrationContext.configure(
            connection,
            opts={"version_table": "schema_versions", "version_table_schema": "effect_ledger"},
        ).get_current_revision()
    wanted = newest_version()
    if found != wanted:
        raise SettingsError(
            f"the database has schema version {found or 'none'}, this program needs {wanted}: "
            "run 'effect-ledger migrate' as the owner",
            found=found,
            wanted=wanted,
        )


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config

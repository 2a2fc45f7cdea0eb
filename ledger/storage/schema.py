"""
Schema: brings a database to the newest version, or says that it is not there.

Alembic keeps the order; the statements are the SQL files of `migrations`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, NullPool, create_engine, text

import migrations
from ledger.errors import SettingsError
from ledger.storage.database import OWNER, Conninfo, connect

if TYPE_CHECKING:
    from alembic.config import Config

_HAS_VERSIONS = text("select to_regclass('effect_ledger.schema_versions') is not null")
_SELECT_VERSION = text("select version_num from effect_ledger.schema_versions")

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
    newest = newest_version()
    with engine.connect() as connection:
        if _version_of(connection) == newest:
            return newest
        # Imported here: it takes longer to load than a schema that is there takes to be seen.
        from alembic import command

        config = _alembic_config()
        connection.execute(text("set statement_timeout = 0"))
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(text("create schema if not exists effect_ledger"))
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return newest


def newest_version() -> str:
    """The schema version this code was written for."""
    # The chain has no branches, and its files are numbered in its order.
    versions = Path(migrations.__file__).parent / "versions"
    return max(file.name for file in versions.glob("[0-9]*.py")).partition("_")[0]


def check_version(engine: Engine) -> None:
    """
    Check that the database has the schema this code was written for.

    Raises:
        SettingsError: It is older, newer or empty; says what to run.
    """
    with engine.connect() as connection:
        found = _version_of(connection)
    wanted = newest_version()
    if found != wanted:
        raise SettingsError(
            f"the database has schema version {found or 'none'}, this program needs {wanted}: "
            "run 'effect-ledger migrate' as the owner",
            found=found,
            wanted=wanted,
        )


def _version_of(connection: Connection) -> str | None:
    if not connection.execute(_HAS_VERSIONS).scalar_one():
        return None
    version: str | None = connection.execute(_SELECT_VERSION).scalar_one_or_none()
    return version


def _alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config

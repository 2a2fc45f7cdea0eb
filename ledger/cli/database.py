"""
Database: brings a schema to the newest version.

On the embedded database `serve` does this by itself; on yours an owner runs it once per version.
"""

from __future__ import annotations

from ledger.cli.output import JsonOption, Output
from ledger.errors import SettingsError
from ledger.settings import read_settings


def migrate(as_json: JsonOption = False) -> None:
    """Bring the database to the newest schema; safe to run again."""
    # Imported here: they take longer to load than most commands take to run.
    from sqlalchemy.exc import DBAPIError

    from ledger.service import open_database
    from ledger.storage.schema import migrate as migrate_schema

    settings = read_settings()
    try:
        with open_database(settings) as conninfo:
            version = migrate_schema(conninfo)
    except DBAPIError as error:
        said = str(error.orig).strip().partition("\n")[0]
        raise SettingsError(
            f"the database refuses the migration: {said}. Run it as the owner, after "
            "deploy/roles.sql was run once"
        ) from error
    where = "the embedded database" if settings.database_url is None else "the database"
    Output(as_json).answer({"version": version}, f"{where} has schema version {version}")

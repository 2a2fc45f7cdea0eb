"""Whether a verification makes way for writers."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL beside this file; a DBA reads that, not this."""
    sql = Path(__file__).parents[1] / "sql" / "0014_pace.sql"
    # The driver's own connection: it sends many statements at once and leaves % signs alone.
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute(sql.read_text())

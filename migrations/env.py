"""How Alembic reaches the ledger's database. Called through `ledger.storage.schema.migrate`."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="schema_versions",
    version_table_schema="effect_ledger",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()

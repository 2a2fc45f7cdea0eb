"""Schema of the ledger's database: forward-only SQL, applied by Alembic."""

"""Finance's room: what providers and banks say happened, and how it compares with the ledger."""

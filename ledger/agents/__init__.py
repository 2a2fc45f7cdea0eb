"""What AI agents can ask of a ledger, in words that models read."""

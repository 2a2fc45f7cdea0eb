"""The ledger of ledgers, who may do what in it, and which ledgers take no writes."""

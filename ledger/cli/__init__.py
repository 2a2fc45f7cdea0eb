"""The commands of `effect-ledger`, one file per group."""

"""Signing: keys, which ones sign, and the memory outside the database, here or elsewhere."""

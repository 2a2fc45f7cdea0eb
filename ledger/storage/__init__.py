"""Where entries are kept: PostgreSQL, embedded or yours."""

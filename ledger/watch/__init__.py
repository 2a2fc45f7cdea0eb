"""
Watch: an independent party that remembers what a log signed and holds the log to it.

`watcher` looks once and says what it found, `memory` keeps what was seen in one file, `evidence`
what proves two histories, and `webhook` tells a machine.
"""

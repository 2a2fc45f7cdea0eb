"""Effects: recorded at their hand-off, or asked about without a trace."""

from __future__ import annotations

from ledger.cli.words import Words, send, takes


@takes(Words)
def post(words: Words) -> None:
    """Record an effect: from here on it is history. Safe to repeat with the same key."""
    send(words, "/effects", words.body())

"""Holds: who alone, of all processes, does something now. A lock of the database each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from ledger.errors import OverloadedError
from ledger.storage.database import driver_connection

TRY_LOCK = "select pg_try_advisory_lock(hashtextextended(%s, 0))"
UNLOCK = "select pg_advisory_unlock(hashtextextended(%s, 0))"


class Holds:
    """
    Names that one at a time may hold. Safe to share between threads.

    Its pool is of its own: whoever holds a name keeps a connection, and must not take it from
    those that the work under the name needs.
    """

    def __init__(self, engine: Engine) -> None:
        """Hold names through connections of `engine`, which nobody else uses."""
        self._engine = engine

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """
        Hold a name, or give up at once.

        Raises:
            OverloadedError: Somebody else holds it, or as many are held here as can be.
        """
        with driver_connection(self._engine) as connection:
            [is_mine] = connection.execute(TRY_LOCK, (name,)).fetchone() or [False]
            if not is_mine:
                raise OverloadedError("somebody else is at this now: ask again")
            try:
                yield
            finally:
                connection.execute(UNLOCK, (name,))

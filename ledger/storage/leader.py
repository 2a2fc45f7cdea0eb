"""Leader: which one process of all does what only one should do, by a lock of the database."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, Engine, bindparam, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ledger.errors import OverloadedError
from ledger.storage.database import database_errors

SELECT_ONE = select(1)
TRY_LOCK = select(func.pg_try_advisory_lock(bindparam("lock")))
RELEASE_LOCK = select(func.pg_advisory_unlock(bindparam("lock")))


class Leader:
    """Whether it is this process, for one task. Used by one thread at a time."""

    def __init__(self, engine: Engine, lock: int) -> None:
        """
        Lead nothing yet.

        Args:
            engine: One of its connections is kept while this process leads.
            lock: Number of the task, the same in every process.
        """
        self._engine = engine
        self._lock = lock
        self._connection: Connection | None = None

    def leads(self) -> bool:
        """
        Whether this process is the one, from now on or still.

        Raises:
            DatabaseUnavailableError, OverloadedError: Nobody can say.
        """
        with database_errors():
            if self._connection is not None:
                try:
                    self._connection.execute(SELECT_ONE)
                except DBAPIError:
                    # The lock went with the connection; another process may have it by now.
                    self._drop()
                else:
                    return True
            try:
                connection = self._engine.connect()
            except PoolTimeoutError as error:
                raise OverloadedError("all connections to the database are busy") from error
            if connection.execute(TRY_LOCK, {"lock": self._lock}).scalar():
                self._connection = connection
                return True
            connection.close()
            return False

    def resign(self) -> None:
        """Let another process be the one."""
        if self._connection is not None:
            # Given back by name: of a connection that is closed, the server learns later.
            with suppress(DBAPIError):
                self._connection.execute(RELEASE_LOCK, {"lock": self._lock})
            # And not returned to the pool, in case it was not.
            self._drop()

    def _drop(self) -> None:
        assert self._connection is not None, "there is a connection to drop"
        connection, self._connection = self._connection, None
        with suppress(DBAPIError):
            connection.invalidate()
        connection.close()

"""
Wire: statements sent down one connection together, and their answers read together.

The driver's own pipeline makes a cursor and looks for answers with each statement; a batch says
a dozen of them, and that cost more than what they do. Here a trip is one write and one wait.
What is said, and what an error means for it, is for others.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

Parameter = str | int | bytes | None
"""Text and numbers as PostgreSQL writes them; bytes in the binary format of their type."""
Rows = Sequence[tuple[Any, ...]]

_BAD = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE, ExecStatus.NONFATAL_ERROR})


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said with other values each time: prepared once on each connection."""

    name: str
    text: str
    """SQL, its parameters numbered from `$1`."""


class Wire:
    """
    One connection's conversation. Used by one thread at a time.

    After an error it is over: what the connection would say next is not known.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Take over `connection`, which nobody uses between `say` and `hear`."""
        self._pgconn = connection.pgconn
        self._reader = Transformer(connection)
        self._prepared: set[Statement] = set()
        self._ready = select.poll()
        self._awaited: list[bool] = []
        """For each command that was sent, whether its rows are somebody's answer."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was said that was not heard out."""
        return not self._awaited

    def say(self, statement: Statement, *values: Parameter) -> None:
        """Put a statement on the next trip."""
        if not self._awaited:
            self._pgconn.enter_pipeline_mode()
        name = statement.name.encode()
        if statement not in self._prepared:
            self._pgconn.send_prepare(name, statement.text.encode())
            self._prepared.add(statement)
            self._awaited.append(False)
        self._pgconn.send_query_prepared(
            name,
            [_spelled(value) for value in values],
            [Format.BINARY if isinstance(value, bytes) else Format.TEXT for value in values],
            Format.BINARY,
        )
        self._awaited.append(True)

    def send(self) -> None:
        """Make the trip: the server begins, and `hear` waits for it."""
        self._pgconn.pipeline_sync()
        self._flush()

    def hear(self) -> list[Rows]:
        """
        The rows of each statement of the trip, in order.

        Raises:
            psycopg.Error: Of the first statement that failed; none after it was executed.
        """
        heard: list[Rows] = []
        for awaited in self._awaited:
            # Behind one that failed the server reads nothing but the end of the trip.
            result = self._good_result()
            if awaited:
                heard.append(self._rows(result))
            self._end_of_answer()
        self._result()
        self._awaited.clear()
        self._pgconn.exit_pipeline_mode()
        return heard

    def ask(self, statement: Statement, *values: Parameter) -> Rows:
        """
        The rows of one statement, on a trip of its own.

        Raises:
            psycopg.Error: It failed.
        """
        self.say(statement, *values)
        self.send()
        return self.hear()[0]

    def copy(self, statement: str, rows: Iterable[bytes]) -> None:
        """
        Send rows in COPY's binary format, between two trips.

        Args:
            statement: COPY from stdin.
            rows: In parts; the server takes one while the next is made.

        Raises:
            psycopg.Error: They were refused.
        """
        assert not self._awaited, "COPY has no place in a pipeline"
        # Whatever raises before the end leaves a conversation that nobody can go on with.
        self._awaited.append(False)
        self._pgconn.send_query(statement.encode())
        self._flush()
        self._good_result()
        for part in rows:
            while not self._pgconn.put_copy_data(part):
                self._wait(select.POLLIN | select.POLLOUT)
            self._flush()
        while not self._pgconn.put_copy_end():
            self._wait(select.POLLIN | select.POLLOUT)
        self._flush()
        self._good_result()
        self._end_of_answer()
        self._awaited.clear()

    def _rows(self, result: PGresult) -> Rows:
        self._reader.set_pgresult(result)
        return self._reader.load_rows(0, result.ntuples, tuple)

    def _good_result(self) -> PGresult:
        result = self._result()
        if result is None:
            raise psycopg.OperationalError("the server closed the connection")
        if result.status in _BAD:
            raise error_from_result(result)
        return result

    def _end_of_answer(self) -> None:
        assert self._result() is None, "one statement has one result"

    def _result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait(select.POLLIN)
        return self._pgconn.get_result()

    def _flush(self) -> None:
        while self._pgconn.flush():
            # The server may have to be heard before it listens on.
            self._wait(select.POLLIN | select.POLLOUT)

    def _wait(self, events: int) -> None:
        self._ready.register(self._pgconn.socket, events)
        [(_, found)] = self._ready.poll()
        if found & ~select.POLLOUT:
            self._pgconn.consume_input()


def _spelled(value: Parameter) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int):
        return b"%d" % value
    return value

"""
Apart: a verification in processes of its own, which go last on the processors.

Some read pages and sift them, one judges what was sifted, in its order. Writers keep their
interpreter, and a ledger is verified on all cores.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any, NoReturn

from ledger.checkpoint import Checkpoint
from ledger.errors import LedgerError
from ledger.storage.database import WRITER
from ledger.storage.database import engine as make_engine
from ledger.vault import Vault
from ledger.verification.ahead import Pages, reading_ahead
from ledger.verification.pace import PacedProgress
from ledger.verification.pages import verify_ledger
from ledger.verify import Dated, Page

NICENESS = 10
# With so many the one that judges has no time to wait for another.
READERS_MAX = 4
_READER_ENDED = "a process that read ahead ended"
# Spawned and not forked: locks and connections of this process must not be inherited.
_spawn = multiprocessing.get_context("spawn")


def audit_apart(
    conninfo: str,
    ledger: str,
    *,
    since: tuple[int, bytes] | None,
    trusted: Checkpoint | None,
    signed: Mapping[str, tuple[int, bytes] | None],
    vault: Vault | None,
    dated: Dated | None,
    progress: PacedProgress,
) -> dict[str, Any]:
    """
    Verify a stored ledger as `verify_ledger` does, in processes of its own, and wait for them.

    Args:
        conninfo: Connects with the rights of the writer.
        ledger: Its name.
        since: As for `verify_ledger`; so are the others.
        trusted: A checkpoint that was kept elsewhere.
        signed: Origin -> size and root in the signer's record.
        vault: Opens payloads.
        dated: Trees that others have seen.
        progress: Told how many entries were checked, of how many, and whether it makes way.

    Returns:
        The report as JSON.

    Raises:
        LedgerError: As told by the process that judged; or it ended.
    """
    told_here, told_there = _spawn.Pipe(duplex=False)
    readers = _readers()
    pipes = [_spawn.Pipe() for _ in range(readers)]
    # Daemons: they end with the service; whoever asked for the verification asks again.
    reading = [
        _spawn.Process(
            target=_read, args=(answers, conninfo, ledger), name=f"read {ledger}", daemon=True
        )
        for _, answers in pipes
    ]
    judging = _spawn.Process(
        target=_judge,
        args=(told_there, [questions for questions, _ in pipes]),
        kwargs={
            "conninfo": conninfo,
            "ledger": ledger,
            "since": since,
            "trusted": trusted,
            "signed": signed,
            "vault": vault,
            "dated": dated,
        },
        name=f"verify {ledger}",
        daemon=True,
    )
    for process in (*reading, judging):
        process.start()
    # Each end is held by one process alone, so that the other sees it go.
    for pipe in (told_there, *itertools.chain.from_iterable(pipes)):
        pipe.close()
    try:
        with told_here:
            return _listen(told_here, progress)
    except EOFError as error:
        judging.join()
        raise LedgerError(
            f"the process that verified ended with exit code {judging.exitcode}"
        ) from error
    finally:
        for process in (judging, *reading):
            process.join()


def _readers() -> int:
    """How many read: a processor is for the one that judges, who reads itself where it has one."""
    return min(READERS_MAX, (os.cpu_count() or 1) - 1)


def _listen(told: Pipe, progress: PacedProgress) -> dict[str, Any]:
    while True:
        message = told.recv()
        if isinstance(message, dict):
            return message
        if isinstance(message, LedgerError):
            raise message
        progress(*message)


def _judge(
    told: Pipe,
    readers: Sequence[Pipe],
    *,
    conninfo: str,
    ledger: str,
    since: tuple[int, bytes] | None,
    trusted: Checkpoint | None,
    signed: Mapping[str, tuple[int, bytes] | None],
    vault: Vault | None,
    dated: Dated | None,
) -> None:
    """Tells progress, then a report's document or an error."""
    _go_last()
    engine = make_engine(lambda _role: conninfo, WRITER, pool_size=2)
    try:
        report = verify_ledger(
            engine,
            ledger,
            since=since,
            trusted=trusted,
            read_signed=signed.get,
            vault=vault,
            dated=dated,
            progress=lambda *progress: told.send(progress),
            readers=[_Process(pipe) for pipe in readers],
            ahead=True,
        )
        told.send(report.document())
    except LedgerError as error:
        told.send(LedgerError(error.message))


def _read(pages: Pipe, conninfo: str, ledger: str) -> None:
    """Answers each (start, stop) with the page that begins there, sifted, or with an error."""
    _go_last()
    engine = make_engine(lambda _role: conninfo, WRITER, pool_size=1)
    with suppress(EOFError, BrokenPipeError):
        try:
            with reading_ahead(engine, ledger) as reader:
                _answer(pages, reader)
        except LedgerError as error:
            pages.send(error)


def _answer(pages: Pipe, reader: Pages) -> NoReturn:
    asked = 0
    while True:
        # What is asked for already is read by the thread while the page before is sifted.
        while not asked or pages.poll():
            reader.ask(*pages.recv())
            asked += 1
        pages.send(reader.receive())
        asked -= 1


def _go_last() -> None:
    os.nice(NICENESS)
    # Nothing that an audit makes refers to itself, and looking for such things takes a quarter
    # of the time.
    gc.disable()


class _Process:
    """A process that runs `_read`, seen from the one that judges."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def ask(self, start: int, stop: int) -> None:
        try:
            self._pipe.send((start, stop))
        except BrokenPipeError as error:
            raise LedgerError(_READER_ENDED) from error

    def receive(self) -> Page:
        try:
            page: Page | LedgerError = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise LedgerError(_READER_ENDED) from error
        if isinstance(page, LedgerError):
            raise page
        return page

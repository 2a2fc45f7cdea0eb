"""Writing: the files of a bundle, written here or, where they are long, by a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from ledger.audit.bundle import Written, write_bundle
from ledger.audit.request import BundleRequest
from ledger.audit.source import Source
from ledger.errors import LedgerError
from ledger.ports import FiledStatements
from ledger.storage.database import WRITER, connect
from ledger.vault import Vault

APART_FROM = 20_000
"""Entries; fewer are written sooner than a process starts."""
NICENESS = 10
# Spawned and not forked: locks and connections of this process must not be inherited.
_spawn = multiprocessing.get_context("spawn")

Tell = Callable[[int, int], None]
"""Told how many entries are written, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """With what a bundle is written, also in a process of its own."""

    conninfo: str
    vault: Vault
    statements: FiledStatements


def write(means: Means, request: BundleRequest, building: Path, tell: Tell) -> Written:
    """
    Write the files of a bundle to `building`.

    Raises:
        LedgerError: As `write_bundle`; or the process that wrote it ended.
        OSError: A file cannot be written.
    """
    data = request.close.data
    if data["to_seq"] - data["from_seq"] + 1 >= APART_FROM:
        return _write_apart(means, request, building, tell)
    return _write_here(means, request, building, tell)


def _write_here(means: Means, request: BundleRequest, building: Path, tell: Tell) -> Written:
    with connect(lambda _role: means.conninfo, WRITER) as connection:
        return write_bundle(
            Source(connection, request.record, means.vault),
            request,
            building,
            tell,
            statements=partial(means.statements, means.conninfo),
        )


def _write_apart(means: Means, request: BundleRequest, building: Path, tell: Tell) -> Written:
    receiver, sender = _spawn.Pipe(duplex=False)
    process = _spawn.Process(
        target=_work,
        args=(sender, means, request, building),
        name=f"export {request.record.name}",
        # Ends with the service: whoever asked for it asks again.
        daemon=True,
    )
    process.start()
    sender.close()
    with receiver:
        while True:
            try:
                told = receiver.recv()
            except EOFError as error:
                process.join()
                raise LedgerError(
                    f"the process that exported ended with exit code {process.exitcode}"
                ) from error
            if isinstance(told, tuple):
                tell(*told)
                continue
            process.join()
            if isinstance(told, LedgerError):
                raise told
            assert isinstance(told, Written)
            return told


def _work(told: Pipe, means: Means, request: BundleRequest, building: Path) -> None:
    """Write in a process of its own: tells progress, then what was written or an error."""
    os.nice(NICENESS)
    try:
        told.send(
            _write_here(means, request, building, lambda done, total: told.send((done, total)))
        )
    except LedgerError as error:
        told.send(LedgerError(error.message))

"""
Runs: reconciliations on their way. Any process tells how one stands, whoever computes it.

A long one is a process of its own that goes last on the processors, as a long verification is:
writers keep their interpreter. It ends with the service that began it.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import SpawnProcess
from typing import Any
from uuid import uuid4

from ledger.dialog.intents import Intents
from ledger.errors import LedgerError, NotFoundError, OverloadedError
from ledger.reader import Reader
from ledger.recon.reconciler import Asked, Reconciler
from ledger.recon.shelf import Shelf
from ledger.storage.database import WRITER, Conninfo, engine

logger = logging.getLogger(__name__)

JOBS_MAX = 2
"""Runs one process computes at a time."""
APART_FROM = 20_000
"""Lines and entries; fewer are reconciled sooner than a process starts."""
TOLD_EVERY_S = 0.5
SIGN_OF_LIFE_S = 5.0
STALE_AFTER_S = 30
"""A running job that gave no sign of life for so long has lost its process."""
NICENESS = 10
# Spawned and not forked: locks and connections of this process must not be inherited.
_spawn = multiprocessing.get_context("spawn")


class Runs:
    """Reconciliations of one database, each in a thread of its own. Safe to share."""

    def __init__(
        self, shelf: Shelf, reconciler: Reconciler, conninfo: Conninfo | None = None
    ) -> None:
        """
        Begin runs and tell how they stand.

        Args:
            shelf: Where their progress is kept.
            reconciler: Computes the short ones.
            conninfo: How a process of its own connects; None computes every run in this one.
        """
        self._shelf = shelf
        self._reconciler = reconciler
        self._conninfo = conninfo
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._processes: set[SpawnProcess] = set()
        self._is_stopping = False

    def start(self, ledger: str, asked: Asked) -> str:
        """
        Begin a run; `progress` tells how it stands.

        Raises:
            NotFoundError: A source is not there, or the ledger has no signed checkpoint yet.
            PeriodError, MalformedEffectError: The period's name is none of the calendar.
            OverloadedError: Too many run here already.
        """
        self._reconciler.check(ledger, asked)
        with self._lock:
            self._threads = {each for each in self._threads if each.is_alive()}
            if len(self._threads) >= JOBS_MAX:
                raise OverloadedError(f"{JOBS_MAX} reconciliations run already: ask again later")
            job = str(uuid4())
            self._shelf.begin_job(ledger, job)
            thread = threading.Thread(
                target=self._work, args=(ledger, job, asked), name=f"recon-{job}", daemon=True
            )
            self._threads.add(thread)
            thread.start()
        return job

    def progress(self, ledger: str, job: str) -> dict[str, Any]:
        """
        How a run stands.

        Raises:
            NotFoundError: There is none with this id.
        """
        found = self._shelf.job(ledger, job)
        if found is None:
            raise NotFoundError(f"ledger {ledger} has no run {job[:63]}", ledger=ledger)
        state, step, done, error, silent_s = found
        if state == "running" and silent_s > STALE_AFTER_S:
            state, error = "failed", "its process ended before the run was done: begin another one"
        return {"id": job, "state": state, "step": step, "done": done, "error": error}

    def stop(self, patience_s: float) -> None:
        """Let what runs end, for so long; then end it, and say of it that it failed."""
        ends_at = time.monotonic() + patience_s
        threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, ends_at - time.monotonic()))
        with self._lock:
            self._is_stopping = True
            for process in self._processes:
                process.terminate()
        for thread in threads:
            thread.join(patience_s)

    # ---- Parts ------------------------------------------------------------------------

    def _work(self, ledger: str, job: str, asked: Asked) -> None:
        told_at = time.monotonic()

        def tell(step: str, done: int) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at > TOLD_EVERY_S:
                told_at = now
                self._shelf.tell_job(ledger, job, state="running", step=step, done=done)

        try:
            if self._conninfo is not None and self._reconciler.size(ledger, asked) >= APART_FROM:
                self._run_apart(self._conninfo(WRITER), ledger, job, asked, tell)
            else:
                self._reconciler.run(ledger, asked, tell, job)
            self._shelf.tell_job(ledger, job, state="done", step="done")
        except LedgerError as error:
            self._fail(ledger, job, error.message)
        except Exception:
            # A fault of ours: whoever waits is told, and the log has the rest.
            logger.exception("reconciliation %s of %s failed", job, ledger)
            self._fail(ledger, job, "an unexpected error; the service's log has it")

    def _fail(self, ledger: str, job: str, says: str) -> None:
        try:
            self._shelf.tell_job(ledger, job, state="failed", step="failed", error=says)
        except LedgerError:
            # The database is away: the job tells nothing any more, and is given up for that.
            logger.warning("reconciliation %s of %s failed: %s", job, ledger, says)

    def _run_apart(
        self, conninfo: str, ledger: str, job: str, asked: Asked, tell: Callable[[str, int], None]
    ) -> None:
        told_here, told_there = _spawn.Pipe(duplex=False)
        # Nothing is ever sent through it: it ends when this process does.
        alive_there, alive_here = _spawn.Pipe(duplex=False)
        process = _spawn.Process(
            target=_perform,
            args=(told_there, alive_there, conninfo),
            kwargs={"ledger": ledger, "asked": asked, "job": job},
            name=f"recon {job}",
            daemon=True,
        )
        with self._lock:
            process.start()
            self._processes.add(process)
        for pipe in (told_there, alive_there):
            pipe.close()
        try:
            with told_here, alive_here:
                _listen(told_here, tell)
        except EOFError as error:
            process.join()
            cause = (
                "the service was stopped"
                if self._is_stopping
                else f"its process ended with exit code {process.exitcode}"
            )
            raise LedgerError(f"{cause} before the run was done: begin another one") from error
        finally:
            process.join()
            with self._lock:
                self._processes.discard(process)


def _listen(told: Pipe, tell: Callable[[str, int], None]) -> None:
    step, done = "begins", 0
    while True:
        # A pass may take longer than anybody waits for a sign of life.
        if told.poll(SIGN_OF_LIFE_S):
            message = told.recv()
            if message is None:
                return
            if isinstance(message, LedgerError):
                raise message
            step, done = message
        tell(step, done)


def _perform(
    told: Pipe, alive: Pipe, conninfo: str, *, ledger: str, asked: Asked, job: str
) -> None:
    """Tells steps, then None or an error."""
    os.nice(NICENESS)
    # Nothing that a run makes refers to itself, and looking for such things takes a sixth of it.
    gc.disable()
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    # One for what is read, and one for what is looked up meanwhile.
    pool = engine(lambda _role: conninfo, WRITER, pool_size=2)
    reconciler = Reconciler(Shelf(pool), Reader(pool), Intents(pool))
    told_at = 0.0

    def tell(step: str, done: int) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at > TOLD_EVERY_S:
            told_at = now
            told.send((step, done))

    try:
        reconciler.run(ledger, asked, tell, job)
        told.send(None)
    except LedgerError as error:
        told.send(LedgerError(error.message))


def _end_with(alive: Pipe) -> None:
    try:
        alive.recv()
    except (EOFError, OSError):
        # The service is gone, and nobody waits for what this process would find.
        os._exit(1)

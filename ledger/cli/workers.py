"""
Workers: several processes that answer on one socket, looked after by the one that made it.

Each opens the service for itself; the database's lock and the signer's record order what they
write. One that dies is started again; when the parent ends, however it ends, so do they.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from multiprocessing.context import SpawnProcess

from ledger.cli.answering import GRACE_S, answer_requests, log, stopped_by_signals
from ledger.errors import LedgerError
from ledger.settings import Settings

logger = logging.getLogger(__name__)

POLL_S = 0.5
RESTART_WAIT_MIN_S = 0.5
RESTART_WAIT_MAX_S = 30.0
# A worker that ran this long did not die of what the last one died of.
STEADY_S = 60.0
# Beyond the grace for requests, for what waits to be committed.
STOP_PATIENCE_S = GRACE_S + 20

# Spawned and not forked: locks and connections of this process must not be inherited.
_spawn = multiprocessing.get_context("spawn")


class _Worker:
    """One process, and when it may be started again."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._wait_s = RESTART_WAIT_MIN_S
        self._start_at = 0.0
        self._started_at = 0.0
        self.process: SpawnProcess | None = None

    def start(self) -> None:
        self._started_at = time.monotonic()
        self.process = _spawn.Process(
            target=_work, args=(self._settings, self._listener), name="effect-ledger worker"
        )
        self.process.start()

    def look_after(self) -> None:
        """Start the process again where it ended, later each time it ends soon."""
        now = time.monotonic()
        if self.process is not None:
            if self.process.exitcode is None:
                return
            ran_s = now - self._started_at
            self._wait_s = RESTART_WAIT_MIN_S if ran_s > STEADY_S else self._wait_s
            logger.error(
                "worker %s ended by itself (exit code %s); it is started again in %.1f s",
                self.process.pid,
                self.process.exitcode,
                self._wait_s,
            )
            self.process = None
            self._start_at = now + self._wait_s
            self._wait_s = min(2 * self._wait_s, RESTART_WAIT_MAX_S)
        if now >= self._start_at:
            self.start()


def supervise(settings: Settings, listener: socket.socket) -> None:
    """
    Keep `settings.workers` processes running until a signal ends this one.

    Returns never: the signal's handler raises SystemExit, and the workers are stopped then.
    """
    workers = [_Worker(settings, listener) for _ in range(settings.workers)]
    try:
        while True:
            for worker in workers:
                worker.look_after()
            time.sleep(POLL_S)
    finally:
        _stop([worker.process for worker in workers if worker.process is not None])


def _stop(processes: list[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    gives_up_at = time.monotonic() + STOP_PATIENCE_S
    for process in processes:
        process.join(max(0.0, gives_up_at - time.monotonic()))
        if process.exitcode is None:
            logger.error("worker %s does not end and is killed", process.pid)
            process.kill()
            process.join()


def _work(settings: Settings, listener: socket.socket) -> None:
    """The life of one worker, in its own process."""
    # Imported here: the parent has no use for it in this module.
    from ledger.service import open_service

    with stopped_by_signals():
        log(settings)
        threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
        try:
            with open_service(settings) as service:
                answer_requests(service, listener)
        except LedgerError as error:
            logger.critical("the worker cannot go on: %s", error)
            raise SystemExit(1) from error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is a child"
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)

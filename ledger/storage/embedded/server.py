"""
EmbeddedServer: starts PostgreSQL in the data directory, keeps it running, stops it.

The order of the steps and the life of the server are decided here; each step is a file.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ledger.errors import DatabaseUnavailableError, LedgerError, SettingsError
from ledger.storage.embedded import cluster, layout, postmaster
from ledger.storage.embedded.account import Account, choose_account
from ledger.storage.embedded.binaries import reachable_binaries
from ledger.storage.embedded.postmaster import Postmaster
from ledger.storage.embedded.supervision import (
    Attached,
    ServerRecord,
    attach,
    attach_to_service,
    read_record,
    supervise,
    supervisor_of,
    write_record,
)

logger = logging.getLogger(__name__)

WATCH_S = 0.5
RESTART_WAIT_MIN_S = 0.2
RESTART_WAIT_MAX_S = 30.0
# A server that ran this long did not die of what the last one died of.
STEADY_S = 60.0
PRUNE_LOGS_S = 3600.0


class EmbeddedServer:
    """
    A PostgreSQL of our own, in one data directory, supervised by this process.

    A server that dies is started again: connections fail meanwhile, and callers open new
    ones with the same connection string. Safe to share between threads.
    """

    def __init__(self, data_dir: Path, *, stays: bool = True) -> None:
        """
        Look after the server of `data_dir`; nothing is started yet.

        Args:
            data_dir: Need not exist.
            stays: Whether this process is a service, on whose server others may build.
        """
        self._layout = layout.layout_of(data_dir)
        self._stays = stays
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._undo = ExitStack()
        self._supervisor = 0
        self._account: Account | None = None
        self._socket_dir: Path | None = None
        self._postmaster: Postmaster | None = None
        self._watcher: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the server; None while it does not run."""
        return self._postmaster.pid if self._postmaster is not None else None

    def conninfo(self, role: str) -> str:
        """
        The libpq connection string of `role` in the ledger's database; stays good over restarts.

        Raises:
            DatabaseUnavailableError: The server was not started, or was stopped.
        """
        if self._socket_dir is None:
            raise DatabaseUnavailableError("the embedded database is not running")
        return cluster.conninfo(self._socket_dir, role)

    def start(self) -> None:
        """
        Start the server and wait until it accepts connections; does nothing if it runs.

        Recovery after a crash is awaited, however long it takes, and logged.

        Raises:
            SettingsError: The data directory cannot be used: another process uses it,
                PostgreSQL's user cannot enter it, or its data is of another version.
            DatabaseUnavailableError: PostgreSQL did not start; with what it said.
        """
        with self._changing:
            if self._watcher is not None:
                return
            self._stopping.clear()
            self._supervisor = os.getpid()
            with ExitStack() as undo:
                try:
                    self._start(undo)
                except OSError as error:
                    raise SettingsError(
                        f"the data directory {self._layout.data_dir} cannot be used: {error}"
                    ) from error
                self._undo = undo.pop_all()
            self._watcher = threading.Thread(
                target=self._watch, name="postgresql-watcher", daemon=True
            )
            self._watcher.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        """End the server and wait for it; open transactions are rolled back."""
        if self._supervisor != os.getpid():
            # Not started, or this is a fork of the process that did.
            return
        self._stopping.set()
        with self._changing:
            if self._watcher is None:
                return
            self._watcher.join()
            self._watcher = None
            self._undo.close()
            atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, undo: ExitStack) -> None:
        """Take the steps in order; `undo` takes them back in reverse."""
        # 1. Whose server, which programs, which directories.
        account = choose_account(self._layout.data_dir, self._layout.pgdata)
        layout.prepare(self._layout, account)

        # 2. From here on nobody else changes anything in them.
        undo.enter_context(supervise(self._layout, account))
        cluster.check_major(self._layout)
        binaries = reachable_binaries(account, self._layout.runtime)

        # 3. What an earlier supervisor left behind.
        postmaster.end_orphan(self._layout, account)
        earlier = read_record(self._layout)
        if earlier is not None:
            layout.remove_socket_directory(Path(earlier.socket_dir), self._layout, account)

        # 4. The files. The record comes before the server, so that a socket directory
        #    outside the data directory is found again whatever happens next.
        cluster.initialise(self._layout, account, binaries)
        socket_dir = layout.make_socket_directory(self._layout, account)
        undo.callback(layout.remove_socket_directory, socket_dir, self._layout, account)
        self._account, self._socket_dir = account, socket_dir
        undo.callback(self._forget)
        self._record(None)
        cluster.configure(self._layout, account, socket_dir)
        cluster.prune_logs(self._layout)

        # 5. The server, and what must be in it before anyone else sees it.
        self._postmaster = Postmaster(self._layout, account, binaries, socket_dir)
        undo.callback(self._postmaster.stop)
        self._postmaster.start(self._stopping)
        cluster.ensure_database(socket_dir)
        self._record(self._postmaster.pid)
        logger.info("PostgreSQL runs in %s", self._layout.pgdata)

    def _watch(self) -> None:
        assert self._postmaster is not None
        wait_s = RESTART_WAIT_MIN_S
        started_at = pruned_at = time.monotonic()
        while not self._stopping.wait(WATCH_S):
            now = time.monotonic()
            if self._postmaster.pid is not None:
                if now - pruned_at > PRUNE_LOGS_S:
                    # Harmless: the next hour tries again.
                    with suppress(OSError):
                        cluster.prune_logs(self._layout)
                    pruned_at = now
                continue

            wait_s = RESTART_WAIT_MIN_S if now - started_at > STEADY_S else wait_s
            logger.error(
                "PostgreSQL ended by itself (exit code %s); it is started again in %.1f s",
                self._postmaster.exit_code,
                wait_s,
            )
            if self._stopping.wait(wait_s):
                return
            wait_s = min(2 * wait_s, RESTART_WAIT_MAX_S)
            started_at = time.monotonic()
            try:
                self._postmaster.start(self._stopping)
                self._record(self._postmaster.pid)
            except (DatabaseUnavailableError, OSError) as error:
                # Not fatal: the disk may be full now and have room at the next attempt.
                logger.error("PostgreSQL is still away: %s", error)  # noqa: TRY400

    def _record(self, pid: int | None) -> None:
        assert self._account is not None
        write_record(
            self._layout,
            self._account,
            ServerRecord(
                supervisor=os.getpid(),
                pid=pid,
                socket_dir=str(self._socket_dir),
                started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                stays=self._stays,
            ),
        )

    def _forget(self) -> None:
        self._layout.record.unlink(missing_ok=True)
        self._socket_dir = None
        self._postmaster = None


class _Heir:
    """
    Takes a server over when the process that looked after it ends.

    Connections fail from that end until the server runs again; the connection string stays.
    """

    def __init__(self, data_dir: Path) -> None:
        self._layout = layout.layout_of(data_dir)
        self._server = EmbeddedServer(data_dir)
        self._stopping = threading.Event()
        self._waiter = threading.Thread(target=self._wait, name="postgresql-heir", daemon=True)

    def __enter__(self) -> Self:
        self._waiter.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        # Once to end a start that waits for recovery, and once where it was just through.
        self._server.stop()
        self._waiter.join()
        self._server.stop()

    def _wait(self) -> None:
        while not self._stopping.wait(WATCH_S):
            if supervisor_of(self._layout) is not None:
                continue
            logger.warning("whoever looked after PostgreSQL has ended: this process does now")
            try:
                self._server.start()
            except LedgerError as error:
                # Harmless: another heir was first, or the next attempt succeeds.
                logger.warning("PostgreSQL was not taken over: %s", error)
            else:
                return


@contextmanager
def open_server(data_dir: Path, *, stays: bool = False) -> Iterator[EmbeddedServer | Attached]:
    """
    The server of `data_dir` for the length of a block, whoever looks after it.

    A command beside a running service uses the service's server; a command alone starts one
    and stops it at the end. A service waits for such a command to end; beside another
    service it uses that one's server, and takes it over when that one ends.

    Args:
        data_dir: Need not exist.
        stays: Whether the caller is a service.

    Raises:
        SettingsError, DatabaseUnavailableError: As `EmbeddedServer.start` and `attach`.
    """
    found = _find_or_start(data_dir, stays=stays)
    if isinstance(found, EmbeddedServer):
        with found:
            yield found
    elif stays:
        with _Heir(data_dir):
            yield found
    else:
        yield found


def _find_or_start(data_dir: Path, *, stays: bool) -> EmbeddedServer | Attached:
    find = attach_to_service if stays else attach
    attached = find(data_dir)
    if attached is not None:
        return attached
    server = EmbeddedServer(data_dir, stays=stays)
    try:
        server.start()
    except SettingsError:
        # Another process may have started between the look and the attempt, and ended since.
        attached = find(data_dir)
        if attached is not None:
            return attached
        server.start()
    return server

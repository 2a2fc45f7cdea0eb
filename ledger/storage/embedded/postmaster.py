"""
Postmaster: the server process. Started, awaited, stopped; and told from strangers.

No process is ever signalled because a file names its number: numbers are used again.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from ledger.errors import DatabaseUnavailableError
from ledger.storage.embedded.account import Account
from ledger.storage.embedded.layout import SOCKET_NAME, Layout

logger = logging.getLogger(__name__)

POLL_S = 0.05
PROGRESS_S = 5.0
# A fast shutdown writes a checkpoint; a slow disk needs a while for 128 MB.
FAST_SHUTDOWN_S = 60.0
IMMEDIATE_SHUTDOWN_S = 10.0
# Children of a killed server notice its death, but a long sort notices late.
STRAGGLERS_S = 30.0
STRAGGLERS_POLL_S = 0.2
STRAGGLERS_COMPLAINT = "is still in use"


class Postmaster:
    """The server process of one data directory, as often as it is started."""

    def __init__(self, layout: Layout, account: Account, binaries: Path, socket_dir: Path) -> None:
        self._layout = layout
        self._account = account
        self._binaries = binaries
        self._socket_dir = socket_dir
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How the last one ended; negative for a signal."""
        return self._process.returncode if self._process is not None else None

    def start(self, stopping: threading.Event) -> None:
        """
        Start it and wait until it accepts connections, however long recovery takes.

        Args:
            stopping: Set by another thread to give the wait up.

        Raises:
            DatabaseUnavailableError: It ended instead, with what it said; or the wait was
                given up, and it is stopped.
        """
        patience_ends_at = time.monotonic() + STRAGGLERS_S
        while True:
            _remove_leftovers(self._layout, self._account, self._socket_dir)
            self._spawn()
            if self._await_ready(stopping):
                return
            complaint = _last_words(self._layout)
            is_over = stopping.is_set() or time.monotonic() > patience_ends_at
            if is_over or STRAGGLERS_COMPLAINT not in complaint:
                raise DatabaseUnavailableError(
                    f"PostgreSQL did not start: {complaint} (its log is in {self._layout.log})"
                )
            stopping.wait(STRAGGLERS_POLL_S)

    def stop(self) -> None:
        """End it: fast, then at once, then by force. Committed work is kept in each case."""
        process = self._process
        if process is None:
            return
        # Our own child, not yet waited for: its number cannot have gone to another.
        for request, patience_s in (
            (signal.SIGINT, FAST_SHUTDOWN_S),
            (signal.SIGQUIT, IMMEDIATE_SHUTDOWN_S),
            (signal.SIGKILL, None),
        ):
            process.send_signal(request)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
                break
        self._process = None

    def _spawn(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        output = os.open(self._layout.startup_log, flags, 0o600)
        try:
            if os.geteuid() == 0:
                os.fchown(output, self._account.keeper_uid, -1)
            # A session of its own: Ctrl-C in a terminal is for the service, which stops the
            # server after its last commit. PR_SET_PDEATHSIG is left out: it fires when the
            # starting *thread* ends. A server that outlives us is ended by the next start.
            self._process = subprocess.Popen(  # noqa: S603 - a program of the wheel
                [self._binaries / "postgres", "-D", self._layout.pgdata],
                **self._account.popen_arguments,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)

    def _await_ready(self, stopping: threading.Event) -> bool:
        assert self._process is not None
        started_at = time.monotonic()
        told_at = started_at
        ready = [str(self._process.pid), "ready"]
        while self._process.poll() is None:
            # The last line of the file says how far the server with that number is.
            lines = _read_pid_file(self._layout.pgdata)
            if [*lines[:1], *lines[7:8]] == ready:
                return True
            if stopping.wait(POLL_S):
                self.stop()
                raise DatabaseUnavailableError("PostgreSQL was stopped while it started")
            if time.monotonic() - told_at > PROGRESS_S:
                told_at = time.monotonic()
                logger.info(
                    "PostgreSQL recovers what was not yet in its files: %.0f s so far",
                    told_at - started_at,
                )
        return False


def end_orphan(layout: Layout, account: Account) -> None:
    """
    End the server of this data directory that outlived its supervisor, if there is one.

    It is ended and not adopted: only a parent learns at once when a process dies, and how.

    Raises:
        DatabaseUnavailableError: It does not end.
    """
    pid = _recorded_pid(layout.pgdata)
    if pid is None or not is_postmaster(pid, layout.pgdata, account.uid):
        return
    logger.warning("PostgreSQL (process %d) outlived its supervisor: it is stopped first", pid)
    for request, patience_s in (
        (signal.SIGINT, FAST_SHUTDOWN_S),
        (signal.SIGQUIT, IMMEDIATE_SHUTDOWN_S),
        (signal.SIGKILL, IMMEDIATE_SHUTDOWN_S),
    ):
        _signal_postmaster(pid, request, layout.pgdata, account.uid)
        ends_at = time.monotonic() + patience_s
        while time.monotonic() < ends_at:
            if not is_postmaster(pid, layout.pgdata, account.uid):
                return
            time.sleep(POLL_S)
    raise DatabaseUnavailableError(
        f"a PostgreSQL without a supervisor (process {pid}) runs in {layout.pgdata} and does "
        "not end: end it by hand"
    )


def is_postmaster(pid: int, pgdata: Path, uid: int) -> bool:
    """Whether process `pid` is, beyond doubt, a server of user `uid` working in `pgdata`."""
    if not sys.platform.startswith("linux"):
        return _is_postmaster_by_ps(pid, pgdata, uid)
    process = Path("/proc", str(pid))
    try:
        # Its children have titles in place of arguments; an ended one has none.
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        if process.stat().st_uid != uid or Path(os.fsdecode(arguments[0])).name != "postgres":
            return False
        return (process / "cwd").samefile(pgdata)
    except PermissionError:
        # Root without CAP_SYS_PTRACE, as in most containers, sees the arguments only.
        return os.fsencode(pgdata) in arguments
    except OSError:
        return False


def _is_postmaster_by_ps(pid: int, pgdata: Path, uid: int) -> bool:
    listed = subprocess.run(  # noqa: S603 - a system program and a number
        ["/bin/ps", "-ww", "-o", "uid=,command=", "-p", str(pid)],
        capture_output=True,
        check=False,
    )
    owner, _, command = listed.stdout.strip().partition(b" ")
    return owner == str(uid).encode() and command.endswith(b"/postgres -D " + os.fsencode(pgdata))


def _signal_postmaster(pid: int, request: signal.Signals, pgdata: Path, uid: int) -> None:
    with suppress(ProcessLookupError):
        if not sys.platform.startswith("linux"):
            if is_postmaster(pid, pgdata, uid):
                os.kill(pid, request)
            return
        # The handle is taken before the proof, so that the proof is about its process.
        handle = os.pidfd_open(pid)
        try:
            if is_postmaster(pid, pgdata, uid):
                signal.pidfd_send_signal(handle, request)
        finally:
            os.close(handle)


def _remove_leftovers(layout: Layout, account: Account, socket_dir: Path) -> None:
    # PostgreSQL does not start while any living process has the number in its lock files.
    # Ours are removed once that process is known to be another. Should a server be alive
    # all the same, PostgreSQL still refuses: it finds the shared memory of PGDATA in use.
    pid = _recorded_pid(layout.pgdata)
    if pid is not None and is_postmaster(pid, layout.pgdata, account.uid):
        raise DatabaseUnavailableError(f"another PostgreSQL (process {pid}) is in {layout.pgdata}")
    (layout.pgdata / "postmaster.pid").unlink(missing_ok=True)
    for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
        (socket_dir / name).unlink(missing_ok=True)


def _recorded_pid(pgdata: Path) -> int | None:
    lines = _read_pid_file(pgdata)
    if not lines or not lines[0].lstrip("-").isdecimal():
        return None
    # A standalone backend writes its number with a minus sign.
    return abs(int(lines[0])) or None


def _read_pid_file(pgdata: Path) -> list[str]:
    try:
        text = (pgdata / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.split("\n")]


def _last_words(layout: Layout) -> str:
    logs = sorted(layout.log.glob("postgresql-*.log"))[-1:]
    for path in (layout.startup_log, *logs):
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65_536))
            lines = file.read().decode(errors="replace").splitlines()
        for line in reversed(lines):
            # "the database system is starting up" is what it told someone else.
            if ("FATAL:" in line or "PANIC:" in line) and "the database system is" not in line:
                return line
    return "it said nothing"

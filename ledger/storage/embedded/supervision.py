"""
Supervision: one process looks after the server, and the others find it there.

The lock says who supervises; it ends with its process, however that ends. The record says
where the server is.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ledger.errors import DatabaseUnavailableError, SettingsError
from ledger.storage.embedded.account import Account
from ledger.storage.embedded.cluster import conninfo
from ledger.storage.embedded.layout import Layout, layout_of, write_atomically

# A command may hold the lock for the second or two it works on its own.
LOCK_PATIENCE_S = 3.0
# What a service waits for such a command to end, before it uses the command's server.
COMMAND_PATIENCE_S = 5.0
# The supervisor may still wait for recovery; longer, and the caller is told.
ATTACH_PATIENCE_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """What `server.json` says."""

    supervisor: int
    """Process id of who looks after the server."""
    pid: int | None
    """Process id of the server; None until it accepts connections."""
    socket_dir: str
    started_at: str
    """RFC 3339, UTC."""
    stays: bool = True
    """Whether a service looks after it; the server of a command ends with the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A server that another process looks after."""

    layout: Layout
    socket_dir: Path
    supervisor: int
    """Process id of that process."""
    stays: bool
    """Whether that process is a service."""

    def conninfo(self, role: str) -> str:
        """The libpq connection string of `role` in the ledger's database."""
        # Whoever looks after the server by now may have put its socket elsewhere.
        record = read_record(self.layout)
        return conninfo(self.socket_dir if record is None else Path(record.socket_dir), role)


def attach(data_dir: Path) -> Attached | None:
    """
    The server of `data_dir`, if a living process supervises it.

    Waits for one that is about to accept connections.

    Raises:
        DatabaseUnavailableError: It has been starting for a minute.
        SettingsError: The data directory belongs to another user.
    """
    layout = layout_of(data_dir)
    patience_ends_at = time.monotonic() + ATTACH_PATIENCE_S
    while (supervisor := supervisor_of(layout)) is not None:
        record = read_record(layout)
        # A record of an earlier supervisor may not have been replaced yet.
        if record is not None and record.pid is not None and record.supervisor == supervisor:
            return Attached(
                layout=layout,
                socket_dir=Path(record.socket_dir),
                supervisor=supervisor,
                stays=record.stays,
            )
        if time.monotonic() > patience_ends_at:
            raise DatabaseUnavailableError(
                f"process {supervisor} is still starting PostgreSQL in {layout.data_dir}"
            )
        time.sleep(POLL_S)
    return None


def attach_to_service(data_dir: Path) -> Attached | None:
    """
    As `attach`, for a process that stays: the server of a command is not one to build on.

    Waits a while for the command to end. One that goes on is attached to, like a service.
    """
    patience_ends_at = time.monotonic() + COMMAND_PATIENCE_S
    while (attached := attach(data_dir)) is not None:
        if attached.stays or time.monotonic() > patience_ends_at:
            return attached
        time.sleep(POLL_S)
    return None


def supervisor_of(layout: Layout) -> int | None:
    """
    Process id of who supervises this data directory now; None if nobody does.

    Raises:
        SettingsError: The data directory belongs to another user.
    """
    try:
        descriptor = os.open(layout.lock, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise SettingsError(
            f"the database in {layout.data_dir} belongs to another user: run this as that user"
        ) from error
    try:
        # Shared, so that two commands that look at once do not take each other for one.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(descriptor)
    finally:
        os.close(descriptor)
    return None


@contextmanager
def supervise(layout: Layout, account: Account) -> Iterator[None]:
    """
    Be the one supervisor of this data directory until the block ends.

    Raises:
        SettingsError: Another process is; names it and the way out.
    """
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, account.keeper_uid, -1)
        if not _lock_patiently(descriptor):
            holder = _read_pid(descriptor)
            raise SettingsError(
                f"process {holder} already runs the database in {layout.data_dir}: stop it "
                "first, or give this service another EFFECT_LEDGER_DATA_DIR",
                pid=holder,
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # Closing unlocks. The file stays: were it deleted, two processes could each lock one.
        os.close(descriptor)


def read_record(layout: Layout) -> ServerRecord | None:
    """What the last supervisor recorded; None if nothing legible."""
    try:
        return ServerRecord(**json.loads(layout.record.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_record(layout: Layout, account: Account, record: ServerRecord) -> None:
    """Tell the others where the server is."""
    content = json.dumps(asdict(record), indent=2).encode() + b"\n"
    write_atomically(layout.record, content, uid=account.keeper_uid)


def _lock_patiently(descriptor: int) -> bool:
    patience_ends_at = time.monotonic() + LOCK_PATIENCE_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > patience_ends_at:
            return False
        time.sleep(POLL_S)


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).decode("ascii", errors="replace").strip()
    return int(text) if text.isdecimal() else 0

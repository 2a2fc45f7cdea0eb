"""
Layout: what lies where in the data directory, whose it is, and who may enter.

    data_dir/                  ours alone; as root, open for passing to PostgreSQL's group
    |__postgres/               likewise
       |__18/                  PGDATA
       |__log/                 PostgreSQL's own log
       |__socket/              its socket, where the path is short enough for one
       |__runtime/             a copy of its programs, where it cannot reach the installed ones
       |__supervisor.lock      held by the one process that supervises
       |__server.json          how the others find the server
       |__startup.log          what PostgreSQL said before its own log began

Directories above data_dir are made when missing and never changed when there.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import SettingsError
from ledger.storage.embedded.account import Account, first_blocked
from ledger.storage.embedded.binaries import MAJOR

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
# sun_path holds 107 bytes and a NUL on Linux, 103 on macOS and the BSDs (unix(7)).
SOCKET_PATH_BYTES_MAX = 103
# PostgreSQL builds paths in buffers of 1,024 bytes (MAXPGPATH), with file names below PGDATA.
PGDATA_BYTES_MAX = 900
SOCKET_PREFIX = "effect-ledger-"
# A directory with nothing else in it was given to the ledger.
OUR_NAMES = {"keys", "postgres", "signer"}
WAY_OUT = "set EFFECT_LEDGER_DATA_DIR to a directory it can enter, such as /var/lib/effect-ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The paths of one data directory."""

    data_dir: Path
    """Absolute, symbolic links resolved."""

    @property
    def postgres(self) -> Path:
        """Everything of the embedded server."""
        return self.data_dir / "postgres"

    @property
    def pgdata(self) -> Path:
        """PGDATA of this major version."""
        return self.postgres / str(MAJOR)

    @property
    def log(self) -> Path:
        """PostgreSQL's log files."""
        return self.postgres / "log"

    @property
    def runtime(self) -> Path:
        """A copy of the programs."""
        return self.postgres / "runtime"

    @property
    def lock(self) -> Path:
        """Locked by the supervisor; holds its process id."""
        return self.postgres / "supervisor.lock"

    @property
    def record(self) -> Path:
        """How other processes find the server."""
        return self.postgres / "server.json"

    @property
    def startup_log(self) -> Path:
        """What PostgreSQL says until its own log begins."""
        return self.postgres / "startup.log"


def layout_of(data_dir: Path) -> Layout:
    """The layout of `data_dir`, which need not exist."""
    return Layout(data_dir=data_dir.resolve())


def prepare(layout: Layout, account: Account) -> None:
    """
    Make the directories that are missing and close those that are ours.

    Raises:
        SettingsError: PostgreSQL's user could not enter, the path is too long, or the
            directory is someone else's. Nothing was made where a parent is closed.
    """
    if len(os.fsencode(layout.pgdata)) > PGDATA_BYTES_MAX:
        raise SettingsError(
            f"the path of the data directory is longer than PostgreSQL can use: {layout.data_dir}"
        )
    existing = next(path for path in layout.data_dir.parents if path.exists())
    _check_entrance(existing, account)

    for parent in reversed(layout.data_dir.parents):
        if not parent.exists():
            make_directory(parent, account.keeper_uid, -1, 0o755 if os.geteuid() == 0 else 0o700)
    if not layout.data_dir.exists() or _is_ours(layout.data_dir):
        _make_passage(layout.data_dir, account)
    _check_entrance(layout.data_dir, account)
    _make_passage(layout.postgres, account)
    make_directory(layout.log, account.uid, account.gid, 0o700)


def make_directory(path: Path, uid: int, gid: int, mode: int) -> None:
    """
    Make a directory, or make an existing one be as told, without following a link.

    Raises:
        SettingsError: Something else has that name, or it belongs to another user.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise SettingsError(f"{path} must be a directory of ours: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in {os.geteuid(), uid}:
            raise SettingsError(f"{path} belongs to user id {found.st_uid}, not to {uid}")
        if os.geteuid() == 0:
            os.fchown(descriptor, uid, gid)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes, *, uid: int, gid: int = -1) -> None:
    """Replace a file by one that only `uid` may read: a reader sees the old or the new."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            if os.geteuid() == 0:
                os.fchown(descriptor, uid, gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename in this directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_socket_directory(layout: Layout, account: Account) -> Path:
    """
    A directory only `account` may enter, with a path short enough for a socket.

    Inside the data directory where that fits, else a fresh one with a random name.

    Raises:
        SettingsError: No directory for short-lived files can be written.
    """
    inside = layout.postgres / "socket"
    if _can_hold_socket(inside):
        make_directory(inside, account.uid, account.gid, 0o700)
        return inside
    for base in _short_places():
        if _can_hold_socket(base / f"{SOCKET_PREFIX}12345678") and os.access(base, os.W_OK):
            made = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=base))
            make_directory(made, account.uid, account.gid, 0o700)
            return made
    raise SettingsError(
        f"the path {inside} is too long for a socket, and /tmp cannot be written: "
        "set EFFECT_LEDGER_DATA_DIR to a shorter path"
    )


def remove_socket_directory(path: Path, layout: Layout, account: Account) -> None:
    """Remove what a server left: its socket, and the directory if it was made for it."""
    is_inside = path.parent == layout.postgres
    if not is_inside and not path.name.startswith(SOCKET_PREFIX):
        return
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    # The name may be another's by now: places for short-lived files are emptied by others.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid:
        return
    for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
        (path / name).unlink(missing_ok=True)
    if not is_inside:
        # Something else in it is not ours to delete, and does no harm.
        with suppress(OSError):
            path.rmdir()


def _check_entrance(path: Path, account: Account) -> None:
    blocked = first_blocked(account, path)
    if blocked is not None:
        raise SettingsError(
            f"PostgreSQL runs as user {account.name}, who cannot enter {blocked}: {WAY_OUT}",
            blocked=str(blocked),
        )


def _is_ours(data_dir: Path) -> bool:
    # A directory with other things in it keeps its mode: /var/lib given by mistake would
    # else be closed to the whole machine. What we put into it closes itself.
    if os.geteuid() not in {0, data_dir.stat().st_uid}:
        return False
    return OUR_NAMES.issuperset(path.name for path in data_dir.iterdir())


def _make_passage(path: Path, account: Account) -> None:
    gid = account.gid if os.geteuid() == 0 else -1
    make_directory(path, account.keeper_uid, gid, account.directory_mode)


def _can_hold_socket(path: Path) -> bool:
    # libpq splits a host at commas, and sends the path as UTF-8.
    text = str(path)
    return (
        len(os.fsencode(path)) + len(f"/{SOCKET_NAME}") <= SOCKET_PATH_BYTES_MAX
        and "," not in text
        and text.isprintable()
    )


def _short_places() -> list[Path]:
    # XDG_RUNTIME_DIR comes late: it disappears when its user logs out, the service may not.
    places = [Path("/run")] if os.geteuid() == 0 else []
    places.append(Path("/tmp"))  # noqa: S108 - mkdtemp makes a private directory in it
    if os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(os.environ["XDG_RUNTIME_DIR"]))
    return places

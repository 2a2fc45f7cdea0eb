"""
Store: what a witness must never forget, in one file that every commit has brought to disk.

Of each log the largest tree that was cosigned, and beside it what was refused as another history.
Whether a tree may follow is for `witness`; here it is made sure that one decision at a time is
taken, on what is really stored, and that it is stored before anybody hears of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.errors import OverloadedError, PushbackError, SettingsError
from ledger.signing.keys import sync_directory

# A turn is some checks and one commit: who waits longer meets a disk that does not answer.
TURN_TIMEOUT_S = 5.0
REFUSALS_KEPT = 100
"""Of each log; the first ones, which tell how it began."""

_OURS_ALONE = 0o600

_SCHEMA = """
create table if not exists identity (
    algorithm integer primary key,
    vkey      text not null
);

-- One row per log: the largest tree that was cosigned.
create table if not exists latest (
    origin      text primary key,
    origin_hash text not null unique,
    size        integer not null check (size >= 0),
    root        blob not null check (length(root) = 32),
    time        integer not null check (time > 0),
    note        blob not null
);

-- Checkpoints that their log signed and that do not follow: what a fork is proved with.
create table if not exists refusals (
    origin      text not null,
    size        integer not null,
    root        blob not null,
    old_size    integer not null,
    received_at integer not null,
    note        blob not null,
    primary key (origin, size, root)
);

create trigger if not exists only_grow before update on latest
when new.origin != old.origin or new.size < old.size or new.time < old.time
    or (new.size = old.size and new.root != old.root)
begin
    select raise(abort, 'a witness does not go back');
end;

create trigger if not exists never_forget before delete on latest
begin
    select raise(abort, 'a witness does not forget');
end;
"""

SELECT_IDENTITY = "select algorithm, vkey from identity"
INSERT_IDENTITY = "insert or ignore into identity (algorithm, vkey) values (?, ?)"
SELECT_VKEY = "select vkey from identity where algorithm = ?"
SELECT_LATEST = "select size, root, time from latest where origin = ?"
UPSERT_LATEST = """
insert into latest (origin, origin_hash, size, root, time, note) values (?, ?, ?, ?, ?, ?)
on conflict (origin) do update
set size = excluded.size, root = excluded.root, time = excluded.time, note = excluded.note
"""
SELECT_NOTE = "select note from latest where origin_hash = ?"
COUNT_REFUSALS = "select count(*) from refusals where origin = ?"
INSERT_REFUSAL = "insert or ignore into refusals values (?, ?, ?, ?, ?, ?)"
SELECT_REFUSALS = "select note from refusals where origin = ? order by rowid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The largest tree of a log that was cosigned."""

    size: int
    root: bytes
    """32 bytes."""
    time: int
    """POSIX seconds of the newest cosignature of it."""


class Turn:
    """One decision about one log; nobody else takes another one meanwhile."""

    def __init__(self, connection: sqlite3.Connection, origin: str) -> None:
        self._connection = connection
        self._origin = origin

    def latest(self) -> Latest | None:
        """What was cosigned last; None where nothing was."""
        row = self._connection.execute(SELECT_LATEST, [self._origin]).fetchone()
        return None if row is None else Latest(size=row[0], root=row[1], time=row[2])

    def keep(self, latest: Latest, note: bytes) -> None:
        """Remember this instead, once the turn ends; `note` is the checkpoint, cosigned."""
        self._connection.execute(
            UPSERT_LATEST,
            [
                self._origin,
                sha256(self._origin.encode()).hexdigest(),
                latest.size,
                latest.root,
                latest.time,
                note,
            ],
        )

    def keep_refusal(
        self, *, size: int, root: bytes, old_size: int, received_at: int, note: bytes
    ) -> None:
        """Keep a checkpoint that does not follow, once the turn ends, unless there are many."""
        [kept] = self._connection.execute(COUNT_REFUSALS, [self._origin]).fetchone()
        if kept < REFUSALS_KEPT:
            self._connection.execute(
                INSERT_REFUSAL, [self._origin, size, root, old_size, received_at, note]
            )


class WitnessStore:
    """
    The file. Any number of threads, and of processes of one host, may use it at once.

    A copy of it that is put back later makes a witness that contradicts itself.
    """

    def __init__(self, path: Path) -> None:
        """
        Open the file at `path`, or begin it, readable for nobody else.

        Raises:
            SettingsError: It cannot be opened, or is another kind of file.
        """
        self._path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OURS_ALONE))
            with closing(self._connect()) as connection:
                connection.executescript(_SCHEMA)
            sync_directory(path.parent)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"{path} cannot be the memory of a witness: {error}", path=str(path)
            ) from error

    def identity(self) -> dict[int, str]:
        """Algorithm -> the vkey that cosigned what is stored here."""
        with self._using() as connection:
            return dict(connection.execute(SELECT_IDENTITY).fetchall())

    def claim(self, algorithm: int, vkey: str) -> str:
        """The vkey that cosigns with this algorithm: this one, unless another one did before."""
        with self._using() as connection:
            connection.execute(INSERT_IDENTITY, [algorithm, vkey])
            [standing] = connection.execute(SELECT_VKEY, [algorithm]).fetchone()
        return str(standing)

    @contextmanager
    def turn(self, origin: str) -> Iterator[Turn]:
        """
        Take one decision about `origin`. What the block kept is on disk when it ends.

        Leaving the block with an exception means that nothing was kept.

        Raises:
            OverloadedError: Others take too long.
            PushbackError: The file cannot be used, or it is not sure that the disk has it.
        """
        with self._using() as connection:
            # At once and not at the first write: what is read must be what is replaced.
            connection.execute("begin immediate")
            try:
                yield Turn(connection, origin)
                connection.execute("commit")
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")

    def note(self, origin_hash: str) -> bytes | None:
        """The cosigned checkpoint of the log whose origin has this hash, in hexadecimal."""
        with self._using() as connection:
            row = connection.execute(SELECT_NOTE, [origin_hash]).fetchone()
        return None if row is None else bytes(row[0])

    def refusals(self, origin: str) -> list[bytes]:
        """Signed checkpoints of a log that were refused as another history, oldest first."""
        with self._using() as connection:
            return [bytes(note) for [note] in connection.execute(SELECT_REFUSALS, [origin])]

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connect()) as connection:
                yield connection
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise OverloadedError(
                    "others use the memory of the witness for too long"
                ) from error
            raise _unusable(error) from error
        except sqlite3.Error as error:
            raise _unusable(error) from error

    def _connect(self) -> sqlite3.Connection:
        # Opened for each use: nothing is shared between threads, and a file that was put in
        # this one's place is seen.
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=TURN_TIMEOUT_S,
            isolation_level=None,
        )
        try:
            # A journal that is deleted is the commit: only EXTRA waits until the directory
            # has that, too.
            connection.execute("pragma journal_mode = delete")
            connection.execute("pragma synchronous = extra")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _unusable(error: sqlite3.Error) -> PushbackError:
    return PushbackError(f"the memory of the witness cannot be used: {error}")

"""
Receipt stores: where receipts are kept, and the keys of ledgers that were learned once.

A receipt proves its entry for ever, alone and offline, to whoever still has it. Any object with
these four methods is a store; three are here. All may be shared between threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import orjson

from ledger.receipt import LEVELS


@runtime_checkable
class ReceiptStore(Protocol):
    """
    What a client needs of a place for receipts.

    A `place` is the URL of a ledger. Once a method returns, what it was given is kept; an
    exception of any kind tells that it may not be.
    """

    def keep(self, place: str, document: Mapping[str, Any]) -> None:
        """
        Keep an answer with its receipt under its `id`; one that proves more replaces one that
        proves less, and no other.
        """
        ...

    def get(self, place: str, entry_id: str) -> Mapping[str, Any] | None:
        """What was kept of an entry."""
        ...

    def pin(self, place: str, vkeys: Sequence[str]) -> None:
        """From now on believe these keys of a ledger, in place of all before."""
        ...

    def pinned(self, place: str) -> tuple[str, ...]:
        """The keys that are believed; empty where none were learned."""
        ...


class MemoryReceipts:
    """Keeps receipts as long as the process lives, all of them; for tests and short programs."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._pins: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def keep(self, place: str, document: Mapping[str, Any]) -> None:
        """As `ReceiptStore.keep`."""
        with self._lock:
            name = (place, document["id"])
            self._kept[name] = better(self._kept.get(name), document)

    def get(self, place: str, entry_id: str) -> Mapping[str, Any] | None:
        """As `ReceiptStore.get`."""
        return self._kept.get((place, entry_id))

    def pin(self, place: str, vkeys: Sequence[str]) -> None:
        """As `ReceiptStore.pin`."""
        with self._lock:
            self._pins[place] = tuple(vkeys)

    def pinned(self, place: str) -> tuple[str, ...]:
        """As `ReceiptStore.pinned`."""
        return self._pins.get(place, ())


class DirectoryReceipts:
    """
    One file per receipt, which `effect-ledger verify FILE` takes; for people and small services.

    Files are readable by their owner only, for receipts may carry salts of payloads.
    """

    def __init__(self, path: Path | str) -> None:
        """Keep below `path`, which is made where it is missing."""
        self._path = Path(path)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, place: str, document: Mapping[str, Any]) -> None:
        """As `ReceiptStore.keep`; synced before it returns."""
        with self._alone():
            kept = self.get(place, document["id"])
            chosen = better(kept, document)
            if chosen is not kept:
                file = self._file(place, document["id"])
                _replace(file, orjson.dumps(chosen, option=orjson.OPT_INDENT_2) + b"\n")

    def get(self, place: str, entry_id: str) -> Mapping[str, Any] | None:
        """As `ReceiptStore.get`."""
        content = _read(self._file(place, entry_id))
        found: Mapping[str, Any] | None = None if content is None else orjson.loads(content)
        return found

    def pin(self, place: str, vkeys: Sequence[str]) -> None:
        """As `ReceiptStore.pin`."""
        with self._alone():
            lines = "".join(f"{vkey}\n" for vkey in vkeys)
            _replace(self._folder(place) / _PINS, lines.encode())

    def pinned(self, place: str) -> tuple[str, ...]:
        """As `ReceiptStore.pinned`."""
        content = _read(self._folder(place) / _PINS)
        return () if content is None else tuple(content.decode().splitlines())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # Of the file system, for other instances and processes may keep below the same path.
        descriptor = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _file(self, place: str, entry_id: str) -> Path:
        assert entry_id.replace("-", "").isalnum(), "an id is a UUID and no path"
        return self._folder(place) / f"{entry_id}.json"

    def _folder(self, place: str) -> Path:
        # By its name for people, and by the hash of the whole: two services may have one name.
        name = place.rstrip("/").rpartition("/")[2]
        return self._path / f"{name}-{sha256(place.encode()).hexdigest()[:8]}"


_PINS = "vkeys"
_LOCK = ".lock"


class SqliteReceipts:
    """All receipts in one SQLite file; for services with many."""

    def __init__(self, path: Path | str) -> None:
        """Keep in the file `path`, which is made where it is missing."""
        self._lock = threading.Lock()
        # One connection, one statement at a time: SQLite has one writer anyway.
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        if str(path) != ":memory:":
            Path(path).chmod(0o600)
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def keep(self, place: str, document: Mapping[str, Any]) -> None:
        """As `ReceiptStore.keep`; on disk before it returns."""
        with self._transaction() as database:
            found = database.execute(_SELECT, (place, document["id"])).fetchone()
            kept = None if found is None else orjson.loads(found[0])
            chosen = better(kept, document)
            if chosen is not kept:
                database.execute(_REPLACE, (place, document["id"], orjson.dumps(chosen)))

    def get(self, place: str, entry_id: str) -> Mapping[str, Any] | None:
        """As `ReceiptStore.get`."""
        with self._lock:
            found = self._database.execute(_SELECT, (place, entry_id)).fetchone()
        document: Mapping[str, Any] | None = None if found is None else orjson.loads(found[0])
        return document

    def pin(self, place: str, vkeys: Sequence[str]) -> None:
        """As `ReceiptStore.pin`."""
        with self._transaction() as database:
            database.execute("delete from vkeys where place = ?", (place,))
            database.executemany(
                "insert into vkeys (place, number, vkey) values (?, ?, ?)",
                [(place, number, vkey) for number, vkey in enumerate(vkeys)],
            )

    def pinned(self, place: str) -> tuple[str, ...]:
        """As `ReceiptStore.pinned`."""
        with self._lock:
            found = self._database.execute(_SELECT_PINS, (place,)).fetchall()
        return tuple(vkey for (vkey,) in found)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            # Immediate: two processes that read before they write would else deadlock.
            self._database.execute("begin immediate")
            try:
                yield self._database
            except BaseException:
                self._database.execute("rollback")
                raise
            self._database.execute("commit")


_SCHEMA = """
pragma busy_timeout = 10000;
pragma synchronous = full;
create table if not exists receipts (
    place text not null,
    id text not null,
    document blob not null, -- the answer with its receipt, as JSON
    primary key (place, id)
) without rowid;
create table if not exists vkeys (
    place text not null,
    number integer not null,
    vkey text not null,
    primary key (place, number)
) without rowid;
"""
_SELECT = "select document from receipts where place = ? and id = ?"
_REPLACE = "insert or replace into receipts (place, id, document) values (?, ?, ?)"
_SELECT_PINS = "select vkey from vkeys where place = ? order by number"


def better(kept: Mapping[str, Any] | None, offered: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of two answers about one entry, the one that proves more; else the one that was first."""
    if kept is None or _rank(offered) > _rank(kept):
        return offered
    return kept


def _rank(document: Mapping[str, Any]) -> int:
    receipt = document.get("receipt")
    level = receipt.get("level") if isinstance(receipt, Mapping) else None
    return LEVELS.index(level) if level in LEVELS else -1


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _replace(file: Path, content: bytes) -> None:
    """Whole or not at all, and on disk: a crash leaves the old file or the new one."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        Path(beside).replace(file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(beside).unlink()
        raise
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

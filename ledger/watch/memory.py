"""
Memory: what a watcher must not forget, in one file that is whole at any moment.

    one line of JSON
    SHA-256 of that line, in hexadecimal

The file is replaced and never written over, and is on disk before anybody is told of what is in
it. One watcher at a time has it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import LedgerError, SettingsError
from ledger.note import parse_note
from ledger.signing.keys import sync_directory

VERSION = 1
CHECKPOINTS_KEPT = 32
"""The first and the newest, and between them fewer the older they are."""
UNDELIVERED_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A checkpoint that was verified when it was seen."""

    note: str
    """Signed note, as it was shown."""
    seen_at: str

    @property
    def checkpoint(self) -> Checkpoint:
        """What it states."""
        return parse_checkpoint(parse_note(self.note.encode()).text)


@dataclass(slots=True, kw_only=True)
class Memory:
    """What one watcher knows of one log. Whoever changes it saves it."""

    log: str
    """Where it is read."""
    origin: str
    vkeys: tuple[str, ...]
    """Whose signatures counted last."""
    trusted_on_first_use: bool
    """Whether they are the log's own word, and nobody else's."""
    began_at: str
    seen: list[Sighting] = field(default_factory=list)
    """Smallest tree first."""
    fresh_at: str
    """When a signature was seen last that was not there before, or witnesses say so."""
    standing: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Kind -> the alarm of that kind which was raised and not taken back."""
    undelivered: list[dict[str, Any]] = field(default_factory=list)
    """What the webhook has not taken yet, oldest first."""

    def remember(self, sighting: Sighting) -> None:
        """Keep one more checkpoint, larger than all others or the first; old ones thin out."""
        self.seen.append(sighting)
        if len(self.seen) > CHECKPOINTS_KEPT:
            del self.seen[_least_missed([each.checkpoint.size for each in self.seen])]

    def queue(self, alert: dict[str, Any]) -> None:
        """Keep what is to be told, until it was."""
        # The first ones tell how it began.
        if len(self.undelivered) < UNDELIVERED_KEPT:
            self.undelivered.append(alert)


def _least_missed(sizes: Sequence[int]) -> int:
    """Which one between first and last lies closest to its neighbours, for its age."""
    newest = sizes[-1]
    return min(
        range(1, len(sizes) - 1),
        key=lambda at: (sizes[at + 1] - sizes[at - 1]) / (newest - sizes[at - 1] + 1),
    )


class MemoryFile:
    """The file, held by one watcher."""

    def __init__(self, path: Path) -> None:
        """The file at `path`; see `held_memory`."""
        self.path = path

    @property
    def evidence(self) -> Path:
        """The directory beside it, for what proves a fork."""
        return self.path.with_name(f"{self.path.name}.evidence")

    def load(self) -> Memory | None:
        """
        What was saved last; None where nothing was yet.

        Raises:
            SettingsError: The file cannot be read, or is not as it was saved.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(self.path, str(error.strerror)) from error
        line, _, rest = content.partition(b"\n")
        if rest != f"{sha256(line).hexdigest()}\n".encode():
            raise _unusable(self.path, "it is not as it was saved")
        try:
            document = orjson.loads(line)
            if document.pop("v") != VERSION:
                raise _unusable(self.path, "another version of this program wrote it")
            if document.keys() != {each.name for each in fields(Memory)}:
                raise _unusable(self.path, "it is no memory of a watcher")
            document["seen"] = [Sighting(**each) for each in document["seen"]]
            document["vkeys"] = tuple(document["vkeys"])
            return Memory(**document)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _unusable(self.path, "it is no memory of a watcher") from error

    def save(self, memory: Memory) -> None:
        """
        Replace the file, and return once it is on disk.

        Raises:
            SettingsError: It cannot be written; what was there is there.
        """
        line = orjson.dumps({"v": VERSION, **asdict(memory)})
        content = line + f"\n{sha256(line).hexdigest()}\n".encode()
        try:
            write_synced(self.path, content)
        except OSError as error:
            raise _unusable(self.path, str(error.strerror)) from error


@contextmanager
def held_memory(path: Path) -> Iterator[MemoryFile]:
    """
    Keep other watchers from the file at `path`, which need not be there yet.

    Raises:
        SettingsError: Another watcher has it, or its directory cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside it: the file itself is another one after each save.
        descriptor = os.open(
            path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"another watch has {path}: end it, or give this one another --memory"
            ) from error
        yield MemoryFile(path)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Have a file hold `content`, on disk; whoever opens it finds this or what was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(path)
    sync_directory(path.parent)


def _unusable(path: Path, why: str) -> LedgerError:
    return SettingsError(
        f"{path} cannot be the memory of a watch: {why}. Bring it back from a copy; or move it "
        "away, and the log is looked at as if for the first time",
        path=str(path),
    )

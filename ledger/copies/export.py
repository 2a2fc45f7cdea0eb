"""
Export: a log as plain files under the paths of C2SP tlog-tiles, so that the same programs read it.

Nothing is believed but what a hash says that was believed before: the root that is signed, then
the tiles below it, then the entries. What is there already is held to the same hashes, and is not
fetched again. How files are fetched, and whose signature counts, is for others.
https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.copies.continuity import find_contradiction, tile_reader
from ledger.copies.log_copy import COSIGNED_FILE
from ledger.errors import (
    ConsistencyError,
    InclusionError,
    MalformedProofError,
    SettingsError,
    SignatureError,
    VerificationError,
)
from ledger.merkle import HASH_BYTES, Frontier, leaf_hash, root_of
from ledger.note import VerifierKey
from ledger.tiles import TILE_WIDTH, parse_entry_bundle, partial_width, tile_path
from ledger.tree import Tree

Fetch = Callable[[str], bytes]
"""Path below the log's prefix -> what the log serves there. Called from several threads."""
Tell = Callable[[int, int], None]
"""(entries that are there, of how many)."""

CHECKPOINT = "checkpoint"
# Each has up to 16 MiB, and waits for the network most of its time.
BUNDLES_TOGETHER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A copy that is whole: every file in it is proved by the signed root."""

    checkpoint: Checkpoint
    grown_from: int | None
    """Size of the copy before; None where there was none."""
    kept: int
    """Tiles and bundles that were there, and right."""
    written: int
    """Those that were not."""
    repaired: int
    """Of the written, those in whose place something else stood."""


def export_log(
    ledger: str,
    fetch: Fetch,
    directory: Path,
    verifiers: Sequence[VerifierKey],
    tell: Tell | None = None,
    *,
    cosigned: bytes | None = None,
) -> Exported:
    """
    Bring the copy of a ledger's log in `directory` to the log's newest checkpoint.

    The file `checkpoint` is replaced last, when everything under it is on disk: whoever reads
    the directory finds a whole log at any time, and an export that was cut short is taken up
    where it stopped.

    Args:
        ledger: Name of the ledger.
        fetch: Reads the log.
        directory: Made where it is missing.
        verifiers: Keys of the log that are trusted.
        tell: Progress.
        cosigned: The newest checkpoint that witnesses saw, as the log shows it, asked for before
            the newest one; it is kept beside that, and witnesses are for who verifies the copy.

    Raises:
        SettingsError: The directory cannot be used, or holds another log.
        SignatureError: A checkpoint is not signed by a key that is trusted, or another ledger's.
        ConsistencyError: The log does not continue the one that is kept. Nothing was written.
        InclusionError: What the log serves is not what it signed. What was right was written,
            the checkpoint was not.
        MalformedProofError: A checkpoint is none.
    """
    with _usable(directory), _held(directory):
        kept = _kept_checkpoint(directory, verifiers)
        note = fetch(CHECKPOINT)
        newest = _open_newest(note, verifiers, ledger)
        if kept is not None:
            # Before anything is written: of two histories, the one that is here is evidence.
            _check_continued(kept, newest, fetch, f"the checkpoint in {directory}")
        if cosigned is not None:
            _check_continued(
                open_checkpoint(cosigned, verifiers), newest, fetch, "what witnesses saw of it"
            )
        copy = _Copy(fetch, directory, newest, tell or (lambda _done, _size: None))
        copy.settle()
        copy.publish(note)
        if cosigned is not None:
            _write(directory / COSIGNED_FILE, cosigned)
            _sync(directory)
    return Exported(
        checkpoint=newest,
        grown_from=None if kept is None else kept.size,
        kept=copy.kept,
        written=copy.written,
        repaired=copy.repaired,
    )


def _kept_checkpoint(directory: Path, verifiers: Sequence[VerifierKey]) -> Checkpoint | None:
    note = _read(directory / CHECKPOINT)
    if note is None:
        return None
    try:
        return open_checkpoint(note, verifiers)
    except VerificationError as error:
        raise type(error)(
            f"the checkpoint in {directory} proves nothing: {error.message}. Give the key it was "
            "signed with, or export to another directory",
            **error.details,
        ) from error


def _open_newest(note: bytes, verifiers: Sequence[VerifierKey], ledger: str) -> Checkpoint:
    newest = open_checkpoint(note, verifiers)
    # An origin is <host>/<ledger>: one trusted key may sign for many.
    if newest.origin.rpartition("/")[2] != ledger:
        raise SignatureError(
            f"the log shows a checkpoint of {newest.origin} for ledger {ledger}",
            found=newest.origin,
        )
    return newest


def _check_continued(kept: Checkpoint, newest: Checkpoint, fetch: Fetch, what: str) -> None:
    if kept.origin != newest.origin:
        raise SettingsError(f"{what} is of {kept.origin}, not of {newest.origin}")
    if newest.size < kept.size:
        raise ConsistencyError(
            f"the log shows {newest.size} entries, and {what} was signed over {kept.size}: what "
            "was shown before is gone",
            expected=kept.size,
            found=newest.size,
        )

    try:
        forked = find_contradiction(kept, newest, Tree(tile_reader(fetch)))
    except InclusionError as error:
        raise _not_continued(kept, newest, what, error.message) from error
    if forked is not None:
        raise _not_continued(kept, newest, what, f"it has there the root {forked.old_root.hex()}")


def _not_continued(kept: Checkpoint, newest: Checkpoint, what: str, why: str) -> ConsistencyError:
    return ConsistencyError(
        f"the log at {newest.size} entries does not continue the {kept.size} that {what} was "
        f"signed over: {why}",
        old=kept.size,
        new=newest.size,
    )


# ---- The copy -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A tile that is proved."""

    level: int
    index: int
    hashes: Sequence[bytes]


class _Copy:
    """The files of a log at one size, on their way to being all there."""

    def __init__(self, fetch: Fetch, directory: Path, checkpoint: Checkpoint, tell: Tell) -> None:
        self._fetch = fetch
        self._directory = directory
        self._checkpoint = checkpoint
        self._tell = tell
        # Bundles are settled by several threads.
        self._lock = threading.Lock()
        self._directories: set[Path] = set()
        self._superseded: list[Path] = []
        self.kept = self.written = self.repaired = 0

    def settle(self) -> None:
        """Have every file that the checkpoint stands for, and each the right one."""
        with ThreadPoolExecutor(BUNDLES_TOGETHER) as pool:
            try:
                for tile in self._settle_edge():
                    self._settle_below(pool, tile)
            except BaseException:
                # What has not begun has become pointless.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self._tell(self._checkpoint.size, self._checkpoint.size)

    def publish(self, note: bytes) -> None:
        """Replace the checkpoint; all that it stands for is on disk before."""
        if _read(self._directory / CHECKPOINT) != note:
            # Also those of files that are kept: an export that was killed may not have come here.
            for each in self._directories:
                _sync(each)
            _write(self._directory / CHECKPOINT, note)
            _sync(self._directory)
        # Not before: who reads by the old checkpoint still asks for partial tiles of its size.
        for partial in self._superseded:
            shutil.rmtree(partial)

    def _settle_edge(self) -> list[_Tile]:
        """The partial tiles, top level first; fetched always, for only together they are proved."""
        size = self._checkpoint.size
        edge: list[_Tile] = []
        files: dict[str, bytes] = {}
        for level in reversed(range((size.bit_length() + 7) // 8)):
            index = (size >> (8 * level)) // TILE_WIDTH
            width = partial_width(level, index, size)
            if width == 0:
                continue
            path = tile_path(level or "entries", index, width)
            files[path] = self._fetch(path)
            hashes = _split(files[path]) if level else _hashed(path, files[path])
            if len(hashes) != width:
                raise _unproved(path, f"it has {len(hashes)} hashes, and {width} are signed")
            # Of level 0 made from the entries, so that hashes and entries cannot disagree.
            files[tile_path(level, index, width)] = b"".join(hashes)
            edge.append(_Tile(level=level, index=index, hashes=hashes))
        _check_root(self._checkpoint, edge)
        for path, octets in files.items():
            self._place(path, octets, there=_read(self._directory / path))
        return edge

    def _settle_below(self, pool: Executor, tile: _Tile) -> None:
        """Settle all below a tile: each of its hashes is the root of a full one."""
        first = tile.index * TILE_WIDTH
        below = range(first, first + len(tile.hashes))
        if tile.level > 1:
            for index, root in zip(below, tile.hashes, strict=True):
                self._settle_below(pool, self._settle_tile(tile.level - 1, index, root))
        elif tile.level == 1:
            settled = pool.map(self._settle_bundle, below, tile.hashes)
            for index, _ in zip(below, settled, strict=True):
                self._tell((index + 1) * TILE_WIDTH, self._checkpoint.size)

    def _settle_tile(self, level: int, index: int, root: bytes) -> _Tile:
        path = tile_path(level, index)
        there = _read(self._directory / path)
        hashes = [] if there is None else _split(there)
        if not _is_full(hashes, root):
            hashes = _split(self._fetch(path))
            if not _is_full(hashes, root):
                raise _unproved(path, "it has another root than the tile above it says")
        self._place(path, b"".join(hashes), there=there)
        return _Tile(level=level, index=index, hashes=hashes)

    def _settle_bundle(self, index: int, root: bytes) -> None:
        path, tile = tile_path("entries", index), tile_path(0, index)
        there = _read(self._directory / path)
        bundle = b"" if there is None else there
        hashes = _hashed_if_whole(bundle)
        if not _is_full(hashes, root):
            bundle = self._fetch(path)
            hashes = _hashed(path, bundle)
            if not _is_full(hashes, root):
                raise _unproved(path, "it has another root than the tile above it says")
        self._place(path, bundle, there=there)
        self._place(tile, b"".join(hashes), there=_read(self._directory / tile))

    def _place(self, path: str, octets: bytes, *, there: bytes | None) -> None:
        """Put what is proved under its path, where `there`, what is under it now, is not that."""
        file = self._directory / path
        if there != octets:
            _write(file, octets)
        partial = file.with_name(f"{file.name}.p")
        with self._lock:
            self._directories.update(_up_to(self._directory, file.parent))
            if there == octets:
                self.kept += 1
            else:
                self.written += 1
                self.repaired += there is not None
            if partial.is_dir():
                self._superseded.append(partial)


def _check_root(checkpoint: Checkpoint, edge: Sequence[_Tile]) -> None:
    """Check that partial tiles, top level first, are the right edge of the tree that is signed."""
    # Of a level's partial tile there is one complete subtree for each bit of its width, and the
    # widths of all levels together are the size.
    complete = [each for tile in edge for each in Frontier.empty().extend(tile.hashes).hashes]
    root = Frontier(size=checkpoint.size, hashes=tuple(complete)).root()
    if root != checkpoint.root:
        raise InclusionError(
            f"the last tiles of the log at {checkpoint.size} entries lead to another root than "
            "the one that is signed",
            expected=checkpoint.root.hex(),
            found=root.hex(),
        )


def _is_full(hashes: Sequence[bytes], root: bytes) -> bool:
    return len(hashes) == TILE_WIDTH and root_of(hashes) == root


def _split(tile: bytes) -> Sequence[bytes]:
    """The hashes of a tile; one too short at the end is none of the tree, and proves nothing."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def _hashed(path: str, bundle: bytes) -> Sequence[bytes]:
    """The leaf hashes of a bundle that was fetched."""
    try:
        return [leaf_hash(entry) for entry in parse_entry_bundle(bundle)]
    except MalformedProofError as error:
        raise _unproved(path, error.message) from error


def _hashed_if_whole(bundle: bytes) -> Sequence[bytes]:
    """The leaf hashes of a bundle that is here; none where it is damaged."""
    try:
        return [leaf_hash(entry) for entry in parse_entry_bundle(bundle)]
    except MalformedProofError:
        # It is fetched anew.
        return []


def _unproved(path: str, why: str) -> InclusionError:
    return InclusionError(f"{path} is not what the log signed: {why}", path=path)


# ---- Files ----------------------------------------------------------------------------


@contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or directory
        raise SettingsError(f"{place} cannot be used: {error.strerror or error}") from error


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Keep other exports from the directory, which is made where it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"another export writes to {directory}") from error
        yield
    finally:
        os.close(descriptor)


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _write(file: Path, octets: bytes) -> None:
    """Have a file hold `octets`, on disk; whoever opens it finds these or what was there before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # What a killed export left under this name is overwritten.
    new = file.with_name(f".{file.name}.new")
    with new.open("wb") as opened:
        opened.write(octets)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def _sync(directory: Path) -> None:
    """Have the names in a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _up_to(top: Path, directory: Path) -> Iterator[Path]:
    """`directory` and those above it, to `top`."""
    while directory != top:
        yield directory
        directory = directory.parent
    yield top

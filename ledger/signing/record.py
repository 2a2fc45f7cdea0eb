"""
Record: what one process has open of a signer's memory, one file of fixed size for each origin.

    page 0   slot    generation 0, 2, 4, ...
    page 1   mark    first byte 1 while a slot is being written
    page 2   slot    generation 1, 3, 5, ...

A slot is overwritten in place while the other one keeps what was signed before, so a write that
is torn loses nothing that a signature stands on. The mark tells the next process that the one
before it died between writing and knowing that the disk has it. It stands between the slots,
next to each: what one write dirties is contiguous. What may be signed is for `signer`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote
from weakref import WeakSet

from ledger.checkpoint import SIZE_MAX
from ledger.errors import LedgerBrokenError, SignerUnavailableError
from ledger.merkle import HASH_BYTES, Frontier
from ledger.signing.keys import open_or_create

logger = logging.getLogger(__name__)

# Who keeps a record longer than this is frozen, or catches up on a long history.
LOCK_TIMEOUT_S = 2.0
_LOCK_RETRY_S = 0.000_5

# Of each process, over all its signers: a ledger costs a file while it is used, not for ever.
OPEN_RECORDS_MAX = 128

_NAME_MAX = 64
_PAGE_BYTES = 4096
_SLOTS_AT = (0, 2 * _PAGE_BYTES)
_MARK_AT = _PAGE_BYTES
_FILE_BYTES = 3 * _PAGE_BYTES
_CHECKSUM_BYTES = sha256().digest_size
_FRONTIER_BYTES_MAX = SIZE_MAX.bit_length() * HASH_BYTES
# Purpose and version, generation, hash of the origin, size, root, frontier.
_SLOT = struct.Struct(f">32sQ32sQ32s{_FRONTIER_BYTES_MAX}s")
_PURPOSE = b"effect-ledger/signer-record/v1\n"
assert _SLOT.size + _CHECKSUM_BYTES <= _PAGE_BYTES, "a slot fits its page"

_sync_data = getattr(os, "fdatasync", os.fsync)


@contextmanager
def files_available() -> Iterator[None]:
    """
    Run a block that uses records.

    Raises:
        SignerUnavailableError: A file cannot be used.
    """
    try:
        yield
    except OSError as error:
        raise SignerUnavailableError(
            f"the signer's record cannot be used: {error.strerror or type(error).__name__}"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The largest tree that may have been signed."""

    generation: int
    """Counts writes of the record; its parity names the slot."""
    frontier: Frontier
    root: bytes


def _encode_slot(origin: str, signed: Signed) -> bytes:
    content = _SLOT.pack(
        _PURPOSE,
        signed.generation,
        sha256(origin.encode()).digest(),
        signed.frontier.size,
        signed.root,
        signed.frontier.to_bytes(),
    )
    return (content + sha256(content).digest()).ljust(_PAGE_BYTES, b"\0")


def _parse_slot(origin: str, page: bytes) -> Signed | None:
    """What a slot says; None where its checksum does not stand for it."""
    content, checksum = page[: _SLOT.size], page[_SLOT.size : _SLOT.size + _CHECKSUM_BYTES]
    if sha256(content).digest() != checksum:
        return None
    purpose, generation, origin_hash, size, root, hashes = _SLOT.unpack(content)
    if purpose.rstrip(b"\0") != _PURPOSE or origin_hash != sha256(origin.encode()).digest():
        raise LedgerBrokenError(
            f"the signer's record of {origin} is another origin's or another version's",
            origin=origin,
        )
    frontier = Frontier.from_bytes(size, hashes[: size.bit_count() * HASH_BYTES])
    return Signed(generation=generation, frontier=frontier, root=root)


def _empty_file(origin: str) -> bytes:
    empty = Frontier.empty()
    even, odd = (
        _encode_slot(origin, Signed(generation=generation, frontier=empty, root=empty.root()))
        for generation in (0, 1)
    )
    return even + bytes(_PAGE_BYTES) + odd


class Record:
    """
    The record file of one origin, as one process has it open.

    `read` and `write` are called while it is `held`, and only there.
    """

    def __init__(self, directory: Path, origin: str) -> None:
        # The name is for people; the digest tells apart what is equal to the eye.
        name = quote(origin.rpartition("/")[2], safe="")[:_NAME_MAX]
        digest = sha256(origin.encode()).hexdigest()[:16]
        self._path = directory / f"{name}.{digest}.record"
        self._origin = origin
        self._thread = threading.Lock()
        self._descriptor: int | None = None
        self._newest: Signed | None = None
        # Pages that were read, the one that was read first comes first.
        self._pages: dict[bytes, Signed | None] = {}
        _open_records.add(self)

    def create(self) -> None:
        """Make the file of an empty tree, unless there is a file."""
        open_or_create(self._path, lambda: _empty_file(self._origin)).close()

    def close(self) -> None:
        """Close the file."""
        with self._thread:
            self._close()

    def close_if_idle(self) -> bool:
        """Close the file unless a thread holds the record; whether it is closed."""
        if not self._thread.acquire(blocking=False):
            return False
        try:
            self._close()
        finally:
            self._thread.release()
        return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other thread and process from the record."""
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        if not self._thread.acquire(timeout=LOCK_TIMEOUT_S):
            raise _kept_too_long()
        try:
            descriptor = self._lock(deadline)
            _open_files.use(self)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._thread.release()

    def read(self) -> Signed:
        """The newest state, which is on disk when this returns."""
        descriptor = self._open()
        content = os.pread(descriptor, _FILE_BYTES, 0).ljust(_FILE_BYTES, b"\0")
        slots = [self._slot(content[at : at + _PAGE_BYTES]) for at in _SLOTS_AT]
        good = [slot for slot in slots if slot is not None]
        if not good:
            raise LedgerBrokenError(
                f"both halves of the signer's record of {self._origin} are damaged: bring back "
                f"the file {self._path.name}, or let a successor with a new origin cite the "
                "last good checkpoint",
                origin=self._origin,
            )
        if len(good) < len(slots):
            logger.warning("half of the signer's record of %s is damaged", self._origin)
        self._newest = max(good, key=lambda slot: slot.generation)
        if content[_MARK_AT]:
            # Whoever wrote this died or failed before the disk had it. The same bytes go to
            # the same place: the other half is all that is sure to be there.
            self._store(self._newest)
        return self._newest

    def _slot(self, page: bytes) -> Signed | None:
        # Nearly always one of the two that were here before: the same bytes say the same.
        if page not in self._pages:
            while len(self._pages) >= len(_SLOTS_AT):
                del self._pages[next(iter(self._pages))]
            self._pages[page] = _parse_slot(self._origin, page)
        return self._pages[page]

    def write(self, frontier: Frontier) -> Signed:
        """Replace the state that was read; it is on disk when this returns."""
        assert self._newest is not None, "what was not read is not replaced"
        assert frontier.size > self._newest.frontier.size, "a record never shrinks"
        signed = Signed(
            generation=self._newest.generation + 1, frontier=frontier, root=frontier.root()
        )
        self._store(signed)
        self._newest = signed
        return signed

    def _store(self, signed: Signed) -> None:
        descriptor = self._open()
        page = _encode_slot(self._origin, signed)
        _write(descriptor, b"\1", _MARK_AT)
        _write(descriptor, page, _SLOTS_AT[signed.generation % 2])
        _sync_data(descriptor)
        # Needs no sync: a mark that outlives a crash costs one more write.
        _write(descriptor, b"\0", _MARK_AT)

    def forget(self) -> None:
        """In the child of a fork: open the file anew."""
        # The lock belongs to what was opened, so to parent and child alike: they would not
        # exclude each other, and a lock of a parent that died would stay.
        self._close()
        self._thread = threading.Lock()

    def _lock(self, deadline: float) -> int:
        while True:
            descriptor = self._open()
            _lock_file(descriptor, deadline)
            # A file that was put in this one's place, or taken away, would not be locked.
            if _is_at(descriptor, self._path):
                return descriptor
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _open_files.remove(self)

    def _open(self) -> int:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise LedgerBrokenError(
                    f"the signer has no record of {self._origin}: without it nobody knows "
                    f"what was signed. Bring back the file {self._path.name}, or let a "
                    "successor with a new origin cite the last good checkpoint",
                    origin=self._origin,
                ) from error
            _open_files.use(self)
        return self._descriptor


def _lock_file(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise _kept_too_long() from error
            time.sleep(_LOCK_RETRY_S)
        else:
            return


def _kept_too_long() -> SignerUnavailableError:
    return SignerUnavailableError(f"the signer's record was kept for {LOCK_TIMEOUT_S:.0f} s")


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write(descriptor: int, data: bytes, at: int) -> None:
    written = os.pwrite(descriptor, data, at)
    if written != len(data):
        raise OSError(f"{written} of {len(data)} bytes were written")


class _OpenFiles:
    """Which records have their files open, those used longest ago first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[Record, None] = {}

    def use(self, record: Record) -> None:
        """Note that `record`, which a thread has, is used now; close others if they are many."""
        with self._lock:
            self._records.pop(record, None)
            self._records[record] = None
            too_many = len(self._records) - OPEN_RECORDS_MAX
            longest_ago_first = list(self._records) if too_many > 0 else []
        # Outside the lock: to close one takes it. A record opens again whenever it is used, so
        # no harm is done to one that was just about to be.
        for each in longest_ago_first:
            if too_many <= 0:
                break
            too_many -= each.close_if_idle()

    def remove(self, record: Record) -> None:
        """Note that the file of `record` is closed."""
        with self._lock:
            self._records.pop(record, None)

    def forget(self) -> None:
        """In the child of a fork: the lock may have been another thread's."""
        self._lock = threading.Lock()


_open_files = _OpenFiles()
_open_records: WeakSet[Record] = WeakSet()


def _forget_all() -> None:
    _open_files.forget()
    for record in _open_records:
        record.forget()


os.register_at_fork(after_in_child=_forget_all)

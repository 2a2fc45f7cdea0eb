"""
LogCopy: a copy of a log in files, as anybody may keep one, wherever it lies.

    checkpoint   tile/<level>/<index>[.p/<width>]   tile/entries/<index>[.p/<width>]

Takes apart what lies at a path, and holds a whole copy to its signed checkpoint.
https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ledger.checkpoint import Checkpoint
from ledger.entry import Head, verify_chain
from ledger.errors import (
    ChainBreakError,
    ConsistencyError,
    MalformedProofError,
    PushbackError,
    SettingsError,
)
from ledger.merkle import HASH_BYTES
from ledger.tiles import (
    TILE_WIDTH,
    bundles_over,
    parse_entry_bundle,
    partial_width,
    tile_path,
)

_NEWEST = "checkpoint"
# Servers of plain files show the newest one here, too, and directories have no such file.
COSIGNED = "checkpoint?level=cosigned"
"""The newest checkpoint that witnesses saw, as our logs show it."""
COSIGNED_FILE = "checkpoint.cosigned"
"""The same in a directory."""


class LogUnreachableError(PushbackError):
    """A log cannot be read now. Nothing is known of what it holds."""


class LogCopy(Protocol):
    """Files below one prefix."""

    @property
    def where(self) -> str:
        """What people call it."""

    def read(self, path: str) -> bytes | None:
        """
        What lies at `path`; None where nothing does.

        Raises:
            SettingsError: A file is there and cannot be read.
            LogUnreachableError: Nobody answers.
            ForbiddenError: Whoever answers does not show it.
        """


def read_bundle(copy: LogCopy, index: int, size: int) -> list[bytes]:
    """
    The entries of a bundle, all that a log of `size` entries has in it.

    Raises:
        ChainBreakError: The bundle is not there, or has fewer.
        MalformedProofError: It ends within an entry, or has more.
        SettingsError, LogUnreachableError, ForbiddenError: As `LogCopy.read`.
    """
    width = partial_width("entries", index, size)
    path = tile_path("entries", index, width)
    data = _read(copy, path, index)
    try:
        entries = parse_entry_bundle(data)
    except MalformedProofError as error:
        raise MalformedProofError(
            f"{path}, from entry {index * TILE_WIDTH} on: {error.message}", **error.details
        ) from error
    if len(entries) < width:
        raise _ends(copy, path, index * TILE_WIDTH + len(entries))
    if len(entries) > width:
        raise MalformedProofError(f"{path} has {len(entries)} entries", expected=width)
    return entries


def read_leaf_hashes(copy: LogCopy, index: int, size: int) -> list[bytes]:
    """
    The hashes of the same entries, as the copy's tile of level 0 has them.

    Raises:
        ChainBreakError: The tile is not there, or has fewer.
        SettingsError, LogUnreachableError, ForbiddenError: As `LogCopy.read`.
    """
    width = partial_width(0, index, size)
    path = tile_path(0, index, width)
    data = _read(copy, path, index)
    if len(data) < width * HASH_BYTES:
        raise _ends(copy, path, index * TILE_WIDTH + len(data) // HASH_BYTES)
    return [data[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]


def read_note(copy: LogCopy, *, cosigned: bool = False) -> bytes:
    """
    The newest checkpoint of a copy, a signed note. Nothing is verified.

    Args:
        copy: Where it is.
        cosigned: Whether it should be the newest that witnesses saw, where the log tells them
            apart, as ours do.

    Raises:
        MalformedProofError: There is none.
        SettingsError, LogUnreachableError, ForbiddenError: As `LogCopy.read`.
    """
    note = (copy.read(COSIGNED) if cosigned else None) or copy.read(_NEWEST)
    if note is None:
        raise MalformedProofError(f"{copy.where} has no checkpoint")
    return note


def verify_copy(
    copy: LogCopy,
    signed: Checkpoint,
    tell: Callable[[int, int | None], None] = lambda _done, _of: None,
    *,
    earlier: Sequence[Checkpoint] = (),
) -> Head:
    """
    Check that the entries of a copy are one chain, and the very tree that was signed.

    Every entry is read and hashed here, so nothing the keeper of the copy says is believed.
    What entries may say beside each other (remainders, repeats) is not judged.

    Args:
        copy: Holds all entry bundles below the checkpoint; its tiles are not needed.
        signed: Its checkpoint, whose signature was checked.
        tell: Told how many entries were checked, of how many.
        earlier: Checkpoints of the same log that are trusted, which it must extend.

    Returns:
        The head that its entries lead to.

    Raises:
        ChainBreakError: Names the first entry that is not there or does not follow.
        ConsistencyError: The entries are a chain, and not the tree that was signed, or not
            those before.
        MalformedProofError: A file is not in its form.
        SettingsError: A file cannot be read, or one of `earlier` is of another log.
    """
    for each in earlier:
        _check_not_behind(each, signed)
    waiting = sorted(earlier, key=lambda each: each.size)
    ledger = signed.origin.rpartition("/")[2]
    head = Head.genesis(ledger=ledger, origin=signed.origin)
    for index in bundles_over(0, signed.size):
        entries = read_bundle(copy, index, signed.size)
        while waiting and waiting[0].size < head.size + len(entries):
            cut = waiting[0].size - head.size
            head = verify_chain(entries[:cut], ledger=ledger, origin=signed.origin, start=head)
            _check_root(copy, head, waiting.pop(0), "kept")
            entries = entries[cut:]
        head = verify_chain(entries, ledger=ledger, origin=signed.origin, start=head)
        tell(head.size, signed.size)
    for each in waiting:
        _check_root(copy, head, each, "kept")
    _check_root(copy, head, signed, "signed")
    return head


def _check_not_behind(kept: Checkpoint, signed: Checkpoint) -> None:
    if kept.origin != signed.origin:
        raise SettingsError(
            f"the checkpoint that was kept is of {kept.origin}, the log of {signed.origin}"
        )
    if signed.size < kept.size:
        raise ConsistencyError(
            f"the checkpoint that was kept covers {kept.size} entries of {kept.origin}, and the "
            f"log shows {signed.size}: the newest were dropped",
            expected=kept.size,
            found=signed.size,
        )


def _check_root(copy: LogCopy, head: Head, checkpoint: Checkpoint, how: str) -> None:
    if head.root != checkpoint.root:
        raise ConsistencyError(
            f"the {head.size} entries of {copy.where} are one chain, and not the one that was "
            f"{how}: their root is {head.root.hex()}, the checkpoint's {checkpoint.root.hex()}",
            expected=checkpoint.root.hex(),
            found=head.root.hex(),
        )


def _read(copy: LogCopy, path: str, index: int) -> bytes:
    data = copy.read(path)
    if data is None:
        raise _ends(copy, path, index * TILE_WIDTH)
    return data


def _ends(copy: LogCopy, path: str, seq: int) -> ChainBreakError:
    return ChainBreakError(f"{copy.where} has no entry {seq} in {path}", seq=seq, path=path)

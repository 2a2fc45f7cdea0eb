"""
Difference: the first entry that is not the one that was signed, and whether the database or the
copy of the log has it wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from ledger.checkpoint import Checkpoint
from ledger.copies.log_copy import LogCopy, read_bundle, read_leaf_hashes
from ledger.entry import Head
from ledger.errors import ChainBreakError, ForkedError, LedgerError, VerificationError
from ledger.merkle import Frontier, leaf_hash
from ledger.ports import LedgerRecord, Storage
from ledger.tiles import TILE_WIDTH, bundles_over

_ReadHashes = Callable[[int], list[bytes]]
"""Index of a bundle -> the hashes of its entries."""


def find_difference(
    storage: Storage, record: LedgerRecord, base: Head, signed: Checkpoint, copy: LogCopy
) -> LedgerError | None:
    """
    What is wrong with the first entry that is not the one that was signed.

    Returns:
        ForkedError of the database, or ChainBreakError of the copy. None where the copy does not
        have the signed tree: then nothing here tells who is wrong.
    """

    def read_tile(index: int) -> list[bytes]:
        return read_leaf_hashes(copy, index, signed.size)

    def read_entries(index: int) -> list[bytes]:
        return [leaf_hash(entry) for entry in read_bundle(copy, index, signed.size)]

    for read in (read_tile, read_entries):
        try:
            frontier = Frontier.empty()
            for index in bundles_over(0, signed.size):
                frontier = frontier.extend(read(index))
            if frontier.root() == signed.root:
                return _in_database(storage, record, base, read) or _in_copy(
                    base, signed, read, read_entries
                )
        except VerificationError:
            # Tiles of the one kind are missing or damaged; there is the other kind.
            continue
    return None


def _in_database(
    storage: Storage, record: LedgerRecord, base: Head, signed: _ReadHashes
) -> ForkedError | None:
    for index in bundles_over(0, base.size):
        start, stop = index * TILE_WIDTH, min((index + 1) * TILE_WIDTH, base.size)
        at = _first_unequal(
            storage.leaf_hashes(record.name, start, stop), signed(index)[: stop - start]
        )
        if at is not None:
            return ForkedError(
                f"entry {start + at} of the database is not the one that was signed: the "
                f"database of {record.origin} holds another history from there on, and the "
                "copy the right one. Nothing was written",
                origin=record.origin,
                seq=start + at,
            )
    return None


def _in_copy(
    base: Head, signed: Checkpoint, read: _ReadHashes, read_entries: _ReadHashes
) -> ChainBreakError | None:
    for index in bundles_over(base.size, signed.size):
        at = _first_unequal(read_entries(index), read(index))
        if at is not None:
            seq = index * TILE_WIDTH + at
            return ChainBreakError(
                f"entry {seq} of the copy is not the one that was signed: the copy is damaged "
                "there. Nothing was written",
                seq=seq,
            )
    return None


def _first_unequal(found: Sequence[bytes], expected: Sequence[bytes]) -> int | None:
    for at, (one, other) in enumerate(zip_longest(found, expected)):
        if one != other:
            return at
    return None

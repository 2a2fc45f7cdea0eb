"""
Missing: what a database lacks of a log, and a copy was found to have.

The copy is believed in nothing: it is held to what was signed when it is looked through, and to
what was found then when it is read once more, to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from ledger.copies.log_copy import LogCopy, read_bundle
from ledger.entry import Entry, Head, parse_entry, verify_chain
from ledger.errors import (
    ChainBreakError,
    ConsistencyError,
    ForkedError,
    LedgerError,
    MalformedProofError,
    NotFoundError,
    SignatureError,
)
from ledger.forms.names import REGISTRY
from ledger.merkle import leaf_hash
from ledger.note import VerifierKey
from ledger.ports import LedgerRecord
from ledger.registry.ledgers import announced_ledger
from ledger.tiles import TILE_WIDTH, bundles_over

BUNDLES_AT_ONCE = 4
"""What is written in one transaction."""

Tell = Callable[[int, int], None]
"""Told how many entries are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a database lacks of a ledger, and a copy was found to have."""

    record: LedgerRecord
    base: Head
    """What is there."""
    signed: Checkpoint
    """What was signed."""
    digests: Mapping[int, bytes]
    """Index of each bundle -> SHA-256 over its entries: it is read once more to be written."""

    @property
    def entries(self) -> int:
        """How many are missing."""
        return max(0, self.signed.size - self.base.size)


def check_note(
    copy: LogCopy, record: LedgerRecord, signed: Checkpoint, keys: Sequence[VerifierKey]
) -> None:
    """
    Hold what the copy says of itself to what was signed; its entries are, in any case.

    Raises:
        VerificationError: It ends before, is of another ledger, or of another history.
        ForkedError: Two trees of this size were signed.
    """
    note = copy.read("checkpoint")
    if note is None:
        # Bundles alone prove as much: the record has the root.
        return
    found = _open_note(note, record, keys)
    if found.size < signed.size:
        raise ChainBreakError(
            f"the copy ends before entry {found.size}, and entries up to {signed.size - 1} were "
            "signed: find a longer one. Nothing was written",
            seq=found.size,
        )
    if found.size > signed.size:
        raise ConsistencyError(
            f"{found.size} entries of {record.origin} are signed in the copy, and the signer's "
            f"record knows of {signed.size}: the record itself is an old one. Bring back the "
            "newest; what it does not know it must not sign over. Nothing was written",
            size=found.size,
            signed_size=signed.size,
        )
    if found.root != signed.root:
        raise ForkedError(
            f"two trees of {signed.size} entries were signed for {record.origin}: the copy's, "
            "and the one in the signer's record. Nothing was written",
            root=found.root.hex(),
            signed_root=signed.root.hex(),
        )


def _open_note(note: bytes, record: LedgerRecord, keys: Sequence[VerifierKey]) -> Checkpoint:
    try:
        return open_checkpoint(note, keys)
    except SignatureError as error:
        raise SignatureError(
            f"the copy is not of {record.origin}: {error.message}. Nothing was written",
            **error.details,
        ) from error


def find_missing(
    copy: LogCopy,
    record: LedgerRecord,
    base: Head,
    signed: Checkpoint,
    tell: Tell,
) -> Missing:
    """
    What is missing after `base`; the copy has exactly that, up to the size and root signed.

    Raises:
        VerificationError: The copy is short, damaged, or of another history; which entry, where
            it can be told.
        LedgerError: An entry is of a later version.
        SettingsError: The copy cannot be read.
    """
    head = base
    digests = {}
    for index in bundles_over(base.size, signed.size):
        bundle = read_bundle(copy, index, signed.size)
        digests[index] = _digest(bundle)
        missing = bundle[head.size - index * TILE_WIDTH :]
        head = verify_chain(missing, ledger=head.ledger, origin=head.origin, start=head)
        _check_is_known(missing, head.size)
        tell(head.size - base.size, signed.size - base.size)
    if head.root != signed.root:
        raise ConsistencyError(
            f"its entries follow each other up to entry {signed.size - 1}, to the root "
            f"{head.root.hex()}; what was signed has {signed.root.hex()}, so they are another "
            "history",
            root=head.root.hex(),
            signed_root=signed.root.hex(),
        )
    return Missing(record=record, base=base, signed=signed, digests=digests)


def _check_is_known(entries: Sequence[bytes], stop: int) -> None:
    for seq, entry in enumerate(entries, start=stop - len(entries)):
        # The last member of every entry of the version whose terms and positions we know.
        if not entry.endswith(b',"v":1}'):
            raise LedgerError(
                f"entry {seq} is of a later version than this program knows: restore it with the "
                "one that recorded it. Nothing was written",
                seq=seq,
            )


def read_missing(copy: LogCopy, missing: Missing, start: int) -> list[Entry]:
    """
    The next entries from `start` on, the same that were checked; some bundles of them.

    Raises:
        ConsistencyError: The copy changed since it was checked.
    """
    size = missing.signed.size
    stop = (start // TILE_WIDTH + BUNDLES_AT_ONCE) * TILE_WIDTH
    entries = []
    for index in bundles_over(start, min(stop, size)):
        bundle = read_bundle(copy, index, size)
        if _digest(bundle) != missing.digests[index]:
            raise ConsistencyError(
                f"the copy changed while it was read, from entry {index * TILE_WIDTH} on; what "
                "was written before is right, and the rest can be brought back from another",
                seq=index * TILE_WIDTH,
            )
        entries += [parse_entry(encoded) for encoded in bundle]
    return [entry for entry in entries if entry.seq >= start and isinstance(entry, Entry)]


def announced_registry(copy: LogCopy) -> LedgerRecord:
    """
    The registry whose log this is, by its first entry.

    Raises:
        NotFoundError: It is no log.
        VerificationError: It is damaged there, or the log of another ledger.
    """
    note = copy.read("checkpoint")
    if note is None:
        raise NotFoundError(f"there is no {REGISTRY} in this database, and {copy.where} is no log")
    # Its signature is checked once its key is known; until then it tells how many there are.
    claimed = parse_checkpoint(note.decode(errors="replace").partition("\n\n")[0] + "\n")
    first = parse_entry(read_bundle(copy, 0, claimed.size)[0])
    if (
        not isinstance(first, Entry)
        or first.ledger != REGISTRY
        or first.effect.type != "ledger.created"
        or announced_ledger(first).name != REGISTRY
    ):
        raise MalformedProofError(
            f"entry 0 of the copy does not announce {REGISTRY}: this is not its log", seq=0
        )
    return announced_ledger(first)


def _digest(entries: Sequence[bytes]) -> bytes:
    return sha256(b"".join(map(leaf_hash, entries))).digest()

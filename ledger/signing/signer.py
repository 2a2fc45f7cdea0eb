"""
Signer: signs the growing tree of each origin, and remembers outside the database what it signed.

Two trees for one size, or a smaller tree after a larger one, are never signed: not after a
crash, not by several processes of one host, not for a database that was restored from a backup.
Which entries a tree holds, and where checkpoints are published, is for others.
"""

from __future__ import annotations

import logging
import re
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ledger.checkpoint import SIZE_MAX, Checkpoint, sign_checkpoint
from ledger.cosignature import CosignerKey, ml_dsa_44_cosigner
from ledger.errors import (
    ForkedError,
    MalformedProofError,
    RolledBackError,
    SettingsError,
)
from ledger.merkle import Frontier
from ledger.note import NoteKey, SigningKey, VerifierKey
from ledger.signing.keyring import Ring
from ledger.signing.keys import open_or_create
from ledger.signing.record import Record, Signed, files_available
from ledger.statement import parse_statement

logger = logging.getLogger(__name__)

ReadLeaves = Callable[[int, int], Sequence[bytes]]
"""(start, stop) -> the hashes of entries [start, stop) as they are committed."""

BUNDLE_HEADER = "effect-ledger/bundle/v1"
KEY_HEADER = "effect-ledger/key/v1"
"""First line of what is signed of an audit bundle."""

# Leaf hashes fetched at a time when the record catches up.
CATCH_UP_LEAVES = 65_536
_OURS_ALONE = 0o700
_IDENTITY_BYTES = 8


class FileSigner:
    """
    Signs with a key held here; its record is a directory of small files, one per origin.

    Any number of threads and processes of one host may share the directory: they take turns
    by flock. Whoever copies it makes a second signer that knows nothing of the first.
    """

    def __init__(
        self,
        directory: Path,
        private_key: SigningKey,
        ml_dsa_seed: bytes | None = None,
        *,
        ring: Ring | None = None,
    ) -> None:
        """
        Open the record in `directory`, which is made and closed to others where needed.

        Args:
            directory: Of the record.
            private_key: Signs, and is the only Ed25519 key where there is no ring.
            ml_dsa_seed: 32 secret bytes of an ML-DSA-44 key that signs each one as well, so that
                it stands where Ed25519 falls; None leaves that line out.
            ring: Says which keys sign now.

        Raises:
            SignerUnavailableError: The directory cannot be used.
            SettingsError: Its file `identity` is damaged.
        """
        self._directory = directory
        self._private_key = private_key
        self._ml_dsa_seed = ml_dsa_seed
        self._ml_dsa_keys: dict[str, CosignerKey] = {}
        only: Sequence[SigningKey] = (private_key,)
        self._ring: Ring = ring or (lambda: only)
        # The ring that signs, and its keys by origin: one object, for threads that see it change.
        self._signing: tuple[Sequence[SigningKey], dict[str, tuple[NoteKey, ...]]] = ((), {})
        self._records: dict[str, Record] = {}
        with files_available():
            directory.mkdir(mode=_OURS_ALONE, parents=True, exist_ok=True)
            if stat.S_IMODE(directory.stat().st_mode) != _OURS_ALONE:
                directory.chmod(_OURS_ALONE)
            self._identity = _read_identity(directory / "identity")

    @property
    def identity(self) -> str:
        """Names the record, not the key: a copied key beside another record is another signer."""
        return self._identity

    def verifiers(self, origin: str) -> Sequence[VerifierKey]:
        """The keys that sign `origin` now, oldest first."""
        return [key.verifier for key in self._keys_of(origin)]

    def ml_dsa_verifier(self, origin: str) -> VerifierKey | None:
        """The public half of the second key that signs `origin`; None where there is none."""
        return None if self._ml_dsa_seed is None else self._ml_dsa_key(origin).verifier

    def register(self, origin: str) -> None:
        """
        Begin the record of a new origin at size 0; harmless where it has one of any size.

        Raises:
            SignerUnavailableError: The record cannot be written.
            LedgerBrokenError: There is one, and it cannot be read.
        """
        record = self._record(origin)
        with files_available():
            record.create()
            with record.held():
                record.read()

    def show_base(self, origin: str, size: int, root: bytes, read_leaves: ReadLeaves) -> None:
        """
        Show the committed tree that is about to be extended. Before the commit.

        A base ahead of the record is one whose signing was cut short: the record follows it.

        Args:
            origin: Identity of the ledger.
            size: Entries that are committed.
            root: Root hash over them.
            read_leaves: Asked only where the record has to follow.

        Raises:
            RolledBackError: The base is behind what was signed.
            ForkedError: The base does not continue what was signed.
            LedgerBrokenError: The record is missing or damaged.
            SignerUnavailableError: The record cannot be read or written.
        """
        record = self._record(origin)
        with files_available(), record.held():
            signed = record.read()
            if size == signed.frontier.size and root == signed.root:
                return
            record.write(follow_base(origin, signed.frontier, size, root, read_leaves))
        logger.info("the record of %s follows to size %d", origin, size)

    def sign(
        self, origin: str, start: int, leaves: Sequence[bytes], read_leaves: ReadLeaves
    ) -> tuple[Checkpoint, bytes]:
        """
        Sign the tree that `leaves` extend from `start`. After the commit.

        The record is on disk before the signature exists.

        Args:
            origin: Identity of the ledger.
            start: Size of the tree before them.
            leaves: Hashes of the entries from `start` on, 32 bytes each; may be empty.
            read_leaves: Asked only where the record is behind `start`.

        Returns:
            The checkpoint and its signed note; of the larger tree where one was signed already.

        Raises:
            ForkedError: The entries before `start` are fewer than that.
            LedgerBrokenError: The record is missing or damaged.
            SignerUnavailableError: The record cannot be read or written.
        """
        assert start >= 0, "a tree has no negative size"
        assert start + len(leaves) <= SIZE_MAX, "readers of checkpoints take 63 bits"
        record = self._record(origin)
        with files_available(), record.held():
            signed = record.read()
            if signed.frontier.size < start + len(leaves):
                frontier = _follow(origin, signed.frontier, start, read_leaves)
                signed = record.write(frontier.extend(leaves[frontier.size - start :]))
        return self._sign(origin, signed)

    def frontier(self, origin: str) -> Frontier:
        """
        The compact range of the largest tree that may have been signed.

        Raises:
            LedgerBrokenError, SignerUnavailableError: As for `checkpoint`.
        """
        record = self._record(origin)
        with files_available(), record.held():
            return record.read().frontier

    def checkpoint(self, origin: str) -> tuple[Checkpoint, bytes]:
        """
        The largest tree of the record, and its signed note.

        Raises:
            LedgerBrokenError: The record is missing or damaged.
            SignerUnavailableError: The record cannot be read.
        """
        record = self._record(origin)
        with files_available(), record.held():
            signed = record.read()
        return self._sign(origin, signed)

    def attest(self, text: str) -> bytes:
        """
        Sign what a verification found.

        Args:
            text: Of a `statement`: whatever else is asked for, checkpoints above all, has to pass
                the record.

        Raises:
            MalformedProofError: It is no statement.
        """
        origin = parse_statement(text).origin
        return self._note(origin, text)

    def sign_bundle(self, origin: str, manifest_hash: bytes) -> bytes:
        """
        Sign that a bundle of this ledger was made; a signed note that is no checkpoint.

        Args:
            origin: Identity of the ledger.
            manifest_hash: SHA-256 of its manifest, 32 bytes.

        Returns:
            Three lines - what this is, origin, hash in hexadecimal - and the signature.
        """
        # The second line of a checkpoint is a number, so neither passes for the other.
        text = f"{BUNDLE_HEADER}\n{origin}\n{manifest_hash.hex()}\n"
        return self._note(origin, text)

    def endorse(self, origin: str, vkey: str) -> list[str]:
        """
        Let the other keys that sign say that this one does too: whoever trusts them follows.

        Args:
            origin: Identity of the ledger.
            vkey: The verifier key that is endorsed.

        Returns:
            Signature lines, without their ends, under three lines - what this is, origin, vkey;
            none where no other key signs.

        Raises:
            MalformedProofError: It is no key of this signer.
        """
        keys = self._keys_of(origin)
        if vkey not in {key.verifier.encode() for key in keys}:
            raise MalformedProofError(f"{vkey[:200]} is no key that signs {origin}")
        # As for a bundle: the second line of a checkpoint is a number.
        text = f"{KEY_HEADER}\n{origin}\n{vkey}\n"
        return [key.sign(text)[:-1] for key in keys if key.verifier.encode() != vkey]

    def close(self) -> None:
        """Close the files; the next use opens them again."""
        for record in self._records.values():
            record.close()

    def _sign(self, origin: str, signed: Signed) -> tuple[Checkpoint, bytes]:
        checkpoint = Checkpoint(origin=origin, size=signed.frontier.size, root=signed.root)
        # Ed25519 is deterministic: the same tree signed again is the same note.
        note = sign_checkpoint(checkpoint, *self._keys_of(origin))
        if self._ml_dsa_seed is not None:
            # C2SP tlog-cosignature: the kind of line that says when, also where a log signs.
            line = self._ml_dsa_key(origin).sign(checkpoint.encode(), time=int(time.time()))
            note += line.encode().encode()
        return checkpoint, note

    def _note(self, origin: str, text: str) -> bytes:
        lines = "".join(key.sign(text) for key in self._keys_of(origin))
        return f"{text}\n{lines}".encode()

    def _keys_of(self, origin: str) -> tuple[NoteKey, ...]:
        signing = self._ring()
        ring, known = self._signing
        if ring is not signing:
            # Of two threads that see the change, both begin with an empty memory of their own:
            # a key of the ring before cannot get into it.
            known = {}
            self._signing = signing, known
        keys = known.get(origin)
        if keys is None:
            keys = known[origin] = tuple(NoteKey(name=origin, private_key=each) for each in signing)
        return keys

    def _ml_dsa_key(self, origin: str) -> CosignerKey:
        assert self._ml_dsa_seed is not None, "this signer has no such key"
        if origin not in self._ml_dsa_keys:
            self._ml_dsa_keys[origin] = ml_dsa_44_cosigner(origin, self._ml_dsa_seed)
        return self._ml_dsa_keys[origin]

    def _record(self, origin: str) -> Record:
        # Of two threads that are first at the same time, both get the same one.
        return self._records.get(origin) or self._records.setdefault(
            origin, Record(self._directory, origin)
        )


def _read_identity(path: Path) -> str:
    with open_or_create(path, lambda: secrets.token_hex(_IDENTITY_BYTES).encode() + b"\n") as file:
        identity = file.read().decode("ascii", errors="replace").strip()
    if not re.fullmatch(f"[0-9a-f]{{{2 * _IDENTITY_BYTES}}}", identity):
        raise SettingsError(f"{path} does not hold the identity of a signer", path=str(path))
    return identity


def follow_base(
    origin: str, signed: Frontier, size: int, root: bytes, read_leaves: ReadLeaves
) -> Frontier:
    """
    The tree of `size` entries with this root, if it continues the one that was signed.

    Args:
        origin: Identity of the ledger.
        signed: The largest tree that was signed.
        size: Entries that are committed.
        root: Root hash over them.
        read_leaves: Asked only where there are more than were signed.

    Raises:
        RolledBackError: They are fewer than were signed.
        ForkedError: They do not continue what was signed.
    """
    if size < signed.size:
        raise _rolled_back(origin, size, signed.size)
    frontier = _follow(origin, signed, size, read_leaves)
    if frontier.root() != root:
        raise _forked(origin, size, root, frontier.root())
    return frontier


def _follow(origin: str, frontier: Frontier, size: int, read_leaves: ReadLeaves) -> Frontier:
    """`frontier` extended to `size` by what is committed, where it is behind."""
    while frontier.size < size:
        stop = min(size, frontier.size + CATCH_UP_LEAVES)
        leaves = read_leaves(frontier.size, stop)
        if len(leaves) != stop - frontier.size:
            raise ForkedError(
                f"{origin} has {size} entries by its head, and of those from {frontier.size} "
                f"to {stop} only {len(leaves)} are there",
                origin=origin,
                size=size,
            )
        frontier = frontier.extend(leaves)
    return frontier


def _rolled_back(origin: str, size: int, signed_size: int) -> RolledBackError:
    return RolledBackError(
        f"the database holds {size} entries of {origin}, and {signed_size} were signed: it is "
        "older than its receipts. Bring the missing entries back with effect-ledger restore "
        "--entries, or let a successor with a new origin cite the last good checkpoint",
        origin=origin,
        size=size,
        signed_size=signed_size,
    )


def _forked(origin: str, size: int, root: bytes, expected: bytes) -> ForkedError:
    return ForkedError(
        f"{origin} at size {size}: the database has root {root.hex()}, what was signed leads to "
        f"{expected.hex()}. The database holds another history than its receipts; find out "
        "which is true before a successor with a new origin cites the last good checkpoint",
        origin=origin,
        size=size,
        root=root.hex(),
        signed_root=expected.hex(),
    )

"""
Continuity: whether a log's newer checkpoint continues an older one, by tiles that are hashed here.

A log that does not continue either shows tiles that it never signed, which proves nothing, or
tiles that do stand under its newer signature and give the older tree another root. Those, with
the two signatures, prove to anybody that it keeps two histories. How tiles are fetched is for
others. https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.checkpoint import Checkpoint
from ledger.errors import ChainBreakError, ConsistencyError, InclusionError, LedgerError
from ledger.merkle import HASH_BYTES, TreeSize, verify_consistency
from ledger.tiles import TILE_WIDTH, tile_path
from ledger.tree import ReadTile, Tree

ReadFile = Callable[[str], bytes | None]
"""Path below a log's prefix -> what is there; None where nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two checkpoints of one log that no single history can have."""

    old: Checkpoint
    new: Checkpoint
    old_root: bytes
    """What the tree under `new` has at the size of `old`: another root than its. 32 bytes."""
    hashes: tuple[bytes, ...]
    """Consistency proof from `old_root` to `new`; empty where the sizes are the same."""

    def verify(self) -> None:
        """
        Check that the two cannot both be true of one history.

        Raises:
            ConsistencyError: They are of different logs, or the proof does not show it.
        """
        old, new = self.old, self.new
        if old.origin != new.origin:
            raise ConsistencyError(f"{old.origin} and {new.origin} are different logs")
        if self.old_root == old.root:
            raise ConsistencyError("both have the same root at the smaller size")
        verify_consistency(
            TreeSize(old.size), TreeSize(new.size), self.old_root, new.root, self.hashes
        )
        if old.size == 0:
            raise ConsistencyError("every tree begins with the empty one")


def tile_reader(read_file: ReadFile) -> ReadTile:
    """
    Hashes of a log's tiles, as its files have them.

    A log may drop a partial tile once the full one is there, which then begins with it.
    """

    def read_tile(level: int, index: int, width: int) -> Sequence[bytes]:
        data = read_file(tile_path(level, index, width))
        if data is None and width < TILE_WIDTH:
            data = read_file(tile_path(level, index))
        whole = data or b""
        ends = range(HASH_BYTES, min(len(whole), width * HASH_BYTES) + 1, HASH_BYTES)
        return [whole[end - HASH_BYTES : end] for end in ends]

    return read_tile


def check_shown(checkpoint: Checkpoint, tree: Tree) -> None:
    """
    Check that the tiles at the right edge lead to the root that is signed.

    Raises:
        InclusionError: They do not, or are not there.
    """
    try:
        found = tree.root(TreeSize(checkpoint.size))
    except ChainBreakError as error:
        raise InclusionError(
            f"the log signed {checkpoint.size} entries and does not show them: {error.message}"
        ) from error
    if found != checkpoint.root:
        raise InclusionError(
            f"the log signed the root {checkpoint.root.hex()} over {checkpoint.size} entries, and "
            f"its tiles lead to {found.hex()}",
            expected=checkpoint.root.hex(),
            found=found.hex(),
        )


def find_contradiction(old: Checkpoint, new: Checkpoint, tree: Tree) -> Contradiction | None:
    """
    Prove that `new` continues `old`, or that it cannot.

    Args:
        old: Of the same log, and not larger.
        new: Whose signature was checked, as that of `old`.
        tree: Over the log's tiles.

    Returns:
        None where it does; else what proves that there are two histories.

    Raises:
        InclusionError: The tiles prove neither.
    """
    assert old.origin == new.origin, "one log"
    assert old.size <= new.size, "the smaller one first"
    sizes = TreeSize(old.size), TreeSize(new.size)
    try:
        proof = tuple(tree.consistency_proof(*sizes))
        try:
            verify_consistency(*sizes, old.root, new.root, proof)
        except ConsistencyError as error:
            return _contradiction(old, new, tree, proof, error)
    except ChainBreakError as error:
        raise _unproven(old, new, error) from error
    return None


def _contradiction(
    old: Checkpoint,
    new: Checkpoint,
    tree: Tree,
    proof: tuple[bytes, ...],
    why: ConsistencyError,
) -> Contradiction:
    if old.size == new.size:
        return Contradiction(old=old, new=new, old_root=new.root, hashes=())
    found = Contradiction(old=old, new=new, old_root=tree.root(TreeSize(old.size)), hashes=proof)
    try:
        found.verify()
    except ConsistencyError:
        # The tiles are not those that were signed either.
        raise _unproven(old, new, why) from why
    return found


def _unproven(old: Checkpoint, new: Checkpoint, why: LedgerError) -> InclusionError:
    return InclusionError(
        f"the log does not show how its {new.size} entries continue the {old.size} before: "
        f"{why.message}"
    )

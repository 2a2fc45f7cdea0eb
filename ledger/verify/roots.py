"""Roots: what signatures and memories say of the tree at certain sizes, and whether it is so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import MalformedProofError, SignatureError
from ledger.note import VerifierKey
from ledger.verify.links import Add
from ledger.verify.stored import StoredCheckpoint

_WHO = {
    "checkpoint": "the published checkpoint",
    "trusted": "the checkpoint you trust",
    "signer": "the signer's record",
    "earlier": "the earlier verification",
}


class Roots:
    """Who knows which root, and what was computed at these sizes."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, bytes]] = {}
        self._sizes: set[int] = set()
        self.computed: dict[int, bytes] = {}
        """Size -> root, for sizes that were stopped at."""

    def expect(self, size: int) -> None:
        """Stop at this size."""
        self._sizes.add(size)

    def say(self, who: str, size: int, root: bytes) -> None:
        """`who`, one of `_WHO`, knows the root at this size."""
        self._said[who] = (size, root)
        self._sizes.add(size)

    def next_size(self, size: int) -> int | None:
        """The next size to stop at, beyond `size`."""
        return min((each for each in self._sizes if each > size), default=None)

    def check(
        self, size_here: int, root_at: Callable[[int], bytes | None], add: Add
    ) -> tuple[int, int]:
        """
        Compare every root that somebody signed or kept with the tree of the entries.

        Args:
            size_here: How many entries there are.
            root_at: Size -> root of the entries; None where it cannot be told.
            add: Where findings go.

        Returns:
            How many entries are under a signed root; under one from outside the database.
        """
        signed = outside = 0
        for who, says in _WHO.items():
            if who not in self._said:
                continue
            size, root = self._said[who]
            if size > size_here:
                add(
                    f"{who}.ahead",
                    size_here,
                    f"{says} covers {size} entries, {size_here} are here: entry "
                    f"{size_here} and what followed are gone",
                )
                continue
            computed = root_at(size)
            if computed is None:
                continue
            if computed != root:
                add(
                    f"{who}.root",
                    None,
                    f"{says} was made over another history: of the first {size} entries here, at "
                    f"least one was changed, added or left out",
                )
                continue
            if who != "earlier":
                signed = max(signed, size)
            if who in ("trusted", "signer"):
                outside = max(outside, size)
        return signed, outside


def open_published(
    stored: StoredCheckpoint, read_keys: Callable[[], Sequence[VerifierKey]], add: Add
) -> Checkpoint | None:
    """The published checkpoint, if it is a good one of the ledger of these keys."""
    try:
        checkpoint = open_checkpoint(stored.note, read_keys())
    except (MalformedProofError, SignatureError) as error:
        add(
            "checkpoint.signature",
            None,
            f"the published checkpoint is not one this ledger's key signed: {error.message}",
        )
        return None
    if checkpoint.size != stored.size:
        add(
            "checkpoint.size",
            None,
            f"the published checkpoint is of size {checkpoint.size}, its row says {stored.size}",
        )
    if checkpoint.root != stored.root:
        add("checkpoint.row_root", None, "the published checkpoint has another root than its row")
    return checkpoint

"""
Links: the hash chain, and which entry is to blame where it breaks.

Three memories of an entry's hash stand beside its bytes: the column `hash`, the `prev` of
the entry after it and, of the last one, the head. One that differs from all others is the
one that was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Add = Callable[[str, int | None, str], None]
"""Reports a finding: check, seq, message."""


class Links:
    """The chain so far. An entry is judged when the one after it has been seen."""

    def __init__(self, *, start: int, before: bytes | None, add: Add) -> None:
        """
        Begin before entry `start`.

        Args:
            start: The first entry that will be taken.
            before: Hash it must link to; None where that is not known.
            add: Where findings go.
        """
        self._add = add
        self._seq = start - 1
        self._stored = before
        # The link into the entry is broken, and the entry before it shows no damage.
        self._suspect = False
        self.last = before
        """Hash of the last entry's bytes; None where an entry is missing before the next."""

    def take(self, seq: int, leaf: bytes, stored: bytes, claim: bytes | None) -> None:
        """
        The next entry.

        Args:
            seq: Its number.
            leaf: Hash of its bytes.
            stored: The hash stored beside them.
            claim: The hash its bytes say the entry before it has; None where they say nothing.
        """
        self._suspect = self._judge(claim)
        self._seq, self.last, self._stored = seq, leaf, stored

    def take_run(self, start: int, leaves: Sequence[bytes], claim: bytes) -> None:
        """
        The next entries, whose bytes have the hash that is stored beside them.

        Args:
            start: Number of the first.
            leaves: Hashes of their bytes; each but the first says that the one before it has
                the hash it has.
            claim: Hash that the first says the one before it has.
        """
        # Two judge what stands before the run and its first entry; the others are linked.
        for seq, leaf in enumerate(leaves[:2], start):
            self.take(seq, leaf, leaf, claim)
            claim = leaf
        self._seq = start + len(leaves) - 1
        self._stored = self.last = leaves[-1]

    def gap(self) -> None:
        """Entries are missing before the next one."""
        self._judge(None)
        self._suspect, self.last = False, None

    def end(self, claim: bytes | None) -> None:
        """No entry comes after the last one; `claim` is the head's memory of it."""
        self._judge(claim)
        self._suspect, self._stored = False, self.last

    def _judge(self, claim: bytes | None) -> bool:
        """Judge the last entry; tell whether the next one is suspect instead."""
        if self.last is None:
            return False
        seq = self._seq
        edited = self._stored != self.last
        linked = claim == self.last
        broken = claim is not None and not linked
        if edited and linked:
            self._add(
                "index.hash",
                seq,
                f"column hash of entry {seq} is not the hash of its bytes, which the entry "
                f"after it links to",
            )
        elif edited:
            self._add(
                "entry.bytes",
                seq,
                f"the bytes of entry {seq} were changed: they no longer have the hash that is "
                f"stored and linked to",
            )
            return False
        if not self._suspect:
            return broken
        if broken:
            self._add(
                "chain.link",
                seq,
                f"entry {seq} was rewritten: it does not link to the entry before it, and the "
                f"entry after it does not link to it",
            )
        elif seq == 0:
            self._add("chain.genesis", 0, "entry 0 begins the ledger of another origin, not this")
        else:
            self._add(
                "chain.rewritten",
                seq - 1,
                f"entry {seq - 1} was rewritten: entry {seq} links to another hash",
            )
        return False

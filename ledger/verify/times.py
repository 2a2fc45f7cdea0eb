"""
Times: whether entries are dated as whoever else saw their ledger says.

    not_before of a tree without it  <=  recorded_at  <=  not_after of the first tree with it

Whether those who saw it can be believed was checked before. As entries are dated in their order,
only the two beside the end of each tree need to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.entry import parse_place
from ledger.errors import MalformedProofError
from ledger.forms.timestamps import format_time
from ledger.verify.stored import Source

CLOCKS_APART = timedelta(minutes=1)
"""How far the clocks of honest parties may be from each other, and an anchor from its tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoredTree:
    """A tree that somebody else than its log has seen."""

    size: int
    root: bytes
    """32 bytes."""
    not_before: datetime | None
    """Entries that are not in it were recorded after this; None where nobody says."""
    not_after: datetime | None
    """Entries that are in it were recorded before this; None where nobody says."""
    who: str
    """Who has seen it, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """What was found to be seen by others than the log."""

    trees: Sequence[AnchoredTree] = ()
    """By size; verified by whoever hands them in."""
    refused: int = 0
    """Anchors that are kept and do not verify under what is trusted now; they say nothing."""


class Times:
    """The times of a ledger's entries, held to anchored trees."""

    def __init__(self, source: Source, add: Callable[[str, int | None, str], None]) -> None:
        self._source = source
        self._add = add

    def check(self, trees: Sequence[AnchoredTree], size: int) -> None:
        """
        Name each bound that entries break, with the first entry that breaks it.

        Args:
            trees: What was seen, each of at most `size` entries and with their root.
            size: Entries that are there.
        """
        for tree in trees:
            if tree.not_after is not None:
                self._check_upper(tree, tree.not_after)
            if tree.not_before is not None and tree.size < size:
                self._check_lower(tree, tree.not_before)

    def _check_upper(self, tree: AnchoredTree, not_after: datetime) -> None:
        limit = format_time(not_after + CLOCKS_APART)
        if (self._recorded_at(tree.size - 1) or "") <= limit:
            return
        low, high = 0, tree.size - 1
        while low < high:
            middle = (low + high) // 2
            if (self._recorded_at(middle) or "") > limit:
                high = middle
            else:
                low = middle + 1
        self._add(
            "time.witnessed",
            low,
            f"entry {low} says it was recorded at {self._recorded_at(low)}, and {tree.who} had "
            f"seen it by {format_time(not_after)}: the ledger's clock was ahead",
        )

    def _check_lower(self, tree: AnchoredTree, not_before: datetime) -> None:
        recorded_at = self._recorded_at(tree.size)
        if recorded_at is not None and recorded_at < format_time(not_before - CLOCKS_APART):
            self._add(
                "time.backdated",
                tree.size,
                f"entry {tree.size} says it was recorded at {recorded_at}, and at "
                f"{format_time(not_before)} {tree.who} saw the ledger without it",
            )

    def _recorded_at(self, seq: int) -> str | None:
        for row in self._source.entries(seq, seq + 1):
            try:
                return parse_place(row.body).recorded_at
            except MalformedProofError:
                # Named already, as what it is.
                return None
        return None


def limits(anchored: int, size: int, refused: int) -> list[str]:
    """
    What nobody else said about times, in words.

    Args:
        anchored: Entries of the largest tree that was seen.
        size: Entries that are there.
        refused: Anchors that are kept and did not verify.
    """
    missing = []
    if anchored < size:
        missing.append(
            f"times from entry {anchored} on against anybody else's clock: no witness and no "
            "authority has seen them yet"
        )
    if refused:
        missing.append(
            f"{refused} anchors that are kept: they do not verify under the policy and the "
            "certificates that are trusted now"
        )
    return missing

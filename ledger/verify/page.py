"""Page: the next entries of a ledger, read and sifted: at a glance if that will do, else by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.verify.block import sift_block
from ledger.verify.sift import Page, sift
from ledger.verify.stored import Block, Source, StoredEntry

ReadPage = Callable[[int, int], Page]
"""(start, stop) -> the next page of [start, stop), as `Source.entries` has it; sifted."""


def read_page(source: Source, start: int, stop: int, *, ledger: str) -> Page:
    """The page that `source.entries(start, stop)` is, sifted."""
    block = source.block(start, stop)
    return sift_page(block, lambda: source.entries(start, stop), ledger=ledger)


def sift_page(
    block: Block | None, read_rows: Callable[[], Sequence[StoredEntry]], *, ledger: str
) -> Page:
    """
    A page that was read, sifted.

    Args:
        block: All of it; None where rows must do.
        read_rows: Reads its rows, where that will not do.
        ledger: Its name.
    """
    runs = None if block is None else sift_block(block, ledger=ledger)
    return sift(read_rows(), ledger=ledger) if runs is None else runs

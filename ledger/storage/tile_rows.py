"""Tile rows: hashes of a ledger's tiles as PostgreSQL has them, those of a proof together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from ledger.merkle import HASH_BYTES
from ledger.tiles import TILE_WIDTH
from ledger.tree import Place

# Statements of one row each and not a join over all: their plans are made once, and a plan for
# the join, which is made anew each time, takes longer than a proof.
SELECT_FULL_TILE = "select hashes from tiles where ledger = %s and level = %s and idx = %s"

SELECT_HASHES = """
select string_agg(hash, ''::bytea order by seq)
from entries where ledger = %s and seq >= %s and seq < %s
"""

SELECT_TILE_ROOTS = """
select string_agg(root, ''::bytea order by idx)
from tiles where ledger = %s and level = %s and idx >= %s and idx < %s
"""


def read_tiles(
    connection: psycopg.Connection[Any], ledger: str, places: Sequence[Place]
) -> list[list[bytes]]:
    """
    The hashes of each of these tiles, fewer where some are gone; on one trip or two.

    Args:
        connection: In autocommit mode.
        ledger: Name of the ledger.
        places: Which tiles.
    """
    # What was partial in an earlier tree is mostly full by now.
    full = _ask(
        connection, ((SELECT_FULL_TILE, (ledger, level, index)) for level, index, _ in places)
    )
    found = dict(zip(places, full, strict=True))
    partial = [place for place, hashes in found.items() if hashes is None]
    if partial:
        parts = _ask(connection, (_hashes_of(ledger, *place) for place in partial))
        found.update(zip(partial, parts, strict=True))
    return [_split(found[place] or b"", place[2]) for place in places]


def _hashes_of(ledger: str, level: int, index: int, width: int) -> tuple[str, tuple[Any, ...]]:
    """What a tile is made of: hashes of entries at level 0, roots of the tiles below at others."""
    start = index * TILE_WIDTH
    if level == 0:
        return SELECT_HASHES, (ledger, start, start + width)
    return SELECT_TILE_ROOTS, (ledger, level - 1, start, start + width)


def _ask(
    connection: psycopg.Connection[Any], questions: Iterable[tuple[str, tuple[Any, ...]]]
) -> list[bytes | None]:
    """The one value of each answer, None where there is none; on one trip."""
    with connection.pipeline():
        asked = [connection.execute(*question, prepare=True, binary=True) for question in questions]
        return [row[0] if row else None for row in (each.fetchone() for each in asked)]


def _split(hashes: bytes, width: int) -> list[bytes]:
    stop = min(width * HASH_BYTES, len(hashes))
    return [hashes[at : at + HASH_BYTES] for at in range(0, stop, HASH_BYTES)]

"""
Source: a closed period as PostgreSQL holds it, read page by page for a bundle.

Every read is one statement over at most a thousand rows: history never changes, so a long export
needs no long snapshot, and writers do not feel it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from ledger.audit.selection import Selection
from ledger.errors import ChainBreakError
from ledger.merkle import HASH_BYTES
from ledger.ports import LedgerRecord, SealedPayload
from ledger.storage.payload_rows import FROM_SEALED, sealed_payload
from ledger.storage.scan import PostgresScan
from ledger.tiles import TILE_WIDTH
from ledger.tree import TileCache, Tree
from ledger.vault import OpenedPayload, Vault

PAGE = 1_000
"""Entries of one read."""
OPENED_BYTES_MAX = 8 * 1024 * 1024
"""Octets of payloads that are held in memory at once, but for a single larger entry."""
TILES_KEPT = 512

# What selects is an index beside the hashed bytes; completeness is claimed without it only.
SELECT_PAGE = """
select seq, body, corrects::text from entries
where ledger = %(ledger)s and seq >= %(start)s and seq <= %(last)s
    and (%(type)s::text is null or type = %(type)s)
    and (%(poster)s::text is null or poster = %(poster)s)
    and (%(subject)s::text is null or subject = %(subject)s)
    and (%(seqs)s::bigint[] is null or seq = any(%(seqs)s::bigint[]))
order by seq limit %(limit)s
"""

COUNT_SELECTED = """
select count(*) from entries
where ledger = %(ledger)s and seq >= %(start)s and seq <= %(last)s
    and (%(type)s::text is null or type = %(type)s)
    and (%(poster)s::text is null or poster = %(poster)s)
    and (%(subject)s::text is null or subject = %(subject)s)
    and (%(seqs)s::bigint[] is null or seq = any(%(seqs)s::bigint[]))
"""

SELECT_BY_ID = """
select id::text, seq, body from entries where ledger = %s and id = any(%s::uuid[])
"""

SELECT_SIZES = """
select seq, coalesce(sum(octet_length(sealed)), 0)::bigint
from payloads where ledger = %s and seq = any(%s) group by seq order by seq
"""

SELECT_PAYLOADS = FROM_SEALED + "where p.ledger = %s and p.seq = any(%s) order by p.seq, p.name"

SELECT_ERASED = """
select seq, name from payloads where ledger = %s and seq = any(%s) and sealed is null
"""

SELECT_POSTER_KEYS = """
select key_id, principal, public_key from poster_keys where key_id = any(%s) order by key_id
"""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One entry as it is stored."""

    seq: int
    body: bytes
    corrects: str | None
    """Id of the entry it corrects."""


class Source:
    """Reads one ledger through one connection; used by one thread."""

    def __init__(
        self, connection: psycopg.Connection[Any], record: LedgerRecord, vault: Vault
    ) -> None:
        """
        Read the ledger of `record`.

        Args:
            connection: With the rights of the writer, in autocommit mode.
            record: What is fixed about the ledger.
            vault: Opens payloads.
        """
        self._connection = connection
        self._record = record
        self._vault = vault
        self._scan = PostgresScan(connection, record.name)
        self.tree = Tree(self._read_tile, TileCache(TILES_KEPT))

    def count(self, selection: Selection, start: int, last: int) -> int:
        """How many of entries `start` to `last` are selected."""
        if selection.is_complete:
            return last - start + 1
        where = self._where(selection, start, last)
        row = self._connection.execute(COUNT_SELECTED, where).fetchone()
        assert row is not None
        return int(row[0])

    def pages(self, selection: Selection, start: int, last: int) -> Iterator[list[SourceEntry]]:
        """
        The selected ones of entries `start` to `last`, in order.

        Raises:
            ChainBreakError: One of them is missing, where all are asked for.
        """
        while start <= last:
            where = self._where(selection, start, last) | {"limit": PAGE}
            rows = self._connection.execute(SELECT_PAGE, where, binary=True).fetchall()
            if not rows:
                if selection.is_complete:
                    raise ChainBreakError(f"entry {start} is not stored any more", seq=start)
                return
            yield [SourceEntry(*row) for row in rows]
            start = rows[-1][0] + 1

    def by_id(self, ids: Sequence[str]) -> dict[str, SourceEntry]:
        """The entries of these ids that are there."""
        if not ids:
            return {}
        rows = self._connection.execute(
            SELECT_BY_ID, (self._record.name, list(ids)), binary=True
        ).fetchall()
        return {each: SourceEntry(seq, body, None) for each, seq, body in rows}

    def payloads(
        self, entry_ids: Mapping[int, str]
    ) -> Iterator[tuple[int, Sequence[OpenedPayload]]]:
        """
        The payloads of these entries, opened and held to their commitments.

        Args:
            entry_ids: Seq -> id, of entries that have payloads.

        Raises:
            CommitmentError: One is not what its entry committed to.
        """
        sizes = self._connection.execute(
            SELECT_SIZES, (self._record.name, list(entry_ids))
        ).fetchall()
        group: list[int] = []
        weight = 0
        for seq, octets in sizes:
            if group and weight + octets > OPENED_BYTES_MAX:
                yield from self._open(group, entry_ids)
                group, weight = [], 0
            group.append(seq)
            weight += octets
        if group:
            yield from self._open(group, entry_ids)

    def erased(self, seqs: Sequence[int]) -> set[tuple[int, str]]:
        """(seq, name) of the payloads of these entries that are there no more."""
        rows = self._connection.execute(SELECT_ERASED, (self._record.name, list(seqs))).fetchall()
        return {(seq, name) for seq, name in rows}

    def key_notices(self) -> list[bytes]:
        """What `_registry` says of the keys that sign the ledger, in order."""
        return self._scan.key_notices()

    def poster_keys(self, key_ids: Sequence[str]) -> list[dict[str, str]]:
        """The public keys of these ids, as a bundle lists them."""
        rows = self._connection.execute(SELECT_POSTER_KEYS, (list(key_ids),)).fetchall()
        return [
            {"key_id": key_id, "principal": principal, "public_key": bytes(public_key).hex()}
            for key_id, principal, public_key in rows
        ]

    def _open(
        self, seqs: list[int], entry_ids: Mapping[int, str]
    ) -> Iterator[tuple[int, Sequence[OpenedPayload]]]:
        rows = self._connection.execute(
            SELECT_PAYLOADS, (self._record.name, seqs), binary=True
        ).fetchall()
        by_seq: dict[int, list[SealedPayload]] = {}
        data_keys: dict[str, bytes] = {}
        for payload, wrapped in map(sealed_payload, rows):
            by_seq.setdefault(payload.seq, []).append(payload)
            if wrapped is not None:
                data_keys[payload.data_subject] = wrapped
        for seq, sealed_ones in by_seq.items():
            yield seq, self._vault.open(self._record, entry_ids[seq], sealed_ones, data_keys)

    def _where(self, selection: Selection, start: int, last: int) -> dict[str, Any]:
        return {
            "ledger": self._record.name,
            "start": start,
            "last": last,
            "type": selection.type,
            "poster": selection.poster,
            "subject": selection.subject,
            "seqs": list(selection.seqs) or None,
        }

    def _read_tile(self, level: int, index: int, width: int) -> Sequence[bytes]:
        if width == TILE_WIDTH:
            full = self._scan.tiles([(level, index)])
            if full:
                hashes = full[0].hashes
                return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        start = index * TILE_WIDTH
        return self._scan.hashes(level, start, start + width)

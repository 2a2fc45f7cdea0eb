"""Reads: pages and proofs of a large ledger, and the bytes that make them fast."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import psycopg

from ledger.bench import filling, yardsticks
from ledger.bench.load import http_request, percentile
from ledger.bench.rig import Bench, Figure
from ledger.listing import EntryFilter
from ledger.tiles import TILE_WIDTH, tile_path

PAGE = 100
FAR_PAGE = 1_000
FILTERS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "kind": {"kind": "effect"},
    "type": {"type": filling.TYPES[0]},
    "key": {"key": "fill-1"},
    "business_key": {"business_key": "invoice/1"},
    "subject": {"subject": filling.HOT["subject"]},
    "actor": {"actor": "worker-7"},
    "poster": {"poster": filling.PRINCIPALS[0]},
    "currency": {"currency": filling.CURRENCIES[0]},
    "label": {"label": filling.HOT["label"]},
    "evidence": {"evidence": filling.HOT["evidence"]},
    "cause": {"cause": filling.HOT["cause"]},
    "recorded": {"recorded_from": "2020-01-01T00:00:00Z"},
    "occurred": {"occurred_from": "2020-01-01T00:00:00Z"},
}
"""Each documented filter with a value that many entries have, where there can be many."""
READINGS = 40

SELECT_BYTES = """
select c.relname, pg_table_size(c.oid), x.relname, pg_relation_size(x.oid)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'effect_ledger'
left join pg_index i on i.indrelid = c.oid
left join pg_class x on x.oid = i.indexrelid
where c.relname in ('entries', 'entry_terms', 'tiles')
order by 1, 3
"""
SELECT_BODIES = """
select count(*), sum(octet_length(body)) from effect_ledger.entries where ledger = %s
"""
SELECT_COUNT = "select count(*) from effect_ledger.entries"


def pages(bench: Bench) -> Figure:
    """First and 1,000th page under each filter, against 100 rows by primary key; the worst p95."""
    ledger, reader = bench.large(), bench.service.reader
    size = reader.size(ledger)
    spread = [n * (size - PAGE) // READINGS for n in range(READINGS)]
    rows_ms = percentile(yardsticks.reads_ms(bench.conninfo(), ledger, spread, rows=PAGE), 95)
    corrected = {"corrects": reader.page(ledger, EntryFilter(key="fill-0")).entries[0].id}
    details: dict[str, Any] = {"rows_by_primary_key_p95_ms": round(rows_ms, 2)}
    worst = 0.0
    for name, words in {**FILTERS, "corrects": corrected}.items():
        filters = EntryFilter(**words)
        cursor, far = None, 1
        first_ms = _page_ms(bench, ledger, filters, None)
        # Walked page by page, as a client would.
        while far < FAR_PAGE:
            found = reader.page(ledger, filters, cursor=cursor, limit=PAGE).next_cursor
            if found is None:
                break
            cursor, far = found, far + 1
        far_ms = _page_ms(bench, ledger, filters, cursor)
        details[name] = {
            "first_p95_ms": round(first_ms, 2),
            "far_page": far,
            "far_p95_ms": round(far_ms, 2),
        }
        worst = max(worst, first_ms, far_ms)
    return Figure(ratio=worst / rows_ms, details=details)


def _page_ms(bench: Bench, ledger: str, filters: EntryFilter, cursor: str | None) -> float:
    took = []
    for _ in range(READINGS):
        began = time.perf_counter()
        bench.service.reader.page(ledger, filters, cursor=cursor, limit=PAGE)
        took.append(1_000 * (time.perf_counter() - began))
    return percentile(sorted(took), 95)


def proofs(bench: Bench) -> Figure:
    """Proofs of both kinds and tiles over HTTP, p99, beside reading one row by primary key."""
    ledger = bench.large()
    size = bench.service.reader.published_size(ledger)
    row_ms = percentile(
        yardsticks.reads_ms(bench.conninfo(), ledger, range(0, size, size // 1_000), rows=1), 99
    )
    # A stride without a common factor with the size: places all over the tree.
    places = itertools.cycle(range(0, size * 7_919, 7_919))
    base = f"/v1/ledgers/{ledger}/proofs"

    def inclusion() -> bytes:
        return http_request(
            "GET", f"{base}/inclusion?seq={next(places) % size}&size={size}", bench.token
        )

    def consistency() -> bytes:
        return http_request(
            "GET", f"{base}/consistency?from={next(places) % size}&to={size}", bench.token
        )

    def tile() -> bytes:
        index = next(places) % (size // TILE_WIDTH)
        path = tile_path(0, index)
        return http_request("GET", f"/v1/ledgers/{ledger}/log/{path}", bench.token)

    seconds = bench.seconds / 3
    included = bench.load(1, inclusion, seconds=seconds)
    consistent = bench.load(1, consistency, seconds=seconds)
    tiled = bench.load(1, tile, seconds=seconds)
    worst = max(each.percentile_ms(99) for each in (included, consistent, tiled))
    return Figure(
        ratio=worst,
        details={
            "inclusion": included.document(),
            "consistency": consistent.document(),
            "tiles": tiled.document(),
            "one_row_p99_ms": round(row_ms, 2),
            "times_one_row": round(worst / row_ms, 1),
        },
    )


def bytes_per_entry(bench: Bench) -> Figure:
    """Tables, indexes and tiles on disk, against the entry bytes alone."""
    ledger = bench.large()
    with psycopg.connect(bench.conninfo(), autocommit=True) as connection:
        # Bulk-loaded pages are as full as a live ledger's: both only grow at the end.
        found = connection.execute(SELECT_BYTES).fetchall()
        counted = connection.execute(SELECT_BODIES, (ledger,)).fetchone()
        all_entries = connection.execute(SELECT_COUNT).fetchone()
    assert counted is not None
    assert all_entries is not None
    entries, body_bytes = counted[0], int(counted[1])
    per_entry = body_bytes / entries
    sizes = {f"table {table}": table_bytes for table, table_bytes, _, _ in found}
    sizes |= {f"index {index}": index_bytes for _, _, index, index_bytes in found if index}
    total = sum(sizes.values()) / all_entries[0]
    return Figure(
        ratio=total / per_entry,
        details={
            "entry_bytes": round(per_entry, 1),
            "stored_bytes_per_entry": round(total, 1),
            "bytes_per_entry": {
                name: round(size / all_entries[0], 1) for name, size in sizes.items()
            },
        },
    )

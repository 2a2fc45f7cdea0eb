"""
Cases: one function for each published figure, each with its yardstick beside it.

A figure is a ratio; above `reach` is good, or below it where `less_is_better`. What a ratio is
made of is in its details, with latencies, so that nobody has to take our word for it.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg

from ledger.bench import bundles, filling, reconciling, yardsticks
from ledger.bench.ceiling import ceiling_server
from ledger.bench.load import Load, Request, drive, http_request, percentile
from ledger.bench.processors import used_by
from ledger.errors import OverloadedError
from ledger.listing import EntryFilter
from ledger.service import Service
from ledger.storage.database import WRITER, engine
from ledger.storage.embedded import Attached, find_binaries
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.submission import Posting
from ledger.tiles import TILE_WIDTH, tile_path
from ledger.verification.pages import verify_ledger
from ledger.verify import Report

CONNECTIONS = 64
BATCH_ITEMS = 500
BATCH_CONNECTIONS = 4
LARGE_BATCH_ITEMS = 1_000
# More than a client that waits for each answer has sent on any machine so far.
LARGE_BATCHES_PER_S = 20
LEDGERS = 16
ROW_BYTES = 600
KNOWN = 5_000
PAGE = 100
LARGE = "large"
STEPS = (10_000, 1_000_000, 5_000_000)
FAR_PAGE = 1_000
WARM_UP_S = 2.0
FILL_S_MAX = 600.0
# A reader beside 64 writers waits its turn.
TIMEOUT_S = 60.0

Tell = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A ratio, what it should reach, and what it is made of."""

    ratio: float
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured against what."""

    name: str
    what: str
    yardstick: str
    reach: float
    run: Callable[[Bench], Figure]
    less_is_better: bool = False
    needs_large: bool = False
    """Needs the large ledger, which takes a while to fill."""

    def is_reached(self, figure: Figure) -> bool:
        """Whether the figure is as good as it should be."""
        if self.less_is_better:
            return figure.ratio <= self.reach
        return figure.ratio >= self.reach


@dataclass(slots=True, kw_only=True)
class Bench:
    """A running service to measure, and the database behind it."""

    port: int
    process: int
    """Id of the one that was started; the others are its children."""
    token: str
    service: Service
    """The same data from within: what has no path, and the large ledger."""
    server: Attached
    seconds: float
    entries: int
    """Of the large ledger."""
    house: Path
    """Folder of this run, or of several."""
    tell: Tell = lambda _done, _of: None
    _kept: dict[str, Any] = field(default_factory=dict)

    def conninfo(self) -> str:
        """Of the database's superuser: yardsticks make tables of their own."""
        return self.server.conninfo(SUPERUSER)

    def once(self, name: str, measure: Callable[[], Any]) -> Any:
        """What `measure` says, asked once in a run: several figures have one yardstick."""
        if name not in self._kept:
            self._kept[name] = measure()
        return self._kept[name]

    def load(self, connections: int, request: Request, *, seconds: float | None = None) -> Load:
        """Drive the service, and look what it and the database use meanwhile."""
        before = used_by(self.process)
        load = drive(self.port, connections, seconds or self.seconds, request)
        return replace(load, used=used_by(self.process).since(before))

    def single(self, *ledgers: str) -> Request:
        """Fresh effects, one per request, over these ledgers in turn."""
        for ledger in ledgers:
            self.service.registry.create_ledger(ledger)
        paths = itertools.cycle([f"/v1/ledgers/{ledger}/effects" for ledger in ledgers])
        numbers = itertools.count()

        def request() -> bytes:
            number = next(numbers)
            return self.post(next(paths), _effect(number), key=uuid.uuid4().hex)

        return request

    def post(self, path: str, document: Any, *, key: str | None = None) -> bytes:
        """A POST of `document`, as most clients write it: compactly."""
        headers = {} if key is None else {"Idempotency-Key": key}
        body = json.dumps(document, separators=(",", ":")).encode()
        return http_request("POST", path, self.token, body, headers)

    def large(self) -> str:
        """The large ledger, filled; what appends cost on the way is kept for `growth`."""

        def measure() -> dict[int, float]:
            kept = self.house / "growth.json"
            # A ledger that was filled in an earlier run is past its first steps.
            medians = _read_medians(kept)
            for step in sorted({min(step, self.entries) for step in STEPS}):
                if step in medians and step < self.entries:
                    continue
                filling.fill(self.service, LARGE, step, self.tell)
                medians[step] = _append_ms(self.service, LARGE)
                kept.write_text(json.dumps(medians), encoding="utf-8")
            return medians

        self.once("growth", measure)
        return LARGE


def _effect(number: int) -> dict[str, Any]:
    """A card payment of the usual size."""
    return {
        "type": "card.capture",
        "occurred_at": "2026-01-01T00:00:00Z",
        "subject": f"order/{number}",
        "actor": {"id": "checkout", "kind": "service"},
        "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
        "evidence": [{"system": "psp", "rel": "transaction", "ref": f"ch_{number:x}"}],
    }


def _items(count: int) -> list[dict[str, Any]]:
    """Fresh effects as items of a batch."""
    return [
        {"kind": "effect", "key": uuid.uuid4().hex, **_effect(number)} for number in range(count)
    ]


# ---- Writes ---------------------------------------------------------------------------


def _fresh_writes(bench: Bench) -> Load:
    def measure() -> Load:
        request = bench.single("single")
        bench.load(CONNECTIONS, request, seconds=WARM_UP_S)
        return bench.load(CONNECTIONS, request)

    load: Load = bench.once("fresh writes", measure)
    return load


def _ceiling(bench: Bench) -> Load:
    """What the load generator can do at all, beside a server that does nothing."""

    def measure() -> Load:
        request = bench.single("single")
        with ceiling_server() as port:
            return drive(port, CONNECTIONS, WARM_UP_S, request)

    load: Load = bench.once("ceiling", measure)
    return load


def _pgbench(bench: Bench) -> float:
    def measure() -> float:
        _prepare(bench)
        return yardsticks.pgbench(
            find_binaries(),
            bench.conninfo(),
            clients=CONNECTIONS,
            seconds=bench.seconds,
            row_bytes=ROW_BYTES,
        )

    commits: float = bench.once("pgbench", measure)
    return commits


def _prepare(bench: Bench) -> None:
    def measure() -> None:
        with psycopg.connect(bench.conninfo(), autocommit=True) as connection:
            yardsticks.prepare(connection)

    bench.once("tables", measure)


def single_posts(bench: Bench) -> Figure:
    """Fresh effects, one ledger, 64 connections, receipt in the answer."""
    fresh, ceiling = _fresh_writes(bench), _ceiling(bench)
    commits = _pgbench(bench)
    return Figure(
        ratio=fresh.per_second / commits,
        details={
            "posts": fresh.document(),
            "pgbench_commits_per_second": round(commits, 1),
            "request_bytes": len(bench.single("single")() or b""),
            "answer_bytes": len(fresh.answer),
            "ceiling_of_the_load_generator": ceiling.document(),
        },
    )


def batches(bench: Bench) -> Figure:
    """Batches of 500, four connections."""
    ledger = "batches"
    bench.service.registry.create_ledger(ledger)

    def request() -> bytes:
        document = {"mode": "atomic", "items": _items(BATCH_ITEMS)}
        return bench.post(f"/v1/ledgers/{ledger}/batch", document)

    load = bench.load(BATCH_CONNECTIONS, request)
    _prepare(bench)
    rows = yardsticks.copy_rows(
        bench.conninfo(),
        ledger,
        connections=BATCH_CONNECTIONS,
        batch=BATCH_ITEMS,
        seconds=bench.seconds,
    )
    effects = load.per_second * BATCH_ITEMS
    return Figure(
        ratio=effects / rows,
        details={
            "batches": load.document(),
            "effects_per_second": round(effects),
            "copied_rows_per_second": round(rows),
        },
    )


def many_ledgers(bench: Bench) -> Figure:
    """Fresh effects over 16 ledgers, against one ledger."""
    request = bench.single(*(f"many-{number}" for number in range(LEDGERS)))
    bench.load(CONNECTIONS, request, seconds=WARM_UP_S)
    load = bench.load(CONNECTIONS, request)
    one = _fresh_writes(bench)
    return Figure(
        ratio=load.per_second / one.per_second,
        details={"sixteen": load.document(), "one_per_second": round(one.per_second, 1)},
    )


def one_client(bench: Bench) -> Figure:
    """One request at a time, against one INSERT and COMMIT at a time."""
    _prepare(bench)
    load = bench.load(1, bench.single("one-client"))
    insert_ms = yardsticks.insert_and_commit_ms(
        bench.conninfo(), seconds=bench.seconds, row_bytes=ROW_BYTES
    )
    return Figure(
        ratio=load.percentile_ms(50) / insert_ms,
        details={"posts": load.document(), "insert_and_commit_p50_ms": round(insert_ms, 3)},
    )


def singles_beside_batches(bench: Bench) -> Figure:
    """p99 of single posts while one client sends batches of 1,000 to their ledger, and alone."""
    alone = _fresh_writes(bench)
    # Made before: the load generator is to send while it measures, and nothing else.
    path = "/v1/ledgers/single/batch"
    waiting = [
        bench.post(path, {"mode": "atomic", "items": _items(LARGE_BATCH_ITEMS)})
        for _ in range(int(LARGE_BATCHES_PER_S * bench.seconds))
    ]
    with ThreadPoolExecutor(max_workers=1) as other:
        batches = other.submit(
            drive, bench.port, 1, bench.seconds, lambda: waiting.pop() if waiting else None
        )
        load = bench.load(CONNECTIONS, bench.single("single"))
    return Figure(
        ratio=load.percentile_ms(99) / alone.percentile_ms(99),
        details={
            "beside": load.document(),
            "alone": alone.document(),
            "batches": batches.result().document(),
        },
    )


def replays(bench: Bench) -> Figure:
    """Known keys sent again, against fresh ones."""
    ledger = "replays"
    bench.service.registry.create_ledger(ledger)
    known = [
        bench.post(f"/v1/ledgers/{ledger}/effects", _effect(number), key=f"known-{number}")
        for number in range(KNOWN)
    ]
    first = iter(known)
    bench.load(CONNECTIONS, lambda: next(first, None), seconds=FILL_S_MAX)
    again = itertools.cycle(known)
    load = bench.load(CONNECTIONS, lambda: next(again))
    one = _fresh_writes(bench)
    return Figure(
        ratio=load.per_second / one.per_second,
        details={"replays": load.document(), "fresh_per_second": round(one.per_second, 1)},
    )


# ---- Verification ---------------------------------------------------------------------


def verification(bench: Bench) -> Figure:
    """Full verification in one process, against reading and hashing the same rows in one."""
    ledger = bench.large()
    size = bench.service.reader.size(ledger)
    # First: the service may have begun one by itself, and nothing else is to run beside the others.
    apart = _verified_apart(bench, ledger)
    scanned = yardsticks.scan_and_hash(bench.conninfo(), ledger, size)
    memory_before = _resident_bytes()
    alone = _verified_alone(bench, ledger)
    memory_grew = _resident_bytes() - memory_before
    assert set(apart["verdicts"].values()) == {"ok"}, apart
    verified = alone.entries / alone.seconds
    return Figure(
        ratio=verified / scanned,
        details={
            "entries": alone.entries,
            "verified_per_second": round(verified),
            "scanned_and_hashed_per_second": round(scanned),
            "memory_grew_by_bytes": memory_grew,
            "in_own_processes_per_second": round(apart["entries"] / apart["seconds"]),
            "in_own_processes_ratio": round(apart["entries"] / apart["seconds"] / scanned, 3),
        },
    )


def _verified_alone(bench: Bench, ledger: str) -> Report:
    """The report of a verification in this process, under the conditions of its own ones."""
    pool = engine(lambda _role: bench.server.conninfo(WRITER), WRITER, pool_size=2)
    gc.disable()
    try:
        report = verify_ledger(pool, ledger, ahead=True)
    finally:
        gc.enable()
        pool.dispose()
    assert report.good, report.document()
    return report


def _verified_apart(bench: Bench, ledger: str) -> dict[str, Any]:
    """The report of a verification as the service runs it, whoever began it."""
    verifications = bench.service.verifications
    ends_at = time.monotonic() + FILL_S_MAX
    job: str | None = None
    while time.monotonic() < ends_at:
        # Refused while another one runs.
        with suppress(OverloadedError):
            job = job or verifications.start(ledger)
        report = None if job is None else verifications.get(ledger, job)["report"]
        if report is not None:
            return dict(report)
        time.sleep(1.0)
    raise OverloadedError(f"{ledger} was not verified within {FILL_S_MAX:.0f} s", ledger=ledger)


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - not a file on disk
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def writes_beside_readers(bench: Bench) -> Figure:
    """Fresh effects while a full verification and a feed reader run, against the same alone."""
    large = bench.large()
    alone = _fresh_writes(bench)
    stop = threading.Event()
    headers = {"Authorization": f"Bearer {bench.token}"}
    fed = [0]

    with httpx.Client(
        base_url=f"http://127.0.0.1:{bench.port}", headers=headers, timeout=TIMEOUT_S
    ) as http:
        job = http.post(f"/v1/ledgers/{large}/verifications", json={"mode": "full"}).json()

        def follow() -> None:
            after = -1
            while not stop.is_set():
                page = http.get(f"/v1/ledgers/{large}/feed", params={"after": after}).json()
                fed[0] += len(page["entries"])
                after = page["next_after"] if page["entries"] else -1

        reader = threading.Thread(target=follow)
        reader.start()
        load = bench.load(CONNECTIONS, bench.single("single"))
        stop.set()
        reader.join()
        state = http.get(f"/v1/ledgers/{large}/verifications/{job['id']}").json()
    return Figure(
        ratio=load.per_second / alone.per_second,
        details={
            "posts": load.document(),
            "alone_per_second": round(alone.per_second, 1),
            "verification": {"state": state["state"], **state["progress"]},
            "fed_entries": fed[0],
        },
    )


# ---- Reads at scale -------------------------------------------------------------------

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


# ---- Growth ---------------------------------------------------------------------------

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


APPENDS = 100
APPEND_ITEMS = 64


def growth(bench: Bench) -> Figure:
    """What an append of 64 costs at the large ledger's size, against itself at 10 thousand."""
    bench.large()
    medians: dict[int, float] = bench.once("growth", dict)
    first, last = min(medians), max(medians)
    return Figure(
        ratio=max(medians[step] for step in medians) / medians[first],
        details={
            "append_of_64_p50_ms": {f"{step:,}": round(ms, 3) for step, ms in medians.items()},
            "largest": last,
        },
    )


def _read_medians(kept: Path) -> dict[int, float]:
    if not kept.exists():
        return {}
    return {int(step): ms for step, ms in json.loads(kept.read_text(encoding="utf-8")).items()}


def _append_ms(service: Service, ledger: str) -> float:
    """Median milliseconds of an append of 64 effects, at the size the ledger has."""
    rules = service.reader.ledger(ledger).rules
    size = service.reader.size(ledger)
    took = []
    for number in range(size, size + APPENDS * APPEND_ITEMS, APPEND_ITEMS):
        posting = Posting(
            ledger=ledger,
            principal=filling.PRINCIPALS[0],
            submissions=tuple(filling.submissions(rules, number, number + APPEND_ITEMS)),
        )
        began = time.perf_counter()
        service.appender.append(ledger, [posting])
        took.append(1_000 * (time.perf_counter() - began))
    return percentile(sorted(took), 50)


# ---- Bundles --------------------------------------------------------------------------


def reconciliations(bench: Bench) -> Figure:
    """A generated shop read, matched and held to its planted breaks; see `reconciling`."""
    ratio, details = reconciling.measure(bench)
    return Figure(ratio=ratio, details=details)


def audit_bundles(bench: Bench) -> Figure:
    """A closed period taken away and verified by verify.py alone; see `bundles`."""
    ratio, details = bundles.measure(bench)
    return Figure(ratio=ratio, details=details)


CASES = (
    Case(
        name="R1",
        what="single posts, one ledger, 64 connections, receipt in the answer",
        yardstick="pgbench: prepared one-row insert with a unique key, 64 clients",
        reach=1.0,
        run=single_posts,
    ),
    Case(
        name="R2",
        what="batches of 500, 4 connections, effects per second",
        yardstick="binary COPY of the same rows into a table with the same indexes",
        reach=0.6,
        run=batches,
    ),
    Case(
        name="R3",
        what="single posts over 16 ledgers",
        yardstick="R1",
        reach=1.0,
        run=many_ledgers,
    ),
    Case(
        name="R4",
        what="one client, one post at a time, p50",
        yardstick="p50 of one INSERT and COMMIT with psycopg",
        reach=2.0,
        run=one_client,
        less_is_better=True,
    ),
    Case(
        name="R5",
        what="replays of known keys, receipt in the answer",
        yardstick="R1",
        reach=1.5,
        run=replays,
    ),
    Case(
        name="F1",
        what="p99 of single posts beside a client that sends batches of 1,000",
        yardstick="p99 of R1",
        reach=3.0,
        run=singles_beside_batches,
        less_is_better=True,
    ),
    Case(
        name="R6",
        what="full verification, one process",
        yardstick="scan and SHA-256 of the same rows, one process",
        reach=0.4,
        run=verification,
        needs_large=True,
    ),
    Case(
        name="R7",
        what="first and 1,000th page of 100 under each filter, worst p95",
        yardstick="100 rows by primary key, p95",
        reach=3.0,
        run=pages,
        less_is_better=True,
        needs_large=True,
    ),
    Case(
        name="R8",
        what="inclusion and consistency proofs and tiles over HTTP, p99, in milliseconds",
        yardstick="5 ms",
        reach=5.0,
        run=proofs,
        less_is_better=True,
        needs_large=True,
    ),
    Case(
        name="R9",
        what="R1 while a full verification and a feed reader run",
        yardstick="R1",
        reach=0.8,
        run=writes_beside_readers,
        needs_large=True,
    ),
    Case(
        name="R10",
        what="bytes on disk per entry: table, indexes, terms and tiles",
        yardstick="entry bytes",
        reach=2.8,
        run=bytes_per_entry,
        less_is_better=True,
        needs_large=True,
    ),
    Case(
        name="R11",
        what="an append of 64 at 10 thousand, 1 million and 5 million entries, p50",
        yardstick="itself at 10 thousand",
        reach=1.15,
        run=growth,
        less_is_better=True,
        needs_large=True,
    ),
    Case(
        name="R12",
        what="audit bundle of a closed period, verified by verify.py alone, one process",
        yardstick="scan and SHA-256 of the same rows, one process",
        reach=0.1,
        run=audit_bundles,
        needs_large=True,
    ),
    Case(
        name="R13",
        what="a shop of a thousand to a million lines reconciled, one process, growth",
        yardstick="n log n from 10,000 lines on",
        reach=1.5,
        run=reconciliations,
        less_is_better=True,
    ),
)

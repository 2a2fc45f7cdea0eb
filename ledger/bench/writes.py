"""Writes: what a service takes per second and how long each waits, and what appends cost."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from ledger.bench import yardsticks
from ledger.bench.ceiling import ceiling_server
from ledger.bench.load import Load, drive
from ledger.bench.rig import CONNECTIONS, WARM_UP_S, Bench, Figure, effect, items
from ledger.storage.embedded import find_binaries

BATCH_ITEMS = 500
BATCH_CONNECTIONS = 4
LARGE_BATCH_ITEMS = 1_000
# More than a client that waits for each answer has sent on any machine so far.
LARGE_BATCHES_PER_S = 20
LEDGERS = 16
ROW_BYTES = 600
KNOWN = 5_000
FILL_S_MAX = 600.0
# A reader beside 64 writers waits its turn.
TIMEOUT_S = 60.0


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
        document = {"mode": "atomic", "items": items(BATCH_ITEMS)}
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
    """
    p99 of single posts while one client sends batches of 1,000 to their ledger, and alone.

    Of independent batches and of atomic ones; the ratio is the worse of the two.
    """
    alone = _fresh_writes(bench)
    beside = {mode: _singles_beside(bench, mode) for mode in ("independent", "atomic")}
    worst = max(load.percentile_ms(99) for load, _ in beside.values())
    return Figure(
        ratio=worst / alone.percentile_ms(99),
        details={
            "alone": alone.document(),
            **{
                mode: {
                    "ratio": round(load.percentile_ms(99) / alone.percentile_ms(99), 2),
                    "beside": load.document(),
                    "batches": batches.document(),
                }
                for mode, (load, batches) in beside.items()
            },
        },
    )


def _singles_beside(bench: Bench, mode: str) -> tuple[Load, Load]:
    """Single posts, and the batches of this mode beside them."""
    # Made before: the load generator is to send while it measures, and nothing else.
    path = "/v1/ledgers/single/batch"
    waiting = [
        bench.post(path, {"mode": mode, "items": items(LARGE_BATCH_ITEMS)})
        for _ in range(int(LARGE_BATCHES_PER_S * bench.seconds))
    ]
    with ThreadPoolExecutor(max_workers=1) as other:
        batches = other.submit(
            drive, bench.port, 1, bench.seconds, lambda: waiting.pop() if waiting else None
        )
        load = bench.load(CONNECTIONS, bench.single("single"))
    return load, batches.result()


def replays(bench: Bench) -> Figure:
    """Known keys sent again, against fresh ones."""
    ledger = "replays"
    bench.service.registry.create_ledger(ledger)
    known = [
        bench.post(f"/v1/ledgers/{ledger}/effects", effect(number), key=f"known-{number}")
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

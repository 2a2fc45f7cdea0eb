"""
Throughput of durable posts over HTTP, beside pgbench inserting one row per commit.

    python tests/benchmarks/throughput.py [--seconds 10] [--connections 64] [--json]

Everything runs on this machine and shares its processors: the service on its embedded
PostgreSQL, the load generator, and the yardstick, one after the other on the same server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ledger.storage.embedded import attach, find_binaries

LEDGER = "bench"
YARDSTICK = "create table public.yardstick (seq bigserial primary key, key text unique, body bytea)"
COMMAND = [sys.executable, "-m", "ledger.cli.main"]


class Client(asyncio.Protocol):
    """One keep-alive connection that posts, waits for the answer and posts again."""

    def __init__(self, next_request: Callable[[], bytes], deadline: float) -> None:
        self._next_request = next_request
        self._deadline = deadline
        self._buffer = b""
        self._sent_at = 0.0
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_end + 4 + length:
            return
        status = int(head[9:12])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self._buffer = b""
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        if now < self._deadline:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._next_request())


async def load(
    port: int, connections: int, seconds: float, next_request: Callable[[], bytes]
) -> dict[str, Any]:
    """Drive the service and report requests per second and latencies in milliseconds."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients: list[Client] = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: Client(next_request, began + seconds), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - began
    latencies = sorted(ms for client in clients for ms in client.latencies)
    statuses: dict[int, int] = {}
    for client in clients:
        for status, count in client.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return {
        "connections": connections,
        "requests_per_s": round(len(latencies) / took, 1),
        "statuses": statuses,
        "p50_ms": _percentile(latencies, 50),
        "p95_ms": _percentile(latencies, 95),
        "p99_ms": _percentile(latencies, 99),
    }


def _percentile(latencies: list[float], percent: int) -> float:
    return round(1000 * statistics.quantiles(latencies, n=100)[percent - 1], 2)


def http_request(method: str, path: str, key: str, body: bytes, **headers: str) -> bytes:
    """One HTTP/1.1 request as bytes."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def effect_members(number: int) -> dict[str, Any]:
    """A card payment of usual size; its entry has about 600 bytes."""
    return {
        "type": "card.capture",
        "occurred_at": "2026-01-01T00:00:00Z",
        "subject": f"order/{number}",
        "actor": {"id": "checkout", "kind": "service"},
        "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
        "evidence": [{"system": "stripe", "rel": "transaction", "ref": f"ch_{number:020d}"}],
    }


@contextmanager
def running_service() -> Iterator[tuple[Path, int, str]]:
    """The real service on a fresh embedded database: data directory, port, API key."""
    base = Path(tempfile.mkdtemp(prefix="effect-ledger-bench-"))
    base.chmod(0o711)
    data_dir = base / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "EFFECT_LEDGER_DATA_DIR": str(data_dir),
        "EFFECT_LEDGER_LOG_LEVEL": "warning",
    }
    service = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_ready(port, service)
        subprocess.run(
            [*COMMAND, "ledger", "create", LEDGER, "--json"],
            env=environment,
            check=True,
            capture_output=True,
        )
        created = subprocess.run(
            [*COMMAND, "key", "create", "--name", "bench", "--scope", "*", "--json"],
            env=environment,
            check=True,
            capture_output=True,
        )
        yield data_dir, port, json.loads(created.stdout)["key"]
    finally:
        service.terminate()
        service.wait(timeout=60)
        shutil.rmtree(base, ignore_errors=True)


def _await_ready(port: int, service: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if service.poll() is not None:
            sys.exit(f"the service ended with code {service.returncode}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit("the service did not get ready within a minute")


def pgbench(data_dir: Path, clients: int, seconds: float) -> dict[str, Any]:
    """The yardstick: one prepared insert with a unique key and its commit, same server."""
    server = attach(data_dir)
    assert server is not None
    conninfo = server.conninfo("effect_ledger_owner")
    binaries = find_binaries()
    subprocess.run(
        [
            str(binaries / "psql"),
            conninfo,
            "-qc",
            YARDSTICK,
        ],
        check=True,
    )
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(
            "insert into public.yardstick (key, body) "
            "values (gen_random_uuid()::text, decode(repeat('ab', 600), 'hex'));\n"
        )
        script.flush()
        done = subprocess.run(
            [
                str(binaries / "pgbench"),
                "--no-vacuum",
                f"--client={clients}",
                "--jobs=2",
                f"--time={seconds:.0f}",
                "--protocol=prepared",
                f"--file={script.name}",
                conninfo,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    tps = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert tps is not None, done.stdout
    return {"clients": clients, "commits_per_s": round(float(tps[1]), 1)}


async def measure(data_dir: Path, port: int, key: str, options: argparse.Namespace) -> Any:
    """All figures of one run."""
    path = f"/v1/ledgers/{LEDGER}"
    numbers = iter(range(10**12))

    def single() -> bytes:
        body = json.dumps(effect_members(next(numbers))).encode()
        return http_request("POST", f"{path}/effects", key, body, Idempotency_Key=uuid.uuid4().hex)

    def batch() -> bytes:
        items = [
            {"kind": "effect", "key": uuid.uuid4().hex, **effect_members(next(numbers))}
            for _ in range(500)
        ]
        body = json.dumps({"mode": "atomic", "items": items}).encode()
        return http_request("POST", f"{path}/batch", key, body)

    seconds = options.seconds
    await load(port, options.connections, 2, single)
    figures: dict[str, Any] = {
        "ceiling": await load(
            port, options.connections, 3, lambda: http_request("GET", "/healthz", key, b"")
        ),
        "single": await load(port, options.connections, seconds, single),
        "one_client": await load(port, 1, 3, single),
        "batch_of_500": await load(port, 4, seconds, batch),
        "pgbench": pgbench(data_dir, options.connections, seconds),
    }
    figures["batch_of_500"]["effects_per_s"] = round(
        500 * figures["batch_of_500"]["requests_per_s"]
    )
    yardstick = figures["pgbench"]["commits_per_s"]
    figures["single_over_pgbench"] = round(figures["single"]["requests_per_s"] / yardstick, 3)
    return figures


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with running_service() as (data_dir, port, key):
        figures = asyncio.run(measure(data_dir, port, key, options))
    figures["machine"] = {"processors": os.cpu_count(), "python": sys.version.split()[0]}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

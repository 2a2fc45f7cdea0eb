"""
Load: a lean HTTP client that keeps so many connections busy, and says how long answers took.

It writes whole requests and looks for the end of each answer, and does nothing else: its own
ceiling is measured against an endpoint that does no work.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.bench.processors import Used

Request = Callable[[], bytes | None]
"""Makes the next request, whole; None where there is no more to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What became of a run."""

    connections: int
    seconds: float
    statuses: Mapping[int, int]
    latencies: list[float] = field(repr=False)
    """Seconds from the last byte sent to the last byte received, sorted."""
    answer: bytes = field(repr=False)
    """One of the answers, whole."""
    generator_seconds: float
    """Processor time the client itself used."""
    used: Used | None = None
    """Processor time that service and database used meanwhile, where it was asked for."""

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The time within which so many of the answers came, in milliseconds."""
        return 1_000 * percentile(self.latencies, percent)

    def document(self) -> dict[str, Any]:
        """As it stands in a report."""
        return {
            "connections": self.connections,
            "requests": self.requests,
            "per_second": round(self.per_second, 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "p50_ms": round(self.percentile_ms(50), 2),
            "p95_ms": round(self.percentile_ms(95), 2),
            "p99_ms": round(self.percentile_ms(99), 2),
            "processors": self._processors(),
        }

    def _processors(self) -> dict[str, float]:
        """Shares of one processor; microseconds of the service for each answer."""
        shares = {"generator": round(self.generator_seconds / self.seconds, 2)}
        if self.used is not None:
            shares["service"] = round(self.used.service / self.seconds, 2)
            shares["database"] = round(self.used.database / self.seconds, 2)
            shares["service_us_each"] = round(1e6 * self.used.service / self.requests)
        return shares


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent of the sorted `values` do not exceed (nearest rank)."""
    assert values, "of nothing there is no percentile"
    return values[max(0, -(-len(values) * percent // 100).__int__() - 1)]


def drive(port: int, connections: int, seconds: float, request: Request) -> Load:
    """
    Keep `connections` busy for so many seconds; each waits for its answer before it asks again.

    Args:
        port: On the loopback address.
        connections: Opened before the time runs.
        seconds: After these no new request is sent; what is under way is waited for. It ends
            sooner where there is no more to ask.
        request: Called for each request.
    """
    return asyncio.run(_drive(port, connections, seconds, request))


async def _drive(port: int, connections: int, seconds: float, request: Request) -> Load:
    loop = asyncio.get_running_loop()
    run = _Run(request)
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port)
        clients.append(client)
    cpu, began = time.process_time(), time.perf_counter()
    run.ends_at = began + seconds
    for client in clients:
        client.ask()
    await asyncio.gather(*(client.ended for client in clients))
    took = time.perf_counter() - began
    return Load(
        connections=connections,
        seconds=took,
        statuses=run.statuses,
        latencies=sorted(run.latencies),
        answer=run.answer,
        generator_seconds=time.process_time() - cpu,
    )


class _Run:
    """What the connections of one run share."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.ends_at = 0.0
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.answer = b""


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._asked_at = 0.0
        self._is_done = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self) -> None:
        """Send the next request, or end."""
        request = self._run.request() if time.perf_counter() < self._run.ends_at else None
        if request is None:
            self._is_done = True
            self._transport.close()
        else:
            self._asked_at = time.perf_counter()
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        run = self._run
        run.latencies.append(time.perf_counter() - self._asked_at)
        run.statuses[int(head[9:12])] += 1
        run.answer, self._received = self._received, b""
        self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None and self._is_done:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error or ConnectionError("the service hung up"))


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


def http_request(
    method: str, path: str, token: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """One HTTP/1.1 request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body

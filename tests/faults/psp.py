"""
A provider that charges cards: each time it is asked, unless the caller sends an idempotency key.

It can lose its answers, let callers hang, decline, and see to it that they die at the worst moment.
Its report has every charge it made, and its count and sum, as providers' summaries do.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FATES = ("answers", "drops", "hangs", "kills", "kills-first", "declines")
HANGS_S = 3.0
COVERED = timedelta(days=9)
"""How far the report's period reaches beyond today: it is drawn up later, and no charge came."""

MAPPING = {
    "version": 1,
    "date": "day",
    "amount": "amount",
    "currency": "currency",
    "kind": "kind",
    "kinds": {"charge": "payment"},
    "provider_txn_id": "id",
    "merchant_ref": "reference",
}


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Money that was taken."""

    id: str
    order: str
    minor: int
    day: date


@dataclass(kw_only=True)
class Provider:
    """What it did, and what it does to whom."""

    fates: dict[str, str] = field(default_factory=dict)
    """Order -> what befalls the first request about it; later ones are answered."""
    charges: list[Charge] = field(default_factory=list)
    requests: int = 0
    url: str = ""
    _keys: dict[str, Charge] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, said: Mapping[str, Any], key: str | None) -> Charge:
        """Take money; with a key, once."""
        with self._lock:
            if key is not None and key in self._keys:
                return self._keys[key]
            made = Charge(
                id=f"ch_{len(self.charges)}",
                order=said["order"],
                minor=said["minor"],
                day=datetime.now(UTC).date(),
            )
            self.charges.append(made)
            if key is not None:
                self._keys[key] = made
            return made

    def fate(self, order: str) -> str:
        """What befalls this request."""
        with self._lock:
            self.requests += 1
            return self.fates.pop(order, "answers")

    def report(self) -> str:
        """Every charge, as a table."""
        rows = ["id,day,kind,amount,currency,reference"]
        rows += [
            f"{each.id},{each.day},charge,{each.minor / 100:.2f},EUR,{each.order}"
            for each in self.charges
        ]
        return "\n".join([*rows, ""])

    def summary(self, first: date, today: date) -> dict[str, Any]:
        """What the provider's own page says of the report: how many, and how much."""
        return {
            "controls": [
                {
                    "currency": "EUR",
                    "period_from": str(first),
                    "period_to": str(today + COVERED),
                    "lines": len(self.charges),
                    "net_minor": sum(each.minor for each in self.charges),
                }
            ]
        }


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider on a free port, until the block ends."""
    state = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fate = state.fate(said["order"])
            if fate == "declines":
                self._answer(402, {"declined": True})
                return
            if fate == "kills-first":
                os.kill(said["caller"], signal.SIGKILL)
                self.close_connection = True
                return
            made = state.charge(said, self.headers.get("Idempotency-Key"))
            if fate == "kills":
                os.kill(said["caller"], signal.SIGKILL)
            if fate == "hangs":
                time.sleep(HANGS_S)
            if fate != "answers":
                self.close_connection = True
                return
            self._answer(200, {"id": made.id})

        def _answer(self, status: int, document: Mapping[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""
Rig: a running service that is measured, and what a figure says.

A figure is a ratio; above `reach` is good, or below it where `less_is_better`. What a ratio is
made of is in its details, with latencies, so that nobody has to take our word for it.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ledger.bench import filling
from ledger.bench.load import Load, Request, drive, http_request, percentile
from ledger.bench.processors import used_by
from ledger.service import Service
from ledger.storage.embedded import Attached
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.submission import Posting

CONNECTIONS = 64
LARGE = "large"
STEPS = (10_000, 1_000_000, 5_000_000)
WARM_UP_S = 2.0
APPENDS = 100
APPEND_ITEMS = 64

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
            return self.post(next(paths), effect(number), key=uuid.uuid4().hex)

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


def effect(number: int) -> dict[str, Any]:
    """A card payment of the usual size."""
    return {
        "type": "card.capture",
        "occurred_at": "2026-01-01T00:00:00Z",
        "subject": f"order/{number}",
        "actor": {"id": "checkout", "kind": "service"},
        "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
        "evidence": [{"system": "psp", "rel": "transaction", "ref": f"ch_{number:x}"}],
    }


def items(count: int) -> list[dict[str, Any]]:
    """Fresh effects as items of a batch."""
    return [
        {"kind": "effect", "key": uuid.uuid4().hex, **effect(number)} for number in range(count)
    ]


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

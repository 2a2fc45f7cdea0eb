"""
Metrics: what a process counts, as Prometheus reads it.

Several worker processes add up where PROMETHEUS_MULTIPROC_DIR names a directory they share.
No label holds a key, a subject or a principal.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ledger.dialog.intents import OpenIntents
from ledger.submission import Outcome, Recorded
from ledger.verification.runs import Standing

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# From a cached answer to a request that gives up on the database.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "effect_ledger_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._problems = Counter(
            "effect_ledger_problems",
            "Requests answered with a problem, by what it is and by the world it is in.",
            ["code", "world", "severity"],
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "effect_ledger_http_request_seconds",
            "Time from the first byte in to the last byte out; feeds apart.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._outcomes = Counter(
            "effect_ledger_submissions",
            "What became of submissions: recorded, replayed, or refused by a rule of history.",
            ["outcome"],
            registry=self._registry,
        )
        self._batch_items = Histogram(
            "effect_ledger_batch_items",
            "Submissions committed together.",
            buckets=_ITEMS,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "effect_ledger_batch_seconds",
            "Time one batch took, from taking the head's lock to the signed receipts.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """A request was answered; `seconds` is None where time says nothing, as for feeds."""
        # Looked up once: there are as many as routes, methods and statuses, and no more.
        answered = self._answered.get((method, route, status))
        if answered is None:
            answered = (
                self._requests.labels(method, route, str(status)),
                self._request_seconds.labels(method, route),
            )
            self._answered[method, route, status] = answered
        count, time = answered
        count.inc()
        if seconds is not None:
            time.observe(seconds)

    def refused(self, code: str, world: str, severity: str) -> None:
        """A request was answered with this problem."""
        self._problems.labels(code, world, severity).inc()

    def committed(self, outcomes: Sequence[Sequence[Outcome]], seconds: float) -> None:
        """A batch of postings was committed. Called from the sequencer's thread."""
        counts = {"recorded": 0, "replayed": 0, "refused": 0}
        for outcome in (outcome for posting in outcomes for outcome in posting):
            if not isinstance(outcome, Recorded):
                counts["refused"] += 1
            else:
                counts["replayed" if outcome.replayed else "recorded"] += 1
        for name, count in counts.items():
            self._outcomes.labels(name).inc(count)
        self._batch_items.observe(sum(counts.values()))
        self._batch_seconds.observe(seconds)

    def page(
        self,
        *,
        waiting: int,
        sizes: Mapping[str, tuple[int, int]],
        quorums: Mapping[str, tuple[int, float]],
        timestamps: Mapping[str, tuple[int, float]],
        registered: Mapping[str, int],
        stopped: Collection[str],
        verified: Mapping[str, Standing],
        verified_ages: Mapping[str, Mapping[str, float]],
        intents: Sequence[OpenIntents],
    ) -> bytes:
        """
        Everything, in the text format.

        Args:
            waiting: Submissions that wait in this process.
            sizes: Ledger -> entries sequenced, and entries under a published checkpoint.
            quorums: Ledger -> size of its newest cosigned checkpoint, and seconds since then.
            timestamps: Ledger -> size of its newest timestamped checkpoint, and seconds since then.
            registered: Ledger -> size of its newest checkpoint that the registry recorded.
            stopped: Ledgers that take no writes.
            verified: Ledger -> its newest verification.
            verified_ages: Mode -> ledger -> seconds since its newest verification in that mode.
            intents: What waits, by ledger and by how it stands.
        """
        registry = CollectorRegistry()
        registry.register(
            _Now(
                waiting=waiting,
                sizes=sizes,
                quorums=quorums,
                timestamps=timestamps,
                registered=registered,
                stopped=stopped,
            )
        )
        registry.register(_Verified(verified, verified_ages))
        registry.register(_Intents(intents))
        counted = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        return generate_latest(counted) + generate_latest(registry)


class _Now(Collector):
    """What is read at the moment somebody asks."""

    def __init__(
        self,
        *,
        waiting: int,
        sizes: Mapping[str, tuple[int, int]],
        quorums: Mapping[str, tuple[int, float]],
        timestamps: Mapping[str, tuple[int, float]],
        registered: Mapping[str, int],
        stopped: Collection[str],
    ) -> None:
        self._waiting = waiting
        self._sizes = sizes
        self._quorums = quorums
        self._timestamps = timestamps
        self._registered = registered
        self._stopped = stopped

    def collect(self) -> Iterable[Metric]:
        """The gauges, one family after the other."""
        waiting = GaugeMetricFamily(
            "effect_ledger_waiting_submissions",
            "Submissions that wait or are being committed, in the worker that answers.",
            labels=["worker"],
        )
        waiting.add_metric([str(os.getpid())], self._waiting)
        yield waiting
        size = GaugeMetricFamily(
            "effect_ledger_size", "Entries of a ledger you may read.", labels=["ledger"]
        )
        lag = GaugeMetricFamily(
            "effect_ledger_signer_lag_entries",
            "Entries that are sequenced and not yet under a published checkpoint.",
            labels=["ledger"],
        )
        for ledger, (sequenced, published) in sorted(self._sizes.items()):
            size.add_metric([ledger], sequenced)
            lag.add_metric([ledger], sequenced - published)
        yield size
        yield lag
        yield from _anchored(
            self._quorums,
            ("effect_ledger_cosigned_size", "that a quorum of witnesses cosigned"),
            ("effect_ledger_quorum_age_seconds", "a quorum of witnesses was last reached"),
        )
        yield from _anchored(
            self._timestamps,
            ("effect_ledger_timestamped_size", "that an authority timestamped"),
            ("effect_ledger_timestamp_age_seconds", "an authority last gave a timestamp"),
        )
        recorded = GaugeMetricFamily(
            "effect_ledger_registered_size",
            "Entries under the newest checkpoint that the registry recorded.",
            labels=["ledger"],
        )
        for ledger, covered in sorted(self._registered.items()):
            recorded.add_metric([ledger], covered)
        yield recorded
        stopped = GaugeMetricFamily(
            "effect_ledger_stopped",
            "1 for a ledger that takes no writes until a person has looked.",
            labels=["ledger"],
        )
        for ledger in sorted(self._sizes):
            stopped.add_metric([ledger], ledger in self._stopped)
        yield stopped


class _Verified(Collector):
    """What verification found last."""

    def __init__(
        self, verified: Mapping[str, Standing], ages: Mapping[str, Mapping[str, float]]
    ) -> None:
        self._verified = verified
        self._ages = ages

    def collect(self) -> Iterable[Metric]:
        """The gauges, one family after the other."""
        size = GaugeMetricFamily(
            "effect_ledger_verified_size",
            "Entries that the newest verification speaks of.",
            labels=["ledger"],
        )
        bad = GaugeMetricFamily(
            "effect_ledger_verification_bad",
            "1 for a ledger whose newest verification found something, acknowledged or not.",
            labels=["ledger"],
        )
        for ledger, each in sorted(self._verified.items()):
            size.add_metric([ledger], each.size)
            bad.add_metric([ledger], not each.good)
        yield size
        yield bad
        age = GaugeMetricFamily(
            "effect_ledger_verification_age_seconds",
            "Time since a verification in this mode was last finished.",
            labels=["ledger", "mode"],
        )
        for mode, ages in sorted(self._ages.items()):
            for ledger, age_s in sorted(ages.items()):
                age.add_metric([ledger, mode], age_s)
        yield age


def _anchored(
    anchored: Mapping[str, tuple[int, float]], size: tuple[str, str], age: tuple[str, str]
) -> Iterable[Metric]:
    """Two gauges, each a name and what it is about: how much is anchored, and since when."""
    sizes = GaugeMetricFamily(
        size[0], f"Entries under the newest checkpoint {size[1]}.", labels=["ledger"]
    )
    ages = GaugeMetricFamily(age[0], f"Time since {age[1]}.", labels=["ledger"])
    for ledger, (covered, age_s) in sorted(anchored.items()):
        sizes.add_metric([ledger], covered)
        ages.add_metric([ledger], age_s)
    yield sizes
    yield ages


class _Intents(Collector):
    """Intents that wait, at the moment somebody asks; neither subjects nor keys are told."""

    def __init__(self, intents: Sequence[OpenIntents]) -> None:
        self._intents = intents

    def collect(self) -> Iterable[Metric]:
        """The gauges, one family after the other."""
        labels = ["ledger", "state", "on_silence"]
        count = GaugeMetricFamily(
            "effect_ledger_intents",
            "Intents that wait: promised, executing, executed and not handed off, or unknown.",
            labels=labels,
        )
        oldest = GaugeMetricFamily(
            "effect_ledger_intent_oldest_seconds",
            "Time since the oldest of them was promised.",
            labels=labels,
        )
        due = GaugeMetricFamily(
            "effect_ledger_intent_due_seconds",
            "Time until the first of them must be answered; below zero once that is past.",
            labels=labels,
        )
        for each in self._intents:
            where = [each.ledger, each.standing, each.on_silence]
            count.add_metric(where, each.count)
            oldest.add_metric(where, each.oldest_s)
            due.add_metric(where, each.due_s)
        yield count
        yield oldest
        yield due

"""
Coverage: for which days a source is complete, and which days, if any, are missing.

Only statements that prove themselves cover a day. Without one, that something is not there
says nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Days that one statement is complete for."""

    source: str
    currency: str
    first: date
    last: date
    """Inclusive."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Days that sources cover, by source and currency: ranges that neither meet nor overlap."""

    ranges: Mapping[tuple[str, str], tuple[tuple[date, date], ...]]

    def covers(self, source: str, currency: str, first: date, last: date) -> bool:
        """Whether every day from `first` to `last` is covered."""
        return any(
            low <= first and last <= high for low, high in self.ranges.get((source, currency), ())
        )

    def first_gap(self, source: str, currency: str, first: date, last: date) -> date | None:
        """The first day of these that is not covered."""
        day = first
        for low, high in self.ranges.get((source, currency), ()):
            if low <= day <= high:
                day = high + timedelta(days=1)
        return day if day <= last else None


def build_coverage(spans: Iterable[Span]) -> Coverage:
    """Join spans that overlap or follow each other day by day."""
    by_key: dict[tuple[str, str], list[tuple[date, date]]] = defaultdict(list)
    for span in spans:
        if span.first <= span.last:
            by_key[span.source, span.currency].append((span.first, span.last))
    return Coverage({key: tuple(_joined(sorted(found))) for key, found in sorted(by_key.items())})


def _joined(ranges: Iterable[tuple[date, date]]) -> list[tuple[date, date]]:
    joined: list[tuple[date, date]] = []
    for first, last in ranges:
        if joined and first <= joined[-1][1] + timedelta(days=1):
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined

"""
Rules: how long money may take, what may differ, and what people decided. Versioned values.

A window is in business days, Monday to Friday without the holidays that are named: banks
and providers book on these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from ledger.recon.matching.item import Item
from ledger.recon.statement import LineKind

SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When the other half of a movement may be dated."""

    before: int = 1
    """Calendar days earlier: two zones seldom agree on what day it is."""
    after: int = 5
    """Business days later."""
    late_after: int | None = None
    """Business days after which a missing half is late; None: as soon as `after` is over."""

    @property
    def patience(self) -> int:
        """Business days for which one half alone is only a matter of time."""
        return self.after if self.late_after is None else self.late_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """A difference that someone agreed to accept, as an item of its own."""

    kind: LineKind
    currency: str
    cap_minor: int
    """Largest difference, either way."""
    becomes: str
    """What the difference is booked as: `fee`, `fx` or `rounding`."""
    automatic: bool = False
    """Whether it needs no confirmation under the cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything matching goes by that is not in the files. Zero tolerance by default."""

    version: str = "1"
    windows: Mapping[str, Window] = field(default_factory=lambda: DEFAULT_WINDOWS)
    """`provider/kind`, `kind` or the empty name -> window; the most exact name wins."""
    tolerances: tuple[Tolerance, ...] = ()
    fee_caps: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Currency -> largest provider charge that needs nobody's look; none where absent."""
    holidays: frozenset[date] = frozenset()
    subset_items: int = 12
    """Most items of one customer, order or batch among which sums are looked for."""
    subset_steps: int = 5_000_000
    """Most sums looked at in one run."""

    def window(self, item: Item) -> Window:
        """The window of the other half of `item`."""
        for name in (f"{item.provider}/{item.kind.value}", item.kind.value, ""):
            found = self.windows.get(name)
            if found is not None:
                return found
        return Window()

    def window_days(self, item: Item) -> tuple[date, date]:
        """First and last day on which the other half of `item` may be dated."""
        window = self.window(item)
        return (
            item.day - timedelta(days=window.before),
            business_days_after(item.day, window.after, self.holidays),
        )

    def patience_ends(self, item: Item) -> date:
        """Last day on which one half alone is only a matter of time."""
        return business_days_after(item.day, self.window(item).patience, self.holidays)

    def to_document(self) -> dict[str, Any]:
        """All of it as JSON, in one order: what an input digest is over."""
        return {
            "version": self.version,
            "windows": {
                name: [window.before, window.after, window.patience]
                for name, window in sorted(self.windows.items())
            },
            "tolerances": sorted(
                [each.kind.value, each.currency, each.cap_minor, each.becomes, each.automatic]
                for each in self.tolerances
            ),
            "fee_caps": dict(sorted(self.fee_caps.items())),
            "holidays": sorted(day.isoformat() for day in self.holidays),
            "subset_items": self.subset_items,
            "subset_steps": self.subset_steps,
        }


DEFAULT_WINDOWS: Mapping[str, Window] = MappingProxyType(
    {
        "": Window(after=5),
        LineKind.PAYMENT.value: Window(after=3),
        LineKind.REFUND.value: Window(after=3),
        LineKind.PAYOUT.value: Window(after=5),
    }
)
"""Days from what a service records to the provider's report, and from a payout to the bank."""


@lru_cache(maxsize=65_536)
def business_days_after(day: date, days: int, holidays: frozenset[date] = frozenset()) -> date:
    """The last day of the `days`-th business day after `day`, weekends at its end included."""
    found = day
    left = days
    while left > 0:
        found += timedelta(days=1)
        if _is_business_day(found, holidays):
            left -= 1
    # A window that ends on a Friday ends for a report of Sunday too: nothing was booked between.
    while not _is_business_day(found + timedelta(days=1), holidays):
        found += timedelta(days=1)
    return found


def _is_business_day(day: date, holidays: frozenset[date]) -> bool:
    return day.weekday() < SATURDAY and day not in holidays


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What people said about single items: it comes before every rule."""

    together: tuple[frozenset[str], ...] = ()
    """Keys of items that belong together."""
    apart: frozenset[frozenset[str]] = frozenset()
    """Groups that were taken apart: the same items never become one group again by rule."""

    def to_document(self) -> dict[str, Any]:
        """As JSON, in one order."""
        return {
            "together": sorted(sorted(each) for each in self.together),
            "apart": sorted(sorted(each) for each in self.apart),
        }

"""Plan: how much is generated, and the days it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from ledger.errors import SettingsError

LINES_MIN = 50
MONTHS_MAX = 36
ALL_MONTHS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to generate; every other day follows from these."""

    lines: int
    """About how many lines the providers' reports have."""
    breaks: int
    """How many breaks are planted; the ways to break are taken in turn."""
    seed: int
    first: date = date(2026, 3, 1)
    """First day of the period: of a month."""
    months: int = 1

    def __post_init__(self) -> None:
        """
        Hold the plan to what can be generated.

        Raises:
            SettingsError: Too few lines, more breaks than lines, or no beginning of a month.
        """
        if self.lines < LINES_MIN:
            raise SettingsError(f"at least {LINES_MIN} lines are generated, asked for {self.lines}")
        if not 0 <= self.breaks <= self.lines // 4:
            raise SettingsError(
                f"from 0 to a quarter as many breaks as lines ({self.lines // 4:,}) can be "
                f"planted, asked for {self.breaks:,}"
            )
        if self.first.day != 1 or not 1 <= self.months <= MONTHS_MAX:
            raise SettingsError(
                f"a period is 1 to {MONTHS_MAX} months and begins on the first of one"
            )

    @property
    def last(self) -> date:
        """Last day of the period: the cut-off is its end."""
        month = self.first.month - 1 + self.months
        return date(self.first.year + month // ALL_MONTHS, month % ALL_MONTHS + 1, 1) - _DAY

    @property
    def provider_until(self) -> date:
        """Last day that the providers' reports cover."""
        return self.last + timedelta(days=15)

    @property
    def bank_until(self) -> date:
        """Last day that the bank's statements cover."""
        return self.provider_until + timedelta(days=7)

    @property
    def today(self) -> date:
        """The day that a run is to be made for."""
        return self.provider_until + timedelta(days=10)

    @property
    def calm_days(self) -> int:
        """How many days from the first are far enough from the cut-off for all that follows."""
        return (self.last - self.first).days - 8


_DAY = timedelta(days=1)

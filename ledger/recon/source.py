"""
Source: where files come from, and what must be known to read them that they do not say.

What a day is (`iana_tz`) and what a number is (`unit_rule`, `decimal_separator`) are properties
of a provider and its report, never guessed from a single amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.errors import SettingsError
from ledger.recon.mapping import CsvMapping


class UnitRule(StrEnum):
    """What an amount without a decimal mark means, in reports that write integers."""

    ISO_4217 = "iso_4217"
    """The currency's smallest unit: 10000 is 100.00 EUR and 10000 JPY."""
    HUNDREDTHS = "hundredths"
    """Always hundredths: 10000 is 100.00 EUR and 100 JPY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One account at one provider or bank, as one kind of report tells it."""

    name: str
    provider: str
    """As `stripe`, `adyen`, `paypal`, or the bank."""
    report_type: str
    """The format that files of this source have, as in `Reading.format`; empty takes any."""
    account_ref: str
    """The account where a file names none; else what it must name. Empty takes any."""
    currency: str = ""
    """The only currency of this source; empty takes any."""
    iana_tz: str
    """The zone in which the report counts days, such as `Europe/Amsterdam`."""
    unit_rule: UnitRule = UnitRule.ISO_4217
    decimal_separator: str = "."
    """Of reports in which it is a choice of whoever downloads them."""
    date_order: str = ""
    """`dmy`, `mdy` or `ymd` where a report leaves it open; empty finds it out or refuses."""
    exponents: Mapping[str, int] = field(default_factory=dict)
    """Decimals of units that are not in ISO 4217, as a ledger declares them."""
    mapping: CsvMapping | None = None
    """How to read a CSV that no other format claims."""

    def __post_init__(self) -> None:
        """
        Hold what files are read by to what can be read by.

        Raises:
            SettingsError: No such zone, decimal separator or order of dates.
        """
        try:
            ZoneInfo(self.iana_tz)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingsError(
                f"no time zone {self.iana_tz!r}; an IANA name such as Europe/Berlin is wanted"
            ) from error
        if self.decimal_separator not in (".", ","):
            raise SettingsError("the decimal separator of a source is '.' or ','")
        if self.date_order not in ("", "dmy", "mdy", "ymd"):
            raise SettingsError("the order of dates of a source is dmy, mdy or ymd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """
    What a person knows of a report from elsewhere, such as the provider's summary of it.

    A report without totals cannot betray a missing part; with these it can. Members that are
    None are not compared.
    """

    currency: str
    period_from: date
    period_to: date
    """Inclusive."""
    lines: int | None = None
    net_minor: int | None = None
    """Sum of what the lines moved the balance by."""
    opening_minor: int | None = None
    closing_minor: int | None = None

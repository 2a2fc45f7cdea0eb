"""
Days: dates and times of files, in the zone their source counts days in.

Abbreviations of zones are ambiguous, so they only confirm the source's zone and never choose
one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from ledger.recon.draft import Draft
from ledger.recon.statement import FindingCode

YEAR_MIN = 1990
YEAR_MAX = 2200


class Days:
    """Reads the dates of one file."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.tz = draft.source.iana_tz
        self._zone = ZoneInfo(self.tz)
        self._confirmed: set[tuple[str, int]] = set()

    def local(self, text: str, locator: str, name: str) -> datetime:
        """`2026-03-02 09:14:07` or `2026-03-02`, without a zone."""
        found = parse_local(text)
        if found is None:
            self._draft.no_date(text, locator, name)
            return datetime(YEAR_MIN, 1, 1)  # noqa: DTZ001 - a placeholder in a rejected draft
        return found

    def day(self, text: str, locator: str, name: str) -> date:
        """`2026-03-02`, with or without a time of day after it."""
        return self.local(text, locator, name).date()

    def utc(self, local: datetime, abbreviation: str = "") -> datetime:
        """The moment of a time of day in the source's zone."""
        first = local.replace(tzinfo=self._zone)
        if abbreviation and first.tzname() != abbreviation:
            # The hour that clocks show twice: the abbreviation tells which one.
            second = first.replace(fold=1)
            if second.tzname() == abbreviation:
                return second.astimezone(UTC)
        return first.astimezone(UTC)

    def at(self, moment: datetime) -> date:
        """The day of `moment`, which is aware, in the source's zone."""
        return moment.astimezone(self._zone).date()

    def confirm(self, abbreviation: str, year: int, locator: str) -> None:
        """Hold the zone that a row names to the source's."""
        if not abbreviation or (abbreviation, year) in self._confirmed:
            return
        self._confirmed.add((abbreviation, year))
        names = zone_names(self.tz, year)
        if not all(name.isalpha() for name in names):
            message = f"{abbreviation!r} can neither confirm nor contradict {self.tz}"
            self._draft.note(FindingCode.DEVIATION, locator, message)
        elif abbreviation not in names:
            message = (
                f"the file says {abbreviation!r}; {self.tz} is {' or '.join(sorted(names))}: "
                "give the source the zone of its report"
            )
            self._draft.error(FindingCode.ZONE_CONTRADICTED, locator, message)


@lru_cache(maxsize=4_096)
def parse_local(text: str) -> datetime | None:
    """An ISO 8601 date, with or without a time of day, or None."""
    if len(text) not in (10, 16, 19) or text[4:5] != "-":
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is None and plausible(found.year) else None


def plausible(year: int) -> bool:
    """Whether a statement may be of this year."""
    return YEAR_MIN < year < YEAR_MAX


def offset_name(moment: datetime) -> str:
    """The offset of an aware time, as `-08:00`; `UTC` for none."""
    offset = moment.utcoffset() or timedelta()
    if not offset:
        return "UTC"
    sign = "-" if offset < timedelta() else "+"
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


@lru_cache(maxsize=256)
def zone_names(tz: str, year: int) -> frozenset[str]:
    """What clocks of a zone are called in a year: `CET` and `CEST`."""
    zone = ZoneInfo(tz)
    names = {datetime(year, month, 1, 12, tzinfo=zone).tzname() for month in range(1, 13)}
    found = frozenset(name for name in names if name)
    return found | {"UTC", "GMT"} if found == {"UTC"} else found

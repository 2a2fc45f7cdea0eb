"""
Times as they are hashed: RFC 3339 in UTC with six fractional digits and `Z`.

All have one width, so they sort as text. Which time is trusted is for others to say.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:)([0-5][0-9]|60)"
    r"(?:\.([0-9]{1,9}))?(?:([Zz])|([+-])((?:[01][0-9]|2[0-3]):[0-5][0-9]))"
)
_USUAL = re.compile(
    "(20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(?:[.]([0-9]{1,6}))?Z"
)
_FORM = "expected YYYY-MM-DDTHH:MM:SS, at most nine fractional digits, and Z or an offset"
_YEAR_MIN = 1970
_SPAN = re.compile("([1-9][0-9]{0,4})([smhd])")
_SPAN_UNIT = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def format_time(moment: datetime) -> str:
    """`moment`, which must know its offset, as `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    assert moment.tzinfo is not None, "a time without its offset names no moment"
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def from_posix(seconds: int) -> datetime | None:
    """The moment so many seconds after 1970, in UTC; None beyond the year 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def normalise_time(text: str) -> str:
    """
    The time a caller's RFC 3339 time names, as it is hashed.

    Raises:
        ValueError: As for `parse_rfc3339`.
    """
    # Most are in UTC already, and on no day that not every month has.
    match = _USUAL.fullmatch(text)
    if match is not None:
        return f"{match[1]}.{match[2] or '':0<6}Z"
    return format_time(parse_rfc3339(text))


def parse_time(text: str) -> datetime:
    """
    The moment `text` names, which must be in the form `format_time` gives.

    Raises:
        ValueError: Any other form, or no such moment.
    """
    moment = parse_rfc3339(text)
    if format_time(moment) != text:
        raise ValueError("expected UTC with six fractional digits and Z")
    return moment


def parse_rfc3339(text: str) -> datetime:
    """
    The moment a caller's RFC 3339 time names, in UTC.

    Digits beyond microseconds are cut off, never rounded up: a time must not move into
    the future. The years are 1970 to 9999.

    Raises:
        ValueError: Not RFC 3339, no such moment, or outside those years.

    Source: RFC 3339 Section 5.6.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(_FORM)
    date, minutes, seconds, fraction, zulu, sign, offset = match.groups()
    if seconds == "60":
        # The clocks of databases and banks do not have this second: no two of them
        # would agree which of its neighbours it became.
        raise ValueError("the leap second :60 is not taken; send the second before or after it")
    if zulu is not None or offset == "00:00":
        sign, offset = "+", "00:00"
    plain = f"{date}T{minutes}{seconds}.{(fraction or '')[:6]:0<6}{sign}{offset}"
    try:
        moment = datetime.fromisoformat(plain).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("there is no such moment") from error
    if moment.year < _YEAR_MIN:
        raise ValueError("the year must be from 1970 to 9999")
    return moment


def parse_span(text: str) -> timedelta | None:
    """How long `90s`, `30m`, `12h` or `90d` is; None for any other form."""
    span = _SPAN.fullmatch(text)
    return None if span is None else int(span[1]) * _SPAN_UNIT[span[2]]

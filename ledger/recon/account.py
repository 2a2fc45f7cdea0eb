"""
Account: a source as finance keeps it. How its files are read, and by which rules it is compared.

A change is a new version; what was read and compared by an older one stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.errors import MalformedEffectError, SettingsError
from ledger.forms.grammar import below, boolean, integer, members, one_of, wrong
from ledger.forms.money import EXPONENT_MAX
from ledger.recon.mapping import CsvMapping, column, line_kind, parse_mapping
from ledger.recon.mappings import SHIPPED
from ledger.recon.matching import Rules, Side, Tolerance, Window
from ledger.recon.source import Source, UnitRule

NAME_MAX = 63
WINDOW_DAYS_MAX = 366
"""Longer than any provider takes; a window of more is a typing error."""
_TEXTS = (
    *("provider", "report_type", "account_ref", "currency", "iana_tz", "unit_rule"),
    *("decimal_separator", "date_order"),
)
_KNOWN = {
    *("name", "side", "mapping", "exponents", "windows", "tolerances", "fee_caps", "holidays"),
    *("approval_above", *_TEXTS),
}

_SIDE = one_of("provider", "bank")
_UNIT_RULE = one_of("iso_4217", "hundredths")
_DAYS = integer(0, WINDOW_DAYS_MAX)
_WINDOW = members(
    {"before": _DAYS, "after": _DAYS, "late_after": _DAYS},
    optional=("before", "after", "late_after"),
)
_TOLERANCE = members(
    {
        "kind": line_kind,
        "currency": column,
        "cap_minor": integer(0),
        "becomes": column,
        "automatic": boolean,
    },
    optional=("automatic",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One version of a source."""

    source: Source
    side: Side
    rules: Rules
    approval_above: Mapping[str, int]
    """Currency -> minor units above which a second person approves; all need one where absent."""
    document: Mapping[str, Any]
    """As it was given: what is kept."""


def build_account(document: Mapping[str, Any]) -> Account:
    """
    The account that a caller's JSON object describes.

    Raises:
        MalformedEffectError: A member is missing, unknown or wrong; the first one is named.
    """
    unknown = sorted(document.keys() - _KNOWN)
    if unknown:
        raise wrong(f"/{unknown[0][:63]}", "is not a member known here")
    try:
        return _build(document)
    except SettingsError as error:
        raise MalformedEffectError(error.message, pointer="") from error


def _build(document: Mapping[str, Any]) -> Account:
    name, provider = _text(document, "name"), _text(document, "provider")
    zone = _text(document, "iana_tz")
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise wrong("/iana_tz", "must be an IANA zone such as Europe/Berlin") from error
    texts = {key: str(document[key]) for key in _TEXTS if key in document}
    texts["unit_rule"] = UnitRule(_UNIT_RULE(document.get("unit_rule", "iso_4217"), "/unit_rule"))
    source = Source(
        # One mapping of texts for members of several types; each was put in its own above.
        **{"report_type": "", "account_ref": "", **texts},  # type: ignore[arg-type]
        name=name,
        exponents=_exponents(document),
        mapping=_mapping(document.get("mapping")),
    )
    return Account(
        source=source,
        side=Side(_SIDE(document.get("side", "provider"), "/side")),
        rules=_rules(document, provider),
        approval_above=_numbers(document, "approval_above"),
        document=dict(document),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_MAX:
        raise wrong(f"/{name}", f"must be a text of 1 to {NAME_MAX} characters")
    return value


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise wrong(f"/{name}", "must be an object")
    return found


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name, ())
    if not isinstance(found, list | tuple):
        raise wrong(f"/{name}", "must be a list")
    return list(found)


def _numbers(document: Mapping[str, Any], name: str) -> dict[str, int]:
    found = _object(document, name)
    for currency, minor in found.items():
        if type(minor) is not int or minor < 0:
            here = below(f"/{name}", currency[:NAME_MAX])
            raise wrong(here, "must be a whole number from 0, by currency")
    return found


def _exponents(document: Mapping[str, Any]) -> dict[str, int]:
    found = _numbers(document, "exponents")
    for currency, decimals in found.items():
        if decimals > EXPONENT_MAX:
            raise wrong(below("/exponents", currency[:NAME_MAX]), f"must be 0 to {EXPONENT_MAX}")
    return found


def _window(kind: str, given: Any) -> Window:
    return Window(**_WINDOW(given, below("/windows", kind[:NAME_MAX])))


def _rules(document: Mapping[str, Any], provider: str) -> Rules:
    windows = {
        (f"{provider}/{kind}" if kind else provider): _window(kind, given)
        for kind, given in _object(document, "windows").items()
    }
    return Rules(
        # What stands by default is a dict, which the field's wider type does not tell.
        windows=Rules().windows | windows,  # type: ignore[operator]
        tolerances=tuple(
            Tolerance(**_TOLERANCE(given, f"/tolerances/{at}"))
            for at, given in enumerate(_list(document, "tolerances"))
        ),
        fee_caps=_numbers(document, "fee_caps"),
        holidays=frozenset(
            _day(day, f"/holidays/{at}") for at, day in enumerate(_list(document, "holidays"))
        ),
    )


def _day(value: Any, pointer: str) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise wrong(pointer, "must be a day such as 2026-12-25") from error


def joined_rules(accounts: list[Account]) -> Rules:
    """The rules of a run over several accounts: windows by provider, all else together."""
    windows: dict[str, Window] = dict(Rules().windows)
    caps: dict[str, int] = {}
    for account in accounts:
        windows |= account.rules.windows
        for currency, cap in account.rules.fee_caps.items():
            caps[currency] = min(cap, caps.get(currency, cap))
    return Rules(
        windows=windows,
        tolerances=tuple(each for account in accounts for each in account.rules.tolerances),
        fee_caps=caps,
        holidays=frozenset(day for account in accounts for day in account.rules.holidays),
    )


def _mapping(given: Any) -> CsvMapping | None:
    if given is None:
        return None
    if isinstance(given, str) and given in SHIPPED:
        return SHIPPED[given]
    if not isinstance(given, dict):
        raise wrong("/mapping", f"must be an object, or one of {', '.join(sorted(SHIPPED))}")
    return parse_mapping(given, "/mapping")


def describe(account: Account) -> dict[str, Any]:
    """An account as JSON, with what was left out spelled out."""
    source = asdict(account.source)
    source.pop("mapping")
    return {**source, "side": account.side.value, **account.document}

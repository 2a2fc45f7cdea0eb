"""
Account: a source as finance keeps it. How its files are read, and by which rules it is compared.

A change is a new version; what was read and compared by an older one stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from ledger.errors import MalformedEffectError, SettingsError
from ledger.forms.grammar import below, wrong
from ledger.forms.money import EXPONENT_MAX
from ledger.recon.mapping import CsvMapping, Direction
from ledger.recon.mappings import SHIPPED
from ledger.recon.matching import Rules, Side, Tolerance, Window
from ledger.recon.source import Source, UnitRule
from ledger.recon.statement import LineKind

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
    except MalformedEffectError:
        raise
    except SettingsError as error:
        raise MalformedEffectError(error.message, pointer="") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedEffectError(
            f"the source is not in the form taken here: {type(error).__name__} {error}"[:200],
            pointer="",
        ) from error


def _build(document: Mapping[str, Any]) -> Account:
    name, provider = _text(document, "name"), _text(document, "provider")
    zone = _text(document, "iana_tz")
    try:
        ZoneInfo(zone)
    except (OSError, ValueError) as error:
        raise wrong("/iana_tz", "must be an IANA zone such as Europe/Berlin") from error
    texts = {key: str(document[key]) for key in _TEXTS if key in document}
    texts["unit_rule"] = UnitRule(texts.get("unit_rule", UnitRule.ISO_4217))
    source = Source(
        # One mapping of texts for members of several types; each was put in its own above.
        **{"report_type": "", "account_ref": "", **texts},  # type: ignore[arg-type]
        name=name,
        exponents=_exponents(document.get("exponents", {})),
        mapping=_mapping(document.get("mapping")),
    )
    if document.get("side", "provider") not in {"provider", "bank"}:
        raise wrong("/side", "must be provider or bank")
    return Account(
        source=source,
        side=Side(document.get("side", "provider")),
        rules=_rules(document, provider),
        approval_above=_numbers(document.get("approval_above", {})),
        document=dict(document),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_MAX:
        raise wrong(f"/{name}", f"must be a text of 1 to {NAME_MAX} characters")
    return value


def _numbers(document: Mapping[str, Any]) -> dict[str, int]:
    found = dict(document.items())
    if any(type(each) is not int or each < 0 for each in found.values()):
        raise ValueError("expected whole numbers by currency")
    return found


def _exponents(document: Mapping[str, Any]) -> dict[str, int]:
    found = _numbers(document)
    for currency, decimals in found.items():
        if decimals > EXPONENT_MAX:
            raise wrong(below("/exponents", currency[:NAME_MAX]), f"must be 0 to {EXPONENT_MAX}")
    return found


def _window(kind: str, given: Mapping[str, Any]) -> Window:
    for days in given.values():
        if type(days) is not int or not 0 <= days <= WINDOW_DAYS_MAX:
            here = below("/windows", kind[:NAME_MAX])
            raise wrong(here, f"must be in whole days from 0 to {WINDOW_DAYS_MAX}")
    return Window(**given)


def _rules(document: Mapping[str, Any], provider: str) -> Rules:
    windows = {
        (f"{provider}/{kind}" if kind else provider): _window(kind, given)
        for kind, given in document.get("windows", {}).items()
    }
    return Rules(
        # What stands by default is a dict, which the field's wider type does not tell.
        windows=Rules().windows | windows,  # type: ignore[operator]
        tolerances=tuple(
            Tolerance(**(given | {"kind": LineKind(given["kind"])}))
            for given in document.get("tolerances", ())
        ),
        fee_caps=_numbers(document.get("fee_caps", {})),
        holidays=frozenset(date.fromisoformat(day) for day in document.get("holidays", ())),
    )


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
    names = {each.name for each in fields(CsvMapping)}
    members: dict[str, Any] = {key: value for key, value in given.items() if key in names}
    if members.keys() != given.keys():
        raise wrong("/mapping", f"has a member that is none of {', '.join(sorted(names))}")
    if "direction" in members:
        way = members["direction"]
        members["direction"] = Direction(
            column=way["column"],
            incoming=frozenset(way["incoming"]),
            outgoing=frozenset(way["outgoing"]),
        )
    if "kinds" in members:
        members["kinds"] = {word: LineKind(kind) for word, kind in members["kinds"].items()}
    if "default_kind" in members:
        members["default_kind"] = LineKind(members["default_kind"])
    if "skip" in members:
        members["skip"] = {name: frozenset(words) for name, words in members["skip"].items()}
    if "keep" in members:
        members["keep"] = frozenset(members["keep"])
    return CsvMapping(**members)


def describe(account: Account) -> dict[str, Any]:
    """An account as JSON, with what was left out spelled out."""
    source = asdict(account.source)
    source.pop("mapping")
    return {**source, "side": account.side.value, **account.document}

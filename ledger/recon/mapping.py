"""
Mapping: how the columns of a CSV that nobody standardised become lines.

A mapping is saved and numbered by whoever keeps sources; here it is a value that `formats`
reads a file by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ledger.forms.grammar import below, boolean, integer, members, wrong
from ledger.recon.statement import LineKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """A column that says which way the money went, and the words it says it with."""

    column: str
    incoming: frozenset[str]
    outgoing: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvMapping:
    """
    Which column says what, by its heading.

    The amount is signed in `amount`, or unsigned in `amount` with a `direction`, or unsigned in
    one of `debit` and `credit`. Columns that are None are not in the file.
    """

    version: int
    """Of this mapping: a change is a new one."""
    delimiter: str = ","
    encoding: str = "utf-8-sig"
    decimal_separator: str = "."
    thousands_separator: str = ""
    minor_units: bool = False
    """Amounts are whole numbers of the currency's smallest unit."""
    date_format: str = "%Y-%m-%d"
    """As strptime has it; with a time of day where the column has one."""
    date: str
    value_date: str | None = None
    amount: str | None = None
    debit: str | None = None
    credit: str | None = None
    direction: Direction | None = None
    fee: str | None = None
    """Unsigned cost, or a signed one with a minus where it is given back."""
    net: str | None = None
    """Checked against amount - fee on every line."""
    balance: str | None = None
    """After the line: checked from line to line."""
    currency: str | None = None
    """None: the source's currency."""
    account: str | None = None
    kind: str | None = None
    kinds: Mapping[str, LineKind] = field(default_factory=dict)
    """Words of the `kind` column; a word that is not here makes a line OTHER, with a finding."""
    default_kind: LineKind = LineKind.MOVEMENT
    """Where there is no `kind` column."""
    skip: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Column -> words: lines that did not happen, as `Status: Declined, Voided`. Not cash."""
    provider_txn_id: str | None = None
    provider_ref_id: str | None = None
    merchant_ref: str | None = None
    batch_ref: str | None = None
    bank_ref: str | None = None
    remittance: str | None = None
    reason_code: str | None = None
    keep: frozenset[str] = frozenset()
    """Further columns kept as `raw`. All others may be personal and are left out."""
    newest_first: bool = False
    """The file begins with its newest line: balances run upwards."""


def parse_mapping(given: Mapping[str, Any], pointer: str) -> CsvMapping:
    """
    The mapping that a JSON object describes; a member that is null is one that is absent.

    Raises:
        MalformedEffectError: A member is missing, unknown or wrong; the first one is named.
    """
    found = _MAPPING({name: value for name, value in given.items() if value is not None}, pointer)
    if not found.keys() & {"amount", "debit", "credit"}:
        raise wrong(f"{pointer}/amount", "is required, unless there is `debit` or `credit`")
    return CsvMapping(**found)


def column(value: Any, pointer: str) -> str:
    """A text that is not empty, such as the heading of a column."""
    if not isinstance(value, str) or not value:
        raise wrong(pointer, "must be a text")
    return value


def line_kind(value: Any, pointer: str) -> LineKind:
    """What a line is, in the words of `LineKind`."""
    try:
        return LineKind(value)
    except ValueError as error:
        raise wrong(pointer, f"must be one of {', '.join(LineKind)}") from error


def _any_text(value: Any, pointer: str) -> str:
    if not isinstance(value, str):
        raise wrong(pointer, "must be a text")
    return value


def _words(value: Any, pointer: str) -> frozenset[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise wrong(pointer, "must be a list of texts")
    return frozenset(value)


def _direction(value: Any, pointer: str) -> Direction:
    return Direction(**_DIRECTION(value, pointer))


def _kinds(value: Any, pointer: str) -> dict[str, LineKind]:
    _check_object(value, pointer)
    return {word: line_kind(kind, below(pointer, word[:63])) for word, kind in value.items()}


def _skip(value: Any, pointer: str) -> dict[str, frozenset[str]]:
    _check_object(value, pointer)
    return {name: _words(words, below(pointer, name[:63])) for name, words in value.items()}


def _check_object(value: Any, pointer: str) -> None:
    if not isinstance(value, dict):
        raise wrong(pointer, "must be an object")


_DIRECTION = members({"column": column, "incoming": _words, "outgoing": _words})
_OTHERS = {
    "version": integer(0),
    "thousands_separator": _any_text,
    "minor_units": boolean,
    "newest_first": boolean,
    "direction": _direction,
    "kinds": _kinds,
    "default_kind": line_kind,
    "skip": _skip,
    "keep": _words,
}
_NAMES = [each.name for each in fields(CsvMapping)]
_MAPPING = members(
    {name: _OTHERS.get(name, column) for name in _NAMES},
    optional=[name for name in _NAMES if name not in {"version", "date"}],
)

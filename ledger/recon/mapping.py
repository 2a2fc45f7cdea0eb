"""
Mapping: how the columns of a CSV that nobody standardised become lines.

A mapping is saved and numbered by whoever keeps sources; here it is a value that `formats`
reads a file by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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

"""Results: what an auditor found of a sample, and what it says of the population."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from ledger.audit.paper import BLANK, COMPUTED, SHOWN
from ledger.audit.sampling import Misstatement, evaluate_monetary_units, upper_rate
from ledger.errors import SettingsError

DEVIATION = "deviation"
COLUMNS = frozenset({"seq", "audited", DEVIATION})
_IN_THE_PAPER = "deviation (yes/no)"
"""The same column, as the working paper heads it."""


def evaluate(sample: Mapping[str, Any], results: str) -> dict[str, Any]:
    """
    Evaluate a sample.

    Args:
        sample: As `drawing.document` has it.
        results: CSV with a header: `seq`, and `audited` (an amount), `deviation` (yes or no), or
            both; the paper's own columns may stand beside them.

    Returns:
        `size`, `with_result`, and for deviations `deviations`, `rate`, `upper_rate`; for a
        monetary-unit sample also `projected` and `upper`, amounts of its currency.

    Raises:
        SettingsError: A row is of no entry of the sample, or cannot be read; every entry must
            have a result, for one that was not looked at proves nothing.
    """
    rows = _rows(sample, results)
    confidence = float(sample["parameters"]["confidence_percent"]) / 100
    size = len(sample["items"])
    missing = [item["seq"] for item in sample["items"] if item["seq"] not in rows]
    if missing:
        raise SettingsError(
            f"{len(missing)} of {size} entries have no result, the first is entry {missing[0]}"
        )
    deviations = sum(_is_yes(row.get(DEVIATION)) for row in rows.values())
    found: dict[str, Any] = {
        "size": size,
        "with_result": len(rows),
        "deviations": deviations,
        "rate": deviations / size,
        "upper_rate": upper_rate(confidence=confidence, size=size, deviations=deviations),
    }
    if sample["method"] == "monetary-unit":
        found |= _monetary(sample, rows, confidence)
    return found


def _monetary(
    sample: Mapping[str, Any], rows: Mapping[int, Mapping[str, str]], confidence: float
) -> dict[str, Any]:
    interval = sample["parameters"]["interval"]
    places = len(interval.partition(".")[2])
    misstatements = [
        Misstatement(
            book=_minor(item["amount"], places, item["seq"]),
            audited=_minor(rows[item["seq"]].get("audited"), places, item["seq"]),
        )
        for item in sample["items"]
    ]
    result = evaluate_monetary_units(
        misstatements, interval=_minor(interval, places, 0), confidence=confidence
    )
    unit = Decimal(1).scaleb(-places)
    return {
        name: str((Decimal(value).scaleb(-places)).quantize(unit))
        for name, value in (("projected", result.projected), ("upper", result.upper))
    }


def _rows(sample: Mapping[str, Any], results: str) -> dict[int, Mapping[str, str]]:
    chosen = {item["seq"] for item in sample["items"]}
    rows: dict[int, Mapping[str, str]] = {}
    reader = csv.DictReader(io.StringIO(results))
    named = {name: DEVIATION if name == _IN_THE_PAPER else name for name in reader.fieldnames or ()}
    unknown = set(named.values()) - COLUMNS - {*SHOWN, *BLANK, *COMPUTED}
    if unknown:
        raise SettingsError(
            f"the results have a column {min(unknown)[:40]!r}: seq, audited and deviation are read"
        )
    for number, told in enumerate(reader, 2):
        row = {named.get(name, name): cell for name, cell in told.items()}
        seq = (row.get("seq") or "").strip()
        if not seq.isdecimal() or int(seq) not in chosen:
            raise SettingsError(f"line {number} is of no entry of the sample")
        if int(seq) in rows:
            raise SettingsError(f"line {number}: entry {seq} has two results")
        if _has_result(sample, row):
            rows[int(seq)] = row
    return rows


def _has_result(sample: Mapping[str, Any], row: Mapping[str, str]) -> bool:
    needed: Sequence[str] = ("audited",) if sample["method"] == "monetary-unit" else (DEVIATION,)
    return all((row.get(name) or "").strip() for name in needed)


def _is_yes(word: str | None) -> bool:
    word = (word or "no").strip().lower()
    if word not in {"yes", "no"}:
        raise SettingsError(f"a deviation is yes or no, not {word[:20]!r}")
    return word == "yes"


def _minor(amount: str | None, places: int, seq: int) -> int:
    try:
        minor = Decimal((amount or "").strip()).scaleb(places)
        if minor == minor.to_integral_value():
            return int(minor)
    except InvalidOperation:
        pass
    raise SettingsError(f"entry {seq} has no amount with {places} decimals")

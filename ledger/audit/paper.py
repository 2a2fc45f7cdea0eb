"""
Paper: a sample as a workbook in which an auditor works; results are blank until then.

The same sample gives the same bytes. The sheet of results computes what was found as it is
entered; `sampling` computes the same, and a test holds the two together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from ledger.audit.sampling import confidence_factor

SHOWN = (
    *("seq", "id", "entry_hash", "kind", "type", "poster", "occurred_at", "subject", "currency"),
    *("amount", "evidence", "stratum", "hits"),
)
BLANK = ("audited", "deviation (yes/no)", "evidence seen", "by", "on", "remark")
COMPUTED = ("misstatement", "tainting")
MISSTATEMENTS_MAX = 20
"""Overstatements below the interval that the sheet ranks."""
_FIRST = 2
_WIDTHS: Mapping[str, int] = {"id": 38, "entry_hash": 20, "evidence": 30, "occurred_at": 28}
_HOW = (
    "Population: the lines of entries.jsonl that match the filter, in order.",
    "Digest: SHA-256 of 'effect-ledger/population/v2' and a line end, then of each entry its id,",
    "a blank, its hash and a line end.",
    "Key of an entry: HMAC-SHA256(seed, digest || entry hash); entry hash: SHA-256(0x00 || line).",
    "Random, attribute and stratified: the smallest keys. Systematic and monetary-unit: at start,",
    "start + interval and so on, in order of seq; x = HMAC-SHA256(seed, digest || 'start').",
    "Monetary-unit: units of money, start = x mod interval + 1. Systematic: entries, interval =",
    "count / size, start = (x mod count + 1) / size, each place rounded up.",
)


_VERIFIED = {
    True: "good, under a key that was given",
    False: "NOT AUTHENTICATED: it agrees with itself, under a key that it names itself",
}


def write_paper(path: Path, sample: Mapping[str, Any], *, made_at: datetime) -> None:
    """
    Write the working paper of a sample.

    Args:
        path: The .xlsx file.
        sample: As `drawing.document` has it.
        made_at: The time the file says it was made at; that of the close.
    """
    with xlsxwriter.Workbook(
        str(path), {"strings_to_formulas": False, "strings_to_urls": False}
    ) as book:
        book.set_properties({"created": made_at.replace(tzinfo=None)})
        bold = book.add_format({"bold": True})
        blank = book.add_format({"bg_color": "#FFF8DC", "border": 1})
        _write_method(book.add_worksheet("Method"), sample, bold)
        items = book.add_worksheet("Sample")
        _write_items(items, sample, bold, blank)
        _write_results(book.add_worksheet("Results"), sample, bold)


def _write_method(sheet: Worksheet, sample: Mapping[str, Any], bold: Format) -> None:
    sheet.set_column(0, 0, 28)
    sheet.set_column(1, 1, 90)
    population, parameters = sample["population"], sample["parameters"]
    lines: list[tuple[str, Any]] = [
        ("Ledger", sample["ledger"]),
        ("Period", (sample["period"] or {}).get("name")),
        ("Bundle, hash of its manifest", sample["bundle_manifest_hash"]),
        ("Bundle, verified before", _VERIFIED[sample["authenticated"]]),
        ("Method", sample["method"]),
        *((name.replace("_", " ").capitalize(), value) for name, value in parameters.items()),
        *((f"Filter: {name}", value) for name, value in population["filter"].items()),
        ("Entries of the population", population["count"]),
        ("Sum of the population", population["sum"]),
        ("Digest of the population", population["digest"]),
        ("Entries of the sample", len(sample["items"])),
        ("Left out: zero or negative", sample["left_out"]),
        ("To choose again", "\n".join(_HOW)),
    ]
    for at, (name, value) in enumerate(each for each in lines if each[1] not in (None, [])):
        sheet.write_string(at, 0, name, bold)
        sheet.write_string(at, 1, ", ".join(value) if isinstance(value, list) else str(value))


def _write_items(sheet: Worksheet, sample: Mapping[str, Any], bold: Format, blank: Format) -> None:
    sheet.freeze_panes(1, 1)
    for at, name in enumerate((*SHOWN, *BLANK, *COMPUTED)):
        sheet.set_column(at, at, _WIDTHS.get(name, 14))
        sheet.write_string(0, at, name, bold)
    book, audited = _letter("amount"), _letter("audited")
    for line, item in enumerate(sample["items"], _FIRST):
        for at, name in enumerate(SHOWN):
            _write_cell(sheet, line - 1, at, name, item[name])
        for at in range(len(SHOWN), len(SHOWN) + len(BLANK)):
            sheet.write_blank(line - 1, at, None, blank)
        at = len(SHOWN) + len(BLANK)
        empty = f'{audited}{line}=""'
        difference = f"{book}{line}-{audited}{line}"
        sheet.write_formula(line - 1, at, f'=IF({empty},"",{difference})', None, "")
        tainting = f'=IF({empty},"",({difference})/{book}{line})'
        sheet.write_formula(line - 1, at + 1, tainting, None, "")


def _write_cell(sheet: Worksheet, line: int, at: int, name: str, value: Any) -> None:
    if value is None:
        return
    if name in {"seq", "hits"} or (name == "amount" and len(value) <= len("9" * 15)):
        sheet.write_number(line, at, float(value))
    else:
        text = ", ".join(value) if isinstance(value, list) else str(value)
        sheet.write_string(line, at, text)


def _write_results(sheet: Worksheet, sample: Mapping[str, Any], bold: Format) -> None:
    sheet.set_column(0, 0, 44)
    sheet.set_column(1, 3, 18)
    rows = _results(sample)
    for at, (name, value) in enumerate(rows):
        sheet.write_string(at, 0, name, bold)
        if isinstance(value, str):
            # An array formula: what it ranks is computed row by row.
            sheet.write_array_formula(at, 1, at, 1, f"{{{value}}}", None, 0)
        else:
            sheet.write_number(at, 1, value)


def _results(sample: Mapping[str, Any]) -> Sequence[tuple[str, str | float]]:
    """Names with numbers, or with formulas over what is entered."""
    last = len(sample["items"]) + _FIRST - 1
    confidence = float(sample["parameters"]["confidence_percent"]) / 100

    def column(name: str) -> str:
        letter = _letter(name)
        return f"Sample!${letter}${_FIRST}:${letter}${last}"

    found = f'COUNTIF({column("deviation (yes/no)")},"yes")'
    size = len(sample["items"])
    rows: list[tuple[str, str | float]] = [
        ("Entries of the sample", size),
        ("Confidence", confidence),
        ("Entries with a result", f"=COUNTA({column('audited')})"),
        ("Deviations found", f"={found}"),
        ("Rate of deviations found", f"={found}/{size}" if size else "=0"),
        (
            "Rate not exceeded with this confidence",
            # Clopper-Pearson, as the quantile of a beta distribution.
            f"=IF({found}>={size},1,BETAINV({confidence},{found}+1,{size}-{found}))",
        ),
    ]
    if sample["method"] == "monetary-unit":
        rows += _monetary_results(sample, column, confidence)
    return rows


def _monetary_results(
    sample: Mapping[str, Any], column: Callable[[str], str], confidence: float
) -> Sequence[tuple[str, str | float]]:
    interval = float(sample["parameters"]["interval"])
    book, wrong, tainting = column("amount"), column("misstatement"), column("tainting")
    small = f"--({book}<{interval})"
    # Texts of rows without a result count as nothing.
    known = f'SUMIF({book},">={interval}",{wrong})'
    projected = f'SUMIF({book},"<{interval}",{tainting})*{interval}'
    factors = [
        confidence_factor(confidence=confidence, misstatements=k)
        for k in range(MISSTATEMENTS_MAX + 1)
    ]
    ranked = f"IF(ISNUMBER({tainting}),{small}*{tainting})"
    increments = "+".join(
        f"{after - before:.10f}*IFERROR(MAX(0,LARGE({ranked},{k})),0)"
        for k, (before, after) in enumerate(itertools.pairwise(factors), 1)
    )
    return [
        ("Interval", interval),
        ("Factor for no misstatement", factors[0]),
        ("Misstatement of certain entries", f"={known}"),
        ("Projected misstatement", f"={known}+{projected}"),
        (
            "Misstatement not exceeded with this confidence",
            f"={known}+{interval}*({factors[0]:.10f}+{increments})",
        ),
    ]


def _letter(name: str) -> str:
    at = (*SHOWN, *BLANK, *COMPUTED).index(name)
    assert at < 26, "columns have one letter"  # noqa: PLR2004 - letters
    return chr(ord("A") + at)

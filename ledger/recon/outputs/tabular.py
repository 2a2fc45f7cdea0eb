"""
Tabular: statement and lists as CSV, and as a workbook.

What came from files and callers is data and never a formula: in CSV a quote stands before what
a spreadsheet would run, in the workbook such cells are strings.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from ledger.recon.outputs.sheet import (
    LIST_COLUMNS,
    Standings,
    blocks,
    heading,
    list_rows,
    measures,
    reasons,
    signatures,
)
from ledger.recon.shelf import RunRow
from ledger.recon.signoffs import Signoff

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")
# Of the archive's members: the same run must give the same bytes.
CREATED = datetime(2026, 1, 1)  # noqa: DTZ001 - the format has no zone.
STATEMENT_COLUMNS = ("block", "line", "amount", "count", "list")


def statement_csv(run: RunRow, signoffs: Sequence[Signoff]) -> str:
    """The statement, a row for each of its lines and of who signed it."""
    rows: list[Sequence[str]] = [
        (block.title, *(each.strip() for each in row))
        for block in (*blocks(run), *measures(run))
        for row in block.rows
    ]
    rows += [
        ("Sign-off", f"{name}: {value}", "", "", "") for name, value in signatures(run, signoffs)
    ]
    return _csv(STATEMENT_COLUMNS, rows)


def lists_csv(standings: Standings) -> str:
    """The lists behind the numbers."""
    return "".join(lists_lines(standings))


def lists_lines(standings: Standings) -> Iterator[str]:
    """The same, line by line: lists may be long."""
    return _csv_lines(LIST_COLUMNS, list_rows(standings))


def workbook(run: RunRow, standings: Standings, signoffs: Sequence[Signoff]) -> bytes:
    """Statement and lists as XLSX; the same run gives the same bytes."""
    # Imported here: it takes longer to load than most commands take to run.
    import xlsxwriter

    written = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    book = xlsxwriter.Workbook(written, options)
    book.set_properties({"created": CREATED, "title": "Reconciliation statement"})
    bold, right = book.add_format({"bold": True}), book.add_format({"align": "right"})
    _write_statement(book.add_worksheet("Statement"), run, signoffs, bold, right)
    lists = book.add_worksheet("Lists")
    lists.freeze_panes(1, 0)
    for column, name in enumerate(LIST_COLUMNS):
        lists.write_string(0, column, name, bold)
    for at, row in enumerate(list_rows(standings), start=1):
        for column, value in enumerate(row):
            is_amount = LIST_COLUMNS[column] == "amount"
            lists.write_string(at, column, value, right if is_amount else None)
    book.close()
    return written.getvalue()


def _write_statement(
    sheet: Any, run: RunRow, signoffs: Sequence[Signoff], bold: Any, right: Any
) -> None:
    sheet.set_column(0, 0, 60)
    sheet.set_column(1, 1, 20)
    at = 0
    for name, value in heading(run):
        sheet.write_string(at, 0, name, bold)
        sheet.write_string(at, 1, value)
        at += 1
    for block in (*blocks(run), *measures(run)):
        at += 1
        sheet.write_string(at, 0, block.title, bold)
        for label, amount, count, name in block.rows:
            at += 1
            for column, cell in enumerate((label, amount, count, name)):
                sheet.write_string(at, column, cell, right if column in {1, 2} else None)
        at += 1
    for reason in reasons(run):
        at += 1
        sheet.write_string(at, 0, f"Note: {reason}.")
    at += 2
    sheet.write_string(at, 0, "Sign-off", bold)
    for name, value in signatures(run, signoffs):
        at += 1
        sheet.write_string(at, 0, name)
        sheet.write_string(at, 1, value)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(_csv_lines(columns, rows))


def _csv_lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    for row in chain([columns], rows):
        writer.writerow([_inert(cell) for cell in row])
        yield written.getvalue()
        written.seek(0)
        written.truncate()


def _inert(cell: str) -> str:
    begins = cell.startswith(FORMULA_BEGINS)
    return f"'{cell}" if begins and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    return cell[1:].replace(".", "", 1).isdecimal() and cell[0] in "+-"

"""
Tabular: statement and lists as CSV, and as a workbook.

What came from files and callers is data and never a formula: in CSV a quote stands before what
a spreadsheet would run, in the workbook such cells are strings.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ledger.recon.outputs.sheet import (
    LIST_COLUMNS,
    Standings,
    blocks,
    heading,
    list_rows,
    reasons,
)
from ledger.recon.shelf import RunRow

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")
# Of the archive's members: the same run must give the same bytes.
CREATED = datetime(2026, 1, 1)  # noqa: DTZ001 - the format has no zone.
STATEMENT_COLUMNS = ("block", "line", "amount", "count", "list")


def statement_csv(run: RunRow) -> str:
    """The statement, a row for each of its lines."""
    rows = [
        (block.title, *(each.strip() for each in row))
        for block in blocks(run)
        for row in block.rows
    ]
    return _csv(STATEMENT_COLUMNS, rows)


def lists_csv(standings: Standings) -> str:
    """The lists behind the numbers."""
    return _csv(LIST_COLUMNS, list_rows(standings))


def workbook(run: RunRow, standings: Standings) -> bytes:
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
    _write_statement(book.add_worksheet("Statement"), run, bold, right)
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


def _write_statement(sheet: Any, run: RunRow, bold: Any, right: Any) -> None:
    sheet.set_column(0, 0, 60)
    sheet.set_column(1, 1, 20)
    at = 0
    for name, value in heading(run):
        sheet.write_string(at, 0, name, bold)
        sheet.write_string(at, 1, value)
        at += 1
    for block in blocks(run):
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


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_inert(cell) for cell in row])
    return written.getvalue()


def _inert(cell: str) -> str:
    begins = cell.startswith(FORMULA_BEGINS)
    return f"'{cell}" if begins and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    return cell[1:].replace(".", "", 1).isdecimal() and cell[0] in "+-"

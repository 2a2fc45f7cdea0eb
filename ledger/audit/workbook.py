"""
Workbook: the tables of a bundle as sheets for people; the same bytes for the same tables.

Texts are written as texts, so that no cell is a formula; amounts as numbers where a spreadsheet
holds every digit of them. The evidence is the entries, not this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ledger.audit.verify import COLUMNS, Row

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

ROWS_MAX = 50_000
"""Rows of one sheet: half a minute of work each hundred thousand. A CSV file has them all."""
DIGITS_MAX = 15
"""Digits that a spreadsheet keeps of a number."""
NUMBERS = frozenset(
    {"seq", "corrects_seq", "amount", "applied", "original_amount", "count", "days_between"}
    | {"corrections"}
)
WIDTHS: Mapping[str, int] = {"id": 38, "corrects": 38, "entry_hash": 20, "key": 24, "type": 20}
WIDTH = 16
TITLES: Mapping[str, str] = {
    "totals": "Totals",
    "corrections": "Corrections",
    "cutoff": "Cut-off",
    "segregation": "Segregation of duties",
    "posters": "Posters",
    "entries": "Entries",
}


class TablesWorkbook:
    """Takes rows of all tables as they come, a row at a time and none back."""

    def __init__(self, path: Path, *, about: Sequence[tuple[str, str]], made_at: datetime) -> None:
        """
        Begin a workbook.

        Args:
            path: Where it is written.
            about: Names and values of the first sheet.
            made_at: The time it says that it was made at.
        """
        # Imported here: most who may make a workbook never do.
        import xlsxwriter

        self._book = xlsxwriter.Workbook(
            str(path),
            {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False},
        )
        self._book.set_properties({"created": made_at.replace(tzinfo=None)})
        self._bold = self._book.add_format({"bold": True})
        self._sheets: dict[str, Worksheet] = {}
        self._rows: dict[str, int] = dict.fromkeys(TITLES, 0)
        self._about = self._book.add_worksheet("About")
        self._about.set_column(0, 0, 24)
        self._about.set_column(1, 1, 80)
        self._line = 0
        for name, value in about:
            self._tell(name, value)
        for table, title in TITLES.items():
            self._sheets[table] = sheet = self._book.add_worksheet(title)
            sheet.freeze_panes(1, 0)
            for at, column in enumerate(COLUMNS[table]):
                sheet.set_column(at, at, WIDTHS.get(column, WIDTH))
                sheet.write_string(0, at, column, self._bold)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for table, rows in self._rows.items():
            if rows > ROWS_MAX:
                self._tell(
                    f"Sheet {TITLES[table]}",
                    f"the first {ROWS_MAX:,} of {rows:,} rows; all are in tables/{table}.csv",
                )
        self._book.close()

    def add(self, table: str, row: Row) -> None:
        """The next row of a table."""
        self._rows[table] += 1
        if self._rows[table] > ROWS_MAX:
            return
        sheet, at = self._sheets[table], self._rows[table]
        for column, (name, cell) in enumerate(zip(COLUMNS[table], row, strict=True)):
            if not cell:
                continue
            if name in NUMBERS and len(cell) <= DIGITS_MAX:
                sheet.write_number(at, column, float(cell))
            else:
                sheet.write_string(at, column, cell)

    def _tell(self, name: str, value: str) -> None:
        self._about.write_string(self._line, 0, name, self._bold)
        self._about.write_string(self._line, 1, value)
        self._line += 1

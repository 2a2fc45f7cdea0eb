"""
Table: rows of a CSV by the names of its columns, with the line each begins on.

Rows of another width than the heading, broken quotes and bytes outside the encoding are
findings, never guesses.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.recon.draft import Draft
from ledger.recon.statement import FindingCode

HEAD_BYTES = 16_384
"""As much of a file as is looked at to find out what it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, by column."""

    columns: dict[str, int]
    cells: list[str]
    line: int

    def get(self, *names: str) -> str:
        """The first filled cell among these columns, without the spaces around it; or empty."""
        for name in names:
            at = self.columns.get(name)
            if at is not None:
                cell = self.cells[at].strip()
                if cell:
                    return cell
        return ""

    def text(self, *names: str) -> str | None:
        """The same; None where they are empty."""
        return self.get(*names) or None

    @property
    def locator(self) -> str:
        """Where the row stands, for findings and lines."""
        return f"line {self.line}"

    def keep(self, names: frozenset[str]) -> dict[str, str]:
        """The filled cells of these columns."""
        return {name: cell for name in self.columns if name in names and (cell := self.get(name))}


def heading(data: bytes, delimiter: str = ",") -> list[str]:
    """The cells of the first line that has any; empty where it is no text."""
    text = data[:HEAD_BYTES].decode("utf-8-sig", errors="replace")
    for line in text.splitlines():
        if line.strip():
            try:
                return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
            except (csv.Error, StopIteration):
                return []
    return []


def read_rows(
    data: bytes, draft: Draft, *, encoding: str = "utf-8-sig", delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, with the number of the line it begins on."""
    stream = io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="")
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        draft.error(FindingCode.MALFORMED, f"line {line}", f"not a row of a CSV: {error}")
    except (UnicodeDecodeError, LookupError):
        draft.error(FindingCode.MALFORMED, f"line {line}", f"not text in {encoding}")


def read_table(
    data: bytes,
    draft: Draft,
    required: Sequence[str],
    *,
    encoding: str = "utf-8-sig",
    delimiter: str = ",",
    short: bool = False,
) -> Iterator[Row]:
    """
    Every row under the heading, where the heading has the columns that are required.

    With `short` all rows may lack the same last columns, which some downloads leave out.
    """
    rows = read_rows(data, draft, encoding=encoding, delimiter=delimiter)
    first = next(rows, None)
    if first is None:
        return
    columns = index(first[1])
    missing = [name for name in required if name not in columns]
    for name in missing:
        draft.error(FindingCode.COLUMN_MISSING, "line 1", f"no column {name!r}")
    if missing:
        return
    width = len(first[1])
    for line, cells in rows:
        if short and len(cells) < width:
            message = f"rows lack the last {width - len(cells)} of the heading's columns"
            draft.warn(FindingCode.DEVIATION, f"line {line}", message)
            width = len(cells)
            columns = {name: at for name, at in columns.items() if at < width}
        short = False
        if len(cells) == width:
            yield Row(columns, cells, line)
        else:
            message = f"{len(cells)} cells under a heading of {width}"
            draft.error(FindingCode.MALFORMED, f"line {line}", message)


def index(names: Sequence[str]) -> dict[str, int]:
    """Column -> place; of two with one name, the first."""
    columns: dict[str, int] = {}
    for at, name in enumerate(names):
        columns.setdefault(name.strip(), at)
    return columns

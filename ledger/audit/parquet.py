"""
Parquet: the tables of a bundle for those who compute with them (extra `parquet`).

A view like the CSV tables it is made from, row by row, with types. Such a file names the program
that wrote it, so that another release gives other bytes: it stands in the envelope, which no
signature covers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from ledger.audit.verify import COLUMNS
from ledger.errors import SettingsError

BATCH_ROWS = 20_000
_NUMBERS = frozenset({"seq", "count", "corrections", "corrects_seq", "days_between"})
_AMOUNTS = frozenset({"amount", "applied", "original_amount"})
_ANSWERS = frozenset({"self_corrected", "self_approved"})
_DIGITS, _DECIMALS = 38, 18
"""As exact as the programs go that read Parquet; no currency has more decimals."""


def check_parquet() -> None:
    """
    Check that Parquet can be written here.

    Raises:
        SettingsError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise SettingsError("Parquet needs pyarrow: pip install 'effect-ledger[parquet]'")


def write_parquet(bundle: Path, out: Path) -> list[Path]:
    """
    Write every table of a bundle as a file of Parquet, in constant memory.

    Args:
        bundle: Directory of the bundle.
        out: Directory; made where it is missing.

    Raises:
        SettingsError: pyarrow is not installed, or a sum has more than twenty digits before the
            point.
    """
    check_parquet()
    # Imported here: it takes longer to load than most commands take to run.
    import pyarrow as pa
    from pyarrow import parquet

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for table, columns in COLUMNS.items():
        schema = pa.schema([(name, _type_of(name, pa)) for name in columns])
        path = out / f"{table}.parquet"
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for rows in _batches(bundle / "tables" / f"{table}.csv"):
                try:
                    arrays = [
                        pa.array([_value(name, row[name]) for row in rows], schema.field(name).type)
                        for name in columns
                    ]
                except pa.ArrowInvalid as error:
                    raise SettingsError(f"table {table} does not fit Parquet: {error}") from error
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        written.append(path)
    return written


def _batches(path: Path) -> Iterator[Sequence[Mapping[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        while batch := list(islice(rows, BATCH_ROWS)):
            yield batch


def _type_of(name: str, pa: Any) -> Any:
    if name in _NUMBERS:
        return pa.int64()
    if name in _AMOUNTS:
        return pa.decimal128(_DIGITS, _DECIMALS)
    if name in _ANSWERS:
        return pa.bool_()
    return pa.timestamp("us", tz="UTC") if name.endswith("_at") else pa.string()


def _value(name: str, cell: str) -> Any:
    """The value of a cell; None where it is empty."""
    if not cell:
        return None
    if name in _NUMBERS:
        return int(cell)
    if name in _AMOUNTS:
        return Decimal(cell)
    if name in _ANSWERS:
        return cell == "yes"
    return datetime.fromisoformat(cell) if name.endswith("_at") else cell

"""
Binary: columns of values in PostgreSQL's binary formats, as an array each or as rows of COPY.

Spelled by hand: the driver's way looks at each value for its type, which is the same for all of
a column. Formats are those of the types' `recv` functions, the same in every release.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)
# With their lengths before them, as every field has it.
_BIGINT = struct.Struct("!iq")
_SMALLINT = struct.Struct("!ih")
_UUID_LENGTH = _LENGTH.pack(16)
# Dimensions, whether there may be nulls, type of the elements, how many, lower bound.
_ARRAY = struct.Struct("!iiIii")
_EMPTY_ARRAY = struct.Struct("!iiI")
# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one type."""

    oid: int
    """Of the type; built-in types have the same everywhere."""
    fields: Sequence[bytes]
    """Each with its length before it, as arrays and rows of COPY have them alike."""

    def array(self) -> bytes:
        """All of them as one array."""
        if not self.fields:
            return _EMPTY_ARRAY.pack(0, 0, self.oid)
        head = _ARRAY.pack(1, 1, self.oid, len(self.fields), 1)
        return head + b"".join(self.fields)


def copy_rows(parts: Iterable[Sequence[Column]]) -> Iterator[bytes]:
    """The rows that the columns of each part have side by side, for COPY."""
    yield _COPY_HEADER
    for columns in parts:
        count = struct.pack("!h", len(columns))
        rows = zip(*(column.fields for column in columns), strict=True)
        yield b"".join([count + b"".join(row) for row in rows])
    yield _COPY_TRAILER


def texts(values: Iterable[str | None]) -> Column:
    """A column of `text`."""
    pack = _LENGTH.pack
    fields = []
    for value in values:
        if value is None:
            fields.append(_NULL)
        else:
            encoded = value.encode()
            fields.append(pack(len(encoded)) + encoded)
    return Column(25, fields)


def few_texts(values: Sequence[str | None]) -> Column:
    """A column of `text` in which few values come again and again."""
    different = list(dict.fromkeys(values))
    fields = dict(zip(different, texts(different).fields, strict=True))
    return Column(25, [fields[value] for value in values])


def octets(values: Iterable[bytes | None]) -> Column:
    """A column of `bytea`."""
    pack = _LENGTH.pack
    return Column(17, [_NULL if value is None else pack(len(value)) + value for value in values])


def bigints(values: Iterable[int]) -> Column:
    """A column of `bigint`."""
    return Column(20, [_BIGINT.pack(8, value) for value in values])


def smallints(values: Iterable[int]) -> Column:
    """A column of `smallint`."""
    return Column(21, [_SMALLINT.pack(2, value) for value in values])


def booleans(values: Iterable[bool]) -> Column:
    """A column of `boolean`."""
    return Column(16, [b"\0\0\0\1\1" if value else b"\0\0\0\1\0" for value in values])


def uuids(values: Iterable[str | None]) -> Column:
    """A column of `uuid`."""
    return Column(
        2950,
        [
            _NULL if value is None else _UUID_LENGTH + bytes.fromhex(value.replace("-", ""))
            for value in values
        ],
    )


def times(values: Sequence[str]) -> Column:
    """A column of `timestamptz`, from times as they are hashed."""
    fields = {value: _microseconds(value) for value in set(values)}
    return Column(1184, [fields[value] for value in values])


def _microseconds(value: str) -> bytes:
    return _BIGINT.pack(8, (datetime.fromisoformat(value) - _EPOCH) // _MICROSECOND)

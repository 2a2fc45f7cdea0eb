"""Sharing: equal values of many items, each kept once: both sides tell the same ids."""

from __future__ import annotations

from datetime import date
from typing import TypeVar

Value = TypeVar("Value", str, int, date, str | None, int | None, date | None)


class Shared:
    """Values that were seen; as large as they are many, so it goes once all items are made."""

    def __init__(self) -> None:
        self._seen: dict[str | int | date | None, str | int | date | None] = {}

    def __call__(self, value: Value) -> Value:
        """The first value that was equal to this one."""
        # Strings, numbers and days never equal one another: what is equal has the same type.
        return self._seen.setdefault(value, value)  # type: ignore[return-value]

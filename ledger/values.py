"""Values: frozen objects of which many are made, each at once."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def make(kind: type[T], fields: dict[str, Any]) -> T:
    """
    What `kind(**fields)` makes, in a tenth of the time.

    The constructor of a frozen dataclass makes a call for each field, those left at their
    defaults too. For classes without slots and `__post_init__`; every field without a default
    must be there.
    """
    made = object.__new__(kind)
    made.__dict__.update(fields)
    return made

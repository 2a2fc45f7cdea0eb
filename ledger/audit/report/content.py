"""Content: what a report is made of, before anything is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    words: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values under each other."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table whose head stands on every page it goes on to."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[float]
    """Shares of the width of a page."""
    right: frozenset[int] = frozenset()
    """Columns whose cells stand on the right: numbers."""
    more: str = ""
    """What to say of rows that are not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A small chart: a bar for each name."""

    title: str
    values: Sequence[tuple[str, float]]


Block = Text | Facts | Grid | Bars


@dataclass(frozen=True, slots=True)
class Section:
    """A numbered part of the report."""

    title: str
    blocks: Sequence[Block]


def escaped(text: str) -> str:
    """Words of others, as markup shows them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

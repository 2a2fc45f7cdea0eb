"""
Reading: the one entrance for files of providers and banks. Bytes in, values out.

The format is found in the content; a file's name says nothing. No storage, clock or ledger is
known here, so the same bytes and source give the same reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.recon.draft import Draft
from ledger.recon.source import Control, Source
from ledger.recon.statement import FindingCode, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format: how it is known, and how it is read."""

    name: str
    parser: str
    """Changes when the same bytes are read otherwise than before."""
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, Draft], None]


FORMATS: tuple[Format, ...] = ()


def read_statement(data: bytes, source: Source, controls: Sequence[Control] = ()) -> Reading:
    """
    Read one file whole, or say everything that is wrong with it.

    Never raises for what a file contains: a file that cannot be read whole is `rejected`, has
    no statements and says why; one at odds with its own totals, its source or `controls` is
    `quarantined`.
    """
    draft = Draft(source)
    found = recognise(data)
    if found is None:
        draft.error(
            FindingCode.UNRECOGNISED,
            "",
            f"{len(data):,} bytes in none of the formats known here: "
            + ", ".join(each.name for each in FORMATS),
        )
        return draft.finish("", "", controls)
    found.read(data, draft)
    return draft.finish(found.name, found.parser, controls)


def recognise(data: bytes) -> Format | None:
    """The format that `data` is in, by its content; None where it is in none known here."""
    return next((each for each in FORMATS if each.recognises(data)), None)

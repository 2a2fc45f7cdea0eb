"""
Reading: the one entrance for files of providers and banks. Bytes in, values out.

The format is found in the content; a file's name says nothing. No storage, clock or ledger is
known here, so the same bytes and source give the same reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.recon.draft import Draft
from ledger.recon.formats import (
    adyen,
    adyen_accounting,
    bai2,
    camt,
    mapped_csv,
    mt940,
    ofx,
    paypal_activity,
    paypal_sftp,
    stripe,
)
from ledger.recon.formats.table import heading
from ledger.recon.source import Control, Source
from ledger.recon.statement import FindingCode, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format: how it is known, and how it is read."""

    name: str
    """As `Reading.format` and `Source.report_type` have it."""
    parser: str
    """Changes when the same bytes are read otherwise than before."""
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, Draft], None]


FORMATS = (
    Format(
        name=stripe.FORMAT, parser=stripe.PARSER, recognises=stripe.recognises, read=stripe.read
    ),
    Format(name=adyen.FORMAT, parser=adyen.PARSER, recognises=adyen.recognises, read=adyen.read),
    Format(
        name=adyen_accounting.FORMAT,
        parser=adyen_accounting.PARSER,
        recognises=adyen_accounting.recognises,
        read=adyen_accounting.read,
    ),
    Format(
        name=paypal_sftp.STL,
        parser=paypal_sftp.PARSER,
        recognises=paypal_sftp.recognises_stl,
        read=paypal_sftp.read,
    ),
    Format(
        name=paypal_sftp.TRR,
        parser=paypal_sftp.PARSER,
        recognises=paypal_sftp.recognises_trr,
        read=paypal_sftp.read,
    ),
    Format(
        name=paypal_activity.FORMAT,
        parser=paypal_activity.PARSER,
        recognises=paypal_activity.recognises,
        read=paypal_activity.read,
    ),
    *(
        Format(name=name, parser=camt.PARSER, recognises=camt.recogniser(container), read=camt.read)
        for container, (name, _, _) in camt.CONTAINERS.items()
    ),
    Format(
        name=mt940.MT942,
        parser=mt940.PARSER,
        recognises=mt940.recognises_mt942,
        read=mt940.read_mt942,
    ),
    Format(
        name=mt940.MT940,
        parser=mt940.PARSER,
        recognises=mt940.recognises_mt940,
        read=mt940.read_mt940,
    ),
    Format(name=bai2.FORMAT, parser=bai2.PARSER, recognises=bai2.recognises, read=bai2.read),
    Format(name=ofx.FORMAT, parser=ofx.PARSER, recognises=ofx.recognises, read=ofx.read),
)
"""Every format that is recognised by what it is."""

MAPPED = Format(
    name=mapped_csv.FORMAT,
    parser=mapped_csv.PARSER,
    recognises=lambda _data: True,
    read=mapped_csv.read,
)
"""What a file of none of these formats is, where its source has a mapping."""


def read_statement(data: bytes, source: Source, controls: Sequence[Control] = ()) -> Reading:
    """
    Read one file whole, or say everything that is wrong with it.

    Never raises for what a file contains: a file that cannot be read whole is `rejected`, has
    no statements and says why; one at odds with its own totals, its source or `controls` is
    `quarantined`.

    Args:
        data: The file, as it came.
        source: Where it came from.
        controls: What is known of it from elsewhere; proves reports that have no totals.
    """
    draft = Draft(source)
    found = recognise(data, source)
    if found is None:
        draft.error(FindingCode.UNRECOGNISED, "", _unrecognised(data))
        return draft.finish("", "", controls)
    if source.report_type not in ("", found.name):
        draft.error(
            FindingCode.WRONG_REPORT,
            "",
            f"this is {found.name}; files of {source.name} are {source.report_type}",
        )
        return draft.finish(found.name, found.parser, controls)
    found.read(data, draft)
    return draft.finish(found.name, found.parser, controls)


def recognise(data: bytes, source: Source) -> Format | None:
    """The format that `data` is in, by its content; None where it is in none known here."""
    found = next((each for each in FORMATS if each.recognises(data)), None)
    return MAPPED if found is None and source.mapping and data.strip() else found


def _unrecognised(data: bytes) -> str:
    if not data.strip():
        return "the file is empty"
    known = ", ".join(each.name for each in FORMATS)
    columns = [name for name in heading(data) if name.isprintable()]
    if len(columns) > 1 or b";" in data[:200]:
        return (
            f"a table in none of the formats known here ({known}); give its source a mapping "
            "of its columns"
        )
    return f"{len(data):,} bytes in none of the formats known here ({known})"

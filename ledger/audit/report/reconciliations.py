"""Reconciliations: what a report says of the statements of finance that go with a period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ledger.audit import verify
from ledger.audit.report.content import Block, Facts, Grid, Text, escaped


def reconciliations(bundle: verify.Bundle) -> Iterator[Block]:
    """Each statement with who signed it and what it comes to; or why there is none."""
    try:
        told = list(_statements(bundle))
    except (verify.DamageError, KeyError, TypeError, ValueError, AttributeError):
        # What is damaged is told under integrity; the report of a bad bundle is written too.
        yield Text("The statements of reconciliations in this bundle cannot be read.")
        return
    if not told:
        yield Text("No statement of a reconciliation is part of this bundle.")
        return
    yield Text(
        "Statements that were signed in this period, whatever they are about, and the newest ones "
        "of the period itself that nobody had signed by its close. Figures are never added across "
        "currencies; prints, lists and measures are beside each file."
    )
    yield from told


def _statements(bundle: verify.Bundle) -> Iterator[Block]:
    if verify.STATEMENTS not in bundle.files:
        return
    for each in orjson.loads(bundle.read(verify.STATEMENTS))["statements"]:
        yield from _statement(each["path"], orjson.loads(bundle.read(each["path"])))


def _statement(path: str, record: Mapping[str, Any]) -> Iterator[Block]:
    told, asked = record["statement"], record["statement"]["input"]
    yield Text(f"<b>{escaped(asked['period'])}, {escaped(', '.join(asked['sources']))}</b>")
    signed = [("Reviewed by", _signed_by(each)) for each in record["signoffs"]]
    signed = signed or [("Reviewed by", "nobody when the period was closed: UNSIGNED")]
    yield Facts(
        [
            ("Prepared by", escaped(f"{told['prepared_by']}, at {told['prepared_at']}")),
            *((name, escaped(value)) for name, value in signed),
            ("About", f"{asked['size']:,} entries of the ledger, {len(record['files'])} files"),
            ("File", f"{path}, output {told['output_digest'][:16]}"),
        ]
    )
    if not told["statement"]:
        yield Text("Nothing was compared: no movement falls into this period.")
        return
    yield Grid(
        head=("leg", "currency", "total", "differences", "expected", "answered", "unexplained"),
        rows=[
            [
                f"{block['expecting']} to {block['answering']}, {block['heading']}",
                block["currency"],
                block["total"],
                str(sum(each["count"] for each in block["differences"])),
                block["expected"],
                block["answered"],
                block["unexplained"],
            ]
            for block in told["statement"]
        ],
        widths=(3.2, 1, 1.6, 1.2, 1.6, 1.6, 1.3),
        right=frozenset({2, 3, 4, 5, 6}),
    )
    yield from (Text(f"Note: {escaped(reason)}.") for reason in told["reasons"])


def _signed_by(signoff: Mapping[str, Any]) -> str:
    reviewer, notice = signoff["document"]["reviewer"], signoff["notice"]
    return (
        f"{reviewer}, with a key of their own, at {notice['recorded_at']}; entry {notice['seq']} "
        "records it"
    )

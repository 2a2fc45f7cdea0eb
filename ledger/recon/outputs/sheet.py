"""
Sheet: a run as titled tables, which every output prints in its own way.

All outputs have the same columns in the same order; amounts keep their currency beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ledger.forms.money import amount_text
from ledger.forms.timestamps import format_time
from ledger.recon.shelf import RunRow
from ledger.recon.signoffs import Signoff

LIST_COLUMNS = (
    *("list", "state", "sub_state", "leg", "side", "day", "amount", "currency", "kind"),
    *("account", "ids", "original_id", "merchant_ref", "poster", "item", "fingerprint", "reason"),
)

BROUGHT_FORWARD_SHOWN = 50

Standings = Iterable[tuple[int, str, str, Mapping[str, Any]]]


Row = tuple[str, str, str, str]
"""Label, sign and amount, count, list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One table of the statement."""

    title: str
    rows: Sequence[Row]


def heading(run: RunRow) -> list[tuple[str, str]]:
    """What the statement is about, and what it is pinned to."""
    asked = run.input
    return [
        ("Ledger", str(asked["ledger"])),
        ("Period", f"{asked['period_from']} to {asked['period_to']}"),
        ("As at", f"{asked['today']}, ledger size {asked['size']}, root {asked['root'][:16]}"),
        ("Sources", ", ".join(f"{name} v{at}" for name, at in sorted(asked["sources"].items()))),
        ("Files", str(len(asked["imports"]))),
        ("Run", f"{run.id}, output {run.output_digest[:16]}"),
        ("Prepared by", run.started_by),
    ]


def blocks(run: RunRow) -> Iterator[Block]:
    """The blocks of the statement, in its order."""
    for proof in run.output["statement"]:
        ours, theirs = proof["expecting"].capitalize(), proof["answering"].capitalize()
        rows = [(f"{ours} total, {proof['heading']}", proof["total"], str(proof["count"]), "")]
        rows += [
            (f"  {each['label']}", _signed(each["amount"]), str(each["count"]), each["list"])
            for each in proof["differences"]
        ]
        rows += [
            (f"Expected at {proof['answering']}", proof["expected"], "", ""),
            (
                f"{theirs} total, {proof['heading']}",
                proof["answered"],
                str(proof["answered_count"]),
                "",
            ),
            ("Unexplained difference", proof["unexplained"], "", ""),
        ]
        yield Block(
            title=f"{proof['currency']}  {proof['heading']}  ({proof['expecting']} to "
            f"{proof['answering']})",
            rows=rows,
        )


def measures(run: RunRow) -> Iterator[Block]:
    """What is open from before, and how well and how fast the rest is matched and closed."""
    told = run.output["measures"]
    tables: Mapping[str, list[Row]] = {
        "Brought forward from earlier periods": _brought_forward(run),
        "Matched, of what the ledger tells": [
            row for currency, rate in told["match_rate"].items() for row in _rates(currency, rate)
        ],
        "Ageing of what is open": [
            (
                f"{each['state']}, {each['days']} days",
                f"{each['value']} {each['currency']}",
                str(each["count"]),
                "",
            )
            for each in told["ageing"]
        ],
        "Time to close": [
            (
                f"{each['state']}, median and nine of ten",
                f"{_days(each['median_s'])}, {_days(each['p90_s'])}",
                str(each["closed"]),
                "",
            )
            for each in told.get("time_to_close", ())
        ],
        "Breaks by poster": [
            (poster, "", str(count), "") for poster, count in told["offenders"].items()
        ],
        "Posted without a provider's id": [
            (each["poster"], _share(each["without"], each["of"]), str(each["without"]), "")
            for each in told["without_provider_id"]
        ],
    }
    for title, rows in tables.items():
        if rows:
            yield Block(title=title, rows=rows)


def _brought_forward(run: RunRow) -> list[Row]:
    found = run.output.get("brought_forward", ())
    rows: list[Row] = [
        (
            "{state} since {since}, seen {first_seen}, {age_days} days".format(**each),
            ", ".join(
                f"{_signed(amount_text(int(minor), currency))} {currency}"
                for currency, minor in each["differences"].items()
            ),
            "1",
            each["break"][:8],
        )
        for each in found[:BROUGHT_FORWARD_SHOWN]
    ]
    if len(found) > len(rows):
        rows.append(("and more, which `recon breaks` lists", "", str(len(found) - len(rows)), ""))
    return rows


def _rates(currency: str, rate: Mapping[str, Any]) -> Iterator[Row]:
    yield f"{currency} by count", _share(rate["matched"], rate["of"]), str(rate["matched"]), ""
    share = _share(Decimal(rate["matched_value"]), Decimal(rate["of_value"]))
    yield f"{currency} by value, of {rate['of_value']}", share, "", ""


def _share(part: Decimal | int, whole: Decimal | int) -> str:
    return f"{Decimal(part) / Decimal(whole):.1%}" if whole else "-"


def _days(seconds: int) -> str:
    return f"{seconds / 86_400:.1f} d"


def reasons(run: RunRow) -> list[str]:
    """What the statement does not prove, and why."""
    return [*run.output["reasons"], *(f"unexplained: {x}" for x in run.output["unexplained"])]


def signatures(run: RunRow, signoffs: Sequence[Signoff]) -> Iterator[tuple[str, str]]:
    """Who prepared the statement, who signed it and when, and the entry that records it."""
    yield "Prepared by", f"{run.started_by}, at {format_time(run.started_at)}"
    if not signoffs:
        yield "Reviewed by", "nobody yet: this statement is not signed off"
    for signoff in signoffs:
        notice = signoff.notice
        yield "Reviewed by", f"{signoff.document['reviewer']}, at {notice.recorded_at}"
        yield (
            "Recorded in",
            f"entry {notice.seq} of {notice.ledger}, {notice.hash.hex()}",
        )
        yield "Signed", f"the statement's figures, SHA-256 {signoff.document['statement_digest']}"
        for reason in signoff.document.get("untied_because", ()):
            yield "Although", reason
        if signoff.document.get("note"):
            yield "Note", str(signoff.document["note"])


def list_rows(standings: Standings) -> Iterator[tuple[str, ...]]:
    """The lists behind the numbers: one row for each item, list by list as they come."""
    for _, _, fingerprint, document in standings:
        for name in document["lists"] or ([""] if document["state"] != "matched" else []):
            for item in document["items"]:
                yield _row(name, document, item, fingerprint)


def _row(
    name: str, document: Mapping[str, Any], item: Mapping[str, Any], fingerprint: str
) -> tuple[str, ...]:
    values = {
        **item,
        "list": name,
        "state": document["state"],
        "sub_state": document["sub_state"],
        "leg": document["leg"],
        "ids": " ".join(item.get("ids", ())),
        "item": item["key"],
        "fingerprint": fingerprint,
        "reason": document["reason"],
    }
    return tuple(str(values.get(column) or "") for column in LIST_COLUMNS)


def _signed(amount: str) -> str:
    return amount if amount.startswith("-") else f"+{amount}"

"""Close: the cut-off of a period, asked of a running service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ledger.cli.output import JsonOption, LedgerArgument, Output, facts, table
from ledger.cli.remote import open_remote
from ledger.client.errors import WORLDS
from ledger.client.requests import ledger_path

# The service goes on summing when the connection is cut, and the same command meets the result.
CLOSE_PATIENCE_S = 600.0


def close(
    ledger: LedgerArgument,
    name: Annotated[
        str,
        typer.Argument(
            metavar="PERIOD", help="2026, 2026-Q4, 2026-10, 2026-10-31; or a name of yours."
        ),
    ],
    *,
    reviewer: Annotated[
        str | None, typer.Option(help="Principal that reviewed it; another than yours.")
    ] = None,
    from_at: Annotated[
        str | None,
        typer.Option("--from", help="First moment of a period with a name of yours (RFC 3339)."),
    ] = None,
    to_at: Annotated[str | None, typer.Option("--to", help="First moment after it.")] = None,
    supersedes: Annotated[
        str | None, typer.Option(help="Id of the close that this one corrects.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Close a period of a ledger: counts, sums and root of all that stands become an entry.

    Nothing is refused from being recorded afterwards: what comes later and occurred in the
    period is stamped as late for it. Closing again in the same way changes nothing.
    """
    output = Output(as_json)
    body = {
        "reviewer": reviewer,
        "from_at": from_at,
        "to_at": to_at,
        "supersedes": supersedes,
    }
    path = ledger_path(ledger, f"/periods/{quote(name, safe='')}/close")
    with open_remote() as remote:
        closed = remote.post(
            path,
            {member: value for member, value in body.items() if value is not None},
            patience_s=CLOSE_PATIENCE_S,
        )
    output.answer(closed, _prose(closed))
    if closed["closed_before"]:
        output.note(
            f"effect-ledger: closed before {name}: {', '.join(closed['closed_before'])}. What was "
            "recorded until then is in those bundles, whenever it occurred, and this one has only "
            "what was recorded since. Close periods in their order."
        )


def review(
    ledger: LedgerArgument,
    name: Annotated[
        str, typer.Argument(metavar="PERIOD", help="Name of a closed period, or id of a close.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """
    Confirm a close that somebody else prepared, with a key of your own.

    The ledger records it as an entry; bundles and reports then say that the close is confirmed
    by its reviewer, and not only named so by its preparer. Again changes nothing.
    """
    path = ledger_path(ledger, f"/periods/{quote(name, safe='')}/review")
    with open_remote() as remote:
        reviewed = remote.post(path, {}, patience_s=CLOSE_PATIENCE_S)
    newest = reviewed["reviews"][-1]
    before = " already" if reviewed["replayed"] else ""
    told = facts(
        period=reviewed["name"],
        close=f"seq {reviewed['seq']}, {reviewed['id']}",
        preparer=reviewed["preparer"],
        reviews=", ".join(
            f"{each['reviewer']} (seq {each['seq']})" for each in reviewed["reviews"]
        ),
        recorded_at=newest["recorded_at"],
    )
    Output(as_json).answer(
        reviewed, f"{WORLDS['RML3']}: you have reviewed the close{before}.\n{told}"
    )


def _prose(closed: Mapping[str, Any]) -> str:
    entries = closed["to_seq"] - closed["from_seq"] + 1
    before = " already, in the same way" if closed["replayed"] else ""
    told = facts(
        period=f"{closed['name']}, from {closed['from_at']} to {closed['to_at']}",
        entries=f"{entries:,} (seq {closed['from_seq']} to {closed['to_seq']}), whenever they "
        "occurred"
        if entries
        else "none",
        close=f"seq {closed['seq']}, {closed['id']}",
        preparer=closed["preparer"],
        reviewer=_reviewer(closed),
        supersedes=closed.get("supersedes"),
        root=closed["root"],
        signed=None if closed["checkpoint"] else "not yet; the next write signs it",
    )
    sums: list[tuple[str, ...]] = [
        (f"  {each['kind']}", f"{each['count']:,}", each["amount"], each["currency"], each["flow"])
        for each in closed.get("sums") or ()
    ]
    counts: list[tuple[str, ...]] = [
        (f"  {kind}", f"{count:,}") for kind, count in closed["counts"].items()
    ]
    parts = [f"{WORLDS['RML3']}: the period is closed{before}.", told]
    parts += ["Entries", table(counts)] if counts else []
    parts += ["Money, as it was recorded and whenever it occurred", table(sums)] if sums else []
    return "\n".join(parts)


def _reviewer(closed: Mapping[str, Any]) -> str | None:
    """Whom the preparer names, and whether they said so themselves."""
    confirmed = ", ".join(
        f"{each['reviewer']}, confirmed by own key (seq {each['seq']})"
        for each in closed["reviews"]
    )
    named = closed.get("reviewer")
    if named is None or named in {each["reviewer"] for each in closed["reviews"]}:
        return confirmed or None
    how = f"effect-ledger review {closed['ledger']} {closed['name']}"
    return f"{named}, named by the preparer; confirmed by own key with {how}" + (
        f"; {confirmed}" if confirmed else ""
    )

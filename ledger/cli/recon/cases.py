"""Cases: breaks, and what people do about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ledger.cli.files import read_object
from ledger.cli.output import (
    BAD_EVIDENCE,
    GOOD,
    JsonOption,
    LedgerArgument,
    Output,
    facts,
    table,
)
from ledger.cli.recon.room import KeyOption, NoteOption, Room
from ledger.cli.remote import open_remote
from ledger.errors import SettingsError
from ledger.forms.money import amount_text

COLUMNS = ("id", "status", "state", "sub_state", "amount", "age_days", "owner")

BreakArgument = Annotated[str, typer.Argument(metavar="BREAK", help="Id of the break.")]


def breaks(
    ledger: LedgerArgument,
    *,
    state: Annotated[str | None, typer.Option(help="Such as missing_in_ledger.")] = None,
    status: Annotated[
        str | None, typer.Option(help="open, assigned, proposed, approved or closed.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Principal it is assigned to.")] = None,
    older_than: Annotated[str | None, typer.Option(metavar="7d", help="Days.")] = None,
    form: Annotated[str, typer.Option("--format", help="table or csv.")] = "table",
    as_json: JsonOption = False,
) -> None:
    """List breaks that are not closed."""
    if form not in {"table", "csv"}:
        raise SettingsError("--format must be table or csv")
    with open_remote() as remote:
        found = Room(remote, ledger).all(
            "breaks",
            state=state,
            status=status,
            owner=owner,
            older_than=None if older_than is None else older_than.removesuffix("d"),
        )
    rows = [COLUMNS, *(_break_row(each) for each in found)]
    if form == "csv":
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows(rows)
        prose = written.getvalue().rstrip("\n")
    else:
        prose = table(rows) if found else "no breaks"
    Output(as_json).answer({"breaks": found}, prose)
    raise typer.Exit(BAD_EVIDENCE if found and status != "closed" else GOOD)


def show(ledger: LedgerArgument, break_id: BreakArgument, *, as_json: JsonOption = False) -> None:
    """Show a break: both sides, what happened, and the entry that would close it."""
    with open_remote() as remote:
        found = Room(remote, ledger).get(f"breaks/{break_id}")
    lines = [
        f"break {found['id']}: {found['status']}",
        facts(
            state=_state(found),
            reason=found["reason"],
            difference=_amounts(found["differences"]),
            age=f"{found['age_days']} days",
            owner=found["owner"],
        ),
        "",
        table(
            [
                (
                    f"  {item['side']}",
                    item["day"],
                    item["kind"],
                    f"{item['amount']} {item['currency']}",
                    " ".join(item.get("ids", ())),
                    item["key"],
                )
                for item in found["items"]
            ]
        ),
        "",
        *(
            f"  {event['at'][:19]}  {event['action']} by {event['actor']}"
            for event in found["events"]
        ),
    ]
    if found.get("draft"):
        lines += ["", f"  would close it: {orjson.dumps(found['draft']).decode()}"]
    elif found.get("no_draft_because"):
        lines += ["", f"  {found['no_draft_because']}"]
    Output(as_json).answer(found, "\n".join(lines))


def assign(
    ledger: LedgerArgument,
    break_id: BreakArgument,
    *,
    to: Annotated[str, typer.Option(help="Principal that gets it.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a break to somebody."""
    _act(ledger, break_id, {"action": "assign", "to": to}, key, as_json=as_json)


def propose(
    ledger: LedgerArgument,
    break_id: BreakArgument,
    *,
    entry: Annotated[
        Path | None, typer.Option(help="JSON object of the entry; the drafted one, without.")
    ] = None,
    note: NoteOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose the forward entry that closes a break."""
    words = {
        "action": "propose",
        "resolution": "entry",
        "note": note,
        "entry": None if entry is None else read_object(entry),
    }
    _act(ledger, break_id, words, key, as_json=as_json)


def explain(
    ledger: LedgerArgument,
    break_id: BreakArgument,
    *,
    note: Annotated[str, typer.Option(help="The explanation, kept as a payload.")],
    reason: Annotated[str | None, typer.Option(help="Dotted code.")] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose to close a break by an explanation: no amount changes."""
    words = {"action": "propose", "resolution": "explanation", "note": note, "reason": reason}
    _act(ledger, break_id, words, key, as_json=as_json)


def approve(
    ledger: LedgerArgument,
    break_id: BreakArgument,
    *,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve what was proposed: the entry is recorded, and the break closed."""
    _act(ledger, break_id, {"action": "approve"}, key, as_json=as_json)


def reject(
    ledger: LedgerArgument,
    break_id: BreakArgument,
    *,
    note: NoteOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse what was proposed: the break is open again."""
    _act(ledger, break_id, {"action": "reject", "note": note}, key, as_json=as_json)


def _act(
    ledger: str, break_id: str, words: Mapping[str, Any], key: str | None, *, as_json: bool
) -> None:
    with open_remote() as remote:
        made = Room(remote, ledger, key).post(f"breaks/{break_id}/events", words)
    says = f"break {break_id}: {made['status']}"
    if "closed_by" in made:
        says += f" by entry {made['closed_by']['entry']} (seq {made['closed_by']['seq']})"
    if "entry" in made:
        says += f"\n  {orjson.dumps(made['entry']).decode()}"
    Output(as_json).answer(made, says)


def _break_row(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        found["id"],
        found["status"],
        found["state"],
        found["sub_state"] or "",
        _amounts(found["differences"]),
        str(found["age_days"]),
        found["owner"] or "",
    )


def _state(found: Mapping[str, Any]) -> str:
    return " / ".join(each for each in (found["state"], found["sub_state"]) if each)


def _amounts(differences: Mapping[str, str]) -> str:
    return ", ".join(
        f"{amount_text(int(minor), currency)} {currency}" for currency, minor in differences.items()
    )

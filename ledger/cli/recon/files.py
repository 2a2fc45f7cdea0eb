"""Files: sources, what came from them, and which days they cover."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ledger.cli.files import read_object
from ledger.cli.output import (
    BAD_EVIDENCE,
    BAD_INPUT,
    JsonOption,
    LedgerArgument,
    Output,
    QuietOption,
    table,
)
from ledger.cli.recon.room import KeyOption, Room
from ledger.cli.remote import open_remote
from ledger.errors import SettingsError

_SIGNS = {"green": "+", "amber": "~", "red": "!", "grey": "."}


def sources(
    ledger: LedgerArgument,
    *,
    save: Annotated[
        Path | None, typer.Option(help="JSON object of a source to save, - for stdin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    List the sources, or save one: a change is a new version.

    A source is a JSON object: `name`, `provider` (the `system` of evidence), `iana_tz` (zone of
    the report's days). It may have: `side` (provider or bank), `report_type`, `account_ref`,
    `currency`, `unit_rule` (iso_4217 or hundredths), `decimal_separator`, `date_order` (dmy, mdy
    or ymd), `exponents` {currency: decimals}, `mapping` (of a CSV, or the name of a shipped
    one), `windows` {kind: {before, after, late_after}} in business days, `tolerances`
    [{kind, currency, cap_minor, becomes, automatic}], `fee_caps` {currency: minor units},
    `holidays` [day], `approval_above` {currency: minor units up to which one person decides alone}.

    A mapping names columns by their headings. It needs `version` (a number), `date`, and
    `amount`, or `debit` and `credit`. It may have: `direction` {column, incoming: [word],
    outgoing: [word]} of an `amount` without a sign, `date_format` (as strptime has it; %Y-%m-%d),
    `delimiter`, `encoding`, `decimal_separator`, `thousands_separator`, `minor_units` (true where
    amounts are whole numbers of the smallest unit), `newest_first`, `value_date`, `fee`, `net`,
    `balance`, `currency`, `account`, `kind` with `kinds` {word: kind} or `default_kind`, `skip`
    {column: [word]} of lines that did not happen, `provider_txn_id`, `provider_ref_id`,
    `merchant_ref`, `batch_ref`, `bank_ref`, `remittance`, `reason_code`, and `keep` [column].
    """
    with open_remote() as remote:
        room = Room(remote, ledger)
        if save is not None:
            saved = room.post("sources", read_object(save))
            says = f"source {saved['name']} has version {saved['version']}"
            Output(as_json).answer(saved, says)
            return
        found = room.all("sources")
    rows: list[tuple[str, ...]] = [("source", "version", "provider", "side", "zone")]
    rows += [
        (
            each["name"],
            str(each["version"]),
            each["provider"],
            each.get("side", "provider"),
            each["iana_tz"],
        )
        for each in found
    ]
    Output(as_json).answer({"sources": found}, table(rows))


def import_files(
    ledger: LedgerArgument,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files to import.")],
    *,
    source: Annotated[str, typer.Option(help="Where they come from.")],
    controls: Annotated[
        Path | None,
        typer.Option(help="JSON object with a list `controls`: totals known from elsewhere."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what they would be, and keep nothing.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Import files of a provider or a bank. The same file again adds nothing."""
    output = Output(as_json, quiet)
    query = {"source": source} | ({"dry_run": "true"} if dry_run else {})
    if controls is not None:
        query["controls"] = orjson.dumps(read_object(controls).get("controls", [])).decode()
    found = []
    with open_remote() as remote, output.progress("importing", "files") as tell:
        room = Room(remote, ledger)
        for at, file in enumerate(files):
            found.append(room.bring(_read(file), query | {"filename": file.name}))
            tell(at + 1, len(files))
    output.answer(
        {"imports": found},
        "\n".join(_import_line(file, each) for file, each in zip(files, found, strict=True)),
    )
    states = {each["status"] for each in found}
    if "rejected" in states:
        raise typer.Exit(BAD_INPUT)
    if "quarantined" in states:
        raise typer.Exit(BAD_EVIDENCE)


def override(
    ledger: LedgerArgument,
    import_id: Annotated[str, typer.Argument(metavar="IMPORT", help="Id of the import.")],
    *,
    reason: Annotated[str, typer.Option(help="Why it may count.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a quarantined file count, as a reviewer. It covers no day by that."""
    with open_remote() as remote:
        made = Room(remote, ledger, key).post(f"imports/{import_id}/override", {"reason": reason})
    Output(as_json).answer(made, f"import {import_id} counts from the next run on")


def discard(
    ledger: LedgerArgument,
    import_id: Annotated[str, typer.Argument(metavar="IMPORT", help="Id of the import.")],
    *,
    reason: Annotated[str, typer.Option(help="Why it never counts.")],
    superseded_by: Annotated[
        str | None, typer.Option(help="Id of the import that says it as it should be.")
    ] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a quarantined file aside, as a reviewer: no statement waits for it any more."""
    words = {"reason": reason, "superseded_by": superseded_by}
    with open_remote() as remote:
        made = Room(remote, ledger, key).post(f"imports/{import_id}/discard", words)
    Output(as_json).answer(made, f"import {import_id} is set aside: it is kept, and never counts")


def coverage(
    ledger: LedgerArgument,
    *,
    period: Annotated[str | None, typer.Option(help="A month, such as 2026-03; this one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The month board: which days of which source are tied, open, broken, or without a file."""
    with open_remote() as remote:
        found = Room(remote, ledger).get("coverage", period=period)
    lines = []
    for row in found["sources"]:
        signs = "".join(_SIGNS[day["colour"]] for day in row["days"])
        lines.append(f"{row['source']:<24}  {signs}")
    lines += ["", "+ tied   ~ open in time   ! breaks   . no complete file"]
    Output(as_json).answer(found, "\n".join(lines))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error


def _import_line(file: Path, found: Mapping[str, Any]) -> str:
    if found.get("replayed"):
        came = f"came before, on {found['received_at'][:19]} by {found['received_by']}"
        return f"{file.name}: {came}; nothing is added"
    told = f"{file.name}: {found['status']}, {found['lines']} lines, {found['added']} new"
    findings = [
        f"  {each['severity']}: {each['locator']} {each['message']}".replace("  ", " ")
        for each in found["findings"]
    ]
    findings += [f"  continuity: {each['message']}" for each in found["continuity"]]
    if found["status"] == "quarantined" and "id" in found:
        findings.append(
            f"  counts for nothing until a reviewer decides: `recon override` or `recon discard`, "
            f"import {found['id']}"
        )
    return "\n".join([told, *findings])

"""
Restore: brings entries back that a database has lost, from a copy of the log.

Works on the database itself, beside a running service or without one. What is missing, and that
the copy has it, is found out before anything is written.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from ledger.cli.output import BAD_EVIDENCE, JsonOption, LedgerArgument, Output, QuietOption, facts
from ledger.cli.remote import KEY_VARIABLE
from ledger.client.errors import WORLDS
from ledger.errors import ForkedError
from ledger.forms.names import check_ledger_name
from ledger.settings import read_settings


def restore(
    ledger: LedgerArgument,
    *,
    entries: Annotated[
        str,
        typer.Option(
            metavar="DIR|URL",
            help="A copy of its log: a directory of tiles, or a URL such as "
            "http://127.0.0.1:8420/v1/ledgers/NAME/log, read with the key in EFFECT_LEDGER_KEY.",
        ),
    ],
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """
    Bring back entries that a restored backup lacks, byte for byte; safe to repeat.

    Begin with the ledger `_registry`, which knows the others. Nothing is written unless the copy
    leads exactly to what was signed.
    """
    # Imported here: they take longer to load than most commands take to run.
    from ledger.copies.places import open_copy
    from ledger.service import open_service

    output = Output(as_json, quiet)
    check_ledger_name(ledger, "LEDGER")
    with (
        open_copy(entries, os.environ.get(KEY_VARIABLE)) as copy,
        open_service(read_settings()) as service,
    ):
        restorer = service.restorer
        try:
            with output.progress(f"Checking the copy of {ledger}", "entries") as tell:
                missing = restorer.check(ledger, copy, tell)
            with output.progress(f"Restoring {ledger}", "entries") as tell:
                restored = restorer.write(missing, copy, tell)
        except ForkedError as error:
            # Two histories are evidence, whichever of them is the right one.
            output.fail(error)
            return BAD_EVIDENCE
        service.stops.lift_restored(ledger)
        behind = restorer.behind()
    document: dict[str, Any] = {
        "ledger": ledger,
        "restored": restored.entries,
        "from_seq": restored.first if restored.entries else None,
        "size": restored.size,
        "root": restored.root.hex(),
        "payloads_lost": restored.payloads_lost,
        "reopened": list(restored.reopened),
        "behind": [
            {"ledger": name, "size": size, "signed_size": signed}
            for name, (size, signed) in behind.items()
        ],
    }
    output.answer(document, _prose(document))
    return 0


def _prose(told: dict[str, Any]) -> str:
    head = (
        f"{told['restored']:,} entries of {told['ledger']} are back, and it takes writes again."
        if told["restored"]
        else f"Nothing of {told['ledger']} was missing: all that was signed is there."
    )
    lines = [
        f"{WORLDS['RML3']}: {head}",
        facts(
            size=f"{told['size']:,}",
            root=told["root"],
            payloads_lost=f"{told['payloads_lost']:,}: their octets are in no log"
            if told["payloads_lost"]
            else None,
            reopened=", ".join(told["reopened"]) or None,
        ),
    ]
    if told["behind"]:
        lines.append("Still behind")
        lines += [
            f"  {each['ledger']}: {each['size']:,} of {each['signed_size']:,} entries"
            for each in told["behind"]
        ]
    return "\n".join(lines)

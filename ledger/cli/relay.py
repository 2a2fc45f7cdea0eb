"""Relay: hands off what a service left in its outbox, and shows what stands in the way."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.output import JsonOption, Output, facts, table
from ledger.client.outbox.command import Wanted, perform
from ledger.client.outbox.running import DATABASE_VARIABLE, LEASE_S
from ledger.errors import SettingsError
from ledger.settings import read_settings


def relay(
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar=DATABASE_VARIABLE,
            show_envvar=True,
            help="The service's own database: postgresql://USER@HOST/NAME or sqlite:////PATH.",
        ),
    ] = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Hand off what is there, and end.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show what is in the outbox, and end.")
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the outbox's table where it is missing, and end.")
    ] = False,
    ddl: Annotated[
        bool, typer.Option("--ddl", help="Print the table for your own migrations, and end.")
    ] = False,
    release: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Send a row that was refused again; needs --reason."),
    ] = None,
    withdraw: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Never send a row that was refused; needs --reason."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why it is released or withdrawn; kept with the row.")
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(help="Of the key, where several ledgers have it.")
    ] = None,
    receipts: Annotated[
        Path | None, typer.Option(help="Keep each receipt in a file below this directory, too.")
    ] = None,
    vkey: Annotated[
        list[str] | None, typer.Option(help="Verifier key of the ledger that you trust.")
    ] = None,
    lease: Annotated[
        float, typer.Option(help="Seconds for which rows are kept from other relays.")
    ] = LEASE_S,
    keep: Annotated[
        str | None,
        typer.Option(help="Delete rows that were handed off after 12h, 30d; kept without."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """
    Hand off what services left in the outbox of their database: once, and in order per subject.

    Runs until SIGTERM, beside any number of others. Reads EFFECT_LEDGER_URL and EFFECT_LEDGER_KEY.
    A row that the ledger refuses holds what follows in its subject, and nothing else, until it is
    released or withdrawn.
    """
    output = Output(as_json)
    if database_url is None:
        raise SettingsError(f"name the service's database: --database-url or {DATABASE_VARIABLE}")
    wanted = Wanted(
        database=database_url,
        once=once,
        status=status,
        create=create,
        ddl=ddl,
        release=release or (),
        withdraw=withdraw or (),
        reason=reason,
        ledger=ledger,
        receipts=receipts,
        vkey=vkey or (),
        lease_s=lease,
        keep=keep,
    )
    importlib.import_module("api.logs").log_json_lines(read_settings().log_level.value)
    # Each request would have a line of its own.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    code, told = perform(wanted)
    output.answer(told, "\n".join(_prose(told)))
    return code


def _prose(told: Mapping[str, Any]) -> Iterator[str]:
    if "ddl" in told:
        yield told["ddl"].rstrip()
    elif "created" in told:
        yield "The outbox is there."
    elif "released" in told:
        yield facts(**{name: ", ".join(keys) or None for name, keys in told.items()})
    else:
        yield from _standing(told)


def _standing(found: Mapping[str, Any]) -> Iterator[str]:
    since = f", the oldest since {found['oldest_waiting_at']}" if found["oldest_waiting_at"] else ""
    yield facts(
        waiting=f"{found['waiting']:,}{since}",
        refused=f"{found['parked']:,}"
        + (f" ({found['behind']:,} wait behind)" * (found["behind"] > 0)),
        handed_off=f"{found['handed_off']:,}",
        withdrawn=f"{found['withdrawn']:,}",
    )
    for title, rows in (("Refused", found["refused"]), ("Postponed", found["troubled"])):
        if rows:
            yield title
            yield table(
                [
                    ("LEDGER", "SUBJECT", "KEY", "TRIES", "CODE", "WHY"),
                    *(
                        (
                            each["ledger"],
                            each["subject"] or "-",
                            each["key"],
                            str(each["tries"]),
                            each["problem"]["code"] or "-",
                            each["problem"]["detail"] or "-",
                        )
                        for each in rows
                    ),
                ]
            )
    if found["troubled"]:
        yield (
            "What waits is sent again by itself; a row that no ledger will ever take is withdrawn: "
            "effect-ledger relay --withdraw KEY --reason WHY"
        )
    if found["refused"]:
        yield (
            "Release a row once the reason is gone, or withdraw it: "
            "effect-ledger relay --release KEY --reason WHY"
        )

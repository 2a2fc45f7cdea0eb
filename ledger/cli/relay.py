"""Relay: hands off what a service left in its outbox, and shows what stands in the way."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.output import BAD_EVIDENCE, GOOD, JsonOption, Output, facts, table
from ledger.client import DirectoryReceipts, outbox
from ledger.client.outbox.link import dialect_of
from ledger.client.outbox.running import (
    DATABASE_VARIABLE,
    LEASE_S,
    connected,
    open_relay,
    run_until_signalled,
)
from ledger.errors import SettingsError
from ledger.forms.timestamps import parse_span
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
        raise SettingsError(
            f"name the service's database with --database-url or {DATABASE_VARIABLE}"
        )
    if ddl:
        statements = outbox.DDL[dialect_of(database_url)]
        output.answer({"ddl": statements}, statements.rstrip())
        return GOOD
    if create:
        with connected(database_url) as connection:
            outbox.create(connection)
        output.answer({"created": True}, "the outbox is there")
        return GOOD
    if release or withdraw:
        _decide(database_url, release or [], withdraw or [], reason, ledger)
        done = {"released": release or [], "withdrawn": withdraw or []}
        output.answer(done, facts(**{name: ", ".join(keys) or None for name, keys in done.items()}))
        return GOOD
    if status:
        found = _status(database_url)
        output.answer(found, "\n".join(_prose(found)))
        return BAD_EVIDENCE if found["parked"] else GOOD
    running = open_relay(
        database_url,
        receipts=None if receipts is None else DirectoryReceipts(receipts),
        vkey=vkey,
        lease_s=lease,
        keep=None if keep is None else _span(keep),
    )
    importlib.import_module("api.logs").log_json_lines(read_settings().log_level.value)
    if not once:
        run_until_signalled(running)
        output.answer(_told(running.counts), facts(**_told(running.counts)))
        return GOOD
    failure = running.drain()
    found = _status(database_url)
    if failure is not None:
        raise failure
    told = {**_told(running.counts), "waiting": found["waiting"], "refused": found["refused"]}
    output.answer(told, "\n".join(_prose(found)))
    return BAD_EVIDENCE if found["parked"] else GOOD


def _decide(
    database: str,
    released: Sequence[str],
    withdrawn: Sequence[str],
    reason: str | None,
    ledger: str | None,
) -> None:
    if reason is None:
        raise SettingsError("say with --reason why it is released or withdrawn")
    # All of them, or none.
    with connected(database) as connection:
        for key in released:
            outbox.release(connection, key, reason=reason, ledger=ledger)
        for key in withdrawn:
            outbox.withdraw(connection, key, reason=reason, ledger=ledger)


def _status(database: str) -> dict[str, Any]:
    with connected(database) as connection:
        return outbox.status(connection)


def _told(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in ("handed_off", "replayed", "parked", "failures")}


def _span(text: str) -> timedelta:
    span = parse_span(text)
    if span is None:
        raise SettingsError("--keep must be a time such as 90s, 30m, 12h or 30d")
    return span


def _prose(found: Mapping[str, Any]) -> Iterator[str]:
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
    if found["refused"]:
        yield (
            "Release a row once the reason is gone, or withdraw it: "
            "effect-ledger relay --release KEY --reason WHY"
        )

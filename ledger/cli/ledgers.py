"""Ledgers: created and listed, also beside a running service."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ledger.cli.manual import LOCAL, manual, plain_typer
from ledger.cli.output import JsonOption, Output, facts, table
from ledger.errors import SettingsError
from ledger.settings import read_settings

app = plain_typer(help="Create and list ledgers; resume one that was stopped.")

PUBLIC_WARNING = (
    "The log of {ledger} is public from now on, and this cannot be taken back: anyone may read "
    "every entry with all it says. Payloads stay private."
)


@app.command(**manual("ledger create shop --time-zone Europe/Berlin", LOCAL))
def create(
    name: Annotated[str, typer.Argument(help="Name in URLs and entries, such as acme.payments.")],
    *,
    origin: Annotated[
        str | None,
        typer.Option(help="Identity for ever; ends in /NAME. By default the origin host and NAME."),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(help="A unit beyond ISO 4217 with its decimals, such as USDC=6. Repeatable."),
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="IANA zone that its periods are counted in.")
    ] = "UTC",
    public_log: Annotated[
        bool, typer.Option("--public-log", help="Let anyone read the log; cannot be taken back.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Create a ledger; safe to repeat with the same properties."""
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    output = Output(as_json)
    units = dict(map(_parse_unit, unit or ()))
    settings = read_settings()
    with open_service(settings) as service:
        service.registry.ensure(settings.origin_host)
        record = service.registry.create_ledger(
            name, origin=origin, units=units, time_zone=time_zone, public=public_log
        )
        second = service.registry.ml_dsa_vkey(record.origin)
    if public_log:
        output.note(PUBLIC_WARNING.format(ledger=name))
    output.answer(
        {"ledger": record.name, "origin": record.origin, "vkey": record.vkey} | _second(second),
        f"Ledger {record.name} takes entries.\n"
        + facts(origin=record.origin, vkey=record.vkey, ml_dsa_vkey=second)
        + "\nGive the vkey to everyone who shall be able to verify receipts without you.",
    )


@app.command(**manual("ledger resume shop --because 'A disk was bad; see ticket 7.'", LOCAL))
def resume(
    name: Annotated[
        str, typer.Argument(metavar="LEDGER", help="Name of a ledger that was stopped.")
    ],
    *,
    because: Annotated[str, typer.Option(help="What you found; kept beside the stop, for ever.")],
    acknowledge: Annotated[
        bool,
        typer.Option(
            "--acknowledge",
            help="Accept what verification found as it stands; without it, the next verification "
            "that finds it stops the ledger again.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a ledger take writes again that a verification or a witness's word stopped."""
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    with open_service(read_settings()) as service:
        lifted = service.stops.lift(name, because, acknowledge=acknowledge)
    Output(as_json).answer(
        {"ledger": name, "lifted": lifted, "acknowledged": acknowledge},
        f"Ledger {name} takes writes again; lifted: {', '.join(lifted)}.",
    )


@app.command("list", **manual("ledger list", LOCAL))
def list_ledgers(as_json: JsonOption = False) -> None:
    """List all ledgers with their sizes."""
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service
    from ledger.signing.key_history import current

    settings = read_settings()
    with open_service(settings) as service:
        service.registry.ensure(settings.origin_host)
        sizes = service.reader.sizes()
        found = [
            (
                record,
                current(service.reader.keys(record.name)).encode(),
                sizes[record.name][0],
                service.registry.ml_dsa_vkey(record.origin),
            )
            for record in service.reader.ledgers()
        ]
    Output(as_json).answer(
        {
            "ledgers": [
                {
                    "ledger": record.name,
                    "origin": record.origin,
                    "vkey": vkey,
                    "size": size,
                    "time_zone": record.time_zone,
                    "units": dict(record.units),
                    "public_log": record.public,
                    **_second(second),
                }
                for record, vkey, size, second in found
            ]
        },
        table(
            [
                ("LEDGER", "ENTRIES", "LOG", "VKEY"),
                *(
                    (
                        record.name,
                        f"{size:,}",
                        "public" if record.public else "private",
                        vkey,
                    )
                    for record, vkey, size, _ in found
                ),
            ]
        ),
    )


def _second(vkey: str | None) -> dict[str, str]:
    """The key of the second line, where checkpoints have one."""
    return {} if vkey is None else {"ml_dsa_vkey": vkey}


def _parse_unit(text: str) -> tuple[str, int]:
    match = re.fullmatch("([^=]+)=([0-9]{1,2})", text)
    if match is None:
        raise SettingsError("--unit takes a name and its decimals, such as USDC=6")
    return match[1], int(match[2])

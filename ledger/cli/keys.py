"""Keys: API keys made, listed and revoked, and posters' own keys enrolled, beside a service."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.manual import LOCAL, manual, plain_typer
from ledger.cli.output import JsonOption, Output, facts, table
from ledger.errors import SettingsError
from ledger.settings import read_settings

if TYPE_CHECKING:
    from ledger.registry.credentials import KeyLine

app = plain_typer(
    help="Create, list and revoke API keys; enrol and retire keys that posters sign with.",
)


@app.command(**manual("key create --name till --scope effects:write --expires 90d", LOCAL))
def create(
    *,
    name: Annotated[
        str, typer.Option(help="The principal: whom entries posted with the key name, for ever.")
    ],
    scope: Annotated[
        list[str],
        typer.Option(
            help="What it is good for: *, or of effects:write refunds:write adjustments:write "
            "explanations:write observe entries:read payload:read proofs:read verify and more. "
            "Repeatable."
        ),
    ],
    ledger: Annotated[
        list[str] | None,
        typer.Option(help="A ledger it reaches; all, present and future, without. Repeatable."),
    ] = None,
    period: Annotated[
        list[str] | None,
        typer.Option(
            help="An auditor's key: the period whose bundle it takes (export, payload:read, "
            "proofs:read, verify), and nothing beside. Repeatable."
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="90d, 12h, a date or an RFC 3339 time; never, without.")
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="What errors tell its caller of worlds: full, action-only (what to do), or none."
        ),
    ] = "full",
    as_json: JsonOption = False,
) -> None:
    """Make a key for a principal; this is the only time it is shown."""
    # Imported here: they take longer to load than most commands take to run.
    from ledger.registry.credentials import parse_expiry
    from ledger.service import open_service

    output = Output(as_json)
    expires_at = None if expires is None else parse_expiry(expires, datetime.now(UTC))
    with open_service(read_settings()) as service:
        made = service.credentials.create(
            name, scope, ledger or None, expires_at, labels, periods=period or None
        )
        known = {record.name for record in service.reader.ledgers()}
    missing = sorted(set(ledger or ()) - known)
    reach = f"reaches {', '.join(ledger)}" if ledger else "reaches all ledgers, present and future"
    if period:
        reach += f", and there the bundles of {', '.join(period)}"
    until = f"until {_time(expires_at)}" if expires_at else "until it is revoked"
    output.note(f"The key {reach}, {until}. It is shown this one time: keep it now.")
    for each in missing:
        output.note(f"There is no ledger {each} yet.")
    output.answer(
        {"id": made.id, "principal": made.principal, "key": made.key},
        facts(id=made.id, principal=made.principal, key=made.key),
    )


@app.command(**manual("key enrol till.pem --name till", LOCAL))
def enrol(
    public_key: Annotated[
        str, typer.Argument(help="Ed25519 public key: 64 hexadecimal digits, or a PEM file.")
    ],
    *,
    name: Annotated[str, typer.Option(help="The principal that signs its effects with it.")],
    as_json: JsonOption = False,
) -> None:
    """Let a principal sign its effects with a key of its own; safe to repeat."""
    # Imported here: they take longer to load than most commands take to run.
    from ledger.service import open_service
    from ledger.signing.keys import parse_public_key

    settings = read_settings()
    octets = parse_public_key(public_key)
    with open_service(settings) as service:
        service.registry.ensure(settings.origin_host)
        key_id = service.registry.enrol_poster_key(name, octets)
    Output(as_json).answer(
        {"key_id": key_id, "principal": name, "public_key": octets.hex()},
        f"Entries of {name} may be signed with key {key_id} from now on.\n"
        + facts(key_id=key_id, principal=name, public_key=octets.hex()),
    )


@app.command(**manual("key retire KEY_ID", LOCAL))
def retire(
    key_id: Annotated[str, typer.Argument(help="Id of a key that a poster signs with.")],
    as_json: JsonOption = False,
) -> None:
    """Let a poster's key sign no more; safe to repeat, and never taken back."""
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    with open_service(read_settings()) as service:
        principal, retired_at = service.registry.retire_poster_key(key_id)
    Output(as_json).answer(
        {"key_id": key_id, "principal": principal, "retired_at": retired_at},
        f"Key {key_id} of {principal} signs no more since {retired_at}. What it signed before "
        "stays signed.",
    )


@app.command("rotate-signing", **manual("key rotate-signing --overlap 7d", LOCAL))
def rotate_signing(
    *,
    finish: Annotated[
        bool, typer.Option("--finish", help="Retire the old key: from now on it signs no more.")
    ] = False,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="With --finish: the old key was stolen, and speaks only for what a quorum of "
            "witnesses cosigned.",
        ),
    ] = False,
    overlap: Annotated[
        str, typer.Option(help="How long both keys sign at most: 7d, 12h, a date or a time.")
    ] = "7d",
    as_json: JsonOption = False,
) -> None:
    """
    Have a new key take the place of the one that signs checkpoints, in two steps.

    First both sign, and everyone who verifies learns of the new one: `key.added` is in the
    registry. With --finish the old one is retired: what it signed stays good up to its final size,
    and nothing beyond. Both steps are safe to repeat.
    """
    # Imported here: they take longer to load than most commands take to run.
    from ledger.registry.credentials import parse_expiry
    from ledger.service import open_ring, open_service
    from ledger.signing.key_history import write_key
    from ledger.signing.keyring import SEEN_AFTER_S, FileRing

    settings = read_settings()
    if compromised and not finish:
        raise SettingsError("--compromised says how far the old key is bounded: give --finish too")
    until = parse_expiry(overlap, datetime.now(UTC))
    # A shared signer has keys of its own: what is rotated there is only announced here.
    ring = None if settings.signer_url else open_ring(settings)
    bound = None
    if isinstance(ring, FileRing):
        if finish:
            ring.finish()
        else:
            bound = ring.begin(until)
        # Running services sign with what the files say from then on.
        time.sleep(SEEN_AFTER_S)
    with open_service(settings) as service:
        service.registry.ensure(settings.origin_host)
        rotated = (
            service.rotation.finish(compromised=compromised) if finish else service.rotation.begin()
        )
    says = (
        "The old key signs no more. Destroy it: what it signed stays good without it."
        if finish
        else "Both keys sign. Give the new ones to whoever verifies and to your witnesses, then "
        "run it again with --finish."
    )
    lines = [write_key(key) for each in rotated for key in each.keys]
    Output(as_json).answer(
        {
            "state": "finished" if finish else "overlap",
            "until": _time(bound),
            "ledgers": [
                {
                    "ledger": each.ledger,
                    "origin": each.origin,
                    "keys": [write_key(key) for key in each.keys],
                }
                for each in rotated
            ],
        },
        "\n".join([says, *lines]),
    )


@app.command("list", **manual("key list", LOCAL))
def list_keys(as_json: JsonOption = False) -> None:
    """List all keys there ever were, without their secrets."""
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    with open_service(read_settings()) as service:
        lines = service.credentials.list()
    rows = [
        (
            line.id,
            line.principal,
            line.state,
            " ".join(line.scopes),
            (" ".join(line.ledgers) if line.ledgers is not None else "(all ledgers)")
            + (f" {' '.join(line.periods)}" if line.periods is not None else ""),
            f"expires {_time(line.expires_at)}" if line.expires_at else "",
        )
        for line in lines
    ]
    Output(as_json).answer(
        {"keys": [_document(line) for line in lines]},
        table([("ID", "PRINCIPAL", "STATE", "SCOPES", "LEDGERS", ""), *rows])
        if rows
        else "There is no key yet: effect-ledger key create --name NAME --scope '*'",
    )


@app.command(**manual("key revoke ID", LOCAL))
def revoke(
    id: Annotated[str, typer.Argument(help="Id of the key.")],  # noqa: A002 - its name in the help
    as_json: JsonOption = False,
) -> None:
    """End a key; safe to repeat. Running services stop taking it within seconds."""
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    with open_service(read_settings()) as service:
        line = service.credentials.revoke(id)
    Output(as_json).answer(
        _document(line),
        f"Key {line.id} of {line.principal} is revoked since {_time(line.revoked_at)}. What it "
        "posted is history: correct it forward where needed.",
    )


def _document(line: KeyLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "principal": line.principal,
        "state": line.state,
        "scopes": list(line.scopes),
        "ledgers": None if line.ledgers is None else list(line.ledgers),
        "periods": None if line.periods is None else list(line.periods),
        "created_at": _time(line.created_at),
        "expires_at": _time(line.expires_at),
        "revoked_at": _time(line.revoked_at),
        "labels": line.labels,
    }


def _time(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

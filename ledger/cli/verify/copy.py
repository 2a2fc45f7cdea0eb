"""A copy of a log, in a directory or over HTTP: every entry is read and hashed here."""

from __future__ import annotations

from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.cli.output import Output
from ledger.cli.remote import key_for
from ledger.cli.verify.judgement import Judgement
from ledger.cli.verify.trust import Trust
from ledger.copies.log_copy import read_note, verify_copy
from ledger.copies.places import open_copy

_NOT_CHECKED = (
    "what entries say beside each other: remainders, repeats, references",
    "payloads: no copy of a log holds them",
    "the clock: when entries were recorded is what the ledger says; only their order was checked",
    "what was recorded after this checkpoint",
)


def is_copy(directory: Path) -> bool:
    """Whether this is meant to be a copy of a log, however damaged it is."""
    return any((directory / name).exists() for name in ("checkpoint", "tile"))


def judge_copy(output: Output, where: str, trust: Trust) -> Judgement:
    """
    What the copy in a directory, or the log at a URL, proves.

    Raises:
        VerificationError: It does not prove what it claims.
        SettingsError: It cannot be read.
    """
    with (
        open_copy(where, key_for(where)) as copy,
        output.progress("Verifying the log", "entries") as tell,
    ):
        signed, cosigned, witnesses = trust.open_log(
            lambda cosigned: read_note(copy, cosigned=cosigned)
        )
        earlier = [each for each in (trust.kept, cosigned) if each is not None]
        head = verify_copy(copy, signed, tell, earlier=earlier)
    not_checked = [*_NOT_CHECKED, *trust.unasked()]
    if trust.kept is None:
        not_checked.append(
            "the past: give a checkpoint you kept with --checkpoint, which it must extend"
        )
    return Judgement(
        subject="the log",
        # Ordered times are all that can be seen here, and a wrong order ends it above.
        verdicts={"tamper": "ok", "completeness": "ok", "time": "ok"},
        # Whatever was recorded since witnesses looked, the log alone has signed.
        level="cosigned" if witnesses and cosigned in (None, signed) else "log-signed",
        document={
            "origin": signed.origin,
            "ledger": head.ledger,
            "size": signed.size,
            "root": signed.root.hex(),
            "last_recorded_at": head.last_recorded_at,
            "witnesses": list(witnesses),
            "cosigned_size": None if cosigned is None else cosigned.size,
            "extends": None if trust.kept is None else trust.kept.size,
        },
        told={
            "origin": signed.origin,
            "entries": f"{signed.size:,}, each read and hashed here",
            "root": signed.root.hex(),
            "last_recorded_at": head.last_recorded_at,
            "witnesses": _seen_by(witnesses, cosigned),
            "extends": None if trust.kept is None else f"the {trust.kept.size:,} that were kept",
        },
        not_checked=not_checked,
    )


def _seen_by(witnesses: tuple[str, ...], cosigned: Checkpoint | None) -> str | None:
    if not witnesses:
        return None
    up_to = "" if cosigned is None else f" of the first {cosigned.size:,} entries"
    return f"{', '.join(witnesses)}{up_to}"

"""
Words: the options an entry is described with, and the request body they make.

What the words must say is for the service, which holds them to the rules of the ledger.
"""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from ledger.cli.files import (
    check_writable,
    keep_receipt,
    read_object,
)
from ledger.cli.output import JsonOption, LedgerArgument, Output, facts
from ledger.cli.remote import PATIENCE_S, open_remote
from ledger.client.errors import WORLDS
from ledger.client.requests import check_key, ledger_path
from ledger.errors import SettingsError
from ledger.forms.timestamps import format_time

RECEIPT_HELP = (
    "Keep the receipt in this file: JSON, or the one-file form where it ends in .tlog-proof."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What every write may say: one option per field."""

    ledger: LedgerArgument
    key: Annotated[
        str,
        typer.Option(
            help="Idempotency key: choose it first and keep it; it names this request for ever."
        ),
    ]
    type: Annotated[str | None, typer.Option(help="Dotted, such as card.capture.")] = None
    occurred_at: Annotated[
        str | None, typer.Option(help="RFC 3339 time at which it happened; now, without.")
    ] = None
    amount: Annotated[
        str | None, typer.Option(help="Such as 19.99, with all decimals of the currency.")
    ] = None
    currency: Annotated[
        str | None, typer.Option(help="ISO 4217, or a unit the ledger declared.")
    ] = None
    flow: Annotated[str | None, typer.Option(help="in or out, from the merchant's side.")] = None
    subject: Annotated[str | None, typer.Option(help="What it is about, such as order/12345.")] = (
        None
    )
    business_key: Annotated[
        str | None, typer.Option(help="What it is, such as invoice/123; a second one is refused.")
    ] = None
    actor: Annotated[
        str | None, typer.Option(metavar="KIND:ID", help="Who did it; service, human or agent.")
    ] = None
    handoff: Annotated[
        str | None,
        typer.Option(help="executed, settled, notified, exported, period_closed or manual."),
    ] = None
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Repeatable.")] = None
    evidence: Annotated[
        list[str] | None,
        typer.Option(metavar="SYSTEM:REL:REF", help="As in stripe:transaction:ch_1. Repeatable."),
    ] = None
    cause: Annotated[
        list[str] | None, typer.Option(metavar="KIND:REF", help="As in trace:4bf9. Repeatable.")
    ] = None
    note: Annotated[
        str | None, typer.Option(help="Words, kept as a payload that can be erased.")
    ] = None
    observed: Annotated[
        bool, typer.Option("--observed", help="It already happened elsewhere; needs evidence.")
    ] = False
    file: Annotated[
        Path | None,
        typer.Option(help="JSON object of the body, - for stdin; options come on top of it."),
    ] = None
    receipt: Annotated[Path | None, typer.Option(help=RECEIPT_HELP)] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and leave no trace.")
    ] = False
    as_json: JsonOption = False

    def body(self) -> dict[str, Any]:
        """
        The request body: what the options say, on top of the file.

        Raises:
            SettingsError: The file cannot be read, or an option is not in its form.
        """
        written = {} if self.file is None else read_object(self.file)
        said = {name: value for name, value in self.members().items() if value}
        if isinstance(written.get("money"), dict) and "money" in said:
            said["money"] = written["money"] | said["money"]
        return written | said

    def members(self) -> dict[str, Any]:
        """What the options say, by member of the body; empty where they say nothing."""
        return {
            "type": self.type,
            "occurred_at": self.occurred_at,
            "money": _given(amount=self.amount, currency=self.currency, flow=self.flow),
            "subject": self.subject,
            "business_key": self.business_key,
            "actor": _named(self.actor, ":", "kind", "id", option="--actor"),
            "handoff": _given(point=self.handoff),
            "labels": dict(_split(each, "=", 2, option="--label") for each in self.label or ()),
            "evidence": [
                _named(each, ":", "system", "rel", "ref", option="--evidence")
                for each in self.evidence or ()
            ],
            "causes": [
                _named(each, ":", "kind", "ref", option="--cause") for each in self.cause or ()
            ],
            "note": self.note,
            "observed": self.observed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionWords(Words):
    """What every correction may say besides: which entry it corrects, and why."""

    entry: Annotated[
        str | None, typer.Argument(metavar="ID", help="Id of the entry it corrects.")
    ] = None
    corrects_key: Annotated[
        str | None, typer.Option(help="Instead of ID: idempotency key of that entry.")
    ] = None
    corrects_external: Annotated[
        str | None,
        typer.Option(metavar="SYSTEM:REF", help="Instead of ID: an original recorded elsewhere."),
    ] = None
    reason: Annotated[str | None, typer.Option(help="Dotted code, such as customer.request.")] = (
        None
    )
    applied: Annotated[
        str | None, typer.Option(help="The amount in the currency of that entry, if another.")
    ] = None
    audience: Annotated[
        str | None, typer.Option(help="Whom an explanation is for, such as auditors.")
    ] = None

    def members(self) -> dict[str, Any]:
        """What the options say, by member of the body; empty where they say nothing."""
        # Not super(): a dataclass with slots is a new class, which super() does not know.
        members = Words.members(self)
        members["money"] |= _given(applied=self.applied)
        return members | {
            "corrects": self.entry,
            "corrects_key": self.corrects_key,
            "corrects_external": _named(
                self.corrects_external, ":", "system", "ref", option="--corrects-external"
            ),
            "reason": self.reason,
            "audience": self.audience,
        }


Spoken = TypeVar("Spoken", bound=Words)


def takes(words: type[Spoken]) -> Callable[[Callable[[Spoken], None]], Callable[..., None]]:
    """Make a command of a function of `words`: its options are their fields."""

    def decorate(command: Callable[[Spoken], None]) -> Callable[..., None]:
        def run(**options: Any) -> None:
            command(words(**options))

        # Read by typer; four commands would else each spell out every option.
        hints = get_type_hints(words, include_extras=True)
        parameters = inspect.signature(words).parameters.values()
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(annotation=hints[parameter.name]) for parameter in parameters]
        )
        run.__annotations__ = hints
        run.__doc__ = command.__doc__
        run.__name__ = command.__name__
        return run

    return decorate


def send(words: Words, path: str, body: dict[str, Any]) -> None:
    """
    Send a write, print what became of it, and keep its receipt.

    Raises:
        SettingsError: The key cannot be sent, or the receipt cannot be kept.
        ClientError: As `Remote.send`.
    """
    output = Output(words.as_json)
    check_key(words.key)
    if words.receipt is not None:
        # Before anything is recorded: afterwards it would look as if nothing was.
        check_writable(words.receipt)
    if not words.dry_run:
        # Before it is said how to send it again.
        check_key(words.key)
    with open_remote() as remote:
        _settle_time(output, body, is_question=words.dry_run)
        answer = remote.post(
            ledger_path(words.ledger, path),
            body,
            key=words.key,
            patience_s=PATIENCE_S,
            query={"dry_run": "true"} if words.dry_run else {},
        )
    if words.dry_run:
        output.answer(answer, _provisional_prose(answer))
        return
    if words.receipt is not None:
        keep_receipt(words.receipt, answer["receipt"])
    output.answer(answer, _recorded_prose(answer, words.receipt))


def _settle_time(output: Output, body: dict[str, Any], *, is_question: bool) -> None:
    """Fill in when it happened, where nobody said so: now."""
    if "occurred_at" in body:
        return
    body["occurred_at"] = format_time(datetime.now(UTC))
    if is_question:
        return
    # The time is part of the request that the key names: the same command at another time
    # would be a conflict. Told before it is sent, for the answer may never come.
    command, *rest = sys.argv[1:]
    again = ["effect-ledger", command, "--occurred-at", body["occurred_at"], *rest]
    output.note(f"It happens now. To send this very request again: {shlex.join(again)}")


def _recorded_prose(answer: Mapping[str, Any], receipt: Path | None) -> str:
    what = "recorded before, by this very request" if answer["replayed"] else "recorded"
    kept = f", kept in {receipt}" if receipt is not None else ""
    return f"{WORLDS['RML3']}: {what}.\n" + facts(
        id=answer["id"],
        place=f"{answer['ledger']}, seq {answer['seq']}",
        entry_hash=answer["entry_hash"],
        recorded_at=answer["recorded_at"],
        receipt=answer["receipt"]["level"] + kept,
    )


def _provisional_prose(answer: Mapping[str, Any]) -> str:
    replays = answer.get("replays")
    would = f"would replay {replays}" if replays else f"would record this {answer['kind']}"
    return f"{WORLDS['RML1']}: nothing was written. The ledger, as it stands now, {would}."


def _given(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value is not None}


def _named(text: str | None, separator: str, *names: str, option: str) -> dict[str, str]:
    if text is None:
        return {}
    return dict(zip(names, _split(text, separator, len(names), option=option), strict=True))


def _split(text: str, separator: str, count: int, *, option: str) -> list[str]:
    # The last part keeps separators of its own: references are other people's words.
    parts = text.split(separator, count - 1)
    if len(parts) != count or not all(parts):
        raise SettingsError(f"{option} takes {count} parts with {separator} between them")
    return parts

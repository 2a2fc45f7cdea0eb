"""Intents: what is promised and not yet history, as whoever is on call looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ledger.cli.manual import CALLS, manual, plain_typer
from ledger.cli.output import JsonOption, LedgerArgument, Output, facts, table
from ledger.cli.remote import open_remote
from ledger.client.errors import WORLDS
from ledger.client.requests import ledger_path

app = plain_typer(help="Look at intents: effects that are promised and not yet history.")

PAGE = 1_000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


@app.command("list", **manual("intent list shop --older-than 15m", CALLS))
def list_intents(
    ledger: LedgerArgument,
    *,
    state: Annotated[
        str,
        typer.Option(
            help="open (promised, executing and unknown), one of these, or handed_off, cancelled, "
            "failed; all for every one."
        ),
    ] = "open",
    world: Annotated[str | None, typer.Option(help="RML2 or RML3.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Promised longer ago than this: 90s, 15m, 12h, 7d.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Such as order/12345.")] = None,
    business_key: Annotated[str | None, typer.Option(help="Such as invoice/123.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List intents, oldest first: those that wait for somebody, unless you ask for others."""
    filters = {
        "state": None if state == "all" else state,
        "world": world,
        "older_than": older_than,
        "subject": subject,
        "business_key": business_key,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    path = ledger_path(ledger, "/intents")
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    with open_remote() as remote:
        while True:
            page = remote.get(path, {**given, **more, "limit": str(PAGE)})
            found += page["intents"]
            if page["next_cursor"] is None:
                break
            more = {"cursor": page["next_cursor"]}
    Output(as_json).answer({"intents": found}, _listed(found))


@app.command(**manual("intent show shop ID", CALLS))
def show(
    ledger: LedgerArgument,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the intent.")],  # noqa: A002 - its name in the help
    as_json: JsonOption = False,
) -> None:
    """Show an intent with its events, and what can be done about it."""
    with open_remote() as remote:
        intent = remote.get(ledger_path(ledger, f"/intents/{id}"))
    Output(as_json).answer(intent, "\n".join(_prose(intent)))


def _listed(found: list[dict[str, Any]]) -> str:
    if not found:
        return "No intent is like that."
    return table(
        [
            ("WORLD", "STATE", "AGE", "ANSWER", "ON SILENCE", "WHAT", "ID"),
            *(
                (
                    WORLDS[each["world"]].partition(" ")[0],
                    _standing(each),
                    span(each["age_s"]),
                    _due(each),
                    each["on_silence"],
                    _what(each),
                    each["id"],
                )
                for each in found
            ),
        ]
    )


def _prose(intent: Mapping[str, Any]) -> Iterator[str]:
    yield f"{WORLDS[intent['world']]}: {_standing(intent)}. {_way_on(intent)}"
    held, approval = intent["held"], intent["approval"]
    yield facts(
        id=intent["id"],
        what=_what(intent),
        age=span(intent["age_s"]),
        answer=_due(intent),
        on_silence=intent["on_silence"],
        business_key=intent["business_key"],
        promised_by=intent["promised_by"],
        promised_at=intent["promised_at"],
        token=intent["token"],
        approval=f"by {approval['by']} at {approval['at']}"
        if approval
        else ("required, and not given" if intent["approval_required"] else None),
        holds=f"{held['amount']} {held['currency']} of entry {held['entry']}" if held else None,
        content_digest=intent["content_digest"],
        entry=intent["entry"],
    )
    yield "Events"
    yield table(
        [
            (f"  {each['number']}", each["at"], each["step"], f"by {each['by']}", _said(each))
            for each in intent["events"]
        ]
    )


def _standing(intent: Mapping[str, Any]) -> str:
    if intent["state"] == "executing" and intent["outcome"] == "executed":
        return "executed"
    return str(intent["state"]).replace("_", " ")


def _way_on(intent: Mapping[str, Any]) -> str:
    return {
        "promised": "Nothing was tried yet: it may be started, or cancelled.",
        "executing": "Somebody is at it.",
        "executed": "It happened and is not history yet: hand it off.",
        "unknown": "Nobody knows what became of it. Ask the provider or the bank, and send what "
        "they say as evidence; do not try it again.",
        "failed": "It did not happen.",
        "cancelled": "It was given up before it was tried.",
        "handed off": "Only forward entries follow.",
    }[_standing(intent)]


def _due(intent: Mapping[str, Any]) -> str:
    if intent["state"] in ("handed_off", "cancelled", "failed"):
        return "-"
    due_s = intent["answer_in_s"]
    return f"in {span(due_s)}" if due_s >= 0 else f"{span(-due_s)} late"


def _what(intent: Mapping[str, Any]) -> str:
    money = intent["money"]
    amount = f" {money['amount']} {money['currency']} {money['flow']}" if money else ""
    subject = f" of {intent['subject']}" if intent["subject"] else ""
    return f"{intent['type']}{amount}{subject}"


def _said(event: Mapping[str, Any]) -> str:
    said = event["said"]
    if event["step"] == "promised":
        return ""
    words = [str(said[name]) for name in ("outcome", "reason", "executor", "entry") if name in said]
    words += [f"{each['system']}:{each['rel']}:{each['ref']}" for each in said.get("evidence", ())]
    return " ".join(words)


def span(seconds: float) -> str:
    """Seconds as people say them: 42s, 7m, 3h 05m, 2d 4h."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h {whole % _HOUR_S // _MINUTE_S:02}m"
    return f"{whole // _DAY_S}d {whole % _DAY_S // _HOUR_S}h"

"""Unknowns: intents of unknown outcome, what statements say of them, and their end by that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from ledger.cli.output import (
    BAD_EVIDENCE,
    GOOD,
    JsonOption,
    LedgerArgument,
    Output,
    QuietOption,
    table,
)
from ledger.cli.recon.room import Room
from ledger.cli.remote import PATIENCE_S, Remote, open_remote
from ledger.client import Refused
from ledger.client.requests import KEY_CHARACTERS_MAX, ledger_path
from ledger.errors import NotFoundError

RunOption = Annotated[str | None, typer.Option("--run", help="This run; the newest, without.")]

EXECUTED = "executed"
"""It happened, that is on record, and it is not history yet."""
NOT_EXECUTED = "not_executed"


def intents(
    ledger: LedgerArgument, *, run_id: RunOption = None, as_json: JsonOption = False
) -> None:
    """List intents of unknown outcome, and what statements say of each."""
    with open_remote() as remote:
        found = _intents(_run(Room(remote, ledger), run_id))
    Output(as_json).answer({"intents": found}, _listed(found))
    raise typer.Exit(BAD_EVIDENCE if found else GOOD)


def conclude(
    ledger: LedgerArgument,
    only: Annotated[
        list[str] | None, typer.Argument(metavar="INTENT...", help="Only these intents.")
    ] = None,
    *,
    run_id: RunOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Have everything judged, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """
    End unknown outcomes by what statements say, and hand off what happened.

    The provider's line or its complete files become the evidence. Sent again it changes nothing.
    That something did not happen is taken from no run that leaves out a source of the ledger.
    Evidence takes `recon:prepare`, the hand-off `intents:write`.
    """
    output = Output(as_json, quiet)
    done: list[dict[str, Any]] = []
    with open_remote() as remote, output.progress("concluding", "intents") as tell:
        room = Room(remote, ledger)
        run = _run(room, run_id)
        found = _intents(run)
        left_out = _left_out(room, run)
        wanted = found if not only else [each for each in found if each["intent"] in set(only)]
        for missing in sorted(set(only or ()) - {each["intent"] for each in found}):
            raise NotFoundError(f"the run has no unknown intent {missing[:63]}")
        for each in wanted:
            done.append(_conclude(remote, ledger, _as_far_as(each, left_out), dry_run=dry_run))
            tell(len(done), len(wanted))
    # Tried without a trace, what happened goes no further than that.
    open_ = {"unknown"} if dry_run else {"unknown", "executing", EXECUTED}
    left = [each for each in done if each["state"] in open_]
    output.answer({"intents": done, "left": len(left)}, _told(done))
    raise typer.Exit(BAD_EVIDENCE if left else GOOD)


def _run(room: Room, run_id: str | None) -> dict[str, Any]:
    if run_id is None:
        runs = room.all("runs")
        if not runs:
            raise NotFoundError("there is no run yet: begin one with `recon run`")
        run_id = str(runs[-1]["id"])
    run: dict[str, Any] = room.get(f"runs/{run_id}")
    return run


def _intents(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.get("intents", [])
    return found


def _left_out(room: Room, run: Mapping[str, Any]) -> list[str]:
    """Sources of the ledger, those saved since among them, that a run knows nothing of."""
    known = run.get("input", {}).get("sources", {})
    return sorted(each["name"] for each in room.all("sources") if each["name"] not in known)


def _as_far_as(found: dict[str, Any], left_out: Sequence[str]) -> dict[str, Any]:
    """What a run proposes, without that something did not happen if it did not look everywhere."""
    proposed = found["conclusion"]
    if proposed is None or proposed["outcome"] != NOT_EXECUTED or not left_out:
        return found
    reason = f"the run leaves out source {left_out[0]}: run it again with all of them"
    return found | {"conclusion": None, "reason": reason}


def _conclude(
    remote: Remote, ledger: str, found: Mapping[str, Any], *, dry_run: bool
) -> dict[str, Any]:
    told = {"intent": found["intent"], "reason": found["reason"], "state": "unknown", "entry": None}
    if found["conclusion"] is None:
        return told
    path = ledger_path(ledger, f"/intents/{found['intent']}")
    # As it stands now: somebody else, or an earlier run of this command, may have been here.
    intent = remote.get(path, patience_s=PATIENCE_S)
    if intent["state"] == "unknown":
        intent = remote.post(
            f"{path}/evidence",
            found["conclusion"],
            key=f"recon/{found['intent']}/{found['conclusion']['outcome']}",
            query={"dry_run": "true"} if dry_run else None,
            patience_s=PATIENCE_S,
        )
    told |= {"state": intent["state"], "entry": intent["entry"]}
    if intent["state"] != "executing" or intent["outcome"] != "executed":
        return told
    if dry_run:
        return told | {"state": EXECUTED}
    try:
        handed = remote.post(
            f"{path}/handoff",
            {"token": intent["token"]},
            key=_handoff_key(intent),
            patience_s=PATIENCE_S,
        )
    except Refused as refusal:
        if refusal.problem.get("code") != "FORBIDDEN":
            raise
        # Its end is on record; whoever may hand it off does so with this very command.
        return told | {"state": EXECUTED, "reason": f"{refusal.problem['detail']}, to hand it off"}
    return told | {"state": "handed_off", "entry": handed["id"]}


def _handoff_key(intent: Mapping[str, Any]) -> str:
    """That of the client's own hand-off: whoever began it and comes again is told of this entry."""
    key = f"{intent['key']}/handoff"
    return key if len(key) <= KEY_CHARACTERS_MAX else f"recon/{intent['id']}"


def _listed(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "no unknown outcome"
    return table(
        [
            ("INTENT", "WHAT", "PROMISED", "STATEMENTS SAY", "BECAUSE"),
            *(
                (
                    each["intent"],
                    _what(each),
                    each["promised_at"][:19],
                    "too little"
                    if each["conclusion"] is None
                    else each["conclusion"]["outcome"].replace("_", " "),
                    each["reason"],
                )
                for each in found
            ),
        ]
    )


def _told(done: Sequence[Mapping[str, Any]]) -> str:
    if not done:
        return "no unknown outcome"
    return table(
        [
            (each["intent"], each["state"].replace("_", " "), each["entry"] or "", each["reason"])
            for each in done
        ]
    )


def _what(found: Mapping[str, Any]) -> str:
    money = found["money"]
    amount = f" {money['amount']} {money['currency']} {money['flow']}" if money else ""
    return f"{found['type']}{amount} {found['business_key'] or found['subject'] or ''}".rstrip()

"""Entries: one with what corrected it, or all of them as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.files import keep_receipt
from ledger.cli.output import JsonOption, LedgerArgument, Output, facts, print_json
from ledger.cli.remote import PATIENCE_S, Remote, open_remote
from ledger.cli.words import RECEIPT_HELP
from ledger.client.requests import ledger_path
from ledger.errors import NotFoundError, SettingsError

LAST = 10
"""Entries shown where nobody says where to begin."""
PAGE = 1_000
WAIT_S = 30
# A service that restarts is waited for; whoever follows a ledger wants to go on.
FOLLOW_PATIENCE_S = 600.0


def show(
    ledger: LedgerArgument,
    place: Annotated[str | None, typer.Argument(metavar="SEQ|ID", help="Which entry.")] = None,
    *,
    key: Annotated[str | None, typer.Option(help="Instead: its idempotency key.")] = None,
    receipt: Annotated[Path | None, typer.Option(help=RECEIPT_HELP)] = None,
    as_json: JsonOption = False,
) -> None:
    """Show an entry, its corrections, and what can still be undone."""
    if (place is None) == (key is None):
        raise SettingsError("say which entry: its SEQ or ID, or --key")
    with open_remote() as remote:
        found = _find(remote, ledger, place, key)
        corrections = list(_pages(remote, ledger, corrects=found["id"]))
        story = None
        if found["entry"].get("effect", {}).get("kind") == "effect":
            story = remote.get(ledger_path(ledger, f"/effects/{found['id']}"))
        if receipt is not None:
            proof = remote.get(ledger_path(ledger, f"/entries/{found['seq']}/receipt"))
            keep_receipt(receipt, proof)
    Output(as_json).answer(
        found | {"corrected_by": corrections, "story": story},
        "\n".join(_prose(found, corrections, story, receipt)),
    )


def tail(
    ledger: LedgerArgument,
    *,
    after: Annotated[
        int | None, typer.Option(help="Seq of the last entry seen; -1 begins at the first.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as entries are recorded.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Show entries in order: the last ten, or all after a seq.

    With --follow and --json, one JSON object per entry.
    """
    output = Output(as_json)
    with open_remote() as remote:
        if after is None:
            after = remote.get(ledger_path(ledger))["size"] - LAST - 1
        reached = max(after, -1)
        if not follow:
            entries = [entry for page in _feed(remote, ledger, reached) for entry in page]
            output.answer(
                {"entries": entries, "next_after": entries[-1]["seq"] if entries else reached},
                "\n".join(map(line, entries)),
            )
            return
        try:
            for page in _feed(remote, ledger, reached, wait=WAIT_S):
                for entry in page:
                    is_read = print_json(entry) if as_json else output.say(line(entry))
                    if not is_read:
                        return
                    reached = entry["seq"]
        except KeyboardInterrupt:
            output.note(f"To go on from here: effect-ledger tail {ledger} -f --after {reached}")


def line(entry: Mapping[str, Any]) -> str:
    """An entry as the service tells it, on one line."""
    # Of a version above 1, only what all versions share is known.
    effect = entry["entry"].get("effect", {})
    about = effect.get("subject") or effect.get("business_key") or effect.get("key", "")
    return "  ".join(
        (
            f"{entry['seq']:>6}",
            entry["recorded_at"],
            f"{effect.get('kind', '?'):<11}",
            f"{effect.get('type', '?'):<20}",
            f"{_amount(effect) or '':>20}",
            about,
        )
    )


def _find(remote: Remote, ledger: str, place: str | None, key: str | None) -> dict[str, Any]:
    if place is not None:
        if not place.replace("-", "").isalnum():
            raise SettingsError("an entry is named by its seq or its id")
        entry: dict[str, Any] = remote.get(ledger_path(ledger, f"/entries/{place}"))
        return entry
    assert key is not None
    for entry in _pages(remote, ledger, key=key):
        return entry
    raise NotFoundError(f"ledger {ledger} has no entry under this key; nothing was recorded")


def _pages(remote: Remote, ledger: str, **filters: str) -> Iterator[dict[str, Any]]:
    more: dict[str, str] = {}
    while True:
        page = remote.get(ledger_path(ledger, "/entries"), {**filters, **more, "limit": str(PAGE)})
        yield from page["entries"]
        if page["next_cursor"] is None:
            return
        more = {"cursor": page["next_cursor"]}


def _feed(remote: Remote, ledger: str, after: int, wait: int = 0) -> Iterator[list[dict[str, Any]]]:
    """Pages of entries after a seq; for ever with a `wait`, in seconds, else to the end."""
    while True:
        page = remote.get(
            ledger_path(ledger, "/feed"),
            {"after": str(after), "limit": str(PAGE), "wait": str(wait)},
            patience_s=FOLLOW_PATIENCE_S if wait else PATIENCE_S,
        )
        if page["entries"]:
            yield page["entries"]
        elif not wait:
            return
        after = page["next_after"]


def _prose(
    entry: Mapping[str, Any],
    corrections: list[dict[str, Any]],
    story: Mapping[str, Any] | None,
    receipt: Path | None,
) -> Iterator[str]:
    members = entry["entry"]
    effect = members.get("effect", {})
    position = None if story is None else story["position"]
    yield f"Entry {entry['seq']} of {entry['ledger']}: history, and not to be deleted."
    yield facts(
        id=entry["id"],
        place=f"{entry['ledger']}, seq {entry['seq']}",
        kind=effect.get("kind"),
        type=effect.get("type"),
        amount=_amount(effect),
        remaining=None if position is None else f"{position['remaining']} {position['currency']}",
        subject=effect.get("subject"),
        business_key=effect.get("business_key"),
        reason=effect.get("reason"),
        corrects=effect.get("corrects") or effect.get("corrects_key"),
        key=effect.get("key"),
        occurred_at=effect.get("occurred_at"),
        recorded_at=entry["recorded_at"],
        poster=members.get("poster"),
        entry_hash=entry["entry_hash"],
        receipt=receipt,
    )
    # The story of an effect knows the corrections of its corrections too.
    lineage = corrections if story is None else story["corrections"] + story["explanations"]
    if lineage:
        yield "Corrected by"
        yield from ("  " * (each.get("depth", 1) - 1) + line(each) for each in lineage)
    for title, claims, limit in (
        ("Can still be done", [] if story is None else story["rollback"]["can"], "up_to"),
        ("Cannot be undone", [] if story is None else story["rollback"]["cannot"], "amount"),
    ):
        if claims:
            yield title
            yield from (_claim(claim["says"], claim[limit]) for claim in claims)


def _claim(says: str, limit: Mapping[str, str] | None) -> str:
    if limit is None:
        return f"  {says}"
    return f"  {says.removesuffix('.')} ({limit['amount']} {limit['currency']})."


def _amount(effect: Mapping[str, Any]) -> str | None:
    money = effect.get("money")
    return None if money is None else f"{money['amount']} {money['currency']} {money['flow']}"

"""
Board: source by day. Green: tied. Amber: timing. Red: a break. Grey: no complete file.

A day is also told in a word: colour alone says nothing to many readers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from ledger.recon.account import Account
from ledger.recon.coverage import Coverage
from ledger.recon.matching import Side
from ledger.recon.statement_side import Known
from ledger.recon.states import BREAKS

Standings = Iterable[Mapping[str, Any]]


def build_board(
    accounts: Sequence[Account],
    coverage: Coverage,
    standings: Standings,
    *,
    days: Sequence[date],
    files: Iterable[tuple[str, Sequence[Known]]],
) -> dict[str, Any]:
    """
    The colour of each day of each source, with how many breaks and open items it has.

    Args:
        accounts: The sources.
        coverage: What complete files cover.
        standings: What the newest run left open, as JSON.
        days: The days to tell.
        files: (source, statements) of the imports that count.
    """
    red, amber = _by_day(accounts, standings)
    shown: dict[str, set[str]] = defaultdict(set)
    partly: dict[str, set[date]] = defaultdict(set)
    for source, statements in files:
        for each in statements:
            shown[source].add(each.currency)
            partly[source] |= {day for day in days if each.first <= day <= each.last}
    rows = []
    for account in accounts:
        name = account.source.name
        cells = []
        for day in days:
            covered = bool(shown[name]) and all(
                coverage.covers(name, currency, day, day) for currency in shown[name]
            )
            cells.append(
                {
                    "day": day.isoformat(),
                    **_colour(red[name, day], amber[name, day], covered, day in partly[name]),
                }
            )
        rows.append({"source": name, "side": account.side.value, "days": cells})
    return {"sources": rows}


def _colour(breaks: int, open_items: int, covered: bool, has_file: bool) -> dict[str, Any]:
    if breaks:
        colour, says = "red", f"{breaks} breaks"
    elif not covered:
        colour = "grey"
        says = "a file, and nothing proves it complete" if has_file else "no file"
    elif open_items:
        colour, says = "amber", f"{open_items} open in time"
    else:
        colour, says = "green", "tied"
    return {"colour": colour, "says": says, "breaks": breaks, "open": open_items}


def _by_day(
    accounts: Sequence[Account], standings: Standings
) -> tuple[dict[tuple[str, date], int], dict[tuple[str, date], int]]:
    by_provider: dict[str, list[str]] = defaultdict(list)
    for account in accounts:
        if account.side is Side.PROVIDER:
            by_provider[account.source.provider].append(account.source.name)
    red: dict[tuple[str, date], int] = defaultdict(int)
    amber: dict[tuple[str, date], int] = defaultdict(int)
    for standing in standings:
        if standing["state"] in {"fee", "outside"}:
            continue
        counts = red if standing["state"] in BREAKS else amber
        places = {
            (source, date.fromisoformat(item["day"]))
            for item in standing["items"]
            for source in (
                by_provider.get(item.get("provider", ""), [])
                if item["side"] == "ledger"
                else [item["account"]]
            )
        }
        for place in places:
            counts[place] += 1
    return red, amber

"""Tying: whether the statement of a run is tied now, and what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ledger.recon.imports import DISCARD, OVERRIDE, speaks_of
from ledger.recon.shelf import RunRow, Shelf
from ledger.recon.states import UNTIED, State

STANDINGS_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """What is left of a run, after all that people decided since."""

    remaining: int
    """Differences that nothing closed."""
    untied_because: tuple[str, ...]
    """Each reason in words; none where it is tied."""


def read_tie(shelf: Shelf, ledger: str, run: RunRow) -> Tie:
    """How a run stands now."""
    remaining = _remaining(shelf, ledger, run)
    reasons = [f"unexplained: {each}" for each in run.output["unexplained"]]
    if remaining:
        reasons.append(
            "1 difference remains open"
            if remaining == 1
            else f"{remaining} differences remain open"
        )
    reasons += [*_set_aside(shelf, ledger, run), *_waiting(shelf, ledger, run)]
    return Tie(remaining=remaining, untied_because=tuple(reasons))


def _remaining(shelf: Shelf, ledger: str, run: RunRow) -> int:
    first, last = str(run.input["period_from"]), str(run.input["period_to"])
    seen = {
        fingerprint
        for _, state, fingerprint, document in shelf.standings(
            ledger, run.id, states=[each.value for each in UNTIED], limit=STANDINGS_MAX
        )
        if str(document["age_basis"]) <= last
        # What no file covers is a matter of its own period; breaks stay until they are closed.
        and (state != State.NOT_YET_COVERED or str(document["age_basis"]) >= first)
        and (document["leg"] != "payout_to_bank" or run.input["banks"])
    }
    return len(seen) - len(shelf.closed_among(ledger, seen))


def _set_aside(shelf: Shelf, ledger: str, run: RunRow) -> list[str]:
    """The files that the run counted and somebody has set aside since."""
    rulings = shelf.rulings(ledger, run.input["imports"])
    return [
        f"{shelf.find_import(ledger, each).filename} is discarded since this run: run it again "
        f"(import {each})"
        for each in run.input["imports"]
        if each in rulings and rulings[each].act == DISCARD
    ]


def _waiting(shelf: Shelf, ledger: str, run: RunRow) -> list[str]:
    """The files that the run left out and nobody has set aside."""
    if not run.input["quarantined"]:
        return []
    rulings = shelf.rulings(ledger, run.input["quarantined"])
    booked = shelf.booked(ledger, run.input["quarantined"])
    days = (
        date.fromisoformat(run.input["period_from"]),
        date.fromisoformat(run.input["period_to"]),
    )
    found = []
    for row in (shelf.find_import(ledger, each) for each in run.input["quarantined"]):
        ruling = rulings.get(row.id)
        if ruling is not None and ruling.act == OVERRIDE:
            found.append(f"{row.filename} counts since this run: run it again (import {row.id})")
        elif ruling is None and speaks_of(row, booked.get(row.id, ()), days):
            found.append(
                f"{row.filename} is quarantined and waits for a reviewer: override or discard it "
                f"(import {row.id})"
            )
    return found

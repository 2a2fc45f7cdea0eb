"""Outcomes: what a run means for breaks. Raised, seen again, closed by evidence, or reopened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ledger.recon.breaks import Action, BreakState, Status, fold, seen_again
from ledger.recon.shelf import BreakRow, RunRow, Shelf
from ledger.recon.states import Standing, State

_ANSWERED = frozenset({State.MATCHED.value, State.FEE.value})

Rows = Iterable[tuple[str, str, Mapping[str, Any]]]


Where = Mapping[str, Mapping[str, str]]
"""Key of an item -> leg -> its state there: one item may stand in both legs."""


def record_outcome(
    shelf: Shelf, ledger: str, run: RunRow, broken: Rows, standings: Iterable[Standing]
) -> None:
    """
    Tell every break what a run saw of it; begin those that are new.

    Args:
        shelf: Where breaks are kept.
        ledger: Name of the ledger.
        run: The run, kept already.
        broken: Its rows that a person has to close.
        standings: Where every item of the run stands.
    """
    known = {row.fingerprint: row for row in shelf.breaks(ledger)}
    raised = raised_by(run, broken)
    for fingerprint, document in raised.items():
        row = known.get(fingerprint)
        seen = seen_of(document, run)
        if row is None:
            shelf.open_break(
                ledger, break_id(ledger, fingerprint), fingerprint, run.started_by, seen
            )
        else:
            _tell(shelf, ledger, row, run, seen)
    gone = [(row, fold(row.events)) for each, row in known.items() if each not in raised]
    waiting = [(row, found) for row, found in gone if found.status is not Status.CLOSED]
    keys = {item["key"] for _, found in waiting for item in found.seen["items"]}
    where = where_of(standings, keys)
    for row, found in waiting:
        if is_answered(found.seen, where):
            _close_by_evidence(shelf, ledger, row, found, run)


def raised_by(run: RunRow, broken: Rows) -> dict[str, Mapping[str, Any]]:
    """The breaks of a run by fingerprint: also those of earlier periods, none of later ones."""
    last = run.input["period_to"]
    return {
        fingerprint: document
        for _, fingerprint, document in broken
        if document["age_basis"] <= last
    }


def where_of(standings: Iterable[Standing], keys: Container[str]) -> Where:
    """Where the items of these keys stand."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for standing in standings:
        for item in standing.items:
            if item.key in keys:
                found[item.key][standing.leg.value] = standing.state.value
    return found


def is_answered(seen: Mapping[str, Any], where: Where) -> bool:
    """Whether every item of a break is: in the break's own leg, unless it left that."""
    for item in seen["items"]:
        legs = where.get(item["key"], {})
        states = {legs[seen["leg"]]} if seen["leg"] in legs else set(legs.values())
        if not states or not states <= _ANSWERED:
            return False
    return True


def break_id(ledger: str, fingerprint: str) -> str:
    """The id of the break of a fingerprint: two runs that raise it at once name it alike."""
    return str(uuid5(NAMESPACE_URL, f"urn:effect-ledger:break:{ledger}:{fingerprint}"))


def seen_of(document: Mapping[str, Any], run: RunRow) -> dict[str, Any]:
    """What an event says that a run saw."""
    names = ("leg", "state", "sub_state", "reason", "differences", "items", "age_basis")
    return {
        "seen": {name: document[name] for name in names},
        "run": run.id,
        "size": run.input["size"],
    }


def _tell(
    shelf: Shelf, ledger: str, row: BreakRow, run: RunRow, document: Mapping[str, Any]
) -> None:
    found = fold(row.events)
    action = seen_again(found, document["seen"], {"size": run.input["size"]})
    if action is not None:
        shelf.add_event(
            ledger,
            row.id,
            ordinal=found.events,
            by=run.started_by,
            action=action,
            document=document,
        )


def _close_by_evidence(
    shelf: Shelf, ledger: str, row: BreakRow, found: BreakState, run: RunRow
) -> None:
    """A break whose every item a run found answered is closed by what answered."""
    shelf.add_event(
        ledger,
        row.id,
        ordinal=found.events,
        by=run.started_by,
        action=Action.CLOSED,
        document={"by": "evidence", "run": run.id, "size": run.input["size"]},
    )

"""
Breaks: the life of a difference that a person has to close. A fold over its events.

    open -> assigned -> proposed -> approved -> closed
      ^---------------- rejected ---+---'          |
      '------------------- reopened ---------------'

A proposal goes by what was seen: a run that sees something else takes it back.
Nothing is edited: what was proposed and rejected stands in the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ledger.errors import BreakError
from ledger.forms.money import amount_text, minor_units


class Action(StrEnum):
    """What happened to a break."""

    OPENED = "opened"
    CHANGED = "changed"
    """A run saw it in another state or with another difference."""
    ASSIGNED = "assigned"
    PROPOSED = "proposed"
    REJECTED = "rejected"
    """By a person or, once it was approved, by the ledger: the entry was not recorded."""
    APPROVED = "approved"
    CLOSED = "closed"
    REOPENED = "reopened"
    CARRIED_FORWARD = "carried_forward"


class Status(StrEnum):
    """What a break is now."""

    OPEN = "open"
    ASSIGNED = "assigned"
    PROPOSED = "proposed"
    APPROVED = "approved"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    ordinal: int
    at: datetime
    actor: str
    action: Action
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakState:
    """A break as its events leave it."""

    status: Status
    seen: Mapping[str, Any]
    """What the newest run that saw it says: state, sub-state, items, differences."""
    owner: str | None = None
    proposal: Mapping[str, Any] | None = None
    proposer: str | None = None
    closed_by: Mapping[str, Any] | None = None
    """How it was closed: `by` is evidence, entry or explanation."""
    carried_into: tuple[str, ...] = ()
    """Periods that were closed with it open."""
    events: int = 0
    """How many there were: the ordinal of the next one."""


def fold(events: Iterable[Event]) -> BreakState:
    """The break after all its events, which begin with that it was opened."""
    found: BreakState | None = None
    for event in events:
        found = _apply(found, event)
    assert found is not None, "a break begins with its opening"
    return found


def _apply(found: BreakState | None, event: Event) -> BreakState:
    if found is None:
        assert event.action is Action.OPENED, event.action
        return BreakState(status=Status.OPEN, seen=event.document["seen"], events=1)
    found = replace(found, events=event.ordinal + 1)
    document = event.document
    waiting = Status.OPEN if found.owner is None else Status.ASSIGNED
    untried = {"status": waiting, "proposal": None, "proposer": None}
    changes: Mapping[Action, dict[str, Any]] = {
        Action.CHANGED: {"seen": document.get("seen")}
        | ({} if found.status is not Status.PROPOSED else untried),
        Action.ASSIGNED: {
            "owner": document.get("to"),
            "status": Status.ASSIGNED if found.status is Status.OPEN else found.status,
        },
        Action.PROPOSED: {
            "status": Status.PROPOSED,
            "proposal": document,
            "proposer": event.actor,
        },
        Action.REJECTED: untried,
        Action.APPROVED: {"status": Status.APPROVED},
        Action.CLOSED: {"status": Status.CLOSED, "closed_by": document},
        Action.REOPENED: {
            "seen": document.get("seen"),
            "closed_by": None,
            **untried,
        },
        Action.CARRIED_FORWARD: {
            "carried_into": (*found.carried_into, document.get("period")),
        },
    }
    return replace(found, **changes[event.action])


_ALLOWED: Mapping[Action, frozenset[Status]] = {
    Action.ASSIGNED: frozenset({Status.OPEN, Status.ASSIGNED, Status.PROPOSED}),
    Action.PROPOSED: frozenset({Status.OPEN, Status.ASSIGNED, Status.PROPOSED}),
    Action.REJECTED: frozenset({Status.PROPOSED}),
    Action.APPROVED: frozenset({Status.PROPOSED, Status.APPROVED}),
    Action.REOPENED: frozenset({Status.CLOSED}),
}


def check_allowed(found: BreakState, action: Action) -> None:
    """
    Check that people may do this to a break now.

    Raises:
        BreakError: Not in its present status; says which acts are.
    """
    if found.status not in _ALLOWED[action]:
        possible = sorted(each for each, when in _ALLOWED.items() if found.status in when)
        raise BreakError(
            f"the break is {found.status.value} and cannot be {action.value}; possible now: "
            f"{', '.join(possible) or 'nothing'}",
            status=found.status.value,
        )


def check_approver(found: BreakState, approver: str, above: Mapping[str, int]) -> None:
    """
    Check that whoever approves may.

    The proposer may alone where the entry is the drafted one, the break says how much it is
    about, and neither that nor the entry's own money is above the threshold.

    Args:
        found: The break, with its proposal.
        approver: Principal.
        above: Currency -> minor units up to which the proposer may approve alone.

    Raises:
        BreakError: The same person, where another one is needed.
    """
    if approver != found.proposer:
        return
    assert found.proposal is not None, "what is approved has a proposal"
    amounts = [(currency, int(minor)) for currency, minor in found.seen["differences"].items()]
    if not found.proposal.get("drafted") or not amounts:
        raise BreakError(
            f"{approver} proposed this, in words of their own or about no known amount: another "
            "one approves",
            proposer=approver,
        )
    money = found.proposal["entry"].get("money")
    if money is not None:
        amounts.append((money["currency"], minor_units(money["amount"])))
    for currency, minor in amounts:
        if abs(minor) > above.get(currency, 0):
            raise BreakError(
                f"{approver} proposed this, and {amount_text(minor, currency)} {currency} is above "
                "what one person decides: another one approves",
                proposer=approver,
            )


def seen_again(found: BreakState, seen: Mapping[str, Any], run: Mapping[str, Any]) -> Action | None:
    """
    What it means for a break that a run sees its difference.

    One that evidence or an entry closed, and that is there all the same, is open again. One
    that a person explained stays closed for as long as it is the difference that was explained.
    """
    same = all(found.seen[name] == seen[name] for name in ("state", "sub_state", "differences"))
    if found.status is not Status.CLOSED:
        return None if same else Action.CHANGED
    closed_by = found.closed_by or {}
    if closed_by.get("by") == "explanation" and same:
        return None
    if closed_by.get("by") == "entry" and int(run["size"]) <= int(closed_by["seq"]):
        # The run is pinned to a ledger that did not have the entry yet.
        return None
    return Action.REOPENED

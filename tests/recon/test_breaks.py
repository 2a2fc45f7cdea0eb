"""The life of a break, and who may end it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.errors import BreakError
from ledger.recon.breaks import Action, Event, Status, check_approver, fold

OPENED = (Action.OPENED, {"seen": {"differences": {"EUR": "-500"}}})
CHANGED = (Action.CHANGED, {"seen": {"differences": {"EUR": "-300"}}})


def proposed(amount: str, *, drafted: bool = True) -> tuple[Action, dict[str, Any]]:
    money = {"amount": amount, "currency": "EUR", "flow": "out"}
    return (Action.PROPOSED, {"entry": {"money": money}, "drafted": drafted})


def after(*happened: tuple[Action, dict[str, Any]]):
    at = datetime(2026, 3, 20, tzinfo=UTC)
    return fold(
        Event(ordinal=ordinal, at=at, actor="fin", action=action, document=document)
        for ordinal, (action, document) in enumerate(happened)
    )


def test_a_proposal_goes_by_what_was_seen():
    """A run that sees something else takes it back; what is approved is on its way."""
    back = after(OPENED, proposed("5.00"), CHANGED)
    assert (back.status, back.proposal, back.proposer) == (Status.OPEN, None, None)

    approved = after(OPENED, proposed("5.00"), (Action.APPROVED, {}), CHANGED)
    assert approved.status is Status.APPROVED
    assert approved.proposal is not None


def test_money_is_told_as_people_write_it():
    """With the currency and its own decimals: a yen has none."""
    seen = (Action.OPENED, {"seen": {"differences": {"JPY": "-1244"}}})
    with pytest.raises(BreakError, match=r" -1244 JPY is above"):
        check_approver(after(seen, proposed("0.01")), "fin", {"EUR": 1_000})
    with pytest.raises(BreakError, match=r" 10\.01 EUR is above"):
        check_approver(after(OPENED, proposed("10.01")), "fin", {"EUR": 1_000})


@pytest.mark.parametrize(
    ("first", "proposal"),
    [
        (OPENED, proposed("10.01")),
        (OPENED, proposed("-10.01")),
        (OPENED, proposed("5.00", drafted=False)),
        ((Action.OPENED, {"seen": {"differences": {}}}), proposed("5.00")),
        ((Action.OPENED, {"seen": {"differences": {"EUR": "1001"}}}), proposed("5.00")),
        ((Action.OPENED, {"seen": {"differences": {"USD": "1"}}}), proposed("5.00")),
    ],
)
def test_another_person_approves_what_is_large_or_in_ones_own_words(first, proposal):
    found = after(first, proposal)
    with pytest.raises(BreakError, match="another one approves"):
        check_approver(found, "fin", {"EUR": 1_000})

    check_approver(found, "ben", {"EUR": 1_000})
    check_approver(after(OPENED, proposed("10.00")), "fin", {"EUR": 1_000})

"""Which entry would close a break, and what an entry makes the ledger say."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from ledger.effect import Rules, build_effect
from ledger.entry import Entry
from ledger.errors import BreakError
from ledger.recon.forward import draft_entry
from ledger.recon.ledger_side import fold_entries
from ledger.recon.sharing import Shared

NO_READER: Any = None
"""What these drafts need is in the break itself."""
UNITS = Rules(units={"PTS": 0, "XYZ": 4})


def side(side: str, number: int, minor: int, currency: str = "EUR") -> dict[str, Any]:
    return {
        "side": side,
        "key": f"{side}:{number}",
        "minor": str(minor),
        "currency": currency,
        "provider": "stripe",
        "account": "stripe-eur",
        "ids": ["re_1"],
        "kind": "refund",
        "day": date(2026, 3, 4).isoformat(),
    }


def seen(state: str, *items: dict[str, Any]) -> dict[str, Any]:
    differences: dict[str, int] = {}
    for item in items:
        sign = -1 if item["side"] == "ledger" else 1
        before = differences.get(item["currency"], 0)
        differences[item["currency"]] = before + sign * int(item["minor"])
    return {
        "leg": "ledger_to_statement",
        "state": state,
        "sub_state": None,
        "items": list(items),
        "differences": {name: str(minor) for name, minor in differences.items()},
    }


def test_of_equal_movements_the_one_too_many_is_taken_back():
    told = [side("ledger", 1, -6_000), side("ledger", 2, -6_000)]
    draft = draft_entry(
        seen("duplicate", *told, side("provider", 3, -6_000)), NO_READER, "l", UNITS
    )

    assert (draft["type"], draft["corrects"]) == ("correction.duplicate", "2")
    assert draft["money"] == {"amount": "-60.00", "currency": "EUR", "flow": "out"}


@pytest.mark.parametrize(
    ("state", "amounts", "found"),
    [
        ("amount_mismatch", (-6_000, -4_000), -9_000),
        ("duplicate", (-6_000, -4_000), -6_000),
        ("duplicate", (-6_000, -6_000, -6_000), -6_000),
    ],
)
def test_movements_that_say_different_things_have_no_draft(state, amounts, found):
    told = [side("ledger", at, minor) for at, minor in enumerate(amounts)]
    with pytest.raises(BreakError, match="does not tell which entry"):
        draft_entry(seen(state, *told, side("provider", 9, found)), NO_READER, "l", UNITS)


@pytest.mark.parametrize(("currency", "amount"), [("PTS", "5"), ("XYZ", "0.0005"), ("EUR", "0.05")])
def test_a_draft_is_in_the_decimals_of_its_unit(currency, amount):
    told, found = side("ledger", 1, 100, currency), side("provider", 2, 105, currency)
    draft = draft_entry(seen("amount_mismatch", told, found), NO_READER, "l", UNITS)

    assert draft["money"]["amount"] == amount


def entry(number: int, **words: Any) -> Entry:
    words = {"key": f"k{number}", "occurred_at": "2026-03-02T09:15:00Z"} | words
    return Entry(
        effect=build_effect(words, rules=UNITS, now=datetime(2026, 4, 1, tzinfo=UTC)),
        id=f"01890a5d-ac96-774b-bcce-b30209{number:06}",
        ledger="l",
        poster="p",
        prev=b"",
        recorded_at="2026-04-01T00:00:00.000000Z",
        seq=number,
        encoded=b"",
        hash=b"",
    )


def test_an_adjustment_in_another_currency_counts_by_what_it_applies():
    money = {"amount": "100.00", "currency": "EUR", "flow": "in"}
    paid = entry(0, kind="effect", type="card.capture", money=money)
    changed = entry(
        1,
        kind="adjustment",
        type="correction.amount",
        reason="recon.difference",
        corrects=paid.id,
        money={"amount": "-11.00", "currency": "USD", "flow": "in", "applied": "-10.00"},
    )
    [item] = fold_entries([paid, changed], {"stripe": "UTC"}, "UTC", "l", Shared()).items

    assert (item.amount, item.currency) == (9_000, "EUR")

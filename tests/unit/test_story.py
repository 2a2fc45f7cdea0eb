"""Laws of the story: lineage by hashed words, positions that add up, claims that are honest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from ledger.effect import Rules, build_effect
from ledger.entry import Admitted, Entry, Head, chain
from ledger.errors import ChainBreakError
from ledger.lifecycle import Position
from ledger.views.story import build_story

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Book:
    """Entries of one ledger, named by number."""

    def __init__(self) -> None:
        self.head = Head.genesis(ledger="shop", origin="ledger.example/shop")
        self.entries: list[Entry] = []

    def add(self, kind: str = "effect", amount: str | None = None, **members: Any) -> Entry:
        document = {
            "kind": kind,
            "type": members.pop("type", f"card.{kind}"),
            "key": f"k{self.head.size}",
            "occurred_at": "2026-03-01T00:00:00Z",
        }
        if amount is not None:
            flow = members.pop("flow", "out" if kind == "refund" else "in")
            document["money"] = {"amount": amount, "currency": "EUR", "flow": flow}
        if kind != "effect":
            document["reason"] = "customer.request"
        effect = build_effect(document | members, rules=Rules(), now=NOW)
        entry_id = f"019a0000-0000-7000-8000-{self.head.size:012}"
        [entry], self.head = chain(
            self.head,
            [Admitted(effect=effect, id=entry_id, poster="checkout")],
            recorded_at="2026-03-02T09:00:00.000000Z",
        )
        self.entries.append(entry)
        return entry


@pytest.fixture
def book() -> Book:
    return Book()


def position(entry: Entry, original: int, **moved: int) -> dict[str, Position]:
    members = {"adjusted": 0, "refunded": 0, "held": 0, "excess": 0} | moved
    return {entry.id: Position(entry=entry.id, currency="EUR", original=original, **members)}


def tell(book: Book, positions: dict[str, Position] | None = None, now: datetime = NOW):
    original, *corrections = book.entries
    story = build_story(original, corrections, positions or {}, now)
    # As it is sent: what JSON cannot say is found here.
    return orjson.loads(orjson.dumps(story.to_document()))


def test_a_story_begins_with_its_world(book):
    book.add(amount="10.00")

    assert next(iter(tell(book).items())) == ("world", "RML3")


def test_an_effect_that_nobody_corrected_is_all_there(book):
    book.add(amount="10.00")

    assert tell(book)["position"] == {
        "currency": "EUR",
        "flow": "in",
        "original": "10.00",
        "adjusted": "0.00",
        "amount": "10.00",
        "refunded": "0.00",
        "held": "0.00",
        "remaining": "10.00",
        "excess": "0.00",
    }


def test_the_stored_position_is_shown_and_adds_up(book):
    """amount - refunded - held = remaining - excess, in words of the currency."""
    effect = book.add(amount="10.00")
    book.add("refund", "4.00", corrects=effect.id)
    stored = position(effect, 1000, adjusted=-100, refunded=400, held=50)

    shown = tell(book, stored)["position"]

    assert (shown["amount"], shown["remaining"], shown["excess"]) == ("9.00", "4.50", "0.00")


def test_what_facts_took_beyond_is_excess_and_nothing_remains(book):
    effect = book.add(amount="10.00")

    document = tell(book, position(effect, 1000, refunded=1200, excess=200))

    assert document["position"]["remaining"] == "0.00"
    assert document["position"]["excess"] == "2.00"
    acts = [each["act"] for each in document["rollback"]["can"]]
    assert "refund" not in acts
    residue = {each["code"]: each["amount"] for each in document["rollback"]["cannot"]}
    assert residue["excess"] == {"amount": "2.00", "currency": "EUR"}


def test_corrections_stand_right_under_what_they_correct(book):
    """Also where they name it by its key, and whoever came first."""
    effect = book.add(amount="10.00")
    first = book.add("refund", "4.00", corrects=effect.id)
    second = book.add("refund", "3.00", corrects_key=effect.effect.key)
    failed = book.add("adjustment", "-4.00", corrects=first.id, flow="out", type="refund.failed")
    undone = book.add("adjustment", "1.00", corrects_key=failed.effect.key, flow="out")

    lineage = [(each["id"], each["corrects"], each["depth"]) for each in tell(book)["corrections"]]

    assert lineage == [
        (first.id, effect.id, 1),
        (failed.id, first.id, 2),
        (undone.id, failed.id, 3),
        (second.id, effect.id, 1),
    ]


def test_a_correction_shows_what_it_comes_to_now(book):
    effect = book.add(amount="10.00")
    refund = book.add("refund", "4.00", corrects=effect.id)
    book.add("adjustment", "-4.00", corrects=refund.id, flow="out", type="refund.failed")

    corrections = tell(book, position(refund, 400, adjusted=-400))["corrections"]

    assert [each["amount_now"] for each in corrections] == ["0.00", "-4.00"]


def test_explanations_of_anything_are_told_apart(book):
    effect = book.add(amount="10.00")
    refund = book.add("refund", "4.00", corrects=effect.id)
    why = book.add("explanation", corrects=refund.id, audience="auditor")
    more = book.add("explanation", corrects=why.id)

    document = tell(book)

    assert [(each["id"], each["corrects"]) for each in document["explanations"]] == [
        (why.id, refund.id),
        (more.id, why.id),
    ]
    assert [each["id"] for each in document["corrections"]] == [refund.id]


def test_a_chain_of_any_length_is_told(book):
    """Neither recursion nor nested JSON ends it."""
    above = book.add(amount="10.00")
    for _ in range(1_500):
        above = book.add("adjustment", "0.01", corrects=above.id)

    corrections = tell(book)["corrections"]

    assert (len(corrections), corrections[-1]["depth"]) == (1_500, 1_500)


def test_an_entry_that_corrects_something_else_is_no_part_of_it(book):
    """The index beside the bytes can be edited; the bytes decide."""
    book.add(amount="10.00")
    book.add(amount="20.00")

    with pytest.raises(ChainBreakError, match="entry 1"):
        tell(book)


def test_an_effect_without_money_is_as_recorded_until_it_is_amended(book):
    letter = book.add(type="email.sent")
    assert tell(book)["standing"] == {"state": "as-recorded", "amendments": 0, "latest": None}

    book.add("adjustment", corrects=letter.id, type="email.recalled")
    document = tell(book)

    assert document["position"] is None
    assert document["standing"]["state"] == "amended"
    assert document["standing"]["latest"]["type"] == "email.recalled"
    assert "received" in [each["code"] for each in document["rollback"]["cannot"]]


# ---- The rollback claim ---------------------------------------------------------------


def test_a_claim_says_what_until_when_and_by_whom(book):
    book.add(amount="10.00", reversible_until="2026-03-02T12:00:01Z", handoff={"point": "settled"})

    claim = tell(book)["rollback"]

    assert (claim["open"], claim["as_of"]) == (True, "2026-03-02T12:00:00.000000Z")
    [refund, adjustment, explanation] = claim["can"]
    assert refund["act"] == "refund"
    assert refund["scope"] == "refunds:write"
    assert refund["up_to"] == {"amount": "10.00", "currency": "EUR"}
    assert refund["until"] == adjustment["until"] == "2026-03-02T12:00:01.000000Z"
    assert (adjustment["scope"], explanation["scope"]) == (
        "adjustments:write",
        "explanations:write",
    )
    assert explanation["until"] is None
    assert "settled" in claim["cannot"][0]["says"]


def test_past_its_deadline_an_effect_can_only_be_explained(book):
    """At the deadline itself the time is over."""
    book.add(amount="10.00", reversible_until="2026-03-02T12:00:00Z")

    claim = tell(book)["rollback"]

    assert claim["open"] is False
    assert [each["act"] for each in claim["can"]] == ["explanation"]
    assert [each["code"] for each in claim["cannot"]] == ["history", "deadline-passed"]


def test_money_that_is_gone_or_promised_cannot_be_given_back_twice(book):
    effect = book.add(amount="10.00")

    claim = tell(book, position(effect, 1000, refunded=400, held=600))["rollback"]

    assert [each["act"] for each in claim["can"]] == ["adjustment", "explanation"]
    amounts = {each["code"]: each["amount"] for each in claim["cannot"]}
    assert amounts["refunded"]["amount"] == "4.00"
    assert amounts["held"]["amount"] == "6.00"


def test_a_correction_of_something_elsewhere_is_flagged(book):
    """No position: what it corrects is not here."""
    book.add(
        "refund",
        "4.00",
        corrects_external={"system": "old", "ref": "1"},
        observed=True,
        evidence=[{"system": "psp", "rel": "transaction", "ref": "re_1"}],
    )

    document = tell(book)

    assert (document["unlinked"], document["position"]) == (True, None)
    assert [each["code"] for each in document["rollback"]["cannot"]] == ["history", "unlinked"]


def test_history_itself_can_never_be_taken_away(book):
    book.add(type="email.sent")

    assert tell(book)["rollback"]["cannot"][0]["code"] == "history"

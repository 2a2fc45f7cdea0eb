"""What statements say of intents of unknown outcome: it happened, it did not, or too little."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from ledger.dialog.intents import IntentLine
from ledger.dialog.promise import parse_step
from ledger.intent import Outcome, State, Step
from ledger.recon.coverage import Span, build_coverage
from ledger.recon.matching import Item, Rules, Side, key_of, match
from ledger.recon.statement import LineKind
from ledger.recon.states import Scope
from ledger.recon.unknowns import Conclusion, CoveringFile, conclude, reasons_of

NOW = datetime(2026, 3, 31, 9, tzinfo=UTC)
PROMISED = datetime(2026, 3, 2, 10, tzinfo=UTC)
MARCH = date(2026, 3, 1), date(2026, 3, 31)
FILE = CoveringFile(
    source="psp",
    provider="psp",
    import_id="i-1",
    sha256="ab" * 32,
    currency="EUR",
    first=MARCH[0],
    last=MARCH[1],
)


def an_intent(at: int = 1, amount: str = "19.99", **said: Any) -> IntentLine:
    content = {
        "kind": "effect",
        "type": "card.capture",
        "business_key": f"capture/order-{at}",
        "money": {"amount": amount, "currency": "EUR", "flow": "in"},
    }
    return IntentLine(
        id=f"01890a5d-ac96-774b-bcce-b302099a805{at}",
        key=f"key-{at}",
        state=State.UNKNOWN,
        outcome=None,
        content=content | said,
        promised_by="till",
        promised_at=PROMISED,
        answer_by=datetime(2026, 3, 2, 10, 5, tzinfo=UTC),
        now=NOW,
    )


def a_line(at: int = 1, ref: str | None = "order-1", minor: int = 1999, **more: Any) -> Item:
    members = {
        "side": Side.PROVIDER,
        "account": "psp",
        "provider": "psp",
        "kind": LineKind.PAYMENT,
        "amount": minor,
        "currency": "EUR",
        "day": date(2026, 3, 3),
        "ids": (f"ch_{at}",),
        "merchant_ref": ref,
    }
    said = members | more
    return Item(**{"key": key_of(said["side"], f"line-{at}"), **said})


def an_entry(ref: str, minor: int = 1999, **more: Any) -> Item:
    return a_line(9, ref, minor, side=Side.LEDGER, account="shop", **{"ids": (), **more})


def said_of(
    intents: list[IntentLine],
    lines: list[Item],
    told: list[Item] | None = None,
    *,
    today: date = MARCH[1],
    covered: tuple[date, date] = MARCH,
    files: int = 1,
    providers: tuple[str, ...] = ("psp",),
    **more: Any,
) -> list[Conclusion]:
    scope = Scope(
        today=today,
        period_from=MARCH[0],
        period_to=MARCH[1],
        coverage=build_coverage(
            [Span(source="psp", currency="EUR", first=covered[0], last=covered[1])]
        ),
        providers={each: (each,) for each in providers},
        **more,
    )
    found = conclude(
        intents,
        lines,
        match([*(told or []), *lines], Rules()),
        Rules(),
        scope,
        zones={"psp": "Europe/Berlin"},
        files=[FILE] * files,
        now=NOW,
    )
    for each in found:
        # Whatever is concluded is evidence that ends an unknown outcome.
        if each.evidence:
            parse_step(Step.EVIDENCE, each.document["conclusion"])
    return found


@pytest.mark.parametrize("ref", ["order-1", "capture/order-1", "KEY-1", an_intent().id])
def test_a_line_with_its_reference_and_amount_says_that_it_happened(ref):
    [found] = said_of([an_intent()], [a_line(ref=ref), a_line(2, "order-2")])

    assert found.document["conclusion"] == {
        "outcome": "executed",
        "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_1"}],
        "occurred_at": "2026-03-03T12:00:00.000000Z",
    }
    assert found.document["lines"] == ["provider:line-1"]


def test_complete_files_without_it_say_that_it_did_not_happen():
    """Lines of its amount there may be: of other intents, and of what the ledger tells."""
    other = replace(an_intent(2), state=State.EXECUTING)
    lines = [a_line(2, "order-2"), a_line(3, "order-3"), a_line(4, "order-4", 500)]

    [found] = said_of([an_intent(), other], lines, [an_entry("order-3")])

    assert found.document["conclusion"] == {
        "outcome": "not_executed",
        "evidence": [
            {"system": "psp", "rel": "result", "ref": "recon/import/i-1", "digest": "ab" * 32}
        ],
    }


DOUBTS = {
    "another amount": ([an_intent()], [a_line(minor=1998)], {}),
    "2 lines": ([an_intent()], [a_line(), a_line(2)], {}),
    "any of 2 open intents": (
        [an_intent(), an_intent(2, business_key="capture/order-1")],
        [a_line()],
        {},
    ),
    "its amount and no reference": ([an_intent()], [a_line(ref=None)], {}),
    "its amount and the reference pi_99, which is no intent's": (
        [an_intent()],
        [a_line(ref="pi_99")],
        {},
    ),
    "its amount and the reference pi_98": (
        [an_intent()],
        [a_line(ref="pi_98", kind=LineKind.OTHER)],
        {},
    ),
    "its reference and amount, and is of another kind": (
        [an_intent()],
        [a_line(kind=LineKind.OTHER)],
        {},
    ),
    "its reference and another amount": ([an_intent()], [a_line(currency="USD")], {}),
    "its amount as the customer saw it": (
        [an_intent()],
        [a_line(1, "pi_97", 2300, currency="USD", customer_currency="EUR", customer_amount=1999)],
        {},
    ),
    # One entry, and two lines that may be it: one of them is nobody's.
    "its amount and the reference twice": (
        [an_intent()],
        [a_line(1, "twice"), a_line(2, "twice")],
        {"told": [an_entry("twice")]},
    ),
    "leaves out source adyen": (
        [an_intent(labels={"provider": "psp"})],
        [],
        {"left_out": ("adyen",)},
    ),
    "leaves out source bank": ([an_intent()], [], {"left_out": ("bank",)}),
    "no label `provider`: it may be any of adyen, psp": (
        [an_intent()],
        [],
        {"providers": ("adyen", "psp")},
    ),
    "no complete file of bank covers": ([an_intent()], [], {"banks": ("bank",)}),
    "already, by another entry": (
        [an_intent()],
        [a_line()],
        {"told": [a_line(side=Side.LEDGER, key="ledger:entry", account="shop")]},
    ),
    "expected until": ([an_intent()], [], {"today": date(2026, 3, 5)}),
    "no complete file of psp covers 2026-03-02": (
        [an_intent()],
        [],
        {"covered": (date(2026, 3, 3), MARCH[1])},
    ),
    "no complete file of psp covers 2026-03-05": (
        [an_intent()],
        [],
        {"covered": (MARCH[0], date(2026, 3, 4))},
    ),
    "more than can be cited": ([an_intent()], [], {"files": 16}),
    "no source tells of its provider": ([an_intent(labels={"provider": "other"})], [], {}),
    "moves no money": ([an_intent(money=None)], [a_line()], {}),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_in_doubt_nothing_is_concluded(doubt):
    """Neither that it happened nor that it did not: a person asks."""
    intents, lines, more = DOUBTS[doubt]

    found = said_of(intents, lines, **more)

    for each in found:
        assert (each.outcome, each.document["conclusion"]) == (None, None)
        assert doubt in each.reason


@pytest.mark.parametrize("labels", [{}, {"provider": "psp"}])
def test_a_line_of_a_better_name_and_another_amount_hides_none_of_its_own(labels):
    told, mine = a_line(7, "basket-9", 500), a_line(1, "order/1")
    asked = an_intent(subject="order/1", business_key="capture/basket-9", labels=labels)

    [found] = said_of([asked], [told, mine], [an_entry("basket-9", 500)])

    assert (found.outcome, found.document["lines"]) == (Outcome.EXECUTED, ["provider:line-1"])


def test_whoever_names_the_provider_needs_no_files_of_another():
    [found] = said_of(
        [an_intent(labels={"provider": "psp"})],
        [a_line(ref="pi_99", provider="adyen")],
        providers=("adyen", "psp"),
        banks=("bank",),
    )

    assert found.outcome is Outcome.NOT_EXECUTED


def test_a_refund_is_not_told_by_the_payment_of_its_order():
    back = {
        "kind": "refund",
        "money": {"amount": "19.99", "currency": "EUR", "flow": "out"},
    }
    [found] = said_of([an_intent(**back)], [a_line(), a_line(2, minor=-1999, kind=LineKind.REFUND)])

    assert found.document["lines"] == ["provider:line-2"]


def test_an_intent_that_somebody_is_at_claims_its_line_and_is_not_concluded():
    """Two of one order: which of them the line is, nothing says."""
    busy = replace(an_intent(2, business_key="capture/order-1"), state=State.EXECUTING)

    [found] = said_of([busy, an_intent()], [a_line()])

    assert found.outcome is None


@pytest.mark.parametrize(("now", "told"), [(NOW, 1), (PROMISED, 0)])
def test_what_happened_and_was_not_handed_off_in_time_is_told_with_its_line(now, told):
    """Without evidence, which it has; and its line is not drafted as an entry beside it."""
    happened = replace(an_intent(), state=State.EXECUTING, outcome="executed", now=now)

    found = [each.document for each in said_of([happened], [a_line()])]

    assert [(each["conclusion"], each["lines"]) for each in found] == [
        ({"outcome": "executed"}, ["provider:line-1"])
    ] * told


def test_it_is_known_by_the_most_exact_name_it_has():
    """Its key before its business key, and that before the subject that it shares."""
    intents = [an_intent(at, subject="order/9", business_key=f"part/{at}") for at in (1, 2)]

    found = said_of(intents, [a_line(1, "9"), a_line(2, "2"), a_line(3, "key-1")])

    assert [each.document["lines"] for each in found] == [["provider:line-3"], ["provider:line-2"]]


def test_it_did_not_occur_before_it_was_promised_nor_later_than_now():
    early = a_line(day=PROMISED.date().replace(day=1))
    late = replace(an_intent(), promised_at=NOW, answer_by=NOW)

    [first] = said_of([an_intent()], [early])
    [last] = said_of([late], [a_line(day=NOW.date())])

    assert first.occurred_at == "2026-03-02T10:00:00.000000Z"
    assert last.occurred_at == "2026-03-31T09:00:00.000000Z"


def test_the_statement_says_what_unknown_outcomes_leave_untold():
    found = said_of([an_intent(), an_intent(2), an_intent(3)], [a_line()])

    assert reasons_of(found) == [
        "1 effects happened and are not history: conclude their intents",
        "the outcome of 2 more intents is unknown",
    ]
    assert reasons_of([]) == []

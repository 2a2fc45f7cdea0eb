"""
A month of one shop, with breaks planted in it: items of all sides, and where each must stand.

Every state and sub-state is planted in turn; everything else matches in one of the ways in
which real lines match.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

from ledger.recon.coverage import Span, build_coverage
from ledger.recon.matching import Item, Rules, Side, Tolerance, key_of
from ledger.recon.matching.rules import business_days_after
from ledger.recon.statement import LineKind
from ledger.recon.states import Scope

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)
TODAY = date(2026, 4, 20)
COVERED_UNTIL = date(2026, 4, 15)

RULES = Rules(
    tolerances=(
        Tolerance(
            kind=LineKind.PAYMENT, currency="EUR", cap_minor=2, becomes="rounding", automatic=True
        ),
    ),
    fee_caps={"EUR": 50_000},
)


@dataclass
class Month:
    """Items, and (state, sub-state) by the key of each item that does not simply match."""

    items: list[Item] = field(default_factory=list)
    expected: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    restated: set[str] = field(default_factory=set)
    numbers: int = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def add(self, side: Side, kind: LineKind, amount: int, day: date, **members) -> Item:
        at = self.number()
        account = {"ledger": "shop", "provider": "stripe-main", "bank": "bank-main"}[side.value]
        provider = members.pop("provider", "bank" if side is Side.BANK else "stripe")
        item = Item(
            side=side,
            key=key_of(side, f"{side.value[0]}{at:07}"),
            account=account,
            provider=provider,
            kind=kind,
            amount=amount,
            currency=members.pop("currency", "EUR"),
            day=day,
            **members,
        )
        self.items.append(item)
        return item

    def told(self, kind: LineKind, amount: int, day: date, **members) -> Item:
        return self.add(Side.LEDGER, kind, amount, day, **members)

    def line(self, kind: LineKind, amount: int, day: date, **members) -> Item:
        return self.add(Side.PROVIDER, kind, amount, day, **members)

    def stands(self, state: str, sub_state: str | None, *items: Item) -> None:
        for item in items:
            self.expected[item.key] = (state, sub_state)

    def scope(self, today: date = TODAY) -> Scope:
        spans = [
            Span(source=source, currency=currency, first=FIRST, last=COVERED_UNTIL)
            for source in ("stripe-main", "bank-main")
            for currency in ("EUR", "USD")
        ]
        return Scope(
            today=today,
            period_from=FIRST,
            period_to=LAST,
            coverage=build_coverage(spans),
            providers={"stripe": ("stripe-main",)},
            banks=("bank-main",),
            restated=frozenset(self.restated),
        )


def plant(pairs: int, breaks: int, seed: int = 1) -> Month:
    """A month of `pairs` matched movements, and `breaks` that are not, in every way in turn."""
    chance = random.Random(seed)
    month = Month()
    for _ in range(pairs):
        chance.choices(MATCHING, weights=WEIGHTS)[0](month, chance)
    ways = list(BREAKING)
    for at in range(breaks):
        ways[at % len(ways)](month, chance)
    _add_payouts(month, chance)
    chance.shuffle(month.items)
    return month


def _day(chance: random.Random, until: int = 20) -> date:
    return FIRST + timedelta(days=chance.randrange(until))


def _amount(chance: random.Random) -> int:
    return chance.randrange(500, 30_000)


def _paid(month: Month, chance: random.Random, kind=LineKind.PAYMENT, sign=1, **ledger) -> None:
    at, day, amount = month.number(), _day(chance), sign * _amount(chance)
    ids = (f"id_{at}",)
    month.told(kind, amount, day, ids=ids, poster="checkout", **ledger)
    late = timedelta(days=chance.randrange(3))
    fee = 25 if kind is LineKind.PAYMENT else 0
    month.line(kind, amount, day + late, ids=ids, fee=fee)


def by_id(month: Month, chance: random.Random) -> None:
    _paid(month, chance)


def refund_by_id(month: Month, chance: random.Random) -> None:
    _paid(month, chance, LineKind.REFUND, -1)


def by_reference(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    month.told(LineKind.PAYMENT, amount, day, merchant_ref=f"ORD-{at}")
    month.line(LineKind.PAYMENT, amount, day, merchant_ref=f"ord-{at} ", ids=(f"id_{at}",))


def by_original(month: Month, chance: random.Random) -> None:
    """Two equal refunds of one payment on one day: two on both sides, and they stay two."""
    at, day = month.number(), _day(chance)
    for _ in range(2):
        month.told(LineKind.REFUND, -700, day, original_id=f"ch_{at}")
        month.line(
            LineKind.REFUND, -700, day, original_id=f"ch_{at}", ids=(f"re_{month.number()}",)
        )


def split_by_id(month: Month, chance: random.Random) -> None:
    at, day = month.number(), _day(chance)
    month.told(LineKind.PAYMENT, 1_000, day, ids=(f"id_{at}",))
    month.line(LineKind.PAYMENT, 400, day, ids=(f"id_{at}",))
    month.line(LineKind.PAYMENT, 600, day, ids=(f"id_{at}",))


def partly_captured(month: Month, chance: random.Random) -> None:
    at, day = month.number(), _day(chance)
    month.told(LineKind.PAYMENT, 6_000, day, ids=(f"ch_{at}",))
    month.line(LineKind.PAYMENT, 10_000, day, ids=(f"ch_{at}",))
    month.line(LineKind.PARTIAL_CAPTURE_REVERSAL, -4_000, day, original_id=f"ch_{at}")


def chargeback_and_reversal(month: Month, chance: random.Random) -> None:
    at, day = month.number(), _day(chance)
    month.line(LineKind.CHARGEBACK, -900, day, ids=(f"du_{at}",), fee=1_500)
    month.line(LineKind.CHARGEBACK_REVERSED, 900, day + timedelta(days=9), ids=(f"du_{at}",))


def failed_at_once(month: Month, chance: random.Random) -> None:
    at, day = month.number(), _day(chance)
    month.line(LineKind.REFUND, -900, day, ids=(f"re_{at}",))
    month.line(LineKind.REFUND_FAILED, 900, day + timedelta(days=6), ids=(f"re_{at}",))


MATCHING: list[Callable[[Month, random.Random], None]] = [
    by_id,
    refund_by_id,
    by_reference,
    by_original,
    split_by_id,
    partly_captured,
    chargeback_and_reversal,
    failed_at_once,
]
WEIGHTS = [60, 15, 15, 3, 2, 2, 1, 2]


# ---- Breaks, one function for each state and sub-state ---------------------------------------


def other_amount(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount, day, ids=(f"id_{at}",))
    line = month.line(LineKind.PAYMENT, amount - 100, day, ids=(f"id_{at}",))
    month.stands("amount_mismatch", None, mine, line)


def other_amount_by_reference(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount, day, merchant_ref=f"ORD-{at}")
    line = month.line(LineKind.PAYMENT, amount + 77, day, merchant_ref=f"ORD-{at}")
    month.stands("amount_mismatch", None, mine, line)


def other_currency(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount, day, ids=(f"id_{at}",))
    line = month.line(LineKind.PAYMENT, amount, day, ids=(f"id_{at}",), currency="USD")
    month.stands("amount_mismatch", "currency", mine, line)


def converted(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount, day, ids=(f"id_{at}",))
    line = month.line(
        LineKind.PAYMENT,
        amount * 11 // 10,
        day,
        ids=(f"id_{at}",),
        currency="USD",
        customer_amount=amount,
        customer_currency="EUR",
    )
    month.stands("matched", "fx", mine, line)


def rounded(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount, day, ids=(f"id_{at}",))
    line = month.line(LineKind.PAYMENT, amount + 1, day, ids=(f"id_{at}",))
    month.stands("matched", "rounding", mine, line)


def net_of_fee(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount - 205, day, ids=(f"id_{at}",))
    line = month.line(LineKind.PAYMENT, amount, day, ids=(f"id_{at}",), fee=205)
    month.stands("fee", None, mine, line)


def charge(month: Month, chance: random.Random) -> None:
    month.stands("fee", None, month.line(LineKind.FEE, -1_200, _day(chance)))


def charge_too_high(month: Month, chance: random.Random) -> None:
    month.stands("amount_mismatch", None, month.line(LineKind.FEE, -99_000, _day(chance)))


def ambiguous(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount, day, merchant_ref=f"ORD-{at}")
    lines = [month.line(LineKind.PAYMENT, amount, day, merchant_ref=f"ORD-{at}") for _ in range(2)]
    month.stands("amount_mismatch", "ambiguous", mine, *lines)


def never_at_provider(month: Month, chance: random.Random) -> None:
    at = month.number()
    mine = month.told(LineKind.REFUND, -_amount(chance), _day(chance), ids=(f"re_{at}",))
    month.stands("missing_at_provider", None, mine)


def never_in_ledger(month: Month, chance: random.Random) -> None:
    at = month.number()
    line = month.line(LineKind.REFUND, -_amount(chance), _day(chance), ids=(f"re_{at}",))
    month.stands("missing_in_ledger", None, line)


def restated(month: Month, chance: random.Random) -> None:
    never_in_ledger(month, chance)
    key = month.items[-1].key
    month.restated.add(key)
    month.expected[key] = ("missing_in_ledger", "restated")


def charged_back(month: Month, chance: random.Random) -> None:
    at = month.number()
    line = month.line(LineKind.CHARGEBACK, -_amount(chance), _day(chance), ids=(f"du_{at}",))
    month.stands("missing_in_ledger", "chargeback", line)


def refund_that_failed(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    month.told(LineKind.REFUND, -amount, day, ids=(f"re_{at}",), original_id=f"ch_{at}")
    month.line(LineKind.REFUND, -amount, day, ids=(f"re_{at}",), original_id=f"ch_{at}")
    failed = month.line(
        LineKind.REFUND_FAILED,
        amount,
        day + timedelta(days=6),
        ids=(f"re_{at}",),
        original_id=f"ch_{at}",
    )
    month.stands("missing_in_ledger", "reversed_at_provider", failed)


def unknown(month: Month, chance: random.Random) -> None:
    line = month.line(LineKind.OTHER, _amount(chance), _day(chance))
    month.stands("missing_in_ledger", "unknown_kind", line)


def lone_conversion(month: Month, chance: random.Random) -> None:
    line = month.line(
        LineKind.CONVERSION, _amount(chance), _day(chance), ids=(f"cv_{month.number()}",)
    )
    month.stands("missing_in_ledger", "fx", line)


def reserve(month: Month, chance: random.Random) -> None:
    line = month.line(
        LineKind.RESERVE, -_amount(chance), _day(chance), ids=(f"rs_{month.number()}",)
    )
    month.stands("timing_difference", "reserve", line)


def told_twice(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = [month.told(LineKind.REFUND, -amount, day, ids=(f"re_{at}",)) for _ in range(2)]
    line = month.line(LineKind.REFUND, -amount, day, ids=(f"re_{at}",))
    month.stands("duplicate", None, *mine, line)


def shown_twice(month: Month, chance: random.Random) -> None:
    at, day, amount = month.number(), _day(chance), _amount(chance)
    mine = month.told(LineKind.REFUND, -amount, day, ids=(f"re_{at}",))
    lines = [month.line(LineKind.REFUND, -amount, day, ids=(f"re_{at}",)) for _ in range(2)]
    month.stands("duplicate", None, mine, *lines)


def refunded_twice(month: Month, chance: random.Random) -> None:
    """The same payment and amount twice in the ledger, once at the provider, under other ids."""
    at, day, amount = month.number(), _day(chance), _amount(chance)
    common = {"original_id": f"ch_{at}"}
    month.told(LineKind.REFUND, -amount, day, ids=(f"re_{at}",), **common)
    second = month.told(LineKind.REFUND, -amount, day, ids=(f"re_{at}x",), **common)
    month.line(LineKind.REFUND, -amount, day, ids=(f"re_{at}",), **common)
    month.stands("duplicate", None, second)


def across_the_cut_off(month: Month, chance: random.Random) -> None:
    at, amount = month.number(), _amount(chance)
    mine = month.told(LineKind.PAYMENT, amount, LAST, ids=(f"id_{at}",))
    line = month.line(LineKind.PAYMENT, amount, LAST + timedelta(days=1), ids=(f"id_{at}",))
    month.stands("timing_difference", None, mine, line)


def still_in_time(month: Month, chance: random.Random) -> None:
    at = month.number()
    day = TODAY - timedelta(days=1)
    mine = month.told(LineKind.PAYMENT, _amount(chance), day, ids=(f"id_{at}",))
    month.stands("timing_difference", None, mine)


def not_covered(month: Month, chance: random.Random) -> None:
    at, day = month.number(), COVERED_UNTIL - timedelta(days=1)
    assert business_days_after(day, 3) < TODAY
    mine = month.told(LineKind.REFUND, -_amount(chance), day, ids=(f"re_{at}",))
    month.stands("not_yet_covered", None, mine)


BREAKING: tuple[Callable[[Month, random.Random], None], ...] = (
    other_amount,
    other_amount_by_reference,
    other_currency,
    converted,
    rounded,
    net_of_fee,
    charge,
    charge_too_high,
    ambiguous,
    never_at_provider,
    never_in_ledger,
    restated,
    charged_back,
    refund_that_failed,
    unknown,
    lone_conversion,
    reserve,
    told_twice,
    shown_twice,
    refunded_twice,
    across_the_cut_off,
    still_in_time,
    not_covered,
)


def _add_payouts(month: Month, chance: random.Random) -> None:
    """Payouts that arrive, one that does not, one whose lines are another sum, rent."""

    def paid_out(amount: int, day: date) -> tuple[Item, str]:
        ref = f"po_{month.number()}"
        return month.line(LineKind.PAYOUT, -amount, day, ids=(ref,)), ref

    def arrived(amount: int, day: date, text: str | None) -> Item:
        return month.add(Side.BANK, LineKind.MOVEMENT, amount, day, text=text)

    for week in range(3):
        day = FIRST + timedelta(days=7 * week)
        amount = _amount(chance)
        _, ref = paid_out(amount, day)
        arrived(amount, day + timedelta(days=2), f"STRIPE PAYOUT {ref.upper()}")
    lost, _ = paid_out(1_234_567, FIRST)
    month.expected[f"provider:payout-{lost.id}"] = ("missing_at_provider", None)
    short, ref = paid_out(5_000, FIRST)
    line = arrived(5_000, FIRST + timedelta(days=1), f"STRIPE {ref}")
    batch = month.told(LineKind.PAYMENT, 4_000, FIRST, ids=(f"{ref}_1",))
    month.line(LineKind.PAYMENT, 4_000, batch.day, ids=(f"{ref}_1",), batch_ref=ref)
    month.expected[f"provider:payout-{short.id}"] = ("amount_mismatch", "batch_incomplete")
    month.expected[line.key] = ("amount_mismatch", "batch_incomplete")
    month.stands("outside", None, arrived(-80_000, FIRST, "RENT MARCH"))
    month.stands("missing_in_ledger", None, arrived(3_333, FIRST, "STRIPE po_unknown"))

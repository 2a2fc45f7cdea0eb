"""Breaking: one way for each state and sub-state in which something can be found to stand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from ledger.recon.statement import LineKind
from ledger.recon.synthetic.ordinary import pay, show_refund, tell_refund
from ledger.recon.synthetic.world import (
    BANK_CAMT,
    PAYOUT_TO_BANK,
    STRIPE,
    World,
)

Way = Callable[[World, str], None]
CHARGE_MAX = 50_000
"""Largest charge of a provider that the rules of the setup expect."""
TOLERATED = 2
"""Largest difference that these rules accept as rounding."""


def other_amount(world: World, provider: str) -> None:
    """Same id, another amount."""
    day, amount, ref = world.day(), world.amount(), world.refs(provider, "ch")
    told = world.tell(provider, amount, day, ref=ref)
    shown = world.show(provider, LineKind.PAYMENT, amount - 100, day, ref=ref)
    world.plant("other_amount", "amount_mismatch", None, told, shown)


def other_amount_by_reference(world: World, provider: str) -> None:
    """Same reference, another amount."""
    day, amount, order = world.day(), world.amount(), f"ORD-{world.number()}"
    told = world.tell(provider, amount, day, order=order)
    ref = world.refs(provider, "ch")
    shown = world.show(provider, LineKind.PAYMENT, amount + 77, day, ref=ref, order=order)
    world.plant("other_amount_by_reference", "amount_mismatch", None, told, shown)


def other_currency(world: World, provider: str) -> None:
    """Same id and number, another currency."""
    day, amount, ref = world.day(), world.amount(), world.refs(provider, "ch")
    told = world.tell(provider, amount, day, ref=ref)
    shown = world.show(provider, LineKind.PAYMENT, amount, day, ref=ref, currency="USD")
    world.plant("other_currency", "amount_mismatch", "currency", told, shown)


def converted(world: World, provider: str) -> None:
    """Settled in another currency; what the customer paid agrees."""
    day, amount, ref = world.day(), world.amount(), world.refs(provider, "ch")
    told = world.tell(provider, amount, day, ref=ref)
    shown = world.show(
        provider, LineKind.PAYMENT, amount * 11 // 10, day, ref=ref, currency="USD",
        customer=(amount, "EUR"),
    )  # fmt: skip
    world.plant("converted", "matched", "fx", told, shown)


def rounded(world: World, provider: str) -> None:
    """A difference within what the rules tolerate."""
    day, amount, ref = world.day(), world.amount(), world.refs(provider, "ch")
    told = world.tell(provider, amount, day, ref=ref)
    shown = world.show(provider, LineKind.PAYMENT, amount + 1, day, ref=ref)
    world.plant("rounded", "matched", "rounding", told, shown)


def net_of_fee(world: World, provider: str) -> None:
    """The ledger recorded what was left after the provider's fee."""
    day, amount, ref = world.day(), world.amount(), world.refs(provider, "ch")
    told = world.tell(provider, amount - 205, day, ref=ref)
    shown = world.show(provider, LineKind.PAYMENT, amount, day, ref=ref, fee=205)
    world.plant("net_of_fee", "fee", None, told, shown)


def charge(world: World, provider: str) -> None:
    """The provider's own charge, as expected."""
    ref = world.refs(provider, "fee")
    shown = world.show(provider, LineKind.FEE, -1_200, world.day(), ref=ref)
    world.plant("charge", "fee", None, shown)


def charge_too_high(world: World, provider: str) -> None:
    """The provider's own charge, above what is expected."""
    ref = world.refs(provider, "fee")
    shown = world.show(provider, LineKind.FEE, -CHARGE_MAX - 1, world.day(), ref=ref)
    world.plant("charge_too_high", "amount_mismatch", None, shown)


def ambiguous(world: World, provider: str) -> None:
    """Two lines that fit one effect equally well."""
    day, amount, order = world.day(), world.amount(), f"ORD-{world.number()}"
    told = world.tell(provider, amount, day, order=order)
    shown = [
        world.show(
            provider, LineKind.PAYMENT, amount, day, ref=world.refs(provider, "ch"), order=order
        )
        for _ in range(2)
    ]
    world.plant("ambiguous", "amount_mismatch", "ambiguous", told, *shown)


def never_at_provider(world: World, provider: str) -> None:
    """A refund that was recorded and never sent."""
    paid = pay(world, provider, 3_000)
    told = tell_refund(world, provider, paid, world.chance.randrange(100, 2_999),
                       world.refs(provider, "re"))  # fmt: skip
    world.plant("never_at_provider", "missing_at_provider", None, told)


def never_in_ledger(world: World, provider: str) -> None:
    """A refund that somebody made in the provider's dashboard."""
    paid = pay(world, provider, 3_000)
    amount, ref = world.chance.randrange(100, 2_999), world.refs(provider, "re")
    shown = show_refund(world, provider, paid, amount, ref)
    world.plant("never_in_ledger", "missing_in_ledger", None, shown)


def restated(world: World, provider: str) -> None:
    """The same, and a second report tells another amount of it."""
    paid = pay(world, provider, 3_000)
    ref = world.refs(provider, "re")
    shown = show_refund(world, provider, paid, world.chance.randrange(100, 2_999), ref)
    world.restated.append(shown)
    world.plant("restated", "missing_in_ledger", "restated", shown)


def charged_back(world: World, provider: str) -> None:
    """A chargeback that nobody recorded."""
    paid = pay(world, provider)
    shown = world.show(
        provider,
        LineKind.CHARGEBACK,
        -paid.told.amount,
        paid.day + timedelta(days=2),
        ref=world.refs(provider, "du"),
        original=paid.ref,
        fee=1_500,
    )
    world.plant("charged_back", "missing_in_ledger", "chargeback", shown)


def refund_that_failed(world: World, provider: str) -> None:
    """A refund that failed six days later, of which the ledger knows only the first half."""
    paid = pay(world, provider, 6_000)
    amount, ref = world.chance.randrange(100, 5_999), world.refs(provider, "re")
    tell_refund(world, provider, paid, amount, ref)
    show_refund(world, provider, paid, amount, ref)
    failed = world.show(
        provider,
        LineKind.REFUND_FAILED,
        amount,
        paid.day + timedelta(days=6),
        ref=ref,
        original=paid.ref,
        order=paid.told.order,
    )
    world.plant("refund_that_failed", "missing_in_ledger", "reversed_at_provider", failed)


def unknown(world: World, provider: str) -> None:
    """An adjustment of the provider's, for a person to look at."""
    ref = world.refs(provider, "adj")
    shown = world.show(provider, LineKind.OTHER, world.amount(), world.day(), ref=ref)
    world.plant("unknown", "missing_in_ledger", "unknown_kind", shown)


def reserve(world: World, provider: str) -> None:
    """Money the provider holds back."""
    ref = world.refs(provider, "rs")
    shown = world.show(provider, LineKind.RESERVE, -world.amount(), world.day(), ref=ref)
    world.plant("reserve", "timing_difference", "reserve", shown)


def told_twice(world: World, provider: str) -> None:
    """One refund, recorded twice."""
    paid = pay(world, provider, 9_000)
    amount, ref = world.chance.randrange(100, 4_000), world.refs(provider, "re")
    told = [tell_refund(world, provider, paid, amount, ref) for _ in range(2)]
    shown = show_refund(world, provider, paid, amount, ref)
    world.plant("told_twice", "duplicate", None, *told, shown)


def shown_twice(world: World, provider: str) -> None:
    """One refund, reported twice under its one id."""
    paid = pay(world, provider, 9_000)
    amount, ref = world.chance.randrange(100, 4_000), world.refs(provider, "re")
    told = tell_refund(world, provider, paid, amount, ref)
    shown = [show_refund(world, provider, paid, amount, ref) for _ in range(2)]
    world.plant("shown_twice", "duplicate", None, told, *shown)


def refunded_twice(world: World, provider: str) -> None:
    """The same payment and amount twice in the ledger, once at the provider."""
    paid = pay(world, provider, 9_000)
    amount, ref = world.chance.randrange(100, 4_000), world.refs(provider, "re")
    tell_refund(world, provider, paid, amount, ref)
    second = tell_refund(world, provider, paid, amount, world.refs(provider, "re"))
    show_refund(world, provider, paid, amount, ref)
    world.plant("refunded_twice", "duplicate", None, second)


def across_the_cut_off(world: World, provider: str) -> None:
    """Recorded on the last day, reported on the next."""
    amount, ref, last = world.amount(), world.refs(provider, "ch"), world.plan.last
    told = world.tell(provider, amount, last, ref=ref)
    shown = world.show(provider, LineKind.PAYMENT, amount, last + timedelta(days=1), ref=ref)
    world.plant("across_the_cut_off", "timing_difference", None, told, shown)


def still_in_time(world: World, provider: str) -> None:
    """Recorded yesterday."""
    yesterday = world.plan.today - timedelta(days=1)
    told = world.tell(provider, world.amount(), yesterday, ref=world.refs(provider, "ch"))
    world.plant("still_in_time", "timing_difference", None, told)


def not_covered(world: World, provider: str) -> None:
    """Late, and no report covers all the days in which it could have come."""
    day = world.plan.provider_until - timedelta(days=1)
    told = world.tell(provider, world.amount(), day, ref=world.refs(provider, "ch"))
    world.plant("not_covered", "not_yet_covered", None, told)


def payout_lost(world: World, _provider: str) -> None:
    """A payout that never arrived."""
    amount, ref, day = world.amount(), world.refs(STRIPE, "po"), world.day()
    shown = world.show(STRIPE, LineKind.PAYOUT, -amount, day, ref=ref, batch=ref)
    world.plant("payout_lost", "missing_at_provider", None, shown, leg=PAYOUT_TO_BANK)


def payout_other_amount(world: World, _provider: str) -> None:
    """A payout that arrived with another amount."""
    amount, ref, day = world.amount(), world.refs(STRIPE, "po"), world.day()
    shown = world.show(STRIPE, LineKind.PAYOUT, -amount, day, ref=ref, batch=ref)
    line = world.arrive(BANK_CAMT, amount - 100, day + timedelta(days=2), f"STRIPE PAYOUT {ref}")
    world.plant("payout_other_amount", "amount_mismatch", None, shown, line, leg=PAYOUT_TO_BANK)


def payout_short(world: World, _provider: str) -> None:
    """A payout whose lines come to another sum."""
    ref, day = world.refs(STRIPE, "po"), world.day()
    shown = world.show(STRIPE, LineKind.PAYOUT, -5_000, day, ref=ref, batch=ref)
    line = world.arrive(BANK_CAMT, 5_000, day + timedelta(days=1), f"STRIPE PAYOUT {ref}")
    paid = pay(world, STRIPE, 4_000, day)
    paid.shown.batch = ref
    world.plant(
        "payout_short", "amount_mismatch", "batch_incomplete", shown, line, leg=PAYOUT_TO_BANK
    )


def payout_unknown(world: World, _provider: str) -> None:
    """Money from a provider that names a payout of which no report tells."""
    ref, day = world.refs(STRIPE, "po"), world.day()
    line = world.arrive(BANK_CAMT, world.amount(), day, f"STRIPE PAYOUT {ref}")
    world.plant("payout_unknown", "missing_in_ledger", None, line, leg=PAYOUT_TO_BANK)


def rent(world: World, _provider: str) -> None:
    """A line of the bank that concerns no provider."""
    number = world.number()
    line = world.arrive(BANK_CAMT, -world.amount(), world.day(), f"RENT OFFICE {number}")
    world.plant("rent", "outside", None, line, leg=PAYOUT_TO_BANK)


WAYS: tuple[Way, ...] = (
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
    reserve,
    told_twice,
    shown_twice,
    refunded_twice,
    across_the_cut_off,
    still_in_time,
    not_covered,
    payout_lost,
    payout_other_amount,
    payout_short,
    payout_unknown,
    rent,
)
"""In the order in which they are taken in turn."""

STRIPE_ONLY = frozenset({other_currency, converted, restated, payout_lost, payout_short})
"""Of which the other provider's report cannot tell, or which would spoil its batches."""

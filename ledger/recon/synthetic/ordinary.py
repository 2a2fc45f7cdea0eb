"""Ordinary: the ways in which real movements match, each with its share of the traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from ledger.recon.statement import LineKind
from ledger.recon.synthetic.world import STRIPE, Shown, Told, World

Way = Callable[[World, str], object]
FIXED_FEE = 25
FEE_PER_MILLE = 15
DISPUTE_FEE = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A payment that both sides have."""

    told: Told
    shown: Shown
    day: date

    @property
    def ref(self) -> str:
        """The provider's id of it."""
        return self.shown.ref


def fee_of(amount: int) -> int:
    """What a provider takes of a payment."""
    return FIXED_FEE + amount * FEE_PER_MILLE // 1_000


def pay(world: World, provider: str, amount: int = 0, day: date | None = None) -> Paid:
    """A payment, matched by its id."""
    on = day or world.day()
    worth = amount or world.amount()
    ref, order = world.refs(provider, "ch"), f"ORD-{world.number()}"
    told = world.tell(provider, worth, on, ref=ref, order=order)
    late = timedelta(days=0 if day else world.chance.randrange(3))
    shown = world.show(
        provider, LineKind.PAYMENT, worth, on + late, ref=ref, order=order, fee=fee_of(worth)
    )
    return Paid(told=told, shown=shown, day=on)


def tell_refund(world: World, provider: str, paid: Paid, amount: int, ref: str | None) -> Told:
    """The ledger's side of a refund."""
    return world.tell(
        provider,
        -amount,
        paid.day,
        kind="refund",
        type_name="card.refund",
        ref=ref,
        order=paid.told.order,
        corrects=paid.told,
    )


def show_refund(
    world: World, provider: str, paid: Paid, amount: int, ref: str, *, days: int = 0
) -> Shown:
    """The provider's side of a refund."""
    return world.show(
        provider,
        LineKind.REFUND,
        -amount,
        paid.day + timedelta(days=days),
        ref=ref,
        original=paid.ref,
        order=paid.told.order,
    )


def refund(world: World, provider: str) -> None:
    """A payment, and a refund of part of it."""
    paid = pay(world, provider)
    amount = max(100, paid.told.amount // 3)
    ref = world.refs(provider, "re")
    tell_refund(world, provider, paid, amount, ref)
    show_refund(world, provider, paid, amount, ref, days=world.chance.randrange(3))


def pay_by_reference(world: World, provider: str) -> None:
    """A service that knows only its own order number."""
    amount, day, order = world.amount(), world.day(), f"ORD-{world.number()}"
    world.tell(provider, amount, day, order=order)
    ref = world.refs(provider, "ch")
    world.show(provider, LineKind.PAYMENT, amount, day, ref=ref, order=order, fee=fee_of(amount))


def refund_twice_alike(world: World, provider: str) -> None:
    """Two real refunds of one payment, alike in all but their ids: two on both sides."""
    paid = pay(world, provider, 9_000)
    for _ in range(2):
        tell_refund(world, provider, paid, 700, None)
        show_refund(world, provider, paid, 700, world.refs(provider, "re"))


def pay_in_two_lines(world: World, provider: str) -> None:
    """One payment that the provider books in two rows."""
    day, ref, order = world.day(), world.refs(provider, "ch"), f"ORD-{world.number()}"
    world.tell(provider, 1_000, day, ref=ref, order=order)
    for part in (400, 600):
        world.show(provider, LineKind.PAYMENT, part, day, ref=ref, order=order)


def capture_part(world: World, provider: str) -> None:
    """An authorisation of which only a part was captured: no refund, whatever it is called."""
    if provider != STRIPE:
        refund(world, provider)
        return
    day, ref, order = world.day(), world.refs(provider, "ch"), f"ORD-{world.number()}"
    world.tell(provider, 6_000, day, ref=ref, order=order)
    world.show(provider, LineKind.PAYMENT, 10_000, day, ref=ref, order=order)
    world.show(
        provider,
        LineKind.PARTIAL_CAPTURE_REVERSAL,
        -4_000,
        day,
        ref=world.refs(provider, "re"),
        original=ref,
        order=order,
    )


def refund_that_failed_and_was_told(world: World, provider: str) -> None:
    """A refund that failed, with the forward entry that says so."""
    paid = pay(world, provider, 5_000)
    ref = world.refs(provider, "re")
    told = tell_refund(world, provider, paid, 1_500, ref)
    show_refund(world, provider, paid, 1_500, ref)
    later = paid.day + timedelta(days=4)
    world.tell(
        provider,
        1_500,
        later,
        kind="adjustment",
        type_name="refund.failed",
        ref=ref,
        order=paid.told.order,
        corrects=told,
    )
    world.show(
        provider, LineKind.REFUND_FAILED, 1_500, later, ref=ref, original=paid.ref,
        order=paid.told.order,
    )  # fmt: skip


def dispute_that_was_won(world: World, provider: str) -> None:
    """A chargeback and its reversal, of which the ledger was never told: they cancel."""
    paid = pay(world, provider, 4_000)
    ref = world.refs(provider, "du")
    for kind, sign, days in (
        (LineKind.CHARGEBACK, -1, 1),
        (LineKind.CHARGEBACK_REVERSED, 1, 7),
    ):
        world.show(
            provider,
            kind,
            sign * 4_000,
            paid.day + timedelta(days=days),
            ref=ref,
            original=paid.ref,
            order=paid.told.order,
            fee=-sign * DISPUTE_FEE,
        )


WAYS: tuple[tuple[Way, int], ...] = (
    (pay, 64),
    (refund, 16),
    (pay_by_reference, 10),
    (refund_twice_alike, 3),
    (pay_in_two_lines, 2),
    (capture_part, 2),
    (refund_that_failed_and_was_told, 2),
    (dispute_that_was_won, 1),
)
"""Each way with its share, of 100."""

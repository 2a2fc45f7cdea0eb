"""Link: items that one pass found to belong together, how sure it is, and what they come to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ledger.recon.matching.item import Item, Leg, Side


class Strength(StrEnum):
    """Who stands for a link."""

    AUTO = "auto"
    """An identifier both sides hold."""
    SUGGESTED = "suggested"
    """Nothing but a likeness: a person confirms it, until then its items stay open."""
    MANUAL = "manual"
    """A person."""


class Verdict(StrEnum):
    """What the items of a link come to."""

    EQUAL = "equal"
    CANCELS = "cancels"
    """All on one side, and nothing is left of them."""
    AMOUNT_DIFFERS = "amount_differs"
    FEE_DIFFERS = "fee_differs"
    """One side has the amount before, the other after the provider's fee."""
    CURRENCY_DIFFERS = "currency_differs"
    CONVERTED = "converted"
    """Equal as the customer saw it; the balance moved in another currency."""
    TOLERATED = "tolerated"
    """Differs by no more than someone agreed to accept."""
    DUPLICATE = "duplicate"
    """One side tells more often what the other tells."""
    AMBIGUOUS = "ambiguous"
    """Belong together somehow, and nothing says which to which."""
    BATCH_INCOMPLETE = "batch_incomplete"
    """A payout is not the sum of its lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Items that belong together."""

    leg: Leg
    rule: str
    strength: Strength
    verdict: Verdict
    items: tuple[Item, ...]
    """By side, and in the order of their side."""
    reason: str
    """For a person: what they have in common."""
    becomes: str | None = None
    """What a tolerated difference is booked as."""

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all its items."""
        return frozenset(item.key for item in self.items)

    @property
    def id(self) -> str:
        """The same for the same items, leg and pass, in every run."""
        return digest_of(self.leg.value, self.rule, *sorted(self.keys))

    def side(self, side: Side) -> list[Item]:
        """The items of one side."""
        return [item for item in self.items if item.side is side]


def ordered(items: Iterable[Item]) -> tuple[Item, ...]:
    """By side, day, amount and id: the order of the items of a link."""
    return tuple(
        sorted(items, key=lambda item: (_SIDES[item.side], item.day, item.amount, item.key))
    )


_SIDES = {side: at for at, side in enumerate(Side)}


def digest_of(*words: str) -> str:
    """128 bits in hexadecimal that name these words in this order."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]

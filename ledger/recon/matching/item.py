"""
Item: one movement of money as one side tells it, in the shape that matching compares.

Where it was read, in a ledger or in a statement's line, is known to whoever made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from operator import attrgetter

from ledger.recon.statement import LineKind


class Side(StrEnum):
    """Who tells of a movement."""

    LEDGER = "ledger"
    PROVIDER = "provider"
    BANK = "bank"


class Leg(StrEnum):
    """Which two sides are compared."""

    LEDGER_TO_STATEMENT = "ledger_to_statement"
    """An effect, and the line of a provider or a bank."""
    PAYOUT_TO_BANK = "payout_to_bank"
    """What a provider paid out, and what arrived at the bank."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Item:
    """
    One movement. Amounts are signed: plus is in the merchant's favour.

    A run holds each of its items: what is told by another member is no member.
    """

    side: Side
    key: str
    """Names the item among those of all sides, see `key_of`."""
    account: str
    """The source that tells it; of a ledger, its name."""
    provider: str | None
    """Whose movement it is, such as `stripe`; None where a ledger's effect names nobody."""
    kind: LineKind
    amount: int
    """Gross, in the smallest unit of `currency`."""
    fee: int = 0
    currency: str
    day: date
    """As the source counts days; of a ledger's effect, in the zone of its provider's source."""
    value_date: date | None = None
    ids: tuple[str, ...] = ()
    """The provider's own ids of this movement."""
    original_id: str | None = None
    """The provider's id of the payment it takes back."""
    merchant_ref: str | None = None
    batch_ref: str | None = None
    bank_ref: str | None = None
    text: str | None = None
    """Remittance of a bank's line."""
    customer_amount: int | None = None
    customer_currency: str | None = None
    poster: str | None = None
    """The principal that recorded it; None outside ledgers."""

    @property
    def id(self) -> str:
        """Names the item among those of its side."""
        return self.key.partition(":")[2]

    @property
    def net(self) -> int:
        """What the balance moved by."""
        return self.amount - self.fee

    def __repr__(self) -> str:
        # What digests of runs are made of: it stays as it is, whatever becomes of the members.
        return _SAYS % _members(self)


_SAID = (
    *("side", "id", "account", "provider", "kind", "amount", "fee", "currency", "day"),
    *("value_date", "ids", "original_id", "merchant_ref", "batch_ref", "bank_ref", "text"),
    *("customer_amount", "customer_currency", "poster", "key"),
)
_SAYS = f"Item({', '.join(f'{name}=%r' for name in _SAID)})"
_members = attrgetter(*_SAID)


def key_of(side: Side, id_: str) -> str:
    """The key of the item that a side calls by this id."""
    return f"{side.value}:{id_}"


def in_order(item: Item) -> tuple[date, int, str]:
    """The one order items of a side have, whatever order they came in."""
    return item.day, item.amount, item.id

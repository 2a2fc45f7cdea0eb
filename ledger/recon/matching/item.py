"""
Item: one movement of money as one side tells it, in the shape that matching compares.

Where it was read, in a ledger or in a statement's line, is known to whoever made it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """
    One movement. Amounts are signed: plus is in the merchant's favour.

    Two items of one side never share an id, so (side, id) orders and names them.
    """

    side: Side
    id: str
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

    key: str = field(init=False)
    """Names the item among those of all sides."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.side.value}:{self.id}")

    @property
    def net(self) -> int:
        """What the balance moved by."""
        return self.amount - self.fee


def in_order(item: Item) -> tuple[date, int, str]:
    """The one order items of a side have, whatever order they came in."""
    return item.day, item.amount, item.id

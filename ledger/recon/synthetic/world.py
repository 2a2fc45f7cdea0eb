"""
World: what three parties will say of the same money, before it is written in their formats.

Amounts are signed minor units in the merchant's favour; days are those of Berlin.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ledger.recon.statement import LineKind
from ledger.recon.synthetic.plan import Plan

ZONE = "Europe/Berlin"
STRIPE, ADYEN = "stripe", "adyen"
BANK_CAMT, BANK_MT940 = "bank-camt", "bank-mt940"
PROVIDERS = (STRIPE, ADYEN)
LEDGER_TO_STATEMENT = "ledger_to_statement"
PAYOUT_TO_BANK = "payout_to_bank"


@dataclass(slots=True, kw_only=True)
class Told:
    """What the ledger says: one item of an import."""

    key: str
    kind: str
    type: str
    at: datetime
    amount: int
    currency: str
    provider: str
    ref: str | None
    order: str | None
    corrects: str | None

    def locate(self) -> dict[str, Any]:
        """How the truth names it."""
        return {"side": "ledger", "key": self.key}


@dataclass(slots=True, kw_only=True)
class Shown:
    """What a provider's report says: one row."""

    number: int
    provider: str
    kind: LineKind
    amount: int
    fee: int
    currency: str
    at: datetime
    ref: str
    original: str | None
    order: str | None
    batch: str | None = None
    customer: tuple[int, str] | None = None
    value_day: date | None = None
    occurrence: int = 1
    identity: str = ""

    @property
    def net(self) -> int:
        """What the balance moved by."""
        return self.amount - self.fee

    @property
    def day(self) -> date:
        """In Berlin; no row is written in the hours in which that is another day."""
        return self.at.date()

    def locate(self) -> dict[str, Any]:
        """How the truth names it."""
        return {
            "side": "provider",
            "source": self.provider,
            "currency": self.currency,
            "identity_key": f"id:{self.identity}",
            "occurrence": self.occurrence,
            "provider_txn_id": self.ref,
        }


@dataclass(slots=True, kw_only=True)
class Arrived:
    """What the bank says: one entry."""

    number: int
    account: str
    amount: int
    day: date
    text: str

    @property
    def ref(self) -> str:
        """The bank's own reference."""
        return f"BK{self.number:010}"

    def locate(self) -> dict[str, Any]:
        """How the truth names it."""
        return {"side": "bank", "source": self.account, "bank_ref": self.ref}


Item = Told | Shown | Arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A break, and where it must be found to stand."""

    way: str
    leg: str
    state: str
    sub_state: str | None
    items: tuple[Item, ...]

    def document(self, number: int) -> Mapping[str, Any]:
        """As the truth file has it; amount, currency and day are those of its first item."""
        first = self.items[0]
        return {
            "number": number,
            "way": self.way,
            "leg": self.leg,
            "state": self.state,
            "sub_state": self.sub_state,
            "amount_minor": first.amount,
            "currency": "EUR" if isinstance(first, Arrived) else first.currency,
            "date": (first.day if isinstance(first, Arrived) else first.at.date()).isoformat(),
            "items": [item.locate() for item in self.items],
        }


class World:
    """Everything said so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)  # noqa: S311 - repeatable, and no secret
        self.told: list[Told] = []
        self.shown: list[Shown] = []
        self.arrived: list[Arrived] = []
        self.planted: list[Planted] = []
        self.restated: list[Shown] = []
        """Rows that a second report of the same days tells otherwise."""
        self._numbers = 0

    def number(self) -> int:
        """A number nothing else has."""
        self._numbers += 1
        return self._numbers

    def day(self) -> date:
        """Any day that leaves room for what follows it."""
        return self.plan.first + timedelta(days=self.chance.randrange(self.plan.calm_days))

    def amount(self) -> int:
        """Of a usual order."""
        return self.chance.randrange(500, 30_000)

    def moment(self, day: date, *, late: bool = False) -> datetime:
        """A time of that day; corrections come late, after what they correct."""
        hour = 19 if late else self.chance.randrange(8, 18)
        clock = time(hour, self.chance.randrange(60), self.chance.randrange(60), tzinfo=UTC)
        return datetime.combine(day, clock)

    def tell(
        self,
        provider: str,
        amount: int,
        day: date,
        *,
        kind: str = "effect",
        type_name: str = "card.capture",
        ref: str | None = None,
        order: str | None = None,
        corrects: Told | None = None,
        currency: str = "EUR",
    ) -> Told:
        """The ledger records it."""
        told = Told(
            key=f"{type_name}-{self.number()}",
            kind=kind,
            type=type_name,
            at=self.moment(day, late=corrects is not None),
            amount=amount,
            currency=currency,
            provider=provider,
            ref=ref,
            order=order,
            corrects=corrects.key if corrects else None,
        )
        self.told.append(told)
        return told

    def show(
        self,
        provider: str,
        kind: LineKind,
        amount: int,
        day: date,
        *,
        ref: str,
        original: str | None = None,
        order: str | None = None,
        fee: int = 0,
        currency: str = "EUR",
        batch: str | None = None,
        customer: tuple[int, str] | None = None,
    ) -> Shown:
        """The provider reports it."""
        shown = Shown(
            number=self.number(),
            provider=provider,
            kind=kind,
            amount=amount,
            fee=fee,
            currency=currency,
            at=self.moment(day, late=original is not None),
            ref=ref,
            original=original,
            order=order,
            batch=batch,
            customer=customer,
        )
        self.shown.append(shown)
        return shown

    def arrive(self, account: str, amount: int, day: date, text: str) -> Arrived:
        """The bank books it."""
        arrived = Arrived(number=self.number(), account=account, amount=amount, day=day, text=text)
        self.arrived.append(arrived)
        return arrived

    def plant(
        self, way: str, state: str, sub_state: str | None, *items: Item, leg: str = ""
    ) -> None:
        """Remember where these items must be found to stand."""
        self.planted.append(
            Planted(
                way=way,
                leg=leg or LEDGER_TO_STATEMENT,
                state=state,
                sub_state=sub_state,
                items=items,
            )
        )

    def refs(self, provider: str, word: str) -> str:
        """A new id in the form of that provider."""
        number = self.number()
        return f"{word}_{number:010}" if provider == STRIPE else f"88{number:014}"

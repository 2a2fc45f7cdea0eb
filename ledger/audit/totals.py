"""
Totals: how many entries of each kind and type there are, and how much money they moved.

Amounts are added as they were recorded, exactly, each currency for itself: those of adjustments
are signed, and nothing is netted. Folded in parts, in any order, the sum is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ledger.canonical import canonical_bytes
from ledger.money import decimals, format_amount, minor_units

_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsLine:
    """One kind and type of entry, with the money of one currency and flow or with none."""

    kind: str
    type: str
    currency: str | None
    flow: str | None
    """`in` or `out`; None without money."""
    count: int
    amount: str | None

    def document(self) -> dict[str, Any]:
        """As it is hashed: members that are None are left out."""
        words = {
            "kind": self.kind,
            "type": self.type,
            "currency": self.currency,
            "flow": self.flow,
            "count": self.count,
            "amount": self.amount,
        }
        return {name: value for name, value in words.items() if value is not None}


@dataclass(slots=True)
class Totals:
    """A sum that grows."""

    _sums: dict[_Key, tuple[int, int, int]] = field(default_factory=dict)
    """(kind, type, currency, flow) -> count, amount in smallest units, decimals of these."""

    def add(
        self,
        kind: str,
        type_: str,
        currency: str | None,
        flow: str | None,
        *,
        count: int,
        amount: str | None,
    ) -> None:
        """Add `count` entries that moved `amount` together; None where they moved no money."""
        key = (kind, type_, currency or "", flow or "")
        before, minor, places = self._sums.get(key, (0, 0, 0))
        more = decimals(amount) if amount else 0
        # A currency has one number of decimals; should that ever change, nothing is rounded.
        wider = max(places, more)
        minor = minor * 10 ** (wider - places)
        minor += minor_units(amount) * 10 ** (wider - more) if amount else 0
        self._sums[key] = (before + count, minor, wider)

    def copy(self) -> Totals:
        """The same so far."""
        return Totals(dict(self._sums))

    @property
    def count(self) -> int:
        """Entries in all."""
        return sum(count for count, _, _ in self._sums.values())

    def counts(self) -> dict[str, int]:
        """Entries by kind."""
        found: dict[str, int] = {}
        for (kind, *_), (count, _, _) in sorted(self._sums.items()):
            found[kind] = found.get(kind, 0) + count
        return found

    def lines(self) -> list[TotalsLine]:
        """By kind, type, currency and flow, in this order."""
        return [
            TotalsLine(
                kind=kind,
                type=type_,
                currency=currency or None,
                flow=flow or None,
                count=count,
                amount=format_amount(minor, places) if currency else None,
            )
            for (kind, type_, currency, flow), (count, minor, places) in sorted(self._sums.items())
        ]

    def sums(self) -> list[dict[str, Any]]:
        """Money by kind, currency and flow, as a close states it."""
        by_kind = Totals()
        for line in self.lines():
            if line.currency is not None:
                by_kind.add(
                    line.kind, "", line.currency, line.flow, count=line.count, amount=line.amount
                )
        return [
            {name: value for name, value in line.document().items() if name != "type"}
            for line in by_kind.lines()
        ]

    def hash(self) -> str:
        """SHA-256 over the canonical JSON of all lines, hexadecimal."""
        return sha256(canonical_bytes([line.document() for line in self.lines()])).hexdigest()


def totals_of(effects: Iterable[dict[str, Any]]) -> Totals:
    """The totals of entries, from the `effect` members that were recorded."""
    totals = Totals()
    for effect in effects:
        money = effect.get("money") or {}
        totals.add(
            effect["kind"],
            effect["type"],
            money.get("currency"),
            money.get("flow"),
            count=1,
            amount=money.get("amount"),
        )
    return totals

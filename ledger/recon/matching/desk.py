"""
Desk: what is still open while passes follow each other, and what they have put together.

The only thing in matching that changes. A pass sees what is open in one fixed order, whatever
order files and lines came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ledger.recon.matching.item import Item, Leg, Side, in_order
from ledger.recon.matching.link import Link, Strength, Verdict, ordered
from ledger.recon.matching.rules import Decision


class Desk:
    """Items of one run."""

    def __init__(self, items: Iterable[Item], decision: Decision) -> None:
        """
        Begin with everything open.

        Args:
            items: Of all sides; no two have the same key.
            decision: Which groups people took apart.
        """
        self._open: dict[str, Item] = {}
        for item in sorted(items, key=in_order):
            assert item.key not in self._open, f"two items are called {item.key}"
            self._open[item.key] = item
        self._apart = decision.apart
        self.links: list[Link] = []

    def item(self, key: str) -> Item | None:
        """The open item of this key."""
        return self._open.get(key)

    def is_open(self, item: Item) -> bool:
        """Whether no pass has put it away."""
        return item.key in self._open

    def open(self, *sides: Side) -> Iterator[Item]:
        """What is open on these sides, in order; may be put away meanwhile."""
        return (item for item in list(self._open.values()) if item.side in sides)

    def still_open(self, items: Iterable[Item]) -> list[Item]:
        """Those of `items` that are open."""
        return [item for item in items if item.key in self._open]

    def link(
        self,
        items: Iterable[Item],
        *,
        rule: str,
        verdict: Verdict,
        reason: str,
        strength: Strength = Strength.AUTO,
        leg: Leg = Leg.LEDGER_TO_STATEMENT,
    ) -> bool:
        """
        Put items away together; a suggestion puts nothing away.

        Returns:
            False where a person took exactly these apart; then they stay open.
        """
        link = Link(
            leg=leg,
            rule=rule,
            strength=strength,
            verdict=verdict,
            items=ordered(items),
            reason=reason,
        )
        if self._apart and link.keys in self._apart and strength is not Strength.MANUAL:
            return False
        if strength is not Strength.SUGGESTED:
            for item in link.items:
                self._open.pop(item.key, None)
        self.links.append(link)
        return True

    def extend_link(self, at: int, items: Iterable[Item], *, verdict: Verdict, reason: str) -> None:
        """Put open items away with a link that was made, which they give another verdict."""
        more = list(items)
        for item in more:
            del self._open[item.key]
        link = self.links[at]
        self.links[at] = replace(
            link, items=ordered([*link.items, *more]), verdict=verdict, reason=reason
        )

    def settle(self, at: int, *, verdict: Verdict, becomes: str, reason: str) -> None:
        """Give a link that was made another verdict."""
        self.links[at] = replace(self.links[at], verdict=verdict, becomes=becomes, reason=reason)

"""Tolerances: differences that someone agreed to accept become items of their own. Pass 10."""

from __future__ import annotations

from dataclasses import replace

from ledger.recon.matching.desk import Desk
from ledger.recon.matching.item import Side
from ledger.recon.matching.link import Link, Strength, Verdict
from ledger.recon.matching.rules import Rules, Tolerance


def accept_differences(desk: Desk, rules: Rules) -> None:
    """Pass 10: under an automatic rule a link is settled; under any other, this is suggested."""
    if not rules.tolerances:
        return
    for at, link in enumerate(list(desk.links)):
        rule = _rule(link, rules) if link.verdict is Verdict.AMOUNT_DIFFERS else None
        if rule is None:
            continue
        reason = f"{link.reason}; difference accepted as {rule.becomes}"
        if rule.automatic:
            desk.settle(at, verdict=Verdict.TOLERATED, becomes=rule.becomes, reason=reason)
        else:
            desk.links.append(
                replace(
                    link,
                    rule="10 tolerance",
                    strength=Strength.SUGGESTED,
                    verdict=Verdict.TOLERATED,
                    becomes=rule.becomes,
                    reason=reason,
                )
            )


def difference(link: Link) -> int:
    """What statements have more than the ledger, over the items of a link; of one currency."""
    return sum(-item.amount if item.side is Side.LEDGER else item.amount for item in link.items)


def _rule(link: Link, rules: Rules) -> Tolerance | None:
    kinds = {item.kind for item in link.items}
    currencies = {item.currency for item in link.items}
    for rule in rules.tolerances:
        fits = rule.kind in kinds and currencies == {rule.currency}
        if fits and abs(difference(link)) <= rule.cap_minor:
            return rule
    return None

"""
Reconciliation: items in, everything finance reads of them out. Matching, standings, proofs.

Pure. The same inputs give the same `output_digest`, whatever order they came in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.recon.matching import Decision, Item, Leg, Matching, Rules, match
from ledger.recon.matching.engine import Tell
from ledger.recon.proof import Proof, build_proofs
from ledger.recon.states import UNTIED, Scope, Standing, classify


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """One run, as values."""

    matching: Matching
    standings: tuple[Standing, ...]
    proofs: tuple[Proof, ...]
    input_digest: str
    """SHA-256 over everything that went in."""
    output_digest: str
    """SHA-256 over all standings, suggestions and proofs."""

    @property
    def is_tied(self) -> bool:
        """Whether nothing but time is left to wait for, in the legs that take part."""
        return not any(each.unexplained for each in self.proofs) and not any(
            standing.state in UNTIED and not self._is_leg_not_asked(standing)
            for standing in self.standings
        )

    def _is_leg_not_asked(self, standing: Standing) -> bool:
        return standing.leg is Leg.PAYOUT_TO_BANK and not self._with_bank

    _with_bank: bool = False


def reconcile(
    items: Iterable[Item],
    rules: Rules,
    scope: Scope,
    decision: Decision | None = None,
    *,
    tell: Tell = lambda _rule, _links: None,
) -> Reconciliation:
    """
    Compare everything the sides tell, and say where each of it stands.

    Args:
        items: Movements of the ledger, lines of providers and banks, in any order.
        rules: Windows, tolerances, caps.
        scope: Period, day of the question, coverage of the files.
        decision: What people put together and took apart.
        tell: Told after each pass.
    """
    everything = list(items)
    matching = match(everything, rules, decision, with_bank=bool(scope.banks), tell=tell)
    standings = tuple(classify(matching, rules, scope))
    proofs = tuple(build_proofs(compared(everything, matching, standings), standings, scope))
    tell("standings and proofs", len(standings))
    return Reconciliation(
        matching=matching,
        standings=standings,
        proofs=proofs,
        input_digest=_digest([matching.input_digest, *_words_of_scope(scope)]),
        output_digest=_digest(_words_of_output(matching, standings, proofs)),
        _with_bank=bool(scope.banks),
    )


def compared(
    items: Sequence[Item], matching: Matching, standings: Iterable[Standing]
) -> list[Item]:
    """The items of the totals: a payout stands for its line, unless the ledger answered to that."""
    lines = {payout.line.key for payout in matching.payouts if payout.line is not None}
    asked = lines | {payout.item.key for payout in matching.payouts}
    answered = {item.key for standing in standings for item in standing.items if item.key in asked}
    lines -= answered
    payouts = [payout.item for payout in matching.payouts if payout.item.key in answered]
    return [item for item in items if item.key not in lines] + payouts


def _words_of_scope(scope: Scope) -> Iterable[str]:
    yield f"{scope.today} {scope.period_from} {scope.period_to}"
    yield repr(sorted(scope.coverage.ranges.items()))
    yield repr(sorted(scope.providers.items()))
    yield repr(scope.banks)
    yield repr(sorted(scope.restated))


def _words_of_output(
    matching: Matching, standings: Iterable[Standing], proofs: Iterable[Proof]
) -> Iterable[str]:
    for link in matching.links:
        yield f"{link.id} {link.rule} {link.strength} {link.verdict}"
    for standing in standings:
        keys = " ".join(item.key for item in standing.items)
        yield f"{standing.fingerprint} {standing.state} {standing.sub_state} {keys}"
    for proof in proofs:
        yield f"{proof.leg} {proof.currency} {proof.heading} {proof.expecting_total}"
        yield f"{proof.answering_total} {proof.unexplained}"


def _digest(words: Iterable[str]) -> str:
    found = hashlib.sha256()
    for word in words:
        found.update(word.encode())
        found.update(b"\n")
    return found.hexdigest()

"""
Report: a reconciliation as JSON. The statement with its lists, and what finance measures.

Every standing says in which lists of the statement it is, so that each number leads to rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from ledger.forms.money import amount_text
from ledger.recon.matching import Item, Leg, Link, Side, Strength
from ledger.recon.proof import Proof
from ledger.recon.reconciliation import Reconciliation
from ledger.recon.states import OPEN, Scope, Standing, State

AGES = ((0, 2), (3, 7), (8, 30), (31, None))
"""Days, inclusive: how long something is open."""

StandingRow = tuple[str, str, dict[str, Any]]

_ANSWERING = {
    Leg.LEDGER_TO_STATEMENT: "provider or bank",
    Leg.PAYOUT_TO_BANK: "bank",
}


def proof_documents(proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    """The blocks of the statement; amounts with their decimals."""
    return [_proof_document(proof) for proof in proofs]


def _proof_document(proof: Proof) -> dict[str, Any]:
    def text(minor: int) -> str:
        return amount_text(minor, proof.currency)

    return {
        "leg": proof.leg.value,
        "heading": proof.heading.value,
        "currency": proof.currency,
        "expecting": "provider" if proof.leg is Leg.PAYOUT_TO_BANK else "ledger",
        "answering": _ANSWERING[proof.leg],
        "total": text(proof.expecting_total),
        "count": proof.expecting_count,
        "differences": [
            {
                "label": each.label,
                "amount": text(each.amount),
                "count": each.count,
                "list": list_name(proof, each.list_name),
            }
            for each in proof.differences
        ],
        "expected": text(proof.expected),
        "answered": text(proof.answering_total),
        "answered_count": proof.answering_count,
        "unexplained": text(proof.unexplained),
    }


def list_name(proof: Proof, letter: str) -> str:
    """What a list of one block is called: unique in the statement."""
    leg = "bank " if proof.leg is Leg.PAYOUT_TO_BANK else ""
    return f"{proof.currency} {leg}{proof.heading.value} {letter}"


class StandingDocuments:
    """
    (state, fingerprint, document) of all that is in the period, or open, in the order of the run.

    A document is several times what it is made of, so that each is made when it is asked for.
    """

    def __init__(self, found: Reconciliation, scope: Scope) -> None:
        self._standings = [
            standing
            for standing in found.standings
            if standing.state in OPEN or any(scope.in_period(item) for item in standing.items)
        ]
        self._lists: dict[int, list[str]] = defaultdict(list)
        for proof in found.proofs:
            for difference in proof.differences:
                for standing in difference.standings:
                    self._lists[id(standing)].append(list_name(proof, difference.list_name))

    def __len__(self) -> int:
        return len(self._standings)

    def __iter__(self) -> Iterator[StandingRow]:
        return self.of(*State)

    def of(self, *states: State) -> Iterator[StandingRow]:
        """Those in some of the states."""
        return (self._row(each) for each in self._standings if each.state in states)

    def named(self, fingerprints: Container[str]) -> Iterator[StandingRow]:
        """Those with some of the fingerprints."""
        return (self._row(each) for each in self._standings if each.fingerprint in fingerprints)

    def _row(self, standing: Standing) -> StandingRow:
        lists = self._lists.get(id(standing), [])
        document = standing_document(standing) | {"lists": lists}
        return standing.state.value, standing.fingerprint, document


def standing_document(standing: Standing) -> dict[str, Any]:
    """One standing as JSON."""
    return {
        "leg": standing.leg.value,
        "state": standing.state.value,
        "sub_state": standing.sub_state and standing.sub_state.value,
        "age_basis": standing.age_basis.isoformat(),
        "reason": standing.reason,
        "match": None if standing.link is None else _link_document(standing.link),
        "suggested": list(standing.suggested),
        "differences": {
            currency: str(amount) for currency, amount in sorted(standing.differences().items())
        },
        "items": [item_document(item) for item in standing.items],
    }


def suggestion_documents(links: Iterable[Link]) -> list[dict[str, Any]]:
    """What a person may confirm."""
    return [
        _link_document(link) | {"items": [item_document(item) for item in link.items]}
        for link in links
        if link.strength is Strength.SUGGESTED
    ]


def _link_document(link: Link) -> dict[str, Any]:
    return {
        "id": link.id,
        "rule": link.rule,
        "strength": link.strength.value,
        "verdict": link.verdict.value,
        "reason": link.reason,
    }


def item_document(item: Item) -> dict[str, Any]:
    """One movement as JSON, with what it is matched by."""
    said = {
        "key": item.key,
        "side": item.side.value,
        "account": item.account,
        "provider": item.provider,
        "kind": item.kind.value,
        "amount": amount_text(item.amount, item.currency),
        "minor": str(item.amount),
        "currency": item.currency,
        "day": item.day.isoformat(),
        "ids": list(item.ids),
        "original_id": item.original_id,
        "merchant_ref": item.merchant_ref,
        "batch_ref": item.batch_ref,
        "poster": item.poster,
    }
    return {name: value for name, value in said.items() if value not in (None, [])}


def measure(
    found: Reconciliation, scope: Scope, unnamed: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """Match rates, ageing, value at risk, and who posts what does not match."""
    period = [
        standing
        for standing in found.standings
        if any(scope.in_period(item) for item in standing.items)
        and standing.state is not State.OUTSIDE
    ]
    open_ones = [standing for standing in found.standings if standing.state in OPEN]
    return {
        "states": dict(sorted(Counter(standing.state.value for standing in period).items())),
        "match_rate": _match_rate(period, scope),
        "strengths": dict(
            sorted(
                Counter(
                    standing.link.strength.value
                    for standing in period
                    if standing.link is not None and standing.state is State.MATCHED
                ).items()
            )
        ),
        "suggestions": sum(link.strength is Strength.SUGGESTED for link in found.matching.links),
        "unasked_sums": found.matching.unasked_sums,
        "ageing": _ageing(open_ones, scope.today),
        "offenders": dict(
            Counter(
                item.poster
                for standing in open_ones
                if standing.state is not State.TIMING_DIFFERENCE
                for item in standing.items
                if item.poster is not None
            ).most_common(20)
        ),
        "without_provider_id": [
            {"poster": poster, "without": without, "of": of}
            for poster, (without, of) in unnamed.items()
        ],
    }


def _match_rate(standings: Sequence[Standing], scope: Scope) -> dict[str, Any]:
    """By currency: how much of what the ledger tells of the period is matched."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for standing in standings:
        for item in standing.items:
            if item.side is Side.LEDGER and scope.in_period(item):
                count = counts[item.currency]
                is_matched = standing.state in {State.MATCHED, State.FEE}
                count[0] += is_matched
                count[1] += 1
                count[2] += abs(item.amount) * is_matched
                count[3] += abs(item.amount)
    return {
        currency: {
            "matched": matched,
            "of": of,
            "matched_value": amount_text(value, currency),
            "of_value": amount_text(of_value, currency),
        }
        for currency, (matched, of, value, of_value) in sorted(counts.items())
    }


def _ageing(standings: Iterable[Standing], today: date) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for standing in standings:
        days = max(0, (today - standing.age_basis).days)
        for currency, amount in standing.differences().items():
            entry = found[standing.state.value, currency, _age(days)]
            entry[0] += 1
            entry[1] += abs(amount)
    return [
        {
            "state": state,
            "currency": currency,
            "days": age,
            "count": count,
            "value": amount_text(value, currency),
        }
        for (state, currency, age), (count, value) in sorted(found.items())
    ]


def _age(days: int) -> str:
    for first, last in AGES:
        if last is None or days <= last:
            return f">{first - 1}" if last is None else f"{first}-{last}"
    raise AssertionError(days)

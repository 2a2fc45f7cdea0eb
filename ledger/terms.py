"""
Terms: what the search index holds of an effect, for the members it may carry many of.

    label:<name>:<value>    evidence:<system>:<ref>    cause:<kind>:<ref>
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.effect import Effect
from ledger.plain import PlainEntry, causes_of, evidence_of, labels_of


def terms_of(effect: Effect) -> Sequence[str]:
    """The terms of an effect, each once."""
    return _terms(
        effect.labels,
        [(evidence.system, evidence.ref) for evidence in effect.evidence],
        [(cause.kind, cause.ref) for cause in effect.causes],
    )


def plain_terms(plain: PlainEntry) -> Sequence[str]:
    """The terms of an effect in its plain spelling, as `terms_of` has them."""
    return _terms(
        () if plain.labels is None else labels_of(plain.labels),
        () if plain.evidence is None else evidence_of(plain.evidence),
        () if plain.causes is None else causes_of(plain.causes),
    )


def _terms(
    labels: Sequence[tuple[str, str]],
    evidence: Sequence[tuple[str, str]],
    causes: Sequence[tuple[str, str]],
) -> Sequence[str]:
    terms = [f"evidence:{system}:{ref}" for system, ref in evidence]
    if labels:
        terms += [f"label:{name}:{value}" for name, value in labels]
    if causes:
        terms += [f"cause:{kind}:{ref}" for kind, ref in causes]
    return list(dict.fromkeys(terms)) if len(terms) > 1 else terms

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


def column_terms(
    evidence: Sequence[str], labels: Sequence[str], causes: Sequence[str], start: int
) -> list[tuple[str, int]]:
    """
    The terms of plain effects that follow each other, each with the seq of its effect.

    Args:
        evidence: Of each effect as `plain.Columns` has it; so are the others.
        labels: Of each.
        causes: Of each.
        start: Seq of the first.
    """
    terms: list[tuple[str, int]] = []
    seq = start
    for proofs, names, reasons in zip(evidence, labels, causes, strict=True):
        if names or reasons or "},{" in proofs:
            several = _terms(labels_of(names), evidence_of(proofs), causes_of(reasons))
            terms += [(term, seq) for term in several]
        elif proofs:
            # ...{"ref":"<ref>","rel":"<rel>","system":"<system>"}
            words = proofs.split('"')
            terms.append((f"evidence:{words[-2]}:{words[-10]}", seq))
        seq += 1
    return terms


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

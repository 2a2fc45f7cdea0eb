"""
Terms: what the search index holds of an effect, for the members it may carry many of.

    label:<name>:<value>    evidence:<system>:<ref>    cause:<kind>:<ref>
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.effect import Effect
from ledger.plain import PlainEntry, causes_of, evidence_of, labels_of
from ledger.plain_page import Columns, places_of


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


def placed_terms(columns: Columns) -> list[str]:
    """The terms of plain effects, each as `placed` has it; in no order."""
    refs = list(columns["evidence_ref"])
    terms: list[str] = []
    several: set[int] = set().union(
        *(places_of(columns[name]) for name in ("evidence_more", "labels", "causes"))
    )
    for at in several:
        # Told here, and not below.
        refs[at] = ""
        each = _terms(
            labels_of(columns["labels"][at]),
            evidence_of(columns["evidence"][at]),
            causes_of(columns["causes"][at]),
        )
        terms += [f"{columns['seq'][at]}:{term}" for term in each]
    rows = zip(columns["seq"], columns["evidence_system"], refs, strict=True)
    terms += [f"{seq}:evidence:{system}:{ref}" for seq, system, ref in rows if ref]
    return terms


def placed(term: str, seq: int) -> str:
    """A term and its entry in one text: `<seq>:<term>`."""
    return f"{seq}:{term}"


def split_placed(text: str) -> tuple[str, int]:
    """Term and seq of what `placed` gave."""
    seq, _, term = text.partition(":")
    return term, int(seq)


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

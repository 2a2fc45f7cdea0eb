"""
Block: a page of entries taken at a glance, its columns compared as a whole.

Nearly always each column of a page is what the bytes say, for all of its entries at once: two
long strings are equal. Only where something differs, or is not in the plain spelling, is the
page looked at row by row, by `sift`, which names what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from operator import le

from ledger.effect import Kind
from ledger.entry import entry_of
from ledger.plain import Columns, money_of, places_of, plain_at, plain_columns, unsure_places
from ledger.terms import column_terms
from ledger.verify.rules import Explained, Named
from ledger.verify.sift import Explanation, Judged, Run
from ledger.verify.stored import SEPARATOR, Block


def sift_block(block: Block, *, ledger: str) -> Run | None:
    """
    The page as one run, if all of it is as it should be; None where it must be sifted by row.

    What corrects, repeats or carries something is in `Run.others`, to be judged: its columns
    are what its bytes say, but for `corrects`.
    """
    start, count = block.seqs[0], len(block.seqs)
    said = plain_columns(block.bodies)
    if (
        said is None
        or list(block.seqs) != list(range(start, start + count))
        or said["seq"] != tuple(map(str, block.seqs))
        or set(said["ledger"]) != {ledger}
    ):
        return None
    leaves = [sha256(b"\x00" + body).digest() for body in block.bodies]
    if not (_is_linked(said, leaves) and _are_in_order(said) and _agree(block, said, leaves)):
        return None
    judged = _judged(block, said)
    if judged is None:
        return None
    explanations, others, named = judged
    return Run(
        start=start,
        prev=bytes.fromhex(said["prev"][0]),
        recorded_from=said["recorded_at"][0],
        occurred_from=min(said["occurred_at"]),
        recorded_to=said["recorded_at"][-1],
        leaves=leaves,
        ids=list(said["id"]),
        keys=list(said["key"]),
        business_keys=_business_keys(said),
        terms=column_terms(said["evidence"], said["labels"], said["causes"], start),
        explanations=explanations,
        others=others,
        named=named,
    )


def _is_linked(said: Columns, leaves: Sequence[bytes]) -> bool:
    """Whether each entry but the first names the hash of the one before it."""
    return "".join(said["prev"][1:]) == b"".join(leaves[:-1]).hex()


def _are_in_order(said: Columns) -> bool:
    recorded = said["recorded_at"]
    return all(before <= after for before, after in pairwise(recorded)) and all(
        map(le, said["occurred_at"], recorded)
    )


def _agree(block: Block, said: Columns, leaves: Sequence[bytes]) -> bool:
    """Whether the stored columns are what the bytes say; `corrects` is for whoever judges."""
    join, stored = SEPARATOR.join, block.columns
    return (
        # No text of an entry is empty: what is empty is not there, and must be null.
        not stored.unfit
        and b"".join(leaves) == stored.hash
        and bytes.fromhex("".join(said["id"]).replace("-", "")) == stored.id
        and join(said["key"]) == stored.key
        and join(said["kind"]) == stored.kind
        and join(said["type"]) == stored.type
        and join(said["poster"]) == stored.poster
        and join(said["subject"]) == stored.subject
        and join(said["business_key"]) == stored.business_key
        and join(said["actor_id"]) == stored.actor
        and join(said["currency"]) == stored.currency
        and join(said["repeat_of"]) == stored.repeat_of
        and _as_stored(said["occurred_at"]) == stored.occurred_at
        and _as_stored(said["recorded_at"]) == stored.recorded_at
    )


def _as_stored(times: Iterable[str]) -> str:
    """Times as PostgreSQL writes them: without the zeros at the end of a fraction."""
    joined = SEPARATOR.join(times).replace("T", " ").replace(".000000Z", "+00")
    for zeros in ("00000Z", "0000Z", "000Z", "00Z", "0Z"):
        joined = joined.replace(zeros, "Z")
    return joined.replace("Z", "+00")


# An effect that carries one of these is judged on its own.
_JUDGED = ("repeat_of", "intent_id", "late_for", "payloads")


def _judged(
    block: Block, said: Columns
) -> tuple[list[Explanation], list[Judged], list[Named]] | None:
    """
    What must be judged: explanations that are nothing else, all others, and what these name.

    None where one of the page is not an entry, or corrects by its column alone.
    """
    at = unsure_places(said)
    carrying: set[int] = set()
    for name in _JUDGED:
        carrying |= places_of(said[name])
    at |= carrying
    corrects = block.columns.corrects.split(SEPARATOR)
    if len(corrects) != len(block.seqs) or not at.issuperset(places_of(corrects)):
        return None
    explanations: list[Explanation] = []
    others: list[Judged] = []
    for place in sorted(at):
        plain, body, column = plain_at(said, place), block.bodies[place], corrects[place] or None
        if plain is None:
            return None
        if plain.kind == "explanation" and plain.external_ref is None and place not in carrying:
            explained = Explained(block.seqs[place], plain.corrects, plain.corrects_key)
            explanations.append(Explanation(explained, body, column))
        else:
            others.append(Judged(entry_of(plain, body), column))
    named = [
        Named(
            id=said["id"][place],
            seq=block.seqs[place],
            key=said["key"][place],
            kind=Kind.EFFECT,
            type=said["type"][place],
            money=money_of(said, place),
        )
        # The others are effects, and nothing else is to be said of them.
        for place in _named_places(said) - at
    ]
    return explanations, others, named


def _named_places(said: Columns) -> set[int]:
    """Places that another one of the page names, by key or by id."""
    named = set()
    for by, names in (("key", ("corrects_key",)), ("id", ("corrects", "repeat_of"))):
        asked = set().union(*(said[name] for name in names)) - {""}
        if asked:
            named |= {place for place, value in enumerate(said[by]) if value in asked}
    return named


def _business_keys(said: Columns) -> list[tuple[str, str, str]]:
    keys, repeat_of = said["business_key"], said["repeat_of"]
    return [
        (said["kind"][place], said["type"][place], keys[place])
        for place in sorted(places_of(keys) - places_of(repeat_of))
    ]

"""
Block: a page of entries taken at a glance, its columns compared as a whole.

Nearly always each column of a page is what the bytes say, for all of its entries at once: two
long strings are equal. Only where something differs, or is not in the plain spelling, is the
page looked at row by row, by `sift`, which names what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from operator import le
from typing import Any, NamedTuple

from ledger.effect import Kind, Money
from ledger.entry import entry_of
from ledger.plain import are_labels, sign_of
from ledger.plain_page import Columns, places_of, plain_at, plain_columns, unsure_places
from ledger.terms import placed_terms
from ledger.verify.rules import Named, Usual
from ledger.verify.sift import Correction, Judged, Run
from ledger.verify.stored import SEPARATOR, Block, JoinedColumns


def sift_block(block: Block, *, ledger: str) -> list[Run] | None:
    """
    The page in runs, if all of it is as it should be; None where it must be sifted by row.

    What corrects, repeats or carries something is in `Run.corrections` or `Run.others`, to be
    judged: its columns are what its bytes say, but for `corrects`.
    """
    corrects = block.columns.corrects.split(SEPARATOR)
    # No text of an entry is empty: what is empty is not there, and must be null.
    if block.columns.unfit or len(corrects) != len(block.seqs):
        return None
    runs: list[Run] = []
    told: list[_Told] = []
    for start in range(0, len(block.seqs), _PIECE):
        part = slice(start, start + _PIECE)
        piece = _Piece(block.seqs[part], block.bodies[part], corrects[part])
        sifted = _sift_piece(piece, ledger=ledger)
        if sifted is None or (runs and not _follows(sifted[0], runs[-1])):
            return None
        runs.append(sifted[0])
        told.append(sifted[1])
    return runs if _agree(block.columns, told) else None


# So many entries are taken apart at once. What is made of more does not fit into the memory near
# the processor any longer, and takes half as long again.
_PIECE = 512


class _Piece(NamedTuple):
    """Some entries of a block."""

    seqs: Sequence[int]
    bodies: Sequence[bytes]
    corrects: Sequence[str]


_Told = Mapping[str, Any]
"""What the columns of a piece should be, joined as in `JoinedColumns`; all but `corrects`."""


def _sift_piece(piece: _Piece, *, ledger: str) -> tuple[Run, _Told] | None:
    start, count = piece.seqs[0], len(piece.seqs)
    said = plain_columns(piece.bodies)
    if (
        said is None
        or list(piece.seqs) != list(range(start, start + count))
        or said["seq"] != tuple(map(str, piece.seqs))
        or set(said["ledger"]) != {ledger}
    ):
        return None
    leaves = [sha256(b"\x00" + body).digest() for body in piece.bodies]
    judged = _judged(piece, said)
    if judged is None or not (_is_linked(said, leaves) and _are_in_order(said)):
        return None
    corrections, others, named = judged
    run = Run(
        start=start,
        prev=bytes.fromhex(said["prev"][0]),
        recorded_from=said["recorded_at"][0],
        occurred_from=min(said["occurred_at"]),
        recorded_to=said["recorded_at"][-1],
        leaves=leaves,
        ids=list(said["id"]),
        keys=list(said["key"]),
        business_keys=_business_keys(said),
        terms=placed_terms(said),
        corrections=corrections,
        others=others,
        named=named,
    )
    return run, _told(said, leaves)


def _follows(run: Run, before: Run) -> bool:
    return (
        run.start == before.stop
        and run.prev == before.leaves[-1]
        and run.recorded_from >= before.recorded_to
    )


def _is_linked(said: Columns, leaves: Sequence[bytes]) -> bool:
    """Whether each entry but the first names the hash of the one before it."""
    return "".join(said["prev"][1:]) == b"".join(leaves[:-1]).hex()


def _are_in_order(said: Columns) -> bool:
    recorded = said["recorded_at"]
    return all(before <= after for before, after in pairwise(recorded)) and all(
        map(le, said["occurred_at"], recorded)
    )


# Column -> the member of an entry that it holds, where it holds just that.
_TEXTS = {
    **{name: name for name in ("key", "kind", "type", "poster", "subject", "business_key")},
    "actor": "actor_id",
    "currency": "currency",
    "repeat_of": "repeat_of",
}


def _told(said: Columns, leaves: Sequence[bytes]) -> _Told:
    told: dict[str, Any] = {name: SEPARATOR.join(said[of]) for name, of in _TEXTS.items()}
    told["hash"] = b"".join(leaves)
    told["id"] = bytes.fromhex("".join(said["id"]).replace("-", ""))
    told["occurred_at"] = _as_stored(said["occurred_at"])
    told["recorded_at"] = _as_stored(said["recorded_at"])
    return told


def _agree(stored: JoinedColumns, told: Sequence[_Told]) -> bool:
    """Whether the stored columns are what the bytes say; `corrects` is for whoever judges."""
    return (
        b"".join(each["hash"] for each in told) == stored.hash
        and b"".join(each["id"] for each in told) == stored.id
        and all(
            SEPARATOR.join(each[name] for each in told) == getattr(stored, name)
            for name in (*_TEXTS, "occurred_at", "recorded_at")
        )
    )


def _as_stored(times: Iterable[str]) -> str:
    """Times as PostgreSQL writes them: without the zeros at the end of a fraction."""
    joined = SEPARATOR.join(times).replace("T", " ").replace(".000000Z", "+00")
    for zeros in ("00000Z", "0000Z", "000Z", "00Z", "0Z"):
        joined = joined.replace(zeros, "Z")
    return joined.replace("Z", "+00")


# What carries one of these is judged on its own.
_CARRIED = ("repeat_of", "intent_id", "late_for", "payloads")
# So is a correction that says one of these.
_UNUSUAL = ("external_ref", "applied", "observed")


def _judged(
    piece: _Piece, said: Columns
) -> tuple[list[Correction], list[Judged], list[Named]] | None:
    """
    What must be judged: corrections that are usual, all others, and what these name here.

    None where one of the piece is not an entry, or corrects by its column alone.
    """
    carrying: set[int] = set().union(*(places_of(said[name]) for name in _CARRIED))
    unusual = carrying.union(*(places_of(said[name]) for name in _UNUSUAL))
    at = unsure_places(said) | carrying
    if not at.issuperset(places_of(piece.corrects)):
        return None
    corrections: list[Correction] = []
    others: list[Judged] = []
    for place in sorted(at):
        body, column = piece.bodies[place], piece.corrects[place] or None
        usual = None if place in unusual else _usual_at(said, place, piece.seqs[place])
        if usual is not None:
            corrections.append(Correction(usual, body, column))
            continue
        plain = plain_at(said, place)
        if plain is None:
            return None
        others.append(Judged(entry_of(plain, body), column))
    named = [
        Named(
            id=said["id"][place],
            seq=piece.seqs[place],
            key=said["key"][place],
            kind=Kind.EFFECT,
            type=said["type"][place],
            money=_money_at(said, place),
        )
        # The others are effects, and nothing else is to be said of them.
        for place in _named_places(said) - at
    ]
    return corrections, others, named


def _usual_at(said: Columns, place: int, seq: int) -> Usual | None:
    """What `plain_at` would take as a correction, where it says no more than `Usual` holds."""
    kind, amount = said["kind"][place], said["amount"][place]
    corrects, corrects_key = said["corrects"][place], said["corrects_key"][place]
    if (
        not said["reason"][place]
        or bool(corrects) == bool(corrects_key)
        or said["reversible_until"][place]
        or not are_labels(said["labels"][place])
    ):
        return None
    if kind == "explanation":
        return None if amount else Usual(seq, corrects or None, corrects_key or None, None)
    if kind == "refund" and amount and not said["audience"][place] and sign_of(amount) > 0:
        return Usual(seq, corrects or None, corrects_key or None, _money_at(said, place))
    return None


def _money_at(said: Columns, place: int) -> Money | None:
    """The money of what has none applied."""
    amount = said["amount"][place]
    if not amount:
        return None
    return Money(amount=amount, currency=said["currency"][place], flow=said["flow"][place])


def _named_places(said: Columns) -> set[int]:
    """Places that another one of the piece names, by key or by id."""
    named = set()
    for by, names in (("key", ("corrects_key",)), ("id", ("corrects", "repeat_of"))):
        asked = set().union(*(said[name] for name in names)) - {""}
        if asked:
            named |= {place for place, value in enumerate(said[by]) if value in asked}
    return named


def _business_keys(said: Columns) -> list[str]:
    keys, kinds, types = said["business_key"], said["kind"], said["type"]
    return [
        f"{kinds[place]} {types[place]} {keys[place]}"
        for place in sorted(places_of(keys) - places_of(said["repeat_of"]))
    ]

"""
Sift: which entries of a page are as they should be, found out without a word about each.

Nearly all are. An entry that passes is an effect in the plain spelling that follows the one
before it, and its columns are what its bytes say: nothing would be found. Those that follow
each other make a run, and what the auditor needs of it is gathered here. All other entries,
corrections among them, come out as they are, to be judged one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.entry import Entry
from ledger.merkle import leaf_hash
from ledger.plain import PlainEntry, read_plain
from ledger.terms import placed, plain_terms
from ledger.verify.rules import Named, Usual
from ledger.verify.stored import StoredEntry


class Judged(NamedTuple):
    """An entry of a run whose bytes, chain and columns are as they should be, but for one."""

    entry: Entry
    corrects: str | None
    """The column `corrects`: it may have been found by a key."""

    @property
    def seq(self) -> int:
        """Number of the entry."""
        return self.entry.seq


class Correction(NamedTuple):
    """An entry of a run of which nothing is to be judged but what it corrects."""

    usual: Usual
    body: bytes
    corrects: str | None
    """As for `Judged`."""

    @property
    def seq(self) -> int:
        """Number of the entry."""
        return self.usual.seq


@dataclass(slots=True, kw_only=True)
class Run:
    """
    Entries that follow each other and are as they should be.

    Only whether the first follows what stands before the run is not known here.
    """

    start: int
    """Number of the first entry."""
    prev: bytes
    """Hash that the first entry says the one before it has."""
    recorded_from: str
    occurred_from: str
    """When the earliest of them occurred."""
    recorded_to: str = ""
    leaves: list[bytes] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    business_keys: list[str] = field(default_factory=list)
    """`<kind> <type> <business key>`, of entries without `repeat_of`."""
    terms: list[str] = field(default_factory=list)
    """See `terms.placed`."""
    corrections: list[Correction] = field(default_factory=list)
    others: list[Judged] = field(default_factory=list)
    """Those of which more is to be said, by the rules or by what lies beside them."""
    named: list[Named] = field(default_factory=list)
    """Effects of the run that corrections of it name."""

    @property
    def stop(self) -> int:
        """One above the number of the last entry."""
        return self.start + len(self.leaves)


Page = Sequence[Run | StoredEntry]
"""A page in order: runs, and the entries between them that must be judged."""


def sift(rows: Sequence[StoredEntry], *, ledger: str) -> Page:
    """The rows of a page, sifted."""
    if not rows:
        return ()
    sifted: list[Run | StoredEntry] = []
    run: Run | None = None
    expected, claim = rows[0].seq, ""
    for row in rows:
        seq, body, columns = row
        leaf = leaf_hash(body)
        plain = read_plain(body)
        if plain is None or seq != expected or not _is_sound(plain, seq, leaf, columns, ledger):
            sifted.append(row)
            run, expected = None, seq + 1
            continue
        if run is None or plain.prev != claim or plain.recorded_at < run.recorded_to:
            run = Run(
                start=seq,
                prev=bytes.fromhex(plain.prev),
                recorded_from=plain.recorded_at,
                occurred_from=plain.occurred_at,
            )
            sifted.append(run)
        elif plain.occurred_at < run.occurred_from:
            run.occurred_from = plain.occurred_at
        run.recorded_to = plain.recorded_at
        run.leaves.append(leaf)
        run.ids.append(plain.id)
        run.keys.append(plain.key)
        if plain.business_key is not None:
            run.business_keys.append(f"{plain.kind} {plain.type} {plain.business_key}")
        for term in plain_terms(plain):
            run.terms.append(placed(term, seq))
        expected, claim = seq + 1, leaf.hex()
    return sifted


def _is_sound(
    plain: PlainEntry, seq: int, leaf: bytes, columns: tuple[object, ...] | None, ledger: str
) -> bool:
    return (
        plain.kind == "effect"
        and plain.late_for is None
        and plain.payloads is None
        and plain.repeat_of is None
        and plain.intent_id is None
        and plain.ledger == ledger
        and int(plain.seq) == seq
        and plain.occurred_at <= plain.recorded_at
        # In the order of `stored.COLUMNS`.
        and columns
        == (
            leaf,
            plain.id,
            plain.key,
            "effect",
            plain.type,
            plain.poster,
            plain.subject,
            plain.business_key,
            plain.actor_id,
            plain.currency,
            None,
            None,
            plain.occurred_at,
            plain.recorded_at,
        )
    )

"""
Sift: which entries of a page are as they should be, found out without a word about each.

Nearly all are. An entry that passes is an effect in the plain spelling, at its place, linked
to the one before it, and its columns are what its bytes say: the auditor would find nothing.
All others, corrections among them, are for the auditor to judge one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ledger.merkle import leaf_hash
from ledger.plain import PlainEntry, read_plain
from ledger.verify.stored import StoredEntry


class Sifted(NamedTuple):
    """A page that was sifted, row by row."""

    leaves: Sequence[bytes]
    """Leaf hash of each row's bytes."""
    sound: Sequence[PlainEntry | None]
    """What each row says; None where it must be judged."""

    def run(self, start: int) -> list[PlainEntry]:
        """The sound entries from row `start` on, up to the first that is not."""
        run = []
        at = start
        while at < len(self.sound) and (entry := self.sound[at]) is not None:
            run.append(entry)
            at += 1
        return run


def sift(
    rows: Sequence[StoredEntry], *, ledger: str, seq: int, last: bytes | None, recorded_at: str
) -> Sifted:
    """
    Sift a page.

    Args:
        rows: In order.
        ledger: Its name.
        seq: The number that the first entry should have.
        last: Hash of the entry before it; None where that is not known.
        recorded_at: When that was recorded; empty where none was.
    """
    leaves: list[bytes] = []
    sound: list[PlainEntry | None] = []
    claim = None if last is None else last.hex()
    for row_seq, body, columns in rows:
        leaf = leaf_hash(body)
        plain = read_plain(body)
        if (
            plain is None
            or plain.kind != "effect"
            or plain.late_for is not None
            or plain.payloads is not None
            or plain.repeat_of is not None
            or plain.prev != claim
            or plain.ledger != ledger
            or row_seq != seq
            or int(plain.seq) != seq
            or not recorded_at <= plain.recorded_at
            or plain.occurred_at > plain.recorded_at
            or columns != _columns(plain, leaf)
        ):
            plain = None
        else:
            recorded_at = plain.recorded_at
        leaves.append(leaf)
        sound.append(plain)
        claim = leaf.hex()
        seq = row_seq + 1
    return Sifted(leaves, sound)


def _columns(plain: PlainEntry, leaf: bytes) -> tuple[object, ...]:
    """What the columns of an effect should hold, see `stored.COLUMNS`."""
    return (
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

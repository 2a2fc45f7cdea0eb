"""
Attachments: the payload rows beside the entries that commit to them.

Rows, commitments and erasures are compared here; keys are for whoever opens payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ledger.effect import Kind
from ledger.entry import Entry, UnreadEntry
from ledger.forms.payload import Commitment
from ledger.verify.links import Add
from ledger.verify.report import shown
from ledger.verify.stored import Source, StoredPayload


class SealedPayload(NamedTuple):
    """A payload that is to be opened."""

    seq: int
    entry_id: str
    name: str
    sealed_bytes: int


OpenPayloads = Callable[[str, Sequence[SealedPayload]], Iterable[tuple[SealedPayload, str]]]
"""
Opens payloads of the ledger of an origin, and checks their commitments; gives back those
that fail, with the reason.
"""


class Attachments:
    """Compares payload rows page by page; remembers those that are empty."""

    def __init__(
        self, source: Source, *, origin: str, open_payloads: OpenPayloads | None, add: Add
    ) -> None:
        self._source = source
        self._origin = origin
        self._open_payloads = open_payloads
        self._add = add
        self._rows: dict[tuple[int, str], StoredPayload] = {}
        self._sealed: list[SealedPayload] = []
        self._empty: dict[tuple[str, str], int] = {}
        self._erased: set[tuple[str, str]] = set()
        self._lost: list[range] = []
        self.lost = 0
        """Payloads whose octets did not come back with their entries, as a notice says."""

    def begin_page(self, start: int, stop: int) -> None:
        """Read the rows of entries [start, stop)."""
        for row in self._source.payloads(start, stop):
            if (row.seq, row.name) in self._rows:
                self._add(
                    "payload.twice", row.seq, f"payload {row.name} of entry {row.seq} stands twice"
                )
            self._rows[row.seq, row.name] = row

    def take(self, entry: Entry) -> None:
        """An entry of the page."""
        for committed in entry.payloads:
            row = self._rows.pop((entry.seq, committed.name), None)
            where = f"payload {committed.name} of entry {entry.seq}"
            if row is None:
                self._add("payload.missing", entry.seq, f"{where} is gone, and was not erased")
                continue
            self._compare(where, committed, row)
            if row.sealed_bytes is None:
                self._empty[entry.id, committed.name] = entry.seq
            else:
                self._sealed.append(
                    SealedPayload(entry.seq, entry.id, committed.name, row.sealed_bytes)
                )
        effect = entry.effect
        if effect.kind is not Kind.NOTICE or not effect.data:
            return
        if effect.type == "payload.erased":
            self._erased |= {(each["entry"], each["name"]) for each in effect.data["payloads"]}
        elif effect.type == "payload.lost":
            # No more than what had been recorded by then can have been lost.
            stop = min(effect.data["to_seq"] + 1, entry.seq)
            self._lost.append(range(effect.data["from_seq"], stop))

    def take_unread(self, entry: UnreadEntry) -> None:
        """An entry of a later version, which may commit to payloads in its own way."""
        for place in [place for place in self._rows if place[0] == entry.seq]:
            del self._rows[place]

    def _compare(self, where: str, committed: Commitment, row: StoredPayload) -> None:
        if row.media_type != committed.media_type:
            self._add(
                "payload.media_type",
                row.seq,
                f"{where} is stored as {shown(row.media_type)}, its entry says "
                f"{shown(committed.media_type)}",
            )
        if row.commitment.hex() != committed.commitment:
            self._add(
                "payload.commitment",
                row.seq,
                f"{where} is stored with another commitment than its entry made",
            )

    def end_page(self) -> None:
        """Rows that no entry of the page commits to are too many; the others are opened."""
        for seq, name in self._rows:
            self._add(
                "payload.extra",
                seq,
                f"payload {name} is stored for entry {seq}, which has none such",
            )
        self._rows.clear()
        if self._open_payloads is not None and self._sealed:
            for payload, reason in self._open_payloads(self._origin, self._sealed):
                self._add(
                    "payload.content",
                    payload.seq,
                    f"payload {payload.name} of entry {payload.seq} is not what its entry "
                    f"committed to: {reason}",
                )
        self._sealed.clear()

    def is_lost(self, seq: int) -> bool:
        """Whether a notice says that what belonged to entry `seq` was lost."""
        return any(seq in lost for lost in self._lost)

    def end(self) -> None:
        """A payload may be empty only if a notice says that it was erased, or lost."""
        for (entry_id, name), seq in self._empty.items():
            if (entry_id, name) in self._erased:
                continue
            if self.is_lost(seq):
                self.lost += 1
            else:
                self._add(
                    "payload.erased",
                    seq,
                    f"payload {name} of entry {seq} was emptied, and no notice says it was erased",
                )

"""Close: the cut-off of a period as it stands in its ledger, with the checkpoint over it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.checkpoint import parse_checkpoint
from ledger.entry import Entry, parse_entry
from ledger.errors import MalformedProofError
from ledger.note import parse_note
from ledger.period import PERIOD_CLOSED, Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """A close as it stands in its ledger."""

    entry: Entry
    checkpoint_size: int | None
    checkpoint_note: bytes | None
    """The checkpoint it is proved under; both None until one is signed."""
    superseded_by: str | None
    """Id of the close that corrects it."""
    closed_before: tuple[str, ...] = ()
    """Later periods that were closed before this one: they have what was recorded until then."""
    reviews: tuple[Entry, ...] = ()
    """The entries by which others than the preparer confirmed it, each with a key of their own."""

    @property
    def data(self) -> dict[str, Any]:
        """What the notice says; see `notices.SCHEMAS`."""
        return dict(self.entry.effect.data or {})

    @property
    def period(self) -> Period:
        """The period that was closed."""
        data = self.data
        return Period(name=data["name"], from_at=data["from_at"], to_at=data["to_at"])

    def document(self) -> dict[str, Any]:
        """As JSON: what the notice says, where it stands, and the checkpoint over it."""
        note = self.checkpoint_note
        return {
            "id": self.entry.id,
            "ledger": self.entry.ledger,
            "seq": self.entry.seq,
            "entry_hash": self.entry.hash.hex(),
            "recorded_at": self.entry.recorded_at,
            "state": "closed" if self.superseded_by is None else "superseded",
            "superseded_by": self.superseded_by,
            **self.data,
            "closed_before": list(self.closed_before),
            "reviews": [
                {
                    "reviewer": (each.effect.data or {})["reviewer"],
                    "seq": each.seq,
                    "id": each.id,
                    "entry_hash": each.hash.hex(),
                    "recorded_at": each.recorded_at,
                }
                for each in self.reviews
            ],
            "checkpoint": None if note is None else note.decode(),
        }


def later_periods(close: Close, earlier: Iterable[Close]) -> tuple[str, ...]:
    """Names of periods after that of `close`, of those closes before it that stand."""
    return tuple(
        each.period.name
        for each in earlier
        if each.superseded_by is None and each.period.from_at >= close.period.to_at
    )


def read_close(
    body: bytes, checkpoint_size: int | None, note: bytes | None, superseded_by: str | None
) -> Close:
    """
    The close that is stored so.

    Raises:
        MalformedProofError: The entry is none, or the note no checkpoint.
    """
    entry = parse_entry(body)
    if not isinstance(entry, Entry) or entry.effect.type != PERIOD_CLOSED:
        raise MalformedProofError(f"entry {entry.seq} is no close of a period", seq=entry.seq)
    if note is not None:
        # Held to its form: it is spliced into answers and bundles.
        parse_checkpoint(parse_note(note).text)
    return Close(
        entry=entry,
        checkpoint_size=checkpoint_size,
        checkpoint_note=note,
        superseded_by=superseded_by,
    )


def reviews_by_close(bodies: Iterable[bytes]) -> Mapping[str, list[Entry]]:
    """Id of each close -> the entries that confirm it, in their order."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for body in bodies:
        entry = parse_entry(body)
        if isinstance(entry, Entry) and entry.effect.data is not None:
            found[entry.effect.data["close"]].append(entry)
    return found

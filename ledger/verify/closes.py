"""
Closes: whether each entry names the closed period it was late for, no other names one, and the
rows that writers find closes by say what the closes say.

Closes are read from the entries themselves, in their order, as the writer knew them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.effect import Effect
from ledger.entry import Entry
from ledger.period import ClosedPeriod, Period, is_close, lateness
from ledger.verify.links import Add
from ledger.verify.report import shown
from ledger.verify.sift import Run
from ledger.verify.stored import StoredClose


class Closes:
    """The closes that stand at the entry that is read."""

    def __init__(self, earlier: Sequence[Entry], add: Add) -> None:
        """
        Begin after `earlier`.

        Args:
            earlier: The closes before the first entry that is read.
            add: Where findings go.
        """
        self.count = 0
        """Closes so far, superseded ones too."""
        self._add = add
        self._told: dict[int, StoredClose] = {}
        self._standing: dict[str, ClosedPeriod] = {}
        self._late_for: Callable[[Effect], str | None] = lateness(())
        self._ends = ""
        for entry in earlier:
            self._learn(entry)

    def take(self, entry: Entry) -> None:
        """The next entry: judged, and known if it is a close."""
        expected, said = self._late_for(entry.effect), entry.late_for
        if said != expected:
            self._add(
                "time.late",
                entry.seq,
                f"entry {entry.seq} says that it is late for {said or 'no closed period'}; by the "
                f"closes before it, it is late for {expected or 'none'}",
            )
        self._learn(entry)

    def may_concern(self, run: Run) -> bool:
        """Whether an entry of a run, none of which names a period, may be late for one."""
        return run.occurred_from < self._ends

    def end(self, rows: Sequence[StoredClose], stop: int) -> None:
        """Compare the rows of closes before entry `stop` with what the closes say."""
        stored = {row.seq: row for row in rows if row.seq < stop}
        for seq in sorted(stored.keys() | self._told.keys()):
            row, told = stored.get(seq), self._told.get(seq)
            if row is None:
                self._add("period.missing", seq, f"the period that entry {seq} closed has no row")
            elif told is None:
                self._add("period.extra", seq, f"a period has a row, and entry {seq} closed none")
            elif row != told:
                self._add(
                    "period.row",
                    seq,
                    f"the row of the period that entry {seq} closed says {shown(tuple(row))}, the "
                    f"entry says {shown(tuple(told))}",
                )

    def _learn(self, entry: Entry) -> None:
        data = entry.effect.data
        if data is None or not is_close(entry.effect):
            return
        self.count += 1
        self._told[entry.seq] = StoredClose(
            seq=entry.seq,
            id=entry.id,
            name=data["name"],
            from_at=data["from_at"],
            to_at=data["to_at"],
            from_seq=data["from_seq"],
            supersedes=data.get("supersedes"),
        )
        self._standing.pop(data.get("supersedes", ""), None)
        period = Period(name=data["name"], from_at=data["from_at"], to_at=data["to_at"])
        self._standing[entry.id] = ClosedPeriod(period=period, seq=entry.seq)
        self._late_for = lateness(tuple(self._standing.values()))
        self._ends = max(each.period.to_at for each in self._standing.values())

"""
Bounds: between which times an entry was recorded, as others than its ledger say.

    an anchor of a tree without it  <=  recorded_at  <=  the first anchor of a tree with it

The lower one is no proof by itself: a ledger that hides an entry shows a tree without it. But an
entry that is dated before a tree which its ledger had without it is dated falsely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.forms.timestamps import format_time, parse_time
from ledger.verify import CLOCKS_APART, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The two bounds of one entry; each None where nobody who is trusted gives it."""

    not_before: datetime | None
    not_after: datetime | None

    def verdict(self, recorded_at: str) -> Verdict:
        """Whether the entry's own time fits; unchecked where there is no bound."""
        if self.not_before is None and self.not_after is None:
            return "unchecked"
        return "ok" if self._says_against(recorded_at) is None else "bad"

    def first_bad(self, seq: int, recorded_at: str) -> Mapping[str, Any] | None:
        """The finding that the entry's time is outside; None where it is not."""
        says = self._says_against(recorded_at)
        return None if says is None else {"check": says[0], "seq": seq, "message": says[1]}

    def unknown(self) -> list[str]:
        """What is not bounded, in words."""
        missing = []
        if self.not_after is None:
            missing.append("by when it was recorded: no witness and no authority trusted here says")
        if self.not_before is None:
            missing.append(
                "that it was not recorded earlier than it says: give a cosigned checkpoint from "
                "before it with --checkpoint"
            )
        return missing

    def _says_against(self, recorded_at: str) -> tuple[str, str] | None:
        recorded = parse_time(recorded_at)
        if self.not_after is not None and recorded - self.not_after > CLOCKS_APART:
            says = (
                f"the entry says it was recorded at {recorded_at}, and others had seen it by "
                f"{format_time(self.not_after)}: the ledger's clock was ahead"
            )
            return "time.witnessed", says
        if self.not_before is not None and self.not_before - recorded > CLOCKS_APART:
            says = (
                f"the entry says it was recorded at {recorded_at}, and at "
                f"{format_time(self.not_before)} its ledger still stood without it"
            )
            return "time.backdated", says
        return None

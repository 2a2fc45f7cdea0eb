"""
Waiting: the postings that wait for one ledger, and which of them are committed next.

What comes in large parts must not keep small ones waiting for all of it: an independent posting
goes slice by slice, each with the small ones that came meanwhile, and after an atomic one, which
goes whole and alone, small ones have their turn. Who commits, and when, is for `sequencer`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from ledger.errors import LedgerBrokenError, LedgerError, OutcomeUnknownError, PushbackError
from ledger.submission import Outcome, Posting

# Submissions in one transaction; an atomic posting may be larger and goes alone.
BATCH_ITEMS_MAX = 256
# Of a posting that is larger, as many in one transaction: half of it is left for small ones.
SLICE_ITEMS_MAX = 128

# Nor was its key looked up: it may be known from an earlier request.
NOT_TRIED = (
    "this one was not tried, and is recorded only if its key was before: sent alone, it tells"
)

Answer = list[Outcome] | LedgerError
"""What a posting is told: one outcome per submission, or what befell all of them."""
Tell = Callable[[Answer], None]
"""Called once, in the thread that commits, which waits for it: returns at once, never raises."""


class Waiting:
    """A posting on its way to its answer."""

    __slots__ = ("_outcomes", "_rest", "items", "posting", "tell", "weight")

    def __init__(self, posting: Posting, tell: Tell) -> None:
        self.items = len(posting.submissions)
        """Submissions that are not answered before all are."""
        self.weight = posting.weight
        """Bytes it holds in memory."""
        self.posting = posting
        """What is committed next of it: all, or of a large one that may be sliced the next part."""
        self.tell = tell
        self._rest = posting.submissions[:0]
        self._outcomes: list[Outcome] | None = None
        if self.is_large and not posting.atomic:
            self._outcomes = []
            self._rest = posting.submissions
            self._slice()

    @property
    def is_large(self) -> bool:
        """Whether it is more than small ones should have to wait for."""
        return self.items > SLICE_ITEMS_MAX

    def answered(self, answer: Answer) -> Answer | None:
        """
        What the whole posting is told, given what became of `posting`; None where more of it waits.

        Behind a part of which nobody knows, or that was not taken, nothing is written: what
        follows may name what should have stood there, and would be refused for its absence.
        """
        if self._outcomes is None:
            return answer
        if isinstance(answer, LedgerError):
            if not self._outcomes:
                return answer
            answer = [answer] * len(self.posting.submissions)
        self._outcomes += answer
        why = _why_stop(answer)
        if why is not None:
            self._outcomes += [why] * len(self._rest)
        elif self._rest:
            self._slice()
            return None
        return self._outcomes

    def _slice(self) -> None:
        self.posting = replace(self.posting, submissions=self._rest[:SLICE_ITEMS_MAX])
        self._rest = self._rest[SLICE_ITEMS_MAX:]


def _why_stop(outcomes: Sequence[Outcome]) -> LedgerError | None:
    """What is told of whatever follows in the same posting; None where it may be written."""
    for outcome in outcomes:
        if isinstance(outcome, OutcomeUnknownError):
            return PushbackError(
                f"nobody knows whether an item before this one was recorded, so {NOT_TRIED}; "
                "send the batch again with the same keys"
            )
        # Of the ledger, not of the item: what follows would be refused for the same.
        if isinstance(outcome, (PushbackError, LedgerBrokenError)):
            return type(outcome)(f"{outcome.message}; {NOT_TRIED}", **outcome.details)
    return None


class Line:
    """What waits for one ledger: large postings in turn, small ones in the order they came."""

    def __init__(self) -> None:
        self._large: deque[Waiting] = deque()
        self._small: deque[Waiting] = deque()
        self._is_turn_of_small = False

    def __bool__(self) -> bool:
        return bool(self._large or self._small)

    def add(self, waiting: Waiting) -> None:
        """Let it wait, behind all others of its size."""
        (self._large if waiting.is_large else self._small).append(waiting)

    def take(self) -> list[Waiting]:
        """What is committed together next: up to `BATCH_ITEMS_MAX`, or one that goes alone."""
        batch: list[Waiting] = []
        room = BATCH_ITEMS_MAX
        if self._large and not (self._is_turn_of_small and self._small):
            large = self._large.popleft()
            batch.append(large)
            room -= len(large.posting.submissions)
            if large.posting.atomic:
                self._is_turn_of_small = True
                return batch
        self._is_turn_of_small = False
        while self._small and self._small[0].items <= room:
            small = self._small.popleft()
            batch.append(small)
            room -= small.items
        return batch

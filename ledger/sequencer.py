"""
Sequencer: the one writer of a process. What waits is committed together.

Requests of all connections queue here; a thread of its own takes everything that waits
for one ledger and hands it to the appender as one batch. The commit is the batching
window: a lone request waits for nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ledger.append import Appender
from ledger.errors import ForbiddenError, LedgerError, OutcomeUnknownError, OverloadedError
from ledger.forms.names import LEDGER_ITSELF, REGISTRY
from ledger.submission import Outcome, Posting

logger = logging.getLogger(__name__)

# Submissions in one transaction; a single posting may be larger and goes alone.
BATCH_ITEMS_MAX = 256
# Waiting beyond this would only grow memory: the caller is told to come back.
WAITING_ITEMS_MAX = 20_000
WAITING_BYTES_MAX = 64 * 1024 * 1024

Answer = list[Outcome] | LedgerError
"""What a posting is told: one outcome per submission, or what befell all of them."""
Tell = Callable[[Answer], None]
"""Called once, in the thread that commits, which waits for it: returns at once, never raises."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    posting: Posting
    tell: Tell


class Sequencer:
    """Queues postings per ledger and commits them in batches, ledger by ledger in turn."""

    def __init__(self, open_appender: Callable[[], Appender]) -> None:
        self._open_appender = open_appender
        self._queues: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._items = 0
        self._bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self.on_batch: Callable[[str, Sequence[list[Outcome]], float], None] | None = None
        """Told ledger, outcomes and seconds after each batch; for metrics and feeds."""

    @property
    def waiting(self) -> int:
        """Submissions that wait or are being committed."""
        return self._items

    def start(self) -> None:
        """Begin to commit what is submitted."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def submit(self, posting: Posting) -> Future[list[Outcome]]:
        """
        Queue a posting, as `queue` does.

        Returns:
            The outcomes to come, one per submission. Cancelling it changes nothing: what
            is queued is committed.

        Raises:
            ForbiddenError, OverloadedError: As `queue`.
        """
        answer: Future[list[Outcome]] = Future()
        # Once running it cannot be cancelled, so a caller that hangs up cannot halve a batch.
        answer.set_running_or_notify_cancel()

        def tell(told: Answer) -> None:
            if isinstance(told, LedgerError):
                answer.set_exception(told)
            else:
                answer.set_result(told)

        self.queue(posting, tell)
        return answer

    def queue(self, posting: Posting, tell: Tell) -> None:
        """
        Queue a posting; `tell` will be told what became of it, whoever else goes away.

        Raises:
            ForbiddenError: `_registry` is written by the service alone.
            OverloadedError: Too much waits already. Nothing was written.
        """
        if posting.ledger == REGISTRY and posting.principal != LEDGER_ITSELF:
            raise ForbiddenError(f"{REGISTRY} is written by the service itself", ledger=REGISTRY)
        waiting = _Waiting(posting, tell)
        with self._changed:
            if self._stopping:
                raise OverloadedError("the service is stopping")
            self._check_room(posting)
            self._items += len(posting.submissions)
            self._bytes += posting.weight
            self._queues.setdefault(posting.ledger, deque()).append(waiting)
            self._changed.notify()

    def _check_room(self, posting: Posting) -> None:
        for unit, waiting, asked, limit in (
            ("submissions", self._items, len(posting.submissions), WAITING_ITEMS_MAX),
            ("bytes", self._bytes, posting.weight, WAITING_BYTES_MAX),
        ):
            if waiting + asked > limit:
                raise OverloadedError(
                    f"{waiting} {unit} wait already, {asked} more would pass the limit of {limit}",
                    unit=unit,
                    waiting=waiting,
                    waiting_max=limit,
                )

    def _run(self) -> None:
        appender = self._open_appender()
        while (taken := self._take()) is not None:
            ledger, batch = taken
            answers = self._commit(appender, ledger, batch)
            with self._changed:
                self._items -= sum(len(waiting.posting.submissions) for waiting in batch)
                self._bytes -= sum(waiting.posting.weight for waiting in batch)
            # Last of all: whoever has its answer finds room for its next request.
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.tell(answer)

    def _take(self) -> tuple[str, list[_Waiting]] | None:
        """Everything that waits for the next ledger in turn, up to one batch; None at the end."""
        with self._changed:
            while not self._queues:
                if self._stopping:
                    return None
                self._changed.wait()
            ledger, queue = self._queues.popitem(last=False)
            batch = [queue.popleft()]
            items = len(batch[0].posting.submissions)
            while queue and items + len(queue[0].posting.submissions) <= BATCH_ITEMS_MAX:
                batch.append(queue.popleft())
                items += len(batch[-1].posting.submissions)
            if queue:
                # To the end of the line: a busy ledger does not starve the others.
                self._queues[ledger] = queue
            return ledger, batch

    def _commit(
        self, appender: Appender, ledger: str, batch: Sequence[_Waiting]
    ) -> Sequence[Answer]:
        """What each posting of the batch is told: its outcomes, or the error of all."""
        began = time.perf_counter()
        try:
            outcomes = appender.append(ledger, [waiting.posting for waiting in batch])
            assert len(outcomes) == len(batch), "every posting has its outcomes"
        except LedgerError as error:
            return [error] * len(batch)
        except Exception as error:
            # A bug of ours. Whether the commit was sent is not known here, so say that.
            logger.exception("a batch of ledger %s failed", ledger)
            unknown = OutcomeUnknownError("the outcome is not known; the same key tells it")
            unknown.__cause__ = error
            return [unknown] * len(batch)
        self._tell(ledger, outcomes, time.perf_counter() - began)
        return outcomes

    def _tell(self, ledger: str, outcomes: Sequence[list[Outcome]], seconds: float) -> None:
        # Read once: whoever listens may go away at any time.
        on_batch = self.on_batch
        if on_batch is None:
            return
        try:
            on_batch(ledger, outcomes, seconds)
        except Exception:
            # Harmless: the batch is on disk, and those who posted it are to be told so.
            logger.exception("a batch of ledger %s was not counted", ledger)

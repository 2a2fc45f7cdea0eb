"""
Sequencer: the writers of a process, one at a time for each ledger. What waits commits together.

Requests of all connections queue here; a thread takes everything that waits for one ledger and
hands it to its appender as one batch; of a large posting it may be a part. The commit is the
batching window: a lone request waits for nothing. Several threads commit to several ledgers at
once, for most of a commit is waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ledger.append import Appender
from ledger.errors import ForbiddenError, LedgerError, OutcomeUnknownError, OverloadedError
from ledger.forms.names import LEDGER_ITSELF, REGISTRY
from ledger.submission import Outcome, Posting
from ledger.waiting import Answer, Line, Tell, Waiting

logger = logging.getLogger(__name__)

# Waiting beyond this would only grow memory: the caller is told to come back.
WAITING_ITEMS_MAX = 20_000
WAITING_BYTES_MAX = 64 * 1024 * 1024


class Sequencer:
    """Queues postings per ledger and commits them in batches, ledger by ledger in turn."""

    def __init__(self, appenders: Sequence[Appender]) -> None:
        """Make a thread for each of `appenders`, which are its own from now on."""
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._busy: set[str] = set()
        """Ledgers that somebody is committing to."""
        self._items = 0
        self._bytes = 0
        self._lock = threading.Lock()
        self._idle: list[threading.Condition] = []
        """Threads that wait for work, the one that began to last at the end."""
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, args=(each,), name="sequencer", daemon=True)
            for each in appenders
        ]
        self.on_batch: Callable[[str, Sequence[list[Outcome]], float], None] | None = None
        """Told ledger, outcomes and seconds after each batch; for metrics and feeds."""

    @property
    def waiting(self) -> int:
        """Submissions that wait or are being committed."""
        return self._items

    def start(self) -> None:
        """Begin to commit what is submitted."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Commit what waits, then end."""
        with self._lock:
            self._stopping = True
            self._wake_all()
        for thread in self._threads:
            thread.join()

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
        waiting = Waiting(posting, tell)
        with self._lock:
            if self._stopping:
                raise OverloadedError("the service is stopping")
            self._check_room(waiting)
            self._items += waiting.items
            self._bytes += waiting.weight
            # For one in line already somebody was woken, or will look when the ledger is free.
            if self._line_up(posting.ledger, waiting) and posting.ledger not in self._busy:
                self._wake_one()

    def _line_up(self, ledger: str, waiting: Waiting) -> bool:
        """Let it wait; whether it is the first that does for its ledger."""
        line = self._lines.get(ledger)
        is_first = line is None
        if line is None:
            line = self._lines[ledger] = Line()
        line.add(waiting)
        return is_first

    def _check_room(self, arriving: Waiting) -> None:
        for unit, waiting, asked, limit in (
            ("submissions", self._items, arriving.items, WAITING_ITEMS_MAX),
            ("bytes", self._bytes, arriving.weight, WAITING_BYTES_MAX),
        ):
            if waiting + asked > limit:
                raise OverloadedError(
                    f"{waiting} {unit} wait already, {asked} more would pass the limit of {limit}",
                    unit=unit,
                    waiting=waiting,
                    waiting_max=limit,
                )

    def _run(self, appender: Appender) -> None:
        work = threading.Condition(self._lock)
        while (taken := self._take(work)) is not None:
            ledger, batch = taken
            answers = self._commit(appender, ledger, batch)
            # Last of all: whoever has its answer finds room for its next request.
            for waiting, answer in self._release(ledger, batch, answers):
                waiting.tell(answer)

    def _take(self, work: threading.Condition) -> tuple[str, list[Waiting]] | None:
        """What is committed next for the next ledger in turn; None at the end."""
        with self._lock:
            while (ledger := self._next()) is None:
                if self._stopping and not self._lines:
                    return None
                self._idle.append(work)
                work.wait()
            self._busy.add(ledger)
            line = self._lines[ledger]
            batch = line.take()
            if line:
                # To the end of the line: a busy ledger does not starve the others.
                self._lines.move_to_end(ledger)
            else:
                del self._lines[ledger]
            return ledger, batch

    def _next(self) -> str | None:
        """The ledger whose turn it is; one that is committed to waits for its writer."""
        return next((ledger for ledger in self._lines if ledger not in self._busy), None)

    def _release(
        self, ledger: str, batch: Sequence[Waiting], answers: Sequence[Answer]
    ) -> list[tuple[Waiting, Answer]]:
        """Let others have the ledger; who of the batch is answered by now, and what."""
        answered = []
        with self._lock:
            self._busy.remove(ledger)
            for waiting, told in zip(batch, answers, strict=True):
                answer = waiting.answered(told)
                if answer is None:
                    # This thread looks again before it ends, so that is committed too.
                    self._line_up(ledger, waiting)
                    continue
                self._items -= waiting.items
                self._bytes -= waiting.weight
                answered.append((waiting, answer))
            if self._stopping:
                self._wake_all()
            elif ledger in self._lines:
                # This thread has answers to give first.
                self._wake_one()
        return answered

    def _wake_one(self) -> None:
        if self._idle:
            # The last one: what it needs is still at hand, and one busy ledger has one thread.
            self._idle.pop().notify()

    def _wake_all(self) -> None:
        while self._idle:
            self._idle.pop().notify()

    def _commit(
        self, appender: Appender, ledger: str, batch: Sequence[Waiting]
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

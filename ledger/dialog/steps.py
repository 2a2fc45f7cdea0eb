"""
Dialog: intents are promised, and each step of them is taken, under the ledger's head.

What promises hold and what entries take is judged in one order, that of the head's lock. Steps
that wait together are committed together. The hand-off is no step of this kind: it is an entry,
and goes the way of all entries.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.admission import history_of, stored_intent, wanted
from ledger.dialog.promise import check_due, statement_signing_bytes
from ledger.effect import Effect
from ledger.entry import new_entry_id
from ledger.errors import (
    BadReferenceError,
    IdempotencyConflictError,
    LedgerError,
    NotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    RejectedError,
)
from ledger.forms.timestamps import format_time
from ledger.intent import Event, Intent, Step, begin, fold, next_event, take
from ledger.lifecycle import Position
from ledger.ports import Batch, Clock, Found, LedgerRecord, Stops, Storage, Wanted
from ledger.submission import Posting, Submission

logger = logging.getLogger(__name__)

BATCH_STEPS_MAX = 128
WAITING_STEPS_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One step as a caller asks for it; its words are right in themselves."""

    ledger: str
    principal: str
    key: str
    step: Step
    said: Mapping[str, Any]
    """In canonical form."""
    token: int | None = None
    intent: str = ""
    """Empty for a promise, whose id is given here."""
    effect: Effect | None = None
    """Of a promise: the effect it would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The step was taken; the commit is on disk."""

    intent: Intent
    """As it stands now."""
    token: int
    """The fencing token as this step left it: whoever was overtaken since keeps the old one."""
    now: str
    """Database clock."""
    replayed: bool


class DialogStorage(Storage, Protocol):
    """Where intents are kept beside entries. `PostgresStorage` is one."""

    def peek(self, record: LedgerRecord, wanted: Wanted) -> Found:
        """What history says to `wanted` now, in a transaction that cannot write."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    asked: Asked
    answer: Future[Taken] = field(default_factory=Future)


class Dialog:
    """Takes steps of intents through one storage connection. Safe to share between threads."""

    def __init__(self, storage: DialogStorage, clock: Clock, stops: Stops) -> None:
        self._storage = storage
        self._clock = clock
        self._stops = stops
        self._records: dict[str, LedgerRecord] = {}
        self._queues: dict[str, deque[_Waiting]] = {}
        self._queued = threading.Lock()
        self._turn = threading.Lock()

    def take(self, asked: Asked) -> Taken:
        """
        Take one step; durable when this returns.

        Raises:
            NotFoundError: There is no such ledger or intent.
            RejectedError: The step is not allowed, or a promise finds no room. Nothing was
                written.
            IdempotencyConflictError: The key already names another step of this intent.
            PushbackError: Nothing was written; the same step may be asked for later.
            OutcomeUnknownError: The commit was sent and not confirmed.
            LedgerBrokenError: The ledger takes no writes.
        """
        waiting = _Waiting(asked)
        with self._queued:
            queue = self._queues.setdefault(asked.ledger, deque())
            if len(queue) >= WAITING_STEPS_MAX:
                raise OverloadedError(
                    f"{len(queue)} steps wait already", waiting_max=WAITING_STEPS_MAX
                )
            queue.append(waiting)
        # Whoever gets its turn takes all that wait with it: the commit is the batching window.
        with self._turn:
            # One turn may take fewer than wait, and this step be among those that are left.
            while not waiting.answer.done():
                self._answer(asked.ledger, self._drain(asked.ledger))
        return waiting.answer.result()

    def rehearse(self, asked: Asked) -> Taken:
        """
        What `take` would answer now, without a trace: no lock, and nothing can be written.

        Raises:
            LedgerError: As `take`.
        """
        self._stops.check(asked.ledger)
        with self._turn:
            record = self._record(asked.ledger)
            found = self._storage.peek(record, _wanted([asked]))
        return _Judge(found, now=format_time(self._clock.now()), new_id=self._new_id).take(asked)

    def _drain(self, ledger: str) -> list[_Waiting]:
        # In order of arrival: whoever drains is among them, or was answered before.
        with self._queued:
            queue = self._queues[ledger]
            taken = [queue.popleft() for _ in range(min(len(queue), BATCH_STEPS_MAX))]
            if not queue:
                del self._queues[ledger]
        return taken

    def _answer(self, ledger: str, batch: Sequence[_Waiting]) -> None:
        try:
            outcomes = self._commit(ledger, [waiting.asked for waiting in batch])
        except Exception as error:
            # A bug of ours. Whether the commit was sent is not known here, so say that.
            logger.exception("steps of ledger %s failed", ledger)
            unknown = OutcomeUnknownError("the outcome is not known; the same key tells it")
            unknown.__cause__ = error
            outcomes = [unknown] * len(batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, LedgerError):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome)

    def _commit(self, ledger: str, steps: Sequence[Asked]) -> Sequence[Taken | LedgerError]:
        try:
            self._stops.check(ledger)
            return self._take_all(self._record(ledger), steps)
        except RejectedError as error:
            # The database refuses a value: our fault, and the price of one of them.
            if len(steps) == 1:
                return [error]
            return [self._commit(ledger, [step])[0] for step in steps]
        except LedgerError as error:
            return [error] * len(steps)

    def _take_all(
        self, record: LedgerRecord, steps: Sequence[Asked]
    ) -> Sequence[Taken | LedgerError]:
        with self._storage.append_transaction(record, _wanted(steps)) as transaction:
            judge = _Judge(transaction.found, now=format_time(transaction.now), new_id=self._new_id)
            outcomes = [judge.judge(step) for step in steps]
            if judge.moved:
                transaction.insert(
                    Batch(
                        head=transaction.head,
                        entries=(),
                        targets=(),
                        positions=judge.positions,
                        payloads=(),
                        data_keys={},
                        tiles=(),
                        intents=judge.moved,
                    )
                )
        # Only past the commit: an answer to a step that rolled back is a false answer.
        return outcomes

    def _record(self, ledger: str) -> LedgerRecord:
        # A ledger's record never changes, so one reading is enough.
        if ledger not in self._records:
            self._records[ledger] = self._storage.ledger(ledger)
        return self._records[ledger]

    def _new_id(self) -> str:
        return new_entry_id(int(self._clock.now().timestamp() * 1000))


class _NewId(Protocol):
    def __call__(self) -> str: ...


class _Judge:
    """Steps of one batch, judged in order against what was found."""

    def __init__(self, found: Found, *, now: str, new_id: _NewId) -> None:
        self._found = found
        self._history = history_of(found)
        self._now = now
        self._new_id = new_id
        self._intents: dict[str, Intent] = {}
        self._keys = {}
        for intent_id, events in found.intents.items():
            intent = stored_intent(intent_id, events)
            self._intents[intent_id] = intent
            self._keys[intent.promise.key] = intent_id
        self.moved: list[Intent] = []

    @property
    def positions(self) -> Sequence[Position]:
        """Positions as the steps leave them."""
        return self._history.changed_positions

    def judge(self, asked: Asked) -> Taken | LedgerError:
        """What becomes of a step."""
        try:
            return self.take(asked)
        except LedgerError as error:
            return error

    def take(self, asked: Asked) -> Taken:
        """A step taken; see `Dialog.take` for what it raises."""
        if asked.step is Step.PROMISED:
            return self._promise(asked)
        intent = self._intents.get(asked.intent)
        if intent is None:
            raise NotFoundError(f"there is no intent {asked.intent[:64]} in this ledger")
        earlier = intent.event_of(asked.key)
        if earlier is not None:
            return self._replay(intent, earlier, asked)
        self._check_statement(asked)
        event = next_event(
            intent,
            asked.step,
            now=self._now,
            by=asked.principal,
            key=asked.key,
            token=asked.token,
            said=asked.said,
        )
        after = take(intent, event)
        if after.is_released and not intent.is_released:
            self._history.release(intent.id, intent.hold)
        return self._moved(after)

    def _promise(self, asked: Asked) -> Taken:
        known = self._keys.get(asked.key)
        if known is not None:
            intent = self._intents[known]
            return self._replay(intent, intent.promise, asked)
        check_due(asked.said, self._now)
        effect = asked.effect
        assert effect is not None
        repeated = effect.repeat_of
        if repeated is not None and not (
            self._history.knows(repeated) or repeated in self._intents
        ):
            raise BadReferenceError(
                f"/repeat_of names {repeated}, which is no entry and no intent of this ledger",
                pointer="/repeat_of",
            )
        intent_id = self._new_id()
        event = Event(
            intent=intent_id,
            ledger=asked.ledger,
            number=0,
            step=Step.PROMISED,
            at=self._now,
            by=asked.principal,
            key=asked.key,
            said=asked.said,
            hold=self._history.promise(effect, intent_id),
        )
        self._keys[asked.key] = intent_id
        return self._moved(begin(event))

    def _replay(self, intent: Intent, earlier: Event, asked: Asked) -> Taken:
        if (earlier.step, earlier.by, earlier.token, earlier.said) != (
            asked.step,
            asked.principal,
            asked.token,
            asked.said,
        ):
            raise IdempotencyConflictError(
                f"key {asked.key} already names another request of this intent", key=asked.key
            )
        then = fold(intent.events[: earlier.number + 1])
        return Taken(intent=intent, token=then.token, now=self._now, replayed=True)

    def _moved(self, intent: Intent) -> Taken:
        self._intents[intent.id] = intent
        self.moved.append(intent)
        return Taken(intent=intent, token=intent.token, now=self._now, replayed=False)

    def _check_statement(self, asked: Asked) -> None:
        statement = asked.said.get("statement")
        if not isinstance(statement, dict):
            return
        owner, public_key = self._found.signing_keys.get(statement["key_id"], (None, b""))
        if owner != asked.principal:
            raise BadReferenceError(
                f"signing key {statement['key_id']} is not enrolled for {asked.principal}",
                pointer="/statement/key_id",
            )
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(
                base64.b64decode(statement["sig"]),
                statement_signing_bytes(
                    asked.ledger, asked.intent, str(asked.said["outcome"]), statement["digest"]
                ),
            )
        except InvalidSignature as error:
            raise BadReferenceError(
                "the signature is not good for this statement", pointer="/statement/sig"
            ) from error


def _wanted(steps: Sequence[Asked]) -> Wanted:
    effects = [step.effect for step in steps if step.effect is not None]
    asked = wanted(
        [Posting(ledger="", principal="", submissions=tuple(Submission(effect=e) for e in effects))]
    )
    statements = [step.said.get("statement") for step in steps]
    return replace(
        asked,
        # The keys of intents and of entries are two lists of names.
        keys=(),
        intents=[
            *(step.intent for step in steps if step.intent),
            *(effect.repeat_of for effect in effects if effect.repeat_of),
        ],
        intent_keys=[step.key for step in steps if step.effect is not None],
        signing_keys=[each["key_id"] for each in statements if isinstance(each, dict)],
    )

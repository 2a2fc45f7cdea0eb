"""The client: one ledger, spoken to in the calling thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx

from ledger.client.budget import PROCESS_BUDGET, RetryBudget
from ledger.client.closed_world import ClosedWorld
from ledger.client.exchange import Patience
from ledger.client.execution import Execution, UnderWay
from ledger.client.members import (
    CorrectionMembers,
    EffectMembers,
    Evidence,
    ExplanationMembers,
    HandOverMembers,
    Moment,
    PromiseMembers,
)
from ledger.client.operations import ItemResult, Operations
from ledger.client.receipt_store import ReceiptStore
from ledger.client.recorded import FoundEntry, Recorded
from ledger.client.requests import Elsewhere, KeyOf
from ledger.client.retry import Retry
from ledger.client.transport import Transport, checked_url
from ledger.client.trust import given_trust
from ledger.policy import Policy
from ledger.receipt import Receipt, ReceiptLevel, VerifiedEntry

Target = str | Recorded | FoundEntry | KeyOf | Elsewhere
"""What is corrected: its id, what was recorded or found, its key, or where else it was recorded."""
BatchMode = Literal["independent", "atomic"]


class Client:
    """
    One ledger, spoken to with one API key; may be shared between threads.

    Every write takes the idempotency `key` that its caller chose and kept before: the same key
    with the same words is the same entry, however often it is sent. What every write may raise:

        NotSent, Refused      nothing was recorded
        BudgetSpent           nothing was recorded; come back later
        OutcomeUnknown        it was sent, and only the key tells
        ReceiptInvalid        it is told to be recorded, and not proved
        ReceiptUnsigned       the same, for the ledger's signer is away: ask again in a moment
        ReceiptNotKept        it is recorded and proved, and the store did not take the proof
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        ledger: str,
        receipts: ReceiptStore | None = None,
        vkey: str | Sequence[str] | None = None,
        policy: Policy | None = None,
        retry: Retry = Retry(),  # noqa: B008 - it never changes.
        budget: RetryBudget = PROCESS_BUDGET,
        http: httpx.Client | None = None,
    ) -> None:
        """
        Speak to a ledger; nothing is sent yet.

        Args:
            url: Of the service, without a password: errors name it.
            key: API key; None for what is open to strangers.
            ledger: Its name.
            receipts: Where receipts are kept once they are proved; nowhere, without.
            vkey: Verifier keys of the ledger that you trust, from whoever runs it. Without them,
                and without a policy that names logs, the keys that `receipts` learned before
                count; without those, the ledger is asked once and its keys are pinned there.
            policy: Which witnesses must agree, and the logs if it names them.
            retry: How long one request is worth trying.
            budget: What share of requests may be retries; one for the process, without.
            http: Your own client of httpx, with its proxies and certificates.

        Raises:
            NotSent: The URL or the key is none.
            MalformedProofError: A verifier key is none.
        """
        self._transport = Transport(url, key, http)
        self._operations = Operations(
            url=checked_url(url),
            ledger=ledger,
            patience=Patience(url=url, retry=retry, budget=budget),
            store=receipts,
            given=given_trust(vkey, policy),
            policy=policy,
        )
        self._run = self._transport.perform

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()

    # ---- Writes -----------------------------------------------------------------------

    def effect(self, *, key: str, **members: Unpack[EffectMembers]) -> Recorded:
        """Record an effect at its hand-off: from here on it is history."""
        return self._run(self._operations.effect(key, members))

    def refund(self, target: Target, *, key: str, **members: Unpack[CorrectionMembers]) -> Recorded:
        """Record money taken back from an effect."""
        return self._run(self._operations.correct("refund", target, key, members))

    def adjust(self, target: Target, *, key: str, **members: Unpack[CorrectionMembers]) -> Recorded:
        """Record a signed change of an effect, a refund or an adjustment."""
        return self._run(self._operations.correct("adjustment", target, key, members))

    def explain(
        self, target: Target, *, key: str, **members: Unpack[ExplanationMembers]
    ) -> Recorded:
        """Record words about any entry."""
        return self._run(self._operations.correct("explanation", target, key, members))

    def post(self, path: str, body: bytes | Mapping[str, Any], *, key: str) -> Recorded:
        """
        Record exactly this body.

        Args:
            path: Where to, below the ledger: `/effects`, `/effects/{id}/refunds`, `/corrections`.
            body: JSON in bytes, sent as they are, or a value.
            key: Idempotency key.
        """
        return self._run(self._operations.write(path, body, key=key))

    def batch(
        self, items: Iterable[Mapping[str, Any]], *, mode: BatchMode = "independent"
    ) -> list[ItemResult]:
        """
        Record up to 1,000 items, each with its `kind` and `key`, in order.

        Returns:
            What became of each: recorded, or the error that it would have raised alone. An atomic
            batch is recorded whole, or raises and nothing is; or it raises what is raised of an
            entry that is told to be recorded and is not proved, or not kept.
        """
        return self._run(self._operations.batch(items, mode=mode))

    def rehearse(
        self, items: Iterable[Mapping[str, Any]], *, mode: BatchMode = "independent"
    ) -> dict[str, Any]:
        """
        What a batch would do now, as the service tells it: provisional, and without a trace.

        Returns:
            `items`, each with a `result` or a `problem`.
        """
        return self._run(self._operations.rehearse(items, mode=mode))

    def closed_world(self) -> ClosedWorld:
        """A block whose effects are queued here, and sent when it is released, or forgotten."""
        return ClosedWorld(
            batch=lambda items: self.batch(items, mode="atomic"),
            rehearse=lambda items: self.rehearse(items, mode="atomic"),
        )

    # ---- Questions --------------------------------------------------------------------

    def entry(self, place: str | int) -> FoundEntry:
        """The entry with this id or at this seq; its words are held to their hash."""
        return self._run(self._operations.entry(place))

    def find(self, *, key: str) -> FoundEntry | None:
        """The entry under an idempotency key; None says that nothing was recorded so far."""
        return self._run(self._operations.find(key=key))

    def entries(self, **filters: str) -> Iterator[FoundEntry]:
        """
        Entries that all filters fit, oldest first: business_key, subject, type, corrects, ...

        Raises:
            ReceiptInvalid: What was answered does not fit, or is out of order.
        """
        cursor: str | None = None
        last: FoundEntry | None = None
        while True:
            page = self._run(self._operations.entries(cursor, filters, last))
            yield from page.entries
            cursor, last = page.cursor, page.entries[-1] if page.entries else last
            if cursor is None:
                return

    def story(self, effect_id: str) -> dict[str, Any]:
        """
        An effect with its corrections, what remains, and what can still be undone.

        Raises:
            ReceiptInvalid: It is of another effect, or its entries are not what was hashed.
        """
        return self._run(self._operations.story(effect_id))

    def feed(self, *, after: int = -1, wait_s: float | None = None) -> Iterator[FoundEntry]:
        """
        Entries in order, without a gap.

        Args:
            after: Seq of the last one seen.
            wait_s: Go on for ever, asking again after so many seconds of silence, up to 60;
                without, the feed ends with the newest entry. A service that restarts is waited
                for as long as one request is tried: `Retry.total_s`.

        Raises:
            ReceiptInvalid: Something is left out, or does not follow what came before.
        """
        last: FoundEntry | None = None
        while True:
            page = self._run(self._operations.page(after, wait_s or 0.0, last))
            yield from page.entries
            if not page.entries and wait_s is None:
                return
            after, last = page.after, page.entries[-1] if page.entries else last

    # ---- Receipts ---------------------------------------------------------------------

    def receipt(self, place: str | int, *, level: ReceiptLevel | None = None) -> VerifiedEntry:
        """Fetch the receipt of an entry, prove and keep it; of a level, where one is named."""
        return self._run(self._operations.receipt(place, level))

    def verify(self, receipt: Recorded | Receipt | Mapping[str, Any]) -> VerifiedEntry:
        """
        What a receipt proves to whoever trusts as this client does.

        Args:
            receipt: What was recorded, an answer that was kept, or the receipt in it.

        Raises:
            ReceiptInvalid: Nothing.
        """
        return self._run(self._operations.verify(receipt))

    # ---- Intents ----------------------------------------------------------------------

    def intent(
        self, *, key: str, executor: str | None = None, **members: Unpack[PromiseMembers]
    ) -> Intent:
        """
        A block in which something is done that cannot be undone.

        Entering promises it and says that it starts; leaving hands it off, if `result` was called,
        and says in every other case that its outcome is unknown. An error of this client's that
        would leave the block without an entry or a failure leaves it as `OutcomeUnknown`.

        Args:
            key: Of the intent; a second run under it never enters the block again. For that the
                words must be the same, `answer_by` too: keep them with the key.
            executor: Who executes, for people.
            members: What is promised.
        """
        return Intent(self._transport, Execution(self._operations, key, members, executor))

    def intent_at(self, intent_id: str) -> dict[str, Any]:
        """An intent as it stands, with its events."""
        return self._run(self._operations.intent(intent_id))

    def intents(self, **filters: str) -> Iterator[dict[str, Any]]:
        """Intents that all filters fit: state, world, older_than, subject, business_key."""
        cursor: str | None = None
        while True:
            page = self._run(self._operations.intents(cursor, filters))
            yield from page["intents"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def approve(self, intent_id: str, *, digest: str, key: str) -> dict[str, Any]:
        """Approve exactly the content of this digest."""
        return self._run(self._operations.step(intent_id, "approval", key, {"digest": digest}))

    def cancel(
        self, intent_id: str, *, token: int, key: str, reason: str | None = None
    ) -> dict[str, Any]:
        """Give an intent up before its execution has started."""
        words = {"token": token} | ({} if reason is None else {"reason": reason})
        return self._run(self._operations.step(intent_id, "cancellation", key, words))

    def execution(
        self,
        intent_id: str,
        *,
        step: Literal["started", "result", "error"],
        token: int,
        key: str,
        **words: Any,
    ) -> dict[str, Any]:
        """
        Say what happens to an execution that no block of `intent` is about.

        Args:
            intent_id: Which intent.
            step: It begins; it happened (`evidence`); or it went wrong (`outcome`).
            token: The newest fencing token.
            key: Idempotency key of this step.
            words: What else the step says.
        """
        said = {"step": step, "token": token, **words}
        return self._run(self._operations.step(intent_id, "execution", key, said))

    def conclude(
        self,
        intent_id: str,
        *,
        outcome: Literal["executed", "not_executed"],
        key: str,
        evidence: Sequence[Evidence] = (),
        **more: Any,
    ) -> dict[str, Any]:
        """Say what became of an execution, by the word of somebody who knows."""
        words = {"outcome": outcome, **({"evidence": list(evidence)} if evidence else {}), **more}
        return self._run(self._operations.step(intent_id, "evidence", key, words))

    def hand_off(
        self, intent_id: str, *, token: int, key: str, **words: Unpack[HandOverMembers]
    ) -> Recorded:
        """Make an intent that was executed an entry of history."""
        said = {"token": token, **words}
        return self._run(self._operations.hand_off(intent_id, key, said))


class Intent(UnderWay):
    """What is being done in a `with` block of `Client.intent`."""

    def __init__(self, transport: Transport, execution: Execution) -> None:
        super().__init__(execution)
        self._transport = transport

    def __enter__(self) -> Self:
        self._transport.perform(self._execution.enter())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.perform(self._execution.leave(error))

    def result(
        self,
        *evidence: Evidence,
        occurred_at: Moment | None = None,
        **words: Unpack[HandOverMembers],
    ) -> None:
        """
        Say that it happened, and where somebody else says so.

        Args:
            evidence: Such as `{"system": "psp", "rel": "transaction", "ref": charge.id}`.
            occurred_at: When; now, without.
            words: Where it came to another amount than was promised, and what comes along.
        """
        self._transport.perform(self._execution.result(evidence, occurred_at, words))

    def failed(self, reason: str | None = None, *evidence: Evidence) -> None:
        """Say that it certainly did not happen; a timeout is no such certainty."""
        self._transport.perform(self._execution.failed(reason, evidence))

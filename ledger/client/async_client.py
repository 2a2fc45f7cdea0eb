"""The same client under asyncio: every method of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx

from ledger.client.budget import PROCESS_BUDGET, RetryBudget
from ledger.client.client import BatchMode, Target
from ledger.client.closed_world import AsyncClosedWorld
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
from ledger.client.retry import Retry
from ledger.client.transport import AsyncTransport, checked_url
from ledger.client.trust import given_trust
from ledger.policy import Policy
from ledger.receipt import Receipt, ReceiptLevel, VerifiedEntry


class AsyncClient:
    """
    One ledger, spoken to with one API key; for one event loop.

    Every method does, takes and raises what its namesake of `Client` does. Cancelling a write
    that was sent leaves its outcome to its key.
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
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """As `Client`, with an `httpx.AsyncClient` for `http`."""
        self._transport = AsyncTransport(url, key, http)
        self._operations = Operations(
            url=checked_url(url),
            ledger=ledger,
            patience=Patience(url=url, retry=retry, budget=budget),
            store=receipts,
            given=given_trust(vkey, policy),
            policy=policy,
        )
        self._run = self._transport.perform

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._transport.close()

    # ---- Writes -----------------------------------------------------------------------

    async def effect(self, *, key: str, **members: Unpack[EffectMembers]) -> Recorded:
        """As `Client.effect`."""
        return await self._run(self._operations.effect(key, members))

    async def refund(
        self, target: Target, *, key: str, **members: Unpack[CorrectionMembers]
    ) -> Recorded:
        """As `Client.refund`."""
        return await self._run(self._operations.correct("refund", target, key, members))

    async def adjust(
        self, target: Target, *, key: str, **members: Unpack[CorrectionMembers]
    ) -> Recorded:
        """As `Client.adjust`."""
        return await self._run(self._operations.correct("adjustment", target, key, members))

    async def explain(
        self, target: Target, *, key: str, **members: Unpack[ExplanationMembers]
    ) -> Recorded:
        """As `Client.explain`."""
        return await self._run(self._operations.correct("explanation", target, key, members))

    async def post(self, path: str, body: bytes | Mapping[str, Any], *, key: str) -> Recorded:
        """As `Client.post`."""
        return await self._run(self._operations.write(path, body, key=key))

    async def batch(
        self, items: Iterable[Mapping[str, Any]], *, mode: BatchMode = "independent"
    ) -> list[ItemResult]:
        """As `Client.batch`."""
        return await self._run(self._operations.batch(items, mode=mode))

    async def rehearse(
        self, items: Iterable[Mapping[str, Any]], *, mode: BatchMode = "independent"
    ) -> dict[str, Any]:
        """As `Client.rehearse`."""
        return await self._run(self._operations.rehearse(items, mode=mode))

    def closed_world(self) -> AsyncClosedWorld:
        """As `Client.closed_world`."""
        return AsyncClosedWorld(
            batch=lambda items: self.batch(items, mode="atomic"),
            rehearse=lambda items: self.rehearse(items, mode="atomic"),
        )

    # ---- Questions --------------------------------------------------------------------

    async def entry(self, place: str | int) -> FoundEntry:
        """As `Client.entry`."""
        return await self._run(self._operations.entry(place))

    async def find(self, *, key: str) -> FoundEntry | None:
        """As `Client.find`."""
        return await self._run(self._operations.find(key=key))

    async def entries(self, **filters: str) -> AsyncIterator[FoundEntry]:
        """As `Client.entries`."""
        cursor: str | None = None
        last: FoundEntry | None = None
        while True:
            page = await self._run(self._operations.entries(cursor, filters, last))
            for entry in page.entries:
                yield entry
            cursor, last = page.cursor, page.entries[-1] if page.entries else last
            if cursor is None:
                return

    async def story(self, effect_id: str) -> dict[str, Any]:
        """As `Client.story`."""
        return await self._run(self._operations.story(effect_id))

    async def feed(
        self, *, after: int = -1, wait_s: float | None = None
    ) -> AsyncIterator[FoundEntry]:
        """As `Client.feed`."""
        last: FoundEntry | None = None
        while True:
            page = await self._run(self._operations.page(after, wait_s or 0.0, last))
            for entry in page.entries:
                yield entry
            if not page.entries and wait_s is None:
                return
            after, last = page.after, page.entries[-1] if page.entries else last

    # ---- Receipts ---------------------------------------------------------------------

    async def receipt(
        self, place: str | int, *, level: ReceiptLevel | None = None
    ) -> VerifiedEntry:
        """As `Client.receipt`."""
        return await self._run(self._operations.receipt(place, level))

    async def verify(self, receipt: Recorded | Receipt | Mapping[str, Any]) -> VerifiedEntry:
        """As `Client.verify`."""
        return await self._run(self._operations.verify(receipt))

    # ---- Intents ----------------------------------------------------------------------

    def intent(
        self, *, key: str, executor: str | None = None, **members: Unpack[PromiseMembers]
    ) -> AsyncIntent:
        """As `Client.intent`."""
        return AsyncIntent(self._transport, Execution(self._operations, key, members, executor))

    async def intent_at(self, intent_id: str) -> dict[str, Any]:
        """As `Client.intent_at`."""
        return await self._run(self._operations.intent(intent_id))

    async def intents(self, **filters: str) -> AsyncIterator[dict[str, Any]]:
        """As `Client.intents`."""
        cursor: str | None = None
        while True:
            page = await self._run(self._operations.intents(cursor, filters))
            for intent in page["intents"]:
                yield intent
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def approve(self, intent_id: str, *, digest: str, key: str) -> dict[str, Any]:
        """As `Client.approve`."""
        return await self._run(
            self._operations.step(intent_id, "approval", key, {"digest": digest})
        )

    async def cancel(
        self, intent_id: str, *, token: int, key: str, reason: str | None = None
    ) -> dict[str, Any]:
        """As `Client.cancel`."""
        words = {"token": token} | ({} if reason is None else {"reason": reason})
        return await self._run(self._operations.step(intent_id, "cancellation", key, words))

    async def execution(
        self,
        intent_id: str,
        *,
        step: Literal["started", "result", "error"],
        token: int,
        key: str,
        **words: Any,
    ) -> dict[str, Any]:
        """As `Client.execution`."""
        said = {"step": step, "token": token, **words}
        return await self._run(self._operations.step(intent_id, "execution", key, said))

    async def conclude(
        self,
        intent_id: str,
        *,
        outcome: Literal["executed", "not_executed"],
        key: str,
        evidence: Sequence[Evidence] = (),
        **more: Any,
    ) -> dict[str, Any]:
        """As `Client.conclude`."""
        words = {"outcome": outcome, **({"evidence": list(evidence)} if evidence else {}), **more}
        return await self._run(self._operations.step(intent_id, "evidence", key, words))

    async def hand_off(
        self, intent_id: str, *, token: int, key: str, **words: Unpack[HandOverMembers]
    ) -> Recorded:
        """As `Client.hand_off`."""
        said = {"token": token, **words}
        return await self._run(self._operations.hand_off(intent_id, key, said))


class AsyncIntent(UnderWay):
    """What is being done in an `async with` block of `AsyncClient.intent`."""

    def __init__(self, transport: AsyncTransport, execution: Execution) -> None:
        super().__init__(execution)
        self._transport = transport

    async def __aenter__(self) -> Self:
        await self._transport.perform(self._execution.enter())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Shielded: whoever cancels once more does not keep the ledger from being told.
        leaving = asyncio.ensure_future(self._transport.perform(self._execution.leave(error)))
        try:
            await asyncio.shield(leaving)
        except asyncio.CancelledError:
            await asyncio.wait({leaving})
            raise

    async def result(
        self,
        *evidence: Evidence,
        occurred_at: Moment | None = None,
        **words: Unpack[HandOverMembers],
    ) -> None:
        """As `Intent.result`."""
        await self._transport.perform(self._execution.result(evidence, occurred_at, words))

    async def failed(self, reason: str | None = None, *evidence: Evidence) -> None:
        """As `Intent.failed`."""
        await self._transport.perform(self._execution.failed(reason, evidence))

"""Closed world: effects that are queued and not sent, until somebody releases them (RML-1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

from ledger.client.errors import NotSent
from ledger.client.members import CorrectionMembers, EffectMembers, ExplanationMembers
from ledger.client.operations import ItemResult
from ledger.client.recorded import FoundEntry, Recorded
from ledger.client.requests import Elsewhere, KeyOf, check_id, check_key

Items = list[dict[str, Any]]


class Queue:
    """What would be recorded, in order; nothing of it has left the process."""

    def __init__(self) -> None:
        self._items: Items = []
        self._is_open = False

    @property
    def items(self) -> Items:
        """The queued items, as a batch has them."""
        return [dict(item) for item in self._items]

    def effect(self, *, key: str, **members: Unpack[EffectMembers]) -> None:
        """Queue an effect."""
        self._add("effect", key, members)

    def refund(
        self,
        target: str | Recorded | FoundEntry | KeyOf | Elsewhere,
        *,
        key: str,
        **members: Unpack[CorrectionMembers],
    ) -> None:
        """Queue a refund; `KeyOf` may name what is queued before it."""
        self._add("refund", key, {**members, **_target(target)})

    def adjust(
        self,
        target: str | Recorded | FoundEntry | KeyOf | Elsewhere,
        *,
        key: str,
        **members: Unpack[CorrectionMembers],
    ) -> None:
        """Queue an adjustment."""
        self._add("adjustment", key, {**members, **_target(target)})

    def explain(
        self,
        target: str | Recorded | FoundEntry | KeyOf | Elsewhere,
        *,
        key: str,
        **members: Unpack[ExplanationMembers],
    ) -> None:
        """Queue an explanation."""
        self._add("explanation", key, {**members, **_target(target)})

    def _add(self, kind: str, key: str, members: Mapping[str, Any]) -> None:
        if not self._is_open:
            raise NotSent(
                "this closed world has been left; nothing is queued in it", reason="world.left"
            )
        self._items.append({"kind": kind, "key": check_key(key), **members})


class ClosedWorld(Queue):
    """
    A block whose effects stay in this process.

    Leaving it without `release` forgets them: nothing was sent, and nothing is to be undone.
    """

    def __init__(
        self,
        batch: Callable[[Items], list[ItemResult]],
        rehearse: Callable[[Items], dict[str, Any]],
    ) -> None:
        """Queue for `batch`, which records all or nothing."""
        super().__init__()
        self._batch, self._rehearse = batch, rehearse

    def __enter__(self) -> Self:
        self._is_open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        self._items.clear()

    def rehearse(self) -> dict[str, Any]:
        """What releasing it would do now, as the service tells it, without a trace."""
        return self._rehearse(self._items)

    def release(self) -> list[ItemResult]:
        """
        Record everything that is queued, or nothing: one atomic batch of up to 1,000.

        After an `OutcomeUnknown` it may be released again; what was recorded is replayed.
        """
        results = self._batch(self._items) if self._items else []
        self._items.clear()
        return results


class AsyncClosedWorld(Queue):
    """As `ClosedWorld`; what is sent is awaited."""

    def __init__(
        self,
        batch: Callable[[Items], Awaitable[list[ItemResult]]],
        rehearse: Callable[[Items], Awaitable[dict[str, Any]]],
    ) -> None:
        """As `ClosedWorld`."""
        super().__init__()
        self._batch, self._rehearse = batch, rehearse

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        self._items.clear()

    async def rehearse(self) -> dict[str, Any]:
        """As `ClosedWorld.rehearse`."""
        return await self._rehearse(self._items)

    async def release(self) -> list[ItemResult]:
        """As `ClosedWorld.release`."""
        results = await self._batch(self._items) if self._items else []
        self._items.clear()
        return results


def _target(target: str | Recorded | FoundEntry | KeyOf | Elsewhere) -> dict[str, Any]:
    if isinstance(target, KeyOf):
        return {"corrects_key": target.key}
    if isinstance(target, Elsewhere):
        return {"corrects_external": {"system": target.system, "ref": target.ref}}
    return {"corrects": check_id(target if isinstance(target, str) else target.id)}

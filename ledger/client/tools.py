"""
Tools: functions that AI agents call, so that what cannot be undone is not done twice.

An agent that resumes calls its tool again, often in other words. Which call it is follows from the
workflow and the step, what it does from a few declared arguments, and never from the wording:

    @tool(client, type="card.capture", business_key="capture/{order}", provider="stripe",
          money=lambda call: eur(call["amount"]))
    def charge(order: str, amount: str, message: str) -> dict: ...

    with workflow("checkout-17"):
        charge("A-1", "19.99", "Thank you!")

The function runs inside an intent: promised before, handed off after, with the hash of what it
returned as evidence. A second call is refused, whatever it says.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from typing import Any, Literal, ParamSpec, TypeVar, cast

from ledger.client.async_client import AsyncClient
from ledger.client.client import Client
from ledger.client.errors import WORLDS, AlreadyConcluded, ClientError, NotSent
from ledger.client.members import Evidence
from ledger.client.tool_step import Call, Declared, Step, Words, may_try_again, workflow

__all__ = ["NotDone", "sentence", "tool", "workflow"]

P = ParamSpec("P")
T = TypeVar("T")
Irreversibility = Literal["irreversible", "compensable", "reversible"]

WITHIN = timedelta(minutes=15)


class NotDone(Exception):  # noqa: N818 - what the tool says, not what went wrong with it.
    """Raised by a tool that knows that nothing happened: the step may be tried again."""

    def __init__(self, says: str, *, reason: str | None = None) -> None:
        """
        Say so; anything else that a tool raises leaves its outcome unknown.

        Args:
            says: For the agent.
            reason: Dotted code that is kept, such as `card.declined`.
        """
        super().__init__(says)
        self.reason = reason


def tool(
    client: Client | AsyncClient,
    *,
    type: str,  # noqa: A002 - the member of the effect.
    irreversibility: Irreversibility = "irreversible",
    business_key: Words | None = None,
    subject: Words | None = None,
    money: Mapping[str, str] | Callable[[Call], Mapping[str, Any] | None] | None = None,
    workflow: Words | None = None,
    step: Words | None = None,
    evidence: Callable[[Any], Sequence[Evidence]] | None = None,
    to_bytes: Callable[[Any], bytes] | None = None,
    provider: str | None = None,
    within: timedelta = WITHIN,
    approval: bool = False,
    undo: str | None = None,
    agent: str | None = None,
    refusals: Literal["raise", "text"] = "raise",
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """
    A tool whose effect is promised, done once, and recorded.

    Args:
        client: Of the ledger; an `AsyncClient` for `async def` functions.
        type: Of the effect, such as `card.capture`.
        irreversibility: `irreversible`; `compensable`, which is recorded just so, says how it is
            undone and wakes nobody at night; `reversible`, of which nothing is recorded.
        business_key: What it does, from its arguments: `"invoice/{invoice}"`. Another call for the
            same, from any workflow and in any words, is refused as a possible repeat.
        subject: What it is about, likewise.
        money: What it moves, from its arguments.
        workflow: Likewise, in place of the block `with workflow(...)`.
        step: Likewise.
        evidence: What a result says that a third party can be asked about, such as the
            provider's id.
        to_bytes: What of a result is hashed. Without it the hash of octets, of a text and of what
            JSON has is recorded; of any other object only that it came back, which does not end an
            outcome that is unknown.
        provider: Who does it, as reconciliation names it (`stripe`). Without it no report of a
            provider can say that a call of unknown outcome did not happen, where there are several.
        within: How long it may take; silence after that is an unknown outcome.
        approval: Whether a person has to approve each call before it runs.
        undo: With `compensable`: the tool that compensates, as the agent knows it.
        agent: Who calls.
        refusals: `text` returns the sentence that the agent should read; `raise` raises the error.

    Raises:
        NotSent: What is declared says neither what a call does nor which step it is.
    """
    if irreversibility != "reversible" and business_key is None and step is None:
        raise NotSent(
            "a tool that cannot be undone declares its business_key, or its step", reason="tool.key"
        )
    if irreversibility == "compensable" and undo is None:
        raise NotSent("a compensable tool names the tool that undoes it", reason="tool.undo")

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if irreversibility == "reversible":
            return function
        declared = Declared(
            name=function.__name__,
            signature=inspect.signature(function),
            type=type,
            irreversibility=irreversibility,
            business_key=business_key,
            subject=subject,
            money=money,
            workflow=workflow,
            step=step,
            evidence=evidence,
            to_bytes=to_bytes,
            provider=provider,
            within=within,
            approval=approval,
            undo=undo,
            agent=agent,
        )
        is_async = inspect.iscoroutinefunction(function)
        if is_async is not isinstance(client, AsyncClient):
            raise NotSent(
                f"{function.__name__} and its client must both be async, or neither",
                reason="tool.colour",
            )
        runs: Any = _async(cast("AsyncClient", client), declared, function, refusals)
        if not is_async:
            runs = _sync(cast("Client", client), declared, function, refusals)
        return cast("Callable[P, T]", functools.wraps(function)(runs))

    return decorate


def sentence(error: ClientError | NotDone, undo: str | None = None) -> str:
    """What an agent should read: the world, what is so, the action, and the way out."""
    says = str(error)
    if isinstance(error, NotDone):
        return f"{WORLDS['RML1']}: {says}; nothing happened. Way out: the step may be tried again."
    label = WORLDS.get(str(error.world))
    if label is not None and not says.startswith(label):
        says = f"{label}: {says}"
    if error.action is not None:
        says += f" Action: {error.action}."
    if undo is not None and isinstance(error, AlreadyConcluded):
        says += f" To undo what was done, call {undo}."
    return says


# ---- The two colours ------------------------------------------------------------------


def _sync(
    client: Client, declared: Declared, function: Callable[..., Any], refusals: str
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            step = declared.step_of(args, kwargs)
            with ExitStack() as stack:
                intent = enter(step, stack)
                try:
                    result = function(*args, **kwargs)
                except NotDone as told:
                    intent.failed(told.reason)
                    raise
                intent.result(*step.evidence_of(result))
        except (ClientError, NotDone) as error:
            if refusals == "raise":
                raise
            return sentence(error, declared.undo)
        return result

    def enter(step: Step, stack: ExitStack) -> Any:
        attempt, key = 1, step.key(1)
        while may_try_again(earlier := next(client.intents(key=key), None), attempt):
            attempt, key = attempt + 1, step.key(attempt + 1)
        promised = client.intent(key=key, executor=declared.agent, **step.promise(earlier))
        return stack.enter_context(promised)

    return run


def _async(
    client: AsyncClient, declared: Declared, function: Callable[..., Any], refusals: str
) -> Callable[..., Any]:
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            step = declared.step_of(args, kwargs)
            async with AsyncExitStack() as stack:
                intent = await enter(step, stack)
                try:
                    result = await function(*args, **kwargs)
                except NotDone as told:
                    await intent.failed(told.reason)
                    raise
                await intent.result(*step.evidence_of(result))
        except (ClientError, NotDone) as error:
            if refusals == "raise":
                raise
            return sentence(error, declared.undo)
        return result

    async def enter(step: Step, stack: AsyncExitStack) -> Any:
        attempt, key = 1, step.key(1)
        while may_try_again(earlier := await anext(client.intents(key=key), None), attempt):
            attempt, key = attempt + 1, step.key(attempt + 1)
        promised = client.intent(key=key, executor=declared.agent, **step.promise(earlier))
        return await stack.enter_async_context(promised)

    return run

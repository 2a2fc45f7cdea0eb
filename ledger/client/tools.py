"""
Tools: functions that AI agents call, so that what cannot be undone is not done twice.

An agent that resumes calls its tool again, often in other words. Which call it is follows from the
workflow and the step, what it does from a few declared arguments, and never from the wording:

    @tool(client, type="card.capture", business_key="capture/{order}",
          money=lambda call: eur(call["amount"]))
    def charge(order: str, amount: str, message: str) -> dict: ...

    with workflow("checkout-17"):
        charge("A-1", "19.99", "Thank you!")

The function runs inside an intent: promised before, handed off after, with the hash of what it
returned as evidence. A second call is refused, whatever it says.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, ParamSpec, TypeVar, cast

from ledger.canonical import canonical_bytes_with_floats
from ledger.client.async_client import AsyncClient
from ledger.client.client import Client
from ledger.client.errors import WORLDS, AlreadyConcluded, ClientError, NotSent
from ledger.client.members import Evidence
from ledger.errors import LedgerError
from ledger.forms.grammar import KEY

P = ParamSpec("P")
T = TypeVar("T")
Call = Mapping[str, Any]
"""Arguments of one call, by name."""
Irreversibility = Literal["irreversible", "compensable", "reversible"]
Words = str | Callable[[Call], str]
"""A text with `{argument}` in it, or a function of the arguments."""

ATTEMPTS_MAX = 9
"""How often one step may fail for certain and be tried again."""
WITHIN = timedelta(minutes=15)

_KEY_CHARACTERS = 200


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


@dataclass(frozen=True, slots=True)
class _Place:
    workflow: str
    step: str | None


_PLACE: ContextVar[_Place | None] = ContextVar("effect_ledger_workflow", default=None)


@contextmanager
def workflow(name: str, *, step: str | None = None) -> Iterator[None]:
    """
    Say in which workflow tools are called, and at which step.

    Args:
        name: The same whenever this very work is resumed: a thread's or a run's id.
        step: Of the workflow; without it a step is what a tool does to its business key.
    """
    token = _PLACE.set(_Place(name, step))
    try:
        yield
    finally:
        _PLACE.reset(token)


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
            provider's id; the hash of the result is recorded in any case.
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
        declared = _Declared(
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


def key_of(workflow: str, step: str, attempt: int = 1) -> str:
    """The idempotency key of a step: of workflow, step and attempt, and of nothing that is said."""
    said = f"{workflow}/{step}"
    if len(said) > _KEY_CHARACTERS or not KEY.fullmatch(said):
        said = hashlib.sha256(said.encode()).hexdigest()
    return f"tool/{said}" + ("" if attempt == 1 else f"/{attempt}")


def sentence(error: ClientError, undo: str | None = None) -> str:
    """What an agent should read: the world, what is so, the action, and the way out."""
    says = str(error)
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
    client: Client, declared: _Declared, function: Callable[..., Any], refusals: str
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
        except ClientError as error:
            if refusals == "raise":
                raise
            return sentence(error, declared.undo)
        return result

    def enter(step: _Step, stack: ExitStack) -> Any:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            key = key_of(step.workflow, step.name, attempt)
            earlier = next(client.intents(key=key), None)
            words = step.promise(earlier)
            try:
                return stack.enter_context(client.intent(key=key, executor=declared.agent, **words))
            except AlreadyConcluded as concluded:
                step.check_may_go_on(concluded, attempt)
        raise AssertionError("the last attempt is refused or returned")

    return run


def _async(
    client: AsyncClient, declared: _Declared, function: Callable[..., Any], refusals: str
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
        except ClientError as error:
            if refusals == "raise":
                raise
            return sentence(error, declared.undo)
        return result

    async def enter(step: _Step, stack: AsyncExitStack) -> Any:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            key = key_of(step.workflow, step.name, attempt)
            earlier = await anext(client.intents(key=key), None)
            words = step.promise(earlier)
            try:
                return await stack.enter_async_context(
                    client.intent(key=key, executor=declared.agent, **words)
                )
            except AlreadyConcluded as concluded:
                step.check_may_go_on(concluded, attempt)
        raise AssertionError("the last attempt is refused or returned")

    return run


# ---- What is the same in both ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """What the decorator says of every call."""

    name: str
    signature: inspect.Signature
    type: str
    irreversibility: str
    business_key: Words | None
    subject: Words | None
    money: Any
    workflow: Words | None
    step: Words | None
    evidence: Callable[[Any], Sequence[Evidence]] | None
    within: timedelta
    approval: bool
    undo: str | None
    agent: str | None

    def step_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Step:
        """
        Which step a call is, and what it does.

        Raises:
            NotSent: The call says too little of it.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise NotSent(f"{self.name}: {error}", reason="tool.arguments") from error
        bound.apply_defaults()
        call = bound.arguments
        place = _PLACE.get()
        named = self._words(self.workflow, call) or (place and place.workflow)
        if not named:
            raise NotSent(
                f"{self.name} was called outside a workflow: say which, by `with workflow(...)`",
                reason="tool.workflow",
            )
        business_key = self._words(self.business_key, call)
        said = self._words(self.step, call) or (place and place.step)
        return _Step(
            declared=self,
            workflow=named,
            # One step may call several tools, and a tool may be called for several things.
            name="/".join(each for each in (said, self.name, business_key) if each),
            business_key=business_key,
            subject=self._words(self.subject, call),
            money=self.money(call) if callable(self.money) else self.money,
        )

    def _words(self, words: Words | None, call: Call) -> str | None:
        if words is None:
            return None
        try:
            return words(call) if callable(words) else words.format_map(call)
        except (KeyError, IndexError, AttributeError, ValueError) as error:
            raise NotSent(
                f"{self.name}: {words!r} does not fit its arguments ({error!r})",
                reason="tool.arguments",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One step of a workflow."""

    declared: _Declared
    workflow: str
    name: str
    business_key: str | None
    subject: str | None
    money: Mapping[str, Any] | None

    def promise(self, earlier: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is promised; in the words of an earlier run of this attempt, if there is one."""
        until = datetime.now(UTC) + self.declared.within
        is_final = self.declared.irreversibility == "irreversible"
        words: dict[str, Any] = {
            "type": self.declared.type,
            "answer_by": until if earlier is None else earlier["answer_by"],
            # What can be compensated wakes nobody: it is asked about in the morning.
            "on_silence": "escalate" if is_final else "ask",
            "labels": {
                "irreversibility": self.declared.irreversibility,
                "tool": self.declared.name,
            },
            "causes": [{"kind": "workflow", "ref": self.workflow}],
            "business_key": self.business_key,
            "subject": self.subject,
            "money": self.money,
            "actor": self.declared.agent and {"id": self.declared.agent, "kind": "agent"},
            "approval_required": self.declared.approval or None,
        }
        return {name: value for name, value in words.items() if value is not None}

    def evidence_of(self, result: Any) -> list[Evidence]:
        """The hash of what came back, and what it says that others can be asked about."""
        evidence: list[Evidence] = [
            {
                "system": self.declared.name,
                "rel": "result",
                "ref": hashlib.sha256(f"{self.workflow}/{self.name}".encode()).hexdigest(),
                "digest": digest_of(result),
            }
        ]
        if self.declared.evidence is not None:
            evidence += self.declared.evidence(result)
        return evidence

    def check_may_go_on(self, concluded: AlreadyConcluded, attempt: int) -> None:
        """
        Whether the step may be tried once more: only where it certainly did not happen.

        Raises:
            AlreadyConcluded: It may not.
        """
        if concluded.intent["state"] not in ("failed", "cancelled") or attempt == ATTEMPTS_MAX:
            raise concluded


def digest_of(result: Any) -> str:
    """SHA-256 in hexadecimal: of octets, of a text in UTF-8, of anything else in RFC 8785."""
    if isinstance(result, bytes):
        return hashlib.sha256(result).hexdigest()
    if isinstance(result, str):
        return hashlib.sha256(result.encode()).hexdigest()
    try:
        return hashlib.sha256(canonical_bytes_with_floats(result)).hexdigest()
    except (LedgerError, TypeError, ValueError):
        # What has no JSON has no bytes that another language would agree on: its own words must do.
        return hashlib.sha256(repr(result).encode()).hexdigest()

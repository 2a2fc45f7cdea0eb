"""
Step: one call of a tool, as what it is in its workflow and what it does; and never how it is said.

Pure, but for the clock: what is promised, under which key, and with which evidence it ends.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from ledger.canonical import canonical_bytes_with_floats
from ledger.client.errors import NotSent
from ledger.client.members import Evidence
from ledger.errors import LedgerError
from ledger.forms.grammar import KEY

Call = Mapping[str, Any]
"""Arguments of one call, by name."""
Words = str | Callable[[Call], str]
"""A text with `{argument}` in it, or a function of the arguments."""

ATTEMPTS_MAX = 9
"""How often one step may fail for certain and be tried again."""

_KEY_CHARACTERS = 200
_PLAIN = ":@+,=!$"


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


def key_of(workflow: str, step: str, attempt: int = 1) -> str:
    """The idempotency key of a step: of workflow, step and attempt, and of nothing that is said."""
    # A slash of the workflow's own would let two pairs of names make one key.
    said = f"{quote(workflow, safe=_PLAIN)}/{step}"
    if len(said) > _KEY_CHARACTERS or not KEY.fullmatch(said):
        said = hashlib.sha256(said.encode()).hexdigest()
    return f"tool/{said}" if attempt == 1 else f"tool.{attempt}/{said}"


def provider_label(provider: str | None) -> dict[str, str]:
    """The label by which reconciliation knows whose reports tell of an effect."""
    return {} if provider is None else {"provider": provider}


def may_try_again(earlier: Mapping[str, Any] | None, attempt: int) -> bool:
    """Whether an attempt certainly came to nothing, so that another may follow, in any words."""
    return (
        earlier is not None
        and earlier["state"] in ("failed", "cancelled")
        and attempt < ATTEMPTS_MAX
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
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
    to_bytes: Callable[[Any], bytes] | None
    provider: str | None
    within: timedelta
    approval: bool
    undo: str | None
    agent: str | None

    def step_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Step:
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
        return Step(
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
class Step:
    """One step of a workflow."""

    declared: Declared
    workflow: str
    name: str
    business_key: str | None
    subject: str | None
    money: Mapping[str, Any] | None

    def key(self, attempt: int) -> str:
        """Of an attempt at it."""
        return key_of(self.workflow, self.name, attempt)

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
                **provider_label(self.declared.provider),
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
        to_bytes = self.declared.to_bytes
        digest = digest_of(result if to_bytes is None else to_bytes(result))
        returned: Evidence = {
            "system": self.declared.name,
            "rel": "result",
            "ref": hashlib.sha256(f"{self.workflow}/{self.name}".encode()).hexdigest(),
        }
        if digest is not None:
            returned["digest"] = digest
        evidence = [returned]
        if self.declared.evidence is not None:
            evidence += self.declared.evidence(result)
        return evidence


def digest_of(result: Any) -> str | None:
    """
    SHA-256 in hexadecimal: of octets, of a text in UTF-8, of what JSON has in RFC 8785.

    None of anything else: nobody could compute it again. How Python prints an object may have its
    address, which is another one in the next run.
    """
    if isinstance(result, bytes):
        return hashlib.sha256(result).hexdigest()
    if isinstance(result, str):
        return hashlib.sha256(result.encode()).hexdigest()
    try:
        return hashlib.sha256(canonical_bytes_with_floats(result)).hexdigest()
    except (LedgerError, TypeError, ValueError):
        return None

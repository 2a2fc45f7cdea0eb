"""
Every error of the client, grouped by what is known of the write.

    ClientError
    |__NotSent              it never left: nothing was recorded
    |  |__Unreachable       nobody answered, and nothing can have been recorded
    |__Refused              the service refused it: nothing was recorded; its problem says why
    |  |__AlreadyConcluded  the intent has its outcome; it is not executed again
    |__BudgetSpent          told to come back later, for as long as it was worth; nothing recorded
    |__OutcomeUnknown       sent, and nothing says what became of it; its key tells
    |__ReceiptInvalid       an answer came, and what it shows does not prove it
    |  |__ReceiptUnsigned   told to be recorded, and signed by nobody yet: ask again
    |__ReceiptNotKept       recorded and proved; the store did not take the receipt

Each carries `world`, `action` and `reason` as the service's problems do, so that whoever hands
an error on has what its caller needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.errors import LedgerError, VerificationError

WORLDS: Mapping[str, str] = {
    "RML1": "RML-1 closed",
    "RML2": "RML-2 dialog",
    "RML3": "RML-3 history",
}
"""Worlds as people read them."""

_WAYS_OUT = {
    "retry-with-backoff": "send the same again in a moment; its key makes that safe",
    "start-compensation": "undo it by a compensating effect",
    "escalate-history": "history stands; only a forward entry that fits it is taken",
    "fix-request": "correct the request and send it again",
    "reconcile-first": "find out what became of it before anything else is done",
    "wait-for-human": "a person has to decide",
    "stop": "do not send it again",
}


class ClientError(LedgerError):
    """What was asked of the service did not go as asked; subclasses say what is known of it."""

    def __init__(
        self,
        message: str,
        *,
        world: str | None,
        action: str | None,
        reason: str | None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.world = world
        """`RML1`, `RML2` or `RML3`; None where the service does not tell this key."""
        self.action = action
        """What to do about it, in the words of the service's problems."""
        self.reason = reason
        """Dotted code of the cause."""


class NotSent(ClientError):
    """It never left: nothing was recorded."""

    def __init__(
        self, says: str, *, reason: str, action: str = "fix-request", **details: Any
    ) -> None:
        super().__init__(says, world="RML1", action=action, reason=reason, **details)


class Unreachable(NotSent):
    """No connection could be made, or a question went unanswered: nothing was recorded."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"no effect ledger answers at {url}: {why}",
            reason="service.unreachable",
            action="retry-with-backoff",
            url=url,
        )
        self.why = why


class Refused(ClientError):
    """The service refused the request. Nothing was recorded."""

    def __init__(self, problem: Mapping[str, Any], status: int | None = None) -> None:
        world, action = problem.get("world"), problem.get("action")
        said = problem.get("detail") or problem.get("title") or "the service refused"
        label = f"{WORLDS.get(str(world), 'unknown world')}: " if world is not None else ""
        way_out = _WAYS_OUT.get(str(action), _WAYS_OUT["stop"])
        super().__init__(
            f"{label}{said} ({problem.get('code', 'no code')}). Way out: {way_out}.",
            world=world,
            action=action,
            reason=problem.get("reason"),
        )
        self.problem = problem
        """The whole document (RFC 9457)."""
        self.code: str | None = problem.get("code")
        self.status: int | None = status if status is not None else problem.get("status")
        found = problem.get("details")
        self.details = dict(found) if isinstance(found, Mapping) else {}

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.problem.get("retryable") is True


class AlreadyConcluded(Refused):
    """The intent under this key has its outcome already. Nothing is executed again."""

    def __init__(self, intent: Mapping[str, Any], recorded: Any = None) -> None:
        super().__init__(
            {
                "code": "ALREADY_CONCLUDED",
                "world": intent["world"],
                "action": "stop",
                "reason": "intent.concluded",
                "detail": f"intent {intent['id']} is {intent['state']} already",
                "details": {"intent": intent["id"], "state": intent["state"]},
            }
        )
        self.intent = intent
        self.recorded = recorded
        """The entry that it became, where it was executed; else None."""


class BudgetSpent(ClientError):
    """The service asked to come back later until tries, time or the budget ended."""

    def __init__(self, which: str, last: Refused, *, tries: int, retry_after_s: float) -> None:
        super().__init__(
            f"gave up after {tries} tries ({which}); nothing was recorded. Last answer: {last}",
            world=last.world,
            action="retry-with-backoff",
            reason=f"retry.{which}",
            tries=tries,
            retry_after_s=retry_after_s,
        )
        self.last = last
        self.tries = tries
        self.retry_after_s = retry_after_s
        """The service asked not to be asked again before; 0 where it did not say."""


class OutcomeUnknown(ClientError):
    """It was sent, and nothing says whether it was recorded. The same key tells."""

    def __init__(self, sent: str, *, key: str | None, why: str, **details: Any) -> None:
        told = "without an idempotency key" if key is None else f"under the key {key!r}"
        super().__init__(
            f"{WORLDS['RML2']}: {sent} {told} was sent, and nothing says what became of it: "
            f"{why}. Way out: {_WAYS_OUT['reconcile-first']}"
            + ("." if key is None else "; the same request under the same key is safe."),
            world="RML2",
            action="reconcile-first",
            reason="outcome.unknown",
            **{"sent": sent, "key": key, "why": why, **details},
        )
        self.sent = sent
        self.key = key
        self.why = why


class ReceiptInvalid(ClientError):
    """An answer came, and the receipt or entry in it does not prove what the service says."""

    def __init__(self, why: VerificationError, *, receipt: Any, recorded: Any = None) -> None:
        super().__init__(
            f"{WORLDS['RML3']}: what the service answers is not proved: {why.message}. Way out: "
            "keep the answer as evidence and ask an auditor; do not send it again.",
            world="RML3",
            action="escalate-history",
            reason=_REASONS.get(type(why).__name__, "evidence.form"),
            **why.details,
        )
        self.receipt = receipt
        """As it was received."""
        self.recorded = recorded
        """What the service says it recorded, where it was a write."""


class ReceiptUnsigned(ReceiptInvalid):
    """
    The service says that it is recorded and that its signer is away: nothing proves it yet.

    A receipt that is fetched later does, and so does the same request under the same key.
    """

    def __init__(self, recorded: Any) -> None:
        ClientError.__init__(
            self,
            f"{WORLDS['RML2']}: the service says that entry {recorded.id} is recorded, and nobody "
            "has signed it yet. Way out: fetch its receipt in a moment, or send the same again; "
            "its key makes that safe.",
            world="RML2",
            action="reconcile-first",
            reason="receipt.unsigned",
            id=recorded.id,
        )
        self.receipt = recorded.receipt
        self.recorded = recorded


class ReceiptNotKept(ClientError):
    """It is recorded and proved; the store of receipts failed to keep the proof."""

    def __init__(self, recorded: Any, error: Exception) -> None:
        super().__init__(
            f"{WORLDS['RML3']}: entry {recorded.id} is recorded, and its receipt could not be "
            f"kept: {error}. Way out: keep it elsewhere, or fetch it again later.",
            world="RML3",
            action="wait-for-human",
            reason="receipt.not_kept",
            id=recorded.id,
        )
        self.recorded = recorded


_REASONS = {
    "ChainBreakError": "evidence.chain",
    "ConsistencyError": "evidence.consistency",
    "CommitmentError": "evidence.payload",
    "InclusionError": "evidence.inclusion",
    "SignatureError": "evidence.signature",
    "TimestampError": "evidence.timestamp",
}

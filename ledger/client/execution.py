"""
Execution: an effect promised, tried and handed off, so that nothing happens in silence.

    enter      promise, then say that execution starts: the key lets one run through, ever
    result     what the provider says, at once
    leave      hand off; or say that the outcome is unknown, whatever the reason for leaving

A process that is killed says nothing; the ledger calls that unknown from `answer_by` on. An
unknown outcome ends by evidence and never by a second try. The keys of the steps derive from the
intent's own: `KEY/started`, `KEY/result`, `KEY/error`, `KEY/handoff`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ledger.client.errors import (
    AlreadyConcluded,
    ClientError,
    NotSent,
    OutcomeUnknown,
    ReceiptInvalid,
    ReceiptNotKept,
    Refused,
)
from ledger.client.exchange import Flow
from ledger.client.members import Evidence, Moment
from ledger.client.operations import Operations
from ledger.client.recorded import Recorded
from ledger.client.requests import KEY_CHARACTERS_MAX, check_key
from ledger.client.retry import Retry

# Whoever leaves in trouble is not held up for long; silence says the same a little later.
FAREWELL = Retry(tries=3, base_s=0.1, cap_s=1.0, total_s=3.0, attempt_s=3.0)

_SUFFIX_CHARACTERS = len("/handoff")


class Execution:
    """One intent on its way, as flows; what a `with` block holds is built on it."""

    def __init__(
        self, operations: Operations, key: str, members: Mapping[str, Any], executor: str | None
    ) -> None:
        """
        Prepare a promise; nothing is sent.

        Args:
            operations: The ledger.
            key: The intent's idempotency key.
            members: What is promised.
            executor: Who executes, for people.

        Raises:
            NotSent: The key cannot be one, or leaves no room for those of the steps.
        """
        if len(check_key(key)) > KEY_CHARACTERS_MAX - _SUFFIX_CHARACTERS:
            raise NotSent(
                "the key of an intent has at most "
                f"{KEY_CHARACTERS_MAX - _SUFFIX_CHARACTERS} characters: those of its steps are "
                "longer",
                reason="request.key",
            )
        self._operations = operations
        self._members = members
        # New in each run: two runs of one key are two requests, and only the first may start.
        run = uuid.uuid4().hex
        self._executor = run if executor is None else f"{executor}/{run}"
        self.key = key
        self.document: Mapping[str, Any] = {}
        self.token = 0
        self.recorded: Recorded | None = None
        self._result_words: dict[str, Any] | None = None
        self._result_said: Mapping[str, Any] = {}
        self._is_over = False

    @property
    def id(self) -> str:
        """Id of the intent."""
        found: str = self.document["id"]
        return found

    def enter(self) -> Flow[None]:
        """
        Promise, and say that execution starts.

        Raises:
            AlreadyConcluded: An earlier run of this key came to an end.
            OutcomeUnknown: An earlier run of this key started, and nobody knows what came of it.
            ClientError: As any write.
        """
        self.document = yield from self._operations.promise(self.key, self._members)
        if self.document["state"] != "promised":
            yield from self._meet_earlier_run()
        words = {"step": "started", "token": 1, "executor": self._executor}
        try:
            self.document = yield from self._step("started", words)
        except Refused as refused:
            if refused.code not in _TAKEN:
                raise
            yield from self._meet_earlier_run()
        self.token = self.document["token"]

    def result(
        self, evidence: Sequence[Evidence], occurred_at: Moment | None, words: Mapping[str, Any]
    ) -> Flow[None]:
        """
        Say that it happened, and where somebody else says so.

        Args:
            evidence: At least one.
            occurred_at: When; now, without.
            words: Members of the hand-off: another amount, a note, payloads.
        """
        said = {"step": "result", "token": self.token, "evidence": list(evidence)}
        if occurred_at is not None:
            said["occurred_at"] = occurred_at
        self.document = yield from self._step("result", said)
        self._result_words = dict(words)
        self._result_said = {
            name: said[name] for name in ("evidence", "occurred_at") if name in said
        }

    def failed(self, reason: str | None, evidence: Sequence[Evidence]) -> Flow[None]:
        """Say that it certainly did not happen."""
        yield from self._error("failed", reason, evidence)
        self._is_over = True

    def leave(self, error: BaseException | None) -> Flow[None]:
        """
        Hand off what happened, and say of everything else that it is unknown.

        Args:
            error: Why the block ends, if not by its end; it is not swallowed, and what goes
                wrong here is noted on it.

        Raises:
            OutcomeUnknown: It began, and neither an entry nor a failure came of it. Also in place
                of an `error` of the client's own, whichever it is of: what that says is true of
                one request, and not of what was done here.
            ReceiptInvalid, ReceiptNotKept: Of the hand-off.
        """
        if self._is_over:
            return
        if error is not None:
            self._operations = _in_a_hurry(self._operations)
        trouble: ClientError | None = None
        try:
            if self._result_words is not None:
                promised = {**self._members, **self._result_said}
                yield from self._hand_off(self._result_words, {"kind": "effect", **promised})
                return
            yield from self._error("unknown", _reason(error), ())
        except ClientError as found:
            if error is None and isinstance(found, _OF_AN_ENTRY):
                raise
            trouble = found
        if error is not None and trouble is not None:
            error.add_note(f"and the ledger could not be told: {trouble}")
        if error is None or isinstance(error, ClientError):
            cause = error or trouble
            why = "the block ended without result() or failed()"
            if cause is not None:
                why = f"it began, and then: {cause}"
            raise self._unknown(why) from cause

    def _hand_off(self, words: Mapping[str, Any], promised: Mapping[str, Any]) -> Flow[None]:
        said = {"token": self.token, **words}
        try:
            self.recorded = yield from self._operations.hand_off(
                self.id, f"{self.key}/handoff", said, promised
            )
        except ReceiptNotKept as error:
            self.recorded = error.recorded
            raise

    def _unknown(self, why: str, **details: Any) -> OutcomeUnknown:
        sent = f"intent {self.id}"
        return OutcomeUnknown(sent, key=self.key, why=why, intent=self.id, **details)

    def _meet_earlier_run(self) -> Flow[None]:
        """Finish what an earlier run of this key left to finish; never execute again."""
        try:
            yield from self._finish_earlier_run()
        except (AlreadyConcluded, OutcomeUnknown, *_OF_AN_ENTRY):
            raise
        except ClientError as trouble:
            why = f"an earlier run started it, and then: {trouble}"
            raise self._unknown(why) from trouble

    def _finish_earlier_run(self) -> Flow[None]:
        self.document = yield from self._operations.intent(self.id)
        state, outcome = self.document["state"], self.document["outcome"]
        self.token = self.document["token"]
        if state == "handed_off" or (state == "executing" and outcome == "executed"):
            # For which amount is that run's word.
            promised = {name: self._members[name] for name in self._members.keys() - {"money"}}
            yield from self._hand_off({}, {"kind": "effect", **promised})
        elif state not in ("failed", "cancelled"):
            raise self._unknown(f"an earlier run started it, and it is {state}", state=state)
        raise AlreadyConcluded(self.document, self.recorded)

    def _error(self, outcome: str, reason: str | None, evidence: Sequence[Evidence]) -> Flow[None]:
        words: dict[str, Any] = {"step": "error", "token": self.token, "outcome": outcome}
        if reason is not None:
            words["reason"] = reason
        if evidence:
            words["evidence"] = list(evidence)
        self.document = yield from self._step("error", words)

    def _step(self, name: str, words: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        return self._operations.step(self.id, "execution", f"{self.key}/{name}", words)


_TAKEN = frozenset(
    {
        *("IDEMPOTENCY_CONFLICT", "ILLEGAL_TRANSITION", "STALE_TOKEN", "HANDED_OFF"),
        "INTENT_UNKNOWN",
    }
)
"""How the service says that somebody else has started, or more."""

_OF_AN_ENTRY = (ReceiptInvalid, ReceiptNotKept)
"""The service says that there is an entry, and these say how far that is proved."""


class UnderWay:
    """What a block that carries an intent out is told of it."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def id(self) -> str:
        """Its id: good as an idempotency key of the provider."""
        return self._execution.id

    @property
    def token(self) -> int:
        """Its newest fencing token."""
        return self._execution.token

    @property
    def document(self) -> Mapping[str, Any]:
        """The intent as the service told it last."""
        return self._execution.document

    @property
    def recorded(self) -> Recorded | None:
        """The entry it became; None until the block has ended."""
        return self._execution.recorded


def _in_a_hurry(operations: Operations) -> Operations:
    hurried = replace(operations, patience=replace(operations.patience, retry=FAREWELL))
    hurried.learned = operations.learned
    return hurried


def _reason(error: BaseException | None) -> str:
    """Why it is unknown, as a dotted code; what an exception says may name a person."""
    if error is None:
        return "client.silent"
    if isinstance(error, Exception):
        return "client.exception"
    return "client.interrupted"

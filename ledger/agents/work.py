"""
Work: what an agent may do with a ledger, as calls that say too little rather than too much.

Everything is named by workflow and step, so that an agent that resumes and says the same in other
words asks for the same again. How these calls reach a model is for `server`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.client import AsyncClient, FoundEntry, NotSent, Recorded, Refused
from ledger.client.tool_step import key_of, may_try_again
from ledger.receipt import VerifiedEntry

FOUND_MAX = 50
"""Rows of one answer: a model reads all of it."""

Words = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One ledger, as one agent uses it."""

    client: AsyncClient
    agent: str
    """Who acts, as entries tell it."""

    # ---- Before history ---------------------------------------------------------------

    async def promise(
        self, *, workflow: str, step: str, answer_within_s: int, said: Words
    ) -> dict[str, Any]:
        """
        Promise an effect and say that it starts now, unless somebody did before.

        Returns:
            The intent, and as `may_proceed` whether the caller, and nobody else, does it now.

        Raises:
            AlreadyConcluded, OutcomeUnknown: This step was begun before.
            Refused: Another one has its business key; or any other reason of the ledger's.
        """
        attempt, key = 1, key_of(workflow, step)
        while may_try_again(earlier := await anext(self.client.intents(key=key), None), attempt):
            attempt, key = attempt + 1, key_of(workflow, step, attempt + 1)
        until = datetime.now(UTC) + timedelta(seconds=answer_within_s)
        promised: dict[str, Any] = {
            **said,
            "answer_by": until if earlier is None else earlier["answer_by"],
            "actor": {"id": self.agent, "kind": "agent"},
            "causes": [{"kind": "workflow", "ref": workflow}],
        }
        intent = self.client.intent(key=key, executor=self.agent, **promised)
        try:
            # Never left: what became of it is told by another call, or by silence.
            await AsyncExitStack().enter_async_context(intent)
        except Refused as refused:
            if refused.code != "APPROVAL_REQUIRED":
                raise
            return _intent_document(intent.document) | {"may_proceed": False}
        return _intent_document(intent.document) | {"may_proceed": True}

    async def report(
        self,
        intent_id: str,
        *,
        token: int,
        outcome: str,
        evidence: Sequence[Words],
        reason: str | None,
        handed_over: Words,
    ) -> dict[str, Any]:
        """
        Say what came of an execution; what happened is handed off to history.

        Args:
            intent_id: The intent.
            token: As the promise gave it.
            outcome: `executed`, `not_executed` or `unknown`.
            evidence: Where somebody else says so; required for `executed`.
            reason: Dotted code of what went wrong.
            handed_over: Members of the hand-off: another amount, a note.
        """
        intent = await self.client.intent_at(intent_id)
        key = intent["key"]
        said: dict[str, Any] = {"evidence": list(evidence)} if evidence else {}
        if outcome != "executed":
            how = "failed" if outcome == "not_executed" else "unknown"
            told = await self.client.execution(
                intent_id,
                step="error",
                token=token,
                key=f"{key}/error",
                outcome=how,
                **said | ({} if reason is None else {"reason": reason}),
            )
            return _intent_document(told)
        if not evidence:
            raise NotSent(
                "what was executed has evidence: the provider's id, or the hash of its answer",
                reason="request.evidence",
            )
        if intent["state"] != "handed_off":
            await self.client.execution(
                intent_id, step="result", token=token, key=f"{key}/result", **said
            )
        recorded = await self.client.hand_off(
            intent_id, token=token, key=f"{key}/handoff", **handed_over
        )
        return _recorded_document(recorded) | {"intent": intent_id}

    async def cancel(self, intent_id: str, *, token: int, reason: str | None) -> dict[str, Any]:
        """Give up what was promised and not begun."""
        intent = await self.client.intent_at(intent_id)
        cancelled = await self.client.cancel(
            intent_id, token=token, key=f"{intent['key']}/cancel", reason=reason
        )
        return _intent_document(cancelled)

    # ---- History ----------------------------------------------------------------------

    async def correct(
        self, entry: str, *, kind: str, workflow: str, step: str, said: Words
    ) -> dict[str, Any]:
        """
        Add a refund, an adjustment or an explanation of an entry.

        Raises:
            Refused: Also where this step corrected something else before.
        """
        key = key_of(workflow, step)
        correct: Any = {
            "refund": self.client.refund,
            "adjustment": self.client.adjust,
            "explanation": self.client.explain,
        }[kind]
        earlier = await self.client.find(key=key)
        # The moment belongs to the first call: in the words of a later one it would be another.
        moment = datetime.now(UTC) if earlier is None else _effect(earlier)["occurred_at"]
        words: dict[str, Any] = {
            "occurred_at": moment,
            "actor": {"id": self.agent, "kind": "agent"},
            "causes": [{"kind": "workflow", "ref": workflow}],
            **said,
        }
        return _recorded_document(await correct(entry, key=key, **words))

    async def find_entries(self, **named: str | int | None) -> dict[str, Any]:
        """Entries by their id or seq, or that all other names fit; the newest are not preferred."""
        given = {name: value for name, value in named.items() if value is not None}
        if not given:
            raise NotSent("say what to look for", reason="request.member")
        place = given.pop("entry", None)
        if place is not None:
            is_seq = isinstance(place, str) and place.isdecimal()
            found = await self.client.entry(int(place) if is_seq else place)
            return {"entries": [_entry_document(found)], "more": False}
        entries: list[dict[str, Any]] = []
        async for each in self.client.entries(**{k: str(v) for k, v in given.items()}):
            if len(entries) == FOUND_MAX:
                return {"entries": entries, "more": True}
            entries.append(_entry_document(each))
        return {"entries": entries, "more": False}

    async def story(self, effect: str) -> dict[str, Any]:
        """An effect with its corrections, what remains, and what can still be undone."""
        return await self.client.story(effect)

    async def find_intents(self, intent: str | None, **named: str | None) -> dict[str, Any]:
        """One intent with its events, or those that all names fit."""
        if intent is not None:
            return {"intents": [await self.client.intent_at(intent)], "more": False}
        given = {name: value for name, value in named.items() if value is not None}
        intents: list[Any] = []
        async for each in self.client.intents(**given):
            if len(intents) == FOUND_MAX:
                return {"intents": intents, "more": True}
            intents.append(each)
        return {"intents": intents, "more": False}

    async def verify(self, entry: str | None, receipt: Words | None) -> dict[str, Any]:
        """
        What a receipt proves, at hand or fetched for an entry.

        Raises:
            ReceiptInvalid: Nothing.
        """
        if (entry is None) == (receipt is None):
            raise NotSent("say which: an entry, or a receipt", reason="request.member")
        if receipt is not None:
            return _verified_document(await self.client.verify(receipt))
        assert entry is not None
        place: str | int = int(entry) if entry.isdecimal() else entry
        return _verified_document(await self.client.receipt(place))


def _intent_document(intent: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "key", "world", "state", "outcome", "token", "answer_by", "content_digest")
    return {name: intent[name] for name in names} | {
        "intent": intent["id"],
        "approval_required": intent["approval_required"],
    }


def _recorded_document(recorded: Recorded) -> dict[str, Any]:
    verified = recorded.verified
    return {
        "world": "RML3",
        "entry": recorded.id,
        "seq": recorded.seq,
        "entry_hash": recorded.entry_hash,
        "recorded_at": recorded.recorded_at,
        "replayed": recorded.replayed,
        "level": None if verified is None else str(verified.level),
    }


def _entry_document(found: FoundEntry) -> dict[str, Any]:
    return {
        "entry": found.id,
        "seq": found.seq,
        "entry_hash": found.entry_hash,
        "recorded_at": found.recorded_at,
        "poster": found.entry.get("poster"),
        "effect": _effect(found),
    }


def _verified_document(verified: VerifiedEntry) -> dict[str, Any]:
    return {
        "proved": True,
        "seq": verified.seq,
        "level": str(verified.level),
        "entry": verified.entry.decode(),
    }


def _effect(found: FoundEntry) -> Mapping[str, Any]:
    effect: Mapping[str, Any] = found.entry["effect"]
    return effect

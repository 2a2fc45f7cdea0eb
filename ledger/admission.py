"""
Admission: what becomes of each submission of a batch, given what history says.

Pure rules, one implementation for every entrance and for dry runs: replays are told from
conflicts, signatures checked, corrections held to what remains, groups kept whole. Numbers
and hashes come later, in `entry.chain`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from ledger.effect import Effect, Kind, Money
from ledger.entry import Admitted, begins_with, verify_poster_signature
from ledger.errors import (
    AbandonedError,
    BadReferenceError,
    IdempotencyConflictError,
    IntentChangedError,
    MalformedProofError,
    RejectedError,
    SignatureError,
    TransitionError,
)
from ledger.intent import Intent, Step, fold, next_event, parse_event, take
from ledger.lifecycle import History, Position, Recorded, lineage_references, references
from ledger.ports import Found, Wanted
from ledger.submission import Posting, Submission
from ledger.vault import SaltedPayload, salted


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The key is taken by an equal effect of the same poster; payloads are still to compare."""

    encoded: bytes
    """Bytes of the entry that stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The submission gets a place in this batch."""

    index: int
    """Which of the admitted it is."""
    replayed: bool
    """An earlier submission of the same batch took the place for both."""


Verdict = Replay | Place | RejectedError


@dataclass(slots=True)
class _Group:
    """What one posting would add; kept only if the posting stands."""

    admitted: list[Admitted]
    targets: list[str | None]
    payloads: list[tuple[SaltedPayload, ...]]
    keys: dict[str, int]
    intents: dict[str, Intent]
    """Those that were handed off, by id."""


def wanted(postings: Sequence[Posting]) -> Wanted:
    """What the rules will ask of history for these postings."""
    effects = [s.effect for posting in postings for s in posting.submissions]
    entry_ids: list[str] = []
    entry_keys: list[str] = []
    lineage_ids: list[str] = []
    lineage_keys: list[str] = []
    for effect in effects:
        ids, keys = references(effect)
        entry_ids += ids
        entry_keys += keys
        ids, keys = lineage_references(effect)
        lineage_ids += ids
        lineage_keys += keys
    return Wanted(
        keys=[effect.key for effect in effects],
        entry_ids=entry_ids,
        entry_keys=entry_keys,
        lineage_ids=lineage_ids,
        lineage_keys=lineage_keys,
        business_keys=[effect.business_key for effect in effects if effect.business_key],
        data_subjects=[
            payload.data_subject
            for posting in postings
            for submission in posting.submissions
            for payload in submission.payloads
            if payload.data_subject
        ],
        signing_keys=[
            submission.signature.key_id
            for posting in postings
            for submission in posting.submissions
            if submission.signature
        ],
        intents=[effect.intent.id for effect in effects if effect.intent],
    )


def is_same_request(submission: Submission, principal: str, encoded: bytes) -> bool:
    """
    Whether a submission asks again for the entry `encoded`, payload contents apart.

    Equal effect bytes, same poster, same payload names and media types.
    """
    if not begins_with(encoded, submission.effect):
        return False
    members = orjson.loads(encoded)
    names = [(p["name"], p["media_type"]) for p in members.get("payloads", ())]
    return members["poster"] == principal and names == [
        (payload.name, payload.media_type) for payload in submission.payloads
    ]


def conflict(effect: Effect) -> IdempotencyConflictError:
    """What is told of a key that is taken: nothing of the first request, which may be another's."""
    return IdempotencyConflictError(
        f"key {effect.key} already names another request", key=effect.key
    )


def told_by_key(error: RejectedError, unrecorded: Sequence[Admitted]) -> RejectedError:
    """`error` naming what was admitted and not recorded by key: its id and number lead nowhere."""
    for item in unrecorded:
        if item.id in error.details.values():
            key = item.effect.key
            given_out = {
                name: None if name == "seq" or value == item.id else value
                for name, value in error.details.items()
            }
            message = error.message.replace(f"entry {item.id}", f"item {key}")
            return type(error)(message, **given_out | {"key": key})
    return error


class Admission:
    """One batch under the head lock, or one dry run; judged in order."""

    def __init__(
        self,
        found: Found,
        *,
        new_id: Callable[[], str],
        now: str,
        size: int | None = None,
        check_payloads: Callable[[Submission, bytes], None] = lambda _submission, _encoded: None,
    ) -> None:
        """
        Begin with what history says.

        Args:
            found: Answers to all that is `wanted` by what will be judged.
            new_id: Makes the id of each admitted.
            now: Database clock, in the form that is hashed: when intents are handed off.
            size: Size of the ledger, which is the number of the first admitted; None where
                no numbers are given.
            check_payloads: Given a submission and the entry it asks for again; raises where the
                payloads that stand there are other ones.
        """
        self._found = found
        self._new_id = new_id
        self._now = now
        self._size = size
        self._check_payloads = check_payloads
        self._history = history_of(found)
        self._group = _Group([], [], [], {}, {})

    @property
    def admitted(self) -> Sequence[Admitted]:
        """What gets a place, in order."""
        return self._group.admitted

    @property
    def targets(self) -> Sequence[str | None]:
        """Beside each admitted, the id of the entry it corrects."""
        return self._group.targets

    @property
    def payloads(self) -> Sequence[tuple[SaltedPayload, ...]]:
        """Beside each admitted, its payloads with their salts."""
        return self._group.payloads

    @property
    def changed_positions(self) -> Sequence[Position]:
        """Positions the admitted corrections leave behind."""
        return self._history.changed_positions

    @property
    def intents(self) -> Sequence[Intent]:
        """Intents that were handed off by what is admitted."""
        return list(self._group.intents.values())

    def judge(self, posting: Posting) -> list[Verdict]:
        """One verdict per submission; an atomic posting is admitted whole or not at all."""
        if not posting.atomic:
            return [self._judge(submission, posting) for submission in posting.submissions]
        history, group = self._history, self._group
        self._history = history.fork()
        self._group = _Group(
            list(group.admitted),
            list(group.targets),
            list(group.payloads),
            dict(group.keys),
            dict(group.intents),
        )
        verdicts = [self._judge(submission, posting) for submission in posting.submissions]
        if any(isinstance(verdict, RejectedError) for verdict in verdicts):
            dropped = self._group.admitted[len(group.admitted) :]
            self._history, self._group = history, group
            return [_abandoned(verdict, dropped) for verdict in verdicts]
        history.join(self._history)
        self._history = history
        return verdicts

    def _judge(self, submission: Submission, posting: Posting) -> Verdict:
        try:
            return self._admit(submission, posting)
        except RejectedError as error:
            return error

    def _admit(self, submission: Submission, posting: Posting) -> Verdict:
        effect = submission.effect
        encoded = self._found.replays.get(effect.key)
        if encoded is not None:
            if not is_same_request(submission, posting.principal, encoded):
                raise conflict(effect)
            if submission.payloads:
                self._check_payloads(submission, encoded)
            return Replay(encoded=encoded)
        earlier = self._group.keys.get(effect.key)
        if earlier is not None:
            if self._repeats_admitted(submission, posting.principal, earlier):
                return Place(index=earlier, replayed=True)
            raise conflict(effect)
        self._check_signature(submission, posting.principal)
        entry_id = self._new_id()
        intent = handed_off = None
        if effect.intent is not None:
            intent = self._group.intents.get(effect.intent.id) or self._found_intent(submission)
            handed_off = _hand_off(intent, submission, entry_id, posting.principal, self._now)
        index = len(self._group.admitted)
        seq = None if self._size is None else self._size + index
        hold = None if intent is None else intent.hold
        target = self._history.admit(effect, entry_id, seq=seq, hold=hold)
        if handed_off is not None:
            self._group.intents[handed_off.id] = handed_off
        payloads = salted(submission.payloads)
        self._group.admitted.append(
            Admitted(
                effect=effect,
                id=entry_id,
                poster=posting.principal,
                payloads=tuple(item.commitment for item in payloads) if payloads else (),
                signature=submission.signature,
            )
        )
        self._group.targets.append(target)
        self._group.payloads.append(payloads)
        self._group.keys[effect.key] = index
        return Place(index=index, replayed=False)

    def _found_intent(self, submission: Submission) -> Intent:
        named = submission.effect.intent
        assert named is not None
        if submission.handoff is None:
            raise BadReferenceError(
                f"/intent is written by the hand-off of an intent: POST intents/{named.id}/handoff",
                pointer="/intent",
            )
        events = self._found.intents.get(named.id)
        if events is None:
            raise BadReferenceError(f"there is no intent {named.id}", pointer="/intent/id")
        return stored_intent(named.id, events)

    def _repeats_admitted(self, submission: Submission, principal: str, index: int) -> bool:
        admitted = self._group.admitted[index]
        return (
            admitted.effect.encoded == submission.effect.encoded
            and admitted.poster == principal
            and [
                (item.payload.name, item.payload.media_type, item.payload.content)
                for item in self._group.payloads[index]
            ]
            == [(p.name, p.media_type, p.content) for p in submission.payloads]
        )

    def _check_signature(self, submission: Submission, principal: str) -> None:
        if submission.signature is None:
            return
        owner, public_key = self._found.signing_keys.get(submission.signature.key_id, (None, b""))
        if owner != principal:
            raise BadReferenceError(
                f"signing key {submission.signature.key_id} is not enrolled for {principal}",
                pointer="/signature/key_id",
            )
        try:
            verify_poster_signature(submission.effect, submission.signature, public_key)
        except SignatureError as error:
            raise BadReferenceError(
                "the signature is not good for these effect bytes", pointer="/signature/sig"
            ) from error


def stored_intent(intent_id: str, events: Sequence[bytes]) -> Intent:
    """
    The intent that stored events give.

    Raises:
        TransitionError: No service of ours wrote these events; verification says which.
    """
    try:
        return fold([parse_event(encoded) for encoded in events])
    except (RejectedError, MalformedProofError) as error:
        raise TransitionError(
            f"the stored events of intent {intent_id} do not follow from each other: verify the "
            "ledger",
            intent=intent_id,
        ) from error


def _hand_off(
    intent: Intent, submission: Submission, entry_id: str, principal: str, now: str
) -> Intent:
    handoff, named = submission.handoff, submission.effect.intent
    assert handoff is not None
    assert named is not None
    event = next_event(
        intent,
        Step.HANDED_OFF,
        now=now,
        by=principal,
        key=submission.effect.key,
        token=handoff.token,
        said={"entry": entry_id},
    )
    handed_off = take(intent, event)
    if named.digest != intent.digest:
        raise IntentChangedError(
            f"intent {intent.id} moved while it was being handed off; send the hand-off again",
            intent=intent.id,
        )
    return handed_off


def history_of(found: Found) -> History:
    """What the corrections of a batch are held to, as it was found under the head's lock."""
    recorded = []
    keys = {}
    for encoded, target in found.lineage:
        entry = orjson.loads(encoded)
        effect = entry["effect"]
        keys[effect["key"]] = entry["id"]
        recorded.append(
            Recorded(
                id=entry["id"],
                seq=entry["seq"],
                kind=Kind(effect["kind"]),
                type=effect["type"],
                money=_money(effect.get("money")),
                target=target,
                observed=effect.get("observed", False),
            )
        )
    return History(
        recorded,
        found.positions,
        keys,
        found.business_keys,
        promised=found.promised,
        holders=found.holders,
    )


def _money(members: dict[str, str] | None) -> Money | None:
    if members is None:
        return None
    return Money(
        amount=members["amount"],
        currency=members["currency"],
        flow=members["flow"],
        applied=members.get("applied"),
    )


def _abandoned(verdict: Verdict, dropped: Sequence[Admitted]) -> RejectedError:
    if isinstance(verdict, RejectedError):
        return told_by_key(verdict, dropped)
    return AbandonedError("another item of this atomic batch was refused; none was recorded")

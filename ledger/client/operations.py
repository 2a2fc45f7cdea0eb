"""
Operations: what a client can ask of one ledger, each as a flow of steps.

Both clients perform these; whatever behaviour there is, is here or below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ledger.client import requests
from ledger.client.agreement import Asked, asked_in, asked_of
from ledger.client.errors import (
    ClientError,
    NotSent,
    OutcomeUnknown,
    ReceiptInvalid,
    ReceiptNotKept,
    ReceiptUnsigned,
    Refused,
)
from ledger.client.exchange import Call, Flow, Patience, exchange
from ledger.client.judgement import GarbageError, Meaning, meaning_of
from ledger.client.listed import check_feed, check_listed, check_story
from ledger.client.receipt_store import ReceiptStore
from ledger.client.recorded import (
    FoundEntry,
    Listing,
    Page,
    Recorded,
    read_entry,
    read_first,
    read_intent,
    read_intents,
    read_listing,
    read_object,
    read_page,
    read_recorded,
    read_story,
    recorded_of,
)
from ledger.client.requests import Elsewhere, KeyOf, check_id, ledger_path, question
from ledger.client.trust import Trust, keys_of, proved, read_keys
from ledger.errors import InclusionError, MalformedProofError, VerificationError
from ledger.policy import Policy
from ledger.receipt import Receipt, ReceiptLevel, VerifiedEntry, parse_receipt

# So many pauses fill what time there is for one request, unless they are chosen short.
FEED_TRIES = 24
FEED_PAGE = 500
INTENTS_PAGE = 200
ENTRIES_PAGE = 100

ItemResult = Recorded | ClientError
"""What became of one item of a batch."""


@dataclass(slots=True, kw_only=True)
class Operations:
    """One ledger, and how it is spoken to; nothing here waits or sends."""

    url: str
    ledger: str
    patience: Patience
    store: ReceiptStore | None
    given: Trust | None
    """The caller's trust; without it, the store's or the ledger's own word."""
    policy: Policy | None
    learned: Trust | None = field(default=None, init=False)

    @property
    def place(self) -> str:
        """The ledger's URL: what receipts and keys are kept under."""
        return f"{self.url}{ledger_path(self.ledger)}"

    # ---- Writes -----------------------------------------------------------------------

    def effect(self, key: str, members: Mapping[str, Any]) -> Flow[Recorded]:
        """Record an effect."""
        return self.write("/effects", members, key=key)

    def correct(
        self,
        kind: str,
        target: str | Recorded | FoundEntry | KeyOf | Elsewhere,
        key: str,
        members: Mapping[str, Any],
    ) -> Flow[Recorded]:
        """Record a refund, an adjustment or an explanation of `target`."""
        named = target.id if isinstance(target, Recorded | FoundEntry) else target
        path, words = requests.target_of(kind, named)
        return self.write(path, {**members, **words}, key=key)

    def write(
        self, path: str, body: Any, *, key: str, promised: Mapping[str, Any] | None = None
    ) -> Flow[Recorded]:
        """
        Record what a body says, and prove and keep the receipt.

        Args:
            path: Below the ledger.
            body: JSON value, or its bytes, which are sent as they are.
            key: Idempotency key.
            promised: Of a hand-off: members of the promise, and what was said of its execution.
        """
        request = requests.write(self._path(path), body, key=key)
        # First, so that nothing is sent where it could not be proved.
        trust = yield from self.trust()
        recorded = yield from exchange(request, read_recorded, self.patience)
        said = requests.said_in(request.content)
        asked = asked_of(path, said, key, orjson.loads(requests.encode(promised or {})))
        return (yield from self._proved(recorded, trust, asked))

    def batch(self, items: Iterable[Mapping[str, Any]], *, mode: str) -> Flow[list[ItemResult]]:
        """
        Record many; of an atomic batch all are recorded, or it is refused whole.

        Raises:
            ReceiptInvalid, ReceiptNotKept: Of an atomic batch, the first, and `ReceiptUnsigned`
                only where nothing worse is found; those that are proved are kept. Of any other
                batch it is the result of its item.
        """
        request = requests.batch(self._path("/batch"), items, mode=mode, dry_run=False)
        asked = requests.said_in(request.content)["items"]
        trust = yield from self.trust()
        answered = yield from exchange(request, _item_reader(len(asked)), self.patience)
        results: list[ItemResult] = []
        for item, result in zip(asked, answered, strict=True):
            found = _item_result(item, result)
            if isinstance(found, Recorded):
                try:
                    found = yield from self._proved(found, trust, asked_in(item))
                except (ReceiptInvalid, ReceiptNotKept) as error:
                    found = error
            results.append(found)
        if mode == "atomic":
            told = [each for each in results if isinstance(each, ReceiptInvalid | ReceiptNotKept)]
            if told:
                raise min(told, key=lambda each: isinstance(each, ReceiptUnsigned))
        return results

    def rehearse(self, items: Iterable[Mapping[str, Any]], *, mode: str) -> Flow[dict[str, Any]]:
        """What a batch would do now; nothing is recorded, reserved or counted."""
        request = requests.batch(self._path("/batch"), items, mode=mode, dry_run=True)
        return (yield from exchange(request, read_object, self.patience))

    # ---- Questions --------------------------------------------------------------------

    def entry(self, place: str | int) -> Flow[FoundEntry]:
        """The entry of an id or a seq."""
        path = self._path(f"/entries/{_place(place)}")
        found = yield from exchange(question(path), read_entry, self.patience)
        named, asked = (found.seq, place) if isinstance(place, int) else (found.id, place.lower())
        self._check_asked(found, "place", named, asked)
        return found

    def find(self, key: str) -> Flow[FoundEntry | None]:
        """The entry under an idempotency key, or None."""
        asked = question(self._path("/entries"), limit=1, key=key)
        found = yield from exchange(asked, read_first, self.patience)
        if found is not None:
            effect = found.entry.get("effect")
            self._check_asked(
                found, "key", effect.get("key") if isinstance(effect, dict) else None, key
            )
        return found

    def entries(
        self, cursor: str | None, filters: Mapping[str, str], last: FoundEntry | None = None
    ) -> Flow[Listing]:
        """A page of the entries that all filters fit, after the `last` of the page before."""
        asked = question(self._path("/entries"), limit=ENTRIES_PAGE, cursor=cursor, **filters)
        found = yield from exchange(asked, read_listing, self.patience)
        check_listed(found.entries, filters, ledger=self.ledger, last=last)
        return found

    def story(self, effect_id: str) -> Flow[dict[str, Any]]:
        """An effect with its corrections, and what can still be undone."""
        path = self._path(f"/effects/{check_id(effect_id)}")
        told = yield from exchange(question(path), read_story, self.patience)
        check_story(told, ledger=self.ledger, effect_id=effect_id)
        return told.body

    def page(self, after: int, wait_s: float, last: FoundEntry | None = None) -> Flow[Page]:
        """The next part of the feed, after the `last` entry that was seen here."""
        asked = question(self._path("/feed"), after=after, limit=FEED_PAGE, wait=f"{wait_s:g}")
        # A long poll is silent on purpose.
        retry = self.patience.retry
        tries = retry.tries
        if wait_s and tries > 1:
            # A service that restarts is away for longer than a write's tries take.
            tries = max(tries, FEED_TRIES)
        retry = replace(retry, tries=tries, attempt_s=retry.attempt_s + wait_s)
        patient = replace(self.patience, retry=retry)
        found = yield from exchange(asked, read_page, patient)
        check_feed(found.entries, ledger=self.ledger, after=after, last=last, end=found.after)
        return found

    # ---- Receipts ---------------------------------------------------------------------

    def receipt(self, place: str | int, level: ReceiptLevel | None) -> Flow[VerifiedEntry]:
        """Fetch a receipt, of a level that others stand for where one is named; prove and keep."""
        found = yield from self.entry(place)
        path = self._path(f"/entries/{found.seq}/receipt")
        document = yield from exchange(question(path, level=level), read_object, self.patience)
        members: dict[str, Any] = {
            "id": found.id,
            "ledger": found.ledger,
            "seq": found.seq,
            "entry_hash": found.entry_hash,
            "recorded_at": found.recorded_at,
            "receipt": document,
        }
        told = Recorded(**members, replayed=True, body=members)
        trust = yield from self.trust()
        recorded = yield from self._proved(told, trust, level=level)
        assert recorded.verified is not None, "what is proved says what it proves"
        return recorded.verified

    def verify(self, receipt: Recorded | Receipt | Mapping[str, Any]) -> Flow[VerifiedEntry]:
        """What a receipt proves to whoever trusts as this client does."""
        trust = yield from self.trust()
        try:
            return trust.verify(_receipt(receipt))
        except VerificationError as error:
            raise ReceiptInvalid(error, receipt=receipt) from error

    def trust(self) -> Flow[Trust]:
        """Whose signatures count: the caller's word, the store's, or the ledger's own."""
        if self.given is not None:
            return self.given
        if self.learned is not None:
            return self.learned
        pinned = yield from self._pinned()
        if pinned:
            self.learned = Trust(keys=keys_of(pinned), policy=self.policy, by="pinned")
            return self.learned
        lines = yield from exchange(question(self._path()), read_keys, self.patience)
        yield from self._pin(lines)
        # Asked of the ledger itself in this life: a later one will find it pinned.
        self.learned = Trust(keys=keys_of(lines), policy=self.policy, by="learned")
        return self.learned

    def _pinned(self) -> Flow[tuple[str, ...]]:
        store, place = self.store, self.place
        if store is None:
            return ()
        try:
            found: tuple[str, ...] = yield Call(run=lambda: store.pinned(place))
        except Exception as error:
            raise _store_fails(error) from error
        return found

    def _pin(self, lines: Sequence[str]) -> Flow[None]:
        store, place = self.store, self.place
        if store is not None:
            try:
                yield Call(run=lambda: store.pin(place, lines))
            except Exception as error:
                raise _store_fails(error) from error

    def _check_asked(self, found: FoundEntry, name: str, said: object, asked: object) -> None:
        """Refuse an entry that is another one than was asked for."""
        if (found.ledger, said) == (self.ledger, asked):
            return
        raise ReceiptInvalid(
            InclusionError(
                f"the entry with the {name} {asked} of ledger {self.ledger} was asked for, and "
                f"the answer is {said} of {found.ledger}",
                expected=asked,
                found=said,
            ),
            receipt=found.body,
        )

    def _proved(
        self,
        recorded: Recorded,
        trust: Trust,
        asked: Asked | None = None,
        level: ReceiptLevel | None = None,
    ) -> Flow[Recorded]:
        """The same, once its receipt is proved and kept."""
        if recorded.receipt is None:
            # Every answer to what is sent here has one; who took it out would have a reason.
            missing = MalformedProofError("the answer has no receipt")
            raise ReceiptInvalid(missing, receipt=None, recorded=recorded)
        held = proved(recorded, trust, ledger=self.ledger, asked=asked, level=level)
        store, place = self.store, self.place
        if store is not None:
            try:
                yield Call(run=lambda: store.keep(place, recorded.body))
            except Exception as error:
                raise ReceiptNotKept(held, error) from error
        return held

    # ---- Intents ----------------------------------------------------------------------

    def promise(self, key: str, members: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        """Promise an effect; the intent as it stands."""
        return self._step("/intents", key, members)

    def step(
        self, intent_id: str, which: str, key: str, words: Mapping[str, Any]
    ) -> Flow[dict[str, Any]]:
        """A step of an intent (execution, approval, cancellation, evidence)."""
        return self._step(f"/intents/{check_id(intent_id)}/{which}", key, words)

    def hand_off(
        self,
        intent_id: str,
        key: str,
        words: Mapping[str, Any],
        promised: Mapping[str, Any] | None = None,
    ) -> Flow[Recorded]:
        """Make an intent an entry; which says what was `promised`, where that is known."""
        path = f"/intents/{check_id(intent_id)}/handoff"
        return self.write(path, words, key=key, promised=promised)

    def intent(self, intent_id: str) -> Flow[dict[str, Any]]:
        """An intent as it stands."""
        path = self._path(f"/intents/{check_id(intent_id)}")
        return (yield from exchange(question(path), read_intent, self.patience))

    def intents(self, cursor: str | None, filters: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        """A page of intents."""
        asked = question(self._path("/intents"), limit=INTENTS_PAGE, cursor=cursor, **filters)
        return (yield from exchange(asked, read_intents, self.patience))

    def _step(self, path: str, key: str, words: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        request = requests.write(self._path(path), words, key=key)
        return (yield from exchange(request, read_intent, self.patience))

    def _path(self, below: str = "") -> str:
        return ledger_path(self.ledger, below)


def _store_fails(error: Exception) -> NotSent:
    return NotSent(f"the store of receipts does not hold keys: {error}", reason="receipt.store")


def _place(place: str | int) -> str:
    if isinstance(place, int):
        return str(place)
    return check_id(place)


def _receipt(given: Recorded | Receipt | Mapping[str, Any]) -> Receipt:
    if isinstance(given, Receipt):
        return given
    document: Any = given.receipt if isinstance(given, Recorded) else given
    # The answer to a write carries its receipt; both are what people kept.
    if isinstance(document, Mapping) and "receipt" in document:
        document = document["receipt"]
    return parse_receipt(document)


def _item_reader(count: int) -> Any:
    def read(answer: Any) -> Sequence[Mapping[str, Any]]:
        items = read_object(answer).get("items")
        if not isinstance(items, list) or len(items) != count:
            raise GarbageError("the answer does not say what became of each item")
        for item in items:
            if not isinstance(item, dict) or not ({"result", "problem"} & item.keys()):
                raise GarbageError("the answer does not say what became of each item")
            if "problem" not in item:
                recorded_of(item["result"])
        return items

    return read


def _item_result(item: Mapping[str, Any], result: Mapping[str, Any]) -> ItemResult:
    if "problem" not in result:
        return recorded_of(result["result"])
    refused = Refused(result["problem"], result.get("status"))
    meaning = meaning_of(refused.problem, refused.status or 0)
    if meaning in (Meaning.REFUSED, Meaning.LATER):
        return refused
    return OutcomeUnknown("an item of a batch", key=item["key"], why=str(refused))

"""
Recorded: what the service answers about entries, as values.

Members that are missing or of another kind make an answer garbage; whether what it says is true
is proved elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ledger.canonical import canonical_bytes
from ledger.client.errors import ReceiptInvalid
from ledger.client.judgement import Answer, GarbageError
from ledger.errors import InclusionError, MalformedEffectError
from ledger.forms.grammar import HASH, UUID
from ledger.merkle import leaf_hash
from ledger.receipt import VerifiedEntry

TrustedBy = Literal["given", "pinned", "learned"]
"""
Whose word it is that the ledger's keys are these: the caller's; the store's, who learned them
before; the ledger's own, asked just now.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """It is history: durable, chained and proved."""

    id: str
    ledger: str
    seq: int
    entry_hash: str
    recorded_at: str
    replayed: bool
    """Whether the very same request was recorded before."""
    receipt: Mapping[str, Any] | None
    """As it came."""
    body: Mapping[str, Any]
    """The whole answer."""
    verified: VerifiedEntry | None = None
    """What the receipt was found to prove; None only where an error says that it proves nothing."""
    trusted_by: TrustedBy | None = None
    """Why the keys under `verified` are believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntry:
    """An entry of history as it is read back; its words hash to its `entry_hash`."""

    id: str
    ledger: str
    seq: int
    entry_hash: str
    recorded_at: str
    entry: Mapping[str, Any]
    """Everything the entry says: its effect, its place, its link to the one before."""
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries in order, and where to go on."""

    entries: tuple[FoundEntry, ...]
    after: int
    """Seq of the last one seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Entries that filters fit, and where the next page begins."""

    entries: tuple[FoundEntry, ...]
    cursor: str | None
    """None after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An effect with what corrects it, each with the id of what it corrects."""

    original: FoundEntry
    corrections: tuple[tuple[str, FoundEntry], ...]
    explanations: tuple[tuple[str, FoundEntry], ...]
    body: dict[str, Any]


def read_recorded(answer: Answer) -> Recorded:
    """The answer to a write; GarbageError where it is none."""
    return recorded_of(answer.json())


def recorded_of(document: Any) -> Recorded:
    """What the service says it recorded; GarbageError where it says nothing of the kind."""
    place = _place(document)
    if not isinstance(document.get("replayed"), bool):
        raise GarbageError("the answer does not say whether it is a replay")
    receipt = document.get("receipt")
    if receipt is not None and not isinstance(receipt, dict):
        raise GarbageError("the receipt is not an object")
    return Recorded(**place, replayed=document["replayed"], receipt=receipt, body=document)


def read_entry(answer: Answer) -> FoundEntry:
    """The answer that is an entry; GarbageError where it is none."""
    return entry_of(answer.json())


def entry_of(document: Any) -> FoundEntry:
    """
    An entry as it is told, held to its own hash.

    Raises:
        GarbageError: It is no entry.
        ReceiptInvalid: Its words are not those that were hashed.
    """
    place = _place(document)
    entry = document.get("entry")
    if not isinstance(entry, dict):
        raise GarbageError("the answer has no entry")
    found = FoundEntry(**place, entry=entry, body=document)
    try:
        hashed = leaf_hash(canonical_bytes(entry)).hex()
    except MalformedEffectError as error:
        raise GarbageError(f"the entry is not what is hashed: {error.message}") from error
    says = {name: entry.get(name) for name in ("id", "ledger", "seq", "recorded_at")}
    if hashed != found.entry_hash or says != {name: place[name] for name in says}:
        raise ReceiptInvalid(
            InclusionError(
                f"the entry at seq {found.seq} is told as {found.entry_hash}, and hashes to "
                f"{hashed}",
                expected=found.entry_hash,
                found=hashed,
            ),
            receipt=document,
        )
    return found


def read_page(answer: Answer) -> Page:
    """The answer of a feed; GarbageError where it is none."""
    document = answer.json()
    after = document.get("next_after") if isinstance(document, dict) else None
    if not isinstance(after, int) or not isinstance(document.get("entries"), list):
        raise GarbageError("the answer is no part of a feed")
    return Page(entries=tuple(map(entry_of, document["entries"])), after=after)


def read_first(answer: Answer) -> FoundEntry | None:
    """The first entry of a page, or None; GarbageError where it is none."""
    document = answer.json()
    if not isinstance(document, dict) or not isinstance(document.get("entries"), list):
        raise GarbageError("the answer is no page of entries")
    return entry_of(document["entries"][0]) if document["entries"] else None


def read_listing(answer: Answer) -> Listing:
    """A page of entries; GarbageError where it is none."""
    document = answer.json()
    cursor = document.get("next_cursor") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(document.get("entries"), list):
        raise GarbageError("the answer is no page of entries")
    if cursor is not None and not isinstance(cursor, str):
        raise GarbageError("the cursor of the answer is none")
    return Listing(entries=tuple(map(entry_of, document["entries"])), cursor=cursor)


def read_story(answer: Answer) -> Story:
    """The story of an effect; GarbageError where it is none."""
    document = read_object(answer)
    several = [document.get(name) for name in ("corrections", "explanations")]
    if not all(isinstance(each, list) for each in several):
        raise GarbageError("the answer is no story of an effect")
    corrections, explanations = (tuple(map(_correction_of, each or ())) for each in several)
    return Story(
        original=entry_of(document.get("original")),
        corrections=corrections,
        explanations=explanations,
        body=document,
    )


def _correction_of(document: Any) -> tuple[str, FoundEntry]:
    entry = entry_of(document)
    if not isinstance(document.get("corrects"), str):
        raise GarbageError("the answer does not say what is corrected")
    return document["corrects"], entry


def read_intent(answer: Answer) -> dict[str, Any]:
    """An intent as it stands; GarbageError where it is none."""
    document = read_object(answer)
    words = all(isinstance(document.get(name), str) for name in ("id", "state", "world"))
    token = document.get("token")
    if not words or not isinstance(token, int) or "outcome" not in document:
        raise GarbageError("the answer is no intent")
    return document


def read_intents(answer: Answer) -> dict[str, Any]:
    """A page of intents; GarbageError where it is none."""
    document = read_object(answer)
    if not isinstance(document.get("intents"), list) or "next_cursor" not in document:
        raise GarbageError("the answer is no page of intents")
    return document


def read_object(answer: Answer) -> dict[str, Any]:
    """Any JSON object; GarbageError where it is none."""
    document = answer.json()
    if not isinstance(document, dict):
        raise GarbageError("the answer is no JSON object")
    return document


def _place(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise GarbageError("the answer is no JSON object")
    place: dict[str, Any] = {
        name: document.get(name) for name in ("id", "ledger", "seq", "entry_hash", "recorded_at")
    }
    seq = place.pop("seq")
    words = all(isinstance(value, str) for value in place.values())
    if not words or not isinstance(seq, int) or isinstance(seq, bool):
        raise GarbageError("the answer does not say what was recorded")
    if not UUID.fullmatch(place["id"]) or not HASH.fullmatch(place["entry_hash"]):
        raise GarbageError("the answer names no entry")
    return {**place, "seq": seq}

"""
Listed: whether entries that are told are those that were asked for, in their order and all of them.

Each is held to its own hash where it is read; here it is held to the question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.client.errors import ReceiptInvalid
from ledger.client.recorded import FoundEntry, Story
from ledger.errors import InclusionError
from ledger.forms.timestamps import normalise_time


def check_listed(
    found: Iterable[FoundEntry],
    filters: Mapping[str, Any],
    *,
    ledger: str,
    last: FoundEntry | None,
) -> None:
    """
    Refuse entries that a filter does not fit, or that are out of order.

    That entries which fit are all told is not to be seen here: whoever has to be sure reads the
    feed, or verifies the ledger.

    Args:
        found: In the order of the answer.
        filters: As they were asked; those that are not known here are not looked at.
        ledger: Its name.
        last: The entry before them, if there is one.

    Raises:
        ReceiptInvalid: One of them is no answer to this.
    """
    step = -1 if filters.get("order") == "desc" else 1
    for each in found:
        _check(each, "ledger", each.ledger, ledger)
        if last is not None and (each.seq - last.seq) * step <= 0:
            raise _refused(each, f"an entry beyond seq {last.seq}", f"seq {each.seq}")
        # Of a version above 1, only what all versions share is known.
        if each.entry.get("v") == 1:
            for name, value in filters.items():
                _check_filter(each, name, str(value))
        last = each


def check_feed(
    found: Iterable[FoundEntry], *, ledger: str, after: int, last: FoundEntry | None, end: int
) -> None:
    """
    Refuse a part of a feed that leaves something out, or does not continue what came before.

    Args:
        found: In the order of the answer.
        ledger: Its name.
        after: Seq of the last one seen.
        last: The last one seen, where it was seen here: then the next one is linked to it.
        end: Where the answer says to go on.

    Raises:
        ReceiptInvalid: There is a gap, another order, another ledger or another history.
    """
    for each in found:
        _check(each, "ledger", each.ledger, ledger)
        _check(each, "seq", each.seq, after + 1)
        if last is not None:
            _check(each, "prev", each.entry.get("prev"), last.entry_hash)
        after, last = each.seq, each
    if end != after:
        document = {"next_after": end}
        raise ReceiptInvalid(
            InclusionError(
                f"the feed ends with seq {after} and goes on after {end}", expected=after, found=end
            ),
            receipt=document,
        )


def check_story(told: Story, *, ledger: str, effect_id: str) -> None:
    """
    Refuse a story of another effect, or with corrections or explanations that are none of it.

    Raises:
        ReceiptInvalid: It is.
    """
    _check(told.original, "ledger", told.original.ledger, ledger)
    _check(told.original, "id", told.original.id, effect_id.lower())
    met, last = {told.original.id}, told.original.seq
    # What an entry is about was there before it: in seq order, it has been met.
    for corrects, each in sorted(
        (*told.corrections, *told.explanations), key=lambda pair: pair[1].seq
    ):
        _check(each, "ledger", each.ledger, ledger)
        if corrects not in met:
            raise _refused(each, f"a correction in the story of {effect_id}", f"one of {corrects}")
        if each.seq <= last:
            raise _refused(each, f"an entry beyond seq {last}", f"seq {each.seq}")
        says = _effect(each).get("corrects")
        if says is not None:
            _check(each, "corrects", says, corrects)
        met.add(each.id)
        last = each.seq


def _check_filter(entry: FoundEntry, name: str, value: str) -> None:
    said = _said(entry, name)
    if said is not None:
        if value not in said:
            raise _refused(entry, f"{name} {value}", f"{name} {', '.join(said) or 'not there'}")
        return
    moment, _, end = name.rpartition("_")
    at = {"recorded": entry.recorded_at, "occurred": _effect(entry).get("occurred_at")}.get(moment)
    if at is None or end not in {"from", "to"}:
        return
    try:
        bound = normalise_time(value)
    except ValueError:
        # The service took it, and knows what it means.
        return
    if (at < bound) == (end == "from"):
        raise _refused(entry, f"{name} {value}", f"{moment}_at {at}")


def _said(entry: FoundEntry, name: str) -> list[str] | None:
    """What an entry has of what a filter is about; None where that is not known here."""
    effect = _effect(entry)
    if name == "poster":
        return [str(entry.entry.get("poster"))]
    if name in _MEMBERS:
        held: Any = effect
        for member in _MEMBERS[name]:
            held = held.get(member, {})
        return [held] if held else []
    found = {
        "label": effect.get("labels", {}).items(),
        "evidence": [(each["system"], each["ref"]) for each in effect.get("evidence", ())],
        "cause": [(each["kind"], each["ref"]) for each in effect.get("causes", ())],
    }
    return [f"{first}:{second}" for first, second in found[name]] if name in found else None


_MEMBERS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("kind", "type", "key", "business_key", "subject")},
    "actor": ("actor", "id"),
    "currency": ("money", "currency"),
}


def _effect(entry: FoundEntry) -> Mapping[str, Any]:
    effect = entry.entry.get("effect")
    return effect if isinstance(effect, dict) else {}


def _check(entry: FoundEntry, name: str, found: object, expected: object) -> None:
    if found != expected:
        raise _refused(entry, f"{name} {expected}", f"{name} {found}")


def _refused(entry: FoundEntry, asked: str, found: str) -> ReceiptInvalid:
    return ReceiptInvalid(
        InclusionError(
            f"{asked} was asked for, and the answer has entry {entry.id} with {found}",
            expected=asked,
            found=found,
        ),
        receipt=entry.body,
    )

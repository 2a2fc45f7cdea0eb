"""
Story: one effect with all that was added to it, what it comes to, and what can still be undone.

A fold over entry bytes and stored positions. Which entries belong to the family is found by
whoever reads them, and checked here against what the entries themselves say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from ledger.effect import Kind
from ledger.entry import Entry
from ledger.errors import ChainBreakError
from ledger.forms.money import decimals, format_amount, minor_units
from ledger.forms.timestamps import format_time
from ledger.lifecycle import Position

SCOPES: Mapping[Kind, str] = {
    Kind.REFUND: "refunds:write",
    Kind.ADJUSTMENT: "adjustments:write",
    Kind.EXPLANATION: "explanations:write",
}
"""What a credential must be good for, to add each kind of correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A refund, adjustment or explanation, and where it stands."""

    entry: Entry
    target: str
    """Id of the entry it corrects."""
    depth: int
    """1 where that is the original, 2 where it corrects such a correction, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """One thing that may still be done about the effect."""

    act: Kind
    """The correction that does it."""
    scope: str
    """Who may: credentials with this scope."""
    until: str | None
    """When it ends, by the word of the effect's owner; None where nobody named an end."""
    up_to: str | None
    """Most it may take, in the currency of the effect; None where nothing bounds it."""
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """One thing that cannot be undone."""

    code: str
    says: str
    amount: str | None = None
    """How much of it, in the currency of the effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackClaim:
    """What "roll it back" can and cannot mean for this effect, at one moment."""

    as_of: str
    reversible_until: str | None
    is_open: bool
    """Whether the owner's time for reversing it runs, or none was named."""
    can: tuple[Undo, ...]
    cannot: tuple[Residue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An effect, its corrections, and what they leave of it."""

    original: Entry
    unlinked: bool
    """The original of this entry was recorded elsewhere: it has no position here."""
    corrections: tuple[Correction, ...]
    """Refunds and adjustments, each right after what it corrects; in seq order otherwise."""
    explanations: tuple[Correction, ...]
    """In seq order."""
    positions: Mapping[str, Position]
    """Stored ones, by entry id."""
    position: Position | None
    """What is left of the effect; None where it has no money, or is unlinked."""
    rollback: RollbackClaim

    def to_document(self) -> dict[str, Any]:
        """
        The story as a JSON object, its world first.

        `remaining` is never below zero: what facts took beyond it is `excess`, and amount -
        refunded - held = remaining - excess.
        """
        effect = self.original.effect
        return {
            "world": "RML3",
            "ledger": self.original.ledger,
            "id": self.original.id,
            "kind": effect.kind.value,
            "type": effect.type,
            "unlinked": self.unlinked,
            "original": _entry_document(self.original),
            "position": self._position_document(),
            "standing": self._standing_document(),
            "rollback": self._rollback_document(),
            "corrections": [
                _correction_document(each)
                | {"amount_now": _amount_now(each.entry, self.positions.get(each.entry.id))}
                for each in self.corrections
            ],
            "explanations": [_correction_document(each) for each in self.explanations],
        }

    def _position_document(self) -> dict[str, Any] | None:
        position, money = self.position, self.original.effect.money
        if position is None or money is None:
            return None
        excess = position.excess or 0
        figures = {
            "original": position.original,
            "adjusted": position.adjusted,
            "amount": position.amount,
            "refunded": position.refunded,
            "held": position.held,
            "remaining": max(0, position.remaining),
            "excess": excess,
        }
        places = decimals(money.amount)
        return {"currency": position.currency, "flow": money.flow} | {
            name: format_amount(minor, places) for name, minor in figures.items()
        }

    def _standing_document(self) -> dict[str, Any]:
        """What adjustments without money say: a recalled e-mail, an amended contract."""
        amendments = [each.entry for each in self.corrections if each.entry.effect.money is None]
        latest = max(amendments, key=lambda entry: entry.seq, default=None)
        return {
            "state": "as-recorded" if latest is None else "amended",
            "amendments": len(amendments),
            "latest": None
            if latest is None
            else {
                "id": latest.id,
                "seq": latest.seq,
                "type": latest.effect.type,
                "reason": latest.effect.reason,
            },
        }

    def _rollback_document(self) -> dict[str, Any]:
        claim, money = self.rollback, self.original.effect.money
        currency = None if money is None else money.currency

        def figure(amount: str | None) -> dict[str, Any] | None:
            return None if amount is None else {"amount": amount, "currency": currency}

        return {
            "as_of": claim.as_of,
            "reversible_until": claim.reversible_until,
            "open": claim.is_open,
            "can": [
                {
                    "act": each.act.value,
                    "scope": each.scope,
                    "until": each.until,
                    "up_to": figure(each.up_to),
                    "says": each.says,
                }
                for each in claim.can
            ],
            "cannot": [
                {"code": each.code, "says": each.says, "amount": figure(each.amount)}
                for each in claim.cannot
            ],
        }


def build_story(
    original: Entry,
    corrections: Sequence[Entry],
    positions: Mapping[str, Position],
    now: datetime,
) -> Story:
    """
    The story of an effect, or of a correction whose original was recorded elsewhere.

    Args:
        original: What the story is about.
        corrections: All that correct it, or correct one of these; in seq order.
        positions: Stored positions of all of them by entry id, where there are any.
        now: Wall clock; decides whether the time for reversing it still runs.

    Raises:
        ChainBreakError: By its own bytes, one of `corrections` corrects none of the others.
    """
    effect = original.effect
    unlinked = effect.corrects_external is not None
    family = _lineage(original, corrections)
    position = None
    if effect.money is not None and not unlinked:
        position = positions.get(original.id) or _untouched(original)
    return Story(
        original=original,
        unlinked=unlinked,
        corrections=_under_their_targets(original, family),
        explanations=tuple(each for each in family if each.entry.effect.kind is Kind.EXPLANATION),
        positions=positions,
        position=position,
        rollback=_rollback(original, position, now),
    )


# ---- Lineage --------------------------------------------------------------------------


def _lineage(original: Entry, corrections: Sequence[Entry]) -> list[Correction]:
    """Each correction with what it corrects, by the words that were hashed."""
    depths = {original.id: 0}
    keys = {original.effect.key: original.id}
    family = []
    for entry in corrections:
        effect = entry.effect
        target = effect.corrects or keys.get(effect.corrects_key or "")
        # What is corrected was there before: in seq order, it has been met.
        if target is None or target not in depths:
            raise ChainBreakError(
                f"entry {entry.seq} is indexed as a correction of {original.id} and is none",
                seq=entry.seq,
            )
        depths[entry.id] = depths[target] + 1
        keys[effect.key] = entry.id
        family.append(Correction(entry=entry, target=target, depth=depths[entry.id]))
    return family


def _under_their_targets(original: Entry, family: Sequence[Correction]) -> tuple[Correction, ...]:
    """Refunds and adjustments depth first: read from top to bottom, each follows its target."""
    below: dict[str, list[Correction]] = {}
    for each in family:
        if each.entry.effect.kind is not Kind.EXPLANATION:
            below.setdefault(each.target, []).append(each)
    ordered = []
    # A list and not recursion: a chain of adjustments may be thousands long.
    waiting = below.get(original.id, [])[::-1]
    while waiting:
        each = waiting.pop()
        ordered.append(each)
        waiting += below.get(each.entry.id, [])[::-1]
    return tuple(ordered)


# ---- What it comes to -----------------------------------------------------------------


def _untouched(entry: Entry) -> Position:
    money = entry.effect.money
    assert money is not None, "only money has a position"
    return Position(
        entry=entry.id,
        currency=money.currency,
        original=minor_units(money.amount),
        adjusted=0,
        refunded=0,
        held=0,
        excess=0,
    )


def _amount_now(entry: Entry, position: Position | None) -> str | None:
    """What a correction comes to after its own adjustments, in its own currency."""
    money = entry.effect.money
    if money is None or position is None:
        return None if money is None else money.amount
    return format_amount(position.amount, decimals(money.amount))


# ---- What can still be undone ---------------------------------------------------------


def _rollback(original: Entry, position: Position | None, now: datetime) -> RollbackClaim:
    effect = original.effect
    until = effect.reversible_until
    as_of = format_time(now)
    # Both are in the form that sorts as text.
    is_open = until is None or as_of < until
    return RollbackClaim(
        as_of=as_of,
        reversible_until=until,
        is_open=is_open,
        can=tuple(_can(original, position, until, is_open=is_open)),
        cannot=tuple(_cannot(original, position, is_open=is_open)),
    )


def _can(
    original: Entry, position: Position | None, until: str | None, *, is_open: bool
) -> list[Undo]:
    can = []
    effect = original.effect
    remaining = max(0, position.remaining) if position is not None else 0
    if is_open and position is not None and remaining:
        can.append(
            _undo(Kind.REFUND, "Give back what remains.", until, _shown(original, remaining))
        )
    if is_open and position is not None:
        can.append(
            _undo(
                Kind.ADJUSTMENT,
                "Correct the amount, downwards by what remains at most, or amend without money.",
                until,
                _shown(original, remaining),
            )
        )
    elif is_open and effect.kind is not Kind.EXPLANATION:
        says = "Record that it was recalled, amended or failed, as a new effect of its own."
        can.append(_undo(Kind.ADJUSTMENT, says, until))
    can.append(_undo(Kind.EXPLANATION, "Explain what happened.", None))
    return can


def _undo(act: Kind, says: str, until: str | None, up_to: str | None = None) -> Undo:
    return Undo(act=act, scope=SCOPES[act], until=until, up_to=up_to, says=says)


def _cannot(original: Entry, position: Position | None, *, is_open: bool) -> list[Residue]:
    effect = original.effect
    point = f" ({effect.handoff})" if effect.handoff else ""
    cannot = [
        Residue(
            code="history",
            says=f"It was handed off{point} and is history: neither what happened nor this "
            "record of it can be taken away.",
        )
    ]
    if not is_open:
        says = (
            f"Its owner could reverse it until {effect.reversible_until}, and that has passed. "
            "What happens all the same is recorded as an observed fact."
        )
        cannot.append(Residue(code="deadline-passed", says=says))
    if effect.corrects_external is not None:
        says = "Its original was recorded elsewhere; what remains of that is not known here."
        cannot.append(Residue(code="unlinked", says=says))
    elif position is None:
        says = "Who received it has received it; a recall or an amendment only follows it."
        cannot.append(Residue(code="received", says=says))
    else:
        cannot += _spent(original, position)
    return cannot


def _spent(original: Entry, position: Position) -> list[Residue]:
    """Money that is not there to be given back."""
    parts = (
        ("refunded", position.refunded, "Was given back already."),
        ("held", position.held, "Is promised to open intents."),
        ("excess", position.excess or 0, "Was taken beyond what remained; it must be reconciled."),
    )
    return [
        Residue(code=code, says=says, amount=_shown(original, minor))
        for code, minor, says in parts
        if minor > 0
    ]


def _shown(original: Entry, minor: int) -> str:
    money = original.effect.money
    assert money is not None, "only money has a position"
    return format_amount(minor, decimals(money.amount))


# ---- Documents ------------------------------------------------------------------------


def _entry_document(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "ledger": entry.ledger,
        "seq": entry.seq,
        "entry_hash": entry.hash.hex(),
        "recorded_at": entry.recorded_at,
        "entry": orjson.loads(entry.encoded),
    }


def _correction_document(correction: Correction) -> dict[str, Any]:
    return {"corrects": correction.target, "depth": correction.depth} | _entry_document(
        correction.entry
    )

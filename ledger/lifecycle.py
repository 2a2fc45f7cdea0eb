"""
Lifecycle: which correction fits which entry, and what it leaves of it.

    effect <--+-- refund <------- adjustment <-- adjustment ...
              +-- adjustment <--- adjustment ...

A correction moves the position of the entry it names; what it changes there moves the entry
above, up to the effect. Pure arithmetic in minor units, one batch at a time: which requests
are replays, who may ask and how positions are stored is for others.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from ledger.effect import Effect, Kind, Money
from ledger.errors import (
    BadReferenceError,
    CorrectionError,
    OverRefundError,
    PossibleRepeatError,
    RemainderHeldError,
    TooLargeError,
)
from ledger.forms.grammar import wrong
from ledger.forms.money import check_amount, decimals, format_amount, minor_units
from ledger.intent import Hold

MINOR_UNITS_MAX = 10**38 - 1
"""Largest sum a position holds, on either side of zero: the database has 38 digits for it."""

DEPTH_MAX = 64
"""Most steps from a refund or an adjustment up to its original: each write reads all of them."""

_CORRECTABLE: Mapping[Kind, frozenset[Kind]] = {
    Kind.REFUND: frozenset({Kind.EFFECT}),
    Kind.ADJUSTMENT: frozenset({Kind.EFFECT, Kind.REFUND, Kind.ADJUSTMENT}),
    Kind.EXPLANATION: frozenset(Kind),
}
_OPPOSITE = {"in": "out", "out": "in"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the rules need to know of an entry that stands, or was admitted just before."""

    id: str
    seq: int | None
    """None where it was admitted without a number, as in a dry run."""
    kind: Kind
    type: str
    money: Money | None
    target: str | None
    """Id of the entry it corrects; None where it corrects none of this ledger."""
    observed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What corrections have left of an entry with money, in minor units of its currency."""

    entry: str
    currency: str
    original: int
    """Own amount of the entry. Below zero on some adjustments."""
    adjusted: int
    """Sum of its adjustments, as they were adjusted in turn."""
    refunded: int
    """Sum of its refunds, as they were adjusted in turn."""
    held: int
    """Promised to open intents."""
    excess: int | None
    """What observed facts took beyond the remainder; None on adjustments: nothing bounds them."""

    @property
    def amount(self) -> int:
        """What the entry is worth after its adjustments."""
        return self.original + self.adjusted

    @property
    def remaining(self) -> int:
        """What may still be refunded; below zero by `excess` where facts took more."""
        return self.original + self.adjusted - self.refunded - self.held


def references(effect: Effect) -> tuple[list[str], list[str]]:
    """
    What `effect` names in its ledger, to be fetched before it is judged.

    Returns:
        Entry ids, and idempotency keys; a key may be of an earlier item of the same batch.
    """
    ids = [each for each in (effect.corrects, effect.repeat_of) if each is not None]
    keys = [] if effect.corrects_key is None else [effect.corrects_key]
    return ids, keys


def lineage_references(effect: Effect) -> tuple[list[str], list[str]]:
    """
    Of what `effect` names, that whose targets are to be fetched as well, up to the original.

    An explanation moves nothing, nor does a repeat: they need what they name and no more.

    Returns:
        Entry ids, and idempotency keys.
    """
    if effect.kind not in {Kind.REFUND, Kind.ADJUSTMENT}:
        return [], []
    ids = [] if effect.corrects is None else [effect.corrects]
    keys = [] if effect.corrects_key is None else [effect.corrects_key]
    return ids, keys


class History:
    """
    What one batch knows of history while it is judged, in order, under the head's lock.

    What was read lies at the bottom, what the batch admits in the layer on top of it.
    """

    def __init__(
        self,
        entries: Iterable[Recorded],
        positions: Iterable[Position],
        keys: Mapping[str, str],
        business_keys: Mapping[tuple[str, str, str], tuple[str, int]],
        *,
        promised: Mapping[tuple[str, str, str], str] = MappingProxyType({}),
        holders: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """
        Begin with what was read.

        Args:
            entries: Those that are named by the batch; of what a refund or an adjustment
                corrects, also its target, and so on upwards.
            positions: Of these entries, where they have one.
            keys: Idempotency key -> id, of entries named by key.
            business_keys: (kind, type, business key) -> id and seq of the entry that holds it.
            promised: (kind, type, business key) -> the open intent that holds it.
            holders: Entry id -> open intents that hold some of it, as far as known.
        """
        self._holders = dict(holders)
        self._released: set[str] = set()
        self._promised = dict(promised)
        held: dict[tuple[str, str, str], tuple[str, int | None]] = dict(business_keys.items())
        # Annotated and not ChainMap[...](): calling an alias takes longer than the rest of this.
        self._entries: ChainMap[str, Recorded] = ChainMap({}, {each.id: each for each in entries})
        self._positions: ChainMap[str, Position] = ChainMap(
            {}, {each.entry: each for each in positions}
        )
        self._keys: ChainMap[str, str] = ChainMap({}, dict(keys))
        self._business_keys = ChainMap({}, held)

    @property
    def changed_positions(self) -> list[Position]:
        """Positions the admitted corrections moved or began, in the order of the first move."""
        return list(self._positions.maps[0].values())

    def admit(
        self, effect: Effect, entry_id: str, *, seq: int | None = None, hold: Hold | None = None
    ) -> str | None:
        """
        Let `effect` into history as entry `entry_id` at `seq`, or raise and change nothing.

        What its intent held, `hold`, is let go of for it. The first of these that applies is
        told: what it names is not there; it does not fit what it corrects; its business key is
        taken; too little remains.

        Returns:
            Id of the entry it corrects; None where that is none of this ledger.

        Raises:
            BadReferenceError: `corrects`, `corrects_key` or `repeat_of` names no entry.
            CorrectionError: What it corrects is of another kind, has no money, or is too many
                steps away from its original.
            MalformedEffectError: Flow, currency or decimals do not suit what it corrects.
            PossibleRepeatError: Another entry has the business key.
            OverRefundError: It was not observed and takes more than there is.
            RemainderHeldError: There would be enough, but for what open intents hold.
            TooLargeError: A sum passes what a position holds.
        """
        self._check_repeat_of(effect)
        target = self._find_target(effect)
        if target is not None:
            _check_kind(effect, target)
            self._check_depth(effect, target)
            _check_money(effect, target)
        self._check_business_key(effect)
        released = {} if hold is None else self._release(hold)
        moved = self._move(effect, target, released) if target is not None else {}

        if released or moved:
            self._positions.update(released | moved)
        if hold is not None and effect.intent is not None:
            self._released.add(effect.intent.id)
        self._register(effect, entry_id, seq, target)
        return target.id if target is not None else None

    def knows(self, entry_id: str) -> bool:
        """Whether the entry of this id was read, or admitted since."""
        return entry_id in self._entries

    def promise(self, effect: Effect, intent: str) -> Hold | None:
        """
        Hold for `intent` what `effect` would take, as if it were admitted, or raise and change
        nothing. What `effect` repeats is looked at by the caller: it may be an intent.

        Returns:
            What is kept of the entry a refund would refund; None for anything else.

        Raises:
            RejectedError: As `admit`.
        """
        target = self._find_target(effect)
        if target is not None:
            _check_kind(effect, target)
            _check_money(effect, target)
        self._check_business_key(effect)
        hold = None
        if target is not None and effect.money is not None:
            before = self._position(target)
            amount = minor_units(effect.money.applied or effect.money.amount)
            after = replace(before, held=before.held + amount)
            _check_remainder(effect, target, before, after, self._holders_of(target))
            self._positions[target.id] = after
            self._holders[target.id] = [*self._holders.get(target.id, ()), intent]
            hold = Hold(entry=target.id, currency=before.currency, amount=amount)
        if effect.business_key is not None and effect.repeat_of is None:
            self._promised[effect.kind, effect.type, effect.business_key] = intent
        return hold

    def release(self, intent: str, hold: Hold | None) -> None:
        """Let go of what was promised to `intent`."""
        if hold is not None:
            self._positions.update(self._release(hold))
            self._released.add(intent)
        for key in [key for key, holder in self._promised.items() if holder == intent]:
            del self._promised[key]

    def _release(self, hold: Hold) -> dict[str, Position]:
        before = self._positions[hold.entry]
        after = replace(before, held=before.held - hold.amount)
        return {hold.entry: replace(after, excess=max(0, -after.remaining))}

    def _holders_of(self, entry: Recorded) -> list[str]:
        return [each for each in self._holders.get(entry.id, ()) if each not in self._released]

    def fork(self) -> History:
        """A history that begins as this one; what it admits is kept only if it is joined."""
        fork = History((), (), {}, {}, promised=self._promised, holders=self._holders)
        fork._released = set(self._released)
        fork._entries = self._entries.new_child()
        fork._positions = self._positions.new_child()
        fork._keys = self._keys.new_child()
        fork._business_keys = self._business_keys.new_child()
        return fork

    def join(self, fork: History) -> None:
        """Keep what `fork` admitted; nothing may have been admitted here since it was made."""
        self._entries.update(fork._entries.maps[0])
        self._positions.update(fork._positions.maps[0])
        self._keys.update(fork._keys.maps[0])
        self._business_keys.update(fork._business_keys.maps[0])
        self._released |= fork._released

    def _check_repeat_of(self, effect: Effect) -> None:
        if effect.repeat_of is not None and effect.repeat_of not in self._entries:
            raise _not_there("/repeat_of", effect.repeat_of)

    def _find_target(self, effect: Effect) -> Recorded | None:
        if effect.corrects_key is not None:
            named = self._keys.get(effect.corrects_key)
            if named is None:
                raise _not_there("/corrects_key", effect.corrects_key)
        else:
            named = effect.corrects
        if named is None:
            return None
        target = self._entries.get(named)
        if target is None:
            raise _not_there("/corrects", named)
        return target

    def _check_depth(self, correction: Effect, target: Recorded) -> None:
        if correction.kind is Kind.EXPLANATION:
            return
        # A gap or a circle ends here too: what has money to move stumbles over it later.
        above = {target.id}
        entry: Recorded | None = target
        while entry is not None and entry.target is not None and entry.target not in above:
            above.add(entry.target)
            if len(above) > DEPTH_MAX:
                raise CorrectionError(
                    f"entry {target.id} is a correction {DEPTH_MAX} steps from its original, "
                    "and no more than that are taken; correct one that is nearer to it",
                    target=target.id,
                    limit=DEPTH_MAX,
                )
            entry = self._entries.get(entry.target)

    def _check_business_key(self, effect: Effect) -> None:
        if effect.business_key is None or effect.repeat_of is not None:
            return
        first = self._business_keys.get((effect.kind, effect.type, effect.business_key))
        if first is not None:
            raise _possible_repeat("entry", *first)
        promised = self._promised.get((effect.kind, effect.type, effect.business_key))
        # What an intent became is never refused for what others only promised.
        if promised is not None and effect.intent is None:
            raise _possible_repeat("intent", promised, None)

    def _move(
        self, correction: Effect, target: Recorded, released: Mapping[str, Position]
    ) -> dict[str, Position]:
        """
        Positions by entry as the money of `correction` leaves them, its target's first.

        Those in `released` are not yet among what stands.
        """
        if correction.money is None:
            return {}
        moved: dict[str, Position] = {}
        kind = correction.kind
        delta = minor_units(correction.money.applied or correction.money.amount)
        entry = target
        while delta:
            before = released.get(entry.id) or self._position(entry)
            after = _settled(before, entry, kind, delta)
            if not correction.observed:
                _check_remainder(correction, entry, before, after, self._holders_of(entry))
            moved[entry.id] = after
            if entry.target is None:
                break
            delta = _contribution(entry, after) - _contribution(entry, before)
            kind = entry.kind
            # Rows beside the hashed bytes can be tampered with: a gap or a circle ends here.
            if entry.target in moved or entry.target not in self._entries:
                raise CorrectionError(
                    f"entry {entry.id} corrects entry {entry.target}, which is not before it",
                    target=target.id,
                )
            entry = self._entries[entry.target]
        return moved

    def _position(self, entry: Recorded) -> Position:
        standing = self._positions.get(entry.id)
        if standing is not None:
            return standing
        money = _money_of(entry)
        return Position(
            entry=entry.id,
            currency=money.currency,
            original=minor_units(money.amount),
            adjusted=0,
            refunded=0,
            held=0,
            excess=None if entry.kind is Kind.ADJUSTMENT else 0,
        )

    def _register(
        self, effect: Effect, entry_id: str, seq: int | None, target: Recorded | None
    ) -> None:
        self._entries[entry_id] = Recorded(
            id=entry_id,
            seq=seq,
            kind=effect.kind,
            type=effect.type,
            money=effect.money,
            target=target.id if target is not None else None,
            observed=effect.observed,
        )
        self._keys[effect.key] = entry_id
        if effect.business_key is not None and effect.repeat_of is None:
            self._business_keys[effect.kind, effect.type, effect.business_key] = (entry_id, seq)


def _possible_repeat(noun: str, holder: str, seq: int | None) -> PossibleRepeatError:
    return PossibleRepeatError(
        f"{noun} {holder} has this business key, and the same kind and type; "
        "name it in repeat_of if this is another one",
        id=holder,
        seq=seq,
    )


def _not_there(pointer: str, named: str) -> BadReferenceError:
    return BadReferenceError(
        f"{pointer} names {named}, which is not in this ledger", pointer=pointer, named=named
    )


# ---- Whether it fits ------------------------------------------------------------------


def _check_kind(correction: Effect, target: Recorded) -> None:
    correctable = _CORRECTABLE[correction.kind]
    if target.kind not in correctable:
        kinds = ", ".join(sorted(correctable))
        raise CorrectionError(
            f"kind {correction.kind} corrects {kinds}; entry {target.id} is of kind {target.kind}",
            target=target.id,
            expected=sorted(correctable),
            found=target.kind.value,
        )


def _check_money(correction: Effect, target: Recorded) -> None:
    money = correction.money
    if money is None:
        return
    standing = _money_of(target)
    flow = _OPPOSITE[standing.flow] if correction.kind is Kind.REFUND else standing.flow
    if money.flow != flow:
        raise wrong("/money/flow", f"must be {flow}, for entry {target.id} has {standing.flow}")
    if money.currency == standing.currency:
        if money.applied is not None:
            raise wrong("/money/applied", f"has no place where both are in {money.currency}")
        check_amount(money.amount, decimals(standing.amount), "/money/amount")
    else:
        if money.applied is None:
            raise wrong(
                "/money/applied",
                f"is required: entry {target.id} is in {standing.currency}, "
                f"and this in {money.currency}",
            )
        check_amount(money.applied, decimals(standing.amount), "/money/applied")


def _money_of(entry: Recorded) -> Money:
    if entry.money is None:
        raise CorrectionError(f"entry {entry.id} has no money to correct", target=entry.id)
    return entry.money


# ---- What it leaves -------------------------------------------------------------------


def _settled(before: Position, entry: Recorded, kind: Kind, delta: int) -> Position:
    """`before` after a refund or an adjustment of `entry` grew by `delta`."""
    if kind is Kind.REFUND:
        after = replace(before, refunded=before.refunded + delta)
    else:
        after = replace(before, adjusted=before.adjusted + delta)
    if entry.kind is not Kind.ADJUSTMENT:
        after = replace(after, excess=max(0, -after.remaining))
    if max(abs(after.adjusted), abs(after.refunded), after.excess or 0) > MINOR_UNITS_MAX:
        raise TooLargeError(
            f"the corrections of entry {entry.id} add up to more than 38 digits",
            target=entry.id,
            limit=38,
        )
    # What the database checks too.
    assert after.excess is None or after.refunded + after.held <= after.amount + after.excess
    return after


def _contribution(entry: Recorded, position: Position) -> int:
    """What correction `entry` comes to at `position`, in the currency of what it corrects."""
    money = _money_of(entry)
    # What facts took of a refund beyond its amount gives nothing back to the effect.
    amount = max(0, position.amount) if entry.kind is Kind.REFUND else position.amount
    if money.applied is None:
        return amount
    # At the rate it was recorded with, and of the whole: rounded parts would not add up,
    # and taking back everything must give back exactly everything. Half goes to even.
    return round(Fraction(amount * minor_units(money.applied), minor_units(money.amount)))


def _check_remainder(
    correction: Effect,
    entry: Recorded,
    before: Position,
    after: Position,
    holders: Sequence[str],
) -> None:
    # A deficit that facts left may be made smaller by anyone. An effect's amount is never
    # below what remains of it, and nothing is refunded of a refund: one bound serves both.
    if entry.kind is Kind.ADJUSTMENT or after.remaining >= min(0, before.remaining):
        return
    places = decimals(_money_of(entry).amount)
    below_zero = after.amount < min(0, before.amount)
    quantity, left = ("amount", before.amount) if below_zero else ("remainder", before.remaining)
    asked = format_amount(before.remaining - after.remaining, places)
    found = format_amount(left, places)
    says = (
        f"this {correction.kind} takes {asked} {before.currency}; "
        f"the {quantity} of entry {entry.id} is {found} {before.currency}"
    )
    details: dict[str, Any] = {
        "target": entry.id,
        "quantity": quantity,
        "currency": before.currency,
        "asked": asked,
        "remaining": found,
    }
    if below_zero or not before.held:
        raise OverRefundError(says, **details)
    held = format_amount(before.held, places)
    named = f" {', '.join(holders)}" if holders else "s"
    says += f", and {held} {before.currency} more is held by open intent{named}"
    details |= {"held": held, "intents": list(holders)}
    if after.remaining + before.held < 0:
        raise OverRefundError(says, **details)
    raise RemainderHeldError(f"{says}: conclude or cancel that first", **details)

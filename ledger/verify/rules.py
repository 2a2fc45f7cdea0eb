"""
Rules: whether each correction was allowed when it was recorded, and what it left behind.

The same algebra that admits a correction, `lifecycle`, judges it again in the order of the
entries; the positions that come out are compared with the stored ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ledger.effect import Effect, Kind, Money
from ledger.entry import Entry, parse_entry
from ledger.errors import MalformedProofError, RejectedError
from ledger.forms.money import decimals, minor_units
from ledger.lifecycle import MINOR_UNITS_MAX, History, Position, Recorded, references
from ledger.verify.links import Add
from ledger.verify.report import shown
from ledger.verify.stored import Source, StoredEntry, StoredPosition

# Of entries that were referred to; those that are referred to again soon are mostly there.
_KNOWN_MAX = 10_000
_BOTH_FLOWS = {"in", "out"}


class Named(NamedTuple):
    """What matters of an entry that others name."""

    id: str
    seq: int
    key: str
    kind: Kind
    type: str
    money: Money | None
    observed: bool = False
    corrects: str | None = None
    corrects_key: str | None = None
    repeat_of: str | None = None


class Usual(NamedTuple):
    """An explanation, or a refund in the money it was made with, that nothing else is said of."""

    seq: int
    corrects: str | None
    corrects_key: str | None
    money: Money | None
    """What is refunded, above zero, and none applied; None of an explanation."""


class Rules:
    """Replays corrections; keeps a position for every entry that was corrected in money."""

    def __init__(self, source: Source, *, start: int, add: Add) -> None:
        """
        Begin to read at entry `start`.

        Args:
            source: What is stored.
            start: Above 0, positions are only known of entries that are corrected after it:
                their earlier corrections are fetched.
            add: Where findings go.
        """
        self._source = source
        self._start = start
        self._add = add
        self._known: dict[str, Named] = {}
        self._ids: dict[str, str] = {}
        self._families: set[str] = set()
        self._positions: dict[tuple[str, str], tuple[Position, int]] = {}

    # ---- Corrections ----

    def prepare(
        self,
        entries: Sequence[Entry],
        usual: Sequence[Usual] = (),
        near: Sequence[Named] = (),
    ) -> None:
        """
        Before a page is judged: fetch what its entries refer to, and what that refers to.

        Args:
            entries: Those that will be judged.
            usual: Those of which `take` will be asked.
            near: Others of the page, which need not be fetched.
        """
        if len(self._known) > _KNOWN_MAX:
            self._known.clear()
            self._ids.clear()
        ids, keys = _references(entry.effect for entry in entries)
        ids.update(each.corrects for each in usual if each.corrects is not None)
        keys.update(each.corrects_key for each in usual if each.corrects_key is not None)
        self._fetch(ids, keys, [*map(_named, entries), *near])

    def _fetch(self, ids: set[str], keys: set[str], near: Sequence[Named]) -> None:
        """Know the entries of these ids and keys, and what they name; those of `near` are read."""
        if not ids and not keys:
            return
        here = {each.id: each for each in near}
        by_key = {each.key: each for each in near}
        asked_ids: set[str] = set()
        asked_keys: set[str] = set()
        while True:
            # One by one: what is known is much more than what is asked.
            ids = {id_ for id_ in ids if id_ not in self._known and id_ not in asked_ids}
            keys = {key for key in keys if key not in self._ids and key not in asked_keys}
            if not ids and not keys:
                return
            asked_ids |= ids
            asked_keys |= keys
            found = [here[id_] for id_ in ids if id_ in here]
            found += [by_key[key] for key in keys if key in by_key]
            ids -= here.keys()
            keys -= by_key.keys()
            if ids or keys:
                found += map(_named, _entries(self._source.find(ids=ids, keys=keys)))
            for each in found:
                self._known[each.id] = each
                self._ids[each.key] = each.id
            ids, keys = _references(found)

    def take(self, usual: Usual) -> str | None:
        """
        Id of the entry that a usual correction corrects; None where `judge` must look at it.

        What is taken here, `judge` allows, and it leaves the same position.
        """
        named = self._known.get(self._target(usual) or "")
        # What went before the first entry that is read, `judge` replays.
        if self._start or named is None or named.seq >= usual.seq:
            return None
        if usual.money is None:
            # It moves nothing, and may explain whatever was there before it.
            return named.id
        return named.id if self._refund(named, usual.money) else None

    def _refund(self, of: Named, money: Money) -> bool:
        """Refund `money`, if that leaves something of an effect, or all but nothing."""
        paid = of.money
        if (
            of.kind is not Kind.EFFECT
            or paid is None
            or money.currency != paid.currency
            or {money.flow, paid.flow} != _BOTH_FLOWS
            or decimals(money.amount) != decimals(paid.amount)
        ):
            return False
        place = of.id, paid.currency
        before, _ = self._positions.get(place, (None, 0))
        original, adjusted, refunded = (
            (minor_units(paid.amount), 0, 0)
            if before is None
            else (before.original, before.adjusted, before.refunded)
        )
        refunded += minor_units(money.amount)
        if original + adjusted < refunded or refunded > MINOR_UNITS_MAX:
            return False
        position = Position(
            entry=of.id,
            currency=paid.currency,
            original=original,
            adjusted=adjusted,
            refunded=refunded,
            held=0,
            excess=0,
        )
        self._positions[place] = (position, of.seq)
        return True

    def judge(self, entry: Entry) -> str | None:
        """
        Whether a prepared entry was allowed when it was recorded.

        Returns:
            Id of the entry it corrects; None where it corrects none of this ledger.
        """
        effect = entry.effect
        if not any(references(effect)):
            return None
        lineage = self._lineage(effect, before=entry.seq)
        if self._start:
            self._load_family(lineage)
        held = [place for place in map(_place, lineage) if place in self._positions]
        history = History(
            lineage,
            [self._positions[place][0] for place in held],
            self._keys(effect, before=entry.seq),
            {},
        )
        try:
            target = history.admit(effect, entry.id)
        except RejectedError as error:
            self._add(
                "correction.rule",
                entry.seq,
                f"entry {entry.seq} should have been refused: {error.message}",
            )
            return self._target(effect)
        for position in history.changed_positions:
            seq = self._known[position.entry].seq
            self._positions[position.entry, position.currency] = (position, seq)
        return target

    def _target(self, correcting: Effect | Named | Usual) -> str | None:
        if correcting.corrects_key is not None:
            return self._ids.get(correcting.corrects_key)
        return correcting.corrects

    def _keys(self, effect: Effect, *, before: int) -> dict[str, str]:
        _, keys = references(effect)
        named = {key: self._ids[key] for key in keys if key in self._ids}
        return {key: id_ for key, id_ in named.items() if self._known[id_].seq < before}

    def _lineage(self, effect: Effect, *, before: int) -> list[Recorded]:
        """Everything an effect refers to, up to the originals; earlier entries only."""
        ids, keys = references(effect)
        lineage: dict[str, Recorded] = {}
        for named in [*ids, *(self._ids.get(key) for key in keys)]:
            id_, limit = named, before
            while id_ is not None and id_ not in lineage:
                known = self._known.get(id_)
                # What is recorded later cannot have been corrected; so there is no circle.
                if known is None or known.seq >= limit:
                    break
                target = self._target(known)
                lineage[id_] = _recorded(known, target)
                id_, limit = target, known.seq
        return list(lineage.values())

    def _load_family(self, lineage: Sequence[Recorded]) -> None:
        """Replay what an original went through before the entries that are read."""
        for original in [each for each in lineage if each.target is None]:
            if original.id in self._families:
                continue
            self._families.add(original.id)
            earlier: dict[str, Entry] = {}
            generation = {original.id}
            while generation:
                children = list(_entries(self._source.corrections_of(generation)))
                generation = {child.id for child in children} - earlier.keys()
                earlier |= {child.id: child for child in children}
            before = [child for child in earlier.values() if child.seq < self._start]
            ids, keys = _references(child.effect for child in before)
            self._fetch(ids, keys, [_named(child) for child in before])
            for child in sorted(before, key=lambda child: child.seq):
                self.judge(child)

    # ---- Positions ----

    def unsettled(self, beat: Callable[[], None]) -> list[tuple[str, str]]:
        """
        Positions whose row differs from what the entries read so far give.

        They may have been moved by entries that came since: the rows must be read again
        together with the head, and the entries up to that head be judged.

        Args:
            beat: Called between two reads.
        """
        if self._start:
            return list(self._positions)
        unseen = dict.fromkeys(self._positions)
        differing = []
        for page in self._source.positions():
            for row in page:
                place = (row.entry, row.currency)
                unseen.pop(place, None)
                position, _ = self._positions.get(place, (None, 0))
                if position is None or row != _row(position, row.promised):
                    differing.append(place)
            beat()
        return [*differing, *unseen]

    def check_positions(
        self, places: Iterable[tuple[str, str]], rows: Sequence[StoredPosition]
    ) -> None:
        """Compare the positions at `places` with their `rows`, read at the present head."""
        stored = {(row.entry, row.currency): row for row in rows}
        for entry_id, currency in places:
            row = stored.get((entry_id, currency))
            computed = self._positions.get((entry_id, currency))
            if computed is None and row is not None and row.promised is not None:
                # No correction moved it, and an intent held, or holds, something of it.
                computed = self._untouched(entry_id, currency)
            if computed is None and row is not None:
                seq = self._seq_of(entry_id)
                self._add(
                    "position.extra",
                    seq,
                    f"entry {entry_id if seq is None else seq} has a position in {currency} that "
                    f"no correction gives",
                )
            elif computed is not None and row is None:
                self._add(
                    "position.missing",
                    computed[1],
                    f"the position of entry {computed[1]} in {currency} is missing",
                )
            elif computed is not None and row is not None:
                self._compare(computed[1], row, _row(computed[0], row.promised))

    def _untouched(self, entry_id: str, currency: str) -> tuple[Position, int] | None:
        for entry in _entries(self._source.find(ids=[entry_id], keys=())):
            money = entry.effect.money
            if money is not None and money.currency == currency:
                position = Position(
                    entry=entry_id,
                    currency=currency,
                    original=minor_units(money.amount),
                    adjusted=0,
                    refunded=0,
                    held=0,
                    excess=0,
                )
                return position, entry.seq
        return None

    def _compare(self, seq: int, row: StoredPosition, computed: StoredPosition) -> None:
        for column, here, there in zip(row._fields, row, computed, strict=True):
            if here != there:
                self._add(
                    f"position.{column}",
                    seq,
                    f"the position of entry {seq} in {row.currency} has {column} {shown(here)}, "
                    f"its corrections give {shown(there)}",
                )

    def _seq_of(self, entry_id: str) -> int | None:
        return next((row.seq for row in self._source.find(ids=[entry_id], keys=())), None)


def _references(naming: Iterable[Effect | Named]) -> tuple[set[str], set[str]]:
    """Ids and keys that are named; see `lifecycle.references`."""
    ids: set[str] = set()
    keys: set[str] = set()
    for each in naming:
        ids.update(id_ for id_ in (each.corrects, each.repeat_of) if id_ is not None)
        if each.corrects_key is not None:
            keys.add(each.corrects_key)
    return ids, keys


def _named(entry: Entry) -> Named:
    effect = entry.effect
    return Named(
        id=entry.id,
        seq=entry.seq,
        key=effect.key,
        kind=effect.kind,
        type=effect.type,
        money=effect.money,
        observed=effect.observed,
        corrects=effect.corrects,
        corrects_key=effect.corrects_key,
        repeat_of=effect.repeat_of,
    )


def _entries(rows: Iterable[StoredEntry]) -> Iterator[Entry]:
    for row in rows:
        try:
            entry = parse_entry(row.body)
        except MalformedProofError:
            # Reported where it stands; to what refers to it, it is not there.
            continue
        if isinstance(entry, Entry):
            yield entry


def _recorded(known: Named, target: str | None) -> Recorded:
    return Recorded(
        id=known.id,
        seq=known.seq,
        kind=known.kind,
        type=known.type,
        money=known.money,
        target=target,
        observed=known.observed,
    )


def _place(recorded: Recorded) -> tuple[str, str]:
    return recorded.id, recorded.money.currency if recorded.money else ""


def _row(position: Position, promised: int | None) -> StoredPosition:
    """The row of `position`, of which intents keep `promised`; entries know nothing of that."""
    held = promised or 0
    after = replace(position, held=held)
    return StoredPosition(
        entry=position.entry,
        currency=position.currency,
        original=position.original,
        adjusted=position.adjusted,
        refunded=position.refunded,
        held=held,
        excess=None if position.excess is None else max(0, -after.remaining),
        promised=promised,
    )

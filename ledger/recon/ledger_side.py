"""
Ledger side: the movements that a ledger tells of, up to a pinned size.

A failed refund, a chargeback and its reversal are movements of their own, for providers show
them as lines; any other adjustment changes the amount of the movement it corrects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from ledger.effect import Effect, Kind
from ledger.entry import Entry, parse_entry
from ledger.forms.money import minor_units
from ledger.reader import Reader
from ledger.recon.matching import Item, Side, key_of
from ledger.recon.sharing import Shared
from ledger.recon.statement import LineKind

PAGE = 1_000
PROVIDER_LABEL = "provider"
REFERENCE_LABEL = "merchant_ref"
_OWN_IDS = frozenset({"transaction", "bank_line"})
_WORDS: tuple[tuple[str, LineKind], ...] = (
    ("chargeback", LineKind.CHARGEBACK),
    ("dispute", LineKind.CHARGEBACK),
    ("fee", LineKind.FEE),
    ("payout", LineKind.PAYOUT),
    ("refund", LineKind.REFUND),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSide:
    """What one ledger says, and who said it without naming the provider's id."""

    items: tuple[Item, ...]
    unnamed: Mapping[str, tuple[int, int]]
    """Poster -> how many of its movements name no id of the provider, of how many."""


def read_ledger(
    reader: Reader,
    ledger: str,
    size: int,
    zones: Mapping[str, str],
    *,
    shared: Shared,
    tell: Callable[[int], None] = lambda _done: None,
) -> LedgerSide:
    """
    The movements of a ledger's first `size` entries that concern these providers.

    Args:
        reader: Reads the entries.
        ledger: Its name.
        size: How many entries count.
        zones: Provider -> the zone in which its report counts days.
        shared: What the other sides tell.
        tell: Told how many entries were read.
    """
    fold = _Fold(zones, reader.ledger(ledger).time_zone, ledger, shared)
    after = -1
    while after + 1 < size:
        page = reader.entries_after(ledger, after, PAGE)
        if not page:
            break
        for place in page:
            if place.seq < size:
                entry = parse_entry(place.encoded)
                if isinstance(entry, Entry):
                    fold.add(entry)
        after = page[-1].seq
        tell(min(after + 1, size))
    return fold.side()


def fold_entries(
    entries: Iterable[Entry],
    zones: Mapping[str, str],
    time_zone: str,
    ledger: str,
    shared: Shared,
) -> LedgerSide:
    """As `read_ledger`, from entries at hand."""
    fold = _Fold(zones, time_zone, ledger, shared)
    for entry in entries:
        fold.add(entry)
    return fold.side()


class _Fold:
    def __init__(
        self, zones: Mapping[str, str], time_zone: str, ledger: str, shared: Shared
    ) -> None:
        self._zones = {provider: ZoneInfo(zone) for provider, zone in zones.items()}
        self._own_zone = ZoneInfo(time_zone)
        self._only = next(iter(zones)) if len(zones) == 1 else None
        self._ledger = ledger
        self._shared = shared
        self._items: dict[str, Item] = {}
        self._targets: dict[str, str] = {}
        """Entry -> the entry whose movement it changes."""
        self._keys: dict[str, str] = {}

    def add(self, entry: Entry) -> None:
        effect = entry.effect
        if effect.kind is Kind.NOTICE or effect.money is None:
            return
        self._keys[effect.key] = entry.id
        target = self._target(effect)
        if effect.kind is Kind.ADJUSTMENT and target is not None:
            self._adjust(entry, target)
        else:
            self._items[entry.id] = self._item(entry, target)

    def side(self) -> LedgerSide:
        """What was added, without what has been taken back to nothing."""
        mine = [item for item in self._items.values() if self._concerns(item) and item.amount]
        unnamed: dict[str, list[int]] = {}
        for item in mine:
            count = unnamed.setdefault(item.poster or "", [0, 0])
            count[0] += not item.ids
            count[1] += 1
        return LedgerSide(
            items=tuple(mine),
            unnamed={poster: (without, of) for poster, (without, of) in sorted(unnamed.items())},
        )

    def _concerns(self, item: Item) -> bool:
        return item.provider is None or item.provider in self._zones

    def _target(self, effect: Effect) -> Item | None:
        named = effect.corrects or self._keys.get(effect.corrects_key or "")
        while named is not None and named not in self._items:
            named = self._targets.get(named)
        return None if named is None else self._items[named]

    def _adjust(self, entry: Entry, target: Item) -> None:
        effect = entry.effect
        assert effect.money is not None
        kind = _kind_of_adjustment(effect, target, _signed(effect))
        if kind is None:
            self._targets[entry.id] = target.id
            # Between two currencies the entry says what it makes in that of its target.
            moved = _signed(effect, is_applied=effect.money.currency != target.currency)
            self._items[target.id] = replace(target, amount=target.amount + moved)
            return
        self._items[entry.id] = replace(self._item(entry, target), kind=kind)

    def _item(self, entry: Entry, target: Item | None) -> Item:
        effect, shared = entry.effect, self._shared
        assert effect.money is not None
        labels = dict(effect.labels)
        provider = self._provider(effect, labels, target)
        ids = tuple(
            shared(each.ref)
            for each in effect.evidence
            if each.system == provider and each.rel in _OWN_IDS
        )
        inherits = effect.kind is Kind.ADJUSTMENT and target is not None
        original = None
        if target is not None:
            original = target.original_id or (target.ids[0] if target.ids else None)
            if inherits and target.kind in {LineKind.REFUND, LineKind.CHARGEBACK}:
                ids = ids or target.ids
        own_reference = labels.get(REFERENCE_LABEL) or _reference(effect)
        return Item(
            side=Side.LEDGER,
            key=key_of(Side.LEDGER, entry.id),
            account=self._ledger,
            provider=shared(provider),
            kind=_kind(effect),
            amount=shared(_signed(effect)),
            currency=shared(effect.money.currency),
            day=shared(self._day(effect.occurred_at, provider)),
            ids=tuple(dict.fromkeys(ids)),
            original_id=original,
            merchant_ref=shared(
                own_reference or (target.merchant_ref if target is not None else None)
            ),
            poster=shared(entry.poster),
        )

    def _provider(
        self, effect: Effect, labels: Mapping[str, str], target: Item | None
    ) -> str | None:
        if PROVIDER_LABEL in labels:
            return labels[PROVIDER_LABEL]
        systems = [each.system for each in effect.evidence if each.rel in _OWN_IDS]
        for system in systems:
            if system in self._zones:
                return system
        if systems:
            # Another provider's, which this run is not about.
            return systems[0]
        if target is not None:
            return target.provider
        return self._only

    def _day(self, occurred_at: str, provider: str | None) -> date:
        zone = self._zones.get(provider or "", self._own_zone)
        return datetime.fromisoformat(occurred_at).astimezone(zone).date()


def _signed(effect: Effect, *, is_applied: bool = False) -> int:
    assert effect.money is not None
    said = effect.money.applied if is_applied else effect.money.amount
    amount = minor_units(said or "0")
    return amount if effect.money.flow == "in" else -amount


def _kind(effect: Effect) -> LineKind:
    if effect.kind is Kind.REFUND:
        return LineKind.REFUND
    words = set(effect.type.replace("_", ".").split("."))
    for word, kind in _WORDS:
        if word in words:
            return kind
    assert effect.money is not None
    return LineKind.PAYMENT if effect.money.flow == "in" else LineKind.PAYOUT


def _kind_of_adjustment(effect: Effect, target: Item, amount: int) -> LineKind | None:
    """The kind of an adjustment that is a movement of its own; None where it changes another."""
    words = set(effect.type.replace("_", ".").split("."))
    if target.kind is LineKind.REFUND and amount > 0 and words & {"failed", "reversed", "refund"}:
        return LineKind.REFUND_FAILED
    if target.kind is LineKind.CHARGEBACK and amount > 0:
        return LineKind.CHARGEBACK_REVERSED
    if words & {"chargeback", "dispute"}:
        return LineKind.CHARGEBACK if amount < 0 else LineKind.CHARGEBACK_REVERSED
    if target.kind is LineKind.PAYMENT and amount < 0 and words & {"reversed", "reversal"}:
        return LineKind.PAYMENT_REVERSED
    return None


def _reference(effect: Effect) -> str | None:
    named = effect.business_key or effect.subject
    # As in order/12345: the provider was given what stands behind the slash.
    return None if named is None else named.rpartition("/")[2]

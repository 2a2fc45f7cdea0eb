"""
Drawing: a sample taken from a bundle, with everything that is needed to take it again.

The bundle is read line by line and believed; who draws from it verifies it before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import orjson

from ledger.audit.sampling import (
    Item,
    Method,
    Population,
    Sample,
    attribute_size,
    choose_above,
    choose_monetary_units,
    choose_random,
    choose_stratified,
    choose_systematic,
    count_population,
    monetary_interval,
)
from ledger.audit.verify import Bundle
from ledger.errors import SettingsError
from ledger.merkle import leaf_hash

FORMAT = "effect-ledger/sample/v2"
FORMATS = frozenset({FORMAT, "effect-ledger/sample/v1"})
"""Those that are read: in the first, the population's digest was of ids alone."""
MONETARY = frozenset({"monetary-unit", "stratified", "above"})
"""Methods that look at amounts, and so at one currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which sample of which population."""

    method: Method
    seed: str
    confidence: Decimal = Decimal(95)
    """Per cent."""
    tolerable: Decimal | None = None
    """Per cent of entries for `attribute`, an amount for `monetary-unit`."""
    expected: int = 0
    """Deviations or misstatements that may be found."""
    size: int | None = None
    bounds: tuple[Decimal, ...] = ()
    """Amounts: where strata begin, or the one above which all are taken."""
    kind: str | None = None
    type: str | None = None
    poster: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A sample with its population, ready to be told."""

    wanted: Wanted
    population: Population
    sample: Sample
    size: int | None
    """What the method came to, where it has one."""
    places: int
    """Decimals of the currency; 0 where amounts are not looked at."""
    bundle: Bundle


def draw(bundle: Bundle, wanted: Wanted) -> Drawn:
    """
    Draw a sample from a bundle.

    Raises:
        SettingsError: The method lacks a parameter, or the population is empty.
        DamageError: The bundle cannot be read.
    """
    _check(wanted)
    places = _places(bundle, wanted)

    def items() -> Iterator[Item]:
        return (item for item, _ in _matching(bundle, wanted))

    population = count_population(items())
    if not population.count:
        raise SettingsError("no entry of the bundle is in this population: look at the filters")
    size = _size(wanted)
    return Drawn(
        wanted=wanted,
        population=population,
        sample=_choose(items, population, wanted, size, places),
        size=size,
        places=places,
        bundle=bundle,
    )


def document(drawn: Drawn, *, is_authenticated: bool) -> dict[str, Any]:
    """
    The sample for programs; `items` are in order of seq.

    Args:
        drawn: From a bundle in which nothing bad was found.
        is_authenticated: Under a key that was got by another channel, and not the bundle's own.
    """
    wanted, sample, population = drawn.wanted, drawn.sample, drawn.population
    manifest = drawn.bundle.manifest
    chosen = {each.item.seq: each for each in sample.chosen}
    rows = [
        {
            **row,
            "stratum": chosen[item.seq].stratum,
            "hits": chosen[item.seq].hits,
        }
        for item, row in _matching(drawn.bundle, wanted)
        if item.seq in chosen
    ]
    return {
        "format": FORMAT,
        "ledger": manifest["ledger"],
        "period": manifest.get("period"),
        "authenticated": is_authenticated,
        "bundle_manifest_hash": hashlib.sha256(drawn.bundle.manifest_bytes).hexdigest(),
        "population": {
            "filter": _filter(wanted),
            "count": population.count,
            "sum": _amount(population.minor, drawn.places) if wanted.currency else None,
            "digest": population.digest.hex(),
        },
        "method": wanted.method,
        "parameters": {
            "seed": wanted.seed,
            "confidence_percent": str(wanted.confidence),
            "tolerable": None if wanted.tolerable is None else str(wanted.tolerable),
            "expected": wanted.expected,
            "size": drawn.size,
            "bounds": [str(bound) for bound in wanted.bounds],
            "interval": _told(sample.interval, drawn),
            "start": _told(sample.start, drawn),
        },
        "left_out": sample.left_out,
        "items": rows,
    }


def _told(units: int | Fraction | None, drawn: Drawn) -> str | None:
    if isinstance(units, int):
        return _amount(units, drawn.places)
    return None if units is None else str(units)


def _check(wanted: Wanted) -> None:
    sample = f"a sample by the method {wanted.method}"
    if wanted.method in MONETARY and wanted.currency is None:
        raise SettingsError(f"{sample} looks at one currency: name it")
    if wanted.method in {"attribute", "monetary-unit"} and wanted.tolerable is None:
        raise SettingsError(f"{sample} needs what is tolerable")
    if wanted.method in {"random", "systematic", "stratified"} and wanted.size is None:
        raise SettingsError(f"{sample} needs a size")
    if wanted.method in {"stratified", "above"} and not wanted.bounds:
        raise SettingsError(f"{sample} needs an amount to begin at")


def _size(wanted: Wanted) -> int | None:
    if wanted.method != "attribute" or wanted.tolerable is None:
        return wanted.size
    return attribute_size(
        confidence=float(wanted.confidence) / 100,
        tolerable=float(wanted.tolerable) / 100,
        expected=wanted.expected,
    )


def _choose(
    items: Callable[[], Iterator[Item]],
    population: Population,
    wanted: Wanted,
    size: int | None,
    places: int,
) -> Sample:
    bounds = [_minor(bound, places) for bound in wanted.bounds]
    if wanted.method == "above":
        return choose_above(items(), bounds[0])
    if wanted.method == "monetary-unit":
        assert wanted.tolerable is not None, "checked"
        interval = monetary_interval(
            tolerable=_minor(wanted.tolerable, places),
            confidence=float(wanted.confidence) / 100,
            expected=wanted.expected,
        )
        return choose_monetary_units(items(), population, wanted.seed, interval)
    assert size is not None, "checked"
    if wanted.method == "stratified":
        return choose_stratified(items, population, wanted.seed, size, bounds)
    choose = choose_systematic if wanted.method == "systematic" else choose_random
    return choose(items(), population, wanted.seed, size)


# ---- The population -------------------------------------------------------------------------


def _matching(bundle: Bundle, wanted: Wanted) -> Iterator[tuple[Item, dict[str, Any]]]:
    """Entries of the population in order of seq, as items and as rows to be told."""
    for line in bundle.lines("entries.jsonl"):
        entry = orjson.loads(line)
        effect = entry["effect"]
        money = effect.get("money") or {}
        said = {
            "kind": effect["kind"],
            "type": effect["type"],
            "poster": entry["poster"],
            "currency": money.get("currency"),
        }
        if any(said[name] != value for name, value in _filter(wanted).items()):
            continue
        entry_hash = leaf_hash(line)
        amount = money.get("amount", "0") if wanted.currency else "0"
        item = Item(
            seq=entry["seq"],
            id=entry["id"],
            entry_hash=entry_hash,
            minor=int(amount.replace(".", "")),
        )
        row = {
            "seq": entry["seq"],
            "id": entry["id"],
            "entry_hash": entry_hash.hex(),
            **said,
            "occurred_at": effect["occurred_at"],
            "subject": effect.get("subject"),
            "amount": money.get("amount"),
            "evidence": [f"{each['system']}:{each['ref']}" for each in effect.get("evidence", ())],
        }
        yield item, row


def _filter(wanted: Wanted) -> dict[str, str]:
    named = {
        "kind": wanted.kind,
        "type": wanted.type,
        "poster": wanted.poster,
        "currency": wanted.currency,
    }
    return {name: value for name, value in named.items() if value is not None}


def _places(bundle: Bundle, wanted: Wanted) -> int:
    """Decimals of the currency, as the first amount in it has them."""
    if wanted.currency is None:
        return 0
    for _, row in _matching(bundle, wanted):
        if row["amount"] is not None:
            return len(row["amount"].partition(".")[2])
    return 0


def _minor(amount: Decimal, places: int) -> int:
    try:
        minor = amount.scaleb(places)
        if minor == minor.to_integral_value():
            return int(minor)
    except InvalidOperation:
        pass
    raise SettingsError(f"{amount} has more decimals than the {places} of the currency")


def _amount(minor: int, places: int) -> str:
    return str(Decimal(minor).scaleb(-places))

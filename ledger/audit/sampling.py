"""
Sampling: which entries of a population an auditor looks at, so that anyone can repeat the choice.

Pure: what is chosen depends on the population, the method and the seed alone. The order of
choice is that of HMAC-SHA256(seed, population digest || entry hash), ascending: a few lines in
any language give the same entries. Sizes and factors are exact, from the binomial and the
Poisson distribution; reading a bundle and writing a working paper is for others.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ledger.errors import SettingsError

Method = Literal["attribute", "monetary-unit", "random", "systematic", "stratified", "above"]

SIZE_MAX = 10_000
"""Entries of one sample; whoever needs more looks at all of them."""
_POPULATION_PURPOSE = b"effect-ledger/population/v2\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An entry of a population."""

    seq: int
    id: str
    entry_hash: bytes
    """32 bytes."""
    minor: int
    """Book value in minor units, signed as recorded; 0 for an entry without money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What may be chosen, counted before anything is."""

    count: int
    minor: int
    """Sum of all book values, in minor units."""
    digest: bytes
    """SHA-256 of `effect-ledger/population/v2`, a line end, and for each entry in order of seq its
    id, a blank, its hash in hexadecimal, and a line end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An entry that was chosen, and why."""

    item: Item
    stratum: str
    """`certain`: taken whatever the seed; `sampled`; or the stratum's bounds."""
    hits: int = 1
    """How many selected monetary units fell on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was chosen, in order of seq."""

    chosen: Sequence[Chosen]
    interval: int | Fraction | None = None
    """Between selected units or entries; minor units for monetary-unit samples."""
    start: int | Fraction | None = None
    left_out: int = 0
    """Entries that are no part of a monetary-unit population: zero or negative book values."""


def count_population(items: Iterable[Item]) -> Population:
    """Count, sum and digest a population, in order of seq."""
    digest = hashlib.sha256(_POPULATION_PURPOSE)
    count = minor = 0
    for item in items:
        digest.update(f"{item.id} {item.entry_hash.hex()}\n".encode())
        count += 1
        minor += item.minor
    return Population(count=count, minor=minor, digest=digest.digest())


def selection_key(seed: str, population: Population, entry_hash: bytes) -> bytes:
    """What orders entries for a choice: HMAC-SHA256(seed, population digest || entry hash)."""
    return hmac.digest(seed.encode(), population.digest + entry_hash, "sha256")


# ---- Sizes and factors --------------------------------------------------------------------


def attribute_size(*, confidence: float, tolerable: float, expected: int = 0) -> int:
    """
    The smallest sample that rules out a tolerable rate of deviations, exact binomial.

    Args:
        confidence: Such as 0.95.
        tolerable: Rate, such as 0.05.
        expected: Deviations that may be found.

    Raises:
        SettingsError: Not rates, or more than 10,000 entries would be needed.
    """
    _check_rate(confidence, "confidence")
    _check_rate(tolerable, "tolerable rate")
    low, high = expected, SIZE_MAX + 1
    while high - low > 1:
        middle = (low + high) // 2
        if _binomial_at_most(expected, middle, tolerable) <= 1 - confidence:
            high = middle
        else:
            low = middle
    if high > SIZE_MAX:
        raise SettingsError(
            f"more than {SIZE_MAX:,} entries would be needed: choose a higher tolerable rate, or "
            "a lower confidence"
        )
    return high


def upper_rate(*, confidence: float, size: int, deviations: int) -> float:
    """The rate of deviations that is not exceeded with this confidence (Clopper-Pearson)."""
    if deviations >= size:
        return 1.0
    return _bisect(
        lambda rate: _binomial_at_most(deviations, size, rate) <= 1 - confidence, 0.0, 1.0
    )


def confidence_factor(*, confidence: float, misstatements: int = 0) -> float:
    """How many intervals the upper misstatement is, by Poisson: 3.00 for none at 95 %."""
    _check_rate(confidence, "confidence")
    most = 10.0 * (misstatements + 10)
    return _bisect(lambda mean: _poisson_at_most(misstatements, mean) <= 1 - confidence, 0, most)


def monetary_interval(*, tolerable: int, confidence: float, expected: int = 0) -> int:
    """
    Minor units from one selected unit to the next.

    Args:
        tolerable: Misstatement that would not matter, in minor units.
        confidence: Such as 0.95.
        expected: Misstatements that may be found.

    Raises:
        SettingsError: Nothing would be tolerable.
    """
    interval = math.floor(
        tolerable / confidence_factor(confidence=confidence, misstatements=expected)
    )
    if interval < 1:
        raise SettingsError("the tolerable misstatement is less than one unit of the currency")
    return interval


def _check_rate(rate: float, name: str) -> None:
    if not 0 < rate < 1:
        raise SettingsError(f"the {name} must be between 0 % and 100 %")


def _binomial_at_most(most: int, size: int, rate: float) -> float:
    if rate >= 1:
        return 0.0
    return math.fsum(
        math.exp(_log_choose(size, k) + k * math.log(rate) + (size - k) * math.log1p(-rate))
        for k in range(most + 1)
    )


def _log_choose(size: int, k: int) -> float:
    return math.lgamma(size + 1) - math.lgamma(k + 1) - math.lgamma(size - k + 1)


def _poisson_at_most(most: int, mean: float) -> float:
    return math.fsum(
        math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(most + 1)
    )


def _bisect(is_enough: Callable[[float], bool], low: float, high: float) -> float:
    # Sixty halvings leave less than a double can tell apart.
    for _ in range(60):
        middle = (low + high) / 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high


# ---- Choices --------------------------------------------------------------------------------


def choose_random(items: Iterable[Item], population: Population, seed: str, size: int) -> Sample:
    """The `size` entries of the smallest selection keys; all where there are no more."""
    _check_size(size)
    return Sample(chosen=_in_order(_smallest(items, population, seed, size), "sampled"))


def choose_systematic(
    items: Iterable[Item], population: Population, seed: str, size: int
) -> Sample:
    """
    Every nth entry in order of seq, from a start that the seed gives; all where there are no more.

    The interval is a fraction, so that exactly `size` are chosen, each with the same chance: the
    entries at start, start + interval and so on, rounded up.

    Args:
        items: In order of seq; not empty.
        population: Of these items.
        seed: Of the choice.
        size: Entries of the sample.
    """
    _check_size(size)
    size = min(size, population.count)
    # An entry is `size` steps long, and every `count`th step is hit.
    start = _start(population, seed, population.count)
    chosen = [
        Chosen(item=item, stratum="sampled")
        for at, item in enumerate(items)
        if _hits(at * size, start, population.count)
        < _hits((at + 1) * size, start, population.count)
    ]
    return Sample(
        chosen=chosen, interval=Fraction(population.count, size), start=Fraction(start, size)
    )


def choose_monetary_units(
    items: Iterable[Item], population: Population, seed: str, interval: int
) -> Sample:
    """
    Every nth unit of money in order of seq, from a start that the seed gives.

    An entry of an interval or more is certain to be chosen. Entries of zero or negative book
    value cannot be: they are counted, and need a sample of their own.
    """
    start = _start(population, seed, interval)
    chosen: list[Chosen] = []
    before = left_out = 0
    for item in items:
        if item.minor <= 0:
            left_out += 1
            continue
        after = before + item.minor
        hits = _hits(after, start, interval) - _hits(before, start, interval)
        if hits:
            stratum = "certain" if item.minor >= interval else "sampled"
            chosen.append(Chosen(item=item, stratum=stratum, hits=hits))
            _check_size(len(chosen))
        before = after
    return Sample(chosen=chosen, interval=interval, start=start, left_out=left_out)


def choose_stratified(
    items: Callable[[], Iterable[Item]],
    population: Population,
    seed: str,
    size: int,
    bounds: Sequence[int],
) -> Sample:
    """
    Random entries of each stratum of book values, as many as its share of all money, one at least.

    Args:
        items: Read once for each stratum, and once before.
        population: Of all strata.
        seed: Of the choice.
        size: Entries of the sample; a few more where strata are small.
        bounds: Book values in minor units, rising, at which a new stratum begins.
    """
    _check_size(size)
    if not bounds or any(low >= high for low, high in itertools.pairwise(bounds)):
        raise SettingsError("the bounds of strata must rise, such as 100.00 and 1000.00")
    money = [0] * (len(bounds) + 1)
    for item in items():
        money[_stratum(item, bounds)] += abs(item.minor)
    chosen: list[Chosen] = []
    for stratum, share in enumerate(money):
        of_stratum = (item for item in items() if _stratum(item, bounds) == stratum)
        wanted = max(1, round(size * share / sum(money))) if sum(money) else 1
        chosen += _in_order(
            _smallest(of_stratum, population, seed, wanted), _words(stratum, bounds)
        )
    return Sample(chosen=sorted(chosen, key=lambda each: each.item.seq))


def choose_above(items: Iterable[Item], least: int) -> Sample:
    """Every entry whose book value is at least `least` minor units, either way."""
    chosen = []
    for item in items:
        if abs(item.minor) >= least:
            chosen.append(Chosen(item=item, stratum="certain"))
            _check_size(len(chosen))
    return Sample(chosen=chosen)


def _check_size(size: int) -> None:
    if not 1 <= size <= SIZE_MAX:
        raise SettingsError(f"a sample has from 1 to {SIZE_MAX:,} entries, not {size:,}")


def _smallest(
    items: Iterable[Item], population: Population, seed: str, size: int
) -> list[tuple[bytes, int, Item]]:
    keyed = ((selection_key(seed, population, item.entry_hash), item.seq, item) for item in items)
    return heapq.nsmallest(size, keyed, key=lambda each: each[:2])


def _in_order(keyed: Iterable[tuple[bytes, int, Item]], stratum: str) -> list[Chosen]:
    chosen = [Chosen(item=item, stratum=stratum) for _, _, item in keyed]
    return sorted(chosen, key=lambda each: each.item.seq)


def _start(population: Population, seed: str, interval: int) -> int:
    """A number from 1 to `interval` that the seed gives."""
    drawn = hmac.digest(seed.encode(), population.digest + b"start", "sha256")
    return int.from_bytes(drawn) % interval + 1


def _hits(units: int, start: int, interval: int) -> int:
    """How many selected units are among the first `units`."""
    return 0 if units < start else (units - start) // interval + 1


def _stratum(item: Item, bounds: Sequence[int]) -> int:
    return sum(abs(item.minor) >= bound for bound in bounds)


def _words(stratum: int, bounds: Sequence[int]) -> str:
    low = "0" if stratum == 0 else str(bounds[stratum - 1])
    high = "" if stratum == len(bounds) else f" below {bounds[stratum]}"
    return f"from {low}{high} minor units"


# ---- Evaluation -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Misstatement:
    """What an auditor found of one entry of a monetary-unit sample."""

    book: int
    audited: int
    """Both in minor units."""

    @property
    def tainting(self) -> float:
        """Which part of the book value is not there; negative where it is too low."""
        return (self.book - self.audited) / self.book


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a monetary-unit sample says of its population, in minor units."""

    projected: float
    """Overstatement that the sample projects to."""
    upper: float
    """Overstatement that is not exceeded with the confidence (Stringer bound)."""


def evaluate_monetary_units(
    found: Iterable[Misstatement], *, interval: int, confidence: float
) -> Evaluation:
    """
    Project misstatements; entries of an interval or more count as they are.

    Understatements are part of the projection and do not lower the bound.
    """
    known = 0.0
    taintings: list[float] = []
    projected = 0.0
    for each in found:
        if each.book >= interval:
            known += each.book - each.audited
        else:
            taintings.append(each.tainting)
            projected += each.tainting * interval
    factors = [
        confidence_factor(confidence=confidence, misstatements=k)
        for k in range(len([each for each in taintings if each > 0]) + 1)
    ]
    over = sorted((each for each in taintings if each > 0), reverse=True)
    bound = factors[0] + sum(
        (after - before) * tainting
        for (before, after), tainting in zip(itertools.pairwise(factors), over, strict=True)
    )
    return Evaluation(projected=known + projected, upper=known + bound * interval)

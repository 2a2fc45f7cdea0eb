"""Laws of sampling: published sizes, one seed one choice, every unit of money has its chance."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit.sampling import (
    Item,
    Misstatement,
    attribute_size,
    choose_above,
    choose_monetary_units,
    choose_random,
    choose_stratified,
    choose_systematic,
    confidence_factor,
    count_population,
    evaluate_monetary_units,
    monetary_interval,
    upper_rate,
)
from ledger.errors import SettingsError


def item(seq: int, minor: int = 100) -> Item:
    return Item(
        seq=seq, id=f"id-{seq}", entry_hash=hashlib.sha256(b"%d" % seq).digest(), minor=minor
    )


ITEMS = [item(seq, 50 * seq) for seq in range(1, 101)]


def chosen_seqs(sample):
    return (each.item.seq for each in sample.chosen)


books = st.lists(st.integers(-500, 5_000), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("confidence", "tolerable", "sizes"),
    [
        (0.95, 0.03, (99, 157, 208)),
        (0.95, 0.05, (59, 93, 124)),
        (0.95, 0.07, (42, 66, 88)),
        (0.95, 0.10, (29, 46, 61)),
        (0.90, 0.03, (76, 129, 176)),
        (0.90, 0.05, (45, 77, 105)),
        (0.90, 0.07, (32, 55, 75)),
        (0.90, 0.10, (22, 38, 52)),
    ],
)
def test_sizes_of_attribute_samples_are_those_of_the_tables(confidence, tolerable, sizes):
    found = [
        attribute_size(confidence=confidence, tolerable=tolerable, expected=expected)
        for expected in range(3)
    ]
    assert tuple(found) == sizes


@pytest.mark.parametrize(
    ("confidence", "factors"), [(0.95, (3.00, 4.74, 6.30)), (0.90, (2.30, 3.89, 5.32))]
)
def test_confidence_factors_are_those_of_the_tables(confidence, factors):
    found = [round(confidence_factor(confidence=confidence, misstatements=k), 2) for k in range(3)]
    assert tuple(found) == factors


def test_a_sample_of_its_own_size_just_rules_out_the_tolerable_rate():
    size = attribute_size(confidence=0.95, tolerable=0.05, expected=1)
    assert upper_rate(confidence=0.95, size=size, deviations=1) <= 0.05
    assert upper_rate(confidence=0.95, size=size - 1, deviations=1) > 0.05


@pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"tolerable": 0.0}, {"tolerable": 1e-6}])
def test_a_size_nobody_can_look_at_is_refused(wrong):
    with pytest.raises(SettingsError):
        attribute_size(**({"confidence": 0.95, "tolerable": 0.05} | wrong))


def test_a_choice_is_repeated_by_a_few_lines_of_python():
    population = count_population(ITEMS)
    drawn = list(chosen_seqs(choose_random(ITEMS, population, "seed", 10)))

    digest = hashlib.sha256(b"effect-ledger/population/v2\n")
    for each in ITEMS:
        digest.update(f"{each.id} {each.entry_hash.hex()}\n".encode())
    keyed = sorted(
        (hmac.digest(b"seed", digest.digest() + each.entry_hash, "sha256"), each.seq)
        for each in ITEMS
    )
    assert drawn == sorted(seq for _, seq in keyed[:10])


@given(st.text(max_size=8), st.integers(1, 120))
def test_one_seed_gives_one_choice_and_no_entry_twice(seed, size):
    population = count_population(ITEMS)
    for choose in (choose_random, choose_systematic):
        drawn = list(chosen_seqs(choose(ITEMS, population, seed, size)))
        assert drawn == list(chosen_seqs(choose(iter(ITEMS), population, seed, size)))
        assert len(set(drawn)) == len(drawn) == min(size, len(ITEMS))
        assert drawn == sorted(drawn)


@pytest.mark.parametrize(("count", "size"), [(199, 100), (19_999, 10_000), (101, 100), (7, 3)])
def test_a_systematic_sample_has_the_size_that_was_asked_for(count, size):
    """And its steps differ by one at most; interval and start give it to anybody."""
    items = [item(seq) for seq in range(1, count + 1)]
    sample = choose_systematic(items, count_population(items), "seed", size)
    drawn = list(chosen_seqs(sample))

    assert len(drawn) == size
    steps = {after - before for before, after in itertools.pairwise(drawn)}
    assert steps <= {count // size, count // size + 1}
    assert drawn == [math.ceil(sample.start + k * sample.interval) for k in range(size)]


def test_another_seed_or_another_population_gives_another_choice():
    population = count_population(ITEMS)
    one = list(chosen_seqs(choose_random(ITEMS, population, "one", 10)))
    other = list(chosen_seqs(choose_random(ITEMS, population, "other", 10)))
    fewer = count_population(ITEMS[:-1])
    assert one != other
    assert one != list(chosen_seqs(choose_random(ITEMS[:-1], fewer, "one", 10)))


@given(books, st.integers(1, 2_000), st.text(max_size=4))
def test_each_interval_of_money_is_hit_once_and_large_entries_surely(minors, interval, seed):
    items = [item(seq, minor) for seq, minor in enumerate(minors)]
    population = count_population(items)
    sample = choose_monetary_units(items, population, seed, interval)

    money = sum(minor for minor in minors if minor > 0)
    hits = sum(each.hits for each in sample.chosen)
    assert hits in {money // interval, money // interval + 1}
    assert sample.left_out == sum(minor <= 0 for minor in minors)
    large = {each.seq for each in items if each.minor >= interval}
    assert large <= set(chosen_seqs(sample))
    assert {each.item.seq for each in sample.chosen if each.stratum == "certain"} == large


def test_every_stratum_is_looked_at_and_the_largest_most():
    population = count_population(ITEMS)
    sample = choose_stratified(lambda: ITEMS, population, "seed", 20, [1_000, 4_000])
    strata = [each.stratum for each in sample.chosen]
    counted = {stratum: strata.count(stratum) for stratum in set(strata)}
    assert counted["from 4000 minor units"] > counted["from 0 below 1000 minor units"] >= 1
    with pytest.raises(SettingsError):
        choose_stratified(lambda: ITEMS, population, "seed", 20, [4_000, 1_000])


def test_all_above_an_amount_are_taken_whatever_their_sign():
    items = [item(1, 999), item(2, 1_000), item(3, -1_000), item(4, 0)]
    assert list(chosen_seqs(choose_above(items, 1_000))) == [2, 3]


def test_a_sample_larger_than_anybody_reads_is_refused():
    many = [item(seq) for seq in range(10_001)]
    with pytest.raises(SettingsError, match="10,000"):
        choose_above(many, 1)


def test_without_misstatements_the_bound_is_the_tolerable_one():
    interval = monetary_interval(tolerable=300_000, confidence=0.95)
    found = [Misstatement(book=500, audited=500)] * 30
    result = evaluate_monetary_units(found, interval=interval, confidence=0.95)
    assert result.projected == 0
    assert result.upper == pytest.approx(300_000, rel=1e-4)


def test_misstatements_project_by_their_tainting_and_certain_ones_as_they_are():
    """10 % of one interval, half of another, and 700 of a certain entry."""
    found = [
        Misstatement(book=1_000, audited=900),
        Misstatement(book=400, audited=200),
        Misstatement(book=20_000, audited=19_300),
    ]
    result = evaluate_monetary_units(found, interval=10_000, confidence=0.95)
    assert result.projected == pytest.approx(0.1 * 10_000 + 0.5 * 10_000 + 700)
    factors = [confidence_factor(confidence=0.95, misstatements=k) for k in range(3)]
    bound = factors[0] + (factors[1] - factors[0]) * 0.5 + (factors[2] - factors[1]) * 0.1
    assert result.upper == pytest.approx(700 + bound * 10_000)


def test_nothing_tolerable_is_no_interval():
    with pytest.raises(SettingsError):
        monetary_interval(tolerable=2, confidence=0.95)

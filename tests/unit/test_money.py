"""Laws of amounts, currencies and declared units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadReferenceError, MalformedEffectError
from ledger.forms.money import (
    ISO_4217,
    WITHOUT_UNIT,
    check_amount,
    check_units,
    decimals,
    exponent,
    format_amount,
    minor_units,
)

EXPONENTS = st.integers(0, 18)
MINOR = st.integers(-(10**19), 10**19)


@given(minor=MINOR, places=EXPONENTS)
def test_every_number_of_minor_units_has_one_spelling(minor, places):
    amount = format_amount(minor, places)

    check_amount(amount, places)
    assert minor_units(amount) == minor
    assert decimals(amount) == places


@given(minor=MINOR, places=EXPONENTS, other=EXPONENTS)
def test_an_amount_with_another_number_of_decimals_is_refused(minor, places, other):
    if places == other:
        return
    with pytest.raises(MalformedEffectError, match=f"exactly {other} decimals, found {places}"):
        check_amount(format_amount(minor, places), other)


@given(text=st.text(alphabet="-+0123456789.,eE٣ \n", max_size=12), places=EXPONENTS)
def test_what_is_accepted_is_what_formatting_gives(text, places):
    try:
        check_amount(text, places)
    except MalformedEffectError:
        return
    assert format_amount(minor_units(text), places) == text


@pytest.mark.parametrize(
    ("minor", "places", "amount"),
    [
        (1999, 2, "19.99"),
        (1500, 0, "1500"),
        (0, 2, "0.00"),
        (-5, 2, "-0.05"),
        (1, 3, "0.001"),
        (-120, 0, "-120"),
    ],
)
def test_amounts_are_written_with_all_their_decimals(minor, places, amount):
    assert format_amount(minor, places) == amount


@pytest.mark.parametrize("amount", ["-0", "-0.00", "00", "01.00", ".50", "1.", "1 000", "1.00\n"])
def test_other_spellings_of_an_amount_are_refused(amount):
    with pytest.raises(MalformedEffectError):
        check_amount(amount, decimals(amount))


def test_amounts_have_at_most_twenty_digits_before_the_point():
    check_amount("9" * 20, 0)
    with pytest.raises(MalformedEffectError):
        check_amount("1" + "0" * 20, 0)


@pytest.mark.parametrize(
    ("currency", "places"),
    [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("ISK", 0), ("HUF", 2), ("XOF", 0)],
)
def test_exponents_are_those_of_iso_4217(currency, places):
    assert exponent(currency, {}) == places


def test_every_code_of_iso_4217_stands_in_one_place():
    assert len(ISO_4217) == 171
    assert not WITHOUT_UNIT & ISO_4217.keys()
    assert all(len(code) == 3 and code.isalpha() and code.isupper() for code in ISO_4217)
    assert set(ISO_4217.values()) == {0, 2, 3, 4}


def test_a_declared_unit_has_its_declared_exponent():
    assert exponent("USDC", {"USDC": 6}) == 6


@pytest.mark.parametrize("currency", ["USDC", "ABC", "XAU", "XXX", "XTS"])
def test_a_unit_nobody_declared_is_a_bad_reference(currency):
    with pytest.raises(BadReferenceError):
        exponent(currency, {"OTHER": 2})


@pytest.mark.parametrize("currency", ["eur", "E", "EURO€", "", "1EU"])
def test_what_is_no_code_at_all_is_malformed(currency):
    with pytest.raises(MalformedEffectError) as caught:
        exponent(currency, {})
    assert not isinstance(caught.value, BadReferenceError)


@pytest.mark.parametrize(
    "units",
    [
        {"EUR": 2},
        {"XAU": 3},
        {"XXX": 0},
        {"usdc": 6},
        {"US": 2},
        {"A" * 13: 2},
        {"1INCH": 18},
        {"USDC": 19},
        {"USDC": -1},
        {"USDC": True},
        {"USDC": 6.0},
    ],
    ids=str,
)
def test_units_that_shadow_or_break_the_form_are_refused(units):
    with pytest.raises(MalformedEffectError):
        check_units(units)


def test_units_from_zero_to_eighteen_decimals_are_taken():
    check_units({"POINTS": 0, "USDC": 6, "WEI2ETH": 18})

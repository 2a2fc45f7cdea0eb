"""Laws of the net that catches personal data before it is hashed."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import canonical_bytes
from ledger.errors import PersonalDataError
from ledger.forms.personal_data import (
    AT_SIGN,
    CARD,
    CHECKS,
    IBAN,
    has_card_number,
    has_iban,
    is_suspicious,
    screen,
    texts_of,
)

IBANS = [
    "DE89370400440532013000",
    "GB29NWBK60161331926819",
    "FR1420041010050500013M02606",
    "NL91ABNA0417164300",
    "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S",
    "BR9700360305000010009795493P1",
    "CH9300762011623852957",
    "SA0380000000608010167519",
    "BE68539007547034",
]
CARDS = [
    "4111111111111111",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "30569309025904",
    "6011111111111117",
    "3530111333300000",
    "6250941006528599",
    "6759649826438453",
]


def grouped(number, separator):
    return separator.join(number[at : at + 4] for at in range(0, len(number), 4))


@pytest.mark.parametrize("iban", IBANS)
@pytest.mark.parametrize("dress", ["{}", "to {} today", "account/{}", "({})", "x-{}-y"])
def test_an_iban_is_found_wherever_it_stands(iban, dress):
    assert has_iban(dress.format(iban))
    assert has_iban(dress.format(grouped(iban, " ")))
    assert has_iban(dress.format(iban.lower()))


@given(iban=st.sampled_from(IBANS), at=st.integers(2, 40), digit=st.sampled_from("0123456789"))
def test_one_wrong_digit_is_no_iban(iban, at, digit):
    """MOD 97-10 finds every single wrong digit, so a valid one cannot be left."""
    at = 2 + at % (len(iban) - 2)
    if iban[at] == digit or not iban[at].isdigit():
        return
    assert not has_iban(iban[:at] + digit + iban[at + 1 :])


@pytest.mark.parametrize("iban", IBANS)
def test_part_of_a_longer_word_is_no_iban(iban):
    assert not has_iban(iban + "0")
    assert not has_iban("A" + iban)
    assert not has_iban(iban[:-1])


def test_letters_that_only_look_like_ascii_are_no_iban():
    """LATIN SMALL LETTER LONG S folds to s; it must be read as no letter, not as an error."""
    assert not has_iban("\u017fa0380000000608010167519")


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("dress", ["{}", "card {} used", "card/{}", "pan:{}", "cus_{}"])
def test_a_card_number_is_found_wherever_it_stands(card, dress):
    assert has_card_number(dress.format(card))


@pytest.mark.parametrize(
    "card",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "3782 822463 10005",
        "3056-930902-5904",
        "6304-0000-0000-0000-000",
    ],
)
def test_a_card_number_is_found_in_its_groups(card):
    assert has_card_number(f"card {card}")


@given(card=st.sampled_from(CARDS), at=st.integers(0, 18), digit=st.sampled_from("0123456789"))
def test_one_wrong_digit_is_no_card_number(card, at, digit):
    at %= len(card)
    if card[at] != digit:
        assert not has_card_number(card[:at] + digit + card[at + 1 :])


@pytest.mark.parametrize(
    "reference",
    [
        "order/12345",
        "1772442847123",  # milliseconds
        "1772442847123456",
        "1772442847123456789",
        "1234567812345670",  # good check digit, no issuer
        "ch_3MmlLrLkdIwHu7ix0snN0B15",
        "INV-2026-000123",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "8815-0000-0000-0001-0000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "411111111111111",  # fifteen digits of Visa
        "41111111111111111111",
        "4111-1111 1111-1111",
    ],
)
def test_references_are_left_alone(reference):
    screen([("/subject", reference), ("/key", reference)])


@given(st.uuids())
def test_a_uuid_is_never_taken_for_personal_data(value):
    for text in (str(value), str(value).upper(), f"order/{value}", f"{value}/2"):
        screen([("/key", text)])


@given(st.text(alphabet="0123456789", min_size=32, max_size=32))
def test_a_uuid_of_digits_alone_is_never_taken_for_a_card(digits):
    screen([("/key", str(uuid.UUID(digits)))])


@given(st.binary(min_size=8, max_size=32))
def test_a_hexadecimal_digest_is_no_iban(octets):
    """Trace and span ids are everywhere; a false alarm on one cannot be retried away."""
    digits = octets.hex()
    if not (digits[:2] in {"ad", "ae", "ba", "be", "de", "ee"} and digits[2:4].isdigit()):
        assert not has_iban(digits)


@pytest.mark.parametrize(
    ("pointer", "text", "check"),
    [
        ("/subject", "anna@example.org", AT_SIGN),
        ("/corrects_external/ref", "anna@example.org", AT_SIGN),
        ("/causes/0/ref", IBANS[0], IBAN),
        ("/subject", CARDS[0], CARD),
        ("/actor/id", CARDS[0], CARD),
        ("/key", CARDS[0], CARD),
        ("/labels/pan", CARDS[0], CARD),
    ],
)
def test_the_error_names_place_and_check_and_never_the_text(pointer, text, check):
    with pytest.raises(PersonalDataError) as caught:
        screen([(pointer, text)])
    assert caught.value.details == {"pointer": pointer, "check": check}
    assert text not in caught.value.message

    screen([(pointer, text)], CHECKS - {check})


@pytest.mark.parametrize("pointer", ["/business_key", "/causes/0/ref", "/corrects_key"])
def test_card_numbers_are_looked_for_only_where_people_put_them(pointer):
    screen([(pointer, CARDS[0])])


def test_the_reference_of_evidence_is_exempt_and_nothing_beside_it():
    for text in ("anna@example.org", IBANS[0], CARDS[0]):
        screen([("/evidence/0/ref", text)])
    with pytest.raises(PersonalDataError):
        screen([("/evidence/0/system", "anna@example.org")])


def test_every_text_of_a_value_is_walked():
    value = {"a": "1", "b": {"c": ["2", {"d": "3"}]}, "e": 4, "f": None}
    assert dict(texts_of(value)) == {"/a": "1", "/b/c/0": "2", "/b/c/1/d": "3"}


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=3)
"""No control characters, which no hashed text has."""


@given(
    text=st.one_of(
        st.sampled_from([*IBANS, *CARDS, "a@b"]),
        st.sampled_from(IBANS + CARDS).map(lambda number: grouped(number, " ")),
        st.sampled_from(CARDS).map(lambda number: grouped(number, "-")),
        st.from_regex(r"\A[A-Z]{2}[0-9]{2}[ 0-9A-Z]{11,34}\Z"),
        st.text(alphabet="0123456789 -@DEae", max_size=40),
    ),
    before=WORDS,
    after=WORDS,
)
def test_a_quick_look_misses_nothing_that_a_close_look_finds(text, before, after):
    whole = f"{before}{text}{after}"
    if "@" in whole or has_iban(whole) or has_card_number(whole):
        assert is_suspicious(canonical_bytes(whole))


@pytest.mark.parametrize("at", ["@", "\ufe6b", "\uff20"])
def test_an_address_is_found_in_every_width_of_its_at_sign(at):
    for words in (f"a{at}b.de", f"order/ada{at}example.com"):
        assert is_suspicious(canonical_bytes({"subject": words}))
        with pytest.raises(PersonalDataError) as refused:
            screen([("/subject", words)])
        assert refused.value.details["check"] == AT_SIGN

"""
Laws of canonical JSON against the vectors of RFC 8785's author and of other libraries.

Numbers with a fraction are for payloads alone; whatever has none must come out alike on both
ways of writing.
"""

from __future__ import annotations

import hashlib
import struct

import pytest

from ledger.canonical import canonical_bytes, canonical_bytes_with_floats, parse_json
from ledger.errors import MalformedEffectError, MalformedJsonError
from tests.vectors.shared import by_name, read_shared, shared_vectors

JCS = shared_vectors() / "jcs"
CASES = read_shared("jcs/canonical_cases.json")
REJECTED = read_shared("jcs/reject.json")
FLOATS = read_shared("jcs/float_table.json")


@pytest.mark.parametrize("name", ["arrays", "french", "values"])
def test_the_examples_of_the_author_come_out_byte_for_byte(name):
    expected = (JCS / f"output/{name}.json").read_bytes()
    value = parse_json((JCS / f"input/{name}.json").read_bytes())

    assert bytes.fromhex((JCS / f"outhex/{name}.txt").read_text("ascii")) == expected
    assert canonical_bytes_with_floats(value) == expected
    assert canonical_bytes_with_floats(parse_json(expected)) == expected


@pytest.mark.parametrize("name", ["arrays", "french"])
def test_examples_without_a_fraction_are_hashed_in_the_same_bytes(name):
    value = parse_json((JCS / f"input/{name}.json").read_bytes())

    assert canonical_bytes(value) == (JCS / f"output/{name}.json").read_bytes()


def test_examples_with_a_fraction_are_not_hashed_at_all():
    with pytest.raises(MalformedEffectError, match="/numbers/0 is a number with a fraction"):
        canonical_bytes(parse_json((JCS / "input/values.json").read_bytes()))


@pytest.mark.parametrize("case", by_name(CASES))
def test_agreed_cases_have_their_bytes_and_hash(case):
    encoded = canonical_bytes_with_floats(parse_json(case["text"]))

    assert encoded.decode() == case["canonical"]
    assert hashlib.sha256(encoded).hexdigest() == case["sha256_hex"]


@pytest.mark.parametrize("name", ["key-order-utf16", "escapes", "max-safe-int"])
def test_what_has_no_fraction_is_hashed_in_the_same_bytes(name):
    [case] = [case for case in CASES if case["name"] == name]

    assert canonical_bytes(parse_json(case["text"])).decode() == case["canonical"]


@pytest.mark.parametrize("case", by_name(REJECTED))
def test_what_two_readers_would_read_differently_is_refused(case):
    with pytest.raises(MalformedJsonError):
        parse_json(case["text"])


def number(bits):
    [value] = struct.unpack(">d", bytes.fromhex(bits.zfill(16)))
    return value


@pytest.mark.parametrize("case", by_name(FLOATS, "ieee754_hex"))
def test_each_double_has_its_one_text(case):
    """Also those at the edges of the notations; what is no number has none."""
    if case["expect"] is None:
        with pytest.raises(MalformedJsonError):
            canonical_bytes_with_floats(number(case["ieee754_hex"]))
    else:
        assert canonical_bytes_with_floats(number(case["ieee754_hex"])).decode() == case["expect"]


def test_a_thousand_numbers_are_written_as_ecmascript_writes_them():
    lines = (JCS / "es6_numbers_0001_1000.txt").read_text("ascii").splitlines()
    pairs = [line.split(",") for line in lines]

    assert len(pairs) == 1000
    for bits, text in pairs:
        assert canonical_bytes_with_floats(number(bits)).decode() == text

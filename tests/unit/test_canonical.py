"""
Laws of canonical JSON: one value, one text, and no text that two readers read differently.

The slow library is the referee: what the fast way writes must be its bytes. Reading is held
against the reader of Python, which takes more than we do and never means something else.
"""

from __future__ import annotations

import enum
import json
import math
import unicodedata

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.canonical import (
    DEPTH_MAX,
    INTEGER_MAX,
    canonical_bytes,
    canonical_bytes_with_floats,
    check_text,
    parse_json,
)
from ledger.errors import MalformedEffectError, MalformedJsonError

# Where the orders by code point and by UTF-16 unit disagree, and where text is escaped.
CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.characters(min_codepoint=0xE000, max_codepoint=0xFFFF),
    st.characters(min_codepoint=0x10000),
    st.characters(max_codepoint=0x1F),
    st.sampled_from("\"\\/\x7f\x80\u2028\u2029\ufeff<>&'"),
)
TEXTS = st.text(CHARACTERS, max_size=6)
INTEGERS = st.integers(-INTEGER_MAX, INTEGER_MAX) | st.sampled_from(
    [-INTEGER_MAX, INTEGER_MAX, 2**31, 2**32, -(2**31) - 1, 0]
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | INTEGERS | TEXTS


def values(leaves):
    """JSON values over these leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=5),
        max_leaves=12,
    )


def nested(depth, container=list):
    value = "bottom"
    for _ in range(depth):
        value = [value] if container is list else {"a": value}
    return value


def leaves_of(value):
    """The leaves of a value, in no order."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves_of(item)
    else:
        yield value


def has_one_spelling(leaf):
    return not isinstance(leaf, float | int) or (isinstance(leaf, int) and abs(leaf) <= INTEGER_MAX)


# ---- Writing --------------------------------------------------------------------------


@given(values(LEAVES))
@example({"\ue000": 1, "\U00010000": 2, "\uffff": 3, "a": 4})
@example([{"\U0001f600": {"\ufb33": {"\r": "\0"}}}])
@example({"\ue000": [1], "\U00010000": [{"a": 2}]})
@example({"a": {"\ue000": 1, "\U00010000": 2}, "b": {"c": 3}})
@example('\x7f\x80\u2028\\"/\b\f\n\r\t\x1f')
@example([INTEGER_MAX, -INTEGER_MAX])
def test_what_is_written_is_rfc_8785(value):
    assert canonical_bytes(value) == rfc8785.dumps(value)


@given(values(LEAVES))
def test_what_is_written_reads_back_and_writes_the_same(value):
    encoded = canonical_bytes(value)

    assert parse_json(encoded) == value
    assert canonical_bytes(parse_json(encoded)) == encoded


@given(st.dictionaries(TEXTS, LEAVES, max_size=6), st.randoms())
def test_the_order_members_came_in_is_lost(value, random):
    members = list(value.items())
    random.shuffle(members)

    assert canonical_bytes(dict(members)) == canonical_bytes(value)


def test_names_are_ordered_by_utf_16_code_units():
    """U+10000 begins with D800 in UTF-16, below U+E000; code points would turn them round."""
    assert canonical_bytes({"\ue000": 1, "\U00010000": 2}) == '{"\U00010000":2,"\ue000":1}'.encode()


@pytest.mark.parametrize("code", [*range(0x20), ord('"'), ord("\\"), 0x7F])
def test_exactly_what_must_be_escaped_is_escaped_and_shortest(code):
    short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
    expected = short.get(code, chr(code) if code == 0x7F else f"\\u{code:04x}")

    assert canonical_bytes(chr(code)) == f'"{expected}"'.encode()


def test_a_tuple_is_written_as_a_list():
    assert canonical_bytes({"a": (1, (), ["x"])}) == b'{"a":[1,[],["x"]]}'


class Text(str):
    __slots__ = ()


class Number(enum.IntEnum):
    ONE = 1


class Members(dict):
    pass


REFUSED = {
    "float": ({"a": [1, {"b": 1.5}]}, "/a/1/b is a number with a fraction"),
    "whole-float": ([1.0], "/0 is a number with a fraction"),
    "not-a-number": ([math.nan], "/0 is a number with a fraction"),
    "infinite": (math.inf, "/ is a number with a fraction"),
    "integer-over": ({"a": INTEGER_MAX + 1}, "/a is an integer beyond 53 bits"),
    "integer-under": ({"a": -INTEGER_MAX - 1}, "/a is an integer beyond 53 bits"),
    "integer-alone": (2**64, "/ is an integer beyond 53 bits"),
    "bytes": ({"a": b"x"}, "/a is a bytes, which has no canonical form"),
    "set": ([{1}], "/0 is a set, which has no canonical form"),
    "a-kind-of-text": ([Text("x")], "/0 is a Text, which has no canonical form"),
    "a-kind-of-integer": ([Number.ONE], "/0 is a Number, which has no canonical form"),
    "a-kind-of-object": ({"a": Members()}, "/a is a Members"),
    "a-kind-of-name": ({Text("x"): 1}, "/ has a name of type Text, expected str"),
    "number-as-name": ({"a": {1: 2}}, "/a has a name of type int, expected str"),
    "nothing-as-name": ({None: 2}, "/ has a name of type NoneType, expected str"),
}


@pytest.mark.parametrize(("value", "says"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_one_spelling_is_refused_by_its_place(value, says):
    with pytest.raises(MalformedEffectError) as refused:
        canonical_bytes(value)
    assert refused.value.message.startswith(says)
    assert refused.value.details["pointer"] == says.split(" ")[0].removesuffix("/")


@given(values(LEAVES | FLOATS | st.integers()))
def test_a_value_is_written_in_one_way_or_refused(value):
    """Floats and integers beyond 53 bits, anywhere: no bytes, and no error but ours."""
    if all(has_one_spelling(leaf) for leaf in leaves_of(value)):
        assert canonical_bytes(value) == rfc8785.dumps(value)
    else:
        with pytest.raises(MalformedEffectError):
            canonical_bytes(value)


@pytest.mark.parametrize("name", ["a", "é"], ids=["ascii", "beyond-ascii"])
@pytest.mark.parametrize(
    "spoilt",
    [
        lambda name: {name: "\ud800"},
        lambda name: {f"{name}\udfff": 1},
        lambda name: [name, "\udc00"],
    ],
    ids=["value", "name", "item"],
)
def test_an_unpaired_surrogate_has_no_bytes(name, spoilt):
    with pytest.raises(MalformedEffectError, match="unpaired surrogate"):
        canonical_bytes(spoilt(name))


@pytest.mark.parametrize("container", [list, dict])
def test_sixty_four_containers_are_written_and_read_and_no_more(container):
    deepest = nested(DEPTH_MAX, container)
    encoded = canonical_bytes(deepest)
    assert parse_json(encoded) == deepest

    with pytest.raises(MalformedEffectError, match="more than 64 containers"):
        canonical_bytes(nested(DEPTH_MAX + 1, container))
    with pytest.raises(MalformedJsonError, match="more than 64 nested containers"):
        parse_json(rfc8785.dumps(nested(DEPTH_MAX + 1, container)))


def test_a_value_inside_itself_is_refused():
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(MalformedEffectError):
        canonical_bytes(endless)
    with pytest.raises(MalformedJsonError, match="nested too deeply"):
        canonical_bytes_with_floats(endless)


# ---- Writing what is only kept --------------------------------------------------------


@given(values(LEAVES))
def test_what_has_no_float_is_written_alike_for_payloads(value):
    assert canonical_bytes_with_floats(value) == canonical_bytes(value)


@given(FLOATS)
@example(-0.0)
@example(5e-324)
@example(1e21)
def test_a_float_is_written_so_that_it_reads_back(value):
    assert float(canonical_bytes_with_floats(value)) == value


@pytest.mark.parametrize(
    "value",
    [[math.nan], [-math.inf], [2**53], {"a": "\ud800"}, {"\ud800": 1}, {1: 2}, [b"x"], {1}],
    ids=[
        "nan",
        "infinite",
        "integer",
        "surrogate",
        "surrogate-name",
        "number-name",
        "bytes",
        "set",
    ],
)
def test_what_no_json_can_say_is_refused(value):
    with pytest.raises(MalformedJsonError, match="no canonical form"):
        canonical_bytes_with_floats(value)


# ---- Reading --------------------------------------------------------------------------


@given(
    value=values(LEAVES | FLOATS),
    indent=st.sampled_from([None, 0, 3]),
    escaped=st.booleans(),
    as_text=st.booleans(),
)
def test_every_spelling_of_a_value_reads_as_that_value(value, indent, escaped, as_text):
    """Compact or not, escaped or not: what the fast check does not know is looked at slowly."""
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)

    assert parse_json(text if as_text else text.encode()) == value


def spell(name, *, escaped):
    """The name as JSON text, with every character as an escape if so asked."""
    if not escaped:
        return json.dumps(name, ensure_ascii=False)
    units = name.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'


@given(
    members=st.lists(st.tuples(st.sampled_from(["a", "b", "é", "\U0001f600", ""]), st.booleans())),
    wrapped=st.sampled_from(["{}", "[{}]", '{{"x":[1,{}]}}', " {}"]),
)
def test_a_name_that_stands_twice_is_refused_however_it_is_spelt(members, wrapped):
    pairs = ",".join(f"{spell(name, escaped=escaped)}:0" for name, escaped in members)
    text = wrapped.format("{" + pairs + "}")
    names = [name for name, _ in members]

    if len(set(names)) == len(names):
        assert parse_json(text) == json.loads(text)
    else:
        with pytest.raises(MalformedJsonError, match="stands twice in one object"):
            parse_json(text)


def test_one_name_in_two_objects_is_no_name_twice():
    assert parse_json('{"a":{"a":[{"a":1},{"a":1}]}}') == {"a": {"a": [{"a": 1}, {"a": 1}]}}


@given(st.integers() | st.sampled_from([0, 1, -1]).map(lambda off: INTEGER_MAX + off))
@example(2**63)
@example(2**64)
@example(-(2**63) - 1)
@example(10**400)
def test_integers_are_read_within_53_bits_only(value):
    for text in (str(value), f"[{value}]", f' {{"a": {value}}}'):
        if abs(value) <= INTEGER_MAX:
            assert parse_json(text) == json.loads(text)
        else:
            with pytest.raises(MalformedJsonError):
                parse_json(text)


def test_a_number_with_point_or_exponent_is_a_float_whatever_its_value():
    assert [type(each) for each in parse_json("[1.0,1e0,1E+2,-0.0,1e300]")] == [float] * 5
    assert [type(each) for each in parse_json("[1,-0]")] == [int] * 2


NOT_JSON = {
    "nothing": "",
    "white-space": " \n",
    "byte-order-mark": "\ufeff{}",
    "byte-order-mark-as-octets": b"\xef\xbb\xbf{}",
    "utf-16": "{}".encode("utf-16"),
    "not-utf-8": b'"\xff"',
    "overlong-utf-8": b'"\xc0\xaf"',
    "surrogate-in-utf-8": b'"\xed\xa0\x80"',
    "trailing-value": "{} {}",
    "trailing-text": '{"a":1}x',
    "trailing-zero-octet": b"[1]\x00",
    "trailing-comma": "[1,]",
    "comment": "[1]//",
    "single-quotes": "{'a':1}",
    "name-without-quotes": "{a:1}",
    "not-a-number": "[NaN]",
    "infinite": "[-Infinity]",
    "overflow": "[1e400]",
    "overflow-in-full": "1" * 400 + ".0",
    "leading-zero": "01",
    "plus-sign": "+1",
    "point-alone": "1.",
    "control-character": '"a\x01b"',
    "line-end-in-text": '"a\nb"',
    "high-surrogate": r'"\ud800"',
    "low-surrogate": r'"\udc00"',
    "surrogates-turned-round": r'"\udc00\ud800"',
    "surrogate-in-a-name": r'{"\ud800":1}',
    "surrogate-as-it-is": '"\ud800"',
    "too-deep-for-any-reader": "[" * 100_000,
    "cut-short": '{"a":',
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_i_json_is_refused(text):
    with pytest.raises(MalformedJsonError):
        parse_json(text)


def test_brackets_inside_a_text_are_no_containers():
    for text in ("[{" * 100, ["{" * 65]):
        assert parse_json(json.dumps(text)) == text


def test_many_containers_side_by_side_are_no_depth():
    assert parse_json("[" + ",".join(["{}"] * 1000) + "]") == [{}] * 1000


JSON_LIKE = st.text(
    st.sampled_from(list('[]{}",:0123456789.eE+-\\u \ntrfalsn\ud800é')), max_size=30
)


@given(JSON_LIKE | st.text(st.characters(), max_size=8) | st.binary(max_size=8))
def test_any_text_is_read_as_others_read_it_or_refused_by_our_error(text):
    try:
        value = parse_json(text)
    except MalformedJsonError:
        return
    assert value == json.loads(text)


def test_a_message_shows_the_beginning_of_a_long_name_only():
    name = "n" * 1000
    with pytest.raises(MalformedJsonError) as refused:
        parse_json(f'{{"{name}":1,"{name}":2}}')
    assert refused.value.details["name"] == name[:63]
    assert len(refused.value.message) < 120


# ---- Text rules -----------------------------------------------------------------------


@given(st.text(st.characters() | CHARACTERS, max_size=5))
@example("a\u0308")
@example("\u00e4")
@example("\u1100\u1161")
def test_hashed_text_is_nfc_without_controls_and_surrogates(text):
    """Categories Cc and Cs are the C0 and C1 controls with DEL, and the surrogates."""
    categories = {unicodedata.category(each) for each in text}
    if categories & {"Cc", "Cs"} or not unicodedata.is_normalized("NFC", text):
        with pytest.raises(MalformedEffectError) as refused:
            check_text(text, "/where")
        assert refused.value.details["pointer"] == "/where"
    else:
        check_text(text, "/where")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\tb", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\x85b", "control characters"),
        ("a\ud800b", "unpaired surrogates"),
        ("a\u0308", "normalisation form NFC"),
        ("\u0308\x00\ud800", "control characters"),
    ],
)
def test_the_first_broken_text_rule_is_named(text, says):
    with pytest.raises(MalformedEffectError, match=says):
        check_text(text, "/subject")

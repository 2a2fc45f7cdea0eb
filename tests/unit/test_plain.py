"""Laws of the plain spelling: what its pattern takes, the grammar takes, and reads the same."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import plain as spelling
from ledger.canonical import canonical_bytes
from ledger.effect import EFFECT_BYTES_MAX, Kind
from ledger.entry import Entry, _parse_by_grammar, _parse_later, parse_entry
from ledger.errors import MalformedProofError
from ledger.plain import read_plain
from ledger.plain_page import plain_at, plain_columns, read_place, unsure_places
from ledger.terms import placed_terms, plain_terms, split_placed, terms_of
from tests.effort import examples

HERE = Path(__file__).parents[1] / "vectors"
ENTRIES = [
    case["encoded"].encode()
    for case in json.loads((HERE / "entry.json").read_text("utf-8"))["entries"]
]
ID = "019cd5b4-9b8e-7d0c-9a0f-5f3f3c1d7a52"

GOOD = "good"
WORDS = {
    "text": [GOOD, "a b", "x" * 255, "~[]{}:,!#", "é", "x" * 256, "", "a\\b", 'a"b', "a\x1fb"],
    "name": ["card.capture", "a", "x" * 63, "A", "a..b", "", "9a", "x" * 64, "x" * 128],
    "id": [ID, ID.upper(), ID[:-1], ""],
    "hash": ["0" * 64, "f" * 64, "F" * 64, "0" * 63, "sha256:" + "0" * 64, "sha512:" + "0" * 64],
    "time": [
        "2026-03-01T09:30:00.000000Z",
        "2026-12-31T23:59:59.999999Z",
        "2026-02-29T00:00:00.000000Z",
        "2024-02-29T00:00:00.000000Z",
        "2026-04-31T00:00:00.000000Z",
        "2026-03-30T24:00:00.000000Z",
        "2026-03-01T09:30:00Z",
        "1999-03-01T09:30:00.000000Z",
    ],
    "amount": [
        *["19.99", "-5", "0", "0.00", "-0.00", "00.1", "1" * 20, "1" * 21, "1.", "+1", "5e3"],
        "0.5",
    ],
    "kind": [*map(str, Kind), "Effect"],
    "rel": ["transaction", "approval", "other"],
    "cause": ["entry", "case", "other"],
    "actor": ["human", "bot"],
    "point": ["executed", "other"],
    "currency": ["EUR", "USDC", "eur", "X"],
    "flow": ["in", "out", "up"],
    "key": ["k", "_k", "a b", "é", "", "k" * 255, "k" * 256],
    "ledger": ["shop", "_registry", "_x", "Shop", ""],
    "poster": ["shop", "_ledger", "_registry", ""],
    "media": ["text/plain; charset=utf-8", "a/b", "a", "text/plain "],
    "payload": ["note", "scan", "Note", ""],
    "period": ["2026-03", "Q1", "-", ""],
    "seq": [0, 7, 10**14, 2**53 - 1, -1],
    "v": [1, 2, 0],
    "true": [True, False],
}


@st.composite
def documents(draw):  # noqa: C901 - one branch for each rule on members that stand together
    """Entries of which each word may be good or bad, but most are good."""
    spoiled = draw(st.integers(0, 2))

    def word(kind):
        values = WORDS[kind]
        if kind == "kind" or draw(st.integers(0, 15)) < spoiled:
            return draw(st.sampled_from(values))
        return values[0]

    def words(**members):
        return {name: word(kind) for name, kind in members.items()}

    def maybe(**members):
        return {name: make() for name, make in members.items() if draw(st.booleans())}

    def several(make, most=2):
        return [make() for _ in range(draw(st.integers(1 - (spoiled > 0), most)))]

    kind = word("kind")
    effect = words(key="key", occurred_at="time", type="name") | {"kind": kind}
    effect |= maybe(
        actor=lambda: words(id="text", kind="actor"),
        approval=lambda: words(at="time", by="text", digest="hash"),
        business_key=lambda: word("text"),
        causes=lambda: several(
            lambda: {"kind": word("cause"), "ref": draw(st.sampled_from([ID, GOOD]))}
        ),
        evidence=lambda: several(
            lambda: words(system="text", rel="rel", ref="text") | maybe(digest=lambda: word("hash"))
        ),
        handoff=lambda: words(point="point"),
        intent=lambda: words(digest="hash", id="id"),
        labels=lambda: {name: word("text") for name in several(lambda: word("payload"), 3)},
        reason=lambda: word("name"),
        repeat_of=lambda: word("id"),
        subject=lambda: word("text"),
    )
    if "evidence" in effect or spoiled:
        effect |= maybe(observed=lambda: word("true"))
    if kind != "explanation" or spoiled > 1:
        effect |= maybe(
            money=lambda: (
                words(amount="amount", currency="currency", flow="flow")
                | (maybe(applied=lambda: word("amount")) if kind != "effect" or spoiled else {})
            )
        )
    if kind in ("refund", "adjustment", "explanation") or spoiled > 1:
        effect |= {"reason": word("name")}
        target = draw(st.sampled_from(["corrects", "corrects_key", "corrects_external"]))
        effect[target] = (
            words(system="text", ref="text")
            if target == "corrects_external"
            else word("id" if target == "corrects" else "key")
        )
    if kind == "explanation" or spoiled > 1:
        effect |= maybe(audience=lambda: word("name"))
    if kind == "effect" or spoiled > 1:
        effect |= maybe(reversible_until=lambda: word("time"))
    return (
        words(id="id", ledger="ledger", poster="poster", prev="hash", recorded_at="time")
        | words(seq="seq", v="v")
        | {"effect": effect}
        | maybe(
            late_for=lambda: word("period"),
            payloads=lambda: several(
                lambda: words(commitment="hash", media_type="media", name="payload")
            ),
        )
    )


def assert_read_alike(encoded):
    plain = read_plain(encoded)
    if plain is None:
        return
    entry = _parse_by_grammar(encoded)
    assert parse_entry(encoded) == entry
    assert isinstance(entry, Entry)
    assert plain_terms(plain) == terms_of(entry.effect)
    assert (plain.id, plain.key, int(plain.seq)) == (entry.id, entry.effect.key, entry.seq)


@given(documents())
@settings(max_examples=examples(1200))
def test_what_the_pattern_takes_the_grammar_takes_and_reads_the_same(document):
    assert_read_alike(canonical_bytes(document))


@given(st.sampled_from(ENTRIES), st.data())
@settings(max_examples=examples(800))
def test_an_entry_with_other_octets_is_taken_only_where_the_grammar_takes_it(encoded, data):
    changed = bytearray(encoded)
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(changed) - 1))
        piece = data.draw(st.sampled_from([b"", b'"', b"\\", b",", b"0", b"-", b"a", b"Z", b" "]))
        changed[at : at + data.draw(st.integers(0, 2))] = piece
    assert_read_alike(bytes(changed))


def test_most_entries_are_plain():
    """All of the vectors but those with a signature, other letters or what the ledger says."""
    plain = [encoded for encoded in ENTRIES if read_plain(encoded) is not None]
    others = [
        encoded
        for encoded in ENTRIES
        if not encoded.isascii()
        or b"\\" in encoded
        or b'"signature":' in encoded
        or b'"kind":"notice"' in encoded
    ]
    assert len(plain) + len(others) == len(ENTRIES)
    assert len(plain) > len(others)


def test_an_entry_of_every_other_kind_is_plain_too():
    at, money = "2026-03-01T09:30:00.000000Z", {"amount": "5.00", "currency": "EUR", "flow": "out"}
    said = {
        "effect": {"money": money},
        "refund": {"money": money, "corrects": ID, "reason": "x"},
        "adjustment": {"corrects_key": "k", "reason": "x", "money": money | {"amount": "-5.00"}},
        "explanation": {"corrects": ID, "reason": "x", "audience": "public"},
    }
    for kind, members in said.items():
        effect = {"kind": kind, "type": "t", "key": "k", "occurred_at": at, **members}
        entry = {"effect": effect, "id": ID, "ledger": "shop", "poster": "p", "prev": "0" * 64}
        encoded = canonical_bytes(entry | {"recorded_at": at, "seq": 3, "v": 1})
        assert read_plain(encoded) is not None, kind
        assert_read_alike(encoded)


def test_an_entry_too_large_for_a_glance_is_left_to_the_grammar():
    at = "2026-03-01T09:30:00.000000Z"
    labels = {f"{n}": "x" * 255 for n in range(10)}
    causes = [{"kind": "case", "ref": "y" * 255}] * 32
    evidence = [{"system": "s" * 63, "rel": "result", "ref": "z" * 255}] * 16
    effect = {"kind": "effect", "type": "t", "key": "k" * 255, "occurred_at": at}
    effect |= {"labels": labels, "causes": causes, "evidence": evidence}
    entry = {"effect": effect, "id": ID, "ledger": "shop", "poster": "p", "prev": "0" * 64}
    encoded = canonical_bytes(entry | {"recorded_at": at, "seq": 3, "v": 1})
    assert_read_alike(encoded)
    assert read_plain(encoded + b" " * 40_000) is None
    with pytest.raises(MalformedProofError):
        parse_entry(encoded + b" " * 40_000)


@given(
    st.lists(documents().map(canonical_bytes) | st.sampled_from(ENTRIES), min_size=1, max_size=3)
)
@settings(max_examples=examples(600))
def test_a_page_says_what_each_of_its_entries_says(encoded):
    """And tells nothing if one is not plain; what the pattern alone leaves open, it names."""
    said = plain_columns(encoded)
    if said is None:
        assert not all(map(_has_the_pattern, encoded))
        return
    assert all(map(_has_the_pattern, encoded))
    unsure = unsure_places(said)
    for at, each in enumerate(encoded):
        plain = read_plain(each)
        assert plain_at(said, at) == plain
        if at not in unsure:
            assert plain is not None
            assert plain.kind == "effect"
    sure = [at for at in range(len(encoded)) if at not in unsure]
    numbered = {**said, "seq": [str(5 + at) for at in range(len(encoded))]}
    terms = [split_placed(each) for each in placed_terms(numbered)]
    for at in sure:
        expected = terms_of(_parse_by_grammar(encoded[at]).effect)
        assert [term for term, seq in terms if seq == 5 + at] == list(expected)


# What `read_plain` looks for, before it looks at members together.
_PATTERN = re.compile(spelling.entry_pattern(spelling.captured(spelling.WORDS)))


def _has_the_pattern(encoded):
    return (
        len(encoded) <= EFFECT_BYTES_MAX
        and encoded.isascii()
        and _PATTERN.fullmatch(encoded.decode()) is not None
    )


@given(st.sampled_from(ENTRIES), st.data())
@settings(max_examples=examples(800))
def test_a_page_takes_an_entry_with_other_octets_as_the_pattern_of_one_does(encoded, data):
    changed = bytearray(encoded)
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(changed) - 1))
        piece = data.draw(st.sampled_from([b"", b'"', b"\\", b",", b"0", b"9", b"A", b"\n", b"]"]))
        changed[at : at + data.draw(st.integers(0, 2))] = piece
    assert (plain_columns([bytes(changed)]) is not None) == _has_the_pattern(bytes(changed))


@given(documents().map(canonical_bytes))
@settings(max_examples=examples(800))
def test_a_page_takes_what_the_pattern_of_one_takes(encoded):
    assert (plain_columns([encoded]) is not None) == _has_the_pattern(encoded)


@pytest.mark.parametrize("end", [b"\n", b"\nx", b" "])
def test_no_entry_of_a_page_ends_with_more_than_it_should(end):
    plain = next(each for each in ENTRIES if read_plain(each) is not None)

    assert plain_columns([plain, plain]) is not None
    assert plain_columns([plain + end, plain]) is None
    assert plain_columns([plain, plain + end]) is None
    assert plain_columns([plain + b"\n" + plain, plain]) is None


@given(documents().map(canonical_bytes), st.data())
@settings(max_examples=examples(800))
def test_a_place_is_read_only_of_what_is_canonical_and_says_it(encoded, data):
    """Whatever else an entry says; bytes that are not JSON in the one spelling have no place."""
    changed = bytearray(encoded)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(changed) - 1))
        piece = data.draw(st.sampled_from([b"", b'"', b"\\", b",", b"0", b"\n", b"]", b"\x7f"]))
        changed[at : at + data.draw(st.integers(0, 2))] = piece
    place = read_place(bytes(changed))
    if place is None:
        return
    said = json.loads(changed)
    assert canonical_bytes(said) == changed
    assert place == (*(said[name] for name in place._fields[:-1]), str(said["seq"]))
    _parse_later(said, bytes(changed))

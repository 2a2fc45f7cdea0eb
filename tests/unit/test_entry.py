"""Laws of entries and chains: one spelling, no gap, and every attack is named by its seq."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import errors
from ledger.effect import EFFECT_BYTES_MAX, Effect, Kind
from ledger.entry import (
    ENTRY_BYTES_MAX,
    Admitted,
    Entry,
    Head,
    PosterSignature,
    UnreadEntry,
    chain,
    effect_signing_bytes,
    genesis_hash,
    new_entry_id,
    parse_entry,
    parse_signature,
    recorded_entry,
    verify_chain,
    verify_poster_signature,
)
from ledger.errors import (
    ChainBreakError,
    MalformedEffectError,
    MalformedProofError,
    SignatureError,
)
from ledger.forms.payload import PAYLOADS_MAX, Commitment
from ledger.merkle import Frontier
from tests.vectors import generate_entries

HERE = Path(__file__).parents[1] / "vectors"
VECTORS = json.loads((HERE / "entry.json").read_text("utf-8"))
LEDGER, ORIGIN = VECTORS["ledger"], VECTORS["origin"]
ENCODED = [entry["encoded"].encode() for entry in VECTORS["entries"]]
ENTRIES = [parse_entry(encoded) for encoded in ENCODED]
RECORDED_AT = "2026-03-02T12:00:00.000000Z"


def verify(encoded, start=None):
    return verify_chain(encoded, ledger=LEDGER, origin=ORIGIN, start=start)


def admit(entry):
    return Admitted(
        effect=entry.effect,
        id=entry.id,
        poster=entry.poster,
        payloads=entry.payloads,
        signature=entry.signature,
    )


@pytest.mark.parametrize("name", ["effect.json", "entry.json", "payload.json", "notice.json"])
def test_the_published_vectors_are_what_the_generator_writes(name):
    assert (HERE / name).read_text("utf-8") == generate_entries.vectors()[name]


@pytest.mark.parametrize("case", VECTORS["genesis"])
def test_genesis_vectors_hold(case):
    assert genesis_hash(case["origin"]).hex() == case["hash"]
    text = f"effect-ledger/genesis/v1\n{case['origin']}"
    assert hashlib.sha256(text.encode()).hexdigest() == case["hash"]


@pytest.mark.parametrize("case", VECTORS["entries"])
def test_the_hash_of_an_entry_is_its_merkle_leaf_hash(case):
    entry = parse_entry(case["encoded"].encode())

    assert entry.hash.hex() == case["hash"]
    assert hashlib.sha256(b"\0" + case["encoded"].encode()).hexdigest() == case["hash"]


def test_the_vector_chain_verifies_to_its_root():
    head = verify(ENCODED)

    assert (head.size, head.root.hex()) == (VECTORS["size"], VECTORS["root"])
    assert head.last_hash == ENTRIES[-1].hash
    assert head.last_recorded_at == ENTRIES[-1].recorded_at


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["name"]) for case in VECTORS["refused"]]
)
def test_attacks_and_corruptions_are_named_by_their_first_entry(case):
    with pytest.raises(getattr(errors, case["error"])) as caught:
        verify([entry.encode() for entry in case["entries"]])
    assert caught.value.details["seq"] == case["seq"]
    assert f"entry {case['seq']}" in caught.value.message


def test_dropping_the_newest_entries_shows_in_size_and_root():
    """A chain cannot tell this by itself; whoever keeps an earlier root can."""
    head = verify(ENCODED[:-1])
    assert head.size == VECTORS["size"] - 1
    assert head.root.hex() != VECTORS["root"]


@given(st.integers(0, 5), st.integers(0, 5))
def test_a_chain_verified_in_parts_ends_as_verified_whole(first, second):
    first, second = sorted((first, second))
    head = verify(ENCODED[:first])
    head = verify(ENCODED[first:second], start=head)
    assert verify(ENCODED[second:], start=head) == verify(ENCODED)


def test_a_part_of_another_ledger_does_not_follow():
    start = Head.genesis(ledger=LEDGER, origin="elsewhere.example/acme.payments")
    with pytest.raises(ChainBreakError):
        verify(ENCODED, start=start)
    with pytest.raises(ChainBreakError) as caught:
        verify_chain(ENCODED, ledger=LEDGER, origin=start.origin)
    assert caught.value.details["member"] == "prev"


def test_chaining_what_was_admitted_gives_the_vector_bytes():
    entries, head = generate_entries.make_chain()
    assert [entry.encoded for entry in entries] == ENCODED
    assert entries == ENTRIES
    assert head == verify(ENCODED)


def test_nothing_admitted_leaves_the_head_alone():
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    assert chain(head, [], recorded_at=RECORDED_AT) == ([], head)


def test_an_empty_ledger_has_the_genesis_hash_and_the_empty_root():
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    assert head.last_hash == genesis_hash(ORIGIN)
    # RFC 6962 Section 2.1: the root of no entries is the hash of nothing.
    assert head.root == hashlib.sha256(b"").digest()
    assert head == verify([])


@given(st.lists(st.integers(0, 4), max_size=8), st.integers(0, 8))
def test_batches_do_not_show_in_a_chain(chosen, cut):
    admitted = [admit(ENTRIES[at]) for at in chosen]
    genesis = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    first, head = chain(genesis, admitted[:cut], recorded_at=RECORDED_AT)
    second, head = chain(head, admitted[cut:], recorded_at=RECORDED_AT)

    assert chain(genesis, admitted, recorded_at=RECORDED_AT) == (first + second, head)
    assert verify([entry.encoded for entry in first + second]) == head


def test_time_never_runs_back_in_a_chain():
    head = verify(ENCODED)
    with pytest.raises(AssertionError, match="must not decrease"):
        chain(head, [admit(ENTRIES[0])], recorded_at=RECORDED_AT)


@given(st.data())
def test_no_changed_byte_leaves_an_entry_as_it_was(data):
    """Some changes give another entry, which breaks the chain; none gives the same one."""
    encoded = bytearray(data.draw(st.sampled_from(ENCODED)))
    at = data.draw(st.integers(0, len(encoded) - 1))
    before = bytes(encoded)
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        entry = parse_entry(bytes(encoded))
    except MalformedProofError:
        return
    assert entry.encoded == bytes(encoded)
    assert entry.hash != parse_entry(before).hash


@given(st.binary(max_size=64))
def test_whatever_the_bytes_are_they_are_an_entry_or_refused(octets):
    with pytest.raises(MalformedProofError):
        parse_entry(octets)


@pytest.mark.parametrize("octets", [b"[]", b"7", b"null", b"{}", b'{"v":1}', b'{"v":2}'])
def test_json_that_is_no_entry_is_refused(octets):
    with pytest.raises(MalformedProofError):
        parse_entry(octets)


@given(st.sampled_from(ENTRIES))
def test_an_entry_parses_back_to_itself(entry):
    assert parse_entry(entry.encoded) == entry
    assert recorded_entry(entry.encoded, entry.effect) == entry


def test_an_entry_found_by_another_effect_is_refused():
    with pytest.raises(MalformedProofError):
        recorded_entry(ENTRIES[0].encoded, ENTRIES[1].effect)


# ---- Upgrade --------------------------------------------------------------------------


def later(encoded, version=2):
    return generate_entries.rewrite(encoded, v=version, colour="red")


def test_an_entry_of_a_later_version_is_hashed_and_not_read():
    case = VECTORS["later_version"]
    entry = parse_entry(case["encoded"].encode())

    assert isinstance(entry, UnreadEntry)
    assert (entry.v, entry.seq, entry.hash.hex()) == (2, 0, case["hash"])


def test_a_chain_may_go_on_in_a_later_version():
    head = verify(ENCODED[:1])
    next_entry = later(ENCODED[1])
    after = verify([next_entry], start=head)
    assert after.size == 2
    assert after.last_hash == parse_entry(next_entry).hash


def test_the_version_of_a_chain_never_goes_down():
    first = later(ENCODED[0])
    second = generate_entries.rewrite(ENCODED[1], prev=parse_entry(first).hash.hex())
    with pytest.raises(ChainBreakError) as caught:
        verify([first, second])
    assert caught.value.details["member"] == "v"


@pytest.mark.parametrize("member", ["id", "ledger", "prev", "recorded_at", "seq"])
def test_every_version_keeps_the_members_of_its_place(member):
    with pytest.raises(MalformedProofError):
        parse_entry(generate_entries.rewrite(later(ENCODED[0]), **{member: None}))
    with pytest.raises(MalformedProofError):
        parse_entry(generate_entries.rewrite(later(ENCODED[0]), **{member: "X"}))


def test_every_version_is_canonical():
    with pytest.raises(MalformedProofError):
        parse_entry(later(ENCODED[0]).replace(b",", b", ", 1))


# ---- Sizes and ids --------------------------------------------------------------------


def test_no_admitted_effect_is_too_large_for_its_place():
    """The largest effect with everything beside it at its longest stays below the limit."""
    effect = Effect(
        kind=Kind.EFFECT,
        type="t",
        key="k",
        occurred_at=RECORDED_AT,
        encoded=b"{" + b"x" * (EFFECT_BYTES_MAX - 2) + b"}",
    )
    payloads = tuple(
        Commitment(name=f"{at}" * 63, media_type="a/" + "b" * 125, commitment="0" * 64)
        for at in range(PAYLOADS_MAX)
    )
    head = Head(
        ledger="l" * 62,
        origin=ORIGIN,
        size=2**53 - 1,
        last_hash=bytes(32),
        last_recorded_at=None,
        frontier=_AnyFrontier(),
    )
    [entry], _ = chain(
        head,
        [
            Admitted(
                effect=effect,
                id="0" * 36,
                poster="p" * 62,
                payloads=payloads,
                signature=PosterSignature(key_id="k" * 64, sig="s" * 88),
            )
        ],
        recorded_at=RECORDED_AT,
        late_for=lambda _: "p" * 63,
    )
    assert len(entry.encoded) < EFFECT_BYTES_MAX + 4_096 < ENTRY_BYTES_MAX


class _AnyFrontier(Frontier):
    """Stands for a tree of any size where only bytes are counted."""

    def __init__(self):
        pass

    def extend(self, _leaf_hashes):
        return self


def test_an_entry_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(MalformedProofError) as caught:
        parse_entry(b" " * (ENTRY_BYTES_MAX + 1))
    assert caught.value.details["limit"] == ENTRY_BYTES_MAX


@given(st.integers(0, 2**48 - 1))
def test_entry_ids_carry_their_time_version_and_variant(now_ms):
    """RFC 9562 Section 5.7."""
    entry_id = new_entry_id(now_ms)
    digits = entry_id.replace("-", "")

    assert entry_id == entry_id.lower()
    assert int(digits[:12], 16) == now_ms
    assert digits[12] == "7"
    assert digits[16] in "89ab"


def test_entry_ids_of_one_millisecond_differ():
    assert len({new_entry_id(7) for _ in range(1000)}) == 1000


# ---- The poster's own signature -------------------------------------------------------

SIGNED = ENTRIES[VECTORS["poster_key"]["signed_seq"]]
PUBLIC_KEY = bytes.fromhex(VECTORS["poster_key"]["public_key"])


def test_the_signature_of_the_vector_is_the_posters():
    assert isinstance(SIGNED, Entry)
    assert effect_signing_bytes(SIGNED.effect).startswith(b"effect-ledger/effect/v1\n{")
    verify_poster_signature(SIGNED.effect, SIGNED.signature, PUBLIC_KEY)


@given(st.integers(0, 63), st.integers(0, 7))
def test_a_changed_signature_is_not_good(at, bit):
    sig = bytearray(base64.b64decode(SIGNED.signature.sig))
    sig[at] ^= 1 << bit
    changed = PosterSignature(key_id="checkout-1", sig=base64.b64encode(sig).decode())
    with pytest.raises(SignatureError):
        verify_poster_signature(SIGNED.effect, changed, PUBLIC_KEY)


@pytest.mark.parametrize(
    ("effect", "sig", "public_key"),
    [
        (ENTRIES[0].effect, SIGNED.signature.sig, PUBLIC_KEY),
        (SIGNED.effect, SIGNED.signature.sig, bytes(32)),
        (SIGNED.effect, SIGNED.signature.sig, PUBLIC_KEY[:31]),
        (SIGNED.effect, "", PUBLIC_KEY),
        (SIGNED.effect, "%%%", PUBLIC_KEY),
    ],
    ids=["other-effect", "other-key", "short-key", "empty", "no-base64"],
)
def test_a_signature_is_good_for_its_effect_and_key_only(effect, sig, public_key):
    with pytest.raises(SignatureError):
        verify_poster_signature(effect, PosterSignature(key_id="k", sig=sig), public_key)


def test_a_signature_is_parsed_in_its_one_form():
    words = {"key_id": "checkout-1", "sig": SIGNED.signature.sig}
    assert parse_signature(words) == SIGNED.signature
    for wrong in (
        {**words, "alg": "none"},
        {**words, "sig": words["sig"][:-4]},
        {**words, "sig": words["sig"].rstrip("=")},
        {**words, "key_id": ""},
        {"sig": words["sig"]},
        words["sig"],
    ):
        with pytest.raises(MalformedEffectError):
            parse_signature(wrong)

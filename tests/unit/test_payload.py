"""Laws of payloads: one form in, commitments that bind, seals that hold to their place."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import errors
from ledger.errors import CommitmentError, MalformedEffectError, TooLargeError
from ledger.forms.payload import (
    PAYLOAD_BYTES_MAX,
    PayloadIn,
    build_payloads,
    commitment,
    open_sealed,
    seal,
    unwrap_data_key,
    wrap_data_key,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/payload.json").read_text("utf-8"))
SALT = bytes(range(16))
KEY = bytes(range(32))
PLACE = {"origin": "host/ledger", "entry_id": "01957f5e-8c00-7001-8000-000000000000", "name": "n"}


def by_name(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", by_name(VECTORS["accepted"]))
def test_accepted_vectors_give_their_octets(case):
    built = build_payloads(case["request"]["payloads"], note=case["request"].get("note"))

    assert [
        {
            "name": payload.name,
            "media_type": payload.media_type,
            "content": base64.b64encode(payload.content).decode(),
        }
        for payload in built
    ] == case["payloads"]


@pytest.mark.parametrize("case", by_name(VECTORS["refused"]))
def test_refused_vectors_are_refused_as_they_say(case):
    with pytest.raises(getattr(errors, case["error"])) as caught:
        build_payloads(case["request"]["payloads"], note=case["request"].get("note"))
    assert type(caught.value).__name__ == case["error"]
    assert caught.value.details["pointer"] == case["pointer"]
    assert caught.value.details.get("limit") == case.get("limit")


@pytest.mark.parametrize("case", VECTORS["commitments"])
def test_commitment_vectors_hold(case):
    salt, content = bytes.fromhex(case["salt"]), base64.b64decode(case["content"])
    assert commitment(salt, content).hex() == case["commitment"]


def test_sealed_and_wrapped_vectors_open():
    sealed = VECTORS["sealed"]
    assert open_sealed(
        base64.b64decode(sealed["sealed"]),
        data_key=bytes.fromhex(sealed["data_key"]),
        origin=sealed["origin"],
        entry_id=sealed["entry_id"],
        name=sealed["name"],
    ) == (bytes.fromhex(sealed["salt"]), base64.b64decode(sealed["content"]))

    wrapped = VECTORS["wrapped"]
    assert (
        unwrap_data_key(
            bytes.fromhex(wrapped["payload_key"]),
            base64.b64decode(wrapped["wrapped"]),
            wrapped["ledger"],
            wrapped["data_subject"],
        ).hex()
        == wrapped["data_key"]
    )


def test_the_order_of_payloads_is_no_part_of_a_request():
    items = [{"name": name, "text": name} for name in "cab"]
    assert build_payloads(items) == build_payloads(items[::-1])


def test_a_request_has_at_most_eight_payloads_the_note_among_them():
    items = [{"name": f"p{at}", "text": "x"} for at in range(8)]

    assert len(build_payloads(items)) == len(build_payloads(items[1:], note="y")) == 8
    with pytest.raises(TooLargeError, match="has 9 items, the limit is 8"):
        build_payloads(items, note="y")


@pytest.mark.parametrize(
    "item",
    [
        lambda size: {"name": "a", "text": "x" * size},
        lambda size: {"name": "a", "base64": base64.b64encode(bytes(size)).decode()},
        lambda size: {"name": "a", "json": "x" * (size - 2)},
    ],
    ids=["text", "base64", "json"],
)
def test_a_payload_has_at_most_one_mebibyte(item):
    assert len(build_payloads([item(PAYLOAD_BYTES_MAX)])[0].content) == PAYLOAD_BYTES_MAX
    with pytest.raises(TooLargeError) as caught:
        build_payloads([item(PAYLOAD_BYTES_MAX + 1)])
    assert caught.value.details["limit"] == PAYLOAD_BYTES_MAX


def test_base64_that_is_too_long_is_not_even_decoded():
    """What it stands for is not base64 at all; the limit is told first."""
    with pytest.raises(TooLargeError) as caught:
        build_payloads([{"name": "a", "base64": "?" * (2 * PAYLOAD_BYTES_MAX)}])
    assert caught.value.details["limit"] == PAYLOAD_BYTES_MAX


@pytest.mark.parametrize("form", ["text", "base64"])
@pytest.mark.parametrize("value", [7, None, ["x"]])
def test_text_and_base64_are_strings(form, value):
    with pytest.raises(MalformedEffectError, match="must be a string") as caught:
        build_payloads([{"name": "a", form: value}])
    assert caught.value.details["pointer"] == f"/payloads/0/{form}"


def test_text_with_an_unpaired_surrogate_is_refused():
    with pytest.raises(MalformedEffectError):
        build_payloads([{"name": "a", "text": "\ud800"}])


@pytest.mark.parametrize(
    "value", [2**53, float("inf"), {"a": "\ud800"}], ids=["integer", "infinite", "surrogate"]
)
def test_json_without_a_canonical_form_is_refused_by_its_pointer(value):
    with pytest.raises(MalformedEffectError) as caught:
        build_payloads([{"name": "a", "json": value}])
    assert caught.value.details["pointer"] == "/payloads/0/json"


def test_what_a_payload_says_stays_out_of_its_repr():
    shown = repr(
        PayloadIn(name="n", media_type="text/plain", content=b"secret", data_subject="person")
    )
    assert "secret" not in shown
    assert "person" not in shown


@given(content=st.binary(max_size=64), other=st.binary(max_size=64))
def test_a_commitment_is_to_one_content_under_one_salt(content, other):
    committed = commitment(SALT, content)

    assert commitment(SALT, bytes(content)) == committed
    assert commitment(SALT[::-1], content) != committed
    assert (commitment(SALT, other) == committed) == (other == content)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_salt_that_is_not_whole_commits_to_nothing(length):
    """A shorter one would let the content's first octets stand in for the salt's last."""
    with pytest.raises(AssertionError):
        commitment(bytes(length), b"content")


@given(content=st.binary(max_size=64))
def test_what_was_sealed_opens_at_its_place(content):
    assert open_sealed(seal(content, SALT, data_key=KEY, **PLACE), data_key=KEY, **PLACE) == (
        SALT,
        content,
    )


@pytest.mark.parametrize("moved", ["origin", "entry_id", "name"])
def test_a_seal_that_was_moved_does_not_open(moved):
    sealed = seal(b"content", SALT, data_key=KEY, **PLACE)
    with pytest.raises(CommitmentError):
        open_sealed(sealed, data_key=KEY, **{**PLACE, moved: PLACE[moved] + "x"})


def test_places_that_run_together_are_different_places():
    sealed = seal(b"", SALT, data_key=KEY, origin="ab", entry_id="c", name="d")
    with pytest.raises(CommitmentError):
        open_sealed(sealed, data_key=KEY, origin="a", entry_id="bc", name="d")


@given(at=st.integers(0, 50), bit=st.integers(0, 7))
def test_a_changed_bit_does_not_open(at, bit):
    sealed = bytearray(seal(b"content", SALT, data_key=KEY, **PLACE))
    sealed[at] ^= 1 << bit
    with pytest.raises(CommitmentError):
        open_sealed(bytes(sealed), data_key=KEY, **PLACE)


@given(size=st.integers(0, 50))
def test_a_truncated_seal_does_not_open(size):
    sealed = seal(b"content", SALT, data_key=KEY, **PLACE)
    with pytest.raises(CommitmentError):
        open_sealed(sealed[:size], data_key=KEY, **PLACE)


def test_two_seals_of_one_content_differ():
    assert seal(b"x", SALT, data_key=KEY, **PLACE) != seal(b"x", SALT, data_key=KEY, **PLACE)


@pytest.mark.parametrize(
    ("payload_key", "ledger", "data_subject"),
    [
        (bytes(32), "ledger", "person-7"),
        (KEY, "other", "person-7"),
        (KEY, "ledger", "person-8"),
    ],
    ids=["other-key", "other-ledger", "other-person"],
)
def test_a_data_key_unwraps_for_its_own_person_only(payload_key, ledger, data_subject):
    wrapped = wrap_data_key(KEY, SALT * 2, "ledger", "person-7")

    assert unwrap_data_key(KEY, wrapped, "ledger", "person-7") == SALT * 2
    with pytest.raises(CommitmentError) as caught:
        unwrap_data_key(payload_key, wrapped, ledger, data_subject)
    assert data_subject not in caught.value.message


def test_a_seal_is_no_wrapped_key_and_the_other_way_round():
    wrapped = wrap_data_key(KEY, SALT * 2, "a", "b")
    with pytest.raises(CommitmentError):
        open_sealed(wrapped, data_key=KEY, origin="a", entry_id="b", name="c")
    with pytest.raises(CommitmentError):
        unwrap_data_key(KEY, seal(SALT, SALT, data_key=KEY, **PLACE), "a", "b")

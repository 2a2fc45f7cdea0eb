"""Laws of the vault: what is sealed opens at its place for its ledger, until a key is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import CommitmentError
from ledger.forms.payload import PayloadIn, commitment, unwrap_data_key
from ledger.ports import LedgerRecord
from ledger.vault import Vault, data_subject_of, salted

KEY = bytes(range(32))
ENTRY = "01957f5e-8c00-7001-8000-000000000000"
OTHER_ENTRY = "01957f5e-8c00-7002-8000-000000000000"
RECORD = LedgerRecord(
    name="acme.payments",
    origin="6f1d0c2a.effect-ledger.invalid/acme.payments",
    vkey="",
    signer="",
    units={},
    time_zone="UTC",
    public=False,
    screen=frozenset(),
)


@pytest.fixture
def vault():
    return Vault(KEY)


def payload(name="note", content=b"refunded at the desk", data_subject=None):
    return PayloadIn(name=name, media_type="text/plain", content=content, data_subject=data_subject)


def seal(vault, *payloads, entry_id=ENTRY, seq=7, data_keys=None):
    """What is stored, and the data keys that go with it."""
    kept = {} if data_keys is None else data_keys
    sealed, made = vault.seal(RECORD, entry_id, seq, salted(payloads), kept)
    return sealed, {**kept, **made}


# ---- Salts ----------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20), max_size=3))
def test_a_salted_payload_is_committed_to(contents):
    payloads = [payload(f"p{at}", content) for at, content in enumerate(contents)]
    for given_payload, item in zip(payloads, salted(payloads), strict=True):
        assert item.payload is given_payload
        assert (item.commitment.name, item.commitment.media_type) == (
            given_payload.name,
            given_payload.media_type,
        )
        assert item.commitment.commitment == commitment(item.salt, given_payload.content).hex()


def test_equal_payloads_have_commitments_of_their_own():
    """Or the same letter to two people would show as the same."""
    first, second = salted([payload("a"), payload("b")])

    assert first.salt != second.salt
    assert first.commitment.commitment != second.commitment.commitment


# ---- Sealing and opening --------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.binary(max_size=50), st.none() | st.sampled_from(["person-7", "person-8"])),
        max_size=4,
    )
)
def test_what_was_sealed_opens_to_what_was_committed(items):
    vault = Vault(KEY)
    payloads = [payload(f"p{at}", *item) for at, item in enumerate(items)]
    rows, data_keys = seal(vault, *payloads)

    opened = vault.open(RECORD, ENTRY, rows, data_keys)

    assert [(each.name, each.media_type, each.content) for each in opened] == [
        (each.name, each.media_type, each.content) for each in payloads
    ]
    assert [commitment(each.salt, each.content) for each in opened] == [
        row.commitment for row in rows
    ]
    assert {row.data_subject for row in rows} == data_keys.keys()
    assert all(row.seq == 7 for row in rows)


def test_what_is_stored_shows_neither_content_nor_keys(vault):
    [row], data_keys = seal(vault, payload(data_subject="person-7"))
    [wrapped] = data_keys.values()
    data_key = unwrap_data_key(KEY, wrapped, RECORD.name, "person-7")

    assert b"refunded" not in row.sealed
    assert data_key not in wrapped
    assert data_key != KEY


def test_payloads_of_one_person_share_a_data_key_and_of_no_one_else(vault):
    rows, data_keys = seal(
        vault,
        payload("a", data_subject="person-7"),
        payload("b", data_subject="person-7"),
        payload("c", data_subject="person-8"),
    )

    assert [row.data_subject for row in rows] == ["person-7", "person-7", "person-8"]
    keys = {
        unwrap_data_key(KEY, wrapped, RECORD.name, subject)
        for subject, wrapped in data_keys.items()
    }
    assert len(keys) == 2


def test_a_payload_about_nobody_is_sealed_under_a_key_of_its_entry(vault):
    rows, data_keys = seal(vault, payload("a"), payload("b"))

    assert data_subject_of(payload(), ENTRY) == f"entry:{ENTRY}"
    assert [row.data_subject for row in rows] == [f"entry:{ENTRY}"] * 2
    assert len(data_keys) == 1


def test_a_data_key_that_stands_is_used_and_not_made_again(vault):
    _, first = seal(vault, payload(data_subject="person-7"))
    kept = dict(first)

    sealed, made = vault.seal(
        RECORD, OTHER_ENTRY, 8, salted([payload(data_subject="person-7")]), kept
    )

    assert made == {}
    assert kept == first
    assert vault.open(RECORD, OTHER_ENTRY, sealed, first)[0].content == b"refunded at the desk"


def test_a_data_key_made_for_one_entry_serves_the_next_of_the_batch(vault):
    """The keys are collected by the caller: two entries about a new person make one key."""
    kept = {}
    _, made = vault.seal(RECORD, ENTRY, 7, salted([payload(data_subject="person-7")]), kept)
    _, again = vault.seal(RECORD, OTHER_ENTRY, 8, salted([payload(data_subject="person-7")]), kept)

    assert made == kept
    assert again == {}


def test_an_entry_without_payloads_needs_no_key(vault):
    assert seal(vault) == ([], {})


# ---- Erasing --------------------------------------------------------------------------


def test_an_erased_payload_keeps_its_commitment_alone(vault):
    [row], data_keys = seal(vault, payload())

    [erased] = vault.open(RECORD, ENTRY, [replace(row, sealed=None)], data_keys)

    assert (erased.salt, erased.content) == (None, None)
    assert (erased.name, erased.media_type, erased.commitment) == (
        row.name,
        row.media_type,
        row.commitment,
    )


def test_without_its_data_key_a_payload_is_as_good_as_erased(vault):
    """The sealed octets may still be in a backup; the others of the entry stay readable."""
    rows, data_keys = seal(
        vault, payload("a", data_subject="person-7"), payload("b", data_subject="person-8")
    )
    del data_keys["person-7"]

    gone, there = vault.open(RECORD, ENTRY, rows, data_keys)

    assert (gone.salt, gone.content) == (None, None)
    assert there.content == b"refunded at the desk"


# ---- Damage ---------------------------------------------------------------------------


DAMAGE = {
    "moved-to-another-entry": lambda row, keys: (RECORD, OTHER_ENTRY, row, keys),
    "moved-to-another-origin": lambda row, keys: (
        replace(RECORD, origin="elsewhere.invalid/acme.payments"),
        ENTRY,
        row,
        keys,
    ),
    "moved-to-another-ledger": lambda row, keys: (
        replace(RECORD, name="acme.refunds"),
        ENTRY,
        row,
        keys,
    ),
    "renamed": lambda row, keys: (RECORD, ENTRY, replace(row, name="other"), keys),
    "other-commitment": lambda row, keys: (
        RECORD,
        ENTRY,
        replace(row, commitment=bytes(32)),
        keys,
    ),
    "changed-octet": lambda row, keys: (
        RECORD,
        ENTRY,
        replace(row, sealed=row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])),
        keys,
    ),
    "truncated": lambda row, keys: (RECORD, ENTRY, replace(row, sealed=row.sealed[:20]), keys),
    "emptied": lambda row, keys: (RECORD, ENTRY, replace(row, sealed=b""), keys),
    "key-of-another-person": lambda row, keys: (
        RECORD,
        ENTRY,
        replace(row, data_subject="person-8"),
        {"person-8": keys["person-7"]},
    ),
    "key-changed": lambda row, keys: (RECORD, ENTRY, row, {"person-7": keys["person-7"][:-1]}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_payload_that_was_changed_moved_or_swapped_does_not_open(vault, damage):
    [row], data_keys = seal(vault, payload(data_subject="person-7"))
    record, entry_id, damaged, keys = damage(row, data_keys)

    with pytest.raises(CommitmentError) as refused:
        vault.open(record, entry_id, [damaged], keys)
    assert "person-7" not in refused.value.message
    assert "refunded" not in refused.value.message


def test_the_sealed_octets_of_two_payloads_cannot_change_places(vault):
    (first, second), data_keys = seal(vault, payload("a", b"1"), payload("b", b"2"))
    swapped = [replace(first, sealed=second.sealed), replace(second, sealed=first.sealed)]

    with pytest.raises(CommitmentError):
        vault.open(RECORD, ENTRY, swapped, data_keys)


def test_another_content_under_the_right_seal_is_not_what_was_committed_to(vault):
    """Whoever holds the payload key can seal what they like; the entry says what it was."""
    [row], data_keys = seal(vault, payload(content=b"120.00"))
    [forged], _ = seal(vault, payload(content=b"12.00"), data_keys=data_keys)

    with pytest.raises(CommitmentError, match="is not the one committed to") as refused:
        vault.open(RECORD, ENTRY, [replace(row, sealed=forged.sealed)], data_keys)
    assert refused.value.details == {"seq": 7, "name": "note"}


def test_another_payload_key_opens_nothing(vault):
    rows, data_keys = seal(vault, payload())

    with pytest.raises(CommitmentError, match="another payload key"):
        Vault(bytes(32)).open(RECORD, ENTRY, rows, data_keys)


def test_salts_and_contents_stay_out_of_logs(vault):
    items = salted([payload(data_subject="person-7")])
    rows, made = vault.seal(RECORD, ENTRY, 7, items, {})
    opened = vault.open(RECORD, ENTRY, rows, made)

    shown = repr(items) + repr(opened) + repr(vault)
    for secret in (b"refunded", items[0].salt, KEY, b"person-7"):
        assert repr(secret)[2:-1] not in shown

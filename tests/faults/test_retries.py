"""Requests that come again: one key names one request for ever, whoever asks and however often."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.entry import (
    Entry,
    PosterSignature,
    effect_signing_bytes,
    parse_entry,
    verify_poster_signature,
)
from ledger.errors import (
    AbandonedError,
    BadReferenceError,
    CommitmentError,
    CorrectionError,
    IdempotencyConflictError,
    MalformedEffectError,
    OverRefundError,
    PossibleRepeatError,
)
from ledger.lifecycle import DEPTH_MAX
from ledger.ports import Wanted
from ledger.submission import Provisional, Recorded, Submission
from ledger.verification.runs import verify_ledger
from ledger.verify import posters
from tests.faults.house import House, asked, asks, eur, open_house, recorded, refund


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def ledger(house) -> str:
    return house.open_ledger()


PAYLOADS = [
    {"name": "terms", "text": "Two years.\r\n"},
    {"name": "invoice", "json": {"total": 19.99, "lines": [1, 2.5e-7]}, "data_subject": "c-1"},
    {"name": "scan", "base64": "AAEC/w==", "media_type": "image/png"},
]


def place(outcome: Any) -> tuple[str, int, bytes, str]:
    """What a poster was told of its entry, and is told for ever."""
    entry = recorded(outcome).entry
    return entry.id, entry.seq, entry.hash, entry.recorded_at


# ---- The same request -----------------------------------------------------------------


def test_a_post_with_payloads_is_replayed_whatever_its_salt(house, ledger):
    """Its poster does not know the salts: it never saw an answer."""
    [first] = house.post(ledger, asks("k", payloads=PAYLOADS, note="words"))
    [again] = house.post(ledger, asks("k", payloads=PAYLOADS[::-1], note="words"))

    assert (first.replayed, again.replayed) == (False, True)
    assert place(again) == place(first)
    assert again.payloads == first.payloads
    assert len({kept.salt for kept in first.payloads}) == len(first.payloads) == 4


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
contents = st.one_of(
    documents.map(lambda value: {"json": value}),
    st.text(st.characters(codec="utf-8"), max_size=200).map(lambda text: {"text": text}),
    st.binary(max_size=200).map(lambda octets: {"base64": b64encode(octets).decode()}),
)


@settings(deadline=None, max_examples=25)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), contents, min_size=1),
    st.sampled_from([None, "c-1"]),
)
def test_any_payloads_are_recognised_when_they_come_again(house, payloads, data_subject):
    """The octets that were committed to are those that come out of the same words again."""
    ledger = house.open_ledger()
    subject = {} if data_subject is None else {"data_subject": data_subject}
    sent = [{"name": name} | content | subject for name, content in payloads.items()]
    [first] = house.post(ledger, asks("k", payloads=sent))

    [again] = house.post(ledger, asks("k", payloads=orjson.loads(orjson.dumps(sent))))

    assert place(again) == place(first)
    assert again.payloads == first.payloads


def test_a_replay_is_the_same_for_ever(house, ledger):
    """However long history grows; only the receipt may cite a later checkpoint."""
    [first] = house.post(ledger, asks("k", note="words"))
    for batch in (1, 2, 300):
        house.record(ledger, *(asks(f"{batch}-{at}") for at in range(batch)))

        [again] = house.post(ledger, asks("k", note="words"))

        assert place(again) == place(first)
        assert again.payloads == first.payloads
        proven = house.verify_receipt(again.receipt, ledger)
        assert proven.entry == first.entry.encoded
        assert proven.place.checkpoint.size == house.reader.size(ledger)


def test_a_replay_is_the_same_through_any_process(house, ledger):
    """Nothing of it is remembered by who answered first."""
    [first] = house.post(ledger, asks("k", note="words"))

    [[again]] = house.open_appender().append(ledger, [asked(ledger, asks("k", note="words"))])

    assert again.replayed
    assert place(again) == place(first)


def test_one_key_names_one_request_in_each_ledger(house, ledger):
    """A key is a ledger's."""
    other = house.open_ledger()

    assert not recorded(house.post(ledger, asks("k"))[0]).replayed
    assert not recorded(house.post(other, asks("k", subject="order/2"))[0]).replayed


# ---- Another request ------------------------------------------------------------------

OTHERS = {
    "other-words": asks("k", subject="order/2", payloads=PAYLOADS),
    "other-kind": refund("k", "1.00", corrects_key="paid", payloads=PAYLOADS),
    "other-text": asks("k", payloads=[PAYLOADS[0] | {"text": "Two years.\n"}, *PAYLOADS[1:]]),
    "other-number": asks(
        "k",
        payloads=[PAYLOADS[0], PAYLOADS[1] | {"json": {"total": 20, "lines": []}}, PAYLOADS[2]],
    ),
    "other-media-type": asks("k", payloads=[*PAYLOADS[:2], {"name": "scan", "base64": "AAEC/w=="}]),
    "other-name": asks("k", payloads=[*PAYLOADS[:2], PAYLOADS[2] | {"name": "photo"}]),
    "one-payload-less": asks("k", payloads=PAYLOADS[:2]),
    "one-payload-more": asks("k", payloads=PAYLOADS, note="words"),
    "no-payloads": asks("k"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_request_under_the_key_conflicts(house, ledger, other):
    """Also after it was refused, and in the batch of the first."""
    first = asks("k", payloads=PAYLOADS)
    house.record(ledger, asks("paid", money=eur("9.00")))
    together = house.post(ledger, first, other)
    assert [type(outcome) for outcome in together] == [Recorded, IdempotencyConflictError]

    [alone] = house.post(ledger, other)
    [foretold] = house.dry_run.run(asked(ledger, other))

    assert type(alone) is type(foretold) is IdempotencyConflictError
    assert recorded(house.post(ledger, first)[0]).replayed


def test_another_principal_is_told_nothing_of_the_first(house, ledger):
    """Not even when it asks for the very same: whose it is would be told."""
    submission = asks("k", subject="order/secret", note="a secret")
    [entry] = house.record(ledger, submission)

    for asking in (submission, asks("k")):
        [refused] = house.post(ledger, asking, principal="somebody-else")

        assert isinstance(refused, IdempotencyConflictError)
        told = f"{refused.message} {refused.details}"
        assert refused.details == {"key": "k"}
        for secret in ("secret", entry.id, entry.hash.hex(), "till"):
            assert secret not in told


REFUSED = {
    "over-refund": (refund("k", "10.01", corrects_key="paid"), OverRefundError),
    "wrong-kind": (refund("k", "1.00", corrects_key="explained"), CorrectionError),
    "nothing-there": (refund("k", "1.00", corrects_key="nobody"), BadReferenceError),
    "wrong-flow": (
        asks("k", kind="refund", reason="x", corrects_key="paid", money=eur("1.00")),
        MalformedEffectError,
    ),
    "repeat": (asks("k", business_key="invoice/1"), PossibleRepeatError),
    "strange-signature": (
        replace(asks("k"), signature=PosterSignature(key_id="00000000", sig="A" * 86 + "==")),
        BadReferenceError,
    ),
}


@pytest.mark.parametrize(("asking", "error"), REFUSED.values(), ids=REFUSED)
def test_a_refused_request_reserves_nothing(house, ledger, asking, error):
    """No key, no number and no business key: the right request then stands under it."""
    house.record(
        ledger,
        asks("paid", money=eur("10.00"), business_key="invoice/1"),
        asks("explained", kind="explanation", reason="asked", corrects_key="paid"),
    )
    before = house.reader.size(ledger)

    [refused] = house.post(ledger, asking)
    assert type(refused) is error
    [entry] = house.record(ledger, asks("k", note="the right one"))

    assert entry.seq == before
    house.verify(ledger)


# ---- Any mix of requests --------------------------------------------------------------

requests = st.tuples(
    st.sampled_from(["k1", "k2", "k3"]),
    st.sampled_from(["order/1", "order/2"]),
    st.sampled_from([None, "words", "other words"]),
    st.booleans(),
)
"""Key, subject, note, and whether it names a target that is not there, so that it is refused."""


def request_of(key, subject, note, refused):
    if refused:
        return asks(
            key, kind="explanation", reason="x", subject=subject, corrects_key="nobody", note=note
        )
    return asks(key, subject=subject, note=note)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["till", "office"]), requests), max_size=5), max_size=4
    )
)
def test_any_mix_of_requests_keeps_the_first_of_each_key(house, batches):
    """Batch by batch and inside a batch: recorded, replayed, in conflict or refused."""
    ledger = house.open_ledger()
    stands: dict[str, tuple[str, Any]] = {}
    places: dict[str, Any] = {}
    for batch in batches:
        postings = [asked(ledger, request_of(*what), principal=who) for who, what in batch]
        outcomes = house.appender.append(ledger, postings)
        for (who, what), [outcome] in zip(batch, outcomes, strict=True):
            key, *_, refused = what
            if key not in stands and refused:
                assert isinstance(outcome, BadReferenceError)
            elif key not in stands:
                assert not recorded(outcome).replayed
                stands[key], places[key] = (who, what), place(outcome)
            elif stands[key] == (who, what):
                assert recorded(outcome).replayed
                assert place(outcome) == places[key]
            else:
                assert isinstance(outcome, IdempotencyConflictError)
    assert house.reader.size(ledger) == len(stands)
    house.verify(ledger)


# ---- Payloads that are gone -----------------------------------------------------------


def erase(house: House, ledger: str, seq: int) -> None:
    """What an erasure leaves: no octets, no salt, no data key."""
    with house.superuser() as database:
        database.execute(
            "delete from effect_ledger_keys.data_keys k using payloads p"
            " where k.ledger = p.ledger and k.data_subject = p.data_subject"
            " and p.ledger = %s and p.seq = %s",
            (ledger, seq),
        )
        erased = database.execute(
            "update payloads set sealed = null where ledger = %s and seq = %s", (ledger, seq)
        )
        assert erased.rowcount > 0


def lose(house: House, ledger: str, seq: int) -> None:
    """What no erasure leaves: the rows themselves are gone."""
    with house.superuser() as database, database.transaction():
        database.execute("alter table payloads disable trigger no_delete")
        gone = database.execute(
            "delete from payloads where ledger = %s and seq = %s", (ledger, seq)
        )
        assert gone.rowcount > 0
        database.execute("alter table payloads enable always trigger no_delete")


@pytest.mark.parametrize("go", [erase, lose])
def test_a_replay_whose_payload_is_gone_says_so(house, ledger, go):
    """It cannot be compared any more; the commitment stays, the salt does not."""
    [first] = house.post(ledger, asks("k", payloads=PAYLOADS))
    go(house, ledger, 0)

    for payloads in (PAYLOADS, [PAYLOADS[0] | {"text": "other words"}, *PAYLOADS[1:]]):
        [again] = house.post(ledger, asks("k", payloads=payloads))
        [foretold] = house.dry_run.run(asked(ledger, asks("k", payloads=payloads)))

        assert place(again) == place(first)
        assert [kept.salt for kept in again.payloads] == [None] * 3
        assert [kept.commitment for kept in again.payloads] == [
            kept.commitment for kept in first.payloads
        ]
        assert foretold.replays == first.entry
    [conflict] = house.post(ledger, asks("k", payloads=PAYLOADS[:2]))
    assert isinstance(conflict, IdempotencyConflictError)


def test_one_erased_payload_leaves_the_others_compared(house, ledger):
    """Each stands for itself."""
    sent = [
        {"name": "a", "text": "hers", "data_subject": "c-1"},
        {"name": "b", "text": "his", "data_subject": "c-2"},
    ]
    house.record(ledger, asks("k", payloads=sent))
    with house.superuser() as database:
        database.execute(
            "update payloads set sealed = null where ledger = %s and name = 'a'", (ledger,)
        )

    [again] = house.post(ledger, asks("k", payloads=[sent[0] | {"text": "?"}, sent[1]]))
    [other] = house.post(ledger, asks("k", payloads=[sent[0], sent[1] | {"text": "?"}]))

    assert [kept.salt is None for kept in recorded(again).payloads] == [True, False]
    assert isinstance(other, IdempotencyConflictError)


def test_a_damaged_payload_is_no_conflict_and_nobody_elses_trouble(house, ledger):
    """Its poster did nothing wrong, and neither did those whose requests came with it."""
    house.record(ledger, asks("k", payloads=PAYLOADS), asks("other", note="words"))
    with house.superuser() as database, database.transaction():
        database.execute("alter table payloads disable trigger erasure_only")
        database.execute(
            "update payloads set sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)"
            " where ledger = %s and seq = 0 and name = 'scan'",
            (ledger,),
        )
        database.execute("alter table payloads enable always trigger erasure_only")

    postings = [
        asked(ledger, asks("k", payloads=PAYLOADS)),
        asked(ledger, asks("other", note="words")),
        asked(ledger, asks("new", note="words")),
    ]
    [[damaged], [replayed], [new]] = house.appender.append(ledger, postings)

    assert isinstance(damaged, CommitmentError)
    assert (recorded(replayed).replayed, recorded(new).replayed) == (True, False)
    [foretold] = house.dry_run.run(postings[0])
    assert isinstance(foretold, CommitmentError)


# ---- Batches that come again ----------------------------------------------------------


@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_that_grew_replays_what_stands(house, ledger, atomic):
    """Old items are replayed, new ones recorded, and corrections find both by key."""
    old = [asks("e1", money=eur("10.00")), asks("e2", note="words")]
    house.record(ledger, *old)
    new = [
        refund("r1", "4.00", corrects_key="e1"),
        asks("e3", money=eur("3.00")),
        refund("r3", "3.00", corrects_key="e3"),
    ]

    outcomes = house.post(ledger, *old, *new, atomic=atomic)

    assert [recorded(outcome).replayed for outcome in outcomes] == [True, True, False, False, False]
    assert [recorded(outcome).entry.seq for outcome in outcomes] == [0, 1, 2, 3, 4]
    again = house.post(ledger, *old, *new, atomic=atomic)
    assert [place(outcome) for outcome in again] == [place(outcome) for outcome in outcomes]
    house.verify(ledger)


def test_an_atomic_batch_reserves_nothing_where_one_item_is_refused(house, ledger):
    """Keys, business keys and remainders are as if it had never been sent."""
    [effect] = house.record(ledger, asks("e", money=eur("10.00")))
    items = [
        refund("r1", "6.00", corrects=effect.id),
        asks("b", business_key="invoice/1"),
        refund("r2", "6.00", corrects=effect.id),
    ]

    outcomes = house.post(ledger, *items, atomic=True)

    assert [type(each) for each in outcomes] == [AbandonedError, AbandonedError, OverRefundError]
    house.record(
        ledger,
        asks("r1", subject="another request"),
        asks("c", business_key="invoice/1"),
        refund("r2", "10.00", corrects=effect.id),
    )
    house.verify(ledger)


def test_what_was_abandoned_is_told_by_its_key(house, ledger):
    """An id that was never given out leads nowhere; its caller knows the item by its key."""
    effect = asks("e", money=eur("5.00"), business_key="invoice/1")
    for asking, error in (
        (refund("r", "5.01", corrects_key="e"), OverRefundError),
        (asks("again", business_key="invoice/1"), PossibleRepeatError),
    ):
        for answers in (
            house.post(ledger, effect, asking, atomic=True),
            house.dry_run.run(asked(ledger, effect, asking)),
        ):
            refused = answers[1]
            assert type(refused) is error
            assert refused.details["key"] == "e"
            assert not any(
                refused.details.get(name) is not None for name in ("id", "seq", "target")
            )
            assert "item e" in refused.message
    assert house.reader.size(ledger) == 0


def test_a_dry_run_names_no_id_that_is_not_there_yet(house, ledger):
    """The target of a correction of an item before it is recorded with it."""
    [effect] = house.record(ledger, asks("e", money=eur("5.00")))
    posting = asked(
        ledger,
        asks("f", money=eur("5.00")),
        refund("r1", "1.00", corrects_key="f"),
        refund("r2", "1.00", corrects_key="e"),
    )

    foretold = house.dry_run.run(posting)

    assert all(isinstance(each, Provisional) for each in foretold)
    assert [each.target for each in foretold] == [None, None, effect.id]


# ---- Signatures -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def enrolled(house) -> tuple[Ed25519PrivateKey, str]:
    """The key of principal `till`."""
    key = Ed25519PrivateKey.generate()
    return key, house.registry.enrol_poster_key("till", key.public_key().public_bytes_raw())


def signed(submission: Submission, key: Ed25519PrivateKey, key_id: str) -> Submission:
    signature = key.sign(effect_signing_bytes(submission.effect))
    return replace(
        submission, signature=PosterSignature(key_id=key_id, sig=b64encode(signature).decode())
    )


def test_a_good_signature_is_recorded_and_can_be_checked_without_us(house, ledger, enrolled):
    """The bytes of the entry and the poster's public key are enough."""
    key, key_id = enrolled

    [entry] = house.record(ledger, signed(asks("k"), key, key_id))

    read = parse_entry(house.reader.entry_bytes(ledger, entry.id))
    assert isinstance(read, Entry)
    assert read.signature is not None
    assert read.signature.key_id == key_id
    verify_poster_signature(read.effect, read.signature, key.public_key().public_bytes_raw())
    house.verify(ledger)


def test_a_retired_key_signs_no_more_and_what_it_signed_stays(house, ledger):
    """Also a replay does; and the ledger verifies, for the notice says when the key ended."""
    private = Ed25519PrivateKey.generate()
    key_id = house.registry.enrol_poster_key("till", private.public_key().public_bytes_raw())
    [first] = house.post(ledger, signed(asks("before"), private, key_id))

    house.registry.retire_poster_key(key_id)

    [refused] = house.post(ledger, signed(asks("after"), private, key_id))
    assert isinstance(refused, BadReferenceError)
    [again] = house.post(ledger, signed(asks("before"), private, key_id))
    assert (recorded(again).replayed, recorded(again).entry) == (True, recorded(first).entry)
    house.verify(ledger)


def test_a_retired_key_that_signed_later_is_found(house, ledger, monkeypatch):
    """Whoever takes the row of the retirement away leaves the notice."""
    monkeypatch.setattr(posters, "RETIREMENT_GRACE", timedelta(0))
    private = Ed25519PrivateKey.generate()
    key_id = house.registry.enrol_poster_key("till", private.public_key().public_bytes_raw())
    house.registry.retire_poster_key(key_id)
    with house.superuser() as connection:
        connection.execute("alter table retired_poster_keys disable trigger all")
        connection.execute("delete from retired_poster_keys")
        connection.execute("alter table retired_poster_keys enable always trigger append_only")
        connection.execute("alter table retired_poster_keys enable always trigger no_truncate")
    house.post(ledger, signed(asks("after"), private, key_id))

    report = verify_ledger(house.engine, ledger)

    assert [(each.check, each.seq) for each in report.findings] == [("poster.retired", 0)]


def test_a_signature_is_no_part_of_the_request(house, ledger, enrolled):
    """It says who asked, not what for: with another one, or none, the same request replays."""
    [first] = house.post(ledger, signed(asks("k"), *enrolled))

    for again in (asks("k"), signed(asks("k"), Ed25519PrivateKey.generate(), "00000000")):
        [outcome] = house.post(ledger, again)
        assert place(outcome) == place(first)
        assert recorded(outcome).entry.signature == first.entry.signature


def test_a_bad_signature_is_refused_alone(house, ledger, enrolled):
    """Wrong key, wrong words, another principal's key or one nobody enrolled: told where."""
    key, key_id = enrolled
    stranger = Ed25519PrivateKey.generate()
    hers = house.registry.enrol_poster_key("office", stranger.public_key().public_bytes_raw())
    bad = {
        "/signature/sig": [
            signed(asks("wrong-key"), stranger, key_id),
            replace(asks("wrong-words"), signature=signed(asks("other"), key, key_id).signature),
        ],
        "/signature/key_id": [
            signed(asks("of-another"), stranger, hers),
            signed(asks("not-enrolled"), key, "00000000"),
        ],
    }
    submissions = [each for pointer in bad.values() for each in pointer]

    *refused, good = house.post(ledger, *submissions, signed(asks("good"), key, key_id))

    assert recorded(good).entry.seq == 0
    pointers = [pointer for pointer, each in bad.items() for _ in each]
    for outcome, pointer in zip(refused, pointers, strict=True):
        assert isinstance(outcome, BadReferenceError), outcome
        assert outcome.details["pointer"] == pointer
    assert recorded(
        house.post(ledger, signed(asks("of-another"), stranger, hers), principal="office")[0]
    )


# ---- Long lineages --------------------------------------------------------------------


@pytest.mark.parametrize("money", [{}, {"money": eur("0.01")}])
def test_a_lineage_ends_after_64_corrections_and_is_explained_for_ever(house, ledger, money):
    """In one batch or one by one: each write reads no more than that of it."""

    def adjusts(at: int) -> Submission:
        corrected = {"corrects_key": f"k-{at - 1}", "reason": "amount.wrong"}
        return asks(f"k-{at}", kind="adjustment", **corrected, **money)

    house.record(ledger, asks("k-0", money=eur("1.00")))
    outcomes = house.post(ledger, *[adjusts(at) for at in range(1, DEPTH_MAX + 2)])
    [beyond] = house.post(ledger, adjusts(DEPTH_MAX + 1))

    *taken, last = outcomes
    assert [recorded(each).entry.seq for each in taken] == list(range(1, DEPTH_MAX + 1))
    for refused in (last, beyond):
        assert isinstance(refused, CorrectionError)
        assert refused.details["limit"] == DEPTH_MAX
    explains = {"kind": "explanation", "reason": "asked"}
    house.record(ledger, asks("why", corrects_key=f"k-{DEPTH_MAX}", **explains))
    house.record(ledger, asks("really", corrects_key="why", **explains))
    house.verify(ledger)


@pytest.mark.parametrize(("lineage", "expected"), [([], ["k-3"]), (["k-3"], ["k-0", "k-1", "k-3"])])
def test_only_the_lineage_that_is_asked_for_is_read(house, ledger, lineage, expected):
    """An explanation of a correction costs one entry, wherever that stands."""
    house.record(ledger, asks("k-0", money=eur("1.00")), asks("k-2"))
    corrected = {"kind": "adjustment", "reason": "amount.wrong"}
    house.record(ledger, asks("k-1", corrects_key="k-0", **corrected))
    house.record(ledger, asks("k-3", corrects_key="k-1", **corrected))

    record = house.storage.ledger(ledger)
    found = house.storage.peek(record, Wanted(entry_keys=["k-3"], lineage_keys=lineage))

    keys = [orjson.loads(encoded)["effect"]["key"] for encoded, _ in found.lineage]
    assert sorted(keys) == expected

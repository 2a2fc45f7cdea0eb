"""Laws of admission: a replay is told from a conflict, and what is refused leaves no trace."""

from __future__ import annotations

import itertools
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.admission import (
    Admission,
    Place,
    Replay,
    conflict,
    is_same_request,
    told_by_key,
    wanted,
)
from ledger.effect import Rules, build_effect
from ledger.entry import Admitted, Entry, Head, PosterSignature, chain, effect_signing_bytes
from ledger.errors import (
    AbandonedError,
    BadReferenceError,
    CorrectionError,
    IdempotencyConflictError,
    OverRefundError,
    PossibleRepeatError,
    RejectedError,
)
from ledger.forms.payload import build_payloads
from ledger.forms.timestamps import format_time
from ledger.lifecycle import Position
from ledger.ports import Found
from ledger.submission import Posting, Submission
from ledger.vault import salted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIZE = 40


def asks(
    key: str, *, note: str | None = None, payloads: Any = (), sign: Any = None, **members: Any
) -> Submission:
    """A submission; `sign` is a private key and the id it is said to have."""
    words = {"kind": "effect", "type": "card.capture", "key": key, "occurred_at": NOW.isoformat()}
    if members.get("kind", "effect") != "effect":
        words["reason"] = "customer.request"
    effect = build_effect(words | members, rules=Rules(), now=NOW)
    signature = None
    if sign is not None:
        private, key_id = sign
        octets = private.sign(effect_signing_bytes(effect))
        signature = PosterSignature(key_id=key_id, sig=b64encode(octets).decode())
    return Submission(
        effect=effect, payloads=build_payloads(payloads, note=note), signature=signature
    )


def eur(amount: str, flow: str = "in") -> dict[str, str]:
    return {"amount": amount, "currency": "EUR", "flow": flow}


def refund(key: str, amount: str, **members: Any) -> Submission:
    return asks(key, kind="refund", money=eur(amount, "out"), **members)


def posting(*submissions: Submission, atomic: bool = False, principal: str = "till") -> Posting:
    return Posting(ledger="shop", principal=principal, submissions=submissions, atomic=atomic)


def stands(submission: Submission, principal: str = "till") -> Entry:
    """The entry that a submission became some time ago."""
    admitted = Admitted(
        effect=submission.effect,
        id="019a0000-0000-7000-8000-000000000001",
        poster=principal,
        payloads=tuple(item.commitment for item in salted(submission.payloads)),
        signature=submission.signature,
    )
    head = Head.genesis(ledger="shop", origin="example.com/shop")
    [entry], _ = chain(head, [admitted], recorded_at="2026-03-01T12:00:00.000000Z")
    return entry


def admission(found: Found | None = None, size: int | None = SIZE) -> Admission:
    numbers = itertools.count()
    return Admission(
        found or Found(), new_id=lambda: f"id-{next(numbers)}", now=format_time(NOW), size=size
    )


def kinds(verdicts: Any) -> list[type]:
    return [type(verdict) for verdict in verdicts]


# ---- What is asked of history ---------------------------------------------------------


def test_everything_the_rules_need_is_asked_for_at_once():
    """So that one round trip under the lock is enough."""
    corrected, repeated = (f"019a0000-0000-7000-8000-00000000000{digit}" for digit in (1, 2))
    asked = wanted(
        [
            posting(
                asks("a", business_key="invoice/1", repeat_of=repeated),
                refund("b", "1.00", corrects=corrected),
            ),
            posting(
                refund("c", "1.00", corrects_key="a"),
                asks(
                    "d",
                    note="words",
                    payloads=[{"name": "p", "text": "x", "data_subject": "c-1"}],
                    sign=(KEY, "00000001"),
                ),
            ),
        ]
    )

    assert asked.keys == ["a", "b", "c", "d"]
    assert asked.entry_ids == [repeated, corrected]
    assert asked.entry_keys == ["a"]
    assert asked.business_keys == ["invoice/1"]
    assert asked.data_subjects == ["c-1"]
    assert asked.signing_keys == ["00000001"]


# ---- The same request -----------------------------------------------------------------

FIRST = asks("k", subject="order/1", note="words", payloads=[{"name": "scan", "base64": "AA=="}])
PAYLOADS = {"payloads": [{"name": "scan", "base64": "AA=="}]}
DIFFERENT = {
    "effect": asks("k", subject="order/2", note="words", **PAYLOADS),
    "effect-that-begins-alike": asks("k", note="words", **PAYLOADS),
    "payload-less": asks("k", subject="order/1", note="words"),
    "payload-more": asks(
        "k",
        subject="order/1",
        note="words",
        payloads=[*PAYLOADS["payloads"], {"name": "x", "text": ""}],
    ),
    "payload-name": asks(
        "k", subject="order/1", note="words", payloads=[{"name": "photo", "base64": "AA=="}]
    ),
    "payload-media-type": asks(
        "k",
        subject="order/1",
        note="words",
        payloads=[{"name": "scan", "base64": "AA==", "media_type": "image/png"}],
    ),
}


@pytest.mark.parametrize("other", DIFFERENT.values(), ids=DIFFERENT)
def test_another_request_is_told_from_the_one_that_stands(other):
    encoded = stands(FIRST).encoded

    assert is_same_request(FIRST, "till", encoded)
    assert not is_same_request(FIRST, "office", encoded)
    assert not is_same_request(other, "till", encoded)


def test_payload_contents_are_for_whoever_has_the_salts():
    """Here only names and media types are held against the entry."""
    other = asks(
        "k",
        subject="order/1",
        note="other words",
        payloads=[{"name": "scan", "base64": "AAAA", "data_subject": "c-1"}],
    )

    assert is_same_request(other, "till", stands(FIRST).encoded)


def test_a_signature_is_no_part_of_a_request():
    signed = asks("k", sign=(KEY, "00000001"))

    assert is_same_request(asks("k"), "till", stands(signed).encoded)
    assert is_same_request(signed, "till", stands(asks("k")).encoded)


def test_a_key_that_stands_is_replayed_or_in_conflict():
    """Before anything else is asked: the request may be in conflict with all that came since."""
    entry = stands(asks("k", business_key="invoice/1"))
    taken = Found(
        replays={"k": entry.encoded},
        business_keys={("effect", "card.capture", "invoice/1"): (entry.id, 0)},
    )
    unsigned = asks("k", business_key="invoice/1", sign=(KEY, "ffffffff"))

    judged = admission(taken)
    [same, strange] = judged.judge(posting(unsigned, asks("k", business_key="invoice/2")))
    [others] = judged.judge(posting(asks("k", business_key="invoice/1"), principal="office"))

    assert same == Replay(encoded=entry.encoded)
    assert kinds([strange, others]) == [IdempotencyConflictError] * 2
    assert strange.details == others.details == {"key": "k"}
    assert judged.admitted == []


def test_a_conflict_says_the_key_and_nothing_else():
    error = conflict(asks("k", subject="secret").effect)

    assert error.details == {"key": "k"}
    assert error.message == "key k already names another request"


def test_a_key_twice_in_one_batch_is_one_place():
    """In one request or in several, of the same principal, contents of payloads included."""
    judged = admission()
    verdicts = judged.judge(
        posting(asks("k", note="words"), asks("k", note="words"), asks("k", note="other words"))
    )
    verdicts += judged.judge(posting(asks("k", note="words")))
    verdicts += judged.judge(posting(asks("k", note="words"), principal="office"))

    assert verdicts[:2] == [Place(index=0, replayed=False), Place(index=0, replayed=True)]
    assert verdicts[3] == Place(index=0, replayed=True)
    assert kinds([verdicts[2], verdicts[4]]) == [IdempotencyConflictError] * 2
    assert len(judged.admitted) == 1


# ---- Refusals -------------------------------------------------------------------------


def test_a_refused_submission_reserves_neither_key_nor_place():
    judged = admission()

    refused, stands_now, after = judged.judge(
        posting(
            refund("k", "1.00", corrects_key="nobody"),
            asks("k"),
            asks("l", kind="explanation", corrects_key="k"),
        )
    )

    assert isinstance(refused, BadReferenceError)
    assert (stands_now, after) == (
        Place(index=0, replayed=False),
        Place(index=1, replayed=False),
    )
    assert judged.targets == [None, judged.admitted[0].id]


def test_each_admitted_has_its_target_and_its_payloads_beside_it():
    judged = admission()
    judged.judge(
        posting(
            asks("e", money=eur("10.00"), note="words"),
            refund("bad", "10.01", corrects_key="e", note="lost"),
            refund("r", "4.00", corrects_key="e"),
            asks("w", kind="explanation", corrects_key="r", note="why"),
        )
    )

    effect, refunded, words = judged.admitted
    assert [item.effect.key for item in judged.admitted] == ["e", "r", "w"]
    assert judged.targets == [None, effect.id, refunded.id]
    contents = [[each.payload.content for each in payloads] for payloads in judged.payloads]
    assert contents == [[b"words"], [], [b"why"]]
    for item, payloads in zip(judged.admitted, judged.payloads, strict=True):
        assert item.payloads == tuple(each.commitment for each in payloads)
    assert [(each.entry, each.refunded) for each in judged.changed_positions] == [(effect.id, 400)]
    assert words.poster == "till"


def test_history_is_what_was_found_and_what_was_admitted_since():
    """A recorded effect, its refund in another currency, and a position that knows more."""
    effect = stands(asks("e", money={"amount": "10.00", "currency": "USD", "flow": "in"}))
    position = Position(
        entry=effect.id,
        currency="USD",
        original=1000,
        adjusted=0,
        refunded=0,
        held=250,
        excess=0,
    )
    judged = admission(Found(lineage=[(effect.encoded, None)], positions=[position]))
    money = {"amount": "5.00", "currency": "EUR", "flow": "out", "applied": "7.50"}

    first, second = judged.judge(
        posting(
            asks("r", kind="refund", money=money, corrects=effect.id),
            asks("s", kind="refund", money=money | {"applied": "0.01"}, corrects_key="e"),
        )
    )

    assert first == Place(index=0, replayed=False)
    assert isinstance(second, OverRefundError)
    assert judged.targets == [effect.id]
    assert [(each.refunded, each.held) for each in judged.changed_positions] == [(750, 250)]


# ---- Groups ---------------------------------------------------------------------------


def test_an_atomic_posting_is_admitted_whole():
    judged = admission()

    verdicts = judged.judge(
        posting(asks("e", money=eur("5.00")), refund("r", "5.00", corrects_key="e"), atomic=True)
    )

    assert verdicts == [Place(index=0, replayed=False), Place(index=1, replayed=False)]
    assert len(judged.changed_positions) == 1


def test_an_atomic_posting_that_fails_leaves_no_trace():
    """Keys, business keys, places, payloads and sums are as before; what was before stays."""
    judged = admission()
    judged.judge(posting(asks("e", money=eur("5.00")), refund("r0", "1.00", corrects_key="e")))
    before = (
        list(judged.admitted),
        list(judged.targets),
        list(judged.payloads),
        list(judged.changed_positions),
    )

    verdicts = judged.judge(
        posting(
            asks("k", business_key="invoice/1", note="words"),
            refund("r1", "4.00", corrects_key="e"),
            refund("r2", "0.01", corrects_key="e"),
            atomic=True,
        )
    )

    assert kinds(verdicts) == [AbandonedError, AbandonedError, OverRefundError]
    assert before == (
        judged.admitted,
        judged.targets,
        judged.payloads,
        judged.changed_positions,
    )
    again = judged.judge(
        posting(
            asks("k", subject="another request"),
            asks("l", business_key="invoice/1"),
            refund("r1", "4.00", corrects_key="e"),
        )
    )
    assert again == [Place(index=at, replayed=False) for at in (2, 3, 4)]


def test_an_atomic_posting_may_repeat_what_stands_before_it():
    """A replay is no refusal; a place taken earlier in the batch is shared."""
    entry = stands(asks("k"))
    judged = admission(Found(replays={"k": entry.encoded}))
    judged.judge(posting(asks("l")))

    verdicts = judged.judge(posting(asks("k"), asks("l"), asks("m"), atomic=True))

    assert verdicts == [
        Replay(encoded=entry.encoded),
        Place(index=0, replayed=True),
        Place(index=1, replayed=False),
    ]


# ---- Numbers and names that are told --------------------------------------------------


def test_a_repeat_is_told_the_number_that_the_first_will_have():
    """They may be of different callers, who know nothing of each other."""
    judged = admission()
    judged.judge(posting(asks("a"), asks("b", business_key="invoice/1")))

    [refused] = judged.judge(posting(asks("c", business_key="invoice/1"), principal="office"))

    assert isinstance(refused, PossibleRepeatError)
    assert refused.details == {"id": judged.admitted[1].id, "seq": SIZE + 1}


def test_numbers_of_an_abandoned_posting_are_given_anew():
    """The ledger has no gaps, and nobody is told a number that another entry has."""
    judged = admission()
    lost = posting(
        asks("a"),
        asks("b", business_key="invoice/1"),
        refund("c", "1.00", corrects_key="nobody"),
        atomic=True,
    )
    assert AbandonedError in kinds(judged.judge(lost))
    judged.judge(posting(asks("d", business_key="invoice/1")))

    [refused] = judged.judge(posting(asks("e", business_key="invoice/1")))

    assert refused.details == {"id": judged.admitted[0].id, "seq": SIZE}


REFUSED_FOR_AN_ITEM = {
    "repeat": (asks("k", business_key="invoice/1"), PossibleRepeatError, {"id", "seq"}),
    "over-refund": (refund("k", "5.01", corrects_key="first"), OverRefundError, {"target"}),
    "kind": (refund("k", "1.00", corrects_key="words"), CorrectionError, {"target"}),
}


@pytest.mark.parametrize(
    ("submission", "error", "named"), REFUSED_FOR_AN_ITEM.values(), ids=REFUSED_FOR_AN_ITEM
)
def test_an_id_that_was_never_given_out_is_never_told(submission, error, named):
    """Where the item itself falls with the posting, its caller is told its key."""
    first = asks("first", money=eur("5.00"), business_key="invoice/1")
    words = asks("words", kind="explanation", corrects_key="first")
    alone, together = admission(), admission()

    *_, kept = alone.judge(posting(first, words, submission))
    *_, lost = together.judge(posting(first, words, submission, atomic=True))

    assert kinds([kept, lost]) == [error, error]
    item = alone.admitted[1 if submission.effect.corrects_key == "words" else 0]
    assert item.id in kept.message
    assert item.id in {kept.details[name] for name in named}
    assert {lost.details[name] for name in named} == {None}
    assert lost.details["key"] == item.effect.key
    assert f"item {item.effect.key}" in lost.message
    assert "id-" not in lost.message
    rest = kept.details.keys() - named
    assert {name: lost.details[name] for name in rest} == {
        name: kept.details[name] for name in rest
    }


def test_an_error_about_what_is_recorded_is_told_as_it_is():
    """Its id leads somewhere."""
    entry = stands(asks("e", money=eur("5.00")))
    judged = admission(Found(lineage=[(entry.encoded, None)]))

    [abandoned, refused] = judged.judge(
        posting(asks("k"), refund("r", "5.01", corrects=entry.id), atomic=True)
    )

    assert isinstance(abandoned, AbandonedError)
    assert (refused.details["target"], "key" in refused.details) == (entry.id, False)
    assert told_by_key(refused, judged.admitted) is refused


# ---- Signatures -----------------------------------------------------------------------

ENROLLED = Found(signing_keys={"00000001": ("till", KEY.public_key().public_bytes_raw())})
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
SIGNED = {
    "good": ("till", (KEY, "00000001"), None),
    "wrong-key": ("till", (STRANGER, "00000001"), "/signature/sig"),
    "of-another-principal": ("office", (KEY, "00000001"), "/signature/key_id"),
    "not-enrolled": ("till", (KEY, "00000002"), "/signature/key_id"),
}


@pytest.mark.parametrize(("principal", "sign", "pointer"), SIGNED.values(), ids=SIGNED)
def test_a_signature_is_the_posters_own_and_good(principal, sign, pointer):
    submission = asks("k", sign=sign)
    judged = admission(ENROLLED)

    [verdict] = judged.judge(posting(submission, principal=principal))

    if pointer is None:
        assert judged.admitted[0].signature == submission.signature
    else:
        assert isinstance(verdict, BadReferenceError)
        assert verdict.details["pointer"] == pointer
        assert judged.admitted == []


def test_a_signature_is_looked_at_before_history_is():
    """What nobody can be held to is not even compared with what stands."""
    [verdict] = admission(ENROLLED).judge(
        posting(refund("k", "1.00", corrects_key="nobody", sign=(STRANGER, "00000001")))
    )

    assert verdict.details["pointer"] == "/signature/sig"


# ---- Any batch ------------------------------------------------------------------------

submissions = st.one_of(
    st.builds(
        asks,
        st.sampled_from(["a", "b", "c"]),
        note=st.sampled_from([None, "words"]),
        business_key=st.sampled_from(["invoice/1", "invoice/2"]),
        money=st.just(eur("2.00")),
    ),
    st.builds(
        refund,
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["1.00", "2.00"]),
        corrects_key=st.sampled_from(["a", "b"]),
    ),
)


@given(
    st.lists(st.tuples(st.lists(submissions, min_size=1, max_size=4), st.booleans()), max_size=6)
)
def test_every_submission_of_any_batch_has_one_verdict_and_every_place_one_submission(batch):
    """Atomic ones all stand or all fall, and one by one the same would have been admitted."""
    judged, alone = admission(), admission()
    for items, atomic in batch:
        verdicts = judged.judge(posting(*items, atomic=atomic))

        assert len(verdicts) == len(items)
        refused = [isinstance(verdict, RejectedError) for verdict in verdicts]
        assert not atomic or all(refused) or not any(refused)
        for item, verdict in zip(items, verdicts, strict=True):
            if isinstance(verdict, Place):
                assert judged.admitted[verdict.index].effect is item.effect or verdict.replayed
        if not (atomic and all(refused)):
            singles = [alone.judge(posting(item))[0] for item in items]
            assert kinds(singles) == kinds(verdicts)
    keys = [item.effect.key for item in judged.admitted]
    assert len(set(keys)) == len(keys)
    assert len({item.id for item in judged.admitted}) == len(keys)
    assert len(judged.targets) == len(judged.payloads) == len(keys)
    assert keys == [item.effect.key for item in alone.admitted]
    figures = [
        [(each.original, each.adjusted, each.refunded, each.excess) for each in positions]
        for positions in (judged.changed_positions, alone.changed_positions)
    ]
    assert figures[0] == figures[1]

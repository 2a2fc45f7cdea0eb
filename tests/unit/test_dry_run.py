"""Laws of the dry run: it says what the write would answer, and only reads to say it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.clock import SystemClock
from ledger.dry_run import DryRun
from ledger.effect import Rules, build_effect
from ledger.entry import Admitted, Entry, Head, chain
from ledger.errors import (
    AbandonedError,
    BadReferenceError,
    CommitmentError,
    DatabaseUnavailableError,
    IdempotencyConflictError,
    LedgerError,
    MalformedProofError,
    NotFoundError,
    OverRefundError,
    RolledBackError,
)
from ledger.forms.payload import build_payloads
from ledger.ports import Found, LedgerRecord, SealedPayload, Wanted
from ledger.submission import Posting, Provisional, Submission
from ledger.vault import Vault, salted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORD = LedgerRecord(
    name="shop",
    origin="example.com/shop",
    vkey="",
    signer="",
    units={},
    time_zone="UTC",
    public=False,
    screen=frozenset(),
)
VAULT = Vault(bytes(32))


def asks(key: str, *, note: str | None = None, **members: Any) -> Submission:
    words = {"kind": "effect", "type": "card.capture", "key": key, "occurred_at": NOW.isoformat()}
    if members.get("kind", "effect") != "effect":
        words["reason"] = "customer.request"
    effect = build_effect(words | members, rules=Rules(), now=NOW)
    return Submission(effect=effect, payloads=build_payloads([], note=note))


def refund(key: str, amount: str, **members: Any) -> Submission:
    money = {"amount": amount, "currency": "EUR", "flow": "out"}
    return asks(key, kind="refund", money=money, **members)


def posting(*submissions: Submission, atomic: bool = False, principal: str = "till") -> Posting:
    return Posting(ledger="shop", principal=principal, submissions=submissions, atomic=atomic)


class Shelf:
    """One entry that stands, with its payload, to be read and nothing else."""

    def __init__(self, submission: Submission) -> None:
        payloads = salted(submission.payloads)
        admitted = Admitted(
            effect=submission.effect,
            id="019a0000-0000-7000-8000-000000000001",
            poster="till",
            payloads=tuple(each.commitment for each in payloads),
        )
        head = Head.genesis(ledger=RECORD.name, origin=RECORD.origin)
        [self.entry], _ = chain(head, [admitted], recorded_at="2026-03-01T12:00:00.000000Z")
        rows, self.keys = VAULT.seal(RECORD, self.entry.id, 0, payloads, {})
        self.rows: list[SealedPayload] = list(rows)
        self.readers = 0
        self.asked: list[Wanted] = []
        self.fails: LedgerError | None = None
        self.stored = self.entry.encoded

    def ledger(self, name: str) -> LedgerRecord:
        if name != RECORD.name:
            raise NotFoundError(f"there is no ledger {name}")
        return RECORD

    def peek(self, record: LedgerRecord, wanted: Wanted) -> Found:
        assert record is RECORD
        self.asked.append(wanted)
        self._read()
        found = Found(lineage=[(self.stored, None)])
        if self.entry.effect.key in wanted.keys:
            return replace(found, replays={self.entry.effect.key: self.stored})
        return found

    def sealed_payloads(self, ledger: str, seqs: list[int]) -> list[SealedPayload]:
        assert (ledger, seqs) == (RECORD.name, [0])
        self._read()
        return self.rows

    def data_keys(self, ledger: str, subjects: list[str]) -> dict[str, bytes]:
        assert ledger == RECORD.name
        return {subject: key for subject, key in self.keys.items() if subject in subjects}

    def _read(self) -> None:
        """One connection, which two readers at a time would tear apart."""
        if self.fails is not None:
            raise self.fails
        self.readers += 1
        assert self.readers == 1
        threading.Event().wait(0.001)
        self.readers -= 1


MONEY = {"amount": "10.00", "currency": "EUR", "flow": "in"}
STANDING = asks("stands", note="words", money=MONEY)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(STANDING)


@pytest.fixture
def dry_run(shelf) -> DryRun:
    return DryRun(shelf, VAULT, SystemClock())


def test_a_stopped_ledger_is_told_as_a_write_would_be(shelf):
    """What is foretold is what would become of it."""

    class Stopped:
        def check(self, ledger: str) -> None:
            raise RolledBackError(f"{ledger} is stopped")

    dry_run = DryRun(shelf, VAULT, SystemClock(), Stopped())

    with pytest.raises(RolledBackError):
        dry_run.run(posting(asks("new")))


# ---- What would be recorded -----------------------------------------------------------


def test_what_would_be_recorded_has_no_place(dry_run):
    """The effect as it would be hashed, and nothing that only a write can give."""
    new = asks("new")

    [foretold] = dry_run.run(posting(new))

    assert foretold == Provisional(effect=new.effect, target=None, replays=None)


def test_the_target_is_resolved_where_it_stands(dry_run, shelf):
    """By id or by key; an item of the same request has no id yet."""
    for named in ({"corrects": shelf.entry.id}, {"corrects_key": "stands"}):
        [foretold] = dry_run.run(posting(refund("r", "10.00", **named)))
        assert foretold.target == shelf.entry.id

    _, within = dry_run.run(posting(asks("e", money=MONEY), refund("r", "1.00", corrects_key="e")))
    assert within.target is None


def test_everything_is_asked_for_in_one_look(dry_run, shelf):
    """The whole request is judged over one moment of history."""
    dry_run.run(posting(asks("a"), refund("b", "1.00", corrects_key="stands")))

    [wanted] = shelf.asked
    assert (wanted.keys, wanted.entry_keys) == (["a", "b"], ["stands"])


# ---- What would be refused ------------------------------------------------------------


def test_what_would_be_refused_is_refused_alike(dry_run):
    """Items of one request see each other, as they would in the write."""
    foretold = dry_run.run(
        posting(
            refund("r1", "6.00", corrects_key="stands"),
            refund("r2", "6.00", corrects_key="stands"),
            refund("r3", "1.00", corrects_key="nobody"),
            asks("r1"),
        )
    )

    assert [type(each) for each in foretold] == [
        Provisional,
        OverRefundError,
        BadReferenceError,
        IdempotencyConflictError,
    ]


def test_an_atomic_request_would_fall_whole(dry_run):
    foretold = dry_run.run(
        posting(asks("a"), refund("b", "1.00", corrects_key="nobody"), atomic=True)
    )

    assert [type(each) for each in foretold] == [AbandonedError, BadReferenceError]


def test_an_id_that_was_drawn_to_judge_is_not_told(dry_run):
    """It leads nowhere: the write will draw another one."""
    _, refused = dry_run.run(
        posting(asks("e", money=MONEY), refund("r", "10.01", corrects_key="e"))
    )

    assert (refused.details["target"], refused.details["key"]) == (None, "e")
    assert "the remainder of item e is 10.00 EUR" in refused.message


# ---- What would be replayed -----------------------------------------------------------


def test_a_replay_names_the_entry_that_stands(dry_run, shelf):
    [foretold] = dry_run.run(posting(STANDING))

    assert foretold == Provisional(effect=STANDING.effect, target=None, replays=shelf.entry)


@pytest.mark.parametrize(
    "other",
    [
        posting(asks("stands", note="words")),
        posting(replace(STANDING, payloads=())),
        posting(replace(STANDING, payloads=build_payloads([], note="other words"))),
        posting(STANDING, principal="office"),
    ],
    ids=["effect", "payloads", "content", "principal"],
)
def test_another_request_under_the_key_would_conflict(dry_run, other):
    """By the content of its payloads too, as the write finds it."""
    [foretold] = dry_run.run(other)

    assert isinstance(foretold, IdempotencyConflictError)
    assert foretold.details == {"key": "stands"}


def erased(shelf: Shelf) -> None:
    shelf.rows = [replace(row, sealed=None) for row in shelf.rows]


def without_key(shelf: Shelf) -> None:
    shelf.keys = {}


def lost(shelf: Shelf) -> None:
    shelf.rows = []


@pytest.mark.parametrize("harm", [erased, without_key, lost])
def test_a_payload_that_is_gone_is_not_compared(dry_run, shelf, harm):
    harm(shelf)

    [foretold] = dry_run.run(
        posting(replace(STANDING, payloads=build_payloads([], note="other words")))
    )

    assert foretold.replays == shelf.entry


def test_what_is_damaged_is_told_for_its_item_only(dry_run, shelf):
    """Its poster did nothing wrong, and the others have nothing to do with it."""
    [row] = shelf.rows
    shelf.rows = [replace(row, sealed=bytes(len(row.sealed)))]

    damaged, new = dry_run.run(posting(STANDING, asks("new")))

    assert isinstance(damaged, CommitmentError)
    assert isinstance(new, Provisional)


def test_an_entry_that_is_damaged_is_told_for_its_item_only(dry_run, shelf):
    encoded = shelf.entry.encoded
    shelf.stored = encoded.replace(b'"seq":0', b'"seq":"0"')

    damaged, new = dry_run.run(posting(STANDING, asks("new")))

    assert isinstance(damaged, MalformedProofError)
    assert isinstance(new, Provisional)


# ---- How it reads ---------------------------------------------------------------------


def test_an_unknown_ledger_is_not_found(dry_run):
    with pytest.raises(NotFoundError):
        dry_run.run(replace(posting(asks("a")), ledger="nowhere"))


def test_a_look_that_fails_does_not_keep_others_from_looking(dry_run, shelf):
    shelf.fails = DatabaseUnavailableError("the database does not answer")
    with pytest.raises(DatabaseUnavailableError):
        dry_run.run(posting(asks("a")))
    shelf.fails = None

    assert isinstance(dry_run.run(posting(asks("a")))[0], Provisional)


def test_any_number_of_callers_share_one_connection(dry_run):
    """They take turns; each gets the answer to its own question."""
    asked = [posting(STANDING if at % 2 else asks(f"k-{at}")) for at in range(32)]

    with ThreadPoolExecutor(8) as pool:
        foretold = [each for [each] in pool.map(dry_run.run, asked)]

    assert [each.effect.key for each in foretold] == [
        each.submissions[0].effect.key for each in asked
    ]
    assert [isinstance(each.replays, Entry) for each in foretold] == [
        bool(at % 2) for at in range(32)
    ]

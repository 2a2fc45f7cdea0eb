"""
Laws of the appender that no entrance can be made to show: what befalls one request of a batch, and
what happens between the commit and the answer.

Over the real database: a twin in memory would have to imitate just what is in question here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ledger.append import Appender
from ledger.clock import SystemClock
from ledger.errors import (
    AbandonedError,
    DatabaseUnavailableError,
    IdempotencyConflictError,
    LedgerBrokenError,
)
from ledger.signing.signer import FileSigner
from ledger.storage.postgres import PostgresStorage
from ledger.submission import Recorded
from tests.faults.house import House, asked, asks, open_house, recorded


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def ledger(house) -> str:
    return house.open_ledger()


@contextmanager
def gone(house: House, ledger: str) -> Iterator[None]:
    """The signer has lost its record of the ledger, until the block ends."""
    [record] = house.signer._directory.glob(f"{ledger}.*.record")
    kept = record.rename(record.with_suffix(".kept"))
    try:
        yield
    finally:
        kept.rename(record)


class Interrupted(FileSigner):
    """A signer to which something happens after the commit, before it signs."""

    meanwhile: Callable[[], object] = lambda: None

    def sign(self, *tree: Any) -> Any:
        self.meanwhile()
        return super().sign(*tree)


@pytest.fixture
def signer(house) -> Iterator[Interrupted]:
    signer = Interrupted(house.signer._directory, house.signer._private_key)
    yield signer
    signer.close()


class Silent(PostgresStorage):
    """A database that reads no tiles any more."""

    def tile_hashes(self, *_: Any) -> Any:
        raise DatabaseUnavailableError("the database does not answer")


def appender_of(house: House, storage: PostgresStorage, signer: FileSigner) -> Appender:
    return Appender(storage, signer, house.vault, SystemClock())


# ---- Between the commit and the answer ------------------------------------------------


def test_a_record_that_is_lost_after_the_commit_leaves_the_receipt_unsigned(house, ledger, signer):
    """What is on disk is told as that; the next base that is shown stops the ledger."""
    appender = appender_of(house, house.storage, signer)
    lost = gone(house, ledger)
    signer.meanwhile = lost.__enter__

    [[outcome]] = appender.append(ledger, [asked(ledger, asks("k"))])

    assert recorded(outcome).receipt.level == "unsigned"
    with pytest.raises(LedgerBrokenError):
        house.record(ledger, asks("next"))
    lost.__exit__(None, None, None)
    house.record(ledger, asks("next"))
    house.verify(ledger)


def test_a_larger_tree_that_another_signed_first_proves_the_batch(house, ledger, signer):
    appender = appender_of(house, house.storage, signer)
    other = house.open_appender()
    signer.meanwhile = lambda: other.append(ledger, [asked(ledger, asks("other"))])

    [outcomes] = appender.append(ledger, [asked(ledger, asks("a"), asks("b"))])

    for outcome in outcomes:
        verified = house.verify_receipt(recorded(outcome).receipt, ledger)
        assert verified.place.checkpoint.size == 3
    house.verify(ledger)


def test_a_larger_tree_that_cannot_be_read_leaves_the_receipts_unsigned(house, ledger, signer):
    """They are on disk, and nobody may be told that they are not."""
    storage = Silent(house.conninfo)
    other = house.open_appender()
    signer.meanwhile = lambda: other.append(ledger, [asked(ledger, asks("other"))])

    [[outcome]] = appender_of(house, storage, signer).append(ledger, [asked(ledger, asks("k"))])

    storage.close()
    assert recorded(outcome).receipt.level == "unsigned"
    assert house.reader.receipt(ledger, 0).level == "log-signed"


# ---- One of a batch -------------------------------------------------------------------


def test_replays_are_answered_whatever_befalls_what_came_with_them(house, ledger):
    """They need neither lock nor signer."""
    house.record(ledger, asks("k"))
    replay, fresh = asked(ledger, asks("k")), asked(ledger, asks("new"))

    with gone(house, ledger):
        [[again], [refused]] = house.appender.append(ledger, [replay, fresh])

    assert recorded(again).replayed
    assert isinstance(refused, LedgerBrokenError)
    assert house.reader.size(ledger) == 1


def test_a_replay_that_cannot_be_signed_is_told_unsigned(house, ledger, signer):
    lost = gone(house, ledger)
    signer.meanwhile = lost.__enter__
    appender_of(house, house.storage, signer).append(ledger, [asked(ledger, asks("k"))])

    [[again]] = house.appender.append(ledger, [asked(ledger, asks("k"))])
    lost.__exit__(None, None, None)
    [[later]] = house.appender.append(ledger, [asked(ledger, asks("k"))])

    assert (recorded(again).replayed, recorded(again).receipt.level) == (True, "unsigned")
    assert house.verify_receipt(recorded(later).receipt, ledger).seq == 0


def test_an_atomic_request_with_another_payload_under_a_known_key_records_nothing(house, ledger):
    """The conflict shows only when the payload is opened; the rest must not be there by then."""
    house.record(ledger, asks("known", note="words"))

    outcomes = house.post(ledger, asks("known", note="other words"), asks("new"), atomic=True)

    assert [type(outcome) for outcome in outcomes] == [IdempotencyConflictError, AbandonedError]
    assert house.reader.size(ledger) == 1
    outcomes = house.post(ledger, asks("known", note="words"), asks("new"), atomic=True)
    assert [recorded(outcome).replayed for outcome in outcomes] == [True, False]
    house.verify(ledger)


def test_an_independent_request_records_what_stands_beside_a_conflict(house, ledger):
    house.record(ledger, asks("known", note="words"))

    conflict, new = house.post(ledger, asks("known", note="other words"), asks("new"))

    assert isinstance(conflict, IdempotencyConflictError)
    assert isinstance(new, Recorded)

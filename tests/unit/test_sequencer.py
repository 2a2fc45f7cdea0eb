"""Laws of the queue: what waits is committed together, in order, fairly, and always answered."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import sequencer as module
from ledger.effect import Effect, Kind
from ledger.errors import (
    ForbiddenError,
    LedgerBrokenError,
    OutcomeUnknownError,
    OverloadedError,
    PushbackError,
)
from ledger.forms.names import REGISTRY
from ledger.sequencer import Sequencer
from ledger.submission import Posting, Submission
from ledger.waiting import BATCH_ITEMS_MAX, SLICE_ITEMS_MAX

PATIENCE_S = 30.0
NUMBERS = itertools.count()


def posting(
    ledger: str = "shop", items: int = 1, size: int = 10, *, atomic: bool = False
) -> Posting:
    effect = Effect(
        kind=Kind.EFFECT,
        type="t",
        key=f"k-{next(NUMBERS)}",
        occurred_at="2026-01-01T00:00:00.000000Z",
        encoded=bytes(size),
    )
    return Posting(
        ledger=ledger,
        principal="till",
        submissions=(Submission(effect=effect),) * items,
        atomic=atomic,
    )


class Scribe:
    """Commits when it is let, and remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Posting]]] = []
        self.errors: dict[int, Exception] = {}
        """Number of a batch -> what it fails with."""
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.began = threading.Semaphore(0)
        self.threads: set[str] = set()

    def append(self, ledger: str, postings: Sequence[Posting]) -> list[list[Any]]:
        number = len(self.batches)
        self.batches.append((ledger, list(postings)))
        self.threads.add(threading.current_thread().name)
        self.began.release()
        assert self.may_commit.wait(PATIENCE_S)
        if number in self.errors:
            raise self.errors[number]
        return [[each.submissions[0].effect.key] * len(each.submissions) for each in postings]

    @property
    def sizes(self) -> list[tuple[str, int]]:
        return [
            (ledger, sum(len(each.submissions) for each in postings))
            for ledger, postings in self.batches
        ]


@pytest.fixture
def scribe() -> Scribe:
    return Scribe()


@pytest.fixture
def sequencer(scribe) -> Iterator[Sequencer]:
    opened = Sequencer([scribe])
    opened.start()
    yield opened
    scribe.may_commit.set()
    opened.stop()


def busy(sequencer: Sequencer, scribe: Scribe) -> Any:
    """Let it commit a posting and stay at it, so that what comes now waits; the answer to come."""
    scribe.may_commit.clear()
    answer = sequencer.submit(posting("first"))
    assert scribe.began.acquire(timeout=PATIENCE_S)
    return answer


# ---- Batches --------------------------------------------------------------------------


def test_a_lone_posting_waits_for_nobody(sequencer, scribe):
    asked = posting(items=3)

    outcomes = sequencer.submit(asked).result(PATIENCE_S)

    assert outcomes == [asked.submissions[0].effect.key] * 3
    assert scribe.batches == [("shop", [asked])]


def test_what_waits_is_committed_together_and_in_order(sequencer, scribe):
    first = busy(sequencer, scribe)
    waiting = [posting() for _ in range(20)]
    answers = [sequencer.submit(each) for each in waiting]
    scribe.may_commit.set()

    told = [answer.result(PATIENCE_S) for answer in [first, *answers]]

    assert scribe.batches[1:] == [("shop", waiting)]
    assert told[1:] == [[each.submissions[0].effect.key] for each in waiting]


def test_all_is_written_by_one_thread(sequencer, scribe):
    for answer in [sequencer.submit(posting(f"l-{at}")) for at in range(5)]:
        answer.result(PATIENCE_S)

    assert scribe.threads == {"sequencer"}


def test_an_atomic_posting_larger_than_a_slice_goes_whole_and_alone(sequencer, scribe):
    busy(sequencer, scribe)
    large = posting(items=1_000, atomic=True)
    answers = [sequencer.submit(each) for each in (posting(), large, posting(), posting())]
    scribe.may_commit.set()
    for answer in answers:
        answer.result(PATIENCE_S)

    assert scribe.sizes[1:] == [("shop", 1_000), ("shop", 3)]


def test_a_large_posting_goes_in_slices_with_what_waits(sequencer, scribe):
    """It is answered once, and whole."""
    busy(sequencer, scribe)
    large = posting(items=2 * SLICE_ITEMS_MAX + 1)
    answers = [sequencer.submit(each) for each in (large, posting(), posting())]
    scribe.may_commit.set()

    told = [answer.result(PATIENCE_S) for answer in answers]

    assert [len(each) for each in told] == [2 * SLICE_ITEMS_MAX + 1, 1, 1]
    assert scribe.sizes[1:] == [
        ("shop", SLICE_ITEMS_MAX + 2),
        ("shop", SLICE_ITEMS_MAX),
        ("shop", 1),
    ]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([1, 1, 7, 100, SLICE_ITEMS_MAX])),
        max_size=30,
    )
)
def test_ledgers_take_turns_and_keep_their_order(arrivals):
    """A busy ledger starves no other, no batch is too large, and none could have been larger."""
    scribe = Scribe()
    sequencer = Sequencer([scribe])
    sequencer.start()
    busy(sequencer, scribe)
    asked = [posting(ledger, items) for ledger, items in arrivals]
    answers = [sequencer.submit(each) for each in asked]
    scribe.may_commit.set()
    for answer in answers:
        answer.result(PATIENCE_S)
    sequencer.stop()

    batches = scribe.batches[1:]
    for ledger in "abc":
        committed = [each for name, postings in batches if name == ledger for each in postings]
        assert committed == [each for each in asked if each.ledger == ledger]
    left = Counter(ledger for ledger, _ in arrivals)
    for at, (ledger, postings) in enumerate(batches):
        size = sum(len(each.submissions) for each in postings)
        assert size <= BATCH_ITEMS_MAX
        left[ledger] -= len(postings)
        others = {name for name, count in left.items() if count and name != ledger}
        upcoming = [name for name, _ in batches[at + 1 :]]
        if left[ledger]:
            again = upcoming.index(ledger)
            assert others <= set(upcoming[:again])
            next_of_it = batches[at + 1 + again][1][0]
            assert size + len(next_of_it.submissions) > BATCH_ITEMS_MAX


# ---- Several writers ------------------------------------------------------------------


class Held(Scribe):
    """Commits to the ledger `held` when it is let, and to all others at once."""

    def append(self, ledger: str, postings: Sequence[Posting]) -> list[list[Any]]:
        if ledger != "held":
            return [[each] for each in range(len(postings))]
        return super().append(ledger, postings)


def test_a_ledger_waits_for_no_other():
    """While one commits, others are committed to; what waits for it waits for its writer."""
    held = Held()
    held.may_commit.clear()
    sequencer = Sequencer([held, held])
    sequencer.start()
    first = sequencer.submit(posting("held"))
    assert held.began.acquire(timeout=PATIENCE_S)
    waiting = [sequencer.submit(posting("held")) for _ in range(3)]

    for _ in range(20):
        assert sequencer.submit(posting("free")).result(PATIENCE_S)

    assert held.sizes == [("held", 1)]
    held.may_commit.set()
    for answer in [first, *waiting]:
        answer.result(PATIENCE_S)
    assert held.sizes == [("held", 1), ("held", 3)]
    sequencer.stop()


class Crowd:
    """Several writers that must never meet at a ledger."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy: set[str] = set()
        self.committed: dict[str, list[str]] = {}

    def append(self, ledger: str, postings: Sequence[Posting]) -> list[list[Any]]:
        with self.lock:
            assert ledger not in self.busy
            self.busy.add(ledger)
        time.sleep(0.000_2)
        keys = [each.submissions[0].effect.key for each in postings]
        self.committed.setdefault(ledger, []).extend(keys)
        with self.lock:
            self.busy.remove(ledger)
        return [[key] for key in keys]


@settings(max_examples=20)
@given(st.lists(st.sampled_from("aaabc"), max_size=120), st.integers(2, 4))
def test_writers_never_meet_at_a_ledger_and_lose_nothing(ledgers, writers):
    """Each posting is committed once, in the order of its ledger, also when it stops meanwhile."""
    crowd = Crowd()
    sequencer = Sequencer([crowd] * writers)
    sequencer.start()
    asked = [posting(ledger) for ledger in ledgers]
    answers = [sequencer.submit(each) for each in asked]
    sequencer.stop()

    for each, answer in zip(asked, answers, strict=True):
        assert answer.result(PATIENCE_S) == [each.submissions[0].effect.key]
    for ledger in set(ledgers):
        keys = [each.submissions[0].effect.key for each in asked if each.ledger == ledger]
        assert crowd.committed[ledger] == keys


# ---- Too much -------------------------------------------------------------------------


def test_too_many_submissions_are_turned_away(sequencer, scribe, monkeypatch):
    """What is being committed counts too; what is turned away leaves no trace."""
    monkeypatch.setattr(module, "WAITING_ITEMS_MAX", 5)
    busy(sequencer, scribe)
    answer = sequencer.submit(posting(items=4))

    with pytest.raises(OverloadedError, match="5 submissions wait already, 1 more") as refused:
        sequencer.submit(posting())

    assert refused.value.details == {"unit": "submissions", "waiting": 5, "waiting_max": 5}
    assert sequencer.waiting == 5
    scribe.may_commit.set()
    answer.result(PATIENCE_S)
    assert sequencer.submit(posting(items=5)).result(PATIENCE_S)


def test_too_many_bytes_are_turned_away(sequencer, scribe, monkeypatch):
    """Few large requests fill memory as well as many small ones."""
    monkeypatch.setattr(module, "WAITING_BYTES_MAX", 100)
    busy(sequencer, scribe)
    answer = sequencer.submit(posting(size=90))

    with pytest.raises(OverloadedError, match="100 bytes wait already, 1 more") as refused:
        sequencer.submit(posting(size=1))

    assert refused.value.details == {"unit": "bytes", "waiting": 100, "waiting_max": 100}
    scribe.may_commit.set()
    answer.result(PATIENCE_S)
    assert sequencer.submit(posting(size=100)).result(PATIENCE_S)


@pytest.mark.parametrize("error", [None, PushbackError("busy"), ZeroDivisionError()])
def test_whoever_has_its_answer_finds_room_for_the_next(sequencer, scribe, monkeypatch, error):
    """Whatever the answer was."""
    monkeypatch.setattr(module, "WAITING_ITEMS_MAX", 1)
    scribe.errors = {number: error for number in range(50) if error}

    for _ in range(50):
        sequencer.submit(posting()).exception(PATIENCE_S)

    assert len(scribe.batches) == 50


# ---- What goes wrong ------------------------------------------------------------------


def test_an_error_of_the_ledger_is_told_to_all_of_its_batch(sequencer, scribe):
    """And to nobody else."""
    error = LedgerBrokenError("no more writes")
    scribe.errors = {1: error}
    first = busy(sequencer, scribe)
    answers = [sequencer.submit(posting()) for _ in range(3)]
    other = sequencer.submit(posting("other"))
    scribe.may_commit.set()

    assert first.result(PATIENCE_S)
    assert other.result(PATIENCE_S)
    assert [answer.exception(PATIENCE_S) for answer in answers] == [error] * 3


class Forgetful(Scribe):
    """Does not say what became of the last posting."""

    def append(self, ledger: str, postings: Sequence[Posting]) -> list[list[Any]]:
        return super().append(ledger, postings)[:-1]


BUGS = {"raises": (Scribe(), ZeroDivisionError), "says-too-little": (Forgetful(), AssertionError)}


@pytest.mark.parametrize(("scribe", "bug"), BUGS.values(), ids=BUGS)
def test_a_bug_is_never_told_as_nothing_written(sequencer, scribe, bug, caplog):
    """Whether the commit was sent is not known; the log has the cause, and work goes on."""
    scribe.errors = {0: bug()} if bug is ZeroDivisionError else {}

    for _ in range(2):
        error = sequencer.submit(posting()).exception(PATIENCE_S)
        if error is not None:
            assert isinstance(error, OutcomeUnknownError)
            assert "the same key tells" in error.message
            assert isinstance(error.__cause__, bug)

    assert [record.exc_info[0] for record in caplog.records] == [bug] * len(caplog.records)
    assert len(caplog.records) == (1 if bug is ZeroDivisionError else 2)
    assert len(scribe.batches) == 2


def test_a_caller_that_hangs_up_cannot_take_its_posting_back(sequencer, scribe):
    """Others were promised the same commit."""
    busy(sequencer, scribe)
    answer = sequencer.submit(posting())

    assert not answer.cancel()

    scribe.may_commit.set()
    assert answer.result(PATIENCE_S)


# ---- Whoever counts -------------------------------------------------------------------


def test_each_batch_is_told_before_its_callers(sequencer):
    """A caller that has its answer finds the counters and feeds up to date."""
    told = []
    sequencer.on_batch = lambda *batch: told.append(batch)

    outcomes = sequencer.submit(posting("shop", items=2)).result(PATIENCE_S)

    [(ledger, batch, seconds)] = told
    assert (ledger, batch) == ("shop", [outcomes])
    assert seconds >= 0


def test_whoever_counts_cannot_stop_the_writing(sequencer, caplog):
    """Its errors are its own: the batch is on disk, and its callers are told so."""

    def fail(*_: object) -> None:
        raise RuntimeError("the loop is closed")

    sequencer.on_batch = fail
    for _ in range(2):
        assert sequencer.submit(posting()).result(PATIENCE_S)

    assert [record.exc_info[0] for record in caplog.records] == [RuntimeError] * 2


# ---- The end --------------------------------------------------------------------------


def test_the_registry_takes_nothing_from_callers(sequencer, scribe):
    """Whichever entrance let them in."""
    with pytest.raises(ForbiddenError, match="written by the service"):
        sequencer.submit(posting(REGISTRY))
    assert not scribe.batches


def test_stopping_commits_what_waits_and_takes_no_more(sequencer, scribe):
    """Whoever was let in is answered, all parts of it."""
    busy(sequencer, scribe)
    answers = [sequencer.submit(posting(ledger)) for ledger in ("a", "b", "a")]
    answers.append(sequencer.submit(posting("c", items=3 * SLICE_ITEMS_MAX)))
    stopping = threading.Thread(target=sequencer.stop)
    stopping.start()
    while not sequencer._stopping:
        time.sleep(0.001)

    with pytest.raises(OverloadedError, match="stopping"):
        sequencer.submit(posting())
    assert stopping.is_alive()
    scribe.may_commit.set()
    stopping.join(PATIENCE_S)

    assert all(answer.done() for answer in answers)
    assert Counter(ledger for ledger, _ in scribe.sizes) == {
        "first": 1,
        "a": 1,
        "b": 1,
        "c": 3,
    }
    assert sequencer.waiting == 0

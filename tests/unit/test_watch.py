"""Laws of the watch: what was seen is never forgotten, and nothing is remembered unproved."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.copies.log_copy import LogUnreachableError
from ledger.cosignature import ed25519_cosigner
from ledger.errors import ConsistencyError, LedgerError, SettingsError, VerificationError
from ledger.merkle import EMPTY_ROOT
from ledger.note import parse_note
from ledger.policy import parse_policy
from ledger.watch import alarms, memory, watcher
from ledger.watch.alarms import Alarms
from ledger.watch.evidence import verify_evidence
from ledger.watch.memory import CHECKPOINTS_KEPT, MemoryFile, Sighting, held_memory
from ledger.watch.watcher import Look, Trusted, Watcher
from tests.effort import examples
from tests.unit.plain_log import Log

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
LOG = Log(2_000)
OTHER = Log(2_000, word="other")
ELSEWHERE = Log(600, origin="ledger.example/elsewhere-shop")
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _descriptor: None)
        yield


@dataclass
class Shown:
    """What a log shows to its watcher, which may be changed between two looks."""

    log: Log
    where: str = "https://log.example/log"
    hidden: frozenset[str] = frozenset()
    change: Callable[[str, bytes], bytes] = lambda _path, data: data
    away: bool = False

    def read(self, path: str) -> bytes | None:
        if self.away:
            raise LogUnreachableError("nobody answers")
        if path in self.hidden:
            return None
        with suppress(VerificationError):
            return self.change(path, self.log.fetch(path.partition("?")[0]))
        return None


@dataclass
class Party:
    """Whoever watches."""

    shown: Shown
    file: MemoryFile
    trusted: Trusted = field(default_factory=lambda: Trusted(logs=(LOG.key.verifier,), policy=None))
    stale_after: timedelta | None = None

    def look(self, log: Log | None = None, *, at: datetime = NOW, **changes: Any) -> Look:
        self.shown = replace(self.shown, log=log or self.shown.log, **changes)
        looking = Watcher(self.shown, self.file, self.trusted, stale_after=self.stale_after)
        return looking.look(at)

    @property
    def sizes(self) -> list[int]:
        known = self.file.load()
        return [] if known is None else [each.checkpoint.size for each in known.seen]


@pytest.fixture
def party(tmp_path: Path) -> Party:
    return Party(shown=Shown(LOG.at(0)), file=MemoryFile(tmp_path / "memory"))


# ---- Growing --------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(0, 2_000), min_size=1, max_size=8).map(sorted))
@example(sizes=[0, 1, 255, 256, 257, 512, 1_024, 2_000])
@settings(deadline=None, max_examples=examples(80))
def test_a_log_that_grows_is_proved_from_every_size_that_was_seen(sizes, tmp_path_factory):
    party = Party(
        shown=Shown(LOG.at(0)), file=MemoryFile(tmp_path_factory.mktemp("grows") / "memory")
    )
    seen: list[int] = []
    for size in sizes:
        found = party.look(LOG.at(size))
        assert (found.kind, found.proved_from) == (None, tuple(seen)), found.message
        seen = sorted({*seen, size})
    assert party.sizes == seen


def test_partial_tiles_that_were_dropped_are_read_from_the_full_ones(party):
    """As tlog-tiles lets a log do once they are full."""
    party.look(LOG.at(300))
    found = party.look(LOG.at(600), hidden=frozenset({"tile/0/001.p/44"}))

    assert (found.kind, found.proved_from) == (None, (300,))


def test_what_is_kept_thins_out_and_never_loses_first_and_newest(party):
    for size in range(1, 150):
        memory_now = party.file.load()
        if memory_now is None:
            party.look(LOG.at(size))
            continue
        memory_now.remember(Sighting(note=LOG.at(size).fetch("checkpoint").decode(), seen_at="x"))
        party.file.save(memory_now)

    sizes = party.sizes
    assert (len(sizes), sizes[0], sizes[-1]) == (CHECKPOINTS_KEPT, 1, 149)
    gaps = [after - before for before, after in itertools.pairwise(sizes)]
    assert gaps[-1] <= 2 < gaps[1]


# ---- Alarms ---------------------------------------------------------------------------


def flipped(path_part: str) -> Callable[[str, bytes], bytes]:
    def change(path: str, data: bytes) -> bytes:
        return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:] if path_part in path else data

    return change


ALARMS: dict[str, tuple[dict[str, Any], str]] = {
    "less is shown than was seen": ({"log": LOG.at(299)}, "rollback"),
    "nothing is shown": ({"log": LOG.at(0)}, "rollback"),
    "another history of the same size": ({"log": OTHER.at(300)}, "fork"),
    "another history that has grown": ({"log": OTHER.at(700)}, "fork"),
    "another history, grown to a power of two": ({"log": OTHER.at(512)}, "fork"),
    "another log": ({"log": ELSEWHERE.at(400)}, "signature"),
    "a signature that is not good": ({"change": flipped("checkpoint")}, "signature"),
    "a page that is no checkpoint": ({"change": lambda _p, _d: b"<html>"}, "signature"),
    "a tile that was edited": ({"log": LOG.at(600), "change": flipped("tile/0/")}, "unproven"),
    "a tile that is too short": (
        {"log": LOG.at(600), "change": lambda path, data: data[:-1] if "tile" in path else data},
        "unproven",
    ),
    "a tile that is not there": (
        {"log": LOG.at(600), "hidden": frozenset({"tile/0/001", "tile/0/001.p/44"})},
        "unproven",
    ),
    "no checkpoint": ({"hidden": frozenset({"checkpoint"})}, "unreachable"),
    "no answer": ({"away": True}, "unreachable"),
}


@pytest.mark.parametrize("what", ALARMS)
def test_what_is_wrong_is_named_and_never_remembered(party, what):
    """A log that shows the history it signed again is good again, but for what stays proved."""
    changes, kind = ALARMS[what]
    party.look(LOG.at(300))
    before = party.file.path.read_bytes()

    found = party.look(**changes)

    assert (found.kind, found.code) == (kind, watcher.EXIT_CODES[kind]), found.message
    assert party.file.path.read_bytes() == before
    back = party.look(LOG.at(700), hidden=frozenset(), away=False, change=lambda _path, data: data)
    assert (back.kind, back.proved_from) == (None, (300,))


def test_one_key_for_two_logs_does_not_let_one_stand_for_the_other(party):
    """Whoever trusts both is told which of them it should be."""
    party.trusted = Trusted(logs=(LOG.key.verifier, ELSEWHERE.key.verifier), policy=None)
    party.look(LOG.at(300))

    found = party.look(ELSEWHERE.at(300))

    assert (found.kind, found.code) == ("swapped", 1)
    assert ELSEWHERE.origin in found.message


def test_a_memory_is_of_one_log(party):
    party.look(LOG.at(300))

    with pytest.raises(SettingsError, match="another --memory"):
        party.look(LOG.at(300), where="https://log.example/other")


# ---- Evidence -------------------------------------------------------------------------


@given(
    old=st.integers(1, 1_200),
    more=st.integers(0, 800),
    shared=st.integers(0, 1_199),
)
@example(old=256, more=0, shared=0)
@example(old=512, more=512, shared=511)
@settings(deadline=None, max_examples=examples(80))
def test_evidence_of_a_fork_convinces_whoever_has_the_key(old, more, shared, tmp_path_factory):
    """Whatever the sizes, and wherever the histories part."""
    party = Party(
        shown=Shown(LOG.at(0)), file=MemoryFile(tmp_path_factory.mktemp("fork") / "memory")
    )
    parted = forked(at=min(shared, old - 1))
    party.look(LOG.at(old))

    found = party.look(parted.at(old + more))

    assert found.kind == "fork", found.message
    document = json.loads(Path(str(found.evidence)).read_bytes())
    proved = verify_evidence(document, [LOG.key.verifier])
    assert (proved.old.size, proved.new.size) == (old, old + more)
    with pytest.raises(VerificationError):
        verify_evidence(document, [ELSEWHERE.key.verifier])


def forked(at: int) -> Log:
    """The log, with other words from entry `at` on, and as long."""
    words = [*LOG.entries[:at], *OTHER.entries[at:]]
    return Log.of(words)


def test_one_history_is_no_evidence_of_a_fork(party):
    """Nobody is accused by two checkpoints of which one continues the other."""
    party.look(LOG.at(300))
    found = party.look(OTHER.at(700))
    document = json.loads(Path(str(found.evidence)).read_bytes())
    honest = LOG.at(700).fetch("checkpoint").decode()

    for change in (
        {"new": honest},
        {"new": document["old"], "proof": []},
        {"old": LOG.at(0).fetch("checkpoint").decode(), "proof": []},
        {"proof": document["proof"][:-1]},
        {"old_root": document["proof"][0]},
    ):
        with pytest.raises(ConsistencyError):
            verify_evidence(document | change, [LOG.key.verifier])


# ---- Stale ----------------------------------------------------------------------------


def test_a_log_without_a_new_signature_is_stale(party):
    party.stale_after = HOUR
    party.look(LOG.at(300))

    assert party.look(at=NOW + HOUR).kind is None
    assert party.look(at=NOW + HOUR + timedelta(seconds=1)).kind == "stale"
    assert party.look(LOG.at(301), at=NOW + 2 * HOUR).kind is None


WITNESS = ed25519_cosigner("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
POLICY = f"log {LOG.key.verifier.encode()}\nwitness w1 {WITNESS.verifier.encode()}\nquorum w1\n"


def cosigned(at: datetime, size: int | None = None) -> Callable[[str, bytes], bytes]:
    """Have the checkpoint, or another one where it is asked for as cosigned, cosigned at a time."""

    def change(path: str, data: bytes) -> bytes:
        if not path.startswith("checkpoint"):
            return data
        if size is not None:
            if path == "checkpoint":
                return data
            data = LOG.at(size).fetch("checkpoint")
        note = parse_note(data)
        line = WITNESS.sign(note.text, time=int(at.timestamp()))
        return replace(note, signatures=(*note.signatures, line)).encode()

    return change


@pytest.fixture
def witnessed(party) -> Party:
    party.trusted = Trusted(logs=(LOG.key.verifier,), policy=parse_policy(POLICY.encode()))
    party.stale_after = HOUR
    return party


def test_a_log_that_no_quorum_has_seen_is_an_alarm(witnessed):
    assert witnessed.look(LOG.at(300)).kind == "quorum"
    found = witnessed.look(change=cosigned(NOW))
    assert (found.kind, found.cosigned_size) == (None, 300)


def test_witnesses_who_stopped_looking_make_a_log_stale_however_it_grows(witnessed):
    """A log cannot hide from them by growing."""
    witnessed.look(LOG.at(300), change=cosigned(NOW))

    found = witnessed.look(LOG.at(900), at=NOW + 2 * HOUR, change=cosigned(NOW, size=300))

    assert (found.kind, found.cosigned_size) == ("stale", 300)


def test_what_witnesses_saw_must_be_what_is_shown(witnessed):
    """Another history that is not witnessed cannot borrow the one that is."""
    witnessed.look(LOG.at(100), change=cosigned(NOW))

    assert witnessed.look(forked(at=200).at(900), change=cosigned(NOW, size=300)).kind == "fork"
    assert witnessed.look(LOG.at(200), change=cosigned(NOW, size=300)).kind == "quorum"


def test_a_witness_from_the_future_makes_nothing_fresh(witnessed):
    witnessed.look(LOG.at(300), change=cosigned(NOW))

    found = witnessed.look(at=NOW + 2 * HOUR, change=cosigned(NOW + 9 * HOUR))

    assert found.kind == "stale"


# ---- Memory ---------------------------------------------------------------------------


def test_a_memory_that_is_not_whole_is_never_taken_for_none(party):
    """Cut or edited anywhere it is refused: to begin anew would be to forget."""
    party.look(LOG.at(300))
    whole = party.file.path.read_bytes()

    for at in range(0, len(whole), 7):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            party.file.path.write_bytes(damaged)
            with pytest.raises(SettingsError, match="cannot be the memory"):
                party.file.load()


@pytest.mark.parametrize("fails", ["fsync", "replace", "sync_directory"])
def test_a_save_that_fails_anywhere_leaves_one_memory_or_the_other(party, monkeypatch, fails):
    party.look(LOG.at(300))

    def fail(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        where = {"fsync": os, "replace": Path, "sync_directory": memory}[fails]
        patched.setattr(where, fails, fail)
        with pytest.raises(LedgerError, match="No space left"):
            party.look(LOG.at(600))

    assert party.sizes in ([300], [300, 600])
    assert party.look(LOG.at(601)).kind is None


def test_two_watches_do_not_share_a_memory(tmp_path):
    with held_memory(tmp_path / "memory"), pytest.raises(SettingsError, match="another watch"):  # noqa: SIM117
        with held_memory(tmp_path / "memory"):
            pass


# ---- Telling --------------------------------------------------------------------------


@dataclass
class Receiver:
    """Whoever is told; may be away."""

    taken: list[dict[str, Any]] = field(default_factory=list)
    away: bool = False

    def deliver(self, alert: dict[str, Any]) -> str | None:
        if self.away:
            return "HTTP 503"
        self.taken.append(json.loads(json.dumps(alert)))
        return None


def settled(party: Party, receiver: Receiver, **changes: Any) -> Look:
    return Alarms(party.file, party.shown.where, receiver).settle(party.look(**changes))


def test_an_alarm_is_told_once_and_so_is_its_end(party):
    receiver = Receiver()
    settled(party, receiver, log=LOG.at(300))
    for log in (LOG.at(200), LOG.at(200), LOG.at(300), LOG.at(300)):
        settled(party, receiver, log=log)

    assert [(each["kind"], each["state"]) for each in receiver.taken] == [
        ("rollback", "raised"),
        ("rollback", "over"),
    ]


def test_what_was_not_taken_is_sent_with_the_next_look(party):
    """Also by another process: it is in the memory."""
    receiver = Receiver(away=True)
    settled(party, receiver, log=LOG.at(300))
    settled(party, receiver, log=LOG.at(200))
    settled(party, receiver, log=LOG.at(300))
    receiver.away = False
    settled(party, receiver, log=LOG.at(300))

    assert [each["state"] for each in receiver.taken] == ["raised", "over"]
    assert len({each["id"] for each in receiver.taken}) == 2


def test_a_fork_stands_until_somebody_says_that_they_know(party):
    """The log that shows its first face again has signed the other one all the same."""
    settled(party, Receiver(), log=LOG.at(300))
    forked_at = settled(party, Receiver(), log=OTHER.at(300))

    later = settled(party, Receiver(), log=LOG.at(600))
    assert (later.kind, later.code, later.evidence) == ("fork", 1, forked_at.evidence)
    assert party.sizes == [300, 600]

    assert Alarms(party.file, "x", None).acknowledge() == ["fork"]
    assert settled(party, Receiver(), log=LOG.at(600)).kind is None


def test_an_alert_is_of_bounded_size(party):
    receiver = Receiver()
    settled(party, receiver, log=LOG.at(300))
    settled(party, receiver, change=lambda _path, _data: b"x" * 100_000 + b"\n")

    assert len(receiver.taken[0]["message"]) <= alarms.MESSAGE_MAX


def test_an_empty_log_has_the_root_of_nothing(party):
    """A root of something over nothing is no history at all."""
    note = sign_checkpoint(Checkpoint(origin=LOG.origin, size=0, root=b"x" * 32), LOG.key)

    assert party.look(LOG.at(0)).checkpoint == Checkpoint(
        origin=LOG.origin, size=0, root=EMPTY_ROOT
    )
    assert party.look(change=lambda _path, _data: note).kind == "unproven"

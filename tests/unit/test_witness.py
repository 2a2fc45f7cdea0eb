"""Laws of a witness: each log only ever grows, and what was said is on disk and stays there."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from hashlib import sha256
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignature import cosignatures_of, ed25519_cosigner
from ledger.errors import ClockUntrustedError, NotFoundError, PushbackError, SettingsError
from ledger.merkle import Frontier, TreeSize, build_consistency_proof, node_hash, root_of
from ledger.note import NoteKey, open_note, parse_note
from ledger.witness import store as store_module
from ledger.witness.home import open_home
from ledger.witness.protocol import AddCheckpoint, Conflict, Cosigned, Ground, Refused
from ledger.witness.store import REFUSALS_KEPT, WitnessStore
from ledger.witness.witness import Witness, read_logs

LOG = NoteKey(name="log.example/shop", private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32))
COSIGNER = ed25519_cosigner("w.example", Ed25519PrivateKey.from_private_bytes(b"W" * 32))
TIME = 1_772_452_800
SIZE = 40


@cache
def node(branch: int, level: int, index: int) -> bytes:
    """The first half is the same in every branch: a fork shares what came before it."""
    if level == 0:
        return sha256(b"%d %d" % (index, branch * (index >= SIZE // 2))).digest()
    return node_hash(node(branch, level - 1, 2 * index), node(branch, level - 1, 2 * index + 1))


def leaves_of(branch: int, size: int) -> list[bytes]:
    return [node(branch, 0, at) for at in range(size)]


def note_of(size: int, branch: int = 0, key: NoteKey = LOG) -> bytes:
    root = root_of(leaves_of(branch, size))
    return sign_checkpoint(Checkpoint(origin=key.name, size=size, root=root), key)


def request(old: int, size: int, branch: int = 0, key: NoteKey = LOG) -> bytes:
    read_node = partial(node, branch)
    proof = build_consistency_proof(TreeSize(old), TreeSize(size), read_node)
    return AddCheckpoint(old_size=old, proof=tuple(proof), note=note_of(size, branch, key)).encode()


class Clock:
    """Stands where it was put."""

    def __init__(self, time: int = TIME) -> None:
        self.time = time

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def progress(self) -> float:
        return float(self.time)


def witness_over(path, clock=None) -> Witness:
    return Witness(
        keys=[COSIGNER],
        logs=read_logs([LOG.verifier.encode()]),
        store=WitnessStore(path),
        clock=clock or Clock(),
    )


@pytest.fixture
def memory(tmp_path):
    return tmp_path / "memory.sqlite"


@pytest.fixture
def witness(memory) -> Witness:
    return witness_over(memory)


def shown(witness: Witness) -> Checkpoint:
    note = witness.checkpoint(sha256(LOG.name.encode()).hexdigest())
    return open_checkpoint(note, [LOG.verifier, COSIGNER.verifier])


# ---- Growing --------------------------------------------------------------------------


def test_a_log_that_grows_is_cosigned_at_each_size(witness):
    for old, new in pairwise([0, 0, 1, 7, 8, 8, SIZE]):
        answer = witness.add_checkpoint(request(old, new))

        assert isinstance(answer, Cosigned), answer
        lines = "".join(line.encode() for line in answer.signatures).encode()
        text = parse_note(note_of(new)).text
        opened = open_note(f"{text}\n".encode() + lines, [COSIGNER.verifier])
        [cosignature] = cosignatures_of(opened, [COSIGNER.verifier])
        assert cosignature.time == TIME
        assert shown(witness) == parse_checkpoint(text)


def test_another_old_size_is_answered_with_the_one_that_is_here(witness):
    witness.add_checkpoint(request(0, 7))
    for old, new in [(0, 7), (0, 9), (3, 9), (8, 9), (8, 8)]:
        assert witness.add_checkpoint(request(old, new)) == Conflict(size=7)


def test_what_is_shown_carries_the_log_s_line_and_ours(witness):
    with pytest.raises(NotFoundError):
        shown(witness)
    witness.add_checkpoint(request(0, 7))

    assert shown(witness).size == 7
    with pytest.raises(NotFoundError):
        witness.checkpoint("0" * 64)


other = NoteKey(name="log.example/other", private_key=LOG.private_key)
impostor = NoteKey(name=LOG.name, private_key=Ed25519PrivateKey.from_private_bytes(b"I" * 32))
extended = Checkpoint(
    origin=LOG.name, size=9, root=root_of(leaves_of(0, 9)), extensions=("more",)
).encode()
empty = Checkpoint(origin=LOG.name, size=0, root=bytes(32))
prose = "hello\n"

REFUSED = {
    "nothing": (b"", Ground.MALFORMED),
    "not-a-checkpoint": (b"old 7\n\n" + f"{prose}\n{LOG.sign(prose)}".encode(), Ground.MALFORMED),
    "old-above-new": (request(7, 7).replace(b"old 7", b"old 8"), Ground.MALFORMED),
    "extension-lines": (
        b"old 7\n\n" + f"{extended}\n{LOG.sign(extended)}".encode(),
        Ground.MALFORMED,
    ),
    "another-log": (request(0, 9, key=other), Ground.UNKNOWN_LOG),
    "another-key": (request(7, 9, key=impostor), Ground.UNSIGNED),
    "cosigned-only": (
        request(7, 9).replace(LOG.sign(parse_note(note_of(9)).text).encode(), b"")
        + COSIGNER.sign(parse_note(note_of(9)).text, time=TIME).encode().encode(),
        Ground.UNSIGNED,
    ),
    "proof-missing": (b"old 7\n\n" + note_of(9), Ground.INCONSISTENT),
    "proof-too-long": (
        request(7, 9).replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1),
        Ground.INCONSISTENT,
    ),
    "proof-to-the-same-size": (b"old 7\n" + b"A" * 43 + b"=\n\n" + note_of(7), Ground.INCONSISTENT),
}


@pytest.mark.parametrize(("body", "ground"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_follow_is_refused_and_nothing_is_remembered(witness, body, ground):
    witness.add_checkpoint(request(0, 7))

    answer = witness.add_checkpoint(body)

    assert isinstance(answer, Refused)
    assert answer.ground is ground
    assert shown(witness).size == 7


def test_a_tree_without_entries_has_one_root(witness):
    answer = witness.add_checkpoint(b"old 0\n\n" + sign_checkpoint(empty, LOG))

    assert isinstance(answer, Refused)
    assert answer.ground is Ground.INCONSISTENT
    assert isinstance(witness.add_checkpoint(request(0, 0)), Cosigned)


@pytest.mark.parametrize("old", [22, 30], ids=["later-size", "same-size"])
def test_a_fork_is_refused_and_kept_as_evidence(witness, memory, old):
    witness.add_checkpoint(request(0, old))

    for _ in range(2):
        answer = witness.add_checkpoint(request(old, 30, branch=1))
        assert isinstance(answer, Refused)
        assert answer.ground is Ground.INCONSISTENT

    assert WitnessStore(memory).refusals(LOG.name) == [note_of(30, branch=1)]
    assert shown(witness).root == root_of(leaves_of(0, old))


def test_no_log_fills_the_disk_with_refusals(witness, memory, monkeypatch):
    monkeypatch.setattr(store_module, "REFUSALS_KEPT", 3)
    assert REFUSALS_KEPT > 3
    witness.add_checkpoint(request(0, 30))
    for branch in range(1, 8):
        witness.add_checkpoint(request(30, 30, branch=branch))

    kept = WitnessStore(memory).refusals(LOG.name)
    assert kept == [note_of(30, branch=branch) for branch in (1, 2, 3)]


submissions = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE), st.integers(0, 2)), max_size=9
)


@settings(max_examples=20)
@given(submissions)
def test_whatever_is_submitted_one_history_is_cosigned(tmp_path_factory, asked):
    """Any two trees that were ever cosigned: the smaller one is the beginning of the larger."""
    witness = witness_over(tmp_path_factory.mktemp("witness") / "memory.sqlite")
    cosigned: list[tuple[int, int]] = []
    for old, new, branch in asked:
        if old <= new and isinstance(witness.add_checkpoint(request(old, new, branch)), Cosigned):
            cosigned.append((new, branch))

    for (size, branch), (next_size, next_branch) in pairwise(cosigned):
        assert size <= next_size
        assert leaves_of(branch, size) == leaves_of(next_branch, next_size)[:size]


# ---- Time -----------------------------------------------------------------------------


def test_a_clock_that_went_back_a_little_does_not_take_anything_back(memory):
    clock = Clock()
    witness = witness_over(memory, clock)
    witness.add_checkpoint(request(0, 7))
    clock.time -= 5
    answer = witness.add_checkpoint(request(7, 7))

    assert isinstance(answer, Cosigned)
    assert [int.from_bytes(line.signature[:8]) for line in answer.signatures] == [TIME]


def test_a_clock_that_went_back_further_cosigns_nothing(memory):
    clock = Clock()
    witness = witness_over(memory, clock)
    witness.add_checkpoint(request(0, 7))
    clock.time -= 6
    with pytest.raises(ClockUntrustedError):
        witness.add_checkpoint(request(7, 9))
    assert shown(witness).size == 7

    clock.time += 6
    assert isinstance(witness.add_checkpoint(request(7, 9)), Cosigned)


# ---- Several at once ------------------------------------------------------------------


@pytest.mark.parametrize("stores", [1, 2], ids=["one-witness", "two-on-one-memory"])
def test_of_two_that_extend_the_same_tree_one_wins(memory, stores):
    """The other is told the winner's size: nobody is cosigned for less than was cosigned."""
    witnesses = [witness_over(memory) for _ in range(stores)]
    start = threading.Barrier(2)

    def submit(at: int, old: int, new: int):
        start.wait()
        return witnesses[at % stores].add_checkpoint(request(old, new))

    size = 0
    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            wanted = [size + 1, size + 2]
            answers = list(threads.map(submit, (0, 1), [size, size], wanted))
            [won] = [at for at in (0, 1) if isinstance(answers[at], Cosigned)]
            assert answers[1 - won] == Conflict(size=wanted[won])
            size = shown(witnesses[0]).size
            assert size == wanted[won]


# ---- The disk -------------------------------------------------------------------------


@contextmanager
def full_disk(path):
    """No file of this process grows beyond the size of this one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 8, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_is_cosigned_that_the_disk_does_not_take(witness, memory):
    witness.add_checkpoint(request(0, 7))
    with full_disk(memory), pytest.raises(PushbackError, match="cannot be used"):
        witness.add_checkpoint(request(7, 9))

    assert shown(witness).size == 7
    assert isinstance(witness.add_checkpoint(request(7, 9)), Cosigned)


def test_a_memory_that_is_away_cosigns_nothing(witness, memory):
    """And is not begun again as an empty one."""
    witness.add_checkpoint(request(0, 7))
    memory.unlink()
    with pytest.raises(PushbackError):
        witness.add_checkpoint(request(0, 7))
    assert not memory.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "update latest set size = 6",
        "update latest set root = zeroblob(32)",
        "update latest set time = 1",
        "update latest set origin = 'x'",
        "delete from latest",
    ],
)
def test_the_memory_guards_itself(witness, memory, statement):
    witness.add_checkpoint(request(0, 7))
    with (
        sqlite3.connect(memory) as connection,
        pytest.raises(sqlite3.IntegrityError, match="a witness does not"),
    ):
        connection.execute(statement)
    connection.close()
    assert shown(witness) == parse_checkpoint(parse_note(note_of(7)).text)


def test_what_is_no_memory_is_refused(tmp_path):
    (tmp_path / "prose").write_text("not a database, and longer than nothing\n" * 50)
    for path in (tmp_path / "prose", tmp_path / "absent" / "memory", tmp_path):
        with pytest.raises(SettingsError, match="cannot be the memory of a witness"):
            WitnessStore(path)


# ---- The home -------------------------------------------------------------------------


def vkeys(keys) -> list[str]:
    return [key.verifier.encode() for key in keys]


def test_a_witness_keeps_its_name_and_keys(tmp_path):
    home = tmp_path / "home"
    first, _ = open_home(home, "w.example/1")
    again, _ = open_home(home, None)
    both, _ = open_home(home, "w.example/1", ml_dsa_44=True)
    later, _ = open_home(home, None, ml_dsa_44=True)

    assert vkeys(first) == vkeys(again) == vkeys(both)[:1]
    assert vkeys(both) == vkeys(later)
    assert [key.algorithm for key in both] == [0x04, 0x06]
    assert vkeys(open_home(home, None)[0]) == vkeys(first)


def test_the_home_is_closed_to_others(tmp_path):
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        open_home(home, "w.example", ml_dsa_44=True)
    finally:
        os.umask(before)

    assert home.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()} == {
        "memory.sqlite": 0o600,
        "key.pem": 0o600,
        "key-ml-dsa-44": 0o600,
    }


def lose_memory(home, _other):
    (home / "memory.sqlite").unlink()


def lose_key(home, _other):
    (home / "key.pem").unlink()


def lose_post_quantum_key(home, _other):
    (home / "key-ml-dsa-44").unlink()


def take_another_key(home, other):
    shutil.copy(other / "key.pem", home / "key.pem")


def take_another_post_quantum_key(home, other):
    shutil.copy(other / "key-ml-dsa-44", home / "key-ml-dsa-44")


def take_another_memory(home, other):
    shutil.copy(other / "memory.sqlite", home / "memory.sqlite")


def open_key_to_others(home, _other):
    (home / "key-ml-dsa-44").chmod(0o644)


def damage_key(home, _other):
    (home / "key-ml-dsa-44").write_text("secret?\n")


DAMAGED = {
    "memory-lost": (lose_memory, "has the key of a witness and not its memory"),
    "key-lost": (lose_key, "has the memory of a witness and not its key key.pem"),
    "post-quantum-key-lost": (lose_post_quantum_key, "and not its key key-ml-dsa-44"),
    "another-key": (take_another_key, "is not the key that cosigned what"),
    "another-post-quantum-key": (take_another_post_quantum_key, "is not the key that cosigned"),
    "another-memory": (take_another_memory, "is the home of other.example, not of w.example"),
    "key-open-to-others": (open_key_to_others, "others have access to it"),
    "key-damaged": (damage_key, "is not 32 bytes in base64"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGED.values(), ids=DAMAGED)
def test_key_and_memory_that_do_not_belong_together_are_not_begun(tmp_path, damage, says):
    """Whoever cosigned and forgot, or remembers what another cosigned, would contradict itself."""
    home, other_home = tmp_path / "home", tmp_path / "other"
    open_home(home, "w.example", ml_dsa_44=True)
    open_home(other_home, "other.example", ml_dsa_44=True)
    damage(home, other_home)
    before = sorted(path.name for path in home.iterdir())

    with pytest.raises(SettingsError) as refused:
        open_home(home, "w.example", ml_dsa_44=True)

    assert says in refused.value.message
    assert "secret" not in refused.value.message
    assert sorted(path.name for path in home.iterdir()) == before


@pytest.mark.parametrize("begun", [[], ["memory.sqlite"]], ids=["nothing", "memory"])
def test_a_first_start_that_was_cut_short_is_gone_on_with(tmp_path, begun):
    for name in begun:
        WitnessStore(tmp_path / name)
    keys, _ = open_home(tmp_path, "w.example")
    assert vkeys(keys) == vkeys(open_home(tmp_path, None)[0])


def test_a_name_is_given_once_and_stays(tmp_path):
    with pytest.raises(SettingsError, match="a new witness needs --name"):
        open_home(tmp_path / "a", None)
    with pytest.raises(SettingsError, match="not a key name"):
        open_home(tmp_path / "b", "w example")
    open_home(tmp_path / "c", "w.example")
    with pytest.raises(SettingsError, match=r"is the home of w\.example, not of v\.example"):
        open_home(tmp_path / "c", "v.example")


# ---- Which logs -----------------------------------------------------------------------


def test_a_log_is_known_by_its_key_and_its_origin():
    """Keys of one log add up; an origin that is no key name stands beside the key, as it is."""
    rotated = impostor.verifier.encode()
    named_otherwise = NoteKey(name="sum.example", private_key=LOG.private_key).verifier
    logs = read_logs(
        [
            "# ours",
            "",
            f"  {LOG.verifier.encode()}  ",
            rotated,
            f"{named_otherwise.encode()} the tree of sums",
        ]
    )

    assert logs == {
        LOG.name: [LOG.verifier, impostor.verifier],
        "the tree of sums": [named_otherwise],
    }


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("log.example", "log 2: not a verifier key"),
        (COSIGNER.verifier.encode(), "log 2: expected a log's key, of type 0x01, found 0x04"),
    ],
)
def test_what_is_no_log_is_told_by_its_line(line, says):
    with pytest.raises(SettingsError, match=says):
        read_logs(["# logs", line])


def test_nobody_is_its_own_witness(memory):
    """One key for both would be one party, whatever it is called."""
    own = NoteKey(name=LOG.name, private_key=COSIGNER.private_key)
    with pytest.raises(SettingsError, match="would be its own witness"):
        Witness(
            keys=[COSIGNER],
            logs=read_logs([own.verifier.encode()]),
            store=WitnessStore(memory),
            clock=Clock(),
        )


def test_the_leaves_of_these_tests_fork_where_they_should():
    """Or a fork would show nothing."""
    half = SIZE // 2
    assert leaves_of(0, half) == leaves_of(1, half)
    assert leaves_of(0, half + 1) != leaves_of(1, half + 1)
    assert Frontier.empty().extend(leaves_of(0, 3)).root() == root_of(leaves_of(2, 3))

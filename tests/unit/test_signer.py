"""Laws of the signer: what left under a signature is remembered, whatever else is lost."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import shutil
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, log_part, open_checkpoint
from ledger.errors import (
    ForkedError,
    LedgerBrokenError,
    RolledBackError,
    SettingsError,
    SignatureError,
    SignerUnavailableError,
)
from ledger.merkle import EMPTY_ROOT, root_of
from ledger.note import NoteKey, VerifierKey, parse_note
from ledger.signing import record as record_module
from ledger.signing import signer as signer_module
from ledger.signing.signer import FileSigner
from tests.effort import examples

ORIGIN = "log.example/orders"
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
LEAVES = [sha256(b"%d" % at).digest() for at in range(200)]
OTHER_LEAVES = [sha256(b"other %d" % at).digest() for at in range(200)]
PAGE = 4096
SLOTS = (0, 2 * PAGE)


def read_leaves(start, stop):
    return LEAVES[start:stop]


def root_at(size, leaves=LEAVES):
    return root_of(leaves[:size])


def never(start, stop):
    raise AssertionError(f"nobody should ask for leaves {start} to {stop}")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "signer"


@pytest.fixture
def signer(directory):
    signer = FileSigner(directory, PRIVATE_KEY)
    signer.register(ORIGIN)
    yield signer
    signer.close()


@pytest.fixture
def again(directory):
    """Another process's signer on the same record."""
    signer = FileSigner(directory, PRIVATE_KEY)
    yield signer
    signer.close()


def record_of(directory):
    [path] = directory.glob("*.record")
    return path


def sign_to(signer, size):
    """Append and sign as the engine does, from wherever the record is."""
    start = signer.checkpoint(ORIGIN)[0].size
    return signer.sign(ORIGIN, start, LEAVES[start:size], never)


# ---- Signing --------------------------------------------------------------------------


@given(steps=st.lists(st.integers(0, 40), max_size=5))
@settings(max_examples=examples(60), deadline=None)
def test_what_is_signed_is_the_tree_of_the_leaves(steps):
    with tempfile.TemporaryDirectory() as directory:
        signer = FileSigner(Path(directory), PRIVATE_KEY)
        signer.register(ORIGIN)
        size = 0
        for step in steps:
            signer.show_base(ORIGIN, size, root_at(size), never)
            checkpoint, note = signer.sign(ORIGIN, size, LEAVES[size : size + step], never)
            size += step

            assert checkpoint == Checkpoint(origin=ORIGIN, size=size, root=root_at(size))
            assert open_checkpoint(note, [signer.verifiers(ORIGIN)[0]]) == checkpoint
            assert signer.checkpoint(ORIGIN) == (checkpoint, note)
        signer.close()


def test_a_new_origin_begins_at_size_0(signer):
    checkpoint, _ = signer.checkpoint(ORIGIN)

    assert (checkpoint.size, checkpoint.root) == (0, EMPTY_ROOT)


def test_registering_again_changes_nothing(signer, again):
    checkpoint = sign_to(signer, 5)
    again.register(ORIGIN)

    assert again.checkpoint(ORIGIN) == checkpoint


def test_origins_have_records_of_their_own(signer):
    signer.register("log.example/other")
    sign_to(signer, 5)

    assert signer.checkpoint("log.example/other")[0].size == 0
    assert signer.verifiers("log.example/other")[0].name == "log.example/other"


def test_a_size_another_process_signed_first_is_answered_with_its_larger_tree(signer, again):
    """Both committed; the later one signed for both."""
    larger = again.sign(ORIGIN, 0, LEAVES[:9], never)

    assert signer.sign(ORIGIN, 0, LEAVES[:5], never) == larger
    assert signer.sign(ORIGIN, 5, LEAVES[5:9], never) == larger


def test_a_record_behind_the_batch_asks_for_what_lies_between(signer):
    checkpoint, _ = signer.sign(ORIGIN, 5, LEAVES[5:9], read_leaves)

    assert (checkpoint.size, checkpoint.root) == (9, root_at(9))


def test_a_record_within_the_batch_takes_the_rest_of_it(signer):
    sign_to(signer, 6)

    checkpoint, _ = signer.sign(ORIGIN, 5, LEAVES[5:9], never)

    assert (checkpoint.size, checkpoint.root) == (9, root_at(9))


# ---- The base -------------------------------------------------------------------------


def test_rollback_is_told_with_both_sizes_and_the_way_out(signer):
    sign_to(signer, 9)

    with pytest.raises(RolledBackError, match=r"holds 5 entries .* 9 were signed.*restore --entr"):
        signer.show_base(ORIGIN, 5, root_at(5), never)
    assert signer.checkpoint(ORIGIN)[0].size == 9


def test_fork_of_the_same_size_is_told_with_both_roots(signer):
    sign_to(signer, 9)

    with pytest.raises(ForkedError) as refused:
        signer.show_base(ORIGIN, 9, root_at(9, OTHER_LEAVES), never)
    assert refused.value.details["root"] == root_at(9, OTHER_LEAVES).hex()
    assert refused.value.details["signed_root"] == root_at(9).hex()


def test_fork_below_a_larger_base_is_found(signer):
    """The first five entries were signed; the database has nine others."""
    sign_to(signer, 5)

    with pytest.raises(ForkedError):
        signer.show_base(
            ORIGIN, 9, root_at(9, OTHER_LEAVES), lambda start, stop: OTHER_LEAVES[start:stop]
        )
    assert signer.checkpoint(ORIGIN)[0].size == 5


def test_a_head_without_its_entries_is_a_fork(signer):
    with pytest.raises(ForkedError, match="only 4 are there"):
        signer.show_base(ORIGIN, 9, root_at(9), lambda start, _: LEAVES[start:4])


def test_a_base_whose_signing_was_cut_short_is_followed_in_small_steps(signer, monkeypatch):
    monkeypatch.setattr(signer_module, "CATCH_UP_LEAVES", 4)
    asked = []

    def reading(start, stop):
        asked.append((start, stop))
        return read_leaves(start, stop)

    signer.show_base(ORIGIN, 9, root_at(9), reading)

    assert asked == [(0, 4), (4, 8), (8, 9)]
    assert signer.checkpoint(ORIGIN)[0].size == 9


@pytest.mark.parametrize("size", [0, 5])
def test_a_missing_record_is_told_and_not_begun_anew(signer, directory, size):
    record_of(directory).unlink()

    for act in (
        lambda: signer.show_base(ORIGIN, size, root_at(size), read_leaves),
        lambda: signer.sign(ORIGIN, size, LEAVES[size:9], read_leaves),
        lambda: signer.checkpoint(ORIGIN),
    ):
        with pytest.raises(LedgerBrokenError, match="has no record") as refused:
            act()
        assert type(refused.value) is LedgerBrokenError
    assert not list(directory.glob("*.record"))


@given(signed=st.integers(0, 60), size=st.integers(0, 60), common=st.integers(0, 60))
@settings(max_examples=examples(120), deadline=None)
def test_exactly_the_continuations_of_what_was_signed_are_taken(signed, size, common):
    """The database shares `common` entries with the signed history, and differs from there."""
    stored = LEAVES[:common] + OTHER_LEAVES[common:]
    with tempfile.TemporaryDirectory() as directory:
        signer = FileSigner(Path(directory), PRIVATE_KEY)
        signer.register(ORIGIN)
        signer.sign(ORIGIN, 0, LEAVES[:signed], never)
        expected = RolledBackError if size < signed else ForkedError if common < signed else None

        def show():
            base = root_at(size, stored)
            signer.show_base(ORIGIN, size, base, lambda start, stop: stored[start:stop])

        if expected is None:
            show()
        else:
            with pytest.raises(expected):
                show()
        assert signer.checkpoint(ORIGIN)[0].size == (size if expected is None else signed)
        signer.close()


# ---- Identity and files ---------------------------------------------------------------


def test_a_copied_key_beside_another_record_is_another_signer(signer, again, tmp_path):
    assert signer.identity == again.identity
    assert FileSigner(tmp_path / "elsewhere", PRIVATE_KEY).identity != signer.identity


def test_another_key_beside_the_same_record_is_the_same_signer(signer, directory):
    assert FileSigner(directory, Ed25519PrivateKey.generate()).identity == signer.identity


@pytest.mark.parametrize("content", [b"", b"\xff" * 16, b"0123"])
def test_a_damaged_identity_is_refused(directory, content):
    FileSigner(directory, PRIVATE_KEY)
    (directory / "identity").write_bytes(content)

    with pytest.raises(SettingsError, match="identity"):
        FileSigner(directory, PRIVATE_KEY)


def test_nobody_else_can_enter_the_record(tmp_path):
    tmp_path.chmod(0o755)
    signer = FileSigner(tmp_path, PRIVATE_KEY)
    signer.register(ORIGIN)

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    signer.close()


def test_a_record_is_named_for_people_and_never_leaves_its_directory(directory):
    signer = FileSigner(directory, PRIVATE_KEY)
    for origin in ("a.example/orders", "b.example/orders", "c.example/..", "d.example/" + "é" * 99):
        signer.register(origin)

    names = sorted(path.name for path in directory.glob("*.record"))
    assert [name.partition(".")[0] for name in names[-2:]] == ["orders", "orders"]
    assert len(set(names)) == 4
    signer.close()


def test_a_record_that_was_put_in_place_is_used_from_then_on(signer, again, directory):
    """A file that was moved away is not written any more, nor is its lock worth anything."""
    sign_to(signer, 5)
    record = record_of(directory)
    kept = record.with_suffix(".kept")
    shutil.copy(record, kept)
    sign_to(signer, 9)
    kept.rename(record)

    assert signer.checkpoint(ORIGIN)[0].size == 5
    assert sign_to(again, 7)[0].size == 7
    assert signer.checkpoint(ORIGIN)[0].size == 7


def test_another_origins_record_is_refused(signer, directory):
    record = record_of(directory)
    signer.register("log.example/other")
    [other] = set(directory.glob("*.record")) - {record}
    shutil.copy(other, record)

    with pytest.raises(LedgerBrokenError, match="another origin's"):
        signer.checkpoint(ORIGIN)


def test_without_its_directory_the_signer_is_unavailable(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(SignerUnavailableError, match="Not a directory"):
        FileSigner(tmp_path / "file" / "signer", PRIVATE_KEY)


def open_records(directory):
    """Names of the records that this process has open, once for each time."""
    opened = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            path = descriptor.readlink()
            if path.parent == directory and path.suffix == ".record":
                opened.append(path.name.partition(".")[0])
    return sorted(opened)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="open files are listed in /proc only"
)


@pytest.fixture
def few_files(monkeypatch):
    monkeypatch.setattr(record_module, "OPEN_RECORDS_MAX", 3)


@needs_proc
@pytest.mark.usefixtures("few_files")
def test_of_many_records_those_used_last_are_open(directory):
    signer = FileSigner(directory, PRIVATE_KEY)
    for at in range(9):
        signer.register(f"log.example/{at}")
    assert open_records(directory) == ["6", "7", "8"]

    for at in (0, 7):
        signer.sign(f"log.example/{at}", 0, LEAVES[:5], never)
    assert open_records(directory) == ["0", "7", "8"]

    assert signer.checkpoint("log.example/0")[0].size == 5
    signer.close()
    assert open_records(directory) == []


@needs_proc
@pytest.mark.usefixtures("few_files")
def test_records_that_are_held_stay_open_however_many(directory):
    """What is locked by the file stays locked; the next use closes what is too many."""
    signer = FileSigner(directory, PRIVATE_KEY)
    with ExitStack() as held:
        for at in range(5):
            signer.register(f"log.example/{at}")
            held.enter_context(signer._record(f"log.example/{at}").held())
        assert open_records(directory) == ["0", "1", "2", "3", "4"]

    signer.register("log.example/5")
    assert open_records(directory) == ["3", "4", "5"]
    signer.close()


@needs_proc
@pytest.mark.usefixtures("few_files")
def test_threads_that_close_each_others_files_sign_as_if_alone(directory):
    signer = FileSigner(directory, PRIVATE_KEY)
    origins = [f"log.example/{at}" for at in range(8)]
    for origin in origins:
        signer.register(origin)

    def sign_all(turn):
        for size in range(1, 20):
            for origin in origins[turn:] + origins[:turn]:
                signer.sign(origin, 0, LEAVES[:size], never)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(sign_all, range(4)))

    for origin in origins:
        checkpoint, _ = signer.checkpoint(origin)
        assert (checkpoint.size, checkpoint.root) == (19, root_at(19))
    assert len(open_records(directory)) == 3
    signer.close()


# ---- Damage ---------------------------------------------------------------------------


def damage(path, at, octets):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(octets)


DAMAGE = {
    "zeros": lambda path, at: damage(path, at, bytes(PAGE)),
    "flipped-bit": lambda path, at: damage(path, at + 80, b"\xff"),
    "torn": lambda path, at: damage(path, at + 512, bytes(PAGE - 512)),
}


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("slot", SLOTS)
def test_one_damaged_slot_falls_back_to_the_other_and_catches_up(signer, directory, harm, slot):
    for size in (5, 9):
        sign_to(signer, size)
    harm(record_of(directory), slot)

    signer.show_base(ORIGIN, 9, root_at(9), read_leaves)
    assert [sign_to(signer, size)[0].root for size in (12, 13)] == [root_at(12), root_at(13)]


def test_damage_is_told_until_it_is_written_over(signer, directory, caplog):
    sign_to(signer, 5)
    DAMAGE["zeros"](record_of(directory), SLOTS[1])

    signer.show_base(ORIGIN, 5, root_at(5), read_leaves)
    assert "half of the signer's record" in caplog.text
    sign_to(signer, 9)
    caplog.clear()
    signer.show_base(ORIGIN, 9, root_at(9), never)
    assert not caplog.text


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
def test_two_damaged_slots_stop_the_ledger(signer, directory, harm):
    sign_to(signer, 9)
    for slot in SLOTS:
        harm(record_of(directory), slot)

    with pytest.raises(LedgerBrokenError, match="both halves of the signer's record"):
        signer.show_base(ORIGIN, 9, root_at(9), read_leaves)
    with pytest.raises(LedgerBrokenError, match="both halves"):
        signer.register(ORIGIN)


def test_a_truncated_record_keeps_what_it_has(signer, directory):
    for size in (5, 9):
        sign_to(signer, size)
    os.truncate(record_of(directory), PAGE)

    signer.show_base(ORIGIN, 9, root_at(9), read_leaves)

    assert record_of(directory).stat().st_size == 3 * PAGE
    assert signer.checkpoint(ORIGIN)[0].size == 9


# ---- Crashes --------------------------------------------------------------------------


class CrashError(BaseException):
    """The process dies here."""


class Disk:
    """
    A disk under one record that has what was synced, and of the rest what it likes.

    Steps are counted over writes and syncs; `crash_at` names the one that is not finished.
    """

    def __init__(self, path):
        self.path = path
        self.durable = path.read_bytes()
        self.unsynced = []
        self.crash_at = None
        self.torn = 0
        self.steps = 0

    @contextmanager
    def installed(self):
        with (
            mock.patch.object(record_module, "_write", self.write),
            mock.patch.object(record_module, "_sync_data", self.sync),
        ):
            yield self

    def write(self, descriptor, data, at):
        crashes = self._step()
        if crashes:
            data = data[: self.torn]
        os.pwrite(descriptor, data, at)
        self.unsynced.append((at, data))
        if crashes:
            raise CrashError

    def sync(self, _descriptor):
        if self._step():
            raise CrashError
        self._reach(PAGE for _ in self.unsynced)

    def lose_power(self, reached):
        """Of each unsynced write, as many bytes are there as `reached` says."""
        self._reach(reached)
        self.path.write_bytes(self.durable)

    def _reach(self, reached):
        content = bytearray(self.durable)
        for (at, data), length in zip(self.unsynced, reached, strict=True):
            part = data[:length]
            content[at : at + len(part)] = part
        self.durable = bytes(content)
        self.unsynced.clear()

    def _step(self):
        self.steps += 1
        return self.steps - 1 == self.crash_at


TORN = st.sampled_from([0, 1, 100, 512, 2048, PAGE])


@given(data=st.data())
@settings(max_examples=examples(300), deadline=None)
def test_no_crash_makes_the_signer_forget_what_left(data):
    """Killed or without power at any step: a database older than a signature is found out."""
    with tempfile.TemporaryDirectory() as directory:
        signer = FileSigner(Path(directory), PRIVATE_KEY)
        signer.register(ORIGIN)
        committed = left = 0
        with Disk(record_of(Path(directory))).installed() as disk:
            for _ in range(data.draw(st.integers(1, 6), "batches")):
                disk.steps = 0
                disk.crash_at = data.draw(st.none() | st.integers(0, 8), "crash at")
                disk.torn = data.draw(TORN, "torn")
                start, committed = committed, committed + data.draw(st.integers(1, 9), "leaves")
                with suppress(CrashError):
                    signer.show_base(ORIGIN, start, root_at(start), read_leaves)
                    checkpoint, _ = signer.sign(ORIGIN, start, LEAVES[start:committed], read_leaves)
                    assert (checkpoint.size, checkpoint.root) == (committed, root_at(committed))
                    left = committed
                disk.crash_at = None
                signer.close()
                if data.draw(st.booleans(), "power lost"):
                    disk.lose_power([data.draw(TORN, "reached") for _ in disk.unsynced])
                signer = FileSigner(Path(directory), PRIVATE_KEY)
                if left:
                    with pytest.raises(RolledBackError):
                        signer.show_base(ORIGIN, left - 1, root_at(left - 1), never)
            signer.show_base(ORIGIN, committed, root_at(committed), read_leaves)
            assert signer.checkpoint(ORIGIN)[0].root == root_at(committed)
        signer.close()


@pytest.mark.parametrize("step", range(12))
def test_a_loss_of_power_after_a_kill_leaves_what_left_alone(signer, directory, step):
    """A half that may be in memory only is no ground for overwriting the other one."""
    sign_to(signer, 5)
    signed = record_of(directory).read_bytes()

    def crash():
        """Killed before the sync of 9 entries; then another process, at any step of 12."""
        record_of(directory).write_bytes(signed)
        with Disk(record_of(directory)).installed() as disk:
            for size, crash_at in ((9, 2), (12, step)):
                disk.steps, disk.crash_at = 0, crash_at
                with suppress(CrashError):
                    signer.sign(ORIGIN, 5, LEAVES[5:size], never)
        return disk

    for reached in itertools.product([0, 100, PAGE], repeat=len(crash().unsynced)):
        crash().lose_power(reached)
        with pytest.raises(RolledBackError):
            signer.show_base(ORIGIN, 4, root_at(4), never)


FAILURES = {
    "no-space": (errno.ENOSPC, "_write", "No space left"),
    "disk-error": (errno.EIO, "_sync_data", "Input/output error"),
}


@pytest.mark.parametrize(("code", "step", "says"), FAILURES.values(), ids=FAILURES)
def test_nothing_is_signed_that_could_not_be_remembered(signer, monkeypatch, code, step, says):
    sign_to(signer, 5)
    with monkeypatch.context() as patch:
        patch.setattr(record_module, step, mock.Mock(side_effect=OSError(code, os.strerror(code))))
        patch.setattr(signer_module, "sign_checkpoint", never)
        with pytest.raises(SignerUnavailableError, match=says):
            sign_four_more(signer)

    assert sign_to(signer, 9)[0].root == root_at(9)


def sign_four_more(signer):
    signer.sign(ORIGIN, 5, LEAVES[5:9], never)


def test_what_the_disk_may_not_have_is_written_again_in_its_place(signer, again, directory):
    """After a failed sync the system may believe that the disk has what it has not."""
    sign_to(signer, 5)
    with Disk(record_of(directory)).installed() as disk:
        failing = mock.patch.object(record_module, "_sync_data", side_effect=OSError(errno.EIO, ""))
        with failing, pytest.raises(SignerUnavailableError):
            sign_four_more(signer)
        [failed] = [write for write in disk.unsynced if len(write[1]) == PAGE]
        disk.unsynced.clear()

        assert again.checkpoint(ORIGIN)[0].size == 9

    assert disk.durable[failed[0] :][:PAGE] == failed[1]


# ---- Threads and processes ------------------------------------------------------------


def held(signer, act):
    """Run `act` while this process keeps the record."""

    def keeping(start, stop):
        act()
        return read_leaves(start, stop)

    signer.show_base(ORIGIN, 5, root_at(5), keeping)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(record_module, "LOCK_TIMEOUT_S", 0.05)


def ask(signer, answers):
    try:
        answers.append(signer.checkpoint(ORIGIN)[0].size)
    except SignerUnavailableError as error:
        answers.append(error)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("same", [True, False], ids=["same-signer", "own-signer"])
def test_a_thread_waits_for_the_record_and_not_for_ever(signer, again, same):
    answers = []

    def other_thread():
        thread = threading.Thread(target=ask, args=(signer if same else again, answers))
        thread.start()
        thread.join()

    held(signer, other_thread)

    assert [type(answer) for answer in answers] == [SignerUnavailableError]
    assert signer.checkpoint(ORIGIN)[0].size == 5


@pytest.mark.usefixtures("impatient")
def test_a_child_does_not_share_what_its_parent_locks(signer):
    signer.checkpoint(ORIGIN)
    (going, go), (answered, answer) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.read(going, 1)
        answers = []
        ask(signer, answers)
        os.write(answer, type(answers[0]).__name__.encode())
        os._exit(0)

    said = []
    held(signer, lambda: (os.write(go, b"!"), said.append(os.read(answered, 100))))

    os.waitpid(child, 0)
    for descriptor in (going, go, answered, answer):
        os.close(descriptor)
    assert said == [b"SignerUnavailableError"]


def _keep_for_ever(directory, kept):
    def keeping(_start, _stop):
        kept.set()
        threading.Event().wait()

    FileSigner(directory, PRIVATE_KEY).show_base(ORIGIN, 5, root_at(5), keeping)


def test_a_killed_process_keeps_nothing(signer, directory):
    context = multiprocessing.get_context("forkserver")
    kept = context.Event()
    process = context.Process(target=_keep_for_ever, args=(directory, kept))
    process.start()
    assert kept.wait(timeout=30)
    process.kill()
    process.join(timeout=30)

    assert signer.checkpoint(ORIGIN)[0].size == 0


def _append(directory, head, size, signed):
    signer = FileSigner(directory, PRIVATE_KEY)
    for step in itertools.cycle([1, 3, 2]):
        with head:  # the head row's lock
            start = size.value
            signer.show_base(ORIGIN, start, root_at(start), read_leaves)
            if start + step > len(LEAVES):
                break
            size.value += step
        checkpoint, note = signer.sign(ORIGIN, start, LEAVES[start : start + step], read_leaves)
        signed.put((checkpoint.size, checkpoint.root, note))
    signed.put(None)


def test_processes_that_share_a_record_sign_one_history(signer, directory):
    context = multiprocessing.get_context("forkserver")
    head, size, signed = context.Lock(), context.Value("q", 0), context.Queue()
    workers = [
        context.Process(target=_append, args=(directory, head, size, signed)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    found = list(
        itertools.chain.from_iterable(iter(lambda: signed.get(timeout=60), None) for _ in workers)
    )
    for worker in workers:
        worker.join(timeout=30)

    assert all(root == root_at(at) for at, root, _ in found)
    assert len({note for _, _, note in found}) == len({at for at, _, _ in found})
    assert signer.checkpoint(ORIGIN)[0].size == size.value


# ---- A second kind of signature -------------------------------------------------------


def test_a_second_line_stands_where_the_first_one_falls(directory):
    """Whoever knows only Ed25519 passes over it; who trusts only the other is content too."""
    signer = FileSigner(directory, PRIVATE_KEY, b"M" * 32)
    signer.register(ORIGIN)
    checkpoint, note = sign_to(signer, 3)
    second = signer.ml_dsa_verifier(ORIGIN)
    assert second is not None

    for trusted in (signer.verifiers(ORIGIN)[0], second):
        assert open_checkpoint(note, [VerifierKey.parse(trusted.encode())]) == checkpoint
    assert [line.name for line in parse_note(note).signatures] == [ORIGIN, ORIGIN]
    assert log_part(note) == note
    text, _, lines = note.decode().partition("\n\n")
    only_first = f"{text}\n\n{lines.splitlines(keepends=True)[0]}".encode()
    with pytest.raises(SignatureError, match=r"no signature by"):
        open_checkpoint(only_first, [second])
    assert FileSigner(directory, PRIVATE_KEY).ml_dsa_verifier(ORIGIN) is None


def test_a_key_that_was_retired_while_a_thread_looked_it_up_signs_nothing_later(
    directory, monkeypatch
):
    old, new = (PRIVATE_KEY,), (Ed25519PrivateKey.generate(),)
    rings = [old]
    signer = FileSigner(directory, PRIVATE_KEY, ring=lambda: rings[0])
    signer.register(ORIGIN)
    signer.register("log.example/other")
    made, may_go = threading.Event(), threading.Event()

    def make(*, name: str, private_key: Ed25519PrivateKey) -> NoteKey:
        if name == ORIGIN and private_key is PRIVATE_KEY:
            made.set()
            may_go.wait()
        return NoteKey(name=name, private_key=private_key)

    monkeypatch.setattr(signer_module, "NoteKey", make)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(signer.sign, ORIGIN, 0, LEAVES[:1], None)
        made.wait()
        rings[0] = new
        signer.sign("log.example/other", 0, LEAVES[:1], None)
        may_go.set()
        slow.result()
    _, note = signer.sign(ORIGIN, 1, LEAVES[1:2], None)

    by = NoteKey(name=ORIGIN, private_key=new[0]).verifier
    assert [line.key_id for line in parse_note(note).signatures] == [by.key_id]

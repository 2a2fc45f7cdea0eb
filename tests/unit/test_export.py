"""Laws of the export: what is in a copy was signed, and a copy is whole at every moment."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.checkpoint import open_checkpoint
from ledger.copies import export
from ledger.copies.export import Exported, export_log
from ledger.copies.log_copy import read_note
from ledger.copies.places import open_copy
from ledger.errors import (
    ConsistencyError,
    InclusionError,
    LedgerError,
    MalformedProofError,
    SettingsError,
    SignatureError,
    VerificationError,
)
from ledger.tiles import (
    TILE_WIDTH,
    parse_tile_path,
    partial_width,
    tile_path,
)
from tests.effort import examples
from tests.unit.plain_log import LARGE, LEDGER, Log

SIZE = 600
"""Two full tiles, and one that is partial."""

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    """When what is on disk is the law of one test, and a waste of time in all others."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _descriptor: None)
        yield


LOG = Log()
WHOLE = LOG.at(SIZE)


def copy(log: Log, directory: Path, fetch: Callable[[str], bytes] | None = None) -> Exported:
    return export_log(LEDGER, fetch or log.fetch, directory, [LOG.key.verifier])


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def flip(octets: bytes, bit: int) -> bytes:
    """`octets` with one bit flipped."""
    at, which = divmod(bit % (8 * len(octets)), 8)
    return octets[:at] + bytes([octets[at] ^ 1 << which]) + octets[at + 1 :]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "copy"


# ---- A copy ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 512, SIZE, 65_536, LARGE])
def test_a_copy_is_every_file_a_tile_client_asks_for(directory: Path, size: int) -> None:
    """And no other: the same octets under the same paths."""
    log = LOG.at(size)

    exported = copy(log, directory)

    expected = log.files()
    assert files_in(directory) == expected
    assert (exported.checkpoint.size, exported.grown_from) == (size, None)
    assert (exported.kept, exported.written) == (0, len(expected) - 1)
    assert exported.repaired == 0


def test_what_witnesses_saw_is_kept_beside_the_newest(directory: Path) -> None:
    """And only where the log continues it; whose cosignatures they are, whoever verifies says."""
    seen = LOG.at(257).fetch("checkpoint")
    export_log(LEDGER, WHOLE.fetch, directory, [LOG.key.verifier], cosigned=seen)
    with open_copy(str(directory)) as kept:
        assert read_note(kept, cosigned=True) == seen
        assert read_note(kept) == WHOLE.fetch("checkpoint")

    ahead = LOG.at(SIZE + 1).fetch("checkpoint")
    with pytest.raises(ConsistencyError, match="what witnesses saw"):
        export_log(LEDGER, WHOLE.fetch, directory, [LOG.key.verifier], cosigned=ahead)
    assert (directory / "checkpoint.cosigned").read_bytes() == seen


def test_progress_grows_to_the_size(directory: Path) -> None:
    told: list[tuple[int, int]] = []

    export_log(
        LEDGER,
        WHOLE.fetch,
        directory,
        [LOG.key.verifier],
        lambda *at: told.append(at),
    )

    assert told == [(256, SIZE), (512, SIZE), (SIZE, SIZE)]


def test_a_second_copy_fetches_the_right_edge_and_writes_nothing(directory: Path) -> None:
    """Safe to repeat, by a clock or by hand."""
    copy(WHOLE, directory)
    before = inodes(directory)
    again = WHOLE.at(SIZE)

    exported = copy(again, directory)

    assert set(again.asked) == {"checkpoint", "tile/entries/002.p/88", "tile/1/000.p/2"}
    assert (exported.written, exported.repaired, exported.grown_from) == (0, 0, SIZE)
    assert inodes(directory) == before


def inodes(directory: Path) -> dict[Path, int]:
    """What would change if a file were written anew."""
    return {file: file.stat().st_ino for file in directory.rglob("*")}


@settings(max_examples=examples(50))
@given(sizes=st.lists(st.integers(0, 1_100), min_size=1, max_size=4).map(sorted))
@example(sizes=[0, 256, 511, 512])
def test_a_copy_that_grew_is_one_made_at_once(tmp_path_factory, sizes: list[int]) -> None:
    """But for partial tiles of sizes before, which go when their full tile is there."""
    directory = tmp_path_factory.mktemp("copy")
    for size in sizes:
        log = LOG.at(size)
        copy(log, directory)

    held, expected = files_in(directory), log.files()
    assert held.items() >= expected.items()
    for path in held.keys() - expected.keys():
        tile = parse_tile_path(path)
        assert tile.width < partial_width(tile.level, tile.index, size) < TILE_WIDTH
        assert held[path] == log.fetch(path)


def test_full_tiles_are_not_fetched_again(directory: Path) -> None:
    copy(LOG.at(SIZE), directory)
    log = LOG.at(1_100)

    exported = copy(log, directory)

    assert exported.kept == 4
    assert not {"tile/entries/000", "tile/entries/001"} & set(log.asked)


# ---- Cut short ------------------------------------------------------------------------


class CutShortError(Exception):
    """What ends an export in the middle."""


@settings(max_examples=examples(60))
@given(before=st.sampled_from([None, 0, 300, 512]), fetches=st.integers(0, 12))
def test_an_export_that_was_cut_short_is_taken_up(
    tmp_path_factory, before: int | None, fetches: int
) -> None:
    """Whenever it was: until then the copy is that of before, and then only the rest is fetched."""
    directory, size = tmp_path_factory.mktemp("copy"), 1_100
    if before is not None:
        copy(LOG.at(before), directory)
    log = LOG.at(size)

    def fetch_some(path: str) -> bytes:
        if len(log.asked) >= fetches:
            raise CutShortError
        return log.fetch(path)

    try:
        copy(log, directory, fetch_some)
    except CutShortError:
        held = files_in(directory)
        assert held.items() >= ({} if before is None else LOG.at(before).files()).items()
        assert ("checkpoint" in held) == (before is not None)

    rest = LOG.at(size)
    copy(rest, directory)
    assert files_in(directory).items() >= rest.files().items()
    full = {path for path in rest.asked if ".p/" not in path and path != "checkpoint"}
    assert not full & set(log.asked[:fetches]) - edge_of(before)


def edge_of(before: int | None) -> set[str]:
    """Full tiles that are read before anything is written, to see whether the log continues."""
    return set() if before is None else {tile_path(0, index) for index in range(before // 256 + 1)}


def test_what_a_killed_export_left_behind_does_not_matter(directory: Path) -> None:
    """Half a file under the name that is used while writing."""
    (directory / "tile/0").mkdir(parents=True)
    (directory / "tile/0/.000.new").write_bytes(b"half")

    copy(WHOLE, directory)

    assert files_in(directory) == WHOLE.files()


def test_the_checkpoint_is_replaced_when_all_else_is_on_disk(directory: Path, monkeypatch) -> None:
    """Whatever the machine loses when its power fails, it is not what a checkpoint stands for."""
    copy(LOG.at(300), directory)
    done: list[tuple[str, str]] = []
    replace = Path.replace

    def named(descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(directory))

    def note_replace(self: Path, target: Path) -> Path:
        done.append(("replace", str(target.relative_to(directory))))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(("sync", named(descriptor))))
    monkeypatch.setattr(Path, "replace", note_replace)
    copy(WHOLE, directory)

    published = done.index(("replace", "checkpoint"))
    before, after = done[:published], done[published:]
    new = {path for path in WHOLE.files() if path not in LOG.at(300).files()}
    assert {path for what, path in before if what == "replace"} == new
    for path in new:
        place, _, name = path.rpartition("/")
        written = before.index(("replace", path))
        assert ("sync", f"{place}/.{name}.new") in before[:written]
        assert ("sync", place) in before[written:]
    assert after == [("replace", "checkpoint"), ("sync", ".")]


def test_partial_tiles_stay_until_the_new_checkpoint_stands(directory: Path, monkeypatch) -> None:
    """Who reads by the old one still finds them."""
    copy(LOG.at(300), directory)
    seen: list[set[str]] = []
    publish = export._Copy.publish

    def look_and_publish(self: export._Copy, note: bytes) -> None:
        seen.append(set(files_in(directory)))
        publish(self, note)

    monkeypatch.setattr(export._Copy, "publish", look_and_publish)
    copy(WHOLE, directory)

    superseded = {"tile/entries/001.p/44", "tile/0/001.p/44"}
    assert superseded <= seen[0]
    assert not superseded & set(files_in(directory))


# ---- Damage ---------------------------------------------------------------------------


@settings(max_examples=examples(120))
@given(path=st.sampled_from(sorted(WHOLE.files().keys() - {"checkpoint"})), bit=st.integers(0))
def test_a_damaged_file_of_the_copy_is_replaced(tmp_path_factory, path: str, bit: int) -> None:
    """Whichever it is: what is there already is held to the same hashes."""
    directory = tmp_path_factory.mktemp("copy")
    copy(WHOLE, directory)
    file = directory / path
    file.write_bytes(flip(file.read_bytes(), bit))

    exported = copy(WHOLE.at(SIZE), directory)

    assert (exported.repaired, exported.written) == (1, 1)
    assert files_in(directory) == WHOLE.files()


@pytest.mark.parametrize("damage", [lambda _: b"", lambda o: o[:-1], lambda o: o + b"\0", None])
@pytest.mark.parametrize("path", ["tile/0/001", "tile/entries/000", "tile/0/002.p/88"])
def test_a_file_that_was_cut_or_lost_is_replaced(directory: Path, path: str, damage) -> None:
    copy(WHOLE, directory)
    file = directory / path
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))

    exported = copy(WHOLE.at(SIZE), directory)

    assert (exported.written, exported.repaired) == (1, int(damage is not None))
    assert files_in(directory) == WHOLE.files()


def test_a_damaged_tile_of_an_upper_level_is_replaced(directory: Path) -> None:
    copy(LOG.at(LARGE), directory)
    file = directory / "tile/1/000"
    file.write_bytes(flip(file.read_bytes(), 9))

    assert copy(LOG.at(LARGE), directory).repaired == 1
    assert files_in(directory) == LOG.at(LARGE).files()


def lying(log: Log, path: str, lie: Callable[[bytes], bytes]) -> Callable[[str], bytes]:
    """A service that serves something else under one path."""
    return lambda asked: lie(log.fetch(asked)) if asked == path else log.fetch(asked)


@settings(max_examples=examples(120))
@given(path=st.sampled_from(sorted(WHOLE.files())), bit=st.integers(0))
def test_nothing_is_taken_that_was_not_signed(tmp_path_factory, path: str, bit: int) -> None:
    """One flipped bit in whatever is served: no checkpoint stands over it."""
    directory = tmp_path_factory.mktemp("copy")
    log, taken = WHOLE.at(SIZE), True
    try:
        copy(log, directory, lying(log, path, lambda octets: flip(octets, bit)))
    except VerificationError:
        taken = False

    held = files_in(directory)
    if taken:
        # Full tiles of level 0 are made from their entries, and not asked for; and the last
        # character of a signature has bits that say nothing.
        assert path not in log.asked or path == "checkpoint"
        assert open_checkpoint(held["checkpoint"], [LOG.key.verifier]).size == SIZE
    else:
        assert "checkpoint" not in held
    true = WHOLE.files()
    assert all(held[each] == true[each] for each in held if each != "checkpoint")


LIES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "cut": lambda octets: octets[:-1],
    "a byte more": lambda octets: octets + b"\0",
    "twice": lambda octets: octets + octets,
    "reversed": lambda octets: octets[::-1],
    "a hash less": lambda octets: octets[:-32],
    "a checkpoint": lambda _: WHOLE.fetch("checkpoint"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("path", ["tile/entries/001", "tile/entries/002.p/88", "tile/1/000.p/2"])
def test_whatever_is_served_instead_is_refused_by_its_name(
    directory: Path, path: str, lie: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(InclusionError) as refused:
        copy(WHOLE, directory, lying(WHOLE, path, lie))

    # The last tiles are proved together, and so refused together.
    assert path in refused.value.message or "the last tiles" in refused.value.message
    assert "checkpoint" not in files_in(directory)


def test_a_wrong_tile_of_an_upper_level_is_refused_by_its_name(directory: Path) -> None:
    log = LOG.at(LARGE)
    with pytest.raises(InclusionError, match="tile/1/000 is not what the log signed"):
        copy(log, directory, lying(log, "tile/1/000", lambda octets: flip(octets, 9)))


# ---- Another history ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (LOG.at(599), "599 entries.*signed over 600.*gone"),
        (LOG.at(0), "0 entries.*signed over 600.*gone"),
        (Log(SIZE, word="other"), "at 600 entries does not continue the 600"),
        (Log(1_100, word="other"), "at 1100 entries does not continue the 600"),
    ],
    ids=["rolled back", "begun anew", "fork of the same size", "fork that grew"],
)
def test_a_log_that_does_not_continue_the_copy_changes_nothing(
    directory: Path, log: Log, says: str
) -> None:
    """Of two histories, the one that is kept is the evidence."""
    copy(WHOLE, directory)

    with pytest.raises(ConsistencyError, match=says):
        copy(log, directory)

    assert files_in(directory) == WHOLE.files()


def test_a_log_without_the_tiles_that_prove_it_continues_changes_nothing(directory: Path) -> None:
    copy(LOG.at(300), directory)
    log = LOG.at(SIZE)

    with pytest.raises(ConsistencyError, match="does not continue the 300"):
        copy(log, directory, lying(log, "tile/0/001", lambda _: b""))

    assert files_in(directory) == LOG.at(300).files()


def test_a_log_may_continue_the_empty_one(directory: Path) -> None:
    copy(LOG.at(0), directory)

    assert copy(WHOLE, directory).grown_from == 0


def test_another_log_is_not_put_in_its_place(directory: Path) -> None:
    copy(WHOLE, directory)
    other = Log(SIZE, origin=f"another.example/{LEDGER}")
    keys = [LOG.key.verifier, other.key.verifier]

    with pytest.raises(SettingsError, match=r"is of ledger\.example/shop, not"):
        export_log(LEDGER, other.fetch, directory, keys)

    assert files_in(directory) == WHOLE.files()


def test_a_checkpoint_of_another_ledger_is_refused(directory: Path) -> None:
    """One key may sign for many, and be trusted for all of them."""
    with pytest.raises(SignatureError, match="for ledger bank"):
        export_log("bank", WHOLE.fetch, directory, [LOG.key.verifier])

    assert files_in(directory) == {}


def test_a_stranger_s_signature_is_refused(directory: Path) -> None:
    with pytest.raises(SignatureError):
        export_log(LEDGER, WHOLE.fetch, directory, [Log(1, origin="a.example/b").key.verifier])

    assert files_in(directory) == {}


@pytest.mark.parametrize(
    ("note", "error"),
    [
        (b"", MalformedProofError),
        (b"scribble\n", MalformedProofError),
        (Log(SIZE, origin="a.example/b").fetch("checkpoint"), SignatureError),
    ],
    ids=["empty", "no note", "by another key"],
)
def test_a_kept_checkpoint_that_proves_nothing_is_not_replaced(
    directory: Path, note: bytes, error: type[LedgerError]
) -> None:
    """It may be all that is left of a history; a person decides."""
    copy(WHOLE, directory)
    (directory / "checkpoint").write_bytes(note)

    with pytest.raises(error, match=r"proves nothing.*another directory"):
        copy(WHOLE, directory)

    assert (directory / "checkpoint").read_bytes() == note


# ---- The directory --------------------------------------------------------------------


def test_two_exports_do_not_write_to_one_directory(directory: Path) -> None:
    copy(LOG.at(300), directory)
    held = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SettingsError, match="another export"):
            copy(WHOLE, directory)
    finally:
        os.close(held)

    assert copy(WHOLE, directory).grown_from == 300


@pytest.mark.parametrize("place", [".", "checkpoint", "tile", "tile/0", "tile/entries/000"])
def test_a_directory_that_cannot_be_used_is_named(directory: Path, place: str) -> None:
    """A file where a directory must be, or the reverse."""
    wrong = directory / place
    if place in {"checkpoint", "tile/entries/000"}:
        wrong.mkdir(parents=True)
    else:
        wrong.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(wrong, ignore_errors=True)
        wrong.write_text("in the way")

    with pytest.raises(SettingsError, match="cannot be used"):
        copy(WHOLE, directory)

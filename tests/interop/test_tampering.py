"""One bit of a published log, or of a receipt, is not as it was: programs of others refuse it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interop.conftest import Kept, good, served
from tests.interop.tools import Ended, Program

pytestmark = pytest.mark.slow

Place = Callable[[bytes], int]
"""Content of a file -> which of its bytes is changed."""


@dataclass(frozen=True, kw_only=True)
class Flip:
    """One bit of one file, and what those who read it say."""

    path: str
    at: Place
    reader: str
    """Pattern of what the reader over golang.org/x/mod says."""
    fsck: str
    """Pattern of what Tessera's checker says."""


def at(byte: int) -> Place:
    return lambda _: byte


def in_line(number: int) -> Place:
    """The first byte of a line."""
    return lambda text: sum(len(line) + 1 for line in text.split(b"\n")[:number])


def in_signature(text: bytes) -> int:
    """A character of the signature, well behind name and key id."""
    return text.rindex(b" ") + 40


# Which of the tiles above an entry is met first is a matter of luck: it works on several.
DIFFERS = "tile/[01]/00[0-2].*: log has"
# A character may also become one that is no base64.
UNSIGNED = {
    "reader": "checkpoint: (invalid signature|malformed note)",
    "fsck": "(invalid signature|malformed note)",
}
FLIPS = {
    "hash of a full tile": Flip(
        path="tile/0/000",
        at=at(70),
        reader="entry 2 is not the one in the tree|inconsistent tile",
        fsck=DIFFERS,
    ),
    "hash of a partial tile": Flip(
        path="tile/0/002.p/88",
        at=at(70),
        reader="inconsistent tile",
        fsck=DIFFERS,
    ),
    "hash of an upper tile": Flip(
        path="tile/1/000.p/2",
        at=at(33),
        reader="inconsistent tile",
        fsck=DIFFERS,
    ),
    "entry of a full bundle": Flip(
        path="tile/entries/001",
        at=at(100),
        reader="entry 256 is not the one in the tree",
        fsck=DIFFERS,
    ),
    "last entry of all": Flip(
        path="tile/entries/002.p/88",
        at=lambda bundle: len(bundle) - 1,
        reader="entry 599 is not the one in the tree",
        fsck=DIFFERS,
    ),
    "length of an entry": Flip(
        path="tile/entries/000",
        at=at(1),
        reader="tile/entries/000: ",
        fsck="AppendBundle",
    ),
    "origin of a checkpoint": Flip(path="checkpoint", at=in_line(0), **UNSIGNED),
    "size of a checkpoint": Flip(path="checkpoint", at=in_line(1), **UNSIGNED),
    "root of a checkpoint": Flip(path="checkpoint", at=in_line(2), **UNSIGNED),
    "signature of a checkpoint": Flip(path="checkpoint", at=in_signature, **UNSIGNED),
}


def flip(file: Path, byte: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    content = bytearray(file.read_bytes())
    content[byte] ^= 1 << bit
    file.write_bytes(content)


@pytest.fixture
def copy(kept: Kept, tmp_path: Path) -> Path:
    """A copy of the exported log, to be changed."""
    return Path(shutil.copytree(kept.directory, tmp_path / "copy"))


# ---- A log ----------------------------------------------------------------------------


def test_a_log_in_files_is_accepted(kept: Kept, reader: Program) -> None:
    """As `export` wrote it, by the plainest of file servers: what all other tests begin with."""
    with served(kept.directory) as url:
        found = good(reader.run("-vkey", kept.vkey_file, "-log", url))

    assert (found["size"], found["entries"]) == (600, 600)


@pytest.mark.parametrize("case", FLIPS.values(), ids=FLIPS)
def test_a_flipped_bit_of_a_log_is_refused(
    kept: Kept, copy: Path, reader: Program, case: Flip
) -> None:
    """By the Go project's notes and proofs."""
    file = copy / case.path
    flip(file, case.at(file.read_bytes()))

    with served(copy) as url:
        refused(reader.run("-vkey", kept.vkey_file, "-log", url), case.reader)


@pytest.mark.parametrize("case", FLIPS.values(), ids=FLIPS)
@pytest.mark.parametrize("over", ["http", "file"])
def test_a_flipped_bit_of_a_log_is_refused_by_tessera(
    kept: Kept, copy: Path, fsck: Program, case: Flip, over: str
) -> None:
    """By the checker of other people's logs, however it gets at the files."""
    file = copy / case.path
    flip(file, case.at(file.read_bytes()))

    with served(copy) as url:
        where = url if over == "http" else f"file://{copy}"
        refused(fsck.run("-vkey", kept.vkey_file, "-log", where), case.fsck)


def refused(ended: Ended, pattern: str) -> None:
    """It ended as one does who found bad evidence, and said which."""
    assert ended.code == 1, ended.said
    assert re.search(rf"refused: .*({pattern})", ended.err, re.DOTALL), ended.err[:2_000]


FILES = [
    *("checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"),
    *("tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"),
]


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(path=st.sampled_from(FILES), flipped=st.tuples(st.integers(0, 2**20), st.integers(0, 7)))
def test_no_flipped_bit_of_a_log_is_believed(
    kept: Kept, copy: Path, reader: Program, path: str, flipped: tuple[int, int]
) -> None:
    """Wherever it is; but for the spelling of a signature, which says the same in several ways."""
    file = copy / path
    before = file.read_bytes()
    byte, bit = flipped[0] % len(before), flipped[1]
    flip(file, byte, bit)
    try:
        with served(copy) as url:
            ended = reader.run("-vkey", kept.vkey_file, "-log", url)
    finally:
        file.write_bytes(before)

    if path == "checkpoint" and ended.code == 0:
        # The last character before the padding has bits that are no part of the signature.
        assert byte == before.rindex(b"=") - 1
    else:
        assert ended.code == 1, ended.said
        assert ended.err.startswith("refused: ")


# ---- A receipt ------------------------------------------------------------------------


def receipt_flips(proof: bytes) -> dict[str, int]:
    """Where in a proof one bit is flipped."""
    note = proof.index(b"\n\n") + 2
    return {
        "index": proof.index(b"index ") + 6,
        "first hash": in_line(2)(proof),
        "last hash": note - 10,
        "origin": note,
        "size": note + proof[note:].index(b"\n") + 1,
        "signature": in_signature(proof),
    }


PLACES = ("index", "first hash", "last hash", "origin", "size", "signature")


@pytest.mark.parametrize("place", [*PLACES, "entry"])
def test_a_flipped_bit_of_a_receipt_is_refused(
    kept: Kept, reader: Program, tmp_path: Path, place: str
) -> None:
    """Of the proof, of the checkpoint in it, or of the entry."""
    proof, entry = tmp_path / "proof", tmp_path / "entry"
    proof.write_bytes(kept.proof)
    entry.write_bytes(kept.entry)
    words = ("-vkey", kept.vkey_file, "-receipt", proof, "-entry", entry)
    good(reader.run(*words))

    if place == "entry":
        flip(entry, len(kept.entry) // 2)
    else:
        flip(proof, receipt_flips(kept.proof)[place])

    refused(reader.run(*words), "invalid|malformed|checkpoint")


def test_a_receipt_of_another_entry_is_refused(kept: Kept, reader: Program, tmp_path: Path) -> None:
    """One byte more is another entry."""
    proof, entry = tmp_path / "proof", tmp_path / "entry"
    proof.write_bytes(kept.proof)
    entry.write_bytes(kept.entry + b"\n")

    ended = reader.run("-vkey", kept.vkey_file, "-receipt", proof, "-entry", entry)

    refused(ended, "invalid transparency proof")

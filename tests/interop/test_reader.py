"""The Go project's notes and proofs read our log over HTTP, and know nothing of us."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoint import parse_checkpoint
from ledger.note import parse_note
from tests.interop.conftest import Kept, Log, good
from tests.interop.tools import Program

pytestmark = pytest.mark.slow

SIZES = (0, 1, 255, 256, 257, 65_536, 70_000)
"""Around the edges of tiles of levels 0 and 1, and well beyond."""


@dataclass(frozen=True, kw_only=True)
class History:
    """A log that grew through all sizes, with what the reader found at each of them."""

    log: Log
    notes: dict[int, Path]
    found: dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def history(
    make_log: Callable[..., Log], reader: Program, tmp_path_factory: pytest.TempPathFactory
) -> History:
    log, directory = make_log(), tmp_path_factory.mktemp("notes")
    notes: dict[int, Path] = {}
    found: dict[int, dict[str, Any]] = {}
    for before, size in itertools.pairwise((0, *SIZES)):
        log.grow(before, size)
        notes[size] = directory / f"{size}.note"
        notes[size].write_bytes(log.read("/log/checkpoint"))
        since = ("-since", notes[before]) if before in notes else ()
        words = ("-vkey", log.vkey_file, "-log", log.url, *since)
        found[size] = good(reader.run(*words, token=log.token))
    return History(log=log, notes=notes, found=found)


def expected(history: History, size: int) -> dict[str, Any]:
    """What there is to find at a size."""
    checkpoint = parse_checkpoint(parse_note(history.notes[size].read_bytes()).text)
    return {
        "origin": history.log.vkey.partition("+")[0],
        "size": size,
        "root": base64.b64encode(checkpoint.root).decode(),
        "entries": size,
        "proved": min(64, size),
    }


@pytest.mark.parametrize("size", SIZES)
def test_a_growing_log_is_verified_at_every_size(history: History, size: int) -> None:
    """Signature, every entry's hash, the root over them, and 64 proofs of records."""
    found = dict(history.found[size])
    extends = found.pop("extends")

    assert found == expected(history, size)
    before = {after: before for before, after in itertools.pairwise(SIZES)}
    assert extends == before.get(size, 0)


@pytest.mark.parametrize("size", SIZES)
def test_every_published_size_is_verified_afterwards(
    history: History, reader: Program, size: int
) -> None:
    """By its own checkpoint: partial tiles whose full ones are long there are served still."""
    log = history.log
    words = ("-vkey", log.vkey_file, "-log", log.url, "-at", history.notes[size])

    found = good(reader.run(*words, token=log.token))

    assert found == {**expected(history, size), "extends": 0}


@pytest.mark.parametrize("size", [1, 255, 256, 257])
def test_a_public_log_is_verified_by_a_stranger(
    make_log: Callable[..., Log], reader: Program, size: int
) -> None:
    """No key at all, where the ledger was created so."""
    log = make_log(size, "--public-log")

    assert good(reader.run("-vkey", log.vkey_file, "-log", log.url))["entries"] == size


def test_a_private_log_is_not_read_without_its_key(
    log_of: Callable[[int], Log], reader: Program
) -> None:
    log = log_of(600)

    ended = reader.run("-vkey", log.vkey_file, "-log", log.url)

    assert (ended.code, "401 Unauthorized" in ended.err) == (1, True)


def test_a_log_that_does_not_extend_what_was_kept_is_refused(
    history: History, reader: Program
) -> None:
    """The larger checkpoint that somebody kept shows the smaller log for what it is."""
    log = history.log
    words = ("-vkey", log.vkey_file, "-log", log.url)

    ended = reader.run(
        *words, "-at", history.notes[257], "-since", history.notes[70_000], token=log.token
    )

    assert ended.code == 1
    assert "70000 entries were signed, and now there are 257" in ended.err


def test_a_receipt_is_verified_alone(kept: Kept, reader: Program, tmp_path: Path) -> None:
    """The proof text and the entry: nothing else, and nobody is asked."""
    (tmp_path / "proof").write_bytes(kept.proof)
    (tmp_path / "entry").write_bytes(kept.entry)

    found = good(
        reader.run(
            *("-vkey", kept.vkey_file, "-receipt", tmp_path / "proof", "-entry", tmp_path / "entry")
        )
    )

    assert (found["size"], found["proved"]) == (600, 1)

"""The checker that other people's logs are checked with finds ours good, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import Kept, Log, served
from tests.interop.tools import Ended, Program

pytestmark = pytest.mark.slow

SIZES = (0, 1, 255, 256, 257, 600)
LARGE = 65_536 + 300


def is_good(ended: Ended, size: int) -> None:
    """It found a log of this size, and every tile of it right."""
    assert (ended.code, ended.out) == (0, "good\n"), ended.said[:2_000]
    assert f"Successfully fsck'd log with size {size} " in ended.err


@pytest.mark.parametrize("size", SIZES)
def test_a_private_log_is_good_over_http(
    log_of: Callable[[int], Log], fsck: Program, size: int
) -> None:
    """Every tile and the root, derived anew from the bundles that the service sends."""
    log = log_of(size)

    is_good(fsck.run("-vkey", log.vkey_file, "-log", log.url, token=log.token), size)


def test_a_large_log_is_good_over_http_and_in_files(
    make_log: Callable[..., Log], fsck: Program, tmp_path: Path
) -> None:
    """A public one, with tiles of three levels: without a key, and as it was exported."""
    log = make_log(LARGE, "--public-log")
    words = ("export", "--tiles", tmp_path, log.ledger, "--vkey", log.vkey)

    is_good(fsck.run("-vkey", log.vkey_file, "-log", log.url), LARGE)
    assert log.shell.good(*words)["size"] == LARGE
    is_good(fsck.run("-vkey", log.vkey_file, "-log", f"file://{tmp_path}"), LARGE)


@pytest.mark.parametrize("size", SIZES)
def test_an_export_is_good(
    log_of: Callable[[int], Log], fsck: Program, tmp_path: Path, size: int
) -> None:
    """Read from the disk, and from a file server that knows nothing of logs."""
    log = log_of(size)
    log.shell.good("export", "--tiles", tmp_path, log.ledger, "--vkey", log.vkey)

    is_good(fsck.run("-vkey", log.vkey_file, "-log", f"file://{tmp_path}"), size)
    with served(tmp_path) as url:
        is_good(fsck.run("-vkey", log.vkey_file, "-log", url), size)


def test_an_export_that_grew_is_good_at_every_step(
    make_log: Callable[..., Log], fsck: Program, tmp_path: Path
) -> None:
    """Also where it left a tile behind that has become full."""
    log, before = make_log(), 0
    words = ("export", "--tiles", tmp_path, log.ledger, "--vkey", log.vkey)
    for size in (0, 200, 256, 500, 513):
        log.grow(before, size)
        before = size

        assert log.shell.good(*words)["size"] == size
        is_good(fsck.run("-vkey", log.vkey_file, "-log", f"file://{tmp_path}"), size)


def test_a_private_log_is_not_read_without_its_key(
    log_of: Callable[[int], Log], fsck: Program
) -> None:
    log = log_of(600)

    ended = fsck.run("-vkey", log.vkey_file, "-log", log.url)

    assert ended.code == 1
    assert "401" in ended.err


def test_a_log_is_not_that_of_another_key(
    kept: Kept, log_of: Callable[[int], Log], fsck: Program
) -> None:
    other = log_of(1)

    ended = fsck.run("-vkey", other.vkey_file, "-log", f"file://{kept.directory}")

    assert ended.code == 1
    assert "failed to verify signatures" in ended.err

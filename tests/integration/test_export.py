"""The command that keeps a log as plain files, beside a real service."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.cli.remote import Remote
from ledger.tiles import partial_width, tile_path
from tests.api.support import item
from tests.integration.commands import Shell, settled_directory

LEDGERS = itertools.count()

Make = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell beside a running service, with a key for everything."""
    with settled_directory() as base:
        alone = Shell(data_dir=base / "data")
        with alone.serving() as (_, announced):
            made = alone.good("key", "create", "--name", "tester", "--scope", "*")
            yield alone.set(URL=announced["url"], KEY=made["key"])


@pytest.fixture(scope="module")
def stranger(shell: Shell) -> Shell:
    """The same, without a key."""
    return Shell(data_dir=shell.data_dir).set(URL=shell.variables["EFFECT_LEDGER_URL"])


@pytest.fixture(scope="module")
def post(shell: Shell) -> Callable[[str, range], None]:
    """Record an effect for each number."""

    def record(ledger: str, numbers: range) -> None:
        variables = shell.variables
        with Remote(variables["EFFECT_LEDGER_URL"], variables["EFFECT_LEDGER_KEY"]) as remote:
            items = [item(f"k{at}") for at in numbers]
            remote.post(f"/v1/ledgers/{ledger}/batch", {"mode": "atomic", "items": items})

    return record


@pytest.fixture
def make(shell: Shell, post: Callable[[str, range], None]) -> Make:
    """A ledger of some size: its name, and its public key."""

    def create(size: int, *arguments: str) -> tuple[str, str]:
        made = shell.good("ledger", "create", f"shop-{next(LEDGERS)}", *arguments)
        if size:
            post(made["ledger"], range(size))
        return made["ledger"], made["vkey"]

    return create


def paths_of(size: int) -> Iterator[str]:
    """Every file of a log, smaller than 65,536."""
    yield "checkpoint"
    for level, hashes in ((0, size), ("entries", size), (1, size >> 8)):
        for index in range(-(-hashes // 256)):
            yield tile_path(level, index, partial_width(level, index, size))  # type: ignore[arg-type]


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def served(shell: Shell, ledger: str, size: int) -> dict[str, bytes]:
    """The same files as the service has them."""
    base = f"{shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}/log"
    headers = {"Authorization": f"Bearer {shell.variables['EFFECT_LEDGER_KEY']}"}
    with httpx.Client(headers=headers) as http:
        return {
            path: http.get(f"{base}/{path}").raise_for_status().content for path in paths_of(size)
        }


def test_an_export_is_the_log_under_the_same_paths(
    shell: Shell, make: Make, tmp_path: Path
) -> None:
    """File by file what the service serves, and one JSON object that says what was done."""
    ledger, vkey = make(600)

    done = shell.good("export", "--tiles", tmp_path / "log", ledger, "--vkey", vkey)

    assert files_in(tmp_path / "log") == served(shell, ledger, 600)
    root = done.pop("root")
    assert len(bytes.fromhex(root)) == 32
    assert done == {
        "ledger": ledger,
        "origin": vkey.partition("+")[0],
        "size": 600,
        "directory": str(tmp_path / "log"),
        "grown_from": None,
        "files": {"kept": 0, "written": 7, "repaired": 0},
        "not_checked": ["what the entries say: effect-ledger verify holds them to the rules"],
    }


def test_an_export_goes_on_where_it_ended(
    shell: Shell, make: Make, post: Callable[[str, range], None], tmp_path: Path
) -> None:
    """The directory tells which ledger it is; nothing that is right is written again."""
    ledger, vkey = make(300)
    more = ("export", "--tiles", tmp_path, "--vkey", vkey)
    shell.good(*more, ledger)
    assert shell.good(*more)["files"] == {"kept": 5, "written": 0, "repaired": 0}
    post(ledger, range(300, 600))
    (tmp_path / "tile/0/000").write_bytes(b"scribble")

    done = shell.good(*more)

    assert (done["ledger"], done["grown_from"], done["size"]) == (ledger, 300, 600)
    assert done["files"] == {"kept": 1, "written": 6, "repaired": 1}
    held = files_in(tmp_path)
    assert held.items() >= served(shell, ledger, 600).items()
    # Until the tile is full, a narrower one goes on serving who read an older checkpoint.
    assert held.keys() - set(paths_of(600)) == {"tile/1/000.p/1"}


def test_a_person_is_told_what_was_done_and_what_was_not(
    shell: Shell, make: Make, tmp_path: Path
) -> None:
    ledger, vkey = make(3)

    done = shell.run("export", "--tiles", tmp_path, ledger)

    assert done.code == 0
    for words in ("holds the log", vkey.partition("+")[0], "2 written", "--vkey", "verify"):
        assert words in done.out

    again = shell.run("export", "--tiles", tmp_path, ledger, "--vkey", vkey)

    for words in ("none of them new", "2 were there and right, 0 written"):
        assert words in again.out


def test_a_public_log_is_exported_without_a_key(
    stranger: Shell, make: Make, tmp_path: Path
) -> None:
    """But not without knowing whose signature counts."""
    ledger, vkey = make(3, "--public-log")
    words = ("export", "--tiles", tmp_path / "log", ledger)

    refused = stranger.run(*words, "--json")
    assert (refused.code, "--vkey" in refused.err) == (2, True)

    assert stranger.good(*words, "--vkey", vkey)["size"] == 3


def test_a_private_log_needs_a_key(stranger: Shell, make: Make, tmp_path: Path) -> None:
    """And the sentence names the variable."""
    ledger, vkey = make(3)

    done = stranger.run("export", "--tiles", tmp_path, ledger, "--vkey", vkey)

    assert done.code == 2
    assert "EFFECT_LEDGER_KEY" in done.err
    assert "proofs:read" in done.err


def test_an_empty_log_is_exported(shell: Shell, make: Make, tmp_path: Path) -> None:
    """Its signed checkpoint, so that nobody can say later that there were entries before."""
    ledger, vkey = make(0)

    done = shell.good("export", "--tiles", tmp_path, ledger, "--vkey", vkey)

    assert (done["size"], list(files_in(tmp_path))) == (0, ["checkpoint"])


def test_the_registry_is_exported_like_any_ledger(shell: Shell, tmp_path: Path) -> None:
    done = shell.good("export", "--tiles", tmp_path, "_registry")

    assert done["origin"].endswith("/_registry")
    assert done["size"] >= 1


def test_a_copy_verifies_without_its_service(shell: Shell, make: Make, tmp_path: Path) -> None:
    """Every entry is read and hashed here, under the one key that is trusted."""
    ledger, vkey = make(300)
    exported = shell.good("export", "--tiles", tmp_path, ledger, "--vkey", vkey)
    alone = Shell(data_dir=tmp_path / "nothing")

    found = alone.good("verify", tmp_path, "--vkey", vkey)

    assert (found["verified"], found["ledger"]) == (True, ledger)
    assert (found["size"], found["root"]) == (exported["size"], exported["root"])
    assert alone.run("verify", tmp_path).code == 2
    _, another = make(1)
    assert alone.run("verify", tmp_path, "--vkey", another).code == 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda bundle: bundle.replace(b'"amount":"1', b'"amount":"9', 1), "entry"),
        (lambda bundle: bundle[:-1], "tile/entries/000.p/3"),
        (lambda _bundle: b"", "entry 0"),
    ],
    ids=["edited", "cut", "emptied"],
)
def test_a_damaged_copy_is_bad_evidence(
    shell: Shell, make: Make, tmp_path: Path, damage: Callable[[bytes], bytes], says: str
) -> None:
    """The first entry that is wrong is named."""
    ledger, vkey = make(3)
    shell.good("export", "--tiles", tmp_path, ledger, "--vkey", vkey)
    bundle = tmp_path / "tile/entries/000.p/3"
    damaged = damage(bundle.read_bytes())
    assert damaged != bundle.read_bytes()
    bundle.write_bytes(damaged)

    done = shell.run("verify", tmp_path, "--vkey", vkey, "--json")

    assert (done.code, says in done.json["error"]["message"]) == (1, True), done.err


def test_bad_evidence_ends_with_one(shell: Shell, make: Make, tmp_path: Path) -> None:
    """Another's key; another's log in the directory: nothing is written over."""
    ledger, vkey = make(3)
    other, other_vkey = make(5)
    words: tuple[Any, ...] = ("export", "--tiles", tmp_path)

    wrong_key = shell.run(*words, ledger, "--vkey", other_vkey, "--json")
    assert (wrong_key.code, wrong_key.json["error"]["code"]) == (1, "SIGNATURE")
    assert files_in(tmp_path) == {}

    shell.good(*words, ledger, "--vkey", vkey)
    before = files_in(tmp_path)
    both = ("--vkey", vkey, "--vkey", other_vkey)
    assert shell.run(*words, other, *both).code == 2
    assert shell.run(*words, other, "--vkey", other_vkey).code == 1
    assert files_in(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--tiles"),
        (("--tiles", "{}"), "export LEDGER"),
        (("--tiles", "{}/file", "shop", "--vkey", "nonsense"), "verifier key"),
        (("--tiles", "{}", "no-such-ledger"), "no-such-ledger"),
        (("--tiles", "{}", "No Name"), "LEDGER"),
        (("--tiles", "{}/scribble"), "no checkpoint"),
        (("--tiles", "{}/file", "_registry"), "cannot be used"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_exported_is_said_plainly(
    shell: Shell, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """In one line, and one object for programs."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "scribble").mkdir()
    (tmp_path / "scribble/checkpoint").write_text("scribble\n")

    done = shell.run("export", *(each.format(tmp_path) for each in arguments), "--json")

    assert done.code in {1, 2}
    assert says in done.json["error"]["message"]

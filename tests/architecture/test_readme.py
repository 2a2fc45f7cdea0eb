"""
The README's shell runs as it stands there, against a real service, and answers as it says.

In one bash, from the first block to the last, in a home of its own. Only the port is another:
somebody's service may be on the usual one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ledger.storage.embedded import attach
from tests.architecture.repository import README, Block, blocks
from tests.integration.commands import free_port, passable_directory

PORT = "8420"
RUNS_WITHIN_S = 400.0
MARK = "-- end of block --"


def is_set_up(block: Block) -> bool:
    """The commands that build an environment: CI runs them when it builds its own."""
    return block.text.startswith("python3 -m venv ")


def in_shell(block: Block) -> Block:
    """Python as bash runs it; everything else as it is."""
    if block.language != "python":
        return block
    return Block("sh", f"python3 - <<'PYTHON'\n{block.text}PYTHON\n")


SHELL = [each for each in map(in_shell, blocks(README)) if each.language == "sh"]
TOUR = [block for block in SHELL if not is_set_up(block)]
# The block that records the effect: its answer is proven at the end, and asked for again.
RECORD = next(at for at, block in enumerate(TOUR) if "tee paid.json" in block.text)
AGAIN = RECORD + 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of the tour."""

    code: int
    said: list[str]
    """What each block printed; the one that records stands twice."""
    errors: str
    data_dir: Path


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    if shutil.which("curl") is None:
        pytest.skip("NOT CHECKED: the README's examples need curl, which is not here")
    told = [block.text for block in TOUR]
    told.insert(AGAIN, told[RECORD].replace("paid.json", "again.json"))
    script = "set -euo pipefail\n" + "".join(f"{text}echo; echo '{MARK}'\n" for text in told)
    with passable_directory() as home:
        (home / "tour").write_text(script.replace(f":{PORT}", f":{(port := free_port())}"))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("EFFECT_LEDGER_")}
        tour = subprocess.Popen(
            ["bash", home / "tour"],
            cwd=home,
            env=inherited
            | {
                "HOME": str(home),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "EFFECT_LEDGER_DATA_DIR": str(home / "data"),
                "EFFECT_LEDGER_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            # A group of its own: where a block fails, the service it started goes with it.
            start_new_session=True,
        )
        try:
            out, errors = tour.communicate(timeout=RUNS_WITHIN_S)
        finally:
            if tour.returncode != 0:
                with suppress(ProcessLookupError):
                    os.killpg(tour.pid, signal.SIGTERM)
                tour.wait()
        yield Run(
            code=tour.returncode,
            said=out.split(f"{MARK}\n")[:-1],
            errors=errors,
            data_dir=home / "data",
        )


def test_two_commands_set_everything_up():
    """Each complete in itself: a stranger runs one of them and nothing before it."""
    assert len([block for block in SHELL if is_set_up(block)]) == 2
    assert all(block.text.count("\n") == 1 for block in SHELL if is_set_up(block))


@pytest.mark.slow
def test_the_tour_runs_as_it_is_written(run):
    assert run.code == 0, run.errors
    assert len(run.said) == len(TOUR) + 1


@pytest.mark.slow
def test_what_is_recorded_twice_is_recorded_once(run):
    first, again = json.loads(run.said[RECORD]), json.loads(run.said[AGAIN])

    assert (first["id"], first["seq"]) == (again["id"], again["seq"])
    assert (first["replayed"], again["replayed"]) == (False, True)


@pytest.mark.slow
def test_answers_are_what_the_readme_shows(run):
    """Every JSON after a block has the members of that block's answer, and their values."""
    shown = []
    told = list(map(in_shell, blocks(README)))
    for before, block in pairwise(told):
        if block.language == "json":
            at = TOUR.index(before)
            said = run.said[at + (at >= AGAIN)]
            shown.append((json.loads(block.text), json.JSONDecoder().raw_decode(said.strip())[0]))

    assert len(shown) == 2
    for expected, found in shown:
        assert_like(expected, found)


def assert_like(shown: Any, found: Any, place: str = "") -> None:
    """What differs from run to run may differ, and "..." stands for anything."""
    if isinstance(shown, dict):
        assert shown.keys() == found.keys(), place
        for name, value in shown.items():
            assert_like(value, found[name], f"{place}/{name}")
    elif isinstance(shown, str):
        pattern = ".*".join(map(re.escape, same_every_time(shown).split("...")))
        assert re.fullmatch(pattern, same_every_time(found), re.DOTALL), place
    else:
        assert shown == found, place


def same_every_time(text: str) -> str:
    """Ids, hashes and times as one sign each."""
    hexadecimal = "[0-9a-f]"
    text = re.sub(rf"{hexadecimal}{{8}}-(?:{hexadecimal}{{4}}-){{3}}{hexadecimal}{{12}}", "#", text)
    text = re.sub(rf"\b{hexadecimal}{{8}}-\.\.\.", "#...", text)
    text = re.sub(rf"\b(?:{hexadecimal}{{64}}|{hexadecimal}{{32}})\b", "#", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "#", text)


@pytest.mark.slow
def test_the_tour_ends_as_it_promises(run):
    """The refund fits, the question leaves no trace, the receipt and the ledger are good."""
    told = "\n".join(run.said)

    assert "Give back what remains (70.00 EUR)." in told
    assert '"provisional":true' in told
    assert "  recorded  2\n" in told
    for each in ("receipt", "ledger", "log", "bundle"):
        assert f"The {each} is good" in told
    assert "the period is closed" in told
    assert "GOOD: nothing in this bundle was changed or left out." in told
    assert "6 read, 6 there" in told


@pytest.mark.slow
def test_ten_lines_make_a_payment_safe(run):
    """The paragraph that speaks to the ledger has ten lines, and its payment is history."""
    [program] = [block.text for block in blocks(README) if block.language == "python"]
    [lines] = [part for part in program.split("\n\n\n") if part.startswith("ledger = Client(")]

    assert len(lines.partition("\n\n")[0].splitlines()) == 10
    assert "RML-3 history: seq 0 level log-signed\n" in "".join(run.said)


@pytest.mark.slow
def test_nothing_runs_when_the_tour_is_over(run):
    assert attach(run.data_dir) is None

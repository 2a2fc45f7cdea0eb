"""The demo tells its whole story on a machine with nothing else, and cleans up."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from pathlib import Path

import httpx
import pytest

from ledger.note import VerifierKey
from ledger.receipt import parse_receipt, verify_receipt
from ledger.storage.embedded import attach
from tests.integration.commands import COMMAND, TIMEOUT_S, Done, Shell, passable_directory


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Shell:
    # The demo must not touch what a real service would use.
    untouched = tmp_path_factory.mktemp("demo") / "untouched"
    return Shell(data_dir=untouched, variables={"EFFECT_LEDGER_PORT": "1"})


@pytest.fixture(scope="module")
def demo(shell) -> tuple[Done, set[Path]]:
    """The story, as an object and beside it in prose; and what was there before it."""
    before = left_behind()
    return shell.run("demo", "--no-keep", "--json"), before


def left_behind() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("effect-ledger-demo-*"))


def test_the_demo_proves_its_story_and_leaves_nothing_behind(shell, demo):
    """Every world is met, the over-refund is refused, and the receipt stands by itself."""
    done, before = demo
    told = done.json

    refused = [step["problem"] for step in told["steps"] if "problem" in step]
    assert [problem["code"] for problem in refused] == ["OVER_REFUND"]
    replayed = [step for step in told["steps"] if step.get("answer", {}).get("replayed")]
    assert replayed[0]["answer"]["id"] == told["steps"][0]["answer"]["id"]
    assert set(told["report"]["verdicts"].values()) == {"ok"}
    verified = verify_receipt(parse_receipt(told["receipt"]), [VerifierKey.parse(told["vkey"])])
    assert (verified.seq, verified.level) == (0, "log-signed")

    assert left_behind() <= before
    assert not shell.data_dir.exists()
    with pytest.raises(httpx.TransportError):
        httpx.get(told["url"])


def test_the_demo_shows_the_world_first_on_every_step(demo):
    """A line of the story begins with what can still be undone."""
    done, _ = demo
    assert done.code == 0
    steps = [line for line in done.err.splitlines() if line[:3] == "RML"]
    assert {line[:15].strip() for line in steps} == {"RML-1 closed", "RML-3 history"}
    assert "OVER_REFUND" in done.err
    assert "Verified offline" in done.err
    # What is gone when it ends is not offered: neither its URL nor its key.
    assert "demo --keep" in done.err
    assert "elk_" not in done.err
    assert "http://" not in done.err


@pytest.mark.slow
def test_a_kept_demo_answers_until_ctrl_c(shell):
    """What it prints can be tried; its database ends with it and starts again."""
    with passable_directory() as base:
        data_dir = base / "data"
        demo = subprocess.Popen(
            [*COMMAND, "demo", "--keep", "--json", "--data-dir", str(data_dir)],
            env=shell.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        try:
            assert demo.stdout is not None
            told = json.loads(demo.stdout.readline())
            answer = httpx.get(
                f"{told['url']}/v1/ledgers/{told['ledger']}/entries",
                headers={"Authorization": f"Bearer {told['key']}"},
            )
            assert len(answer.json()["entries"]) == 6
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(TIMEOUT_S)
            demo.stdout.close()

        assert demo.returncode == 0
        assert attach(data_dir) is None
        ledgers = Shell(data_dir=data_dir).good("ledger", "list")["ledgers"]
        assert [each["size"] for each in ledgers if each["ledger"] == told["ledger"]] == [6]

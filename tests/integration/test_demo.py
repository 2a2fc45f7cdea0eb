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
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, passable_directory


@pytest.fixture
def shell(tmp_path) -> Shell:
    # The demo must not touch what a real service would use.
    return Shell(data_dir=tmp_path / "untouched", variables={"EFFECT_LEDGER_PORT": "1"})


def test_the_demo_proves_its_story_and_leaves_nothing_behind(shell):
    """Every world is met, the over-refund is refused, and the receipt stands by itself."""
    before = set(Path(tempfile.gettempdir()).glob("effect-ledger-demo-*"))

    told = shell.good("demo")

    refused = [step["problem"] for step in told["steps"] if "problem" in step]
    assert [problem["code"] for problem in refused] == ["OVER_REFUND"]
    replayed = [step for step in told["steps"] if step.get("answer", {}).get("replayed")]
    assert replayed[0]["answer"]["id"] == told["steps"][0]["answer"]["id"]
    assert set(told["report"]["verdicts"].values()) == {"ok"}
    verified = verify_receipt(parse_receipt(told["receipt"]), [VerifierKey.parse(told["vkey"])])
    assert (verified.seq, verified.level) == (0, "log-signed")

    assert set(Path(tempfile.gettempdir()).glob("effect-ledger-demo-*")) <= before
    assert not shell.data_dir.exists()
    with pytest.raises(httpx.TransportError):
        httpx.get(told["url"])


def test_the_demo_shows_the_world_first_on_every_step(shell):
    """A line of the story begins with what can still be undone."""
    done = shell.run("demo", "--no-keep")

    assert done.code == 0
    steps = [line for line in done.out.splitlines() if line[:3] == "RML"]
    assert {line[:15].strip() for line in steps} == {"RML-1 closed", "RML-3 history"}
    assert "OVER_REFUND" in done.out
    assert "Verified offline" in done.out
    # What is gone when it ends is not offered: neither its URL nor its key.
    assert "demo --keep" in done.out
    assert "elk_" not in done.out
    assert "http://" not in done.out


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

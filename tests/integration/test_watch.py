"""Laws of `effect-ledger watch`, run as its user runs it: the command, against a real service."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ledger.watch.memory import MemoryFile
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, free_port, settled_directory

AT = ("--occurred-at", "2026-03-01T09:30:00Z")


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with settled_directory() as base:
        alone = Shell(data_dir=base / "data")
        with alone.serving() as (_, announced):
            made = alone.good("key", "create", "--name", "watched", "--scope", "*")
            yield alone.set(URL=announced["url"], KEY=made["key"])


@dataclass
class Watched:
    """A ledger, and a party that watches it from a directory of its own."""

    shell: Shell
    name: str
    vkey: str
    memory: Path
    posted: int = 0

    @property
    def url(self) -> str:
        return f"{self.shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{self.name}"

    @property
    def words(self) -> tuple[str, ...]:
        return ("watch", self.url, "--memory", str(self.memory), "--vkey", self.vkey)

    def post(self) -> None:
        self.posted += 1
        self.shell.good("post", self.name, "--key", f"k{self.posted}", "--type", "a.b", *AT)

    @property
    def sizes(self) -> list[int]:
        known = MemoryFile(self.memory).load()
        return [] if known is None else [each.checkpoint.size for each in known.seen]


@pytest.fixture
def watched(shell, tmp_path) -> Watched:
    name = f"w-{tmp_path.name[-40:].replace('_', '-').strip('-.')}".lower()
    made = shell.good("ledger", "create", name)
    return Watched(shell=shell, name=name, vkey=made["vkey"], memory=tmp_path / "memory")


def test_each_look_proves_that_the_log_has_grown(watched):
    """One JSON object for a look, as cron jobs read it."""
    first = watched.shell.good(*watched.words, "--once")
    watched.post()
    second = watched.shell.good(*watched.words, "--once")

    assert (first["size"], second["size"], second["proved_from"]) == (0, 1, [0])
    assert watched.sizes == [0, 1]


@pytest.mark.slow
def test_a_key_that_is_trusted_on_first_use_is_told_loudly_and_kept(watched, shell):
    """Without --vkey the service's own word is all there is, and each run says so."""
    words = ("watch", watched.url, "--memory", watched.memory, "--once")
    done = shell.run(*words)
    assert (done.code, "TRUSTED ON FIRST USE" in done.err) == (0, True)
    assert watched.vkey in done.err
    assert MemoryFile(watched.memory).load().trusted_on_first_use

    assert "TRUSTED ON FIRST USE" in shell.run(*words).err
    assert "TRUSTED" not in shell.run(*words, "--vkey", watched.vkey).err
    assert not MemoryFile(watched.memory).load().trusted_on_first_use


@pytest.mark.slow
def test_every_way_to_fail_has_its_exit_code(watched, shell, tmp_path):
    """1 evidence, 2 bad input, 3 nobody answers."""
    nowhere = f"http://127.0.0.1:{free_port()}/log"
    other = shell.good("ledger", "list")["ledgers"][0]["vkey"]
    for code, words in {
        1: ("watch", watched.url, "--vkey", other),
        2: ("watch", "http://nowhere.example/log"),
        3: ("watch", nowhere, "--vkey", watched.vkey),
    }.items():
        done = shell.run(*words, "--once", "--tries", "1", "--memory", tmp_path / f"m{code}")
        assert done.code == code, done.err
        assert done.err.count("Traceback") == 0
    assert shell.run(*watched.words, "--once", "--stale", "soon").code == 2


@dataclass
class Receiver:
    """A webhook's other end, which may refuse the first posts."""

    url: str
    refuses: int = 0
    taken: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def receiving(refuses: int = 0) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            refused = receiver.refuses > 0
            receiver.refuses -= refused
            if not refused:
                receiver.taken.append(json.loads(body))
            self.send_response(503 if refused else 204)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(
        url=f"http://127.0.0.1:{server.server_port}/hook?token=hidden", refuses=refuses
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_an_alarm_reaches_the_webhook_although_it_refuses_at_first(watched, shell, tmp_path):
    """As JSON; its URL, which may hold a secret, is printed nowhere."""
    watched.shell.good(*watched.words, "--once")
    away = shell.set(URL="http://127.0.0.1:1")
    with receiving(refuses=2) as receiver:
        done = away.run(
            *("watch", f"http://127.0.0.1:{free_port()}/log", "--vkey", watched.vkey, "--once"),
            *("--tries", "1", "--memory", tmp_path / "other", "--webhook", receiver.url),
        )

    assert done.code == 3
    [alert] = receiver.taken
    assert (alert["kind"], alert["state"]) == ("unreachable", "raised")
    assert "hidden" not in done.out + done.err


@pytest.mark.slow
def test_a_watch_that_is_killed_at_any_moment_goes_on_from_what_it_knew(watched):
    """Nothing that was seen is forgotten, and no memory is half."""
    chance = random.Random(7)
    seen: list[int] = []
    for _ in range(6):
        watched.post()
        process = subprocess.Popen(
            [*COMMAND, *watched.words, "--every", "1", "--json"],
            env=watched.shell.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["good"]
        # Grown meanwhile: what is killed is a look that has something to remember.
        watched.post()
        time.sleep(chance.random() * 1.2)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)
        assert set(seen) <= set(watched.sizes)
        seen = watched.sizes

    last = watched.shell.good(*watched.words, "--once")
    assert (last["good"], last["size"], watched.sizes[-1]) == (True, 2 * 6, 2 * 6)
    assert seen


def test_a_signal_ends_a_watch_with_the_code_of_its_last_look(watched):
    process = subprocess.Popen(
        [*COMMAND, *watched.words, "--every", "1", "--json"],
        env=watched.shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["good"] is True
    process.send_signal(signal.SIGTERM)

    assert process.wait(TIMEOUT_S) == 0
    process.stdout.close()

"""
Laws of crashes: what was answered is there for ever, and what was not is sent again, once.

A real service under load is killed without warning, and so is its database, again and again. The
clients do what clients do: they keep what they are answered, and note what they are not.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from ledger.entry import Entry, parse_entry
from ledger.note import VerifierKey
from ledger.receipt import parse_receipt, verify_receipt
from ledger.service import open_service
from ledger.settings import read_settings
from ledger.storage.embedded.layout import layout_of
from ledger.storage.embedded.supervision import read_record
from tests.api.support import capture, refund
from tests.integration.commands import COMMAND, Shell, free_port, passable_directory

pytestmark = pytest.mark.slow

LEDGER = "shop"
KILLS = 25
CLIENTS = 4
PATIENCE_S = 90.0
PAUSE_S = 0.02
# Of a client that was told to come back.
BACKOFF_S = 0.2
# A database that dies again and again is started later each time; a new service does not know.
KILLS_PER_SERVICE = 4


# ---- The service ----------------------------------------------------------------------


class Serving:
    """`effect-ledger serve` on one port, as often as it is started."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(self._port), "--json"],
            env=self._shell.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"serve ended with {self._process.wait()}"
        assert json.loads(line)["url"] == self.url

    def kill(self) -> None:
        """End it where it stands; its database goes on without it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, where it runs."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def kill_database(self) -> None:
        """End the database and everything it started, where it stands."""
        assert self._process is not None
        record = read_record(layout_of(self._shell.data_dir))
        assert record is not None
        assert record.pid is not None
        # Handles and not numbers: what has the number by then might be another's.
        with handle(record.pid) as postmaster:
            assert parent_of(record.pid) == self._process.pid
            children = [pid for pid in processes() if parent_of(pid) == record.pid]
            signal.pidfd_send_signal(postmaster, signal.SIGKILL)
            for child in children:
                with suppress(ProcessLookupError), handle(child) as process:
                    # Whoever has lost its parent belongs to the first process of all.
                    if parent_of(child) in {record.pid, 1}:
                        signal.pidfd_send_signal(process, signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.send_signal(how)
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()
        self._process = None


@contextmanager
def handle(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def parent_of(pid: int) -> int | None:
    """Process id of the parent; None where the process has gone."""
    try:
        status = Path("/proc", str(pid), "stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    # After the name, which may hold anything and stands in brackets.
    return int(status.rpartition(")")[2].split()[1])


# ---- The clients ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client wants to be recorded."""

    key: str
    path: str
    body: dict[str, Any]


@dataclass(kw_only=True)
class Load:
    """Clients that post as fast as they are answered, until they are told to end."""

    url: str
    token: str
    answers: dict[str, Any] = field(default_factory=dict)
    """Key -> what was answered."""
    unanswered: list[Request] = field(default_factory=list)
    """Whatever became of them."""
    surprises: list[str] = field(default_factory=list)
    """Answers that no crash explains."""
    _ending: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for _ in range(CLIENTS):
            thread = threading.Thread(target=self._run)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def await_answers(self, more: int) -> None:
        """Until so many more requests were answered."""
        wanted = len(self.answers) + more
        gives_up_at = time.monotonic() + PATIENCE_S
        while len(self.answers) < wanted:
            assert not self.surprises, self.surprises
            assert time.monotonic() < gives_up_at, "nobody is answered any more"
            time.sleep(PAUSE_S)

    def resend(self) -> list[Any]:
        """Send everything again that has no answer; the answers."""
        with self._open() as http:
            return [self._until_answered(http, request) for request in self.unanswered]

    def send(self, http: httpx.Client, request: Request) -> httpx.Response:
        return http.post(
            f"/v1/ledgers/{LEDGER}{request.path}",
            json=request.body,
            headers={"Idempotency-Key": request.key},
        )

    def _open(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30
        )

    def _until_answered(self, http: httpx.Client, request: Request) -> Any:
        gives_up_at = time.monotonic() + PATIENCE_S
        while True:
            answer = self.send(http, request)
            if answer.is_success:
                return answer.json()
            assert answer.json()["retryable"], answer.text
            assert time.monotonic() < gives_up_at, answer.text
            time.sleep(PAUSE_S)

    def _run(self) -> None:
        with self._open() as http:
            request = self._next(None)
            while not self._ending.is_set():
                try:
                    answer = self.send(http, request)
                except httpx.ConnectError:
                    # Nobody was there to hear it, so it is still to be sent.
                    time.sleep(PAUSE_S)
                    continue
                except httpx.HTTPError:
                    self.unanswered.append(request)
                    request = self._next(None)
                    continue
                said = answer.json()
                if answer.is_success:
                    self.answers[request.key] = said
                    request = self._next(said["id"] if request.path == "/effects" else None)
                elif said["retryable"]:
                    self.unanswered.append(request)
                    request = self._next(None)
                    time.sleep(BACKOFF_S)
                else:
                    self.surprises.append(answer.text)
                    return

    def _next(self, effect: str | None) -> Request:
        """An effect, some with words; now and then a refund of the one recorded just now."""
        number = next(self._numbers)
        if effect is not None and number % 3 == 0:
            return Request(key=f"k{number}", path=f"/effects/{effect}/refunds", body=refund("0.50"))
        note = {"note": f"words {number}"} if number % 5 == 0 else {}
        body = capture(subject=f"order/{number}", labels={"n": str(number)}, **note)
        return Request(key=f"k{number}", path="/effects", body=body)


# ---- The laws -------------------------------------------------------------------------


@pytest.fixture
def house() -> Iterator[tuple[Shell, Serving, str, str]]:
    """A service that does not run yet, with a ledger, its key, and a key for everything."""
    with passable_directory() as base:
        shell = Shell(data_dir=base / "data")
        vkey = shell.good("ledger", "create", LEDGER)["vkey"]
        token = shell.good("key", "create", "--name", "till", "--scope", "*")["key"]
        serving = Serving(shell)
        yield shell, serving, vkey, token
        serving.stop()


def test_a_service_that_is_killed_loses_nothing_it_answered(house):
    """At any moment, as often as it likes: the next one goes on from there."""
    shell, serving, vkey, token = house
    chance = random.Random(1)
    with Load(url=serving.url, token=token) as load:
        for _ in range(KILLS):
            serving.start()
            load.await_answers(8)
            time.sleep(chance.random() / 10)
            serving.kill()
        serving.start()
        load.await_answers(8)

    check_nothing_is_lost(shell, serving, load, vkey)


def test_a_database_that_is_killed_loses_nothing_that_was_answered(house):
    """The server and all its processes at once; the service starts it again."""
    shell, serving, vkey, token = house
    chance = random.Random(2)
    with Load(url=serving.url, token=token) as load:
        for kill in range(KILLS):
            if kill % KILLS_PER_SERVICE == 0:
                serving.stop()
                serving.start()
            load.await_answers(8)
            time.sleep(chance.random() / 10)
            serving.kill_database()
        load.await_answers(8)

    check_nothing_is_lost(shell, serving, load, vkey)


def check_nothing_is_lost(shell: Shell, serving: Serving, load: Load, vkey: str) -> None:
    """Everything answered is there as it was answered, and everything else is there once."""
    assert not load.surprises, load.surprises
    # A kill that met nobody shows nothing.
    assert load.unanswered
    resent = load.resend()
    again = load.resend()
    assert [each["id"] for each in again] == [each["id"] for each in resent]
    serving.stop()

    with open_service(read_settings(shell.environment)) as service:
        size = service.reader.size(LEDGER)
        entries = [parse_entry(service.reader.entry_bytes(LEDGER, seq)) for seq in range(size)]
        job = service.verifications.start(LEDGER)
        service.verifications.wait()
        report = service.verifications.get(LEDGER, job)["report"]
    assert set(report["verdicts"].values()) == {"ok"}, report["findings"]

    keys = Counter(entry.effect.key for entry in entries if isinstance(entry, Entry))
    sent = load.answers.keys() | {request.key for request in load.unanswered}
    assert keys == Counter(sent)
    verifier = VerifierKey.parse(vkey)
    by_key = {entry.effect.key: entry for entry in entries if isinstance(entry, Entry)}
    told = load.answers | {
        request.key: answer for request, answer in zip(load.unanswered, resent, strict=True)
    }
    for key, answer in told.items():
        entry = by_key[key]
        assert (answer["id"], answer["seq"], answer["entry_hash"], answer["recorded_at"]) == (
            entry.id,
            entry.seq,
            entry.hash.hex(),
            entry.recorded_at,
        )
        verified = verify_receipt(parse_receipt(answer["receipt"]), [verifier])
        assert (verified.seq, verified.entry) == (entry.seq, entry.encoded)

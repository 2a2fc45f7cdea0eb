"""
Laws of several signers: processes that share one record sign one history, whoever dies meanwhile.

Each is a process of its own with a key, a connection and the same directory, as the workers of
one host are.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.append import Appender
from ledger.clock import SystemClock
from ledger.entry import parse_entry
from ledger.errors import OutcomeUnknownError, PushbackError
from ledger.merkle import leaf_hash, root_of
from ledger.note import VerifierKey
from ledger.receipt import verify_receipt
from ledger.signing.signer import FileSigner
from ledger.storage.database import WRITER
from ledger.storage.postgres import PostgresStorage
from ledger.submission import Outcome, Posting
from ledger.vault import Vault
from tests.faults.house import House, asked, asks, open_house, recorded

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0
KILLS = 20
TOGETHER = 3
_spawn = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def ledger(house) -> str:
    return house.open_ledger()


# ---- The writers ----------------------------------------------------------------------


def write(at: Place, *, name: str, batches: int, told: Path) -> None:
    """Append, hold every receipt to the key, and put down what it says before the next."""
    private_key = Ed25519PrivateKey.from_private_bytes(at.key)
    storage = PostgresStorage(lambda _role: at.conninfo)
    signer = FileSigner(at.directory, private_key)
    appender = Appender(storage, signer, Vault(bytes(32)), SystemClock())
    verifier = VerifierKey.parse(at.vkey)
    chance = random.Random(name)
    with told.open("ab", buffering=0) as file:
        for batch in range(batches):
            count = chance.randint(1, 9)
            request = asked(at.ledger, *(asks(f"{name}-{batch}-{each}") for each in range(count)))
            for outcome in answered(appender, request):
                receipt = recorded(outcome).receipt
                assert receipt is not None
                line: dict[str, Any] = {"entry": receipt.entry.decode()}
                if receipt.level != "unsigned":
                    verified = verify_receipt(receipt, [verifier])
                    line["size"] = verified.place.checkpoint.size
                    line["root"] = verified.place.checkpoint.root.hex()
                file.write(json.dumps(line).encode() + b"\n")


def answered(appender: Appender, posting: Posting) -> list[Outcome]:
    """As clients do: the same keys, until there is an answer."""
    while True:
        try:
            [outcomes] = appender.append(posting.ledger, [posting])
        except (PushbackError, OutcomeUnknownError):
            continue
        return outcomes


@dataclass(frozen=True, kw_only=True)
class Place:
    """What every writer is told."""

    conninfo: str
    directory: Path
    key: bytes
    vkey: str
    ledger: str


@pytest.fixture
def place(house, ledger) -> Place:
    return Place(
        conninfo=house.conninfo(WRITER),
        directory=house.signer._directory,
        key=house.signer._private_key.private_bytes_raw(),
        vkey=house.reader.ledger(ledger).vkey,
        ledger=ledger,
    )


class Writers:
    """Processes that write, and what they were answered."""

    def __init__(self, place: Place, directory: Path) -> None:
        self._place = place
        self._directory = directory
        self._processes: list[SpawnProcess] = []

    def start(self, batches: int = 10**9) -> SpawnProcess:
        """One more, with keys of its own."""
        name = f"w{len(self._processes)}"
        process = _spawn.Process(
            target=write,
            args=(self._place,),
            kwargs={"name": name, "batches": batches, "told": self._directory / name},
        )
        process.start()
        self._processes.append(process)
        return process

    def has_written(self, process: SpawnProcess, lines: int) -> bool:
        """Whether it was answered so often."""
        told = self._directory / f"w{self._processes.index(process)}"
        return told.exists() and told.read_bytes().count(b"\n") >= lines

    def wait(self) -> list[dict[str, Any]]:
        """What all were answered; those that were not killed must have come to their end."""
        for process in self._processes:
            process.join(PATIENCE_S)
            assert process.exitcode in {0, -signal.SIGKILL}, process
        lines = []
        for path in self._directory.iterdir():
            # A line that a kill cut short was not put down.
            *whole, _ = path.read_bytes().split(b"\n")
            lines += [json.loads(line) for line in whole]
        return lines


@pytest.fixture
def writers(place, tmp_path) -> Iterator[Writers]:
    writers = Writers(place, tmp_path)
    yield writers
    for process in writers._processes:
        process.kill()


def check_one_history(house: House, ledger: str, lines: list[dict[str, Any]]) -> None:
    """What everybody was answered is true of the one history that stands."""
    size = house.reader.size(ledger)
    stands = [house.reader.entry_bytes(ledger, seq) for seq in range(size)]
    for line in lines:
        entry = parse_entry(line["entry"].encode())
        assert stands[entry.seq] == entry.encoded
    signed = {(line["size"], line["root"]) for line in lines if "size" in line}
    assert signed, "nothing was signed"
    roots = dict(signed)
    assert len(roots) == len(signed), "a size was signed with two roots"
    leaves = [leaf_hash(entry) for entry in stands]
    for at, root in roots.items():
        assert root == root_of(leaves[:at]).hex()
    house.open_appender().publish(ledger)
    record, _ = house.signer.checkpoint(house.reader.ledger(ledger).origin)
    assert (record.size, record.root) == (size, root_of(leaves))
    house.verify(ledger)


def test_several_processes_sign_one_history(house, ledger, writers):
    """Each answer verifies; no size has two roots; the record ends where the history does."""
    for _ in range(4):
        writers.start(batches=30)

    lines = writers.wait()

    check_one_history(house, ledger, lines)
    assert house.reader.size(ledger) == len(lines)
    assert house.reader.published_size(ledger) == len(lines)


def test_processes_that_are_killed_leave_one_history(house, ledger, writers):
    """Wherever a kill meets them: under the head's lock, in the record, before the signature."""
    chance = random.Random(7)
    running = deque(writers.start() for _ in range(TOGETHER))
    for kill in range(KILLS):
        victim = running.popleft()
        while victim.is_alive() and not writers.has_written(victim, 1):
            time.sleep(0.001)
        time.sleep(chance.random() / 20)
        victim.kill()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL, "it ended by itself"
        if kill < KILLS - TOGETHER:
            running.append(writers.start())
    writers.start(batches=5)

    lines = writers.wait()

    check_one_history(house, ledger, lines)
    assert house.reader.size(ledger) >= len(lines)

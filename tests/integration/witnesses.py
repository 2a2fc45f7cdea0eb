"""What the tests of witnesses share: witness processes, logs made of leaves, and real ledgers."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from ledger.anchoring.anchors import Anchors
from ledger.append import Appender
from ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.clock import SystemClock
from ledger.effect import Rules, build_effect
from ledger.merkle import TreeSize, build_consistency_proof, node_hash, root_of
from ledger.note import NoteKey, VerifierKey
from ledger.publisher import LedgerLog
from ledger.reader import Reader
from ledger.registry.stops import Stops
from ledger.signing.signer import FileSigner
from ledger.storage.database import WRITER
from ledger.storage.database import engine as make_engine
from ledger.storage.postgres import PostgresStorage
from ledger.submission import Posting, Recorded, Submission
from ledger.vault import Vault
from ledger.witness.client import Extension, WitnessClient
from ledger.witness.protocol import AddCheckpoint, checkpoint_path
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, free_port

NAME = "witness.example.org/w1"
LEDGER = "shop"
SIGNING_KEY = Ed25519PrivateKey.generate()

# ---- A log of leaves, for what needs no database --------------------------------------


@dataclass
class Leaves:
    """A log that its owner may grow, cut and fork; as the client is told about ours."""

    key: NoteKey
    leaves: list[bytes] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.key.name

    def grow(self, count: int, salt: bytes = b"") -> None:
        start = len(self.leaves)
        self.leaves += [b"%d" % at + salt for at in range(start, start + count)]

    def checkpoint(self, size: int | None = None) -> tuple[Checkpoint, bytes]:
        hashes = self.hashes[:size]
        made = Checkpoint(origin=self.origin, size=len(hashes), root=root_of(hashes))
        return made, sign_checkpoint(made, self.key)

    @property
    def hashes(self) -> list[bytes]:
        return [node_hash(each, each) for each in self.leaves]

    def size(self) -> int:
        return len(self.leaves)

    def extension(self, old: int, new: int) -> Extension:
        hashes = self.hashes

        def read(level: int, index: int) -> bytes:
            if level == 0:
                return hashes[index]
            return node_hash(read(level - 1, 2 * index), read(level - 1, 2 * index + 1))

        proof = build_consistency_proof(TreeSize(old), TreeSize(new), read)
        return Extension(old_root=root_of(hashes[:old]), hashes=proof)

    def request(self, old: int, new: int) -> bytes:
        proof = tuple(self.extension(old, new).hashes)
        return AddCheckpoint(old_size=old, proof=proof, note=self.checkpoint(new)[1]).encode()


def new_log(name: str = "log.example.org/leaves", size: int = 0) -> Leaves:
    log = Leaves(key=NoteKey(name=name, private_key=Ed25519PrivateKey.generate()))
    log.grow(size)
    return log


# ---- Witness processes ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Running:
    """A witness that runs."""

    process: subprocess.Popen[str]
    url: str
    vkeys: list[str]
    home: Path
    refused: dict[str, list[str]] = field(default_factory=dict)
    """What it had refused before it began: origin -> signed checkpoints."""

    @property
    def verifiers(self) -> list[VerifierKey]:
        return [VerifierKey.parse(vkey) for vkey in self.vkeys]

    def post(self, body: bytes) -> httpx.Response:
        return httpx.post(f"{self.url}/add-checkpoint", content=body, timeout=TIMEOUT_S)

    def client(self) -> WitnessClient:
        return WitnessClient(self.url, self.verifiers)

    def shown(self, origin: str) -> httpx.Response:
        return httpx.get(f"{self.url}/{checkpoint_path(origin)}", timeout=TIMEOUT_S)


@contextmanager
def witness(
    home: Path, *logs: VerifierKey | str, arguments: tuple[str, ...] = ()
) -> Iterator[Running]:
    """A witness process that lives in `home`, for the length of the block."""
    trusted = [each if isinstance(each, str) else each.encode() for each in logs]
    shell = Shell(data_dir=home / "unused").set(LOG_LEVEL="error")
    process = subprocess.Popen(
        [
            *(*COMMAND, "witness", "--json", "--name", NAME, "--dir", str(home)),
            *("--port", str(free_port())),
            *(part for each in trusted for part in ("--log", each)),
            *arguments,
        ],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the witness ended with {process.wait()}"
        said = httpx.Response(200, content=line).json()
        yield Running(
            process=process,
            url=said["url"],
            vkeys=said["vkeys"],
            home=home,
            refused=said["refused"],
        )
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
        process.stdout.close()


# ---- Real ledgers ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class House:
    """One database, and a signer with its memory."""

    conninfo: Callable[[str], str]
    signer: FileSigner
    storage: PostgresStorage
    engine: Engine
    appender: Appender
    stops: Stops

    @property
    def reader(self) -> Reader:
        return Reader(self.engine)

    @property
    def anchors(self) -> Anchors:
        return Anchors(self.engine, self.reader)

    @property
    def log(self) -> LedgerLog:
        return LedgerLog(self.reader, LEDGER)

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey.parse(self.reader.ledger(LEDGER).vkey)

    def published(self) -> tuple[Checkpoint, bytes]:
        note = self.reader.checkpoint(LEDGER)
        return open_checkpoint(note, [self.verifier]), note

    def grow(self, size: int, words: str = "said", ledger: str = LEDGER) -> None:
        """Record effects up to `size`, in one batch."""
        now = datetime.now(UTC)
        submissions = tuple(
            Submission(
                effect=build_effect(
                    {
                        "kind": "effect",
                        "type": "email.sent",
                        "key": f"{words}-{at}",
                        "occurred_at": "2026-03-01T09:30:00Z",
                    },
                    rules=Rules(units={}),
                    now=now,
                )
            )
            for at in range(self.reader.size(ledger), size)
        )
        posting = Posting(
            ledger=ledger, principal="till", submissions=submissions, with_receipts=False
        )
        [outcomes] = self.appender.append(ledger, [posting])
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            assert isinstance(outcome, Recorded)


@contextmanager
def house(conninfo: Callable[[str], str], keys: Path) -> Iterator[House]:
    signer = FileSigner(keys, SIGNING_KEY)
    storage = PostgresStorage(conninfo)
    engine = make_engine(conninfo, WRITER, pool_size=2)
    stops = Stops(engine)
    try:
        yield House(
            conninfo=conninfo,
            signer=signer,
            storage=storage,
            engine=engine,
            appender=Appender(storage, signer, Vault(bytes(32)), SystemClock(), stops),
            stops=stops,
        )
    finally:
        storage.close()
        engine.dispose()
        signer.close()


def wait_until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < ends_at, "waited long enough"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

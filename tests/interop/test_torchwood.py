"""Torchwood's receipt verifier and its witness take what we sign, and nothing else."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ledger.canonical import parse_json
from ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.note import (
    ED25519_COSIGNATURE,
    NoteKey,
    Signature,
    VerifierKey,
    key_id,
    open_note,
    parse_note,
)
from ledger.receipt import parse_receipt, parse_tlog_proof, verify_receipt
from ledger.signing.keys import load_signing_key
from tests.integration.commands import free_port
from tests.interop.conftest import Kept, Log
from tests.interop.test_tampering import PLACES, flip, receipt_flips
from tests.interop.tools import Ended, Program, find_installed

pytestmark = pytest.mark.slow

WITNESS = "witness.example/w1"
STARTS_WITHIN_S = 30.0


# ---- A receipt ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spicy() -> Program:
    return find_installed("spicy-torchwood")


@dataclass(frozen=True, kw_only=True)
class Spicy:
    """A receipt as it lies beside its entry: the proof without its first line."""

    program: Program
    entry: Path
    proof: Path
    vkey: str

    def verify(self) -> Ended:
        return self.program.run("-verify", self.vkey, self.entry)


@pytest.fixture
def spice(spicy: Program, kept: Kept, tmp_path: Path) -> Spicy:
    entry, proof = tmp_path / "entry.json", tmp_path / "entry.json.spicy"
    entry.write_bytes(kept.entry)
    proof.write_bytes(kept.proof.partition(b"\n")[2])
    return Spicy(program=spicy, entry=entry, proof=proof, vkey=kept.vkey_file.read_text().strip())


def test_a_receipt_is_verified_offline(spice: Spicy) -> None:
    """By a program that knows one key and two files."""
    ended = spice.verify()

    assert ended.code == 0, ended.said


@pytest.mark.parametrize("place", [*PLACES, "entry", "one byte more", "another key"])
def test_a_receipt_with_one_thing_wrong_is_refused(
    spice: Spicy, kept: Kept, log_of: Callable[[int], Log], place: str
) -> None:
    if place == "another key":
        spice = Spicy(
            program=spice.program, entry=spice.entry, proof=spice.proof, vkey=log_of(1).vkey
        )
    elif place == "one byte more":
        spice.entry.write_bytes(kept.entry + b"\n")
    elif place == "entry":
        flip(spice.entry, len(kept.entry) // 2)
    else:
        header = kept.proof.index(b"\n") + 1
        flip(spice.proof, receipt_flips(kept.proof)[place] - header)

    ended = spice.verify()

    assert ended.code == 1, ended.said


# ---- A witness ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Witness:
    """A running litewitness."""

    url: str
    verifier: VerifierKey
    control: Callable[..., Ended]

    def enrol(self, log: Log) -> None:
        """Have it follow a log, and know its key."""
        origin = log.vkey.partition("+")[0]
        assert self.control("add-log", "-origin", origin).code == 0
        assert self.control("add-key", "-origin", origin, "-key", log.vkey).code == 0

    def add(self, old: int, proof: list[bytes], note: bytes) -> httpx.Response:
        """Show it a checkpoint, and that it extends the one of size `old`."""
        lines = [f"old {old}", *(base64.b64encode(each).decode() for each in proof)]
        body = "\n".join(lines).encode() + b"\n\n" + note
        return httpx.post(f"{self.url}/add-checkpoint", content=body)


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    litewitness, witnessctl = find_installed("litewitness"), find_installed("witnessctl")
    agent_program, keygen = find_installed("ssh-agent"), find_installed("ssh-keygen")
    adder = find_installed("ssh-add")
    directory = tmp_path_factory.mktemp("witness")
    key, socket, database = directory / "key", directory / "agent", directory / "witness.db"
    assert keygen.run("-q", "-t", "ed25519", "-N", "", "-f", key).code == 0
    fingerprint = keygen.run("-l", "-f", key).out.split()[1]

    def control(command: str, *arguments: str) -> Ended:
        return witnessctl.run(command, "-db", database, *arguments)

    agent = subprocess.Popen([agent_program.path, "-D", "-a", socket], stdout=subprocess.DEVNULL)
    running: subprocess.Popen[bytes] | None = None
    try:
        wait_for(socket.exists)
        loaded = Program(
            path=adder.path, version="", environment={"SSH_AUTH_SOCK": str(socket)}
        ).run("-q", key)
        assert loaded.code == 0, loaded.said
        address = f"127.0.0.1:{free_port()}"
        running = subprocess.Popen(
            [
                *(litewitness.path, "-db", database, "-name", WITNESS, "-key", fingerprint),
                *("-ssh-agent", socket, "-listen", address),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: answers(f"http://{address}/"))
        yield Witness(
            url=f"http://{address}",
            verifier=verifier_of(key.with_suffix(".pub").read_text()),
            control=control,
        )
    finally:
        for each in (running, agent):
            if each is not None:
                each.terminate()
                each.wait()


def verifier_of(public: str) -> VerifierKey:
    """The witness's key, from the line that SSH keeps it in."""
    # RFC 8709 Section 4: the raw key comes last.
    raw = base64.b64decode(public.split()[1])[-32:]
    return VerifierKey(
        name=WITNESS,
        key_id=key_id(WITNESS, ED25519_COSIGNATURE, raw),
        algorithm=ED25519_COSIGNATURE,
        public_key=raw,
    )


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(holds: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < STARTS_WITHIN_S
        time.sleep(0.02)


def consistency(log: Log, old: int, new: int) -> list[bytes]:
    proof = parse_json(log.read(f"/proofs/consistency?from={old}&to={new}"))
    return [bytes.fromhex(each) for each in proof["proof"]]


@pytest.fixture
def followed(make_log: Callable[..., Log], witness: Witness) -> Log:
    """A log of five entries that the witness knows, and has cosigned at this size."""
    log = make_log(5)
    witness.enrol(log)
    answer = witness.add(0, [], log.read("/log/checkpoint"))
    assert answer.status_code == 200, answer.text
    return log


def test_a_witness_cosigns_an_empty_log_and_what_it_becomes(
    make_log: Callable[..., Log], witness: Witness
) -> None:
    """From size to size, each with our proof that it extends the one before."""
    log, before = make_log(), 0
    witness.enrol(log)
    for size in (1, 2, 255, 256, 257, 600):
        log.grow(before, size)
        note = log.read("/log/checkpoint")

        answer = witness.add(before, consistency(log, before, size), note)

        assert answer.status_code == 200, answer.text
        cosigned = note + answer.content
        keys = [VerifierKey.parse(log.vkey), witness.verifier]
        opened = open_note(cosigned, keys)
        assert opened.is_signed_by(witness.verifier)
        assert open_checkpoint(cosigned, keys).size == size
        before = size


def test_a_cosigned_receipt_reaches_its_level(
    followed: Log, witness: Witness, tmp_path: Path
) -> None:
    """The witness's line under the checkpoint of a receipt is one more signature, and counts."""
    document = json.loads(followed.read("/entries/3/receipt"))
    note = parse_tlog_proof(document["proof"]).checkpoint_note
    line = witness.add(5, [], note).text
    document |= {"proof": document["proof"] + line, "level": "cosigned"}
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(document))

    verified = verify_receipt(
        parse_receipt(document),
        [VerifierKey.parse(followed.vkey)],
        witnesses=[witness.verifier],
        quorum=1,
    )
    told = followed.shell.good(
        *("verify", file, "--vkey", followed.vkey),
        *("--witness", witness.verifier.encode(), "--quorum", "1"),
    )

    assert (verified.seq, verified.level) == (3, "cosigned")
    assert (told["level"], told["witnesses"]) == ("cosigned", [WITNESS])


def test_a_rolled_back_log_is_told_that_more_was_seen(followed: Log, witness: Witness) -> None:
    """409 with the larger size: whoever restored an old backup learns it here."""
    old = followed.read("/log/checkpoint")
    followed.grow(5, 300)
    note = followed.read("/log/checkpoint")
    assert witness.add(5, consistency(followed, 5, 300), note).status_code == 200

    answer = witness.add(5, [], old)

    assert (answer.status_code, answer.text) == (409, "300\n")
    assert answer.headers["Content-Type"] == "text/x.tlog.size"


def test_a_forked_log_is_not_cosigned(followed: Log, witness: Witness) -> None:
    """422: the key is ours and the history is not, whoever holds the key."""
    origin = followed.vkey.partition("+")[0]
    key = NoteKey(
        name=origin,
        private_key=load_signing_key(None, followed.shell.data_dir / "keys" / "signing-key.pem"),
    )
    followed.grow(5, 9)
    forged = sign_checkpoint(Checkpoint(origin=origin, size=9, root=bytes(32)), key)

    answer = witness.add(5, consistency(followed, 5, 9), forged)

    assert answer.status_code == 422, answer.text
    honest = followed.read("/log/checkpoint")
    assert witness.add(5, consistency(followed, 5, 9), honest).status_code == 200


def test_a_signature_that_is_not_ours_is_not_cosigned(followed: Log, witness: Witness) -> None:
    """403: one flipped bit of it."""
    followed.grow(5, 9)
    note = parse_note(followed.read("/log/checkpoint"))
    [line] = note.signatures
    damaged = Signature(
        name=line.name,
        key_id=line.key_id,
        signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]),
    )

    answer = witness.add(
        5, consistency(followed, 5, 9), (note.text + "\n" + damaged.encode()).encode()
    )

    assert answer.status_code == 403, answer.text


def test_a_log_that_is_not_enrolled_is_not_cosigned(
    make_log: Callable[..., Log], witness: Witness
) -> None:
    """404: a witness follows those it was told to."""
    log = make_log(1)

    assert witness.add(0, [], log.read("/log/checkpoint")).status_code == 404

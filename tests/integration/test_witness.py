"""Real witnesses, real ledgers: one history is cosigned, and another one raises the alarm."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import open_checkpoint
from ledger.cosignature import Cosignature, cosignatures_of, ed25519_cosigner
from ledger.errors import ForkedError, LedgerBrokenError, RolledBackError, SettingsError
from ledger.merkle import EMPTY_ROOT
from ledger.note import (
    ED25519_COSIGNATURE,
    NoteKey,
    VerifierKey,
    key_id,
    open_note,
    parse_note,
)
from ledger.policy import parse_policy, verify_receipt_under
from ledger.receipt import Receipt, parse_tlog_proof
from ledger.registry.ledgers import Registry
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.witness.client import NotCosigned, WitnessClient
from ledger.witness.protocol import (
    REQUEST_BYTES_MAX,
    Conflict,
    Cosigned,
    Ground,
    encode_answer,
    parse_answer,
)
from ledger.witness.store import WitnessStore
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, free_port, settled_directory
from tests.integration.witnesses import (
    LEDGER,
    NAME,
    SIGNING_KEY,
    House,
    Leaves,
    Running,
    house,
    listens,
    new_log,
    wait_until,
    witness,
)
from tests.vectors.shared import SHARED

SIZES = (3, 40, 300)
"""A ledger is signed at each of these."""


@pytest.fixture(scope="module")
def logs() -> list[Leaves]:
    """Logs the witness of these tests looks after; each test takes some for itself."""
    return [new_log(f"log.example.org/{at}") for at in range(12)]


@pytest.fixture(scope="module")
def running(tmp_path_factory, logs) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("witness") / "home"
    with witness(home, *(log.key.verifier for log in logs)) as started:
        yield started


@pytest.fixture
def log(logs) -> Leaves:
    """A log nobody has asked about yet, with some entries."""
    taken = logs.pop()
    taken.grow(20)
    return taken


def good_cosignatures(answer: Any, verifiers: list[VerifierKey]) -> tuple[Cosignature, ...]:
    assert not isinstance(answer, NotCosigned), answer.reason
    assert {each.witness for each in answer} <= set(verifiers)
    return answer


# ---- Answers --------------------------------------------------------------------------


def test_each_of_the_six_answers_is_given_and_understood(running, log):
    """By a process, over HTTP, in the order a log would meet them."""
    other = new_log(size=20)
    impostor = Leaves(key=NoteKey(name=log.origin, private_key=other.key.private_key))
    impostor.grow(20)
    fork = Leaves(key=log.key, leaves=log.leaves[:10])
    fork.grow(15, b"fork")
    expected = [
        (log.request(0, 20), 200),
        (b"old 0\n", 400),
        (impostor.request(0, 20), 403),
        (other.request(0, 20), 404),
        (log.request(0, 20), 409),
        (fork.request(20, 25), 422),
        (log.request(20, 20), 200),
    ]
    for body, status in expected:
        response = running.post(body)
        assert response.status_code == status, response.text
        answer = parse_answer(status, response.headers["content-type"], response.content)
        assert encode_answer(answer).body == response.content
        if status == 409:
            assert answer == Conflict(size=20)


def test_what_is_too_large_or_elsewhere_is_no_checkpoint(running):
    assert running.post(b"x" * (REQUEST_BYTES_MAX + 1)).status_code == 413
    assert httpx.get(f"{running.url}/add-checkpoint").status_code == 405
    assert httpx.get(f"{running.url}/").status_code == 404
    assert httpx.get(f"{running.url}/healthz").text == "ok\n"


def test_what_was_cosigned_last_is_shown_to_monitors(running, log):
    """With both lines under it, and never from a cache."""
    assert running.shown(log.origin).status_code == 404
    for size in (7, 20):
        running.post(log.request(0 if size == 7 else 7, size))
        response = running.shown(log.origin)

        known = [log.key.verifier, *running.verifiers]
        assert open_checkpoint(response.content, known) == log.checkpoint(size)[0]
        assert all(map(open_note(response.content, known).is_signed_by, known))
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"


def test_exchanges_recorded_with_another_witness_end_the_same_with_ours(tmp_path):
    """Where the protocol fixes the answer: status and type always, and the size of a conflict."""
    path = SHARED / "vectors" / "witness" / "add_checkpoint_recorded.json"
    if not path.exists():
        pytest.skip("NOT CHECKED against another witness: there is no ../shared/vectors beside us")
    recorded = httpx.Response(200, content=path.read_bytes()).json()
    with witness(tmp_path / "home", recorded["log_vkey"]) as started:
        for exchange in recorded["exchanges_in_order"]:
            response = started.post(exchange["request"].encode())
            assert (response.status_code, response.headers["content-type"]) == (
                exchange["status"],
                exchange["content_type"],
            ), exchange["name"]
            if response.status_code == 409:
                assert response.text == exchange["response"]


def test_with_the_switch_there_is_a_post_quantum_line_beside_the_other(tmp_path):
    log = new_log(size=9)
    with witness(tmp_path / "home", log.key.verifier, arguments=("--ml-dsa",)) as started:
        with started.client() as client:
            found = good_cosignatures(client.cosign(*log.checkpoint(), log), started.verifiers)
        assert [each.witness.algorithm for each in found] == [0x04, 0x06]
        assert len(started.shown(log.origin).content) > 3_000


# ---- Several at once ------------------------------------------------------------------


def test_of_two_submissions_from_the_same_size_one_wins(tmp_path):
    """Two witness processes on one memory, and a log that asks both at the same moment."""
    log = new_log(size=60)
    home = tmp_path / "home"
    with witness(home, log.key.verifier) as first, witness(home, log.key.verifier) as second:
        assert first.vkeys == second.vkeys
        for running in ([first, first], [first, second]):
            size = parse_size(first, log)
            for _ in range(6):
                wanted = [size + 1, size + 2]
                start = threading.Barrier(2)

                def submit(at: int, size=size, wanted=wanted, running=running, start=start):
                    body = log.request(size, wanted[at])
                    start.wait()
                    return running[at].post(body)

                with ThreadPoolExecutor(2) as threads:
                    responses = list(threads.map(submit, (0, 1)))
                assert sorted(each.status_code for each in responses) == [200, 409]
                won = 0 if responses[0].status_code == 200 else 1
                assert responses[1 - won].text == f"{wanted[won]}\n"
                size = wanted[won]
                assert parse_size(second, log) == size


def parse_size(running: Running, log: Leaves) -> int:
    response = running.shown(log.origin)
    if response.status_code == 404:
        return 0
    return open_checkpoint(response.content, [log.key.verifier]).size


@pytest.mark.slow
def test_what_was_cosigned_outlives_any_end_of_the_process(tmp_path):
    """Killed in the middle of a stream of submissions, again and again: it never goes back."""
    log, home = new_log(size=3_000), tmp_path / "home"
    size = 0
    for round_ in range(6):
        cosigned = [size]
        with witness(home, log.key.verifier) as started:
            assert parse_size(started, log) >= size
            size = parse_size(started, log)

            def submit_until_it_ends(size=size, started=started, cosigned=cosigned) -> None:
                with httpx.Client(base_url=started.url, timeout=TIMEOUT_S) as http:
                    while size < len(log.leaves):
                        body = log.request(size, size + 1)
                        try:
                            response = http.post("/add-checkpoint", content=body)
                        except httpx.HTTPError:
                            return
                        assert response.status_code == 200, response.text
                        size += 1
                        cosigned.append(size)

            submitting = threading.Thread(target=submit_until_it_ends)
            submitting.start()
            # Not before it is in the middle, and each time at another moment.
            while len(cosigned) < 5 + 3 * round_ and submitting.is_alive():
                time.sleep(0.001)
            started.process.kill()
            submitting.join()
        size = cosigned[-1]
        assert len(cosigned) >= 5

    with witness(home, log.key.verifier) as started:
        found = parse_size(started, log)
        # What it was killed over may have been remembered and not told; never the reverse.
        assert size <= found <= size + 1
        shrunk = started.post(log.request(0, size - 1))
        assert (shrunk.status_code, shrunk.text) == (409, f"{found}\n")
        with sqlite3.connect(home / "memory.sqlite") as memory:
            assert memory.execute("pragma integrity_check").fetchone() == ("ok",)
        memory.close()


# ---- The client -----------------------------------------------------------------------


def test_a_client_learns_what_the_witness_has_and_proves_from_there(running, log):
    """A first call without a hint, one with a good hint, and one whose hint is stale."""
    with running.client() as first, running.client() as second:
        for client, size in [(first, 5), (first, 9), (second, 14), (first, 20), (second, 20)]:
            checkpoint, note = log.checkpoint(size)
            [found] = good_cosignatures(client.cosign(checkpoint, note, log), running.verifiers)

            cosigned = note + found.line.encode().encode()
            known = [log.key.verifier, *running.verifiers]
            assert open_checkpoint(cosigned, known) == checkpoint
            assert cosignatures_of(open_note(cosigned, known), running.verifiers) == (found,)
            assert parse_size(running, log) == size


def test_a_cosignature_of_the_same_tree_is_given_again_with_its_time(running, log):
    """So is the age of the last one kept low where nothing happens."""
    with running.client() as client:
        [first] = client.cosign(*log.checkpoint(), log)
        [second] = client.cosign(*log.checkpoint(), log)
    assert 0 <= second.time - first.time < TIMEOUT_S
    assert abs(second.time - time.time()) < TIMEOUT_S


@pytest.mark.parametrize(
    ("ground", "status"),
    [(Ground.UNKNOWN_LOG, 404), (Ground.UNSIGNED, 403)],
    ids=["not-enrolled", "another-key"],
)
def test_a_refusal_that_says_nothing_about_the_tree_is_no_alarm(running, log, ground, status):
    name = log.origin if ground is Ground.UNSIGNED else "log.example.org/stranger"
    stranger = new_log(name, size=4)
    with running.client() as client:
        answer = client.cosign(*stranger.checkpoint(), stranger)

    assert isinstance(answer, NotCosigned)
    assert answer.ground is ground
    assert f"refuses {name} with {status}" in answer.reason


def test_a_witness_that_is_fed_by_another_of_our_processes_is_no_alarm(running, log):
    """It has more than we asked for, and no more than we published since."""
    with running.client() as client:
        client.cosign(*log.checkpoint(20), log)
        answer = client.cosign(*log.checkpoint(9), log)
        assert isinstance(answer, NotCosigned)
        assert "has 20 entries already" in answer.reason
        good_cosignatures(client.cosign(*log.checkpoint(20), log), running.verifiers)


# Answers of what stands where a witness should be.
STRANGE: dict[str, tuple[int, str, bytes]] = {
    "web-page": (200, "text/html", b"<p>welcome</p>"),
    "empty": (200, "text/plain", b""),
    "moved": (302, "text/plain", b""),
    "busy": (429, "text/plain", b"later\n"),
    "broken": (500, "text/plain", b"oh\n"),
    # Frameworks validate like this what they do not know: no word about a tree.
    "validation": (422, "application/json", b'{"detail": []}'),
    "conflict-without-size": (409, "application/json", b"{}"),
    "conflict-about-nothing": (409, "text/x.tlog.size", b"0\n"),
    "endless": (200, "text/plain", b"x" * 1_000_000),
}


@contextmanager
def standing_in(status: int, media_type: str, body: bytes) -> Iterator[str]:
    """An HTTP server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.mark.parametrize("wire", STRANGE.values(), ids=STRANGE)
def test_what_is_no_witness_stops_no_ledger(wire):
    """A wrong URL, a proxy, a web page: there is no cosignature, and no alarm."""
    log = new_log(size=4)
    verifier = ed25519_cosigner(NAME, Ed25519PrivateKey.generate()).verifier
    with standing_in(*wire) as url, WitnessClient(url, [verifier]) as client:
        answer = client.cosign(*log.checkpoint(), log)
    assert isinstance(answer, NotCosigned)
    assert url in answer.reason


@pytest.mark.parametrize(
    "line",
    ["of-a-stranger", "forged", "of-another-tree"],
)
def test_a_line_that_is_not_the_witness_s_word_for_this_tree_is_no_cosignature(line):
    log = new_log(size=4)
    own, stranger = (ed25519_cosigner(NAME, Ed25519PrivateKey.generate()) for _ in range(2))
    text, other = (parse_note(log.checkpoint(size)[1]).text for size in (4, 3))
    answer = {
        "of-a-stranger": stranger.sign(text, time=1),
        "forged": replace(stranger.sign(text, time=1), key_id=own.verifier.key_id),
        "of-another-tree": own.sign(other, time=1),
    }[line]
    wire = encode_answer(Cosigned(signatures=(answer,)))
    with standing_in(*wire) as url, WitnessClient(url, [own.verifier]) as client:
        assert isinstance(client.cosign(*log.checkpoint(), log), NotCosigned)

    both = encode_answer(Cosigned(signatures=(own.sign(text, time=1), stranger.sign(text, time=1))))
    with standing_in(*both) as url, WitnessClient(url, [own.verifier]) as client:
        [found] = good_cosignatures(client.cosign(*log.checkpoint(), log), [own.verifier])
        assert found.witness == own.verifier


def test_a_witness_that_is_away_is_no_alarm():
    log = new_log(size=4)
    url = f"http://127.0.0.1:{free_port()}"
    with WitnessClient(url, [log.key.verifier]) as client:
        answer = client.cosign(*log.checkpoint(), log)
        assert client.latest(log.origin, [log.key.verifier]) is None
    assert answer == NotCosigned(reason=f"{url} does not answer: ConnectError", ground=None)


@pytest.mark.parametrize("url", ["", "w.example", "ftp://w.example", "http://", "http://[::1"])
def test_a_witness_has_a_url(url):
    with pytest.raises(SettingsError, match="a witness is reached by a URL"):
        WitnessClient(url, [])


# ---- Real ledgers ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Town:
    """A ledger of 300 entries, and copies of its database as it was at 40."""

    true: House
    older: House
    """Restored, and nothing more."""
    forked: House
    """Grown again, with other entries, by somebody who has the signing key and its record."""
    damaged: House
    """The true one with one hash changed, by a superuser."""


@pytest.fixture(scope="module")
def town(tmp_path_factory) -> Iterator[Town]:
    keys = tmp_path_factory.mktemp("keys")
    with settled_directory() as base, open_server(base / "data") as server:

        def database(name: str) -> Callable[[str], str]:
            return lambda role: psycopg.conninfo.make_conninfo(server.conninfo(role), dbname=name)

        def copy(name: str) -> None:
            # As a backup of the files that is put back: of the database, and not of the record.
            own = psycopg.conninfo.conninfo_to_dict(server.conninfo(SUPERUSER))["dbname"]
            with psycopg.connect(database("template1")(SUPERUSER), autocommit=True) as connection:
                connection.execute(f"create database {name} template {own}")

        with house(server.conninfo, keys / "true") as begun:
            Registry(begun.appender, begun.storage, begun.signer).create_ledger(LEDGER)
            begun.grow(SIZES[0])
            begun.grow(SIZES[1])
        for name in ("older", "forked"):
            copy(name)
            shutil.copytree(keys / "true", keys / name)
        with house(server.conninfo, keys / "true") as grown:
            grown.grow(SIZES[2])
        copy("damaged")
        with psycopg.connect(database("damaged")(SUPERUSER), autocommit=True) as connection:
            connection.execute("alter table effect_ledger.entries disable trigger all")
            connection.execute(
                "update effect_ledger.entries set hash = sha256('other') where ledger = %s and "
                "seq = 290",
                [LEDGER],
            )
        with (
            house(server.conninfo, keys / "true") as true,
            house(database("older"), keys / "older") as older,
            house(database("forked"), keys / "forked") as forked,
            house(database("damaged"), keys / "true") as damaged,
        ):
            forked.grow(310, "never-said")
            yield Town(true=true, older=older, forked=forked, damaged=damaged)


@pytest.fixture
def watching(town, tmp_path) -> Iterator[Running]:
    """A witness that has seen the true ledger at its largest."""
    with witness(tmp_path / "home", town.true.verifier) as started:
        with started.client() as client:
            good_cosignatures(
                client.cosign(*town.true.published(), town.true.log), started.verifiers
            )
        yield started


def test_a_ledger_is_cosigned_as_it_grows_and_its_receipts_say_so(town, tmp_path):
    """What a stranger needs: a policy with two keys, and a receipt."""
    with witness(tmp_path / "home", town.true.verifier) as started, started.client() as client:
        [small] = client.cosign(*town.older.published(), town.older.log)
        checkpoint, note = town.true.published()
        [large] = client.cosign(checkpoint, note, town.true.log)
        assert client.latest(checkpoint.origin, [town.true.verifier]) == (
            note + large.line.encode().encode()
        )
    assert small.time <= large.time

    receipt = town.true.reader.receipt(LEDGER, 7)
    assert receipt.proof is not None
    proof = parse_tlog_proof(receipt.proof)
    cosigned = replace(proof, checkpoint_note=note + large.line.encode().encode())
    policy = parse_policy(
        f"log {town.true.verifier.encode()}\nwitness w {started.vkeys[0]}\nquorum w\n".encode()
    )
    verified = verify_receipt_under(
        policy, Receipt(level="cosigned", proof=cosigned.encode(), entry=receipt.entry)
    )
    assert (verified.level, verified.seq, verified.ledger) == ("cosigned", 7, LEDGER)
    assert verified.place.checkpoint.size == SIZES[2]


def test_a_rolled_back_ledger_raises_the_alarm(town, watching):
    """An older backup is restored, and asks for the next cosignature."""
    with watching.client() as client:
        for _ in range(2):
            with pytest.raises(RolledBackError, match="older than what was signed") as alarm:
                client.cosign(*town.older.published(), town.older.log)
            assert alarm.value.details["size"] == SIZES[1]
            assert alarm.value.details["signed_size"] == SIZES[2]
            assert alarm.value.details["witness"] == watching.url

        shown = client.latest(town.older.published()[0].origin, [town.older.verifier])
        assert shown is not None
        assert open_checkpoint(shown, [town.older.verifier]) == town.true.published()[0]

    assert isinstance(alarm.value, LedgerBrokenError)


def test_a_ledger_that_is_restored_to_its_end_is_cosigned_again(town, watching):
    """An alarm is about the database, and ends with its cause."""
    with watching.client() as client:
        with pytest.raises(RolledBackError):
            client.cosign(*town.older.published(), town.older.log)
        good_cosignatures(client.cosign(*town.true.published(), town.true.log), watching.verifiers)


def test_a_forked_ledger_raises_the_alarm_and_leaves_evidence(town, watching):
    """One key, two histories: the witness has both, signed by the same ledger."""
    forged, note = town.forked.published()
    assert forged.size > SIZES[2]
    with watching.client() as client:
        with pytest.raises(ForkedError, match="another history") as alarm:
            client.cosign(forged, note, town.forked.log)
        assert alarm.value.details["size"] == SIZES[2]

    with witness(watching.home, town.true.verifier) as again:
        [kept] = again.refused[forged.origin]
    assert watching.refused == {}
    assert open_checkpoint(kept.encode(), [town.true.verifier]) == forged
    shown = open_checkpoint(watching.shown(forged.origin).content, [town.true.verifier])
    assert shown == town.true.published()[0]


def test_a_fork_of_the_same_size_raises_the_alarm(town, tmp_path):
    """Two histories for two readers: whoever asks second is told."""
    with witness(tmp_path / "home", town.true.verifier) as started, started.client() as client:
        good_cosignatures(
            client.cosign(*town.forked.published(), town.forked.log), started.verifiers
        )
        size = town.forked.published()[0].size
        impostor = Leaves(key=NoteKey(name=town.true.verifier.name, private_key=SIGNING_KEY))
        impostor.grow(size)
        with pytest.raises(ForkedError):
            client.cosign(*impostor.checkpoint(), impostor)


def test_a_ledger_whose_stored_tree_is_damaged_asks_nobody(town, tmp_path):
    """A proof that proves nothing does not leave the house."""
    origin = town.true.verifier.name
    with witness(tmp_path / "home", town.true.verifier) as started, started.client() as client:
        client.cosign(*town.older.published(), town.older.log)
        before = started.shown(origin).content
        with pytest.raises(LedgerBrokenError, match="does not lead to its checkpoint"):
            client.cosign(*town.damaged.published(), town.damaged.log)

        assert started.shown(origin).content == before
        assert WitnessStore(started.home / "memory.sqlite").refusals(origin) == []


# ---- Another program's witness --------------------------------------------------------


@contextmanager
def litewitness(directory: Path) -> Iterator[tuple[str, VerifierKey, Path]]:
    """torchwood's witness: its URL, its key and its database."""
    missing = [
        name
        for name in ("litewitness", "ssh-agent", "ssh-add", "ssh-keygen")
        if shutil.which(name) is None
    ]
    if missing:
        pytest.skip(f"NOT CHECKED against litewitness: {', '.join(missing)} is not installed")
    key, agent, database = directory / "key", directory / "agent", directory / "w.db"

    def run(*command: str) -> str:
        return subprocess.run(
            command,
            env={**os.environ, "SSH_AUTH_SOCK": str(agent)},
            check=True,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
        ).stdout

    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    keeping = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(agent.exists)
        run("ssh-add", "-q", str(key))
        fingerprint = run("ssh-keygen", "-l", "-f", str(key)).split()[1]
        port = free_port()
        serving = subprocess.Popen(
            [
                *("litewitness", "-db", str(database), "-name", "lite.example/w"),
                *("-key", fingerprint, "-ssh-agent", str(agent)),
                *("-listen", f"127.0.0.1:{port}"),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: listens(port))
            public = b64decode(key.with_suffix(".pub").read_text().split()[1])[-32:]
            identifier = key_id("lite.example/w", ED25519_COSIGNATURE, public).hex()
            encoded = b64encode(bytes([ED25519_COSIGNATURE]) + public).decode()
            vkey = f"lite.example/w+{identifier}+{encoded}"
            yield f"http://127.0.0.1:{port}", VerifierKey.parse(vkey), database
        finally:
            serving.terminate()
            serving.wait(TIMEOUT_S)
    finally:
        keeping.terminate()
        keeping.wait(TIMEOUT_S)


def test_another_program_s_witness_cosigns_our_ledger_and_refuses_a_false_one(town, tmp_path):
    """The same client, the same ledgers: grown, rolled back, forked."""
    with litewitness(tmp_path) as (url, verifier, database):
        origin = town.true.verifier.name
        with sqlite3.connect(database) as memory:
            # As its own administration does: a log begins with the empty tree.
            empty = b64encode(EMPTY_ROOT).decode()
            memory.execute("insert into log values (?, 0, ?)", [origin, empty])
            memory.execute("insert into key values (?, ?)", [origin, town.true.verifier.encode()])
        memory.close()
        with WitnessClient(url, [verifier]) as client:
            for each in (town.older, town.true, town.true):
                found = client.cosign(*each.published(), each.log)
                assert len(good_cosignatures(found, [verifier])) == 1
            with pytest.raises(RolledBackError):
                client.cosign(*town.older.published(), town.older.log)
            with pytest.raises(ForkedError):
                client.cosign(*town.forked.published(), town.forked.log)


# ---- The command ----------------------------------------------------------------------

LOG_VKEY = new_log().key.verifier.encode()
WRONG_STARTS = {
    "no-logs": (["--name", NAME], "a witness needs a log to look after"),
    "no-name": (["--log", LOG_VKEY], "a new witness needs --name"),
    "name-with-space": (["--name", "a b", "--log", LOG_VKEY], "not a key name"),
    "no-vkey": (["--name", NAME, "--log", "x"], "log 1: not a verifier key: 'x'"),
    "no-such-file": (["--name", NAME, "--logs", "/nowhere/logs"], "/nowhere/logs cannot be read"),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG_STARTS.values(), ids=WRONG_STARTS)
def test_a_witness_that_cannot_be_one_does_not_start(tmp_path, arguments, says):
    shell = Shell(data_dir=tmp_path / "data")
    done = shell.run("witness", "--port", str(free_port()), *arguments)

    assert done.code == 2
    assert says in done.err.splitlines()[-1]
    assert done.out == ""


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path):
    shell = Shell(data_dir=tmp_path / "data")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = shell.run("witness", "--name", NAME, "--log", LOG_VKEY, "--port", str(port))

    assert done.code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    assert not (tmp_path / "data").exists()


def test_a_witness_says_how_a_policy_names_it_and_goes_on_under_that_key(tmp_path):
    """Logs from a file; a second start needs no name, and ends in order."""
    (tmp_path / "logs").write_text(f"# one\n{LOG_VKEY}\n")
    shell = Shell(data_dir=tmp_path / "data").set(LOG_LEVEL="error")
    told = []
    for arguments in (["--name", NAME], []):
        command = [*COMMAND, "witness", *arguments, "--logs", str(tmp_path / "logs")]
        process = subprocess.Popen(
            [*command, "--port", str(free_port())],
            env=shell.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, out) == (0, ""), err
        told.append(lines)

    for lines in told:
        assert lines[0].startswith(f"The witness {NAME} answers at http://127.0.0.1:")
        name, vkey, url = lines[4].split()[1:]
        assert url == lines[0].split()[-1]
        [known] = parse_policy(f"witness {name} {vkey} {url}\nquorum {name}\n".encode()).witnesses
        assert known.verifier.name == NAME
    assert told[0][4].split()[2] == told[1][4].split()[2]
    assert (tmp_path / "data" / "witness" / "memory.sqlite").exists()

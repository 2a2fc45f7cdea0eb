"""One signer for services on several hosts: one record, the same refusals, and lost at times."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.signer import create_signer_app
from ledger.checkpoint import open_checkpoint
from ledger.client import Client, ReceiptUnsigned
from ledger.errors import (
    ForkedError,
    LedgerBrokenError,
    MalformedProofError,
    RolledBackError,
    SettingsError,
    SignerUnavailableError,
)
from ledger.merkle import Frontier, leaf_hash
from ledger.note import VerifierKey
from ledger.receipt import parse_receipt, verify_receipt
from ledger.service import open_service
from ledger.settings import read_settings
from ledger.signing import remote as remote_signer
from ledger.signing import signer as signer_module
from ledger.signing.desk import SignerDesk
from ledger.signing.remote import RemoteSigner
from ledger.signing.signer import FileSigner
from tests.api.support import capture
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, free_port, passable_directory

TOKEN = "a token of more than sixteen".replace(" ", "-")
ORIGINS = (f"ledger.example/shop-{number}" for number in itertools.count())
LEAVES = [leaf_hash(bytes([at % 256, at // 256])) for at in range(1_000)]


def root(size: int, leaves: list[bytes] = LEAVES) -> bytes:
    return Frontier.empty().extend(leaves[:size]).root()


def read(start: int, stop: int) -> list[bytes]:
    return LEAVES[start:stop]


def nothing(_start: int, _stop: int) -> list[bytes]:
    raise AssertionError("the record knows")


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> Iterator[FileSigner]:
    made = FileSigner(tmp_path_factory.mktemp("held") / "signer", Ed25519PrivateKey.generate())
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(held) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            create_signer_app(SignerDesk(held), TOKEN), port=port, log_config=None, access_log=False
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def remote(url) -> Iterator[RemoteSigner]:
    made = RemoteSigner(url, TOKEN)
    yield made
    made.close()


@pytest.fixture
def origin(remote) -> str:
    name = next(ORIGINS)
    remote.register(name)
    return name


def test_it_is_the_signer_that_it_speaks_for(remote, held, origin):
    """The same identity, key, checkpoint and note, whoever asks."""
    assert remote.identity == held.identity
    assert remote.verifiers(origin)[0] == held.verifiers(origin)[0]
    checkpoint, note = remote.sign(origin, 0, LEAVES[:5], nothing)
    assert (checkpoint.size, checkpoint.root) == (5, root(5))
    assert open_checkpoint(note, [held.verifiers(origin)[0]]) == checkpoint
    assert remote.checkpoint(origin) == held.checkpoint(origin) == (checkpoint, note)
    remote.show_base(origin, 5, root(5), nothing)
    assert remote.sign_bundle(origin, bytes(32)) == held.sign_bundle(origin, bytes(32))
    [vkey] = (key.encode() for key in held.verifiers(origin))
    assert remote.endorse(origin, vkey) == []
    with pytest.raises(MalformedProofError):
        held.endorse(origin, "another")


def test_two_hosts_extend_one_record(url, remote, origin):
    """What one had signed, the other one may go on from; the larger checkpoint is for both."""
    other = RemoteSigner(url, TOKEN)
    remote.sign(origin, 0, LEAVES[:3], nothing)
    other.show_base(origin, 3, root(3), nothing)
    other.sign(origin, 3, LEAVES[3:9], nothing)

    checkpoint, _ = remote.sign(origin, 0, LEAVES[:4], nothing)

    assert checkpoint.size == 9
    other.close()


def test_a_record_that_is_behind_is_told_the_hashes_it_lacks(remote, held, origin, monkeypatch):
    """As much as fits a request at a time, whether a base is shown or a tree is to be signed."""
    for module in (remote_signer, signer_module):
        monkeypatch.setattr(module, "CATCH_UP_LEAVES", 100)
    remote.show_base(origin, 70, root(70), read)
    assert held.checkpoint(origin)[0].size == 70
    remote.show_base(origin, 400, root(400), read)
    assert held.checkpoint(origin)[0].size == 400

    checkpoint, _ = remote.sign(origin, 900, LEAVES[900:], read)

    assert (checkpoint.size, checkpoint.root) == (1_000, root(1_000))


def test_rollback_and_fork_are_refused_as_by_the_signer_itself(remote, origin):
    """Behind, beside, and beyond with another history: nothing is signed, and each says why."""
    remote.sign(origin, 0, LEAVES[:10], nothing)
    forged = [bytes(32), *LEAVES[1:]]
    with pytest.raises(RolledBackError) as behind:
        remote.show_base(origin, 9, root(9), nothing)
    assert (behind.value.details["size"], behind.value.details["signed_size"]) == (9, 10)
    assert "effect-ledger restore" in behind.value.message
    with pytest.raises(ForkedError):
        remote.show_base(origin, 10, root(10, forged), nothing)
    with pytest.raises(ForkedError):
        remote.show_base(origin, 12, root(12, forged), read)
    assert remote.checkpoint(origin)[0].size == 10
    with pytest.raises(LedgerBrokenError, match="no record"):
        remote.show_base("ledger.example/never-registered", 0, root(0), nothing)


def test_a_signer_that_is_away_is_stood_in_for_by_what_it_said_last(url, origin, remote):
    """Bases are held against that memory; nobody signs; who never heard of it writes nothing."""
    remote.sign(origin, 0, LEAVES[:10], nothing)
    remote._http.close()
    remote._http = httpx.Client(base_url=f"http://127.0.0.1:{free_port()}")

    remote.show_base(origin, 10, root(10), nothing)
    remote.show_base(origin, 14, root(14), read)
    remote.show_base(origin, 20, root(20), lambda a, b: read(a, b) if a >= 14 else nothing(a, b))
    with pytest.raises(SignerUnavailableError):
        remote.sign(origin, 20, LEAVES[20:21], nothing)
    with pytest.raises(RolledBackError):
        remote.show_base(origin, 9, root(9), nothing)
    with pytest.raises(ForkedError):
        remote.show_base(origin, 10, root(9), nothing)
    with pytest.raises(SignerUnavailableError):
        remote.show_base(next(ORIGINS), 0, root(0), nothing)

    back = RemoteSigner(url, TOKEN)
    checkpoint, _ = back.sign(origin, 20, LEAVES[20:21], read)
    assert (checkpoint.size, checkpoint.root) == (21, root(21))
    back.close()


def test_a_frozen_signer_costs_its_timeout_once_and_not_each_time(monkeypatch):
    """Its port takes connections and answers nothing."""
    monkeypatch.setattr(remote_signer, "ANSWER_TIMEOUT_S", 0.2)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as frozen:
        remote = RemoteSigner(f"http://127.0.0.1:{frozen.getsockname()[1]}", TOKEN)
        with pytest.raises(SignerUnavailableError, match="does not answer"):
            remote.checkpoint("x/y")
        with pytest.raises(SignerUnavailableError, match="a moment ago"):
            remote.checkpoint("x/y")
        remote.close()


def test_who_does_not_know_the_token_learns_nothing(url, origin):
    stranger = RemoteSigner(url, "another-token-altogether")
    for ask in (lambda: stranger.identity, lambda: stranger.checkpoint(origin)):
        with pytest.raises(SignerUnavailableError, match="401"):
            ask()
    stranger.close()
    assert httpx.get(f"{url}/v1/identity").status_code == 401
    assert httpx.get(f"{url}/healthz").text == "ok\n"


WRONG = {
    "not JSON": ("sign", b"{", 422),
    "a list": ("sign", b"[]", 422),
    "no origin": ("checkpoint", b"{}", 422),
    "a size of true": ("base", {"origin": "o", "size": True, "root": "AA=="}, 422),
    "half a hash": ("sign", {"origin": "o", "start": 0, "leaves": "AAAA"}, 422),
    "not base64": ("sign", {"origin": "o", "start": 0, "leaves": "?"}, 422),
    "two roots": ("base", {"origin": "o", "size": 1, "root": "A" * 85 + "="}, 422),
    "a checkpoint as a verdict": ("attest", {"text": "o\n1\nAAAA\n"}, 422),
    "too much": ("sign", b" " * (4 * 1024 * 1024 + 1), 413),
    "an unknown origin": ("checkpoint", {"origin": "o"}, 409),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_question_is_refused(url, name):
    question, body, status = WRONG[name]
    answer = httpx.post(
        f"{url}/v1/{question}",
        content=body if isinstance(body, bytes) else json.dumps(body),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )

    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"code", "message", "details"}


def test_settings_that_contradict_each_other_start_nothing(tmp_path):
    base = {"EFFECT_LEDGER_DATA_DIR": str(tmp_path)}
    shared = {**base, "EFFECT_LEDGER_SIGNER_URL": "http://127.0.0.1:1"}
    key = {"EFFECT_LEDGER_SIGNING_KEY": "A" * 43 + "=", "EFFECT_LEDGER_SIGNER_TOKEN": TOKEN}
    for variables, setting in ((shared, "SIGNER_TOKEN"), (shared | key, "SIGNING_KEY")):
        with pytest.raises(SettingsError) as raised, open_service(read_settings(variables)):
            pass
        assert raised.value.details["setting"] == f"EFFECT_LEDGER_{setting}"
    with pytest.raises(SettingsError, match="no host"):
        RemoteSigner("http:///path", TOKEN)


# ---- As processes ---------------------------------------------------------------------


@contextlib.contextmanager
def signing(shell: Shell, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "signer", "--port", str(port), "--json"],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["identity"]
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
        process.stdout.close()


@pytest.mark.slow
def test_services_share_a_signer_and_outlive_it(tmp_path: Path):
    """
    Its loss is 201 with level unsigned, which clients do not take for recorded; once it is back,
    the receipt comes without a write.
    """
    port = free_port()
    with passable_directory() as base:
        shared = Shell(data_dir=tmp_path / "signer").set(SIGNER_TOKEN=TOKEN)
        shell = Shell(data_dir=base / "data").set(
            SIGNER_URL=f"http://127.0.0.1:{port}", SIGNER_TOKEN=TOKEN
        )
        assert shared.set(SIGNER_TOKEN="").run("signer").code == 2
        with (
            signing(shared, port) as process,
            shell.serving() as (_, first),
            shell.serving() as (_, told),
        ):
            key = shell.good("key", "create", "--name", "till", "--scope", "*")["key"]
            vkey = VerifierKey.parse(shell.good("ledger", "create", "shop")["vkey"])
            numbers = itertools.count()

            def post(told: dict[str, str] = first) -> httpx.Response:
                return httpx.post(
                    f"{told['url']}/v1/ledgers/shop/effects",
                    json=capture(),
                    headers={
                        "Authorization": f"Bearer {key}",
                        "Idempotency-Key": f"k-{next(numbers)}",
                    },
                    timeout=30,
                )

            for service in (first, told, first):
                answer = post(service).json()
                verify_receipt(parse_receipt(answer["receipt"]), [vkey])
            assert not (base / "data" / "signer").exists()

            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT_S)
            lost = post()
            assert (lost.status_code, lost.json()["receipt"]["level"]) == (201, "unsigned")
            assert post().status_code == 201
            said = {"key": "by-client", **capture()}
            customer = Client(first["url"], key=key, ledger="shop", vkey=vkey.encode())
            with customer as client, pytest.raises(ReceiptUnsigned):
                client.effect(**said)

            with signing(shared, port):
                ends_at = time.monotonic() + 30
                level = "unsigned"
                while level == "unsigned":
                    assert time.monotonic() < ends_at
                    time.sleep(0.2)
                    receipt = httpx.get(
                        f"{first['url']}/v1/ledgers/shop/entries/{lost.json()['seq']}/receipt",
                        headers={"Authorization": f"Bearer {key}"},
                    )
                    level = receipt.json().get("level", "unsigned")
                verify_receipt(parse_receipt(receipt.json()), [vkey])
                assert post(told).json()["receipt"]["level"] == "log-signed"
                with Client(first["url"], key=key, ledger="shop", vkey=vkey.encode()) as client:
                    assert client.effect(**said).verified.level == "log-signed"

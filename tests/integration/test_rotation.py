"""One signing key takes the place of another: both sign for a while, and the old one is bounded."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.errors import MalformedProofError, SettingsError, SignatureError
from ledger.note import NoteKey, VerifierKey, open_note, parse_note
from ledger.signing import keyring
from ledger.signing.key_history import read_key, write_key
from ledger.signing.keyring import FileRing
from ledger.signing.signer import FileSigner
from ledger.storage.embedded import attach
from ledger.storage.embedded.cluster import SUPERUSER
from tests.api.support import capture
from tests.integration.commands import Shell, settled_directory

NUMBERS = itertools.count()
LATER = datetime.now(UTC) + timedelta(days=7)
ORIGIN = "ledger.example/shop"


# ---- The ring -------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "keys" / "signing-key.pem"


@pytest.fixture
def looking(monkeypatch) -> None:
    monkeypatch.setattr(keyring, "LOOK_EVERY_S", 0)


def public(keys: Any) -> list[bytes]:
    return [key.public_key().public_bytes_raw() for key in keys]


@pytest.mark.usefixtures("looking")
@pytest.mark.parametrize("passphrase", [None, "a passphrase"])
def test_a_ring_has_two_keys_for_a_while_and_other_processes_see_it(path, passphrase):
    """At no moment without a key, and never with one that nobody else has."""
    ring, other = FileRing(path, passphrase), FileRing(path, passphrase)
    [old] = public(ring())
    assert ring() is ring()

    assert ring.begin(LATER) == ring.begin(LATER + timedelta(days=1)) == LATER
    assert public(ring()) == public(other())
    [first, new] = public(ring())
    assert first == old

    ring.finish()
    ring.finish()
    assert public(ring()) == public(other()) == public(FileRing(path, passphrase)()) == [new]
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.parent.iterdir())


@pytest.mark.usefixtures("looking")
def test_an_overlap_ends_by_itself(path):
    """The old key signs no longer than was said, whatever is forgotten."""
    ring = FileRing(path)
    ring.begin(datetime.now(UTC) + timedelta(seconds=0.5))
    [_, new] = public(ring())
    time.sleep(0.6)

    assert public(ring()) == public(FileRing(path)()) == [new]


@pytest.mark.usefixtures("looking")
def test_a_key_that_is_damaged_later_leaves_those_that_sign(path, caplog):
    """What is committed must be signed; whoever starts then is told."""
    ring = FileRing(path)
    before = public(ring())
    path.write_text("nonsense")
    os.utime(path, (1, 1))

    assert public(ring()) == before
    assert "cannot be read anew" in caplog.text
    with pytest.raises(SettingsError):
        FileRing(path)


@pytest.mark.usefixtures("looking")
def test_a_signer_signs_with_all_keys_of_its_ring(path, tmp_path):
    ring = FileRing(path)
    signer = FileSigner(tmp_path / "signer", ring()[0], ring=ring)
    signer.register(ORIGIN)
    one = signer.checkpoint(ORIGIN)[1]
    ring.begin(LATER)
    both = signer.checkpoint(ORIGIN)[1]

    assert [len(parse_note(note).signatures) for note in (one, both)] == [1, 2]
    assert both.startswith(one)
    for key in signer.verifiers(ORIGIN):
        assert open_checkpoint(both, [key]).size == 0
    old, new = (key.encode() for key in signer.verifiers(ORIGIN))
    [line] = signer.endorse(ORIGIN, new)
    note = f"effect-ledger/key/v1\n{ORIGIN}\n{new}\n\n{line}\n".encode()
    assert open_note(note, [VerifierKey.parse(old)])
    with pytest.raises(MalformedProofError):
        signer.endorse(ORIGIN, "a key of somebody else")
    signer.close()


# ---- What a retired key is worth ------------------------------------------------------


def test_a_retired_key_speaks_up_to_its_final_size_and_not_beyond():
    key = NoteKey(name=ORIGIN, private_key=Ed25519PrivateKey.generate())
    other = NoteKey(name=ORIGIN, private_key=Ed25519PrivateKey.generate())
    retired = replace(key.verifier, final_size=7)
    upto, beyond = (
        sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=bytes(32)), key)
        for size in (7, 8)
    )
    both = sign_checkpoint(Checkpoint(origin=ORIGIN, size=8, root=bytes(32)), key, other)

    assert open_checkpoint(upto, [retired]).size == 7
    with pytest.raises(SignatureError, match="retired at size 7"):
        open_checkpoint(beyond, [retired])
    assert open_checkpoint(both, [retired, other.verifier]).size == 8
    assert read_key(write_key(retired)) == retired
    assert read_key(write_key(key.verifier)) == key.verifier


# ---- As its users do it ---------------------------------------------------------------


@pytest.fixture
def shop() -> Iterator[tuple[Shell, dict[str, Any], httpx.Client, str]]:
    with ExitStack() as opened:
        base = opened.enter_context(settled_directory())
        shell = Shell(data_dir=base / "data")
        _, told = opened.enter_context(shell.serving())
        key = shell.good("key", "create", "--name", "till", "--scope", "*")["key"]
        vkey = shell.good("ledger", "create", "shop")["vkey"]
        http = opened.enter_context(
            httpx.Client(
                base_url=f"{told['url']}/v1/ledgers/shop",
                headers={"Authorization": f"Bearer {key}"},
            )
        )
        yield shell.set(URL=told["url"], KEY=key), told, http, vkey


def post(http: httpx.Client, file: Path) -> Path:
    answer = http.post(
        "/effects", json=capture(), headers={"Idempotency-Key": f"k-{next(NUMBERS)}"}
    )
    assert answer.status_code == 201
    file.write_bytes(answer.content)
    return file


@pytest.mark.slow
def test_a_key_is_rotated_beside_a_running_service(shop, tmp_path):
    """Nobody breaks: during the overlap either key will do, afterwards the keys file has both."""
    shell, told, http, old = shop
    before = post(http, tmp_path / "before")
    assert shell.run("key", "rotate-signing", "--finish").code == 0

    begun = shell.good("key", "rotate-signing", "--overlap", "1d")
    assert shell.good("key", "rotate-signing")["ledgers"] == begun["ledgers"]
    [told_old, new] = next(each["keys"] for each in begun["ledgers"] if each["ledger"] == "shop")
    assert told_old == old
    assert begun["until"]
    during = post(http, tmp_path / "during")
    for receipt, vkey in ((before, old), (during, old), (during, new)):
        assert shell.good("verify", receipt, "--vkey", vkey)["level"] == "log-signed"
    assert httpx.get(f"{told['url']}/v1/ledgers/shop", headers=http.headers).json()["vkey"] == new

    finished = shell.good("key", "rotate-signing", "--finish")
    assert shell.good("key", "rotate-signing", "--finish")["ledgers"] == finished["ledgers"]
    [bounded, standing] = httpx.get(f"{told['url']}/v1/ledgers/shop", headers=http.headers).json()[
        "keys"
    ]
    assert (bounded, standing) == (f"{old} until 2", new)
    after = post(http, tmp_path / "after")
    keys = tmp_path / "keys"
    keys.write_text(f"{bounded}\n{standing}\n")
    for receipt in (before, during, after):
        assert shell.good("verify", receipt, "--keys", keys)["verified"] is True
    assert shell.run("verify", after, "--vkey", old).code == 1
    service = shell.good("verify", f"{told['url']}/v1/ledgers/shop", "--keys", keys)
    assert service["verdicts"] == {"tamper": "ok", "completeness": "ok", "time": "ok"}
    registry = shell.good(
        "verify",
        f"{told['url']}/v1/ledgers/_registry",
        "--vkey",
        next(each["keys"][-1] for each in finished["ledgers"] if each["ledger"] == "_registry"),
    )
    assert registry["verdicts"]["tamper"] == "ok"

    # A thief of the old key has nothing: what it signs is beyond its final size.
    stolen = next((shell.data_dir / "keys").glob("*.retired.pem"))
    thief = NoteKey(name=VerifierKey.parse(old).name, private_key=keyring.FileRing(stolen)()[0])
    forged = tmp_path / "forged"
    forged.write_bytes(
        sign_checkpoint(Checkpoint(origin=thief.name, size=3, root=bytes(32)), thief)
    )
    refused = shell.run("verify", after, "--keys", keys, "--checkpoint", forged)
    assert (refused.code, "retired at size 2" in refused.err) == (2, True)
    # And a ledger that is created again, or anew, is none the worse for it.
    assert shell.good("ledger", "create", "shop")["ledger"] == "shop"
    assert shell.good("ledger", "create", "another")["ledger"] == "another"


@pytest.mark.slow
def test_whoever_holds_one_key_verifies_bundles_from_before_in_and_after_a_rotation(shop, tmp_path):
    """By verify.py alone: old keys vouch for new ones, and new ones name those before them."""
    shell, _, http, old = shop
    post(http, tmp_path / "before")
    shell.good("close", "shop", "2026-01")
    begun = shell.good("key", "rotate-signing", "--overlap", "1d")
    [_, new] = next(each["keys"] for each in begun["ledgers"] if each["ledger"] == "shop")
    post(http, tmp_path / "during")
    shell.good("close", "shop", "2026-02")
    shell.good("export", "shop", "--period", "2026-01", "--out", tmp_path / "overlap")
    shell.good("key", "rotate-signing", "--finish")
    post(http, tmp_path / "after")
    shell.good("close", "shop", "2026-03")
    for period in ("2026-01", "2026-02", "2026-03"):
        shell.good("export", "shop", "--period", period, "--out", tmp_path / period)

    def verified(name: str, vkey: str, *more: str | Path) -> tuple[int, dict[str, Any]]:
        bundle = tmp_path / name
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-S", bundle / "verify.py", bundle),
                *("--json", "--vkey", vkey, *more),
            ],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    for vkey in (old, new):
        for name in ("overlap", "2026-01", "2026-02", "2026-03"):
            code, told = verified(name, vkey)
            assert (code, told["findings"]) == (0, []), (name, vkey == old)
        code, told = verified("2026-03", vkey, "--previous", tmp_path / "2026-02")
        assert code == 0, told["findings"]
    assert "followed: a key you trust" in " ".join(verified("2026-03", old)[1]["checked"])
    assert "came before: a manifest" in " ".join(verified("2026-01", new)[1]["checked"])
    assert shell.good("verify", tmp_path / "2026-03", "--vkey", old)["verified"] is True

    # Without the old key's word nothing leads to the new one, and a forged word is none.
    path = tmp_path / "2026-03" / "keys" / "history.json"
    told = json.loads(path.read_bytes())
    notice = json.loads(told["notices"][0])
    for lines in ([], [notice["effect"]["data"]["endorsements"][0][:-8] + "AAAAAAA="]):
        notice["effect"]["data"]["endorsements"] = lines
        path.write_text(json.dumps(told | {"notices": [json.dumps(notice)]}))
        code, found = verified("2026-03", old)
        assert (code, found["first_bad"]["code"]) == (1, "key.other")


@pytest.mark.slow
def test_a_stolen_key_speaks_only_for_what_witnesses_saw(shop, tmp_path):
    """Receipts beyond are void under it, and the same entries have new ones."""
    shell, told, http, old = shop
    first, second = post(http, tmp_path / "first"), post(http, tmp_path / "second")
    server = attach(shell.data_dir)
    assert server is not None
    with psycopg.connect(server.conninfo(SUPERUSER), autocommit=True) as connection:
        connection.execute(
            "insert into effect_ledger.cosigned (ledger, size, reached_at, note)"
            " values ('shop', 1, now(), 'note')"
        )
    shell.good("key", "rotate-signing", "--overlap", "1h")
    assert shell.run("key", "rotate-signing", "--compromised").code == 2

    finished = shell.good("key", "rotate-signing", "--finish", "--compromised")

    bounded, new = next(e["keys"] for e in finished["ledgers"] if e["ledger"] == "shop")
    assert bounded == f"{old} until 1"
    keys = tmp_path / "keys"
    keys.write_text(f"{bounded}\n{new}\n")
    assert shell.good("verify", first, "--keys", keys)["verified"] is True
    refused = shell.run("verify", second, "--keys", keys)
    assert (refused.code, "retired at size 1" in refused.err) == (1, True)
    second.write_bytes(http.get("/entries/1/receipt").content)
    assert shell.good("verify", second, "--keys", keys)["verified"] is True
    kept = tmp_path / "kept"
    kept.write_bytes(http.get("/checkpoint").content)
    url = f"{told['url']}/v1/ledgers/shop"
    assert shell.good("verify", url, "--checkpoint", kept, "--keys", keys)["verified"] is True


@pytest.mark.slow
def test_what_a_backup_from_before_a_rotation_lacks_comes_back(shop, tmp_path):
    """The copy is signed with a key that the restored registry has never heard of."""
    shell, _, http, _ = shop
    post(http, tmp_path / "before")
    server = attach(shell.data_dir)
    assert server is not None
    tables = ("entries", "heads", "published", "tiles", "entry_terms")
    with psycopg.connect(server.conninfo(SUPERUSER), autocommit=True) as connection:
        connection.execute("set search_path = effect_ledger")
        for table in tables:
            connection.execute(f"create table backup_{table} as table {table}")
    shell.good("key", "rotate-signing")
    shell.good("key", "rotate-signing", "--finish")
    post(http, tmp_path / "after")
    keys = [*httpx.get(str(http.base_url).rstrip("/"), headers=http.headers).json()["keys"]]
    copies = {}
    for ledger in ("_registry", "shop"):
        vkey = keys[-1] if ledger == "shop" else registry_key(shell)
        copies[ledger] = tmp_path / ledger
        shell.good("export", ledger, "--tiles", copies[ledger], "--vkey", vkey)
    with psycopg.connect(server.conninfo(SUPERUSER), autocommit=True) as connection:
        connection.execute("set search_path = effect_ledger")
        for table in tables:
            connection.execute(f"alter table {table} disable trigger all")
            connection.execute(f"delete from {table}")
            connection.execute(f"insert into {table} table backup_{table}")
            connection.execute(f"drop table backup_{table}")

    for ledger, copy in copies.items():
        assert shell.good("restore", ledger, "--entries", copy)["restored"] > 0
    assert (
        http.post("/effects", json=capture(), headers={"Idempotency-Key": "once-more"}).status_code
        == 201
    )


def registry_key(shell: Shell) -> str:
    listed = shell.good("ledger", "list")["ledgers"]
    return str(next(each["vkey"] for each in listed if each["ledger"] == "_registry"))

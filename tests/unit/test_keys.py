"""Keys come from a setting or from a file nobody else can read, made once."""

from __future__ import annotations

import base64
import multiprocessing
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ledger.errors import SettingsError
from ledger.signing.keys import load_passphrase, load_payload_key, load_signing_key

SEED = bytes(range(32))
TEXT = base64.b64encode(SEED).decode()


def pem_of(key, encryption=None):
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return encoded.decode()


PEM = pem_of(Ed25519PrivateKey.from_private_bytes(SEED))
LOADERS = pytest.mark.parametrize("load", [load_signing_key, load_payload_key])


def octets(key):
    return key if isinstance(key, bytes) else key.private_bytes_raw()


@pytest.fixture
def default(tmp_path):
    return tmp_path / "keys" / "key"


def keep(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


SPELLINGS = {"seed": TEXT, "pem": PEM, "pem-on-one-line": PEM.replace("\n", "\\n")}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_signing_key_is_read_in_each_spelling(tmp_path, default, text, in_file):
    setting = keep(tmp_path / "given", text + "\n") if in_file else text

    assert octets(load_signing_key(setting, default)) == SEED
    assert not default.exists()


def test_a_payload_key_is_text_or_file(tmp_path, default):
    assert load_payload_key(TEXT, default) == SEED
    assert load_payload_key(keep(tmp_path / "given", TEXT + "\n"), default) == SEED
    assert not default.exists()


@LOADERS
def test_without_a_setting_a_key_is_made_once(default, load, caplog):
    first = octets(load(None, default))

    assert octets(load(None, default)) == first
    assert caplog.text.count("making a new key") == 1
    assert stat.S_IMODE(default.stat().st_mode) == 0o600
    assert stat.S_IMODE(default.parent.stat().st_mode) == 0o700
    assert list(default.parent.iterdir()) == [default]


@LOADERS
def test_two_defaults_are_two_keys(tmp_path, load):
    assert octets(load(None, tmp_path / "a")) != octets(load(None, tmp_path / "b"))


@LOADERS
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_others_can_reach_is_refused_with_the_cure(tmp_path, default, load, mode):
    setting = keep(tmp_path / "my key", TEXT, mode)

    with pytest.raises(SettingsError, match="chmod 600") as refused:
        load(setting, default)
    subprocess.run(["sh", "-c", refused.value.message.rpartition("run: ")[2]], check=True)
    assert octets(load(setting, default)) == SEED


@LOADERS
def test_a_default_key_others_can_reach_is_refused(default, load):
    load(None, default)
    default.chmod(0o644)

    with pytest.raises(SettingsError, match="chmod 600"):
        load(None, default)


UNUSABLE = {
    "short": base64.b64encode(SEED[:31]).decode(),
    "long": base64.b64encode(SEED + b"x").decode(),
    "no-such-file": "/nowhere/at/all",
    "null-byte": "a\0b",
    "no-such-user": "~nobody-of-that-name/key",
    "damaged-pem": PEM.replace("M", "N", 1),
}
UNUSABLE_TO_SIGN = UNUSABLE | {
    "public": Ed25519PrivateKey.from_private_bytes(SEED)
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode(),
    "other-curve": pem_of(generate_private_key(SECP256R1())),
    "encrypted": pem_of(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"password")),
}


@pytest.mark.parametrize("setting", UNUSABLE_TO_SIGN.values(), ids=UNUSABLE_TO_SIGN)
def test_an_unusable_signing_key_is_refused_and_not_repeated(default, setting):
    with pytest.raises(SettingsError, match="EFFECT_LEDGER_SIGNING_KEY") as refused:
        load_signing_key(setting, default)
    assert setting not in refused.value.message
    assert not default.exists()


@pytest.mark.parametrize("setting", [*UNUSABLE.values(), PEM], ids=[*UNUSABLE, "pem"])
def test_an_unusable_payload_key_is_refused_and_not_repeated(default, setting):
    with pytest.raises(SettingsError, match="EFFECT_LEDGER_PAYLOAD_KEY") as refused:
        load_payload_key(setting, default)
    assert setting not in refused.value.message
    assert not default.exists()


@LOADERS
def test_an_unusable_file_is_named(tmp_path, default, load):
    setting = keep(tmp_path / "given", "not a key")

    with pytest.raises(SettingsError, match=str(tmp_path / "given")):
        load(setting, default)


@LOADERS
def test_a_default_that_cannot_be_made_says_why(tmp_path, load):
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match="Not a directory"):
        load(None, tmp_path / "file" / "key")


def _load(load, path, barrier, answers):
    barrier.wait()
    answers.put(octets(load(None, path)))


@LOADERS
def test_processes_that_start_together_get_one_key(default, load):
    context = multiprocessing.get_context("forkserver")
    barrier, answers = context.Barrier(4), context.Queue()
    workers = [
        context.Process(target=_load, args=(load, default, barrier, answers)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    keys = {answers.get(timeout=30) for _ in workers}
    for worker in workers:
        worker.join(timeout=30)

    assert len(keys) == 1


def test_an_encrypted_key_opens_with_its_passphrase_and_no_other(tmp_path, default):
    """Given as a value or as a file that nobody else may read."""
    key = Ed25519PrivateKey.generate()
    encrypted = pem_of(key, BestAvailableEncryption(b"a passphrase"))
    file = tmp_path / "passphrase"
    keep(file, "a passphrase\n")

    for passphrase in (load_passphrase("a passphrase", None), load_passphrase(None, file)):
        assert octets(load_signing_key(encrypted, default, passphrase)) == octets(key)
    for wrong in ("another", ""):
        with pytest.raises(SettingsError) as refused:
            load_signing_key(encrypted, default, wrong)
        assert encrypted not in refused.value.message
    with pytest.raises(SettingsError, match="PASSPHRASE"):
        load_signing_key(encrypted, default)
    # Harmless where it opens nothing.
    assert octets(load_signing_key(PEM, default, "a passphrase")) == SEED


def test_a_passphrase_is_in_one_place(tmp_path):
    file = tmp_path / "passphrase"
    with pytest.raises(SettingsError, match="cannot be read"):
        load_passphrase(None, file)
    keep(file, "words\n", 0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_passphrase(None, file)
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="keep one of them"):
        load_passphrase("words", file)
    assert load_passphrase(None, None) is None

"""
A signing key in AWS KMS signs checkpoints like any other, and is away at times.

The real client of AWS speaks to moto, which answers as KMS does but has no Ed25519 yet: `kms`
below teaches it the one key spec, and leaves requests, answers and errors as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from moto import mock_aws
from moto.kms import models

from ledger.checkpoint import open_checkpoint
from ledger.errors import SettingsError, SignerUnavailableError
from ledger.merkle import leaf_hash
from ledger.service import open_file_signer
from ledger.settings import read_settings
from ledger.signing.kms import AWS_KMS, MESSAGE_BYTES_MAX, KmsKey

SPEC = "ECC_NIST_EDWARDS25519"
LEAVES = [leaf_hash(bytes([at])) for at in range(5)]


class MotoEd25519:
    """As moto's own classes of keys: signs the message as it is."""

    def __init__(self) -> None:
        self.private_key = Ed25519PrivateKey.generate()

    def sign(self, message: bytes, signing_algorithm: str) -> bytes:
        assert signing_algorithm == "ED25519_SHA_512"
        return self.private_key.sign(message)

    def public_key(self) -> bytes:
        return self.private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )


@pytest.fixture
def kms(monkeypatch) -> Iterator[Any]:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
    ):
        monkeypatch.setenv(name, value)
    usual = models.generate_private_key
    monkeypatch.setattr(
        models, "generate_private_key", lambda spec: MotoEd25519() if spec == SPEC else usual(spec)
    )
    algorithms = models.Key.signing_algorithms.fget
    monkeypatch.setattr(
        models.Key,
        "signing_algorithms",
        property(lambda key: ["ED25519_SHA_512"] if key.key_spec == SPEC else algorithms(key)),
    )
    specs = models.KeySpec.key_specs()
    monkeypatch.setattr(models.KeySpec, "key_specs", lambda: [*specs, SPEC])
    known = models.SigningAlgorithm.signing_algorithms()
    monkeypatch.setattr(
        models.SigningAlgorithm, "signing_algorithms", lambda: [*known, "ED25519_SHA_512"]
    )
    with mock_aws():
        yield boto3.client("kms")


@pytest.fixture
def key_id(kms) -> str:
    made = kms.create_key(KeySpec=SPEC, KeyUsage="SIGN_VERIFY")
    key_id: str = made["KeyMetadata"]["KeyId"]
    return key_id


def settings(key: str, data_dir: Any) -> Any:
    variables = {"EFFECT_LEDGER_SIGNING_KEY": f"{AWS_KMS}{key}"}
    return read_settings(variables, data_dir=str(data_dir))


def test_checkpoints_are_signed_by_a_key_nobody_has(kms, key_id, tmp_path):
    """By id or by alias; the verifier key is that of its public half."""
    kms.create_alias(AliasName="alias/ledger", TargetKeyId=key_id)
    signer = open_file_signer(settings("alias/ledger", tmp_path))
    signer.register("ledger.example/shop")

    checkpoint, note = signer.sign("ledger.example/shop", 0, LEAVES, lambda _a, _b: [])

    verifier = signer.verifiers("ledger.example/shop")[0]
    assert open_checkpoint(note, [verifier]) == checkpoint
    assert verifier.public_key == KmsKey(key_id).public_key().public_bytes_raw()
    assert not (tmp_path / "keys").exists()
    signer.close()


def test_a_key_that_was_disabled_signs_nothing_and_loses_nothing(kms, key_id, tmp_path):
    """What is committed is signed once KMS signs again."""
    signer = open_file_signer(settings(key_id, tmp_path))
    signer.register("ledger.example/shop")
    kms.disable_key(KeyId=key_id)
    models.kms_backends["123456789012"]["eu-central-1"].keys[key_id].private_key.sign = _refuse
    with pytest.raises(SignerUnavailableError):
        signer.sign("ledger.example/shop", 0, LEAVES[:2], lambda _a, _b: [])
    del models.kms_backends["123456789012"]["eu-central-1"].keys[key_id].private_key.sign

    checkpoint, _ = signer.sign("ledger.example/shop", 2, LEAVES[2:3], lambda _a, _b: [])

    assert checkpoint.size == 3
    signer.close()


def _refuse(*_: Any) -> bytes:
    raise models.ValidationException("the key is disabled")


def test_a_signature_of_another_key_is_none(key_id):
    key = KmsKey(key_id)
    models.kms_backends["123456789012"]["eu-central-1"].keys[key_id].private_key = MotoEd25519()

    with pytest.raises(SignerUnavailableError, match="another key"):
        key.sign(b"text\n")
    with pytest.raises(SignerUnavailableError, match="4096"):
        key.sign(bytes(MESSAGE_BYTES_MAX + 1))


def test_what_is_no_ed25519_key_of_kms_starts_nothing(kms, monkeypatch):
    other = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    with pytest.raises(SettingsError, match="ECC_NIST_EDWARDS25519"):
        KmsKey(other)
    with pytest.raises(SettingsError, match="does not show"):
        KmsKey("alias/nowhere")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SettingsError, match="kms"):
        KmsKey(other)

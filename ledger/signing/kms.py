"""
KMS: a signing key that AWS KMS holds and never shows; each signature is a call.

The key is asymmetric, for SIGN_VERIFY, of spec ECC_NIST_EDWARDS25519. Who may use it, and where it
is, the usual AWS variables and profiles say. Which trees are signed, `signer` says.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ledger.errors import SettingsError, SignerUnavailableError
from ledger.signing.keys import SIGNING_KEY

AWS_KMS = "awskms:"
"""A signing key that is set like this is in AWS KMS: what follows is its id, alias or ARN."""
# RFC 8032's Ed25519 over the message itself, and not over a digest of it.
ALGORITHM = "ED25519_SHA_512"
MESSAGE_BYTES_MAX = 4_096
"""AWS KMS takes no longer message; checkpoints have some 200 bytes."""
TIMEOUT_S = 2


class KmsKey:
    """One key of AWS KMS. Safe to share between threads, as its client is."""

    def __init__(self, key_id: str) -> None:
        """
        Fetch the public half.

        Args:
            key_id: Id, alias (`alias/ledger`) or ARN.

        Raises:
            SettingsError: The extra is not installed, AWS KMS does not show the key, or it is
                no Ed25519 key.
        """
        self._key_id = key_id
        self._client = _client()
        unusable: tuple[type[Exception], ...] = (*_aws_errors(), ValueError, UnsupportedAlgorithm)
        try:
            answer = self._client.get_public_key(KeyId=key_id)
            key = load_der_public_key(answer["PublicKey"])
        except unusable as error:
            raise SettingsError(
                f"AWS KMS does not show the key of {SIGNING_KEY}: {error}", setting=SIGNING_KEY
            ) from error
        if not isinstance(key, Ed25519PublicKey) or answer.get("KeyUsage") != "SIGN_VERIFY":
            raise SettingsError(
                f"the key of {SIGNING_KEY} is of spec {answer.get('KeySpec')}, checkpoints are "
                "signed with ECC_NIST_EDWARDS25519 for SIGN_VERIFY",
                setting=SIGNING_KEY,
            )
        self._public_key = key

    def public_key(self) -> Ed25519PublicKey:
        """The public half."""
        return self._public_key

    def sign(self, data: bytes, /) -> bytes:
        """
        The signature over `data`, checked.

        Raises:
            SignerUnavailableError: AWS KMS does not answer, or refuses; or the message is over
                the 4,096 bytes it takes.
        """
        if len(data) > MESSAGE_BYTES_MAX:
            raise SignerUnavailableError(
                f"AWS KMS signs up to {MESSAGE_BYTES_MAX} bytes, and these are {len(data)}"
            )
        try:
            answer = self._client.sign(
                KeyId=self._key_id, Message=data, MessageType="RAW", SigningAlgorithm=ALGORITHM
            )
            signature: bytes = answer["Signature"]
            self._public_key.verify(signature, data)
        except InvalidSignature as error:
            raise SignerUnavailableError("AWS KMS signs with another key than it showed") from error
        except _aws_errors() as error:
            raise SignerUnavailableError(f"AWS KMS does not sign: {error}") from error
        return signature


def _client() -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise SettingsError(
            f"{SIGNING_KEY} names a key in AWS KMS: install the extra, effect-ledger[kms]",
            setting=SIGNING_KEY,
        ) from error
    try:
        return boto3.client(
            "kms",
            # Writers wait for it: what is late is signed with the next batch.
            config=Config(
                connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 2}
            ),
        )
    except _aws_errors() as error:
        raise SettingsError(f"AWS KMS cannot be used: {error}", setting=SIGNING_KEY) from error


def _aws_errors() -> tuple[type[Exception], ...]:
    # Imported here: whoever has the key elsewhere does not have the extra.
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError

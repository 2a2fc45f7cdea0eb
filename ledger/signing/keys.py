"""
Keys: the signing key and the payload key, from a setting or from a file made on first use.

What is signed and sealed with them is for `signer` and `vault`.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import shlex
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ledger.errors import SettingsError

logger = logging.getLogger(__name__)

KEY_BYTES = 32
"""Of an Ed25519 seed, and of an AES-256 key."""

SIGNING_KEY = "EFFECT_LEDGER_SIGNING_KEY"
PASSPHRASE = "EFFECT_LEDGER_SIGNING_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable.
PAYLOAD_KEY = "EFFECT_LEDGER_PAYLOAD_KEY"

_FILE_BYTES_MAX = 65_536
_READABLE_BY_OTHERS = 0o077
_PEM = "-----BEGIN "
_ENCRYPTED = b"-----BEGIN ENCRYPTED "


def parse_public_key(text: str) -> bytes:
    """
    The 32 bytes of an Ed25519 public key, given as 64 hexadecimal digits or as a PEM file.

    Raises:
        SettingsError: It is neither.
    """
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    try:
        key = load_pem_public_key(Path(text).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(
            f"{text[:80]} is neither 64 hexadecimal digits nor a PEM file with an Ed25519 public "
            "key; openssl pkey -in KEY -pubout makes one"
        )
    return key.public_bytes_raw()


def load_signing_key(
    setting: str | None, default_path: Path, passphrase: str | None = None
) -> Ed25519PrivateKey:
    """
    The key that signs checkpoints.

    Args:
        setting: PEM (PKCS#8), base64 of the 32-byte seed, or the path of a file with either;
            None takes the default file.
        default_path: Read where it is there, else made with a new key and mode 0600.
        passphrase: Opens a PEM that is encrypted.

    Raises:
        SettingsError: There is no key, it is not Ed25519, others may read its file, or it is
            encrypted and the passphrase is missing or another.
    """
    text, source = _find(setting, default_path, SIGNING_KEY, lambda: make_signing_key(passphrase))
    seed = _decode(text)
    if seed is not None:
        return Ed25519PrivateKey.from_private_bytes(seed)
    try:
        # Files of variables spell line ends as two characters.
        pem = text.replace("\\n", "\n").encode()
        is_encrypted = _ENCRYPTED in pem
        if is_encrypted and passphrase is None:
            raise SettingsError(
                f"{source} is encrypted: set {PASSPHRASE}, or {PASSPHRASE}_FILE",
                setting=PASSPHRASE,
            )
        secret = passphrase.encode() if is_encrypted and passphrase is not None else None
        key = load_pem_private_key(pem, password=secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without the cause: it may repeat parts of the secret.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(
            f"{source} is not an Ed25519 key in PEM that the passphrase opens where there is one, "
            "nor 32 bytes in base64; make one with: openssl genpkey -algorithm ed25519",
            setting=SIGNING_KEY,
        )
    return key


def load_passphrase(text: str | None, path: Path | None) -> str | None:
    """
    What opens an encrypted key: given, or the first line of a file.

    Raises:
        SettingsError: Both are given, the file cannot be read, or others may read it.
    """
    if path is None:
        return text
    if text is not None:
        raise SettingsError(f"{PASSPHRASE} and {PASSPHRASE}_FILE are set: keep one of them")
    try:
        with path.open("rb") as file:
            return _read_secret(file, path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def load_payload_key(setting: str | None, default_path: Path) -> bytes:
    """
    The key that wraps data keys, 32 bytes.

    Args:
        setting: Base64 of the key, or the path of a file with it; None takes the default file.
        default_path: Read where it is there, else made with a new key and mode 0600.

    Raises:
        SettingsError: There is no key, it has another length, or others may read its file.
    """
    text, source = _find(setting, default_path, PAYLOAD_KEY, _new_payload_key)
    key = _decode(text)
    if key is None:
        raise SettingsError(
            f"{source} is not {KEY_BYTES} bytes in base64; "
            f"make one with: openssl rand -base64 {KEY_BYTES}",
            setting=PAYLOAD_KEY,
        )
    return key


def load_seed(path: Path) -> bytes:
    """
    The 32 secret bytes that a key is made of, in base64 in a file; made where there is none.

    Raises:
        SettingsError: The file cannot be used, holds something else, or others may read it.
    """
    try:
        with open_or_create(path, lambda: base64.b64encode(os.urandom(KEY_BYTES)) + b"\n") as file:
            if os.fstat(file.fileno()).st_mode & _READABLE_BY_OTHERS:
                raise SettingsError(f"{path} holds a key and others have access to it")
            seed = base64.b64decode(file.read().strip(), validate=True)
    except OSError as error:
        raise SettingsError(f"{path} can be neither read nor made: {error.strerror}") from error
    except binascii.Error:
        # Without the cause: it may repeat parts of the secret.
        seed = b""
    if len(seed) != KEY_BYTES:
        raise SettingsError(f"{path} is not {KEY_BYTES} bytes in base64")
    return seed


def open_or_create(path: Path, make: Callable[[], bytes]) -> BinaryIO:
    """
    Open the file at `path` for reading; where there is none, make it first, mode 0600.

    Of several processes one makes the file. It has its whole content, durably, from the
    moment it has its name.

    Raises:
        OSError: It can be neither opened nor made.
    """
    with suppress(FileNotFoundError):
        return path.open("rb")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not O_EXCL on the name itself: another process could read the file half written.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            # Unlike a rename, a link does not replace what another process made.
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
    sync_directory(path.parent)
    return path.open("rb")


def write_secret(path: Path, content: bytes) -> None:
    """
    Put a file with mode 0600 in the place of what is at `path`, durably.

    Raises:
        OSError: It cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    Path(temporary).replace(path)
    sync_directory(path.parent)


def make_signing_key(passphrase: str | None = None) -> bytes:
    """A new Ed25519 key in PEM, encrypted where there is a passphrase."""
    key = Ed25519PrivateKey.generate()
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        encryption = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def sync_directory(directory: Path) -> None:
    """Wait until the names in `directory` are on disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find(
    setting: str | None, default_path: Path, variable: str, make: Callable[[], bytes]
) -> tuple[str, str]:
    """The text that holds the key, and where it is from, as words for people."""
    if setting is None:
        return _read_default(default_path, make), str(default_path)
    # A path is never taken for a key: as base64 of 32 bytes it would end in an equals sign.
    if _PEM in setting or _decode(setting) is not None:
        return setting, variable
    try:
        with Path(setting).expanduser().open("rb") as file:
            return _read_secret(file, Path(setting)), setting
    except (OSError, ValueError, RuntimeError):
        # Neither the value nor the cause is shown: it may be a key with a typing error.
        raise SettingsError(
            f"{variable} is neither a key nor the path of a file that can be read",
            setting=variable,
        ) from None


def _read_default(path: Path, make: Callable[[], bytes]) -> str:
    def make_aloud() -> bytes:
        logger.warning("making a new key in %s: keep a copy where the backups are not", path)
        return make()

    try:
        with open_or_create(path, make_aloud) as file:
            return _read_secret(file, path)
    except OSError as error:
        raise SettingsError(f"{path} can be neither read nor made: {error.strerror}") from error


def _read_secret(file: BinaryIO, path: Path) -> str:
    if os.fstat(file.fileno()).st_mode & _READABLE_BY_OTHERS:
        raise SettingsError(
            f"{path} holds a key and others have access to it; "
            f"run: chmod 600 {shlex.quote(str(path))}",
            path=str(path),
        )
    return file.read(_FILE_BYTES_MAX).decode("ascii", errors="replace").strip()


def _decode(text: str) -> bytes | None:
    """The 32 bytes that `text` is the base64 of; None where it is not."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _new_payload_key() -> bytes:
    return base64.b64encode(os.urandom(KEY_BYTES)) + b"\n"

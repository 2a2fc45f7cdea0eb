"""Files: what commands read from and write to files that somebody named, with plain errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from ledger.canonical import parse_json
from ledger.errors import MalformedJsonError, SettingsError

TLOG_PROOF = ".tlog-proof"
FILE_BYTES_MAX = 8 * 1024 * 1024


def read_file(path: Path) -> bytes:
    """
    The content of a file, or of standard input for `-`.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            content: bytes = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise SettingsError(f"{path} has more than {FILE_BYTES_MAX} bytes")
    return content


def check_writable(path: Path) -> None:
    """
    See that a file could be written; it is not touched.

    Raises:
        SettingsError: It could not.
    """
    if path.is_dir():
        raise SettingsError(f"{path} cannot be written: it is a directory")
    if not path.parent.is_dir():
        raise SettingsError(f"{path} cannot be written: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SettingsError(f"{path} cannot be written: it is not yours to write")


def write_file(path: Path, content: bytes) -> None:
    """
    Write a file anew.

    Raises:
        SettingsError: It cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def keep_receipt(path: Path, document: Mapping[str, Any]) -> None:
    """
    Write a receipt anew: as JSON, or where the file ends in .tlog-proof as C2SP has proofs.

    Raises:
        SettingsError: It cannot be written.
        SignatureError: It is unsigned, and no proof yet.
    """
    if path.suffix != TLOG_PROOF:
        write_file(path, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        return
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.receipt import parse_receipt

    write_file(path, parse_receipt(dict(document)).to_text().encode())


def read_object(path: Path) -> dict[str, Any]:
    """
    The JSON object in a file, or on standard input for `-`.

    Raises:
        SettingsError: It cannot be read, or holds something else.
    """
    try:
        document = parse_json(read_file(path))
    except MalformedJsonError as error:
        raise SettingsError(f"{path}: {error.message}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path} must hold a JSON object")
    return document

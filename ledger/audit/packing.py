"""Packing: the files of a bundle as one .zip, with the same bytes for the same files."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

# The first moment that a .zip can tell: none of these files has a time of its own.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_PLAIN_FILE = 0o100644 << 16
_CHUNK = 1024 * 1024


def pack(directory: Path, paths: Iterable[str], target: Path, *, name: str) -> tuple[str, int]:
    """
    Pack files, in this order, below a directory called `name`.

    Returns:
        SHA-256 of the packed file, hexadecimal, and its size in bytes.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for path in paths:
            info = zipfile.ZipInfo(f"{name}/{path}", _NO_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = _UNIX, _PLAIN_FILE
            # With 64-bit sizes always: how large a file turns out is not known when it begins.
            with (
                (directory / path).open("rb") as file,
                packed.open(info, "w", force_zip64=True) as to,
            ):
                shutil.copyfileobj(file, to, _CHUNK)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest, target.stat().st_size

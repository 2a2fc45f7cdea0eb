"""Bundle file: one file of a bundle, hashed and counted while it is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class BundleFile:
    """A file that is open for writing; used as a context manager."""

    def __init__(self, directory: Path, path: str, *, role: str, media_type: str) -> None:
        """
        Begin the file.

        Args:
            directory: The bundle's.
            path: Below it; folders are made where needed.
            role: What it is in the bundle.
            media_type: Of its content.
        """
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file = target.open("wb")
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._rows: int | None = None
        self._heading = 0
        self._stated = {"path": path, "role": role, "media_type": media_type}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Octets, whatever they are."""
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def head(self, line: str) -> None:
        """The first line of a table, which is no row."""
        self._heading, self._rows = 1, 0
        self.write(line.encode())

    def row(self, line: bytes) -> None:
        """A row, with its line end."""
        self._rows = (self._rows or 0) + 1
        self.write(line)

    def without_rows(self) -> BundleFile:
        """The same, as a file of rows of which there are none yet."""
        self._rows = 0
        return self

    def stated(self) -> dict[str, Any]:
        """What the manifest says of it."""
        told: dict[str, Any] = dict(self._stated) | {
            "bytes": self._bytes,
            "sha256": self._digest.hexdigest(),
        }
        if self._rows is not None:
            told["rows"] = self._rows
        if self._heading:
            told["heading"] = self._heading
        return told

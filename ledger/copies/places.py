"""Places: where a copy of a log may lie, a directory or a prefix over HTTP, and how it is read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ledger.copies.log_copy import COSIGNED, COSIGNED_FILE, LogCopy, LogUnreachableError
from ledger.errors import ForbiddenError, MalformedProofError, SettingsError
from ledger.forms.grammar import KEY, KEY_FORM
from ledger.tiles import ENTRY_BYTES_MAX, TILE_WIDTH

FILE_BYTES_MAX = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)
"""Of the largest bundle there can be."""

PORT_MAX = 65_535
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
# However slowly it drips: a file that takes longer does not come.
FILE_TIMEOUT_S = 300.0
# A copy is read for minutes; a server that restarts meanwhile is asked again.
ATTEMPTS = 5
PAUSE_S = 0.5

_LEDGER_URL = re.compile("/v1/ledgers/[^/]+")


@contextmanager
def open_copy(where: str, key: str | None = None, *, attempts: int = ATTEMPTS) -> Iterator[LogCopy]:
    """
    The copy in a directory, or at a URL, for the length of a block.

    Args:
        where: Path of a directory, or URL of a log or of a ledger.
        key: API key that a URL is asked with.
        attempts: How often a URL is asked for one file before it counts as unreachable.

    Raises:
        SettingsError: There is no such directory, the URL is none, or the key cannot stand in
            a header.
    """
    if where.startswith(("http://", "https://")):
        if key and not KEY.fullmatch(key):
            raise SettingsError(f"the key must be {KEY_FORM}")
        copy = _HttpCopy(where, key, attempts)
        with copy.http:
            yield copy
    elif where and Path(where).is_dir():
        yield _DirectoryCopy(where)
    else:
        raise SettingsError(f"{where} is neither a directory nor a URL")


class _DirectoryCopy:
    def __init__(self, where: str) -> None:
        self.where = where

    def read(self, path: str) -> bytes | None:
        file = Path(self.where, COSIGNED_FILE if path == COSIGNED else path)
        try:
            with file.open("rb") as opened:
                return _limited(path, opened.read(FILE_BYTES_MAX + 1))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SettingsError(f"{file} cannot be read: {error.strerror}") from error


class _HttpCopy:
    def __init__(self, where: str, key: str | None, attempts: int) -> None:
        url = where.rstrip("/")
        self._attempts = attempts
        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise SettingsError(f"{where} is not a URL: {error}") from error
        if not parts.host or (parts.port or 0) > PORT_MAX:
            raise SettingsError(f"{where} is not a URL: it names no host, or no port of one")
        # Who gives the URL of the ledger means the log below it.
        self.where = f"{url}/log" if _LEDGER_URL.fullmatch(parts.path) else url
        self.http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=TIMEOUT
        )

    def read(self, path: str) -> bytes | None:
        for attempt in range(1, self._attempts + 1):
            try:
                return self._read_once(path)
            except httpx.HTTPError as error:
                if attempt == self._attempts:
                    raise LogUnreachableError(
                        f"{self.where}/{path} cannot be read: {error or type(error).__name__}"
                    ) from error
                time.sleep(PAUSE_S * attempt)
        raise AssertionError("the last attempt returns or raises")

    def _read_once(self, path: str) -> bytes | None:
        with self.http.stream("GET", f"{self.where}/{path}") as answer:
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
                answer.raise_for_status()
            if not answer.is_success:
                # Asked again it would say the same.
                raise ForbiddenError(
                    f"{self.where} is not to be read (HTTP {answer.status_code}): it may want a "
                    "key with scope proofs:read in EFFECT_LEDGER_KEY"
                )
            data, until = b"", time.monotonic() + FILE_TIMEOUT_S
            for part in answer.iter_bytes():
                data = _limited(path, data + part)
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("it drips")
        return data


def _limited(path: str, data: bytes) -> bytes:
    if len(data) > FILE_BYTES_MAX:
        raise MalformedProofError(
            f"{path} has more than {FILE_BYTES_MAX} bytes: no bundle is as large",
            limit=FILE_BYTES_MAX,
        )
    return data

"""
Key ring: which keys a signer signs with now; two while one takes the other's place.

Files, beside the key that the data directory has anyway:

    signing-key.pem         signs
    signing-key.next.pem    signs beside it, while it is there
    signing-key.until       when the first one ceases to sign, whatever else happens

A running process sees a change of them within a second.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ledger.errors import LedgerError, SettingsError
from ledger.forms.timestamps import format_time, parse_time
from ledger.note import SigningKey
from ledger.signing.keys import load_signing_key, make_signing_key, sync_directory, write_secret

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SEEN_AFTER_S = 2 * LOOK_EVERY_S
"""After this every running process signs with what the files say."""

Ring = Callable[[], Sequence[SigningKey]]
"""The keys that sign now, oldest first; the very same sequence while nothing changes."""


class FileRing:
    """The keys in a directory. Safe to share between threads."""

    def __init__(self, path: Path, passphrase: str | None = None) -> None:
        """
        Use the key at `path`, which is made where there is none, and those beside it.

        Raises:
            SettingsError: A key cannot be used.
        """
        self._path = path
        self._passphrase = passphrase
        self._looked_at = time.monotonic()
        self._keys: tuple[SigningKey, ...] = ()
        self._until: datetime | None = None
        self._state: object = None
        self._read()

    def __call__(self) -> Sequence[SigningKey]:
        """The keys that sign now."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            try:
                self._read()
            except (LedgerError, OSError) as error:
                # A batch may be committed by now: it is signed as before.
                logger.error("the signing keys cannot be read anew: %s", error)  # noqa: TRY400
        return self._keys

    def begin(self, until: datetime) -> datetime | None:
        """
        Make the next key, where there is none; both sign from now on, until `until` at most.

        Returns:
            Until when they do: as it was said first.
        """
        if not self._next.exists():
            # The end first: two keys without one would be two for ever.
            write_secret(self._until_path, format_time(until).encode() + b"\n")
            write_secret(self._next, make_signing_key(self._passphrase))
        self._read()
        return self._until

    def finish(self) -> None:
        """
        Let the next key alone sign; harmless where there is none.

        The old one is kept beside it, under a name that says so.
        """
        if self._next.exists():
            retired = self._path.with_name(f"{self._path.stem}.retired.pem")
            retired.unlink(missing_ok=True)
            # A link and a rename: at no moment is there no key, for a new one would be made.
            os.link(self._path, retired)
            self._next.replace(self._path)
            sync_directory(self._path.parent)
        self._until_path.unlink(missing_ok=True)
        self._read()

    @property
    def _next(self) -> Path:
        return self._path.with_name(f"{self._path.stem}.next.pem")

    @property
    def _until_path(self) -> Path:
        return self._path.with_name(f"{self._path.stem}.until")

    def _read(self) -> None:
        until = self._read_until()
        is_over = until is not None and datetime.now(UTC) >= until
        state = (_identity(self._path), _identity(self._next), until, is_over)
        if state == self._state:
            return
        keys: list[SigningKey] = [load_signing_key(None, self._path, self._passphrase)]
        if self._next.exists():
            keys.append(load_signing_key(str(self._next), self._next, self._passphrase))
        self._until = until if len(keys) > 1 else None
        self._keys = tuple(keys[-1:] if is_over else keys)
        self._state = state

    def _read_until(self) -> datetime | None:
        try:
            text = self._until_path.read_text("ascii").strip()
        except FileNotFoundError:
            return None
        try:
            return parse_time(text)
        except ValueError as error:
            raise SettingsError(f"{self._until_path} holds no time") from error


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns

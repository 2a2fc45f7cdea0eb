"""
Kept: the files of bundles, below one directory that is closed to others, each for a day.

A bundle has payloads in it, and erasures do not reach it: it is not kept for longer.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

KEPT_S = 24 * 60 * 60
PURGE_EVERY_S = 60.0
_OURS_ALONE = 0o700


class KeptBundles:
    """Bundles by the id of their export. Several processes may share the directory."""

    def __init__(self, directory: Path) -> None:
        """Keep bundles in `directory`, which is made where needed."""
        self._directory = directory
        self._ending = threading.Event()

    def begin(self, every_s: float) -> None:
        """Remove now, and again each `every_s` seconds, what is kept no longer."""
        threading.Thread(
            target=self._purge_on, args=(every_s,), name="exports purge", daemon=True
        ).start()

    def end(self) -> None:
        """Remove nothing more."""
        self._ending.set()

    @contextmanager
    def building(self, export_id: str) -> Iterator[Path]:
        """A directory to make a bundle in, which goes with the block."""
        self._directory.mkdir(mode=_OURS_ALONE, parents=True, exist_ok=True)
        building = self._directory / export_id
        building.mkdir(mode=_OURS_ALONE)
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def packed(self, export_id: str) -> Path:
        """Where a bundle is once it is done."""
        return self._directory / f"{export_id}.zip"

    def has(self, export_id: str) -> bool:
        """Whether the bundle is here, and young enough to be given away."""
        age = _age_s(self.packed(export_id))
        return age is not None and age <= KEPT_S

    def _purge_on(self, every_s: float) -> None:
        while True:
            try:
                self._purge()
            except OSError:
                logger.exception("old bundles in %s cannot be removed", self._directory)
            if self._ending.wait(every_s):
                return

    def _purge(self) -> None:
        """Remove what is kept no longer, and what a crash left; other processes do so too."""
        if not self._directory.is_dir():
            return
        for each in self._directory.iterdir():
            age = _age_s(each)
            if age is not None and age > KEPT_S:
                if each.is_dir():
                    shutil.rmtree(each, ignore_errors=True)
                else:
                    each.unlink(missing_ok=True)


def _age_s(path: Path) -> float | None:
    """Seconds since it was written; None where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None

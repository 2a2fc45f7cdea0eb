"""
Account: the user of this machine that PostgreSQL runs as, and how children become it.

PostgreSQL refuses to run as root, so root lends its server to a system user. Which
directories that user is given is decided by `layout`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.errors import SettingsError

# The first that exists is taken; the first is made where none does.
SYSTEM_USERS = ("effect-ledger", "postgres")
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
LOCALE = "C.UTF-8"

# Nothing of the caller's environment reaches PostgreSQL: not its language, not PGDATA.
CHILD_ENVIRONMENT = {"LC_ALL": LOCALE, "PATH": SYSTEM_PATH, "TZ": "UTC"}

# Says on which of its arguments the user who runs it stumbles first.
_WALK = 'for step; do test -x "$step" || { printf %s "$step"; exit 1; }; done'


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user who owns what PostgreSQL writes."""

    uid: int
    gid: int
    name: str
    keeper_uid: int
    """Who owns the directories around PGDATA: root where root lends the server, else `uid`."""

    @property
    def directory_mode(self) -> int:
        """Mode of those directories: PostgreSQL passes through, and sees nothing else."""
        return 0o700 if self.keeper_uid == self.uid else 0o710

    @property
    def popen_arguments(self) -> dict[str, Any]:
        """What `subprocess` needs to start a child as this user, in the child environment."""
        arguments: dict[str, Any] = {
            "env": CHILD_ENVIRONMENT,
            "cwd": "/",
            "stdin": subprocess.DEVNULL,
        }
        if self.uid != os.geteuid():
            arguments |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return arguments


def choose_account(data_dir: Path, pgdata: Path) -> Account:
    """
    Whom PostgreSQL runs as: this user; for root, the owner of the data, else a system user.

    Raises:
        SettingsError: No such user exists and none could be made.
    """
    euid = os.geteuid()
    if euid != 0:
        return _account(_named(euid), keeper_uid=euid)

    # A directory of someone else stays theirs: root may look after it, not take it away.
    owner = _owner(data_dir)
    if owner:
        return _account(_named(owner), keeper_uid=owner)
    owner = _owner(pgdata)
    known = _lookup(owner) if owner else None
    return _account(known or _system_user(), keeper_uid=0)


def connecting_users(account: Account) -> list[str]:
    """
    Names of the users who may become a role of the database.

    Root is always one: it can become any of the others, and `key create` beside a service
    of another user would else be refused.
    """
    users = (_lookup(uid) for uid in (account.uid, os.geteuid(), 0))
    return sorted({user.pw_name for user in users if user})


def first_blocked(account: Account, path: Path) -> Path | None:
    """The first of `path` and its parents that `account` may not enter or run; None if all."""
    steps = [*reversed(path.parents), path]
    # Asked of the kernel, as that user: mode bits alone would not know of access lists.
    walk = subprocess.run(  # noqa: S603 - a fixed script; paths are its arguments
        ["/bin/sh", "-c", _WALK, "sh", *steps],
        **account.popen_arguments,
        stdout=subprocess.PIPE,
        check=False,
    )
    return Path(os.fsdecode(walk.stdout)) if walk.returncode else None


def run_as(account: Account, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as `account`; its output is text, errors are not raised."""
    return subprocess.run(  # noqa: S603 - programs of the wheel
        command,
        **account.popen_arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _account(user: pwd.struct_passwd, *, keeper_uid: int) -> Account:
    return Account(uid=user.pw_uid, gid=user.pw_gid, name=user.pw_name, keeper_uid=keeper_uid)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _lookup(user: int | str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        return None


def _named(uid: int) -> pwd.struct_passwd:
    user = _lookup(uid)
    if user is None:
        # PostgreSQL looks its own user up by name, and peer authentication the client's.
        raise SettingsError(
            f"user id {uid} has no name on this machine, and PostgreSQL needs one: add it to "
            "/etc/passwd, or set EFFECT_LEDGER_DATABASE_URL to a database of yours"
        )
    return user


def _system_user() -> pwd.struct_passwd:
    for name in SYSTEM_USERS:
        user = _lookup(name)
        if user is not None:
            return user

    name = SYSTEM_USERS[0]
    useradd = shutil.which("useradd", path=SYSTEM_PATH)
    if useradd is not None:
        # Its failure is harmless: another process may have made the user meanwhile.
        subprocess.run(  # noqa: S603 - a system program with fixed arguments
            [
                *(useradd, "--system", "--user-group", "--no-create-home"),
                *("--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name),
            ],
            env=CHILD_ENVIRONMENT,
            capture_output=True,
            check=False,
        )
    user = _lookup(name)
    if user is None:
        raise SettingsError(
            f"PostgreSQL does not run as root, and the system user {name} could not be made: "
            f"create it, or start the service as a user of its own"
        )
    return user

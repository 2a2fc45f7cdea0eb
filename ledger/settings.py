"""
Settings: what the environment says about how this service runs, and where each value came from.

Read once at the start of a process. What a value opens (a directory, a database, a key) is
for its user to say; here only the spelling is checked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ledger.errors import SettingsError

PREFIX = "EFFECT_LEDGER_"
MASK = "********"

WORKERS_MAX = 256


class LogLevel(StrEnum):
    """How much a process says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingLine:
    """One setting as `effect-ledger settings` shows it."""

    name: str
    """Name of the environment variable."""
    value: str
    """As text; masked where it is a secret, empty where nothing is set."""
    source: str
    """`default`, `environment` or `argument`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set from outside."""

    data_dir: Path
    """Where the embedded database, the signer's record and generated keys live."""
    database_url: str | None
    """libpq URL of a database of yours; None runs the embedded one."""
    host: str
    port: int
    workers: int
    """Server processes."""
    origin_host: str | None
    """First part of the origins of new ledgers; None is a random one per data directory."""
    signing_key: str | None
    """Secret. Key that signs checkpoints; None uses the one in the data directory."""
    signing_key_next: str | None
    """Secret. Key that signs beside it, and is to take its place."""
    signing_key_passphrase: str | None
    """Secret. Opens a signing key that is encrypted."""
    signing_key_passphrase_file: Path | None
    """File with the same."""
    signer_url: str | None
    """Signer shared by several hosts; None signs in this one."""
    signer_token: str | None
    """Secret. What the shared signer and those who ask it know of each other."""
    ml_dsa_44: bool
    """Whether checkpoints are signed with ML-DSA-44 beside Ed25519."""
    payload_key: str | None
    """Secret. Key that wraps data keys; None uses the one in the data directory."""
    policy: Path | None
    """C2SP tlog-policy whose witnesses cosign; None asks nobody."""
    witness_interval: int
    """Seconds from one checkpoint that a witness is shown to the next."""
    verify_interval: int
    """Seconds from one verification of a ledger, of what is new, to the next."""
    verify_full_interval: int
    """Seconds from one verification of a whole ledger to the next."""
    registry_interval: int
    """Seconds from one recording of all ledgers in `_registry` to the next."""
    tsa_url: str | None
    """RFC 3161 authority that timestamps `_registry`; None asks nobody."""
    tsa_certificates: Path | None
    """PEM file with the certificates that its tokens are held to."""
    tsa_interval: int
    """Seconds from one timestamp to the next."""
    log_level: LogLevel
    lines: tuple[SettingLine, ...]
    """The same for people, in a fixed order, secrets masked."""


def read_settings(
    environment: Mapping[str, str] | None = None, /, **arguments: str | int | None
) -> Settings:
    """
    Read the settings: an argument wins over the environment, which wins over the default.

    Args:
        environment: Variables by name; the process environment where none is given.
        arguments: Values of command line arguments by setting (`port=8421`); None is not given.

    Raises:
        SettingsError: A value is not in its form, or a variable has our prefix and no meaning.
    """
    environment = os.environ if environment is None else environment
    _refuse_unknown(environment)
    assert arguments.keys() <= _READERS.keys(), "an argument names no setting"

    values: dict[str, Any] = {}
    lines = []
    for name, reader in _READERS.items():
        variable = PREFIX + name.upper()
        text, source = _find(arguments.get(name), environment.get(variable))
        values[name] = reader.default() if text is None else reader.parse(variable, text)
        lines.append(
            SettingLine(name=variable, value=_shown(values[name], reader.secret), source=source)
        )
    for variable, shown in CLIENT_VARIABLES.items():
        text, source = _find(None, environment.get(variable))
        if text is None and variable == "EFFECT_LEDGER_URL":
            text = CLIENT_URL
        lines.append(SettingLine(name=variable, value=_shown(text, shown), source=source))
    return Settings(**values, lines=tuple(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    parse: Callable[[str, str], Any]
    default: Callable[[], Any]
    secret: bool = False


def _find(argument: str | int | None, variable: str | None) -> tuple[str | None, str]:
    if argument is not None:
        return str(argument), "argument"
    # An empty variable is how compose files and unit files spell "not set".
    if variable:
        return variable, "environment"
    return None, "default"


def _shown(value: Any, is_secret: bool) -> str:
    if value is None:
        return ""
    if is_secret:
        return MASK
    if isinstance(value, bool):
        return "on" if value else "off"
    # A database URL may carry a password of its own.
    return _PASSWORD.sub(rf"\1{MASK}\2", _USERINFO.sub(rf"\1{MASK}@", str(value)))


# To the last at-sign: a password may hold one that nobody escaped.
_USERINFO = re.compile(r"(://[^:/@\s]*:).*@")
_PASSWORD = re.compile(r"([?&\s]password=|^password=)[^&\s]*()")


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {PREFIX + name.upper() for name in _READERS} | {*CLIENT_VARIABLES}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        # A misspelt setting that is ignored is found on the day it was needed.
        raise SettingsError(
            f"{unknown[0]} is not a setting; known are {', '.join(sorted(known))}",
            setting=unknown[0],
        )


CLIENT_URL = "http://127.0.0.1:8420"
"""Where client commands ask if they are told nothing else."""
CLIENT_VARIABLES: Mapping[str, bool] = {
    "EFFECT_LEDGER_URL": False,
    "EFFECT_LEDGER_KEY": True,
    "EFFECT_LEDGER_OUTBOX_URL": False,
}
"""Read by the client commands only, and harmless beside a server; whether each is a secret."""


def _wrong(variable: str, says: str) -> SettingsError:
    return SettingsError(f"{variable} must be {says}", setting=variable)


def _path(variable: str, text: str) -> Path:
    if "\0" in text:
        raise _wrong(variable, "a path")
    return Path(text).expanduser().absolute()


def _url(*schemes: str) -> Callable[[str, str], str]:
    says = f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def parse(variable: str, text: str) -> str:
        try:
            scheme = urlsplit(text).scheme
        except ValueError as error:
            raise _wrong(variable, says) from error
        if scheme not in schemes or "://" not in text:
            raise _wrong(variable, says)
        return text

    return parse


def _integer(minimum: int, maximum: int) -> Callable[[str, str], int]:
    def parse(variable: str, text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not minimum <= int(text) <= maximum:
            raise _wrong(variable, f"a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def _matching(pattern: str, says: str) -> Callable[[str, str], str]:
    matches = re.compile(pattern).fullmatch

    def parse(variable: str, text: str) -> str:
        if not matches(text):
            raise _wrong(variable, says)
        return text

    return parse


def _switch(variable: str, text: str) -> bool:
    if text not in {"on", "off"}:
        raise _wrong(variable, "on or off")
    return text == "on"


def _log_level(variable: str, text: str) -> LogLevel:
    try:
        return LogLevel(text.lower())
    except ValueError as error:
        raise _wrong(variable, f"one of {', '.join(LogLevel)}") from error


def _default_data_dir() -> Path:
    # As root the database runs as a system user, which cannot enter /root.
    if os.geteuid() == 0:
        return Path("/var/lib/effect-ledger")
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser().absolute() / "effect-ledger"


_VISIBLE = _matching(r"\S(?:.*\S)?", "a value without spaces around it")

_READERS: Mapping[str, _Reader] = {
    "data_dir": _Reader(parse=_path, default=_default_data_dir),
    "database_url": _Reader(parse=_url("postgresql", "postgres"), default=lambda: None),
    "host": _Reader(
        parse=_matching(r"[0-9A-Za-z._:-]{1,253}", "a host name or address"),
        default=lambda: "127.0.0.1",
    ),
    "port": _Reader(parse=_integer(1, 65_535), default=lambda: 8420),
    "workers": _Reader(parse=_integer(1, WORKERS_MAX), default=lambda: 1),
    "origin_host": _Reader(
        # C2SP signed-note: the name of a key has no spaces and no plus sign; an origin is
        # "<host>/<ledger>", so its first part ends without a slash.
        parse=_matching(
            r"[0-9A-Za-z._~:-]+(?:/[0-9A-Za-z._~-]+)*",
            "a host name, with a path at most, without scheme and trailing slash",
        ),
        default=lambda: None,
    ),
    "signing_key": _Reader(parse=_VISIBLE, default=lambda: None, secret=True),
    "signing_key_next": _Reader(parse=_VISIBLE, default=lambda: None, secret=True),
    "signing_key_passphrase": _Reader(parse=_VISIBLE, default=lambda: None, secret=True),
    "signing_key_passphrase_file": _Reader(parse=_path, default=lambda: None),
    "signer_url": _Reader(parse=_url("https", "http", "unix"), default=lambda: None),
    # As an environment variable it travels in a header: visible ASCII.
    "signer_token": _Reader(
        parse=_matching(r"[!-~]{16,512}", "16 to 512 visible characters, without spaces"),
        default=lambda: None,
        secret=True,
    ),
    # Costs 3.3 kB for each receipt and most of a millisecond for each batch.
    "ml_dsa_44": _Reader(parse=_switch, default=lambda: False),
    "payload_key": _Reader(parse=_VISIBLE, default=lambda: None, secret=True),
    "policy": _Reader(parse=_path, default=lambda: None),
    # Public witnesses count requests: this makes 8,640 a day.
    "witness_interval": _Reader(parse=_integer(1, 86_400), default=lambda: 10),
    "verify_interval": _Reader(parse=_integer(1, 86_400), default=lambda: 300),
    "verify_full_interval": _Reader(parse=_integer(1, 31_622_400), default=lambda: 86_400),
    # An entry's time is known no better than this where its ledger has no witnesses of its own;
    # a ledger in which nothing happens costs nothing.
    "registry_interval": _Reader(parse=_integer(1, 86_400), default=lambda: 60),
    "tsa_url": _Reader(parse=_url("https", "http"), default=lambda: None),
    "tsa_certificates": _Reader(parse=_path, default=lambda: None),
    # Free authorities ask for moderation: this makes 144 a day.
    "tsa_interval": _Reader(parse=_integer(1, 86_400), default=lambda: 600),
    "log_level": _Reader(parse=_log_level, default=lambda: LogLevel.INFO),
}

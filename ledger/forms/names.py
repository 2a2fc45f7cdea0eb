"""
Names that are hashed or stand in a URL: ledgers, principals, periods, payloads, origins, keys.

Only the form is known here; what exists under a name is for storage to say.
"""

from __future__ import annotations

import re
from typing import Any

from ledger.forms.grammar import form

REGISTRY = "_registry"
"""The one ledger whose name begins with `_`: the ledger of ledgers."""

LEDGER_ITSELF = "_ledger"
"""The principal that posts what the service itself has to say."""

NAME_MAX = 62
PERIOD_NAME_MAX = 63
PAYLOAD_NAME_MAX = 63

LEDGER_NAME = re.compile(f"{REGISTRY}|[a-z0-9][a-z0-9._-]*")
PRINCIPAL_NAME = re.compile(f"{LEDGER_ITSELF}|[a-z0-9][a-z0-9._-]*")
PERIOD_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
PAYLOAD_NAME = re.compile("[a-z0-9][a-z0-9._-]*")

_NAME_FORM = (
    "1 to 62 lower-case letters, digits, dots, underscores and hyphens, beginning with a letter "
    "or a digit"
)
_ledger_name = form(LEDGER_NAME, f"{_NAME_FORM}, or {REGISTRY}", NAME_MAX)
_principal_name = form(PRINCIPAL_NAME, _NAME_FORM, NAME_MAX)
_period_name = form(
    PERIOD_NAME,
    "1 to 63 letters, digits, dots, underscores and hyphens, such as 2026-03",
    PERIOD_NAME_MAX,
)
_payload_name = form(
    PAYLOAD_NAME,
    f"1 to {PAYLOAD_NAME_MAX} lower-case letters, digits, dots, underscores and hyphens",
    PAYLOAD_NAME_MAX,
)
# C2SP signed-note: a key name has no spaces and no plus sign.
_origin = form(
    re.compile("[!-*,-~]+"), "visible ASCII characters without spaces and plus signs", 255
)
_key_id = form(
    re.compile("[A-Za-z0-9][A-Za-z0-9._:-]*"),
    "1 to 64 letters, digits, dots, underscores, colons and hyphens",
    64,
)


def check_ledger_name(name: Any, pointer: str = "/ledger") -> str:
    """
    `name`, if a ledger may be called so: tenants by prefix, as in acme.payments.

    Raises:
        MalformedEffectError, TooLargeError: As the parsers of `grammar`; so do all here.
    """
    return str(_ledger_name(name, pointer))


def check_principal_name(name: Any, pointer: str = "/principal") -> str:
    """
    `name`, if a principal may be called so.

    `_ledger` passes, for entries carry it; whoever creates principals refuses it.
    """
    return str(_principal_name(name, pointer))


def check_period_name(name: Any, pointer: str = "/name") -> str:
    """`name`, if a period may be called so."""
    return str(_period_name(name, pointer))


def check_payload_name(name: Any, pointer: str = "/name") -> str:
    """`name`, if a payload may be called so; unique within its entry."""
    return str(_payload_name(name, pointer))


def check_origin(origin: Any, pointer: str = "/origin") -> str:
    """`origin`, if a ledger may have it; it is also the name of the keys that sign for it."""
    return str(_origin(origin, pointer))


def check_key_id(key_id: Any, pointer: str = "/key_id") -> str:
    """`key_id`, if a public key may have it."""
    return str(_key_id(key_id, pointer))

"""
Key history: which keys of a log speak for it, and up to which size, by the notices of the registry.

    ledger.created   the first key
    key.added        one more, which signs beside the ones before it
    key.retired      with a final size: up to there what it signed stays good, beyond it nothing is

Who signs with which key is for `signer`; what a signature under a retired key is worth, for
`checkpoint`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ledger.effect import Kind
from ledger.entry import Entry, parse_entry
from ledger.errors import MalformedProofError
from ledger.note import VerifierKey

ADDED = "_key.added"
RETIRED = "_key.retired"
_BOUNDED = re.compile(r"(\S+) until ([0-9]{1,19})")


def notice_key(which: str, ledger: str, key: VerifierKey) -> str:
    """Under which idempotency key a notice (`ADDED` or `RETIRED`) about a log's key stands."""
    return f"{which}/{ledger}/{key.key_id.hex()}"


def notice_range(which: str, ledger: str) -> tuple[str, str]:
    """The idempotency keys of all such notices of one ledger: from the first on, below the last."""
    prefix = f"{which}/{ledger}"
    # As bytes, "0" is the one after "/".
    return f"{prefix}/", f"{prefix}0"


def key_history(vkey: str, origin: str, notices: Iterable[Entry | None]) -> tuple[VerifierKey, ...]:
    """
    The keys of a log, oldest first, those that were retired with their final size.

    Args:
        vkey: The key it was created with.
        origin: Identity of the ledger.
        notices: Entries of `_registry`, in their order; others than those about keys of this
            log say nothing.

    Raises:
        MalformedProofError: A key is none.
    """
    keys = {VerifierKey.parse(vkey).key_id.hex(): VerifierKey.parse(vkey)}
    for notice in notices:
        if notice is None or notice.effect.kind is not Kind.NOTICE:
            continue
        data: Mapping[str, Any] = notice.effect.data or {}
        if data.get("purpose") != "log" or data.get("origin") != origin:
            continue
        if notice.effect.type == "key.added":
            keys.setdefault(data["key_id"], VerifierKey.parse(data["public_key"]))
        elif notice.effect.type == "key.retired" and data["key_id"] in keys:
            known = keys[data["key_id"]]
            # The first word stands: a key that was retired is not retired later.
            if known.final_size is None:
                keys[data["key_id"]] = replace(known, final_size=data["final_size"])
    return tuple(keys.values())


def read_notice(body: bytes) -> Entry | None:
    """An entry of `_registry` from its bytes; None where this program cannot read it."""
    try:
        entry = parse_entry(body)
    except MalformedProofError:
        return None
    return entry if isinstance(entry, Entry) else None


def current(history: Iterable[VerifierKey]) -> VerifierKey:
    """The newest key that was not retired; where all were, the newest."""
    *_, newest = sorted(history, key=lambda key: key.final_size is None)
    return newest


def write_key(key: VerifierKey) -> str:
    """A key as a line of a file of keys: its vkey, and up to which size it speaks."""
    return key.encode() if key.final_size is None else f"{key.encode()} until {key.final_size}"


def read_key(line: str) -> VerifierKey:
    """
    The key that `write_key` wrote.

    Raises:
        MalformedProofError: It is none.
    """
    bounded = _BOUNDED.fullmatch(line)
    if bounded is None:
        return VerifierKey.parse(line)
    return replace(VerifierKey.parse(bounded[1]), final_size=int(bounded[2]))

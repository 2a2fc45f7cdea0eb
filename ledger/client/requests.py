"""
Requests: what is sent, built once, so that sending it again is sending the same bytes.

Pure: a call of the client becomes a value here, and nothing is known of sockets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import orjson

from ledger.canonical import parse_json
from ledger.client.errors import NotSent
from ledger.errors import LedgerError
from ledger.forms.grammar import KEY, KEY_FORM, UUID
from ledger.forms.names import check_ledger_name
from ledger.forms.timestamps import format_time

LEDGERS = "/v1/ledgers/"
KEY_CHARACTERS_MAX = 255
BATCH_ITEMS_MAX = 1_000
BATCH_BYTES_MAX = 8 * 1024 * 1024

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request, whole, but for the credential."""

    method: str
    path: str
    """Under the service's URL, escaped."""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    key: str | None = None
    """Idempotency key in its header."""
    writes: bool = False
    """Whether something is recorded; a question and a dry run record nothing."""
    repeatable: bool = True
    """Whether sending it twice is as good as sending it once."""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOf:
    """What is corrected, by the idempotency key under which it was recorded."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What is corrected, recorded in another system; such a correction is `observed`."""

    system: str
    ref: str


def ledger_path(ledger: str, below: str = "") -> str:
    """
    The path of a ledger, or of something below it.

    Raises:
        MalformedEffectError, TooLargeError: No ledger can have this name.
    """
    return f"{LEDGERS}{quote(check_ledger_name(ledger, 'LEDGER'), safe='')}{below}"


def question(path: str, **query: object) -> Request:
    """A GET."""
    asked = {name: str(value) for name, value in query.items() if value is not None}
    return Request(method="GET", path=path, query=asked)


def write(path: str, body: Any, *, key: str, query: Mapping[str, str] | None = None) -> Request:
    """
    A POST under an idempotency key.

    Args:
        path: Under the service's URL.
        body: JSON value, or its bytes, which are sent as they are.
        key: Chosen and kept by the caller before anything is sent.
        query: Parameters.

    Raises:
        NotSent: The key or the body cannot be sent.
    """
    return Request(
        method="POST",
        path=path,
        query=query or {},
        headers={"Content-Type": JSON, "Idempotency-Key": check_key(key)},
        content=body if isinstance(body, bytes) else encode(body),
        key=key,
        writes=True,
    )


def batch(path: str, items: Iterable[Mapping[str, Any]], *, mode: str, dry_run: bool) -> Request:
    """
    A POST of many items, each with its own key.

    Raises:
        NotSent: There are too many, or an item has no key.
    """
    listed = [dict(item) for item in items]
    if not 0 < len(listed) <= BATCH_ITEMS_MAX:
        raise NotSent(
            f"a batch has 1 to {BATCH_ITEMS_MAX:,} items, found {len(listed):,}",
            reason="request.size",
            limit=BATCH_ITEMS_MAX,
            found=len(listed),
        )
    for item in listed:
        check_key(item.get("key"))
    content = encode({"mode": mode, "items": listed})
    if len(content) > BATCH_BYTES_MAX:
        raise NotSent(
            f"a batch has at most {BATCH_BYTES_MAX:,} bytes, found {len(content):,}",
            reason="request.size",
            limit=BATCH_BYTES_MAX,
            found=len(content),
        )
    return Request(
        method="POST",
        path=path,
        query={"dry_run": "true"} if dry_run else {},
        headers={"Content-Type": JSON, "Prefer": "return=receipt"},
        content=content,
        # No key of its own: those of its items make it safe to send again.
        writes=not dry_run,
    )


def check_key(key: Any) -> str:
    """
    The key, if one can be this.

    Raises:
        NotSent: It is missing or cannot stand in a header.
    """
    if not isinstance(key, str) or not KEY.fullmatch(key) or len(key) > KEY_CHARACTERS_MAX:
        raise NotSent(
            f"an idempotency key is {KEY_FORM}, at most {KEY_CHARACTERS_MAX}; choose it and keep "
            "it before anything is sent",
            reason="request.key",
        )
    return key


def encode(body: Any) -> bytes:
    """
    JSON of a body; times become UTC, Decimals the strings that amounts are.

    Raises:
        NotSent: Something in it has no JSON, or a time does not know its zone.
    """
    try:
        return orjson.dumps(body, default=_spell, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except (orjson.JSONEncodeError, TypeError, ValueError) as error:
        raise NotSent(f"the body cannot be sent: {error}", reason="request.member") from error


def _spell(value: Any) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without its zone names no moment")
        return format_time(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} has no JSON")


def target_of(kind: str, target: str | KeyOf | Elsewhere) -> tuple[str, dict[str, Any]]:
    """
    Below which path a correction goes, and what its body says of its target.

    Args:
        kind: refund, adjustment or explanation.
        target: What is corrected; by its id, where it is a string.

    Raises:
        NotSent: The id is none.
    """
    if isinstance(target, KeyOf):
        return "/corrections", {"kind": kind, "corrects_key": target.key}
    if isinstance(target, Elsewhere):
        external = {"system": target.system, "ref": target.ref}
        return "/corrections", {"kind": kind, "corrects_external": external}
    noun = "effects" if kind == "refund" else "entries"
    return f"/{noun}/{check_id(target)}/{kind}s", {}


def check_id(found: Any) -> str:
    """
    The id, if one can be this.

    Raises:
        NotSent: It is none.
    """
    if not isinstance(found, str) or not UUID.fullmatch(found):
        raise NotSent("an entry is named by its id, a UUID", reason="request.name")
    return found


def said_in(content: bytes | None) -> Mapping[str, Any]:
    """What a request says, as far as it is a JSON object."""
    try:
        said = parse_json(content or b"")
    except LedgerError:
        return {}
    return said if isinstance(said, dict) else {}

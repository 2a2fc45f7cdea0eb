"""
Answers: domain values in the words of the wire.

Entry bytes are spliced into answers as they are: what a client reads is what was hashed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from ledger.reader import AnyEntry
from ledger.submission import KeptPayload, Provisional, Recorded

JSON = "application/json"


def json_answer(
    document: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`document` as JSON."""
    return Response(
        orjson.dumps(document),
        status_code=status,
        headers=dict(headers) if headers else None,
        media_type=JSON,
    )


def recorded_document(recorded: Recorded) -> dict[str, Any]:
    """What a poster gets back."""
    entry = recorded.entry
    document: dict[str, Any] = {
        "id": entry.id,
        "ledger": entry.ledger,
        "seq": entry.seq,
        "entry_hash": entry.hash.hex(),
        "recorded_at": entry.recorded_at,
        "world": "RML3",
        "replayed": recorded.replayed,
    }
    if recorded.receipt is not None:
        document["receipt"] = recorded.receipt.to_document()
    if recorded.payloads:
        document["payloads"] = [_kept_document(payload) for payload in recorded.payloads]
    return document


def _kept_document(payload: KeptPayload) -> dict[str, Any]:
    return {
        "name": payload.name,
        "media_type": payload.media_type,
        "commitment": payload.commitment,
        "salt": base64_or_none(payload.salt),
        # Where it was erased, a replay could not be compared with it, and says so.
        "erased": payload.salt is None,
    }


def provisional_document(provisional: Provisional, ledger: str) -> dict[str, Any]:
    """What a dry run found."""
    effect = provisional.effect
    return {
        "provisional": True,
        "world": "RML1",
        "ledger": ledger,
        "kind": effect.kind.value,
        "key": effect.key,
        "corrects": provisional.target,
        "replays": provisional.replays.id if provisional.replays else None,
        "effect": orjson.Fragment(effect.encoded),
    }


def entry_document(entry: AnyEntry) -> dict[str, Any]:
    """An entry of history, with what its bytes do not say themselves."""
    return {
        "id": entry.id,
        "ledger": entry.ledger,
        "seq": entry.seq,
        "entry_hash": entry.hash.hex(),
        "recorded_at": entry.recorded_at,
        "world": "RML3",
        "entry": orjson.Fragment(entry.encoded),
    }


def base64_or_none(octets: bytes | None) -> str | None:
    """Padded base64, or None for what is not there."""
    return None if octets is None else base64.b64encode(octets).decode()

"""
Commitments: whether an entry commits to the words and documents that were sent to be kept with it.

The entry has hashes of them only; the answer has the salts that open these hashes to whoever has
the content, which is whoever sent it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from ledger.client.agreement import Asked
from ledger.errors import InclusionError, MalformedProofError, RejectedError
from ledger.forms.payload import SALT_BYTES, PayloadIn, build_payloads, commitment


def check_committed(
    entry: Mapping[str, Any], told: Mapping[str, Any], asked: Asked, *, replayed: bool
) -> None:
    """
    Refuse an entry that commits to anything else than was sent.

    What was erased since is told without its salt: of a replay its name and media type must do.

    Args:
        entry: Of v 1, as its receipt proves it.
        told: The answer about it, with the salts.
        asked: What was sent.
        replayed: Whether the service tells it as recorded before.

    Raises:
        InclusionError: It commits to another payload, to more or to fewer.
        MalformedProofError: The answer does not say what opens a commitment.
    """
    if asked.kept is None or (replayed and _is_handed_off_by_another(entry, asked)):
        return
    try:
        sent = build_payloads(asked.kept.get("payloads") or (), note=asked.kept.get("note"))
    except RejectedError as error:
        raise InclusionError(
            f"payloads were recorded, and what was sent are none: {error.message}"
        ) from error
    committed = [(each.get("name"), each.get("media_type")) for each in _listed(entry, "the entry")]
    expected = [(each.name, each.media_type) for each in sent]
    if committed != expected:
        raise InclusionError(
            "the receipt's entry commits to other payloads than were sent",
            expected=[name for name, _ in expected],
            found=[name for name, _ in committed],
        )
    opened = {each.get("name"): each for each in _listed(told, "the answer")}
    for payload, kept in zip(sent, _listed(entry, "the entry"), strict=True):
        _check_opens(payload, kept, opened.get(payload.name, {}), replayed)


def _is_handed_off_by_another(entry: Mapping[str, Any], asked: Asked) -> bool:
    return not asked.whole and entry["effect"].get("key") != asked.words["key"]


def _listed(document: Mapping[str, Any], what: str) -> list[Mapping[str, Any]]:
    found = document.get("payloads", [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise MalformedProofError(f"{what} has payloads that are none")
    return found


def _check_opens(
    payload: PayloadIn, kept: Mapping[str, Any], told: Mapping[str, Any], replayed: bool
) -> None:
    if told.get("salt") is None and told.get("erased") is True and replayed:
        return
    try:
        salt = b64decode(told.get("salt") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        salt = b""
    if len(salt) != SALT_BYTES:
        raise MalformedProofError(
            f"the answer has no salt that opens the commitment to payload {payload.name}"
        )
    if (found := commitment(salt, payload.content).hex()) != kept.get("commitment"):
        raise InclusionError(
            f"the receipt's entry commits to another payload {payload.name} than was sent",
            expected=found,
            found=kept.get("commitment"),
        )

"""Announced: what the registry says of a ledger, against the ledger's own row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.effect import Kind
from ledger.entry import Entry, parse_entry
from ledger.errors import MalformedProofError
from ledger.forms.names import REGISTRY
from ledger.verify.links import Add
from ledger.verify.report import shown
from ledger.verify.stored import StoredLedger


def check_announcement(row: StoredLedger, add: Add) -> tuple[str, str]:
    """Origin and key of the ledger; the notice's word counts where its row differs."""
    notice = _created(row)
    if notice is None:
        add("ledger.announced", None, f"{REGISTRY} does not announce ledger {row.name}")
        return row.origin, row.vkey
    said: Mapping[str, Any] = notice.effect.data or {}
    for column in ("origin", "vkey", "signer", "units", "time_zone", "public"):
        stored = getattr(row, column)
        if stored != said[column]:
            add(
                f"ledger.{column}",
                None,
                f"the ledger's row has {column} {shown(stored)}, {REGISTRY} announced "
                f"{shown(said[column])}",
            )
    announced_by = None if row.name == REGISTRY else notice.seq
    if row.registry_seq != announced_by:
        add(
            "ledger.registry_seq",
            None,
            f"the ledger's row refers to entry {row.registry_seq} of {REGISTRY}, "
            f"entry {announced_by} announced it",
        )
    return said["origin"], said["vkey"]


def _created(row: StoredLedger) -> Entry | None:
    """The notice of a ledger's creation, if the entry found under its key is that."""
    try:
        notice = None if row.notice is None else parse_entry(row.notice.body)
    except MalformedProofError:
        return None
    if (
        isinstance(notice, Entry)
        and notice.ledger == REGISTRY
        and notice.effect.kind is Kind.NOTICE
        and notice.effect.type == "ledger.created"
        and notice.effect.key == f"_ledger.created/{row.name}"
    ):
        return notice
    return None

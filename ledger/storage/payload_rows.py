"""Payload rows: sealed payloads as they are stored, each beside the key that opens it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.ports import SealedPayload

FROM_SEALED = """
select p.seq, p.name, p.media_type, p.commitment, p.data_subject, p.sealed, k.wrapped
from payloads p left join effect_ledger_keys.data_keys k
    on k.ledger = p.ledger and k.data_subject = p.data_subject
"""
"""Payloads and their wrapped data keys; whoever reads some says which of `p`."""


def sealed_payload(row: Sequence[Any]) -> tuple[SealedPayload, bytes | None]:
    """The payload in a row of `FROM_SEALED`, and its wrapped data key; None where that is gone."""
    seq, name, media_type, commitment, data_subject, sealed, wrapped = row
    payload = SealedPayload(
        seq=seq,
        name=name,
        media_type=media_type,
        commitment=commitment,
        data_subject=data_subject,
        sealed=sealed,
    )
    return payload, wrapped

"""
Vault: seals payloads under the data key of the person they are about, and opens them again.

The payload key wraps data keys; a data key seals payloads. Deleting a data key is what
erasing means. Who may open a payload is decided by the entrance.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ledger.errors import CommitmentError
from ledger.forms.payload import (
    KEY_BYTES,
    SALT_BYTES,
    Commitment,
    PayloadIn,
    commitment,
    open_sealed,
    seal,
    unwrap_data_key,
    wrap_data_key,
)
from ledger.ports import LedgerRecord, SealedPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPayload:
    """A payload with the salt that opens its commitment. Both stay out of logs."""

    name: str
    media_type: str
    commitment: bytes
    salt: bytes | None = field(repr=False)
    content: bytes | None = field(repr=False)
    """Both None once erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaltedPayload:
    """A payload on its way into the vault: committed to, not sealed yet."""

    payload: PayloadIn
    salt: bytes = field(repr=False)
    commitment: Commitment


def salted(payloads: Sequence[PayloadIn]) -> tuple[SaltedPayload, ...]:
    """Draw a salt for each payload and commit to it."""
    return tuple(_salted(payload) for payload in payloads) if payloads else ()


def data_subject_of(payload: PayloadIn, entry_id: str) -> str:
    """Whose data key seals it: the caller's opaque id, else the entry stands for itself."""
    return payload.data_subject or f"entry:{entry_id}"


class Vault:
    """Holds the payload key; one per process, safe to share between threads."""

    def __init__(self, payload_key: bytes) -> None:
        self._payload_key = payload_key

    def seal(
        self,
        record: LedgerRecord,
        entry_id: str,
        seq: int,
        payloads: Sequence[SaltedPayload],
        data_keys: dict[str, bytes],
    ) -> tuple[list[SealedPayload], dict[str, bytes]]:
        """
        Seal the payloads of one entry.

        Args:
            record: The ledger; its origin is bound into every seal.
            entry_id: Id of the entry, bound too.
            seq: Where the entry stands.
            payloads: What to seal.
            data_keys: Wrapped data keys by data subject; keys made here are added.

        Returns:
            The sealed payloads, and the data keys that were made, wrapped.
        """
        made: dict[str, bytes] = {}
        sealed = []
        for item in payloads:
            subject = data_subject_of(item.payload, entry_id)
            if subject not in data_keys:
                made[subject] = data_keys[subject] = wrap_data_key(
                    self._payload_key, os.urandom(KEY_BYTES), record.name, subject
                )
            data_key = unwrap_data_key(self._payload_key, data_keys[subject], record.name, subject)
            sealed.append(
                SealedPayload(
                    seq=seq,
                    name=item.payload.name,
                    media_type=item.payload.media_type,
                    commitment=bytes.fromhex(item.commitment.commitment),
                    data_subject=subject,
                    sealed=seal(
                        item.payload.content,
                        item.salt,
                        data_key=data_key,
                        origin=record.origin,
                        entry_id=entry_id,
                        name=item.payload.name,
                    ),
                )
            )
        return sealed, made

    def open(
        self,
        record: LedgerRecord,
        entry_id: str,
        rows: Sequence[SealedPayload],
        data_keys: Mapping[str, bytes],
    ) -> list[OpenedPayload]:
        """
        Open stored payloads and check each against what its entry committed to.

        Raises:
            CommitmentError: A payload was changed, swapped or sealed under another key.
        """
        return [self._open(record, entry_id, row, data_keys) for row in rows]

    def _open(
        self,
        record: LedgerRecord,
        entry_id: str,
        row: SealedPayload,
        data_keys: Mapping[str, bytes],
    ) -> OpenedPayload:
        salt = content = None
        if row.sealed is not None and row.data_subject in data_keys:
            data_key = unwrap_data_key(
                self._payload_key, data_keys[row.data_subject], record.name, row.data_subject
            )
            salt, content = open_sealed(
                row.sealed,
                data_key=data_key,
                origin=record.origin,
                entry_id=entry_id,
                name=row.name,
            )
            if commitment(salt, content) != row.commitment:
                raise CommitmentError(
                    f"payload {row.name} of entry {entry_id} is not the one committed to",
                    seq=row.seq,
                    name=row.name,
                )
        return OpenedPayload(
            name=row.name,
            media_type=row.media_type,
            commitment=row.commitment,
            salt=salt,
            content=content,
        )


def _salted(payload: PayloadIn) -> SaltedPayload:
    salt = os.urandom(SALT_BYTES)
    return SaltedPayload(
        payload=payload,
        salt=salt,
        commitment=Commitment(
            name=payload.name,
            media_type=payload.media_type,
            commitment=commitment(salt, payload.content).hex(),
        ),
    )

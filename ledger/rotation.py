"""
Rotation: one signing key takes the place of another, in sight of everyone who verifies.

    begin    key.added for every ledger; from then on checkpoints carry both signatures
    finish   the old key signs no more; key.retired for every ledger, with its final size

Which keys sign is the signer's; here the registry is told, and what is published signed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.anchoring.anchors import Anchors
from ledger.append import Appender
from ledger.errors import SettingsError
from ledger.forms.names import REGISTRY
from ledger.note import VerifierKey
from ledger.ports import LedgerRecord, Signer
from ledger.reader import Reader
from ledger.registry.ledgers import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What became of the keys of one ledger."""

    ledger: str
    origin: str
    keys: tuple[VerifierKey, ...]
    """Its whole history, oldest first, as the registry has it now."""


class Rotation:
    """Rotates the keys of all ledgers of one signer. Used by one thread at a time."""

    def __init__(
        self,
        *,
        registry: Registry,
        reader: Reader,
        signer: Signer,
        appender: Appender,
        anchors: Anchors,
    ) -> None:
        self._registry = registry
        self._reader = reader
        self._signer = signer
        self._appender = appender
        self._anchors = anchors

    def begin(self) -> list[Rotated]:
        """
        Announce the keys that sign and were not announced; safe to repeat.

        Raises:
            SettingsError: Only keys that are known already sign.
            PushbackError, LedgerBrokenError: A ledger cannot be written now; begin again.
        """
        records = self._ours()
        fresh = [
            (record, key)
            for record in records
            for key in self._signer.verifiers(record.origin)
            if key.key_id not in {each.key_id for each in self._reader.keys(record.name)}
        ]
        if not fresh and all(len(self._unretired(record)) == 1 for record in records):
            raise SettingsError(
                "the signer has no second key: nothing takes the place of the one it has"
            )
        for record, key in fresh:
            self._registry.announce_log_key(record, key)
        return self._publish(records)

    def finish(self, *, compromised: bool = False) -> list[Rotated]:
        """
        Retire every key that signs no more; safe to repeat.

        Args:
            compromised: Somebody else may have the key: it speaks only for what a quorum of
                witnesses has seen, where there is one.

        Raises:
            SettingsError: The key that is to be retired signs still, or none takes its place.
            PushbackError, LedgerBrokenError: As `begin`.
        """
        records = self._ours()
        for record in records:
            signing = self._signer.verifiers(record.origin)
            if len(signing) > 1:
                raise SettingsError(
                    f"{len(signing)} keys sign {record.origin}: take the old one from the signer "
                    "first, and start it again"
                )
            for key in signing:
                # Where the old key was lost before the new one was announced.
                if key.key_id not in {each.key_id for each in self._reader.keys(record.name)}:
                    self._registry.announce_log_key(record, key)
        self._publish(records)
        cosigned = self._anchors.ages("cosigned")
        # The registry last: the notices about the others are in it.
        for record in sorted(records, key=lambda record: record.name == REGISTRY):
            signing_ids = {key.key_id for key in self._signer.verifiers(record.origin)}
            final_size = self._signer.checkpoint(record.origin)[0].size
            if compromised:
                final_size = cosigned.get(record.name, (final_size, 0.0))[0]
            for key in self._unretired(record):
                if key.key_id not in signing_ids:
                    self._registry.retire_log_key(record, key, final_size)
        return [self._rotated(record) for record in records]

    def _ours(self) -> list[LedgerRecord]:
        identity = self._signer.identity
        return [record for record in self._reader.ledgers() if record.signer == identity]

    def _unretired(self, record: LedgerRecord) -> Sequence[VerifierKey]:
        return [key for key in self._reader.keys(record.name) if key.final_size is None]

    def _publish(self, records: Sequence[LedgerRecord]) -> list[Rotated]:
        for record in records:
            # The same size again: under the keys that sign now.
            self._appender.publish(record.name)
        return [self._rotated(record) for record in records]

    def _rotated(self, record: LedgerRecord) -> Rotated:
        return Rotated(
            ledger=record.name, origin=record.origin, keys=self._reader.keys(record.name)
        )

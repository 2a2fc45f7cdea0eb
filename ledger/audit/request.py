"""Request: which bundle somebody asks for, with everything that decides about its bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.audit.close import Close
from ledger.audit.selection import Selection
from ledger.ports import LedgerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRequest:
    """Everything that decides about the bytes of a bundle, but what was erased."""

    record: LedgerRecord
    """With the key of today, with which the bundle is signed."""
    first_vkey: str
    """The key the ledger was created with."""
    close: Close
    """With its checkpoint."""
    before: Close | None
    """The close that this period begins with, with its checkpoint; None for the first."""
    selection: Selection
    previous_manifest: str | None = None
    """Hash of the manifest of the period before, as it was first made for such a reader."""

    @property
    def name(self) -> str:
        """What the bundle's directory is called."""
        selected = "" if self.selection.is_complete else "-selection"
        data = self.close.data
        return f"audit-{self.record.name}-{data['name']}-{self.close.entry.id[-12:]}{selected}"

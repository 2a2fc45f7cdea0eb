"""Outside: what is known of a ledger from elsewhere than its database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.note import VerifierKey
from ledger.verify.times import Dated


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What is known of the ledger from elsewhere than its database. Believed."""

    trusted: Checkpoint | None = None
    """A checkpoint somebody kept; its signature was checked, see `read_trusted`."""
    read_signed: Callable[[str], tuple[int, bytes] | None] = lambda _origin: None
    """Origin -> size and root in the signer's record; None where it has or knows none."""
    now: datetime | None = None
    """Wall clock, with its offset."""
    dated: Dated = field(default_factory=Dated)
    """Trees that others have seen."""


def read_trusted(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """
    The checkpoint that somebody kept, checked.

    Args:
        note: Signed note.
        keys: Of the ledger's log.

    Raises:
        MalformedProofError: Not a signed checkpoint, or not a verifier key.
        SignatureError: Not signed by that key for its own origin.
    """
    return open_checkpoint(note.encode(), keys)

"""
A PostgreSQL of our own, in the data directory, supervised by us.

The wheel gives binaries only. `server` tells the story; `account`, `binaries`, `layout`,
`cluster`, `supervision` and `postmaster` are its steps.
"""

from ledger.storage.embedded.binaries import find_binaries
from ledger.storage.embedded.server import EmbeddedServer, open_server
from ledger.storage.embedded.supervision import Attached, attach

__all__ = ["Attached", "EmbeddedServer", "attach", "find_binaries", "open_server"]

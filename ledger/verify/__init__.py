"""
Verify: recomputes a whole ledger from its entry bytes and says what differs.

Pure: a `Source` hands in what is stored, page by page, and a report comes out. What was
signed and kept elsewhere is an argument. Reading a database and running jobs is for
`verification`; a receipt alone is for `receipt`, a run of entries alone for `entry`.

Three verdicts, each `ok`, `bad` or `unchecked`:

    tamper        what is stored is what was recorded: bytes, chain, tree, rules, index columns
                  and derived tables; ok needs a signed root over at least the first entries
    completeness  nothing that was signed is left out; needs something from outside the
                  database: a checkpoint that was kept, or the signer's record
    time          times never run backwards and are not from the future; and they fit what
                  witnesses and timestamp authorities say, where any do

Memory does not grow with the ledger, but for positions (by corrected entries), erased
payloads (by their number) and 16 bytes per 2,048 entries.
"""

from ledger.statement import Verdict
from ledger.verify.attachments import OpenPayloads, SealedPayload
from ledger.verify.auditor import audit
from ledger.verify.outside import Outside, read_trusted
from ledger.verify.page import ReadPage, read_page, sift_page
from ledger.verify.report import FINDINGS_MAX, Finding, Mode, Report, verdicts_of
from ledger.verify.sift import Page
from ledger.verify.stored import (
    COLUMNS,
    PAGE,
    Block,
    Pinned,
    Progress,
    Source,
    StoredCheckpoint,
    StoredEntry,
    StoredHead,
    StoredIntent,
    StoredLedger,
    StoredPayload,
    StoredPosition,
    StoredPosterKey,
)
from ledger.verify.times import CLOCKS_APART, AnchoredTree, Dated

__all__ = [
    "CLOCKS_APART",
    "COLUMNS",
    "FINDINGS_MAX",
    "PAGE",
    "AnchoredTree",
    "Block",
    "Dated",
    "Finding",
    "Mode",
    "OpenPayloads",
    "Outside",
    "Page",
    "Pinned",
    "Progress",
    "ReadPage",
    "Report",
    "SealedPayload",
    "Source",
    "StoredCheckpoint",
    "StoredEntry",
    "StoredHead",
    "StoredIntent",
    "StoredLedger",
    "StoredPayload",
    "StoredPosition",
    "StoredPosterKey",
    "Verdict",
    "audit",
    "read_page",
    "read_trusted",
    "sift_page",
    "verdicts_of",
]

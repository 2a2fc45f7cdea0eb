"""
The client of an effect ledger: for services that must not guess.

    requests        what is sent, built once
    judgement       what an answer means, whatever it is
    retry budget    when the same is sent again, and how much of it a process may do
    exchange        one request until it is answered, as steps without sockets
    operations      everything a ledger can be asked, as flows of such steps
    execution       an effect promised, tried and handed off
    transport       flows performed, with and without `await`

It needs httpx and the code that proves receipts, and nothing of the service.
"""

from ledger.client.async_client import AsyncClient, AsyncIntent
from ledger.client.budget import RetryBudget
from ledger.client.client import Client, Intent
from ledger.client.closed_world import AsyncClosedWorld, ClosedWorld
from ledger.client.errors import (
    AlreadyConcluded,
    BudgetSpent,
    ClientError,
    NotSent,
    OutcomeUnknown,
    ReceiptInvalid,
    ReceiptNotKept,
    ReceiptUnsigned,
    Refused,
    Unreachable,
)
from ledger.client.receipt_store import (
    DirectoryReceipts,
    MemoryReceipts,
    ReceiptStore,
    SqliteReceipts,
)
from ledger.client.recorded import FoundEntry, Recorded
from ledger.client.requests import Elsewhere, KeyOf
from ledger.client.retry import Retry

__all__ = [
    "AlreadyConcluded",
    "AsyncClient",
    "AsyncClosedWorld",
    "AsyncIntent",
    "BudgetSpent",
    "Client",
    "ClientError",
    "ClosedWorld",
    "DirectoryReceipts",
    "Elsewhere",
    "FoundEntry",
    "Intent",
    "KeyOf",
    "MemoryReceipts",
    "NotSent",
    "OutcomeUnknown",
    "ReceiptInvalid",
    "ReceiptNotKept",
    "ReceiptStore",
    "ReceiptUnsigned",
    "Recorded",
    "Refused",
    "Retry",
    "RetryBudget",
    "SqliteReceipts",
    "Unreachable",
]

"""
Decisions: what people decide about files, matches and statements. In history, and on the shelf.

The ledger records who decided, and the hash of what, in a notice; what exactly is on the shelf,
where it can be read, and held to that hash.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from ledger.append import Appender
from ledger.canonical import canonical_bytes
from ledger.recon.shelf import Shelf
from ledger.registry.ledgers import build_notice

NOTICE = "recon.decided"


class Decisions:
    """Records decisions. Safe to share between threads."""

    def __init__(self, shelf: Shelf, appender: Appender) -> None:
        """
        Keep decisions on `shelf`.

        Args:
            shelf: Where they can be read.
            appender: Writes the notices; nobody else uses it.
        """
        self._shelf = shelf
        self._appender = appender
        self._lock = threading.Lock()

    def decide(self, ledger: str, act: str, document: Mapping[str, Any], *, by: str) -> str:
        """
        Record a decision, and return its id.

        The notice comes first: a decision that counts is in history, whatever happens between.

        Raises:
            PushbackError, OutcomeUnknownError, LedgerBrokenError: As `Appender.append`.
        """
        decision = str(uuid4())
        key = f"_{NOTICE}/{decision}"
        data = {
            "act": act,
            "decision_id": decision,
            "decision_hash": hashlib.sha256(canonical_bytes(dict(document))).hexdigest(),
            "principal": by,
        }
        with self._lock:
            self._appender.append_notice(
                ledger, key, lambda _transaction: build_notice(NOTICE, key, data)
            )
        self._shelf.add_decision(ledger, decision, by, act, document)
        return decision

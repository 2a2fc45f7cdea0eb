"""
Access: who took what away, as notices in `_registry`.

Where the registry takes none, in a log of its own that is only appended to: reading never depends
on writing, and what could not be told in the one place is told in the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Engine

from ledger.append import Appender
from ledger.errors import LedgerError
from ledger.forms.names import REGISTRY
from ledger.registry.ledgers import build_notice
from ledger.storage.database import driver_connection

logger = logging.getLogger(__name__)

INSERT_ACCESS = """
insert into accesses (ledger, id, principal, key_id, act, data, because)
values (%s, %s, %s, %s, %s, %s, %s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accessor:
    """Who takes something, and with which key."""

    principal: str
    key_id: str


class Accesses:
    """Tells of accesses. Safe to share between threads."""

    def __init__(self, engine: Engine, appender: Appender) -> None:
        """
        Tell through `appender`, which nobody else uses.

        Args:
            engine: With the rights of the writer.
            appender: Writes to the registry.
        """
        self._engine = engine
        self._appender = appender
        self._lock = threading.Lock()

    def record(
        self, act: str, name: str, data: Mapping[str, Any], *, ledger: str, by: Accessor
    ) -> dict[str, Any]:
        """
        Tell of an access, once for each `name`.

        Args:
            act: Type of the notice.
            name: What tells this access from others of its type.
            data: What the notice says.
            ledger: Whose entries were taken.
            by: Who took them.

        Returns:
            `{act, at, principal, key_id, registry_seq}`: where it is told; the number is None
            where the registry did not take it.
        """
        key = f"_{act}/{name}"
        try:
            with self._lock:
                entry, _ = self._appender.append_notice(
                    REGISTRY, key, lambda _transaction: build_notice(act, key, data)
                )
        except LedgerError as error:
            self._record_beside(act, data, ledger, by, error)
            told: dict[str, Any] = {"at": None, "registry_seq": None}
        else:
            told = {"at": entry.recorded_at, "registry_seq": entry.seq}
        return {"act": act, "principal": by.principal, "key_id": by.key_id, **told}

    def _record_beside(
        self, act: str, data: Mapping[str, Any], ledger: str, by: Accessor, error: LedgerError
    ) -> None:
        because = f"{type(error).__name__}: {error.message}"
        row = (ledger, str(uuid4()), by.principal, by.key_id, act, Jsonb(dict(data)), because)
        try:
            with driver_connection(self._engine) as connection:
                connection.execute(INSERT_ACCESS, row)
        except (LedgerError, psycopg.Error):
            # Whoever may read is not refused for it; the process's own log is what is left.
            logger.exception("access of %s to ledger %s is told nowhere: %s", by, ledger, act)

"""
Verdicts: what follows when a verification has ended. A broken ledger is stopped, and what was
found is signed and kept.

What is checked is said by `verify`, and what a stop means by `stops`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, bindparam, insert, select

from ledger.errors import (
    ForkedError,
    LedgerBrokenError,
    NotFoundError,
    RolledBackError,
    VerificationError,
)
from ledger.forms.timestamps import format_time
from ledger.note import VerifierKey
from ledger.ports import LedgerRecord, Signer
from ledger.registry.stops import Stops
from ledger.statement import Statement, open_statement
from ledger.storage.database import pool_connection
from ledger.storage.tables import statements
from ledger.verify import FINDINGS_MAX, Mode, verdicts_of

logger = logging.getLogger(__name__)

STOPPING = frozenset({"tamper", "completeness"})
"""A bad verdict of these stops the ledger; a wrong clock is told, and stops nothing."""

# Where nothing else is wrong with what is stored, it is whole and not what was signed; then
# another error tells the way out.
_GONE = frozenset({"signer.ahead", "trusted.ahead", "checkpoint.ahead", "earlier.ahead"})
_ANOTHER = frozenset({"signer.root", "trusted.root", "checkpoint.root", "earlier.root"})

INSERT_STATEMENT = insert(statements)
SELECT_NEWEST = (
    select(statements.c.note)
    .where(statements.c.ledger == bindparam("name"))
    .order_by(statements.c.finished_at.desc(), statements.c.id.desc())
    .limit(1)
)
SELECT_NEWEST_OF_MODE = SELECT_NEWEST.where(statements.c.mode == bindparam("kind"))
SELECT_NEWEST_GOOD = SELECT_NEWEST.where(statements.c.good)


KeysOf = Callable[[LedgerRecord], Sequence[VerifierKey]]
"""The keys that speak for a ledger."""


def first_key(record: LedgerRecord) -> Sequence[VerifierKey]:
    """The key it was created with, where no other one was ever added."""
    return (VerifierKey.parse(record.vkey),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A verification that ended with a report."""

    id: str
    record: LedgerRecord
    document: Mapping[str, Any]
    """As `verify.Report.document` has it."""
    started_at: datetime
    finished_at: datetime


class Verdicts:
    """Stops ledgers and keeps signed statements. Safe to share between threads."""

    def __init__(
        self, engine: Engine, signer: Signer, stops: Stops, keys: KeysOf = first_key
    ) -> None:
        """Keep statements through connections of `engine`, which has the rights of the writer."""
        self._keys = keys
        self._engine = engine
        self._signer = signer
        self._stops = stops

    def conclude(self, ended: Ended) -> None:
        """
        Stop the ledger where it is broken and nobody accepted that; then keep a signed statement.

        Raises:
            PushbackError: The database or the signer is away; the ledger may be stopped already.
        """
        findings = stopping(ended.document["findings"])
        accepted = bool(findings) and self._is_accepted(ended, findings)
        if findings and not accepted:
            self._stops.stop(
                ended.record.name,
                _error(ended.record, findings, ended.document["findings_total"]),
                verification=ended.id,
                findings=findings,
            )
        if ended.record.signer != self._signer.identity:
            logger.warning(
                "the verdict on ledger %s is not signed: its signer is %s",
                ended.record.name,
                ended.record.signer,
            )
            return
        self._keep(ended, _statement(ended, acknowledged=accepted))

    def latest(self, record: LedgerRecord, mode: Mode | None = None) -> tuple[Statement, bytes]:
        """
        The newest statement about a ledger, and its signed note.

        Args:
            record: Of the ledger.
            mode: Of this kind of verification only.

        Raises:
            NotFoundError: There is none yet.
            VerificationError: The one that is stored was not signed by this ledger's key.
        """
        query = SELECT_NEWEST if mode is None else SELECT_NEWEST_OF_MODE
        found = self._read(record, query, mode)
        if found is None:
            raise NotFoundError(f"ledger {record.name} was not verified yet", ledger=record.name)
        return found

    def last_good(self, record: LedgerRecord) -> tuple[int, bytes] | None:
        """
        Size and root where the newest good verification ended; None where there is none.

        Believed only under the ledger's signature: whoever edits rows could otherwise have the
        next verification begin behind their edit.
        """
        try:
            found = self._read(record, SELECT_NEWEST_GOOD, None)
        except VerificationError as error:
            logger.warning("a statement about ledger %s is none: %s", record.name, error)
            return None
        if found is None or not found[0].good or found[0].root is None:
            return None
        statement, _ = found
        return statement.size, bytes.fromhex(statement.root or "")

    def _read(
        self, record: LedgerRecord, query: Any, mode: Mode | None
    ) -> tuple[Statement, bytes] | None:
        with pool_connection(self._engine) as connection:
            note = connection.execute(query, {"name": record.name, "kind": mode}).scalar()
        if note is None:
            return None
        return open_statement(note, self._keys(record)), note

    def _is_accepted(self, ended: Ended, findings: Sequence[Mapping[str, Any]]) -> bool:
        accepted = self._stops.acknowledged(ended.record.name)
        if ended.document["findings_total"] > FINDINGS_MAX:
            # Not all are listed, so only the very same list is known to be the same damage.
            return list(findings) in accepted
        known = [each for each_list in accepted for each in each_list]
        return all(finding in known for finding in findings)

    def _keep(self, ended: Ended, statement: Statement) -> None:
        if statement.mode == "incremental" and self._says_nothing_new(ended.record, statement):
            return
        note = self._signer.attest(statement.text())
        with pool_connection(self._engine) as connection:
            connection.execute(
                INSERT_STATEMENT,
                {
                    "ledger": ended.record.name,
                    "finished_at": ended.finished_at,
                    "id": ended.id,
                    "mode": statement.mode,
                    "size": statement.size,
                    "good": statement.good,
                    "note": note,
                },
            )

    def _says_nothing_new(self, record: LedgerRecord, statement: Statement) -> bool:
        try:
            newest = self._read(record, SELECT_NEWEST, None)
        except VerificationError:
            return False
        return newest is not None and (
            newest[0].size,
            newest[0].root,
            newest[0].verdicts,
            newest[0].acknowledged,
        ) == (statement.size, statement.root, statement.verdicts, statement.acknowledged)


def stopping(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of a report's findings that a ledger is stopped for."""
    return [finding for finding in findings if verdicts_of(finding["check"]) & STOPPING]


def _error(
    record: LedgerRecord, findings: Sequence[Mapping[str, Any]], total: int
) -> LedgerBrokenError:
    checks = {finding["check"] for finding in findings}
    first = findings[0]
    place = "" if first["seq"] is None else f" at entry {first['seq']}"
    message = (
        f"ledger {record.name} does not verify: {first['message']} ({first['check']}{place}; "
        f"{total} findings in all). It takes no writes until a person has looked"
    )
    details = {"check": first["check"], "seq": first["seq"], "findings_total": total}
    checks.discard("checkpoint.missing")
    if checks and checks <= _GONE:
        return RolledBackError(message, **details)
    if checks and checks <= _ANOTHER:
        return ForkedError(message, **details)
    return LedgerBrokenError(message, **details)


def _statement(ended: Ended, *, acknowledged: bool) -> Statement:
    document = ended.document
    return Statement(
        origin=ended.record.origin,
        ledger=ended.record.name,
        mode=document["mode"],
        start=document["start"],
        size=document["size"],
        root=document["root"],
        verdicts=document["verdicts"],
        first_bad=document["first_bad"],
        findings_total=document["findings_total"],
        acknowledged=acknowledged,
        not_checked=document["not_checked"],
        level=document["level"],
        started_at=format_time(ended.started_at),
        finished_at=format_time(ended.finished_at),
    )

"""Auditing: the auditor over a ledger in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy import Engine

from ledger.checkpoint import Checkpoint
from ledger.errors import CommitmentError, NotFoundError
from ledger.ports import LedgerRecord
from ledger.storage.database import driver_connection
from ledger.storage.payload_rows import FROM_SEALED, sealed_payload
from ledger.storage.postgres import SELECT_LEDGER
from ledger.storage.scan import PostgresScan
from ledger.storage.tables import ledger_record
from ledger.vault import Vault
from ledger.verification.ahead import Pages, PagesAhead, reading_ahead
from ledger.verification.pace import PacedProgress, paced
from ledger.verify import Dated, Outside, Report, audit
from ledger.verify import SealedPayload as Unopened

# A payload has up to 1 MiB; so many are held in memory at once.
OPENED_BYTES_MAX = 8 * 1024 * 1024
ReadSigned = Callable[[str], tuple[int, bytes] | None]
"""Origin -> size and root in the signer's record; None where it has none."""


SELECT_SEALED = (
    FROM_SEALED
    + """
join unnest(%(seqs)s::bigint[], %(names)s::text[]) as wanted (seq, name)
    on p.seq = wanted.seq and p.name = wanted.name
where p.ledger = %(ledger)s
"""
)


def verify_ledger(
    engine: Engine,
    ledger: str,
    *,
    since: tuple[int, bytes] | None = None,
    trusted: Checkpoint | None = None,
    read_signed: ReadSigned | None = None,
    vault: Vault | None = None,
    dated: Dated | None = None,
    progress: PacedProgress | None = None,
    readers: Sequence[Pages] = (),
    ahead: bool = False,
) -> Report:
    """
    Verify a stored ledger, and return when it is done.

    Args:
        engine: Connects with the rights of the writer.
        ledger: Its name.
        since: Size and root that an earlier verification found good, to go on from; None
            verifies in full.
        trusted: A checkpoint that was kept elsewhere, its signature checked.
        read_signed: Reads the signer's record.
        vault: Opens payloads; without it their content is not checked.
        dated: Trees that others have seen.
        progress: Told how many entries were checked, of how many; then it makes way for writers.
        readers: Who reads and sifts pages; without any it is done here.
        ahead: Then read pages ahead through a second connection, while others are looked at.

    Raises:
        NotFoundError: No ledger has this name.
        DatabaseUnavailableError: The database does not answer.
    """
    with driver_connection(engine) as connection, ExitStack() as opened:
        if ahead and not readers:
            readers = [opened.enter_context(reading_ahead(engine, ledger))]
        return audit(
            PostgresScan(connection, ledger),
            outside=Outside(
                trusted=trusted,
                read_signed=read_signed or (lambda _origin: None),
                now=datetime.now(UTC),
                dated=dated or Dated(),
            ),
            since=since,
            open_payloads=None
            if vault is None
            else PayloadOpener(connection, read_record(connection, ledger), vault),
            progress=_unpaced if progress is None else paced(progress, connection),
            read_page=PagesAhead(readers) if readers else None,
        )


def _unpaced(_checked: int, _size: int) -> None:
    """Nobody waits to be told, and nobody else is made way for."""


class PayloadOpener:
    """Opens stored payloads and checks their commitments, a few mebibytes at a time."""

    def __init__(
        self, connection: psycopg.Connection[Any], record: LedgerRecord, vault: Vault
    ) -> None:
        self._connection = connection
        self._record = record
        self._vault = vault

    def __call__(self, origin: str, payloads: Sequence[Unopened]) -> Iterator[tuple[Unopened, str]]:
        """Those that do not open to what their entries committed to, with the reason."""
        batch: list[Unopened] = []
        for payload in payloads:
            batch.append(payload)
            if sum(each.sealed_bytes for each in batch) >= OPENED_BYTES_MAX:
                yield from self._open(origin, batch)
                batch = []
        if batch:
            yield from self._open(origin, batch)

    def _open(self, origin: str, batch: Sequence[Unopened]) -> Iterator[tuple[Unopened, str]]:
        # Seals are bound to the origin that was announced, whatever the row says now.
        record = replace(self._record, origin=origin)
        wanted = {(each.seq, each.name): each for each in batch}
        rows = self._connection.execute(
            SELECT_SEALED,
            {
                "ledger": record.name,
                "seqs": [each.seq for each in batch],
                "names": [each.name for each in batch],
            },
            binary=True,
        )
        for row, wrapped in map(sealed_payload, rows):
            # Erased since the row was listed: its notice is among the entries to come.
            if row.sealed is None:
                continue
            payload = wanted[row.seq, row.name]
            if wrapped is None:
                yield payload, "its data key is gone"
                continue
            try:
                self._vault.open(record, payload.entry_id, [row], {row.data_subject: wrapped})
            except CommitmentError as error:
                yield payload, error.message


def read_record(connection: psycopg.Connection[Any], ledger: str) -> LedgerRecord:
    """
    What is set for a ledger.

    Raises:
        NotFoundError: No ledger has this name.
    """
    row = psycopg.RawCursor(connection).execute(SELECT_LEDGER.text, (ledger,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no ledger {ledger}", ledger=ledger)
    return ledger_record(row)

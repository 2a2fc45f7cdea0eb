"""
Auditing: the auditor over a ledger in PostgreSQL, here or in processes of its own.

Beside a service an audit is two processes that go last on the processors: one reads pages
and sifts them, the other judges what was sifted. Writers keep their interpreter, and a
ledger is verified on two cores.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg
from sqlalchemy import Engine

from ledger.checkpoint import Checkpoint
from ledger.errors import CommitmentError, LedgerError, NotFoundError
from ledger.ports import LedgerRecord, SealedPayload
from ledger.storage.database import WRITER, driver_connection
from ledger.storage.database import engine as make_engine
from ledger.storage.postgres import SELECT_LEDGER
from ledger.storage.scan import PostgresScan
from ledger.storage.tables import ledger_record
from ledger.vault import Vault
from ledger.verify import PAGE, Dated, Outside, Page, Progress, ReadPage, Report, audit, read_page
from ledger.verify import SealedPayload as Unopened

NICENESS = 10
# A payload has up to 1 MiB; so many are held in memory at once.
OPENED_BYTES_MAX = 8 * 1024 * 1024
# Pages that are read before they are needed.
PAGES_AHEAD = 4
_READER_ENDED = "the process that read ahead ended"
# Spawned and not forked: locks and connections of this process must not be inherited.
_spawn = multiprocessing.get_context("spawn")

ReadSigned = Callable[[str], tuple[int, bytes] | None]
"""Origin -> size and root in the signer's record; None where it has none."""

SELECT_SEALED = """
select p.seq, p.name, p.media_type, p.commitment, p.data_subject, p.sealed, k.wrapped
from payloads p
join unnest(%(seqs)s::bigint[], %(names)s::text[]) as wanted (seq, name)
    on p.seq = wanted.seq and p.name = wanted.name
left join effect_ledger_keys.data_keys k
    on k.ledger = p.ledger and k.data_subject = p.data_subject
where p.ledger = %(ledger)s
"""


def verify_ledger(
    engine: Engine,
    ledger: str,
    *,
    since: tuple[int, bytes] | None = None,
    trusted: Checkpoint | None = None,
    read_signed: ReadSigned | None = None,
    vault: Vault | None = None,
    dated: Dated | None = None,
    progress: Progress = lambda _checked, _size: None,
    read_page: ReadPage | None = None,
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
        progress: Told how many entries were checked, of how many.
        read_page: Who reads and sifts pages; None does it here.

    Raises:
        NotFoundError: No ledger has this name.
        DatabaseUnavailableError: The database does not answer.
    """
    with driver_connection(engine) as connection:
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
            progress=progress,
            read_page=read_page,
        )


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
        for seq, name, media_type, commitment, data_subject, sealed, wrapped in rows:
            # Erased since the row was listed: its notice is among the entries to come.
            if sealed is None:
                continue
            payload = wanted[seq, name]
            if wrapped is None:
                yield payload, "its data key is gone"
                continue
            row = SealedPayload(
                seq=seq,
                name=name,
                media_type=media_type,
                commitment=commitment,
                data_subject=data_subject,
                sealed=sealed,
            )
            try:
                self._vault.open(record, payload.entry_id, [row], {data_subject: wrapped})
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


# ---- Processes of its own -----------------------------------------------------------------


def audit_apart(
    conninfo: str,
    ledger: str,
    *,
    since: tuple[int, bytes] | None,
    trusted: Checkpoint | None,
    signed: Mapping[str, tuple[int, bytes] | None],
    vault: Vault | None,
    dated: Dated | None,
    progress: Progress,
) -> dict[str, Any]:
    """
    Verify a stored ledger as `verify_ledger` does, in two processes, and wait for them.

    Args:
        conninfo: Connects with the rights of the writer.
        ledger: Its name.
        since: As for `verify_ledger`; so are the others.
        trusted: A checkpoint that was kept elsewhere.
        signed: Origin -> size and root in the signer's record.
        vault: Opens payloads.
        dated: Trees that others have seen.
        progress: Told how many entries were checked, of how many.

    Returns:
        The report as JSON.

    Raises:
        LedgerError: As told by the process that judged; or it ended.
    """
    told_here, told_there = _spawn.Pipe(duplex=False)
    pages_wanted, pages_read = _spawn.Pipe()
    # Daemons: they end with the service; whoever asked for the verification asks again.
    reading = _spawn.Process(
        target=_read, args=(pages_read, conninfo, ledger), name=f"read {ledger}", daemon=True
    )
    judging = _spawn.Process(
        target=_judge,
        args=(told_there, pages_wanted),
        kwargs={
            "conninfo": conninfo,
            "ledger": ledger,
            "since": since,
            "trusted": trusted,
            "signed": signed,
            "vault": vault,
            "dated": dated,
        },
        name=f"verify {ledger}",
        daemon=True,
    )
    for process in (reading, judging):
        process.start()
    # Each end is held by one process alone, so that the other sees it go.
    for pipe in (told_there, pages_wanted, pages_read):
        pipe.close()
    try:
        with told_here:
            return _listen(told_here, progress)
    except EOFError as error:
        judging.join()
        raise LedgerError(
            f"the process that verified ended with exit code {judging.exitcode}"
        ) from error
    finally:
        for process in (judging, reading):
            process.join()


def _listen(told: Pipe, progress: Progress) -> dict[str, Any]:
    while True:
        message = told.recv()
        if isinstance(message, dict):
            return message
        if isinstance(message, LedgerError):
            raise message
        progress(*message)


def _judge(
    told: Pipe,
    pages: Pipe,
    *,
    conninfo: str,
    ledger: str,
    since: tuple[int, bytes] | None,
    trusted: Checkpoint | None,
    signed: Mapping[str, tuple[int, bytes] | None],
    vault: Vault | None,
    dated: Dated | None,
) -> None:
    """Tells progress, then a report's document or an error."""
    _go_last()
    engine = make_engine(lambda _role: conninfo, WRITER, pool_size=1)
    try:
        report = verify_ledger(
            engine,
            ledger,
            since=since,
            trusted=trusted,
            read_signed=signed.get,
            vault=vault,
            dated=dated,
            progress=lambda checked, size: told.send((checked, size)),
            read_page=_PagesAhead(pages),
        )
        told.send(report.document())
    except LedgerError as error:
        told.send(LedgerError(error.message))


def _read(pages: Pipe, conninfo: str, ledger: str) -> None:
    """Answers each (start, stop) with the page that begins there, sifted, or with an error."""
    _go_last()
    engine = make_engine(lambda _role: conninfo, WRITER, pool_size=1)
    while True:
        try:
            start, stop = pages.recv()
        except EOFError:
            return
        try:
            with driver_connection(engine) as connection:
                page = read_page(PostgresScan(connection, ledger), start, stop, ledger=ledger)
            pages.send(page)
        except LedgerError as error:
            pages.send(error)
        except BrokenPipeError:
            return


def _go_last() -> None:
    os.nice(NICENESS)
    # Nothing that an audit makes refers to itself, and looking for such things takes a quarter
    # of the time.
    gc.disable()


class _PagesAhead:
    """Asks the other process for pages before they are needed; a `verify.ReadPage`."""

    def __init__(self, pages: Pipe) -> None:
        self._pages = pages
        self._asked: deque[tuple[int, int]] = deque()

    def __call__(self, start: int, stop: int) -> Page:
        while self._asked and self._asked[0] != (start, stop):
            # After a gap, or with a later end: another page than was foreseen.
            self._receive()
        if not self._asked:
            self._ask(start, stop)
        while len(self._asked) < PAGES_AHEAD:
            following = (self._asked[-1][0] // PAGE + 1) * PAGE
            if following >= stop:
                break
            self._ask(following, stop)
        return self._receive()

    def _ask(self, start: int, stop: int) -> None:
        try:
            self._pages.send((start, stop))
        except BrokenPipeError as error:
            raise LedgerError(_READER_ENDED) from error
        self._asked.append((start, stop))

    def _receive(self) -> Page:
        self._asked.popleft()
        try:
            page: Page | LedgerError = self._pages.recv()
        except (EOFError, ConnectionResetError) as error:
            raise LedgerError(_READER_ENDED) from error
        if isinstance(page, LedgerError):
            raise page
        return page

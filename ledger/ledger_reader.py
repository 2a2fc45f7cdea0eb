"""Ledger reader: which ledgers there are and how large; what all readers of them share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, Text, and_, bindparam, func, or_, select

from ledger.errors import NotFoundError, RejectedError
from ledger.forms.grammar import UUID
from ledger.forms.names import REGISTRY, check_ledger_name
from ledger.note import VerifierKey
from ledger.ports import LedgerRecord
from ledger.signing.key_history import ADDED, RETIRED, key_history, notice_range, read_notice
from ledger.storage.database import pool_connection
from ledger.storage.tables import entries, heads, ledger_record, ledgers, published

RECORDS_KEPT = 4_096
SEQ_MAX = 2**63 - 1

_SEQ = re.compile("0|[1-9][0-9]{0,18}")
_LEDGER = bindparam("ledger", type_=Text)

SELECT_LEDGERS = select(ledgers).order_by(ledgers.c.ledger)
SELECT_LEDGER = select(ledgers).where(ledgers.c.ledger == _LEDGER)
SELECT_SIZE = select(heads.c.size).where(heads.c.ledger == _LEDGER)
SELECT_SIZES = (
    select(heads.c.ledger, heads.c.size, func.coalesce(published.c.size, 0).label("published"))
    .join(published, published.c.ledger == heads.c.ledger, isouter=True)
    .order_by(heads.c.ledger)
)
# Of the registry, about the keys of one ledger: a handful for each rotation.
SELECT_KEY_NOTICES = (
    select(entries.c.body)
    .where(
        entries.c.ledger == REGISTRY,
        or_(
            and_(entries.c.key >= bindparam("added"), entries.c.key < bindparam("added_end")),
            and_(entries.c.key >= bindparam("retired"), entries.c.key < bindparam("retired_end")),
        ),
    )
    .order_by(entries.c.seq)
)

_BODY = select(entries.c.seq, entries.c.body).where(entries.c.ledger == _LEDGER)
SELECT_BY_SEQ = _BODY.where(entries.c.seq == bindparam("seq"))
SELECT_BY_ID = _BODY.where(entries.c.id == bindparam("id"))
SELECT_RANGE = (
    _BODY.where(entries.c.seq >= bindparam("start"), entries.c.seq < bindparam("stop"))
    .order_by(entries.c.seq)
    .limit(bindparam("limit"))
)


class LedgerReader:
    """Reads what is fixed about ledgers, and their sizes; the base of other readers."""

    def __init__(self, engine: Engine) -> None:
        """Read through connections of `engine`, with the rights of the writer or of the reader."""
        self._engine = engine
        # A ledger's record never changes, so one reading is enough.
        self._records = lru_cache(RECORDS_KEPT)(self._read_record)

    def ledger(self, name: str) -> LedgerRecord:
        """What is fixed about the ledger of this name."""
        return self._records(name)

    def keys(self, name: str) -> tuple[VerifierKey, ...]:
        """The keys that ever signed this ledger, oldest first, read anew; see `key_history`."""
        record = self.ledger(name)
        added, added_end = notice_range(ADDED, name)
        retired, retired_end = notice_range(RETIRED, name)
        with pool_connection(self._engine) as connection:
            bodies = connection.execute(
                SELECT_KEY_NOTICES,
                {
                    "added": added,
                    "added_end": added_end,
                    "retired": retired,
                    "retired_end": retired_end,
                },
            ).scalars()
            return key_history(record.vkey, record.origin, map(read_notice, bodies))

    def ledgers(self) -> list[LedgerRecord]:
        """All ledgers, by name."""
        with pool_connection(self._engine) as connection:
            return [ledger_record(row) for row in connection.execute(SELECT_LEDGERS)]

    def size(self, ledger: str) -> int:
        """Number of entries."""
        with pool_connection(self._engine) as connection:
            size: int | None = connection.execute(SELECT_SIZE, {"ledger": ledger}).scalar()
        if size is None:
            raise _no_ledger(ledger)
        return size

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Ledger -> number of entries, and how many of them a published checkpoint covers."""
        with pool_connection(self._engine) as connection:
            return {
                ledger: (size, covered)
                for ledger, size, covered in connection.execute(SELECT_SIZES)
            }

    @contextmanager
    def _reading(self, ledger: str) -> Iterator[Connection]:
        """A connection, once it is known that there is such a ledger."""
        # Before and not within: a thread that waits for a second connection holds the first.
        self.ledger(ledger)
        with pool_connection(self._engine) as connection:
            yield connection

    def _read_record(self, name: str) -> LedgerRecord:
        try:
            check_ledger_name(name)
        except RejectedError as error:
            # Nobody can have created it; and not every text is one the database takes.
            raise _no_ledger(name) from error
        with pool_connection(self._engine) as connection:
            row = connection.execute(SELECT_LEDGER, {"ledger": name}).one_or_none()
        if row is None:
            raise _no_ledger(name)
        return ledger_record(row)

    def _row(self, connection: Connection, ledger: str, place: int | str) -> Any:
        """Seq and body of the entry at `place`."""
        named, row = str(place), None
        if UUID.fullmatch(named):
            found = connection.execute(SELECT_BY_ID, {"ledger": ledger, "id": named.lower()})
            row = found.one_or_none()
        elif _SEQ.fullmatch(named) and int(named) <= SEQ_MAX:
            found = connection.execute(SELECT_BY_SEQ, {"ledger": ledger, "seq": int(named)})
            row = found.one_or_none()
        if row is None:
            raise NotFoundError(f"ledger {ledger} has no entry {named[:80]!r}", ledger=ledger)
        return row


def _no_ledger(name: str) -> NotFoundError:
    return NotFoundError(f"there is no ledger {name[:80]!r}", ledger=name[:80])

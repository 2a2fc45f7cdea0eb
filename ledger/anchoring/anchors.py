"""
Anchors: checkpoints that somebody beside the log stands for, and receipts under them.

    ledger -- checkpoint -- cosigned by witnesses, timestamped by an authority
                  |__ recorded by an entry of `_registry` -- whose checkpoints are anchored

Kept are witnesses' lines, authorities' tokens, and which entry of the registry recorded what. When
somebody is asked for them is for `publisher`, `stamper` and `recorder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Select,
    Text,
    bindparam,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_keep

from ledger.checkpoint import Checkpoint, log_part, parse_checkpoint
from ledger.entry import parse_place
from ledger.errors import (
    NotCosignedYetError,
    NotFoundError,
    NotTimestampedYetError,
)
from ledger.forms.names import REGISTRY
from ledger.merkle import LeafIndex, TreeSize, leaf_hash, verify_inclusion
from ledger.note import parse_note
from ledger.ports import LedgerRecord
from ledger.reader import Reader
from ledger.receipt import Receipt, TlogProof, check_recorded
from ledger.rfc3161 import Timestamp, check_imprint
from ledger.storage.database import pool_connection
from ledger.storage.tables import cosigned, entries, ledgers, registered, timestamped

AnchorLevel = Literal["cosigned", "timestamped"]
"""The levels of receipts that others than the log stand for."""

WAITS_MAX = timedelta(seconds=30)
"""An entry that is older and under no checkpoint says that signing is held up."""

_LEDGER = bindparam("ledger", type_=Text)
_SEQ = bindparam("seq", type_=BigInteger)

# By the database's clock, which wrote the times: no other clock makes an anchor older.
_COSIGNED = select(
    cosigned.c.size,
    cosigned.c.note,
    func.extract("epoch", func.clock_timestamp() - cosigned.c.cosigned_at).label("age_s"),
)
_TIMESTAMPED = select(
    timestamped.c.size,
    timestamped.c.note,
    timestamped.c.token,
    func.extract("epoch", func.clock_timestamp() - timestamped.c.timestamped_at).label("age_s"),
)


def _first(rows: Select[Any], table: Any, at: Any) -> Select[Any]:
    """The first anchor that covers an entry: it says the most about when the entry was there."""
    return (
        rows.where(table.c.ledger == _LEDGER, table.c.size > _SEQ)
        .order_by(table.c.size, at)
        .limit(1)
    )


def _newest(rows: Select[Any], table: Any, at: Any, ledger: Any = _LEDGER) -> Select[Any]:
    return rows.where(table.c.ledger == ledger).order_by(table.c.size.desc(), at.desc()).limit(1)


def _newest_of_each(rows: Select[Any], table: Any, at: Any) -> Select[Any]:
    newest = _newest(rows, table, at, ledgers.c.ledger).lateral("newest")
    return select(ledgers.c.ledger, newest.c.size, newest.c.age_s).join_from(
        ledgers, newest, true()
    )


SELECT_FIRST = {
    "cosigned": _first(_COSIGNED, cosigned, cosigned.c.cosigned_at),
    "timestamped": _first(_TIMESTAMPED, timestamped, timestamped.c.timestamped_at),
}
SELECT_NEWEST = {
    "cosigned": _newest(_COSIGNED, cosigned, cosigned.c.cosigned_at),
    "timestamped": _newest(_TIMESTAMPED, timestamped, timestamped.c.timestamped_at),
}
SELECT_NEWEST_OF_EACH = {
    "cosigned": _newest_of_each(_COSIGNED, cosigned, cosigned.c.cosigned_at),
    "timestamped": _newest_of_each(_TIMESTAMPED, timestamped, timestamped.c.timestamped_at),
}
SELECT_FIRST_REGISTERED = (
    select(registered.c.size, registered.c.registry_seq, registered.c.note)
    .where(registered.c.ledger == _LEDGER, registered.c.size > _SEQ)
    .order_by(registered.c.size)
    .limit(1)
)
SELECT_COSIGNED_AT = (
    select(cosigned.c.note)
    .where(cosigned.c.ledger == _LEDGER, cosigned.c.size == bindparam("at_size"))
    .order_by(cosigned.c.cosigned_at)
    .limit(1)
)
SELECT_TOKEN_AT = (
    _TIMESTAMPED.where(timestamped.c.ledger == _LEDGER, timestamped.c.size == bindparam("at_size"))
    .order_by(timestamped.c.timestamped_at)
    .limit(1)
)
_last_registered = (
    select(registered.c.size)
    .where(registered.c.ledger == ledgers.c.ledger)
    .order_by(registered.c.size.desc())
    .limit(1)
    .lateral("last")
)
SELECT_REGISTERED = select(ledgers.c.ledger, _last_registered.c.size).join_from(
    ledgers, _last_registered, true()
)
SELECT_WAITS = select(
    func.clock_timestamp() - entries.c.recorded_at > bindparam("waits_max")
).where(entries.c.ledger == _LEDGER, entries.c.seq == _SEQ)

INSERT_COSIGNED = insert(cosigned).values(cosigned_at=func.clock_timestamp())
INSERT_TIMESTAMPED = insert(timestamped).values(timestamped_at=func.clock_timestamp())
# Two leaders, of which one does not know yet that it is none, may record the same checkpoint.
INSERT_REGISTERED = insert_or_keep(registered).on_conflict_do_nothing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A checkpoint that others than its log stand for."""

    size: int
    note: bytes
    """With the lines of the log and of the witnesses."""
    token: bytes | None
    """RFC 3161 reply over the log's part of the note, where it was timestamped."""
    age_s: float
    """Seconds since they did."""


class Anchors:
    """
    What is anchored in one database. Safe to share between threads.

    Every method may raise DatabaseUnavailableError and OverloadedError, and one that takes a
    ledger NotFoundError, as those of `Reader`.
    """

    def __init__(self, engine: Engine, reader: Reader) -> None:
        """Keep and find anchors through connections of `engine`, with the rights of the writer."""
        self._engine = engine
        self._reader = reader

    @property
    def registry(self) -> LedgerRecord:
        """The ledger that all others inherit from."""
        return self._reader.ledger(REGISTRY)

    # ---- Receipts ---------------------------------------------------------------------

    def receipt(self, ledger: str, place: int | str, level: AnchorLevel) -> Receipt:
        """
        What proves an entry at a level: under the first checkpoint of the ledger that reached
        it, else under the first one that the registry recorded, with the registry's receipt.

        The first and not the newest: it says the most about when the entry was there, and
        it stays the same for ever.

        Raises:
            NotFoundError: There is no entry at this place.
            NotCosignedYetError, NotTimestampedYetError: Nothing covers it at this level yet.
            InclusionError: The entry as it is stored is not in the tree that was anchored.
            TimestampError: The token as it is stored is over something else.
            ChainBreakError: The stored tree lacks hashes.
            MalformedProofError: What is stored is not an entry, or not a checkpoint.
        """
        body = self._reader.entry_bytes(ledger, place)
        seq = parse_place(body).seq
        anchor = self._first(ledger, seq, level)
        if anchor is not None:
            return self._receipt(ledger, body, seq, level, anchor)
        return self._inherited(ledger, body, seq, level)

    def _inherited(self, ledger: str, body: bytes, seq: int, level: AnchorLevel) -> Receipt:
        with pool_connection(self._engine) as connection:
            row = connection.execute(
                SELECT_FIRST_REGISTERED, {"ledger": ledger, "seq": seq}
            ).one_or_none()
        above = None if row is None else self._first(REGISTRY, row.registry_seq, level)
        if row is None or above is None:
            raise _not_yet(ledger, seq, level)
        notice = self._reader.entry_bytes(REGISTRY, row.registry_seq)
        check_recorded(notice, ledger, _checkpoint(row.note))
        recorded = self._receipt(REGISTRY, notice, row.registry_seq, level, above)
        own = Anchor(size=row.size, note=row.note, token=None, age_s=above.age_s)
        return self._receipt(ledger, body, seq, level, own, registry=recorded.to_document())

    def _receipt(
        self, ledger: str, body: bytes, seq: int, level: AnchorLevel, anchor: Anchor, **more: Any
    ) -> Receipt:
        proof = self._reader.inclusion(ledger, seq, anchor.size)
        index, size = LeafIndex(seq), TreeSize(anchor.size)
        # A receipt that proves nothing must not leave the house.
        verify_inclusion(leaf_hash(body), index, size, proof.hashes, _checkpoint(anchor.note).root)
        text = TlogProof(index=seq, hashes=proof.hashes, checkpoint_note=anchor.note).encode()
        return Receipt(level=level, proof=text, entry=body, timestamp=anchor.token, **more)

    def _first(self, ledger: str, seq: int, level: AnchorLevel) -> Anchor | None:
        """The first checkpoint at this level that covers an entry."""
        with pool_connection(self._engine) as connection:
            row = connection.execute(
                SELECT_FIRST[level], {"ledger": ledger, "seq": seq}
            ).one_or_none()
            return None if row is None else self._anchor(connection, ledger, row)

    def _anchor(self, connection: Connection, ledger: str, row: Any) -> Anchor:
        note, token = row.note, getattr(row, "token", None)
        if token is not None:
            check_imprint(token, note)
            seen = connection.execute(
                SELECT_COSIGNED_AT, {"ledger": ledger, "at_size": row.size}
            ).scalar()
            # The token is over the lines of the log: it is good with cosignatures beside them.
            if seen is not None and log_part(seen) == note:
                note = seen
        return Anchor(size=row.size, note=note, token=token, age_s=float(row.age_s))

    # ---- Checkpoints ------------------------------------------------------------------

    def newest(self, ledger: str, level: AnchorLevel) -> Anchor | None:
        """The newest checkpoint of a ledger that itself reached a level; None before the first."""
        self._reader.ledger(ledger)
        with pool_connection(self._engine) as connection:
            row = connection.execute(SELECT_NEWEST[level], {"ledger": ledger}).one_or_none()
            return None if row is None else self._anchor(connection, ledger, row)

    def timestamp(self, ledger: str, size: int) -> Anchor:
        """
        A checkpoint with the token over it; `note` is what the token is over, and no more.

        Raises:
            NotFoundError: No checkpoint of this size was timestamped.
            TimestampError: The token as it is stored is over something else.
        """
        self._reader.ledger(ledger)
        with pool_connection(self._engine) as connection:
            row = connection.execute(
                SELECT_TOKEN_AT, {"ledger": ledger, "at_size": size}
            ).one_or_none()
        if row is None:
            raise NotFoundError(
                f"no checkpoint of size {size} of ledger {ledger} was timestamped", ledger=ledger
            )
        check_imprint(row.token, row.note)
        return Anchor(size=row.size, note=row.note, token=row.token, age_s=float(row.age_s))

    def ages(self, level: AnchorLevel) -> dict[str, tuple[int, float]]:
        """Ledger -> size of its newest checkpoint at a level, and the seconds since then."""
        with pool_connection(self._engine) as connection:
            return {
                ledger: (size, float(age_s))
                for ledger, size, age_s in connection.execute(SELECT_NEWEST_OF_EACH[level])
            }

    def registered(self) -> dict[str, int]:
        """Ledger -> size of its newest checkpoint that the registry recorded."""
        with pool_connection(self._engine) as connection:
            return {row.ledger: row.size for row in connection.execute(SELECT_REGISTERED)}

    def is_current(self, ledger: str, size: int) -> bool:
        """
        Whether no entry beyond `size` has waited for long.

        An anchor over an older tree than the ledger had would say that those entries were not
        there yet.
        """
        with pool_connection(self._engine) as connection:
            waits: bool | None = connection.execute(
                SELECT_WAITS, {"ledger": ledger, "seq": size, "waits_max": WAITS_MAX}
            ).scalar()
        return not waits

    # ---- Keeping ----------------------------------------------------------------------

    def keep_cosigned(self, ledger: str, size: int, note: bytes, reached_at: Any) -> None:
        """Keep a checkpoint that a quorum saw; `reached_at` is when, by the witnesses' clocks."""
        with pool_connection(self._engine) as connection:
            connection.execute(
                INSERT_COSIGNED,
                {"ledger": ledger, "size": size, "reached_at": reached_at, "note": note},
            )

    def keep_timestamped(
        self, ledger: str, size: int, note: bytes, token: bytes, timestamp: Timestamp
    ) -> None:
        """Keep a token, and the octets it was found to be over."""
        with pool_connection(self._engine) as connection:
            connection.execute(
                INSERT_TIMESTAMPED,
                {
                    "ledger": ledger,
                    "size": size,
                    "stated_at": timestamp.at,
                    "note": note,
                    "token": token,
                },
            )

    def keep_registered(self, ledger: str, size: int, note: bytes, registry_seq: int) -> None:
        """Keep which entry of the registry recorded a checkpoint; harmless where it is kept."""
        with pool_connection(self._engine) as connection:
            connection.execute(
                INSERT_REGISTERED,
                {"ledger": ledger, "size": size, "note": note, "registry_seq": registry_seq},
            )


def _checkpoint(note: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(note).text)


def _not_yet(ledger: str, seq: int, level: AnchorLevel) -> NotFoundError:
    if level == "cosigned":
        return NotCosignedYetError(
            f"no quorum of witnesses has seen entry {seq} of ledger {ledger} yet",
            ledger=ledger,
            seq=seq,
        )
    return NotTimestampedYetError(
        f"no timestamp covers entry {seq} of ledger {ledger} yet", ledger=ledger, seq=seq
    )

"""
Dating: which trees of a ledger others than its log have seen, and when; for whoever audits it.

Every line and token is verified again, under the policy and the certificates that this service
trusts: what is kept beside them in the database is not believed. Of a long history a sample is
taken, spread over its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Select,
    Table,
    Text,
    bindparam,
    func,
    select,
    true,
)

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import VerificationError
from ledger.forms.names import REGISTRY
from ledger.forms.timestamps import from_posix
from ledger.note import VerifierKey
from ledger.policy import Policy
from ledger.reader import Reader
from ledger.receipt import check_recorded
from ledger.rfc3161 import Authorities, Timestamp, verify_timestamp
from ledger.storage.database import pool_connection
from ledger.storage.tables import cosigned, registered, timestamped
from ledger.verify import AnchoredTree, Dated

SAMPLES = 200
"""Trees of a kind that one audit looks at."""

_LEDGER = bindparam("ledger", type_=Text)
_SIZE = bindparam("size", type_=BigInteger)


def _sample(table: Table, *order: Any) -> Select[Any]:
    """The first row beyond each of some sizes, spread from `start` to `stop`."""
    sizes = (
        func.generate_series(
            bindparam("start", type_=BigInteger),
            bindparam("stop", type_=BigInteger),
            bindparam("step", type_=BigInteger),
        )
        .table_valued("at")
        .render_derived()
    )
    row = (
        select(table)
        .where(table.c.ledger == _LEDGER, table.c.size > sizes.c.at)
        .order_by(table.c.size, *order)
        .limit(1)
        .lateral("row")
    )
    return select(row).join_from(sizes, row, true())


SAMPLE_COSIGNED = _sample(cosigned, cosigned.c.cosigned_at)
SAMPLE_TIMESTAMPED = _sample(timestamped, timestamped.c.timestamped_at)
SAMPLE_REGISTERED = _sample(registered)
FIRST_COSIGNED = (
    select(cosigned)
    .where(cosigned.c.ledger == _LEDGER, cosigned.c.size > _SIZE)
    .order_by(cosigned.c.size, cosigned.c.cosigned_at)
    .limit(1)
)
FIRST_TIMESTAMPED = (
    select(timestamped)
    .where(timestamped.c.ledger == _LEDGER, timestamped.c.size > _SIZE)
    .order_by(timestamped.c.size, timestamped.c.timestamped_at)
    .limit(1)
)
LAST_TIMESTAMPED = (
    select(timestamped)
    .where(timestamped.c.ledger == _LEDGER, timestamped.c.size <= _SIZE)
    .order_by(timestamped.c.size.desc(), timestamped.c.timestamped_at.desc())
    .limit(1)
)


class Dating:
    """Reads and verifies anchors. Safe to share between threads."""

    def __init__(
        self,
        engine: Engine,
        reader: Reader,
        *,
        policy: Policy | None,
        authorities: Authorities | None,
    ) -> None:
        """Find what `policy` and `authorities` stand for, through connections of `engine`."""
        self._engine = engine
        self._reader = reader
        self._policy = policy
        self._authorities = authorities

    def trees(self, ledger: str, start: int) -> Dated:
        """
        Trees of more than `start` entries, of the ledger itself and as the registry recorded them.

        Raises:
            NotFoundError: There is no ledger of this name.
            DatabaseUnavailableError, OverloadedError: The database does not answer.
        """
        if self._policy is None and self._authorities is None:
            return Dated()
        stop = self._reader.published_size(ledger)
        spread = {
            "ledger": ledger,
            "start": start,
            "stop": max(start, stop - 1),
            "step": max(1, (stop - start) // SAMPLES),
        }
        finding = _Finding(self._keys(ledger), self._policy, self._authorities)
        with pool_connection(self._engine) as connection:
            for row in _distinct(connection, SAMPLE_COSIGNED, spread):
                finding.take_cosigned(row)
            for row in _distinct(connection, SAMPLE_TIMESTAMPED, spread):
                finding.take_timestamped(row)
            recorded = _distinct(connection, SAMPLE_REGISTERED, spread)
            above = _Finding(self._keys(REGISTRY), self._policy, self._authorities)
            bounds = [
                above.bounds(connection, row.registry_seq) if ledger != REGISTRY else None
                for row in recorded
            ]
        for row, bound in zip(recorded, bounds, strict=True):
            if bound is not None:
                notice = self._reader.entry_bytes(REGISTRY, row.registry_seq)
                finding.take_registered(row, ledger, notice, bound)
        trees = sorted(finding.trees, key=lambda tree: tree.size)
        return Dated(trees=tuple(trees), refused=finding.refused + above.refused)

    def _keys(self, ledger: str) -> list[VerifierKey]:
        return list(self._reader.keys(ledger))


_Bounds = tuple[datetime | None, datetime | None, str]
"""Not before, not after, and who says so."""


class _Finding:
    """What of a log's rows verifies."""

    def __init__(
        self, keys: list[VerifierKey], policy: Policy | None, authorities: Authorities | None
    ) -> None:
        self.trees: list[AnchoredTree] = []
        self.refused = 0
        self._keys = keys
        self._policy = policy
        self._authorities = authorities

    def take_cosigned(self, row: Any) -> None:
        seen = self._seen(row)
        if seen is not None:
            checkpoint, at = seen
            # Witnesses are shown what is published, also while entries wait for a signature:
            # that these are not there says nothing about when they were recorded.
            self._add(checkpoint, None, at, "witnesses")

    def take_timestamped(self, row: Any) -> None:
        stamped = self._stamped(row)
        if stamped is not None:
            checkpoint, timestamp = stamped
            self._add(checkpoint, _earliest(timestamp), timestamp.not_after, timestamp.authority)

    def take_registered(self, row: Any, ledger: str, notice: bytes, bounds: _Bounds) -> None:
        try:
            checkpoint = open_checkpoint(row.note, self._keys)
            check_recorded(notice, ledger, checkpoint)
        except VerificationError:
            self.refused += 1
            return
        not_before, not_after, who = bounds
        self._add(checkpoint, not_before, not_after, f"{who}, through {REGISTRY},")

    def bounds(self, connection: Connection, seq: int) -> _Bounds | None:
        """Of an entry of this log: when others had not seen it, and when they had."""
        log = {"ledger": REGISTRY, "size": seq}
        earlier = self._stamped(connection.execute(LAST_TIMESTAMPED, log).one_or_none())
        stamped = self._stamped(connection.execute(FIRST_TIMESTAMPED, log).one_or_none())
        seen = self._seen(connection.execute(FIRST_COSIGNED, log).one_or_none())
        upper = [(seen[1], "witnesses")] if seen is not None else []
        if stamped is not None:
            upper.append((stamped[1].not_after, stamped[1].authority))
        if not upper and earlier is None:
            return None
        not_after, who = min(upper) if upper else (None, "an authority")
        return None if earlier is None else _earliest(earlier[1]), not_after, who

    def _seen(self, row: Any) -> tuple[Checkpoint, datetime] | None:
        if row is None or self._policy is None:
            return None
        try:
            found = self._policy.read(row.note, self._keys)
        except VerificationError:
            self.refused += 1
            return None
        at = None if found.reached_at is None else from_posix(found.reached_at)
        return None if at is None else (found.checkpoint, at)

    def _stamped(self, row: Any) -> tuple[Checkpoint, Timestamp] | None:
        if row is None or self._authorities is None:
            return None
        try:
            checkpoint = open_checkpoint(row.note, self._keys)
            return checkpoint, verify_timestamp(row.token, row.note, self._authorities)
        except VerificationError:
            self.refused += 1
            return None

    def _add(
        self,
        checkpoint: Checkpoint,
        not_before: datetime | None,
        not_after: datetime | None,
        who: str,
    ) -> None:
        self.trees.append(
            AnchoredTree(
                size=checkpoint.size,
                root=checkpoint.root,
                not_before=not_before,
                not_after=not_after,
                who=who,
            )
        )


def _earliest(timestamp: Timestamp) -> datetime:
    return timestamp.at - timestamp.accuracy


def _distinct(
    connection: Connection, statement: Select[Any], spread: Mapping[str, Any]
) -> Sequence[Any]:
    """The sampled rows, each once: where they are sparse, several sizes lead to the same."""
    rows = connection.execute(statement, spread).all()
    return list({row.size: row for row in rows}.values())

"""
Stops: ledgers that take no writes until a person has looked, whatever process is asked.

Why a ledger is stopped is for those who find out: a witness, or whoever verifies. Here it is
written down, known to every process, and lifted by a person with a reason.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, and_, bindparam, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import Text

from ledger.errors import (
    ForkedError,
    LedgerBrokenError,
    NotFoundError,
    OverloadedError,
    RolledBackError,
    SettingsError,
)
from ledger.storage.database import pool_connection
from ledger.storage.tables import stops

logger = logging.getLogger(__name__)

FRESH_S = 1.0
"""What another process stopped is known here after this."""

KINDS: Mapping[str, type[LedgerBrokenError]] = {
    "rolled_back": RolledBackError,
    "forked": ForkedError,
    "broken": LedgerBrokenError,
}
"""Code as it is stored -> the error that is told to those who want to write."""

SELECT_STANDING = (
    select(stops).where(stops.c.lifted_at.is_(None)).order_by(stops.c.ledger, stops.c.stopped_at)
)
_LEDGER = bindparam("name", type_=Text)
# Of a stop that a verification made.
_FINDINGS = stops.c.details["findings"]
_CODE = bindparam("kind", type_=Text)
# One standing stop of a kind says it: a witness is asked again, and answers the same.
INSERT_STOP = insert(stops).from_select(
    ["ledger", "stopped_at", "code", "message", "details"],
    select(
        _LEDGER,
        func.clock_timestamp(),
        _CODE,
        bindparam("says", type_=Text),
        bindparam("values", type_=JSONB),
    ).where(
        ~select(literal(1))
        .where(stops.c.ledger == _LEDGER, stops.c.code == _CODE, stops.c.lifted_at.is_(None))
        .exists()
    ),
)
LIFT_STOPS = (
    update(stops)
    .where(stops.c.ledger == _LEDGER, stops.c.lifted_at.is_(None))
    .values(
        lifted_at=func.clock_timestamp(),
        lifted_because=bindparam("because"),
        # Only findings can be accepted; what a witness says is told anew each time.
        acknowledged=and_(bindparam("accepted"), _FINDINGS.is_not(None)),
    )
    .returning(stops.c.code)
)
LIFT_RESTORED = LIFT_STOPS.where(stops.c.code == "rolled_back", _FINDINGS.is_not(None))
SELECT_ACKNOWLEDGED = select(_FINDINGS).where(stops.c.ledger == _LEDGER, stops.c.acknowledged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a ledger takes no writes."""

    ledger: str
    stopped_at: datetime
    code: str
    """One of `KINDS`."""
    message: str
    details: Mapping[str, Any]


class Stops:
    """What is stopped, as this process knows it. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        """Know of nothing yet: `refresh` reads what stands."""
        self._engine = engine
        self._standing: tuple[Stop, ...] = ()
        self._read_at = -math.inf

    @property
    def standing(self) -> tuple[Stop, ...]:
        """As of the last `refresh`, by ledger; the oldest of a ledger comes first."""
        return self._standing

    def check(self, ledger: str) -> None:
        """
        Let a write pass, unless the ledger was stopped; in another process, a second ago.

        Raises:
            RolledBackError, ForkedError, LedgerBrokenError: The ledger is stopped.
            DatabaseUnavailableError: As `refresh`.
        """
        # From memory for most: what every batch asked would cost more than the batch.
        if time.monotonic() - self._read_at >= FRESH_S:
            with suppress(OverloadedError):
                # Readers keep all connections: what is known stands, and is asked for again.
                self.refresh()
        for stop in self._standing:
            if stop.ledger == ledger:
                raise KINDS[stop.code](stop.message, **stop.details)

    def refresh(self) -> None:
        """
        Read what stands.

        Raises:
            DatabaseUnavailableError, OverloadedError: It cannot be read now; what was known stays.
        """
        began_at = time.monotonic()
        with pool_connection(self._engine) as connection:
            rows = connection.execute(SELECT_STANDING).all()
        self._read_at = began_at
        self._standing = tuple(
            Stop(
                ledger=row.ledger,
                stopped_at=row.stopped_at,
                code=row.code,
                message=row.message,
                details=row.details,
            )
            for row in rows
        )

    def stop(self, ledger: str, error: LedgerBrokenError, **evidence: Any) -> None:
        """
        Stop a ledger, in this process at once; harmless where it is stopped for the same.

        Args:
            ledger: Name of the ledger.
            error: What was found.
            evidence: JSON values to keep with it.
        """
        code = next(code for code, kind in KINDS.items() if isinstance(error, kind))
        logger.critical("ledger %s is stopped: %s", ledger, error)
        with pool_connection(self._engine) as connection:
            connection.execute(
                INSERT_STOP,
                {
                    "name": ledger,
                    "kind": code,
                    "says": error.message,
                    "values": {**error.details, **evidence},
                },
            )
        self.refresh()

    def lift(self, ledger: str, because: str, *, acknowledge: bool = False) -> list[str]:
        """
        Let a ledger take writes again.

        Args:
            ledger: Name of the ledger.
            because: What the person who lifts it found; kept for ever.
            acknowledge: Accept what a verification found as it stands: the next one, which finds
                the same, does not stop the ledger again.

        Returns:
            The code of each stop that was lifted.

        Raises:
            NotFoundError: It is not stopped.
            SettingsError: No reason is given.
        """
        if not because.strip():
            raise SettingsError("say what was found: the reason is kept beside the stop")
        with pool_connection(self._engine) as connection:
            codes = list(
                connection.execute(
                    LIFT_STOPS, {"name": ledger, "because": because, "accepted": acknowledge}
                ).scalars()
            )
        self.refresh()
        if not codes:
            raise NotFoundError(f"ledger {ledger[:80]} is not stopped", ledger=ledger[:80])
        return sorted(codes)

    def lift_restored(self, ledger: str) -> None:
        """Let a ledger take writes again whose missing entries, which a verification missed, are
        back; harmless where it is not stopped for that.
        """
        with pool_connection(self._engine) as connection:
            connection.execute(
                LIFT_RESTORED,
                {"name": ledger, "because": "what was missing was restored", "accepted": False},
            )
        self.refresh()

    def acknowledged(self, ledger: str) -> list[list[Mapping[str, Any]]]:
        """
        The findings that were accepted: for each stop, as a report lists them.

        Raises:
            DatabaseUnavailableError, OverloadedError: It cannot be read now.
        """
        with pool_connection(self._engine) as connection:
            return list(connection.execute(SELECT_ACKNOWLEDGED, {"name": ledger}).scalars())

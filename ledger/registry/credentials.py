"""
Credentials: API keys, the principals they belong to, and how far each one reaches.

A key is shown once and kept as a hash. How a request carries it, and which path needs which
scope, is for the entrances to say.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    Engine,
    Row,
    and_,
    bindparam,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from ledger.errors import NotFoundError, SettingsError, UnauthenticatedError
from ledger.forms.names import (
    LEDGER_ITSELF,
    check_ledger_name,
    check_period_name,
    check_principal_name,
)
from ledger.forms.timestamps import parse_rfc3339, parse_span
from ledger.storage.database import pool_connection
from ledger.storage.tables import api_keys, principals
from ledger.worlds.rml import EXPOSURES, FULL

SCOPES = (
    "effects:write",
    "refunds:write",
    "adjustments:write",
    "explanations:write",
    "observe",
    "entries:read",
    "payload:read",
    "proofs:read",
    "verify",
    "export",
    "close",
    "recon:prepare",
    "recon:review",
    "intents:write",
    "approve",
)
"""Every act a key may be good for."""
AUDITOR_SCOPES = frozenset({"export", "payload:read", "proofs:read", "verify"})
"""What a key that is limited to periods may be good for."""
EVERYTHING = "*"
"""The scope that stands for all of them, also for those that are added later."""

# Base32 in lower case has neither of the characters that end a selection by double click,
# and gives scanners for leaked secrets one form to look for.
_ID_BYTES = 10
_SECRET_BYTES = 32
_KEY = re.compile("elk_([a-z2-7]{16})_([a-z2-7]{52})")
# No secret has this hash that anyone could find: an id nobody has is compared with it.
_NO_SECRET_HASH = bytes(32)

_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")

_NOW = func.now()
# By the database's clock: one key is not good here and expired there.
_IS_GOOD = and_(
    api_keys.c.revoked_at.is_(null()),
    or_(api_keys.c.expires_at.is_(null()), api_keys.c.expires_at > _NOW),
).label("is_good")

SELECT_KEY = select(
    api_keys.c.principal,
    api_keys.c.secret_hash,
    api_keys.c.scopes,
    api_keys.c.ledgers,
    api_keys.c.labels,
    api_keys.c.periods,
    _IS_GOOD,
).where(api_keys.c.id == bindparam("id"))

_SHOWN = (
    api_keys.c.id,
    api_keys.c.principal,
    api_keys.c.scopes,
    api_keys.c.ledgers,
    api_keys.c.periods,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
    api_keys.c.labels,
    _IS_GOOD,
)
SELECT_KEYS = select(*_SHOWN).order_by(api_keys.c.created_at, api_keys.c.id)
SELECT_SHOWN = select(*_SHOWN).where(api_keys.c.id == bindparam("id"))

# A name that is there already is the same principal: its next key is a rotation.
INSERT_PRINCIPAL = postgresql.insert(principals).on_conflict_do_nothing()
INSERT_KEY = insert(api_keys)
# The first revocation stands: its time may be evidence.
REVOKE_KEY = (
    update(api_keys)
    .where(api_keys.c.id == bindparam("key"), api_keys.c.revoked_at.is_(null()))
    .values(revoked_at=_NOW)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key as its owner gets it, this one time."""

    id: str
    principal: str
    key: str
    """Secret; only its hash is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who calls, and how far the call may reach."""

    id: str
    principal: str
    scopes: frozenset[str]
    ledgers: frozenset[str] | None
    """None: all, present and future."""
    labels: str = FULL
    """What its caller is told of worlds: one of `rml.EXPOSURES`."""
    periods: frozenset[str] | None = None
    """Names of closed periods, beyond whose bundles and proofs it reaches nothing; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """One key as it is listed."""

    id: str
    principal: str
    scopes: tuple[str, ...]
    ledgers: tuple[str, ...] | None
    """None: all, present and future."""
    periods: tuple[str, ...] | None
    """None: not limited to periods."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    state: str
    """`good`, `expired` or `revoked`."""
    labels: str = FULL
    """What its caller is told of worlds: one of `rml.EXPOSURES`."""


class Credentials:
    """
    The keys of one service. Safe to share between threads.

    Every method may raise DatabaseUnavailableError where the database does not answer, and
    OverloadedError where all connections stay busy.
    """

    def __init__(self, engine: Engine) -> None:
        """Keep keys through connections of `engine`, which has the rights of the writer."""
        self._engine = engine

    def create(
        self,
        principal: str,
        scopes: Collection[str],
        ledgers: Collection[str] | None = None,
        expires_at: datetime | None = None,
        labels: str = FULL,
        *,
        periods: Collection[str] | None = None,
    ) -> NewKey:
        """
        Make a key for a principal, new or known.

        Args:
            principal: Whom entries posted with the key will name, for ever.
            scopes: Acts it is good for, of `SCOPES`; or `EVERYTHING`.
            ledgers: Ledgers it reaches, which need not exist yet; None for all.
            expires_at: When it ceases to be good; None for never.
            labels: What its caller is told of worlds, of `rml.EXPOSURES`.
            periods: Names of periods, closed or to be closed: the key is an auditor's, good for
                their bundles and for proofs, with scopes of `AUDITOR_SCOPES`. None for no limit.

        Raises:
            SettingsError: A scope or the labels are unknown or no scope is given, a list is
                empty, the expiry is over already, the principal is the ledger itself, or a key
                that is limited to periods is to be good for more than that.
            MalformedEffectError, TooLargeError: A name is not in its form.
        """
        check_principal_name(principal, "principal")
        if principal == LEDGER_ITSELF:
            raise SettingsError(f"{LEDGER_ITSELF} posts what the service itself has to say")
        _check_scopes(scopes)
        _check_ledgers(ledgers)
        if labels not in EXPOSURES:
            raise SettingsError(f"labels are {', '.join(EXPOSURES)}")
        _check_periods(periods, scopes)
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise SettingsError(f"the key would have expired already, at {expires_at.isoformat()}")

        key_id, secret = _draw(_ID_BYTES), _draw(_SECRET_BYTES)
        with pool_connection(self._engine) as connection:
            connection.execute(INSERT_PRINCIPAL, {"principal": principal})
            connection.execute(
                INSERT_KEY,
                {
                    "id": key_id,
                    "principal": principal,
                    "secret_hash": _hash(secret),
                    "scopes": sorted(set(scopes)),
                    "ledgers": None if ledgers is None else sorted(set(ledgers)),
                    "expires_at": expires_at,
                    "labels": labels,
                    "periods": None if periods is None else sorted(set(periods)),
                },
            )
        return NewKey(id=key_id, principal=principal, key=f"elk_{key_id}_{secret}")

    def authenticate(self, token: str) -> Credential:
        """
        The credential this token is.

        Raises:
            UnauthenticatedError: Unknown, expired or revoked; which of them is not told.
        """
        parts = _KEY.fullmatch(token)
        if parts is None:
            raise _not_good()
        key_id, secret = parts.groups()
        with pool_connection(self._engine) as connection:
            row = connection.execute(SELECT_KEY, {"id": key_id}).one_or_none()
        kept = _NO_SECRET_HASH if row is None else row.secret_hash
        # Compared whether there is a row or not: the time taken tells nobody which ids exist.
        is_same = hmac.compare_digest(_hash(secret), kept)
        if row is None or not is_same or not row.is_good:
            raise _not_good()
        return Credential(
            id=key_id,
            principal=row.principal,
            scopes=frozenset(row.scopes),
            ledgers=None if row.ledgers is None else frozenset(row.ledgers),
            labels=row.labels,
            periods=None if row.periods is None else frozenset(row.periods),
        )

    def list(self) -> list[KeyLine]:
        """Every key there ever was, oldest first."""
        with pool_connection(self._engine) as connection:
            return [_line(row) for row in connection.execute(SELECT_KEYS)]

    def revoke(self, key_id: str) -> KeyLine:
        """
        End a key; harmless where it ended before.

        What it posted is history and stays, and so does its principal.

        Raises:
            NotFoundError: No key has this id.
        """
        with pool_connection(self._engine) as connection:
            connection.execute(REVOKE_KEY, {"key": key_id})
            row = connection.execute(SELECT_SHOWN, {"id": key_id}).one_or_none()
        if row is None:
            # The id and not the text: somebody may have pasted the whole key.
            raise NotFoundError(
                "no key has this id; it stands between elk_ and the next _ of a key"
            )
        return _line(row)


def parse_expiry(text: str, now: datetime) -> datetime:
    """
    When a key expires, from `30m`, `12h` or `90d`, a date (its first moment, UTC) or a time.

    Raises:
        SettingsError: It is none of these.
    """
    span = parse_span(text)
    if span is not None:
        return now + span
    try:
        return parse_rfc3339(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    except ValueError as error:
        raise SettingsError(
            "an expiry is a span such as 90d, 12h or 30m, a date such as 2027-01-31, "
            "or an RFC 3339 time"
        ) from error


def _check_scopes(scopes: Collection[str]) -> None:
    if not scopes:
        raise SettingsError(f"a key needs a scope: {EVERYTHING}, or of {' '.join(SCOPES)}")
    unknown = sorted(set(scopes) - {*SCOPES, EVERYTHING})
    if unknown:
        raise SettingsError(
            f"there is no scope {unknown[0][:63]}: use {EVERYTHING}, or of {' '.join(SCOPES)}"
        )


def _check_ledgers(ledgers: Collection[str] | None) -> None:
    if ledgers is None:
        return
    if not ledgers:
        raise SettingsError("a key reaches at least one ledger, or all")
    for ledger in ledgers:
        check_ledger_name(ledger, "ledger")


def _check_periods(periods: Collection[str] | None, scopes: Collection[str]) -> None:
    if periods is None:
        return
    if not periods:
        raise SettingsError("a key that is limited to periods reaches at least one")
    for period in periods:
        check_period_name(period, "period")
    beyond = sorted(set(scopes) - AUDITOR_SCOPES)
    if beyond:
        raise SettingsError(
            f"a key that is limited to periods is good for {' '.join(sorted(AUDITOR_SCOPES))}, and "
            f"not for {beyond[0]}"
        )


def _draw(octets: int) -> str:
    return base64.b32encode(secrets.token_bytes(octets)).decode().rstrip("=").lower()


def _hash(secret: str) -> bytes:
    # 256 random bits: nothing to guess, so nothing to stretch.
    return sha256(secret.encode()).digest()


def _not_good() -> UnauthenticatedError:
    return UnauthenticatedError("this key is not one that is good here")


def _line(row: Row[Any]) -> KeyLine:
    ended = "revoked" if row.revoked_at is not None else "expired"
    return KeyLine(
        id=row.id,
        principal=row.principal,
        scopes=tuple(row.scopes),
        ledgers=None if row.ledgers is None else tuple(row.ledgers),
        periods=None if row.periods is None else tuple(row.periods),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        state="good" if row.is_good else ended,
        labels=row.labels,
    )

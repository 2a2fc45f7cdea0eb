"""
Auth: who calls, and whether the call is within the caller's reach.

The first three questions of every request, in this order: is there a good credential
(401), does it reach this ledger and this kind of act (403), is there such a ledger (404).
What a credential is and how it is stored is for `ledger.registry.credentials`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ledger.errors import ForbiddenError, UnauthenticatedError
from ledger.registry.credentials import Credential

REMEMBERED_S = 5.0
"""How long a credential that was good is believed without asking: a revoked key works on
in each process for at most this long."""
REMEMBERED_MAX = 4_096
TOKEN_MAX = 512


class CredentialStore(Protocol):
    """Where credentials are looked up; blocks while it asks the database."""

    def authenticate(self, token: str) -> Credential:
        """
        The credential this token is.

        Raises:
            UnauthenticatedError: Unknown, expired or revoked.
            DatabaseUnavailableError: The database does not answer.
        """


class Authenticator:
    """Tells who calls; remembers good answers for a few seconds, bad ones never."""

    def __init__(self, store: CredentialStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        # Kept by hash: a copy of this process's memory gives no token away.
        self._remembered: OrderedDict[bytes, tuple[float, Credential]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Credential]] = {}

    async def authenticate(self, request: Request) -> Credential:
        """
        The credential of a request.

        Raises:
            UnauthenticatedError: There is none, or it is not good.
            DatabaseUnavailableError: It could not be looked up.
        """
        token = _bearer_token(request.headers.get("authorization"))
        credential = self._remembers(token)
        if credential is None:
            credential = await self._ask(token)
        request.state.principal = credential.principal
        request.state.labels = credential.labels
        return credential

    def remembered(self, sent: str | None) -> Credential | None:
        """
        The credential of a request with this Authorization, where nobody need be asked.

        Raises:
            UnauthenticatedError: It is none in its form.
        """
        return self._remembers(_bearer_token(sent))

    async def _ask(self, token: str) -> Credential:
        """What the store says, asked once for all who wait for the same answer."""
        name = _name(token)
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.create_task(self._look_up(name, token))
            # All who waited may be gone by then: an error that nobody hears is none.
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Whoever hangs up does not take the answer from the others.
        return await asyncio.shield(asking)

    async def _look_up(self, name: bytes, token: str) -> Credential:
        asked_at = self._clock()
        self._remembered.pop(name, None)
        try:
            credential = await run_in_threadpool(self._store.authenticate, token)
        finally:
            del self._asking[name]
        self._remember(name, asked_at + REMEMBERED_S, credential)
        return credential

    def _remembers(self, token: str) -> Credential | None:
        remembered = self._remembered.get(_name(token))
        return remembered[1] if remembered is not None and self._clock() < remembered[0] else None

    def _remember(self, name: bytes, until: float, credential: Credential) -> None:
        self._remembered[name] = (until, credential)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)


def may(credential: Credential, scope: str) -> bool:
    """Whether the credential has `scope`."""
    return scope in credential.scopes or "*" in credential.scopes


def check_ledger(credential: Credential, ledger: str) -> None:
    """
    Check that the credential reaches `ledger`, whether there is one or not.

    Raises:
        ForbiddenError: It does not.
    """
    if credential.ledgers is not None and ledger not in credential.ledgers:
        raise ForbiddenError("the credential does not reach this ledger", ledger=ledger)


def check_scope(credential: Credential, *scopes: str) -> None:
    """
    Check that the credential has one of `scopes`; any will do where none is named.

    Raises:
        ForbiddenError: It has none of them.
    """
    if scopes and not any(may(credential, scope) for scope in scopes):
        raise ForbiddenError(
            f"the credential lacks scope {' or '.join(scopes)}", scopes=list(scopes)
        )


def check_unlimited(credential: Credential) -> None:
    """
    Check that the credential is not one for the bundles of some periods only.

    Raises:
        ForbiddenError: It is.
    """
    if credential.periods is not None:
        raise ForbiddenError(
            "the credential reaches the bundles of its periods, and proofs, and nothing beside",
            periods=sorted(credential.periods),
        )


def check_period(credential: Credential, name: str) -> None:
    """
    Check that the credential reaches the period of this name, whether there is one or not.

    Raises:
        ForbiddenError: It does not.
    """
    if credential.periods is not None and name not in credential.periods:
        raise ForbiddenError("the credential does not reach this period", period=name[:63])


def _name(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _bearer_token(sent: str | None) -> str:
    # RFC 6750 Section 2.1; the scheme's case does not matter (RFC 9110 Section 11.1).
    if sent is None:
        raise UnauthenticatedError("send a key as Authorization: Bearer")
    scheme, _, token = sent.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_MAX or not token.isascii():
        raise UnauthenticatedError("send a key as Authorization: Bearer")
    return token

"""
Dependencies: what the routes work with, and how they get it.

`Engine` is what the library offers, as the routes use it; `Skin` adds what belongs to HTTP.
Nothing here commits anything: the sequencer does, on its own thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.anchored import AnchoredReceipts
from api.arrivals import Arrivals
from api.auth import Authenticator, check_ledger, check_scope, check_unlimited
from api.errors import InvalidParameterError
from api.heads import Heads
from api.metrics import Metrics
from ledger.anchoring.anchors import Anchors
from ledger.audit.closing import Closing
from ledger.audit.exports import Exports
from ledger.dialog.intents import Intents
from ledger.dialog.steps import Dialog
from ledger.dry_run import DryRun
from ledger.errors import ForbiddenError
from ledger.forms.names import REGISTRY
from ledger.ports import LedgerRecord
from ledger.publisher import Publisher
from ledger.reader import Reader
from ledger.recon.office import Office
from ledger.registry.credentials import Credential, Credentials
from ledger.registry.stops import Stops
from ledger.rfc3161 import Authorities
from ledger.sequencer import Sequencer
from ledger.submission import Outcome, Posting
from ledger.verification.runs import Verifications
from ledger.verification.verdicts import Verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The pieces of the library that are introduced to each other before the first request."""

    sequencer: Sequencer
    reader: Reader
    dry_run: DryRun
    dialog: Dialog
    intents: Intents
    verifications: Verifications
    closing: Closing
    exports: Exports
    office: Office
    credentials: Credentials
    anchors: Anchors
    publisher: Publisher | None
    authorities: Authorities | None
    stops: Stops
    verdicts: Verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who calls, and which ledger the call is about: both checked."""

    credential: Credential
    ledger: LedgerRecord


@dataclass(slots=True, kw_only=True)
class Skin:
    """One per application."""

    engine: Engine
    authenticator: Authenticator
    metrics: Metrics
    heads: Heads
    anchored: AnchoredReceipts
    arrivals: Arrivals = field(default_factory=Arrivals)
    _records: dict[str, LedgerRecord] = field(default_factory=dict)

    async def access(self, request: Request, *scopes: str, within_periods: bool = False) -> Access:
        """
        The first three checks of a request: credential, reach, ledger.

        Args:
            request: Its path names the ledger.
            scopes: One of these is needed; none where any credential will do.
            within_periods: Whether keys that are limited to periods come this far; whoever says
                so checks the period.

        Raises:
            UnauthenticatedError, ForbiddenError, NotFoundError: In this order.
        """
        name = request.path_params["ledger"]
        credential = await self.authenticator.authenticate(request)
        check_ledger(credential, name)
        if not within_periods:
            check_unlimited(credential)
        check_scope(credential, *scopes)
        return Access(credential=credential, ledger=await self.ledger(name))

    async def write_access(self, request: Request, *scopes: str) -> Access:
        """
        As `access`, for requests that record something.

        Raises:
            ForbiddenError: Also for `_registry`, whatever the credential.
        """
        access = await self.access(request, *scopes)
        if access.ledger.name == REGISTRY:
            raise ForbiddenError(f"{REGISTRY} is written by the service itself", ledger=REGISTRY)
        return access

    async def ledger(self, name: str) -> LedgerRecord:
        """
        The ledger of this name.

        Raises:
            NotFoundError: There is none.
        """
        record = self._records.get(name)
        if record is None:
            # A ledger's record never changes, so one reading is enough.
            record = await run_in_threadpool(self.engine.reader.ledger, name)
            self._records[name] = record
        return record

    def known_ledger(self, name: str) -> LedgerRecord | None:
        """The ledger of this name, if it was asked for before."""
        return self._records.get(name)

    def stop_waiting(self) -> None:
        """Answer at once whoever waits for something to happen: the service is about to end."""
        self.heads.stop()
        self.anchored.stop()

    async def record(self, posting: Posting) -> list[Outcome]:
        """
        Have a posting recorded; returns when it is durable, chained and proved.

        A caller that hangs up stops waiting and nothing else: what is queued is committed.

        Raises:
            PushbackError, OutcomeUnknownError, LedgerBrokenError: As the sequencer says.
        """
        return await self.arrivals.of(lambda tell: self.engine.sequencer.queue(posting, tell))


def skin_of(request: Request) -> Skin:
    """The skin of the application that serves `request`."""
    skin: Skin = request.app.state.skin
    return skin


def reach(*scopes: str, within_periods: bool = False) -> Callable[[Request], Awaitable[Access]]:
    """A dependency that lets a request through with one of `scopes`, and says for what."""

    async def dependency(request: Request) -> Access:
        access = await skin_of(request).access(request, *scopes, within_periods=within_periods)
        _check_parameters(request)
        return access

    return dependency


def _check_parameters(request: Request) -> None:
    """A parameter that comes twice would be taken once: another question than was asked."""
    seen = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise InvalidParameterError(f"{name[:63]} comes twice", parameter=name[:63])
        seen.add(name)


EntriesRead = Annotated[Access, Depends(reach("entries:read"))]
# Hashes and signatures: they tell nothing of what entries say.
ProofsRead = Annotated[Access, Depends(reach("proofs:read", within_periods=True))]
PayloadRead = Annotated[Access, Depends(reach("payload:read"))]
AnyReach = Annotated[Access, Depends(reach())]

"""The application: introduces the library to the routes; turns what they raise into answers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import ledger as library
from api.anchored import AnchoredReceipts
from api.auth import Authenticator
from api.dependencies import Engine, Skin, skin_of
from api.errors import (
    HistoryIsPermanentError,
    InvalidParameterError,
    MalformedRequestError,
    MethodNotAllowedError,
    NoSuchPathError,
)
from api.framing import Framing
from api.heads import Heads
from api.hot import HotWrites
from api.lean import LeanRoute, find_lean, serve_lean
from api.metrics import Metrics
from api.observation import Observation
from api.openapi import describe
from api.problems import problem_response
from api.routes import (
    batch,
    entries,
    exports,
    feed,
    intents,
    operation,
    paging,
    periods,
    proofs,
    verifications,
    writes,
)
from api.routes.recon import cases, files, runs
from api.shapes import (
    wrong_members,
)
from ledger.errors import LedgerError
from ledger.submission import Outcome, Recorded

ROUTERS = (
    writes,
    batch,
    intents,
    entries,
    feed,
    proofs,
    verifications,
    periods,
    exports,
    paging,
    operation,
    files,
    runs,
    cases,
)
ROUTES = [
    route for module in ROUTERS for route in module.router.routes if isinstance(route, APIRoute)
]

for _route in ROUTES:
    if _route.methods is not None and "GET" in _route.methods:
        # RFC 9110 Section 9.1: every server answers both. The content is left out by ours itself,
        # and the document says it once.
        _route.methods.add("HEAD")

NOWHERE = "/nowhere"
"""A path that nothing is served at."""

# RFC 9110 Section 9.2: methods that mean to change or delete what a path names.
UNDOING = frozenset({"PUT", "PATCH", "DELETE"})


def create_app(engine: Engine) -> FastAPI:
    """
    The HTTP service over `engine`, whose pieces are started and stopped by the caller.

    Takes the sequencer's `on_batch`, for metrics and feeds.
    """
    metrics = Metrics()
    heads = Heads(engine.reader.size)
    app = Application(metrics)
    app.state.skin = Skin(
        engine=engine,
        authenticator=Authenticator(engine.credentials),
        metrics=metrics,
        heads=heads,
        anchored=AnchoredReceipts(
            engine.anchors, engine.publisher, timestamps=engine.authorities is not None
        ),
    )
    app.state.hot = HotWrites(app.state.skin)
    for module in ROUTERS:
        app.include_router(module.router)
    # The framework asks for its document to be made this way; the checker sees a method.
    app.openapi = functools.cache(lambda: describe(app, ROUTES))  # type: ignore[method-assign]
    app.add_exception_handler(LedgerError, _on_ledger_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_framework_error)
    return app


class Application(FastAPI):
    """The framework's application, with the lean routes served before it; both observed."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(
            title="Effect Ledger",
            version=library.__version__,
            # Served by a route of ours: nothing but health answers without a credential.
            openapi_url=None,
            redirect_slashes=False,
            lifespan=_lifespan,
        )
        self.add_middleware(Framing)
        self.add_middleware(Observation, metrics=metrics)
        self._lean_routes = [route for route in ROUTES if isinstance(route, LeanRoute)]
        self._lean = Observation(Framing(serve_lean), metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if find_lean(self._lean_routes, scope):
            scope["app"] = self
            await self._lean(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].endswith("\n"):
            # The framework's own patterns overlook a final line end.
            scope["path"] = NOWHERE
        await super().__call__(scope, receive, send)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    skin: Skin = app.state.skin
    loop = asyncio.get_running_loop()

    def on_batch(ledger: str, outcomes: Sequence[list[Outcome]], seconds: float) -> None:
        # Called from the sequencer's thread, which must never meet an error of ours.
        skin.metrics.committed(outcomes, seconds)
        seqs = [
            outcome.entry.seq
            for posting in outcomes
            for outcome in posting
            if isinstance(outcome, Recorded) and not outcome.replayed
        ]
        if seqs and not loop.is_closed():
            loop.call_soon_threadsafe(skin.heads.grew, ledger, max(seqs) + 1)

    skin.engine.sequencer.on_batch = on_batch
    try:
        yield
    finally:
        skin.engine.sequencer.on_batch = None
        # By now the server has waited for what it knows of; of these it does not.
        app.state.hot.give_up()


async def _on_ledger_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LedgerError)
    return problem_response(error, request.scope["state"])


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The first part of each location is "query" or "path".
    wrong = wrong_members(error.errors(), skip=1)
    for each in wrong:
        each["says"] = each["says"].replace("a member known here", "a parameter of this path")
    first = wrong[0]
    name = first["pointer"].removeprefix("/")
    return problem_response(
        InvalidParameterError(f"{name} {first['says']}", parameter=name, wrong=wrong),
        request.scope["state"],
    )


async def _on_framework_error(request: Request, error: Exception) -> Response:
    """Paths and methods nobody serves; told only to those with a credential."""
    assert isinstance(error, HTTPException)
    state = request.scope["state"]
    try:
        await skin_of(request).authenticator.authenticate(request)
    except LedgerError as refused:
        return problem_response(refused, state)
    told, headers = _tell(request, error)
    return problem_response(told, state, headers)


def _tell(request: Request, error: HTTPException) -> tuple[LedgerError, dict[str, str]]:
    if error.status_code == 404:  # noqa: PLR2004 - an HTTP status.
        return NoSuchPathError("there is no such path"), {}
    if error.status_code == 405:  # noqa: PLR2004 - an HTTP status.
        # RFC 9110 Section 15.5.6: a 405 names the methods that are allowed.
        headers = dict(error.headers or {})
        if request.method in UNDOING and request.url.path.startswith("/v1/ledgers/"):
            detail = f"{request.method} would change history, which is permanent"
            return HistoryIsPermanentError(detail), headers
        return MethodNotAllowedError(f"this path does not take {request.method[:16]}"), headers
    return MalformedRequestError("the request is not in the form taken here"), {}

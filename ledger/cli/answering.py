"""
Answering: a socket with our address, an application that answers on it, and how that ends.

Shared by every command that serves HTTP: the ledger, a signer, a witness.
"""

from __future__ import annotations

import gc
import importlib
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ledger.errors import SettingsError
from ledger.settings import Settings

BACKLOG = 2_048
# What takes longer than this is a stream or a long poll, and its client comes back by itself.
GRACE_S = 5
# Objects that are newer than the last look for circles among them before there is another.
GARBAGE_MIN = 50_000
# A thread that computes lets the others in after this. By default they wait five times as long
# whenever they come back from the disk or the network: beside a client that sends large batches
# single posts took 91 ms, and take 39 so, while alone they are as many as before.
SWITCH_S = 0.001
# Longer than proxies and clients keep an idle connection: of two ends, the one that sends
# requests should close it, or a request meets a door that is just being shut.
KEEP_ALIVE_S = 75


def answer_requests(service: Any, listener: socket.socket) -> None:
    """
    Serve HTTP on `listener` until a signal ends it.

    Args:
        service: As `open_service` gives it.
        listener: Bound; shared with other workers where there are any.
    """
    service.anchoring.start()
    service.rounds.start()
    # By name: the skin stands above the commands, which start it and know no more of it.
    skin = importlib.import_module("api.app")
    app = skin.create_app(service)
    # What a request leaves behind goes with its last reference. To look for circles in it as
    # often as Python does took an eighth of the processor; what is there by now stays.
    gc.freeze()
    gc.set_threshold(GARBAGE_MIN)
    sys.setswitchinterval(SWITCH_S)
    run_app(app, listener, connection=importlib.import_module("api.door").Door)


def run_app(app: Any, listener: socket.socket, *, connection: Any = None) -> None:
    """
    Serve an ASGI application on `listener`, which is bound, until a signal ends it.

    Args:
        app: The application.
        listener: Bound.
        connection: The class of connections, where it is not the usual one.
    """
    # Imported here: it takes longer to load than most commands take to run.
    import uvicorn

    config = uvicorn.Config(
        app,
        http=connection or importlib.import_module("api.connection").Connection,
        # Nothing here speaks it, and a request to change over is one that may be ignored.
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # No address of a client is looked at, so none is taken from a proxy's word.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listener])


def log(settings: Settings) -> None:
    """Write what this process logs as lines of JSON, as the skin does."""
    importlib.import_module("api.logs").log_json_lines(settings.log_level.value)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the block in order, however often they come."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        # What is being closed now must not be interrupted by a second one.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        sys.exit(0)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def bound(settings: Settings) -> Iterator[socket.socket]:
    """A socket with our address, before anything slow: a port that is taken is told at once."""
    where = url_of(settings).removeprefix("http://")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"cannot listen on {where}: {error.strerror}") from error
    with listener:
        # A service that restarts finds its old connections still closing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {where}: {error.strerror}; choose another --port"
            ) from error
        yield listener


def url_of(settings: Settings) -> str:
    """Where a process with these settings answers."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"

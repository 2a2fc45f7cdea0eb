"""
Door: connections, with the usual effect taken where its bytes arrive.

The server makes a task, a scope and a handful of messages for each request, and the framework's
objects stand on these: several times what the request itself costs. What `hot` takes goes around
all of it; everything else goes through it as it always did, and so does what `hot` gives back.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from api.connection import Connection, answer_bytes
from api.dependencies import Skin
from api.hot import BODY_BYTES_MAX, METHOD, Headers, HotWrites
from api.observation import NO_ROUTE, OTHER_METHOD, note
from ledger.errors import LedgerError

_METHOD = METHOD.encode()
_LENGTH = b"content-length"
# What may make the server treat a request in a way of its own.
_SERVERS = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade"})
_NOBODY_WAITS = asyncio.Event()


class _Cycle:
    """A request that `hot` has, as the server sees it."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    message_event = _NOBODY_WAITS

    def __init__(self) -> None:
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True


class Door(Connection):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The server types any kind of application; ours is the one with a state.
        state: Any = self.config.app.state  # type: ignore[union-attr]
        self._hot: HotWrites = state.hot
        self._skin: Skin = state.skin
        # The body of a request that may be hot, as far as it is here; else None.
        self._held: list[bytes] | None = None

    def on_headers_complete(self) -> None:
        """Keep a request that may be hot; have the server begin with any other."""
        if self._may_hold():
            self.head_came()
            self._held = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, or hand it on."""
        if self._held is None:
            super().on_body(body)
        else:
            self.body_came()
            self._held.append(body)

    def on_message_complete(self) -> None:
        """The request is here: have it recorded, or hand it on whole."""
        if self._held is None:
            super().on_message_complete()
            return
        cycle = _Cycle()

        def send(status: int, headers: Headers, body: bytes) -> None:
            self._send(cycle, status, headers, body)

        if self._hot.take(self.url, self.headers, b"".join(self._held), send):
            self._held = None
            self.message_came()
            self.answering = cycle
            # The server asks four members of a cycle, and this has them.
            self.cycle = cycle  # type: ignore[assignment]
        else:
            self._hand_on()
            super().on_message_complete()

    def shutdown(self) -> None:
        """As the server's: what was begun is answered first, and nobody waits for news."""
        self._skin.stop_waiting()
        self._hand_on()
        super().shutdown()

    def refuse(self, error: LedgerError) -> None:
        """As every connection; what was kept of the request is begun by nobody."""
        self._held = None
        super().refuse(error)

    def noted(self, status: int, state: MutableMapping[str, Any]) -> None:
        """Count what was refused here, as what the routes refuse."""
        note(
            self._skin.metrics,
            method=OTHER_METHOD,
            route=NO_ROUTE,
            status=status,
            seconds=0.0,
            state=state,
            read_state=lambda: state,
        )

    def _may_hold(self) -> bool:
        if self.parser.get_method() != _METHOD or not self._hot.may_take(self.url):
            return False
        if self.parser.get_http_version() != "1.1" or self.limit_concurrency is not None:
            return False
        # One after the other, and no further than the client takes its answers.
        if (self.cycle is not None and not self.cycle.response_complete) or self.flow.write_paused:
            return False
        length = b""
        for name, value in self.headers:
            if name in _SERVERS:
                return False
            if name == _LENGTH:
                length = value
        return length.isdigit() and int(length) <= BODY_BYTES_MAX

    def _hand_on(self) -> None:
        """Have the server begin with a request that was kept, as far as it is here."""
        if self._held is not None:
            held, self._held = self._held, None
            super().on_headers_complete()
            for piece in held:
                super().on_body(piece)

    def _send(self, cycle: _Cycle, status: int, headers: Headers, body: bytes) -> None:
        cycle.response_complete = True
        if cycle.disconnected:
            return
        sent = [*headers, (_LENGTH, b"%d" % len(body))]
        if not cycle.keep_alive:
            sent.append((b"connection", b"close"))
        self.transport.write(answer_bytes(self.server_state, status, sent, body))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

"""
Connection: what is refused before a request has reached the application, and how it is told.

Limits on a request's head and on how long it may take to come, and what cannot be read as HTTP:
each is told as a problem, once whatever came before it on the connection has its own answer. For
every application that is served here; what the ledger's has beside this is for `door`.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Literal, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.errors import (
    HeadTooLargeError,
    LateRequestError,
    MalformedRequestError,
    StoppingError,
    UriTooLongError,
)
from api.observation import trace_id_of
from api.problems import problem_response
from ledger.errors import LedgerError, OutcomeUnknownError

HEAD_BYTES_MAX = 32 * 1024
HEADER_LINES_MAX = 100
# As RFC 9112 Section 5 has a header: a colon, a space and a line end beside its two words.
_LINE_BYTES = 4

COMES_WITHIN_S = 30.0
"""A head comes whole within this, and of a body so many octets, unless it ends."""
COMES_BYTES_MIN = 1_024
# Of the grace that a service has which stops: what is left is for the answer.
ENDS_WITHIN_S = 3.0
# Who still sends when it is refused meets a reset instead of the refusal, if nobody reads.
LINGERS_S = 2.0

# RFC 9110 Section 9.2.1: what is asked so changes nothing.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UPGRADE = b"upgrade"
_UNKNOWN = OutcomeUnknownError(
    "the request is not whole, and was begun before that showed; the same request tells what"
    " became of it"
)


class Cycle(Protocol):
    """A request that is being answered, as the server sees it."""

    response_complete: bool
    disconnected: bool
    keep_alive: bool

    @property
    def message_event(self) -> asyncio.Event:
        """Set when there is news of the request."""


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answering: Cycle | None = None
        """What was begun last, of those that came one after the other."""
        self._coming: Literal["head", "body"] | None = None
        # Begun, and not here to its end.
        self._at_fault: Any = None
        # The application has begun with `answering`, and is not waiting for more of it.
        self._is_begun = self._is_acting = False
        # It was acting when its request was refused, and may have changed something.
        self._is_undecided = False
        self._head_bytes = 0
        # Octets that came since something was complete: of one header, or of nothing we know.
        self._silent_bytes = 0
        self._came_bytes = 0
        self._patience: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._refusal: LedgerError | None = None
        # Whether the application has counted what is refused.
        self._is_noted = False

    # ---- What the server tells --------------------------------------------------------

    # As the server, whose transports always read and write; its base class promises one end.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._end_patience()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as far as the limits allow."""
        if self._refusal is not None:
            return
        self._silent_bytes += len(data)
        self._came_bytes += len(data)
        self._parse(data)
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._silent_bytes > HEAD_BYTES_MAX:
            self.refuse(self._too_large())
        elif self._coming is not None:
            if self._patience is None:
                self._begin_patience(COMES_WITHIN_S)
        elif self.timeout_keep_alive_task is None and not self._is_answering():
            # Line ends between requests are none, and were progress to nobody.
            self._await_next()

    def _parse(self, data: bytes) -> None:
        """As the server's, but for a wish for another protocol, behind which it reads no body."""
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    data = b""
                except HttpParserUpgrade as wish:
                    if not self._wishes_another():
                        return
                    # RFC 9110 Section 7.8: it may be passed over. So what came is read again,
                    # as it had been without.
                    data = self._head_without_wish() + data[wish.args[0] :]
                    self.parser = HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _wishes_another(self) -> bool:
        # A CONNECT is no wish that could be passed over, and nothing here takes it.
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_wish(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += (b"%b: %b" % header for header in self.headers if header[0] != _UPGRADE)
        return b"\r\n".join((*lines, b"", b""))

    def send_400_response(self, msg: str) -> None:
        """Refuse what the server could not read, or what a limit stopped it from reading."""
        if self._refusal is None:
            self.refuse(MalformedRequestError(f"this is not HTTP as it is spoken here: {msg}"))

    def shutdown(self) -> None:
        """Begin to stop: what is here is answered, what is coming has a moment to come."""
        self._is_stopping = True
        super().shutdown()
        if self._is_undecided:
            return
        if self._refusal is not None and not self._is_answering():
            self.transport.close()
        elif self._coming == "body":
            self._begin_patience(ENDS_WITHIN_S)

    # ---- What the parser tells --------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins to come."""
        super().on_message_begin()
        self._coming = "head"
        self._at_fault = None
        self._head_bytes = self._silent_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, as far as the limits allow."""
        self._silent_bytes = 0
        self._head_bytes += len(name) + len(value) + _LINE_BYTES
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEADER_LINES_MAX:
            self._refuse_in_callback(self._too_large())
        # RFC 9110 Section 6.5.1: what stands behind a body is no header, and none is asked for.
        if self._coming == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Have the server begin with the request."""
        if self._wishes_another():
            return
        self.head_came()
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and [each.lower() for each in codings] != [b"chunked"]:
            # RFC 9112 Section 6.1: whoever does not understand one cannot tell what was sent.
            self._refuse_in_callback(
                MalformedRequestError("of transfer codings only one is taken here, chunked, once")
            )
        super().on_headers_complete()
        self._at_fault = self.cycle
        if self.parser.should_upgrade():
            # What follows is not read as HTTP, so nobody should send a request there.
            self.cycle.keep_alive = False

    def head_came(self) -> None:
        """Note that a head is whole, whoever takes the request."""
        if self._head_bytes + len(self.url) > HEAD_BYTES_MAX:
            self._refuse_in_callback(self._too_large())
        self._coming = "body"
        self._silent_bytes = 0
        self._end_patience()

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        self.body_came()
        super().on_body(body)

    def body_came(self) -> None:
        """Note that a piece of a body is here, whoever takes it."""
        self._silent_bytes = 0

    def on_message_complete(self) -> None:
        """The request is here."""
        if self._wishes_another():
            return
        self.message_came()
        super().on_message_complete()

    def message_came(self) -> None:
        """Note that a request is whole, whoever takes it."""
        self._coming = self._at_fault = None
        self._silent_bytes = 0
        self._end_patience()

    # ---- Answers ----------------------------------------------------------------------

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.answering = cycle
        self._is_begun = self._is_acting = False

        async def begin(scope: Any, receive: Any, send: Any) -> None:
            if cycle.disconnected and self._refusal is not None:
                # It was refused before anything looked at it.
                return

            async def receive_and_note() -> Any:
                self._note_acting(cycle, False)
                self._decide(cycle, self._refusal)
                try:
                    return await receive()
                finally:
                    self._note_acting(cycle, True)

            self._is_begun = True
            self._note_acting(cycle, True)
            try:
                await app(scope, receive_and_note, send)
            finally:
                self._decide(cycle, _UNKNOWN)

        super()._start_asgi_task(cycle, begin)

    def _note_acting(self, cycle: Any, is_acting: bool) -> None:
        # Whoever listens whether a client is still there may do so beyond its answer.
        if self.answering is cycle:
            self._is_acting = is_acting

    def _decide(self, cycle: Any, error: LedgerError | None) -> None:
        if self._is_undecided and self.answering is cycle and error is not None:
            self._is_undecided = False
            self._send_refusal(error)

    def on_response_complete(self) -> None:
        """Begin with what waits, and refuse behind the last answer what is to be refused."""
        if self._is_stopping and self.pipeline:
            # The application may have ended before the server, which would begin with it.
            self.pipeline.clear()
            self._end_patience()
            self._refusal = self._refusal or StoppingError("the service stops before it began")
        is_paused = self.flow.read_paused
        super().on_response_complete()
        if is_paused and self._patience is not None and not self._is_stopping:
            # Only now can what is missing be read.
            self._begin_patience(COMES_WITHIN_S)
        if self._refusal is not None and not self._is_answering():
            self._send_refusal(self._refusal)

    def refuse(self, error: LedgerError) -> None:
        """Answer the request that is coming with `error`, in its turn; then hang up."""
        self._refusal = error
        self._end_patience()
        self._unset_keepalive_if_required()
        at_fault, self._at_fault = self._at_fault, None
        if at_fault is not None:
            if at_fault.response_started:
                # It was answered, as far as it can be.
                self._hang_up()
                return
            if self.pipeline and self.pipeline[0][0] is at_fault:
                self.pipeline.popleft()
            # Whoever reads it is told that no more will come, and its answer is dropped.
            at_fault.disconnected = True
            at_fault.message_event.set()
            is_write = at_fault.scope["method"] not in _SAFE
            if self.answering is at_fault:
                self._is_noted = self._is_begun
                if self._is_acting and is_write:
                    # What it does meanwhile shows when it asks for more, or ends.
                    self._is_undecided = True
                    return
        if not self._is_answering():
            self._send_refusal(error)

    def noted(self, status: int, state: MutableMapping[str, Any]) -> None:
        """Called with the status and the state of what was refused here."""

    def _refuse_in_callback(self, error: LedgerError) -> None:
        """Refuse from within a callback of the parser, which goes on unless it hears an error."""
        self.refuse(error)
        raise error

    def _is_answering(self) -> bool:
        cycle = self.answering
        return cycle is not None and not (cycle.response_complete or cycle.disconnected)

    def _send_refusal(self, error: LedgerError) -> None:
        if self.transport.is_closing():
            return
        state: dict[str, Any] = {"trace_id": trace_id_of(self.headers or ())}
        response = problem_response(error, state)
        self.transport.write(
            answer_bytes(
                self.server_state,
                response.status_code,
                [*response.raw_headers, (b"connection", b"close")],
                bytes(response.body),
            )
        )
        self._hang_up()
        if not self._is_noted:
            self.noted(response.status_code, state)

    def _hang_up(self) -> None:
        self._unset_keepalive_if_required()
        if self._is_stopping or self._is_answering() or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self.loop.call_later(LINGERS_S, self.transport.close)

    def _too_large(self) -> LedgerError:
        limits = {"limit": HEAD_BYTES_MAX, "unit": "bytes", "lines_max": HEADER_LINES_MAX}
        if self._coming == "head" and len(self.url) > HEAD_BYTES_MAX // 2:
            return UriTooLongError(
                f"path and query are over the limit of {HEAD_BYTES_MAX} bytes", **limits
            )
        return HeadTooLargeError(
            f"the headers are over the limit of {HEAD_BYTES_MAX} bytes in {HEADER_LINES_MAX} lines",
            **limits,
        )

    # ---- Patience ---------------------------------------------------------------------

    def _await_next(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _begin_patience(self, seconds: float) -> None:
        self._end_patience()
        self._came_bytes = 0
        self._patience = self.loop.call_later(seconds, self._end_waiting)

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _end_waiting(self) -> None:
        self._patience = None
        if self._is_stopping:
            self.refuse(StoppingError("the service stops before the request is here"))
        elif self.flow.read_paused or (
            # Nobody can send what we do not take.
            self._coming == "body" and self._came_bytes >= COMES_BYTES_MIN
        ):
            self._begin_patience(COMES_WITHIN_S)
        else:
            self.refuse(_late(self._coming))


def _late(part: str | None) -> LedgerError:
    limit = (
        f"the head of a request comes whole within {COMES_WITHIN_S:g} s"
        if part == "head"
        else f"of a body come {COMES_BYTES_MIN} bytes every {COMES_WITHIN_S:g} s"
    )
    return LateRequestError(f"{limit}, and this one did not", limit=COMES_WITHIN_S, unit="seconds")


def answer_bytes(
    server: ServerState, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> bytes:
    """An answer as it is sent; what every answer of the server has comes first."""
    lines = [STATUS_LINE[status]]
    for name, value in (*server.default_headers, *headers):
        lines += (name, b": ", value, b"\r\n")
    lines += (b"\r\n", body)
    return b"".join(lines)

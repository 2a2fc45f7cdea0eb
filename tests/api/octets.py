"""Requests and answers octet by octet, for what no client library would send."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from typing import Any, Protocol

import orjson

from tests.api.support import Api, capture

OF_THE_ENTRY = ("id", "seq", "entry_hash", "recorded_at", "receipt", "payloads", "trace_id")
OF_THE_ANSWER = ("date", "location", "content-length")
BODY = orjson.dumps(capture(subject="order/1"))


def raw(
    api: Api, body: bytes = BODY, *, path: str = "/effects", version: str = "1.1", **headers: Any
) -> bytes:
    """A POST; a header is left out where it is None, and sent twice where it is a list."""
    sent: dict[str, Any] = {
        "host": "x",
        "authorization": f"Bearer {api.token}",
        "idempotency_key": "k",
        "content_type": "application/json",
        "content_length": str(len(body)),
        **headers,
    }
    lines = [f"POST {api.url(path)} HTTP/{version}"]
    for name, values in sent.items():
        each = values if isinstance(values, list) else [values]
        lines += [f"{name.replace('_', '-')}: {value}" for value in each if value is not None]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Readable(Protocol):
    """A connection, or what was read of one: an answer is read from the file it makes."""

    def makefile(self, mode: Any, /) -> Any:
        """What the octets are read from."""


def answered(connection: Readable) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection."""
    # Its types ask for a socket; of it, it uses this one method.
    response = HTTPResponse(connection)  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, body


def told(port: int, *requests: bytes) -> list[tuple[int, dict[str, str], Any]]:
    """What requests, one after the other on one connection, are answered."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for request in requests:
            connection.sendall(request)
            status, headers, body = answered(connection)
            document = orjson.loads(body) if body else {}
            answers.append(
                (
                    status,
                    {k: v for k, v in headers.items() if k not in OF_THE_ANSWER},
                    {k: v for k, v in document.items() if k not in OF_THE_ENTRY},
                )
            )
    return answers


class Whole:
    """One file for all answers of a connection: what is read ahead belongs to the next."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        # Whoever has read one answer closes the file, and the next answer is in it. No method of
        # the file's class may be replaced, by its types; this one object's is.
        self._file.close, self.close = lambda: None, self._file.close  # type: ignore[method-assign]

    def makefile(self, *_: object) -> Any:
        return self._file

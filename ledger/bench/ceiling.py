"""
Ceiling: a server that answers at once and does nothing, to measure the load generator against.

It is a process of its own, as the service is.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

# As much as a receipt in a ledger of some thousand entries.
_BODY = b'{"receipt":"' + b"x" * 2_000 + b'"}'
_ANSWER = (
    b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_BODY), _BODY)
)


@contextmanager
def ceiling_server() -> Iterator[int]:
    """The port of such a server, for the length of a block."""
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-c", f"import {__name__} as it; it.serve()"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def serve() -> None:
    """Answer until the process is ended; its port is the first line it prints."""
    uvloop.run(_serve())


class _Answering(asyncio.Protocol):
    """Takes each piece that arrives for one whole request, as the load generator sends them."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert data, "a connection that ends says so elsewhere"
        self._transport.write(_ANSWER)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()

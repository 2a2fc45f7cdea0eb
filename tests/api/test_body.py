"""A body is read up to its limit, and not one byte further."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from api.body import JSON, NDJSON, media_type, read_body
from api.errors import MalformedRequestError
from ledger.errors import TooLargeError


def request(*chunks: bytes, hang_up: bool = False, **headers: str) -> tuple[Request, list[bytes]]:
    waiting = list(chunks)

    async def receive():
        if not waiting:
            assert hang_up, "the body was read beyond its end"
            return {"type": "http.disconnect"}
        chunk = waiting.pop(0)
        more = bool(waiting) or hang_up
        return {"type": "http.request", "body": chunk, "more_body": more}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive), waiting


@pytest.mark.parametrize("chunks", [[b""], [b"12345"], [b"12", b"345"], [b"1"] * 5])
def test_body_within_its_limit_is_whole(chunks: list[bytes]) -> None:
    """However it came."""
    asked, _ = request(*chunks)

    assert asyncio.run(read_body(asked, 5)) == b"".join(chunks)


def test_reading_stops_at_the_limit() -> None:
    """What is over it stays on the wire."""
    asked, waiting = request(b"123", b"456", b"789", b"000")

    with pytest.raises(TooLargeError) as raised:
        asyncio.run(read_body(asked, 5))

    assert raised.value.details["limit"] == 5
    assert waiting == [b"789", b"000"]


def test_announced_length_over_the_limit_is_not_read_at_all() -> None:
    """The header is enough."""
    asked, waiting = request(b"123456", content_length="6")

    with pytest.raises(TooLargeError):
        asyncio.run(read_body(asked, 5))

    assert waiting == [b"123456"]


def test_caller_that_hangs_up_is_told_apart() -> None:
    """Half a body is not a short body."""
    asked, _ = request(b"12", hang_up=True)

    with pytest.raises(MalformedRequestError):
        asyncio.run(read_body(asked, 5))


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("application/json", JSON),
        ("APPLICATION/JSON; charset=UTF-8", JSON),
        ("application/x-ndjson", NDJSON),
        ("application/x-ndjson;charset=utf-8", NDJSON),
    ],
)
def test_media_type_is_told(sent: str, found: str) -> None:
    """Case and charset apart."""
    asked, _ = request(b"", content_type=sent)

    assert media_type(asked, JSON, NDJSON) == found


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/json; charset=utf-16"},
        {"content_type": "application/json; boundary=x"},
        {"content_encoding": "br"},
    ],
)
def test_other_media_types_are_refused(headers: dict[str, str]) -> None:
    """Nothing is guessed."""
    asked, _ = request(b"", **headers)

    with pytest.raises(MalformedRequestError):
        media_type(asked, JSON)

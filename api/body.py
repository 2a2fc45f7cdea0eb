"""
Body: the bytes of a request, read up to a limit and never beyond it.

What the bytes mean is for `ledger.canonical` and `api.schemas`.
"""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from api.errors import MalformedRequestError
from ledger.errors import TooLargeError
from ledger.forms.payload import PAYLOAD_BYTES_MAX, PAYLOADS_MAX

BATCH_BYTES_MAX = 8 * 1024 * 1024

# Eight payloads in base64, and room for the effect beside them.
EFFECT_BODY_BYTES_MAX = PAYLOADS_MAX * (PAYLOAD_BYTES_MAX * 4 // 3 + 4) + 128 * 1024

# Bodies without payloads: verification jobs and the like.
SMALL_BODY_BYTES_MAX = 64 * 1024

JSON = "application/json"
NDJSON = "application/x-ndjson"


async def read_body(request: Request, limit: int) -> bytes:
    """
    The whole body, at most `limit` bytes.

    Raises:
        TooLargeError: There is more. Nothing beyond the limit was kept in memory.
        MalformedRequestError: The caller hung up before the end.
    """
    announced = request.headers.get("content-length")
    if announced is not None and announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise MalformedRequestError("the body ended before it was complete") from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def media_type(request: Request, *taken: str) -> str:
    """
    The media type of the body, which must be one of `taken`; the first where none is named.

    Raises:
        MalformedRequestError: Another type, charset or content coding.
    """
    headers = request.headers
    coding = headers.get("content-encoding")
    if coding is not None and coding.lower() != "identity":
        raise MalformedRequestError("a body with Content-Encoding is not taken; send it plain")
    sent = headers.get("content-type")
    if sent is None or sent == taken[0]:
        return taken[0]
    name, _, parameters = sent.partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if name.strip().lower() not in taken or charset not in ("", "charset=utf-8"):
        raise MalformedRequestError(
            f"the body must be {' or '.join(taken)} in UTF-8", taken=list(taken)
        )
    return name.strip().lower()


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is over the limit of {limit} bytes", limit=limit, unit="bytes")

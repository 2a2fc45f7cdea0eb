"""
Feed: every entry after a position, in order, as it is recorded.

Server-sent events for those who stay on the line, long polling for those who do not. Both
resume exactly where they were: the position is the seq of the last entry seen.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import examples
from api.answer_schemas import (
    FeedOut,
)
from api.answers import entry_document, json_answer
from api.dependencies import EntriesRead, Skin, skin_of
from api.errors import AheadError, InvalidParameterError, UnexpectedError
from api.openapi import ACCESS, answer, parameter, problems
from api.problems import problem_document, told
from api.schemas import (
    PAGE_MAX,
)
from ledger.entry import UnreadEntry
from ledger.errors import LedgerError, OverloadedError

router = APIRouter(prefix="/v1/ledgers/{ledger}", tags=["feed"])

EVENT_STREAM = "text/event-stream"
SEQ_MAX = 2**53 - 1
WAIT_MAX_S = 60
# Proxies give up on silence after 30 or 60 seconds.
HEARTBEAT_S = 15.0
# A credential is checked when a stream begins: a revoked one ends with its stream.
STREAM_MAX_S = 900.0
RECONNECT_MS = 1_000


class FeedQuery(BaseModel):
    """Where to begin, and how long to wait for more."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(default=-1, ge=-1, le=SEQ_MAX, description="Seq of the last entry seen.")
    limit: int = Field(default=100, ge=1, le=PAGE_MAX, description="Entries per answer or read.")
    wait: float = Field(
        default=0,
        ge=0,
        le=WAIT_MAX_S,
        allow_inf_nan=False,
        description="Long poll: seconds to wait where there is nothing yet.",
    )


@router.get(
    "/feed",
    summary="Entries in order, as they are recorded",
    response_class=Response,
    responses={
        200: {
            **answer("Entries after the position.", FeedOut, examples.FEED),
            "content": {
                **answer("", FeedOut, examples.FEED)["content"],
                EVENT_STREAM: {
                    "schema": {"type": "string"},
                    "example": 'id: 41\nevent: entry\ndata: {"seq":41,...}\n\n',
                },
            },
        },
        **problems(*ACCESS, InvalidParameterError, AheadError, OverloadedError, UnexpectedError),
    },
    openapi_extra={
        "parameters": [
            parameter(
                "Last-Event-ID",
                "header",
                {"type": "string"},
                "Seq of the last event seen; what a browser sends by itself. Wins over `after`.",
            ),
            parameter(
                "Accept", "header", {"type": "string"}, f"`{EVENT_STREAM}` asks for a stream."
            ),
        ]
    },
)
async def get_feed(
    request: Request, access: EntriesRead, query: Annotated[FeedQuery, Query()]
) -> Response:
    """
    Every entry after `after`, without gaps.

    With `Accept: text/event-stream` a stream of events named `entry` whose id is the seq;
    else one answer, at once where there are entries and after `wait` seconds where there
    are none. A position beyond the newest entry is 409: whoever has seen more than there is
    holds evidence that the ledger was set back. Scope: `entries:read`.
    """
    skin, ledger = skin_of(request), access.ledger.name
    if EVENT_STREAM not in request.headers.get("accept", ""):
        entries = await _entries_after(skin, ledger, query.after, query.limit)
        if not entries and query.wait and request.method != "HEAD":
            await skin.heads.wait_beyond(ledger, query.after + 1, query.wait)
            entries = await _entries_after(skin, ledger, query.after, query.limit)
        return json_answer(
            {
                "entries": [entry_document(entry) for entry in entries],
                "next_after": entries[-1].seq if entries else query.after,
            },
            headers={"Cache-Control": "no-store"},
        )

    after = _resume_after(request, query.after)
    # Read before the stream begins: what goes wrong here still has a status.
    first = await _entries_after(skin, ledger, after, query.limit)
    headers = {
        "Cache-Control": "no-store",
        # Asks proxies that buffer answers to pass events on at once.
        "X-Accel-Buffering": "no",
    }
    if request.method == "HEAD":
        return Response(media_type=EVENT_STREAM, headers=headers)
    request.state.streams = True
    return StreamingResponse(
        _events(request, ledger, after, query.limit, first),
        media_type=EVENT_STREAM,
        headers=headers,
    )


async def _events(
    request: Request, ledger: str, after: int, limit: int, entries: Sequence[UnreadEntry]
) -> AsyncIterator[bytes]:
    skin = skin_of(request)
    ends_at = time.monotonic() + STREAM_MAX_S
    yield b"retry: %d\n\n" % RECONNECT_MS
    try:
        while time.monotonic() < ends_at and not skin.heads.is_stopped:
            for entry in entries:
                yield b"id: %d\nevent: entry\ndata: %b\n\n" % (
                    entry.seq,
                    orjson.dumps(entry_document(entry)),
                )
                after = entry.seq
            if not entries:
                yield b": still here\n\n"
                await skin.heads.wait_beyond(ledger, after + 1, HEARTBEAT_S)
            entries = await _entries_after(skin, ledger, after, limit)
    except LedgerError as error:
        # The status is out; the event says the same, and the client comes back by itself.
        state = request.scope["state"]
        document = told(problem_document(error, trace_id=state["trace_id"]), state)
        yield b"event: problem\ndata: %b\n\n" % orjson.dumps(document, default=str)


async def _entries_after(skin: Skin, ledger: str, after: int, limit: int) -> Sequence[UnreadEntry]:
    reader = skin.engine.reader
    entries = await run_in_threadpool(reader.entries_after, ledger, after, limit)
    if not entries and after >= 0:
        # Read afterwards, and never smaller than it was.
        size = await run_in_threadpool(reader.size, ledger)
        if after >= size:
            raise AheadError(
                f"this ledger has {size} entries, and so none of seq {after}: if that one was "
                "seen, the ledger was set back, and what was seen is the evidence",
                size=size,
                after=after,
            )
    return entries


def _resume_after(request: Request, after: int) -> int:
    last = request.headers.get("last-event-id")
    if not last:
        return after
    if not (last.isascii() and last.isdigit() and len(last) <= len(str(SEQ_MAX))):
        raise InvalidParameterError("Last-Event-ID must be a seq", parameter="Last-Event-ID")
    return int(last)

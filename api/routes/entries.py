"""Entries: history as it stands, one by one, page by page, and as the story of an effect."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.anchored import PREFER_WAIT, preferred_wait_s
from api.answer_schemas import (
    EntryOut,
    LedgerOut,
    PageOut,
    PayloadsOut,
    ReceiptOut,
    StoryOut,
)
from api.answers import JSON, base64_or_none, entry_document, json_answer
from api.dependencies import AnyReach, EntriesRead, PayloadRead, skin_of
from api.errors import InvalidParameterError, UnexpectedError
from api.openapi import ACCESS, answer, problems
from api.schemas import (
    PAGE_MAX,
)
from ledger import errors as domain
from ledger.anchoring.anchors import AnchorLevel
from ledger.reader import EntryFilter
from ledger.signing.key_history import current, write_key

router = APIRouter(prefix="/v1/ledgers/{ledger}", tags=["entries"])

READ_PROBLEMS = problems(
    *ACCESS,
    InvalidParameterError,
    domain.OverloadedError,
    # What is stored may have been tampered with; what cannot be right is not served.
    domain.MalformedProofError,
    UnexpectedError,
)

# History never changes: what was read once may be kept by whoever may read it.
PERMANENT = {"Cache-Control": "private, max-age=31536000, immutable"}


class ReceiptQuery(BaseModel):
    """How much the receipt must prove."""

    model_config = ConfigDict(extra="forbid")

    level: AnchorLevel | None = Field(
        default=None, description="Refuse any receipt that proves less."
    )


class PageQuery(BaseModel):
    """Which entries, in which order, from where on; all that are given must hold."""

    model_config = ConfigDict(extra="forbid")

    kind: str | None = Field(default=None, description="effect, refund, ...")
    type: str | None = None
    key: str | None = None
    business_key: str | None = None
    subject: str | None = None
    actor: str | None = Field(default=None, description="Id of the actor.")
    poster: str | None = Field(default=None, description="Principal that posted.")
    currency: str | None = None
    label: str | None = Field(default=None, description="`key:value`.")
    evidence: str | None = Field(default=None, description="`system:ref`.")
    cause: str | None = Field(default=None, description="`kind:ref`.")
    corrects: str | None = Field(default=None, description="Id of the entry corrected.")
    recorded_from: str | None = Field(default=None, description="Inclusive, RFC 3339.")
    recorded_to: str | None = Field(default=None, description="Exclusive, RFC 3339.")
    occurred_from: str | None = Field(default=None, description="Inclusive, RFC 3339.")
    occurred_to: str | None = Field(default=None, description="Exclusive, RFC 3339.")
    order: Literal["asc", "desc"] = Field(default="asc", description="By seq.")
    limit: int = Field(default=100, ge=1, le=PAGE_MAX)
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


@router.get(
    "",
    summary="What is fixed about a ledger, and its size",
    responses={200: answer("The ledger.", LedgerOut, examples.LEDGER), **READ_PROBLEMS},
    response_class=Response,
)
def get_ledger(request: Request, access: AnyReach) -> Response:
    """Any credential that reaches the ledger may ask."""
    record = access.ledger
    keys = skin_of(request).engine.reader.keys(record.name)
    return json_answer(
        {
            "ledger": record.name,
            "origin": record.origin,
            "vkey": current(keys).encode(),
            "keys": [write_key(key) for key in keys],
            "units": dict(record.units),
            "time_zone": record.time_zone,
            "public_log": record.public,
            "size": skin_of(request).engine.reader.size(record.name),
        }
    )


@router.get(
    "/entries",
    summary="Entries, page by page",
    responses={200: answer("One page.", PageOut, examples.PAGE), **READ_PROBLEMS},
    response_class=Response,
)
def get_entries(
    request: Request, access: EntriesRead, query: Annotated[PageQuery, Query()]
) -> Response:
    """
    Entries that match every filter, by seq. An unknown filter is refused.

    Pages are stable: history only grows. Scope: `entries:read`.
    """
    filters = query.model_dump(exclude={"order", "limit", "cursor"}, exclude_none=True)
    try:
        page = skin_of(request).engine.reader.page(
            access.ledger.name,
            EntryFilter(**filters),
            cursor=query.cursor,
            limit=query.limit,
            order=query.order,
        )
    except (domain.MalformedEffectError, domain.TooLargeError) as error:
        # To the rules it is a word of an effect; here it is a parameter.
        name = str(error.details.get("pointer", "")).removeprefix("/")
        raise InvalidParameterError(error.message, parameter=name) from error
    return json_answer(
        {
            "entries": [entry_document(entry) for entry in page.entries],
            "next_cursor": page.next_cursor,
        }
    )


@router.get(
    "/entries/{place}",
    summary="One entry, by seq or id",
    responses={200: answer("The entry.", EntryOut, examples.ENTRY), **READ_PROBLEMS},
    response_class=Response,
)
def get_entry(request: Request, access: EntriesRead, place: str) -> Response:
    """`place` is the seq or the id of the entry. Scope: `entries:read`."""
    entry = skin_of(request).engine.reader.entry(access.ledger.name, place)
    return json_answer(entry_document(entry), headers=PERMANENT)


@router.get(
    "/entries/{place}/bytes",
    summary="The bytes of an entry, exactly as hashed",
    responses={
        200: {
            "description": "SHA-256(0x00 || these bytes) is the entry hash.",
            "content": {JSON: {"schema": {"type": "object"}, "example": examples.ENTRY["entry"]}},
        },
        **READ_PROBLEMS,
    },
    response_class=Response,
)
def get_entry_bytes(request: Request, access: EntriesRead, place: str) -> Response:
    """Canonical JSON (RFC 8785). Scope: `entries:read`."""
    encoded = skin_of(request).engine.reader.entry_bytes(access.ledger.name, place)
    return Response(encoded, media_type=JSON, headers=PERMANENT)


@router.get(
    "/entries/{place}/receipt",
    summary="What proves an entry now",
    responses={
        200: answer("The receipt.", ReceiptOut, examples.RECEIPT),
        **problems(
            *ACCESS,
            InvalidParameterError,
            domain.OverloadedError,
            domain.NotCosignedYetError,
            domain.NotTimestampedYetError,
            domain.InclusionError,
            domain.ChainBreakError,
            domain.TimestampError,
            domain.MalformedProofError,
            UnexpectedError,
        ),
    },
    response_class=Response,
    openapi_extra={"parameters": [PREFER_WAIT]},
)
async def get_entry_receipt(
    request: Request, access: EntriesRead, place: str, query: Annotated[ReceiptQuery, Query()]
) -> Response:
    """
    Under the newest published checkpoint, so it differs from the one first given and proves
    the same entry. With `level=cosigned` it is under the first checkpoint that a quorum of
    witnesses has seen, with `level=timestamped` under the first that a timestamp authority has:
    one of the ledger itself, or one that `_registry` recorded, with the registry's own receipt
    in `registry`. Those stay the same for ever. Scope: `entries:read`.
    """
    reader, ledger = skin_of(request).engine.reader, access.ledger.name
    if query.level is None:
        receipt = await run_in_threadpool(reader.receipt, ledger, place)
        return json_answer(receipt.to_document(), headers={"Cache-Control": "no-store"})
    wait_s = preferred_wait_s(request)
    receipt = await skin_of(request).anchored.receipt(access.ledger, place, query.level, wait_s)
    applied = {"Preference-Applied": f"wait={wait_s}"} if wait_s else {}
    return json_answer(receipt.to_document(), headers=PERMANENT | applied)


@router.get(
    "/entries/{place}/payloads",
    summary="The payloads of an entry, with what opens their commitments",
    responses={
        200: answer("The payloads, by name.", PayloadsOut, examples.PAYLOADS),
        **problems(
            *ACCESS,
            InvalidParameterError,
            domain.OverloadedError,
            domain.MalformedProofError,
            domain.CommitmentError,
            UnexpectedError,
        ),
    },
    response_class=Response,
)
def get_entry_payloads(request: Request, access: PayloadRead, place: str) -> Response:
    """The octets as they are kept; erased ones are named and empty. Scope: `payload:read`."""
    reader, ledger = skin_of(request).engine.reader, access.ledger.name
    seq = reader.entry(ledger, place).seq
    return json_answer(
        {
            "seq": seq,
            "payloads": [
                {
                    "name": payload.name,
                    "media_type": payload.media_type,
                    "commitment": payload.commitment.hex(),
                    "erased": payload.content is None,
                    "salt": base64_or_none(payload.salt),
                    "base64": base64_or_none(payload.content),
                }
                for payload in reader.payloads(ledger, seq)
            ],
        },
        # May be a person's words, and may be erased tomorrow.
        headers={"Cache-Control": "no-store"},
    )


@router.get(
    "/effects/{id}",
    summary="The story of an effect",
    responses={
        200: answer("The story.", StoryOut, examples.STORY),
        **problems(
            *ACCESS,
            InvalidParameterError,
            domain.OverloadedError,
            domain.TooLargeError,
            domain.MalformedProofError,
            domain.ChainBreakError,
            UnexpectedError,
        ),
    },
    response_class=Response,
)
def get_effect(request: Request, access: EntriesRead, id: str) -> Response:  # noqa: A002 - the name of the path's parameter.
    """
    Original, corrections, what is left, and what can still be undone, until when and by whom.

    Scope: `entries:read`.
    """
    story = skin_of(request).engine.reader.story(access.ledger.name, id)
    return json_answer(story.to_document(), headers={"Cache-Control": "no-store"})

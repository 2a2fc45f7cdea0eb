"""
Proofs: checkpoints, proofs between trees, and the tiles that other programs verify with.

The paths under `/log/` are C2SP tlog-tiles: their bodies, types and statuses are fixed there.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.answers import json_answer
from api.dependencies import Access, ProofsRead, skin_of
from api.errors import InvalidParameterError, UnexpectedError
from api.openapi import ACCESS, answer, problems, text_answer
from api.schemas import ConsistencyOut, InclusionOut
from ledger import errors as domain
from ledger.ports import LedgerRecord

router = APIRouter(prefix="/v1/ledgers/{ledger}", tags=["proofs"])

SIZE_MAX = 2**53 - 1
NOTE = "text/plain; charset=utf-8"
TILE = "application/octet-stream"
# A checkpoint is worth nothing if it is an old one.
FRESH = {"Cache-Control": "no-store"}

PROOF_PROBLEMS = problems(
    *ACCESS,
    InvalidParameterError,
    domain.ChainBreakError,
    domain.InclusionError,
    domain.ConsistencyError,
    domain.SignatureError,
    domain.MalformedProofError,
    UnexpectedError,
)


class InclusionQuery(BaseModel):
    """Which entry, in which tree."""

    model_config = ConfigDict(extra="forbid")

    seq: int = Field(ge=0, le=SIZE_MAX)
    size: int = Field(ge=1, le=SIZE_MAX, description="Of a checkpoint, or any size since.")


class ConsistencyQuery(BaseModel):
    """From which tree to which."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    from_: int = Field(alias="from", ge=0, le=SIZE_MAX)
    to: int = Field(ge=0, le=SIZE_MAX)


async def log_reader(request: Request) -> LedgerRecord:
    """
    The ledger whose log is read: with a credential, or by anyone where its log is public.

    Raises:
        UnauthenticatedError: A stranger asks for a log that is not public, or for none.
    """
    skin = skin_of(request)
    if "authorization" in request.headers:
        access: Access = await skin.access(request, "proofs:read")
        return access.ledger
    refused = domain.UnauthenticatedError("send a key as Authorization: Bearer")
    try:
        record = await skin.ledger(request.path_params["ledger"])
    except domain.NotFoundError:
        # Strangers do not learn which ledgers there are.
        raise refused from None
    if not record.public:
        raise refused
    return record


LogRead = Annotated[LedgerRecord, Depends(log_reader)]


@router.get(
    "/checkpoint",
    summary="The newest published checkpoint",
    responses={200: text_answer("A C2SP signed note.", NOTE), **PROOF_PROBLEMS},
    response_class=Response,
)
def get_checkpoint(request: Request, access: ProofsRead) -> Response:
    """Origin, size and root, signed. Scope: `proofs:read`."""
    return _checkpoint(request, access.ledger)


@router.get(
    "/proofs/inclusion",
    summary="Proof that an entry is in a tree",
    responses={
        200: answer("The proof.", InclusionOut, examples.INCLUSION),
        **PROOF_PROBLEMS,
    },
    response_class=Response,
)
def get_inclusion(
    request: Request, access: ProofsRead, query: Annotated[InclusionQuery, Query()]
) -> Response:
    """RFC 9162 Section 2.1.3. Scope: `proofs:read`."""
    reader, ledger = skin_of(request).engine.reader, access.ledger.name
    proof = reader.inclusion(ledger, query.seq, query.size)
    return json_answer(
        {
            "seq": query.seq,
            "size": query.size,
            "entry_hash": proof.leaf.hex(),
            "root": proof.root.hex(),
            "proof": [each.hex() for each in proof.hashes],
        }
    )


@router.get(
    "/proofs/consistency",
    summary="Proof that a tree extends an older one",
    responses={
        200: answer("The proof.", ConsistencyOut, examples.CONSISTENCY),
        **PROOF_PROBLEMS,
    },
    response_class=Response,
)
def get_consistency(
    request: Request, access: ProofsRead, query: Annotated[ConsistencyQuery, Query()]
) -> Response:
    """RFC 9162 Section 2.1.4; empty from 0, and from a size to itself. Scope: `proofs:read`."""
    reader, ledger = skin_of(request).engine.reader, access.ledger.name
    proof = reader.consistency(ledger, query.from_, query.to)
    return json_answer(
        {
            "from": query.from_,
            "to": query.to,
            "from_root": proof.old_root.hex(),
            "to_root": proof.new_root.hex(),
            "proof": [each.hex() for each in proof.hashes],
        }
    )


@router.get(
    "/log/checkpoint",
    summary="The newest published checkpoint, where tile clients look for it",
    responses={200: text_answer("A C2SP signed note.", NOTE), **PROOF_PROBLEMS},
    response_class=Response,
)
def get_log_checkpoint(request: Request, record: LogRead) -> Response:
    """As `/checkpoint`; open to anyone where the log is public. Scope: `proofs:read`."""
    return _checkpoint(request, record)


@router.get(
    "/log/tile/{path:path}",
    summary="A tile of the tree, or a bundle of entries",
    responses={200: text_answer("The tile.", TILE, binary=True), **PROOF_PROBLEMS},
    response_class=Response,
)
def get_tile(request: Request, record: LogRead, path: str) -> Response:
    """
    C2SP tlog-tiles: `<level>/<index>[.p/<width>]` and `entries/<index>[.p/<width>]`.

    `proofs:read` opens bundles of entries too: whoever verifies a log reads both.
    """
    tile = skin_of(request).engine.reader.tile(record.name, f"tile/{path}")
    # What a tile holds never changes; who may see it differs from log to log.
    reach = "public" if record.public else "private"
    return Response(
        tile,
        media_type=TILE,
        headers={"Cache-Control": f"{reach}, max-age=604800, immutable"},
    )


def _checkpoint(request: Request, record: LedgerRecord) -> Response:
    note = skin_of(request).engine.reader.checkpoint(record.name)
    return Response(note, media_type=NOTE, headers=FRESH)

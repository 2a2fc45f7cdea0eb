"""
Proofs: checkpoints, proofs between trees, and the tiles that other programs verify with.

The paths under `/log/` are C2SP tlog-tiles: their bodies, types and statuses are fixed there.
"""

from __future__ import annotations

import gzip
import re
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.answer_schemas import (
    ConsistencyOut,
    InclusionOut,
)
from api.answers import json_answer
from api.dependencies import ProofsRead, skin_of
from api.errors import InvalidParameterError, UnexpectedError
from api.lean import LeanRoute
from api.openapi import ACCESS, answer, parameter, problems, text_answer
from ledger import errors as domain
from ledger.anchoring.anchors import AnchorLevel
from ledger.checkpoint import log_part
from ledger.forms.names import REGISTRY
from ledger.ports import LedgerRecord

router = APIRouter(prefix="/v1/ledgers/{ledger}", tags=["proofs"])

SIZE_MAX = 2**53 - 1
NOTE = "text/plain; charset=utf-8"
TILE = "application/octet-stream"
TIMESTAMP = "application/timestamp-reply"
# A checkpoint is worth nothing if it is an old one.
FRESH = {"Cache-Control": "no-store"}
# What a tile holds never changes: kept for a week without asking.
TILE_KEPT = "max-age=604800, immutable"
BUNDLES = "tile/entries/"
# Entries resemble each other: more effort gains little.
GZIP_LEVEL = 4
# RFC 9110 Section 12.4.2: any weight above zero.
_WEIGHT = re.compile(r"q=(?:1(?:\.0{0,3})?|0\.(?!0*$)[0-9]{1,3})")

PROOF_PROBLEMS = problems(
    *ACCESS,
    InvalidParameterError,
    domain.NotCosignedYetError,
    domain.ChainBreakError,
    domain.InclusionError,
    domain.ConsistencyError,
    domain.SignatureError,
    domain.TimestampError,
    domain.MalformedProofError,
    UnexpectedError,
)


CheckpointSize = Annotated[int, Path(ge=1, le=SIZE_MAX, description="Of the checkpoint.")]


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


class CheckpointQuery(BaseModel):
    """Who must stand for the checkpoint."""

    model_config = ConfigDict(extra="forbid")

    level: AnchorLevel | None = Field(
        default=None, description="The newest that reached it; absent is the newest of all."
    )


@router.get(
    "/checkpoint",
    summary="The newest published checkpoint",
    responses={
        200: text_answer("A C2SP signed note.", NOTE),
        **PROOF_PROBLEMS,
        **problems(domain.NotCosignedYetError, domain.NotTimestampedYetError),
    },
    response_class=Response,
)
def get_checkpoint(
    request: Request, access: ProofsRead, query: Annotated[CheckpointQuery, Query()]
) -> Response:
    """
    Origin, size and root, signed. With `level`, the newest of this ledger that a quorum of
    witnesses cosigned, or that an authority timestamped: those very octets, and the header
    `Link` leads to the token over them. Scope: `proofs:read`.
    """
    return _checkpoint(request, access.ledger, query.level)


@router.get(
    "/checkpoints/{size}/timestamp",
    summary="The timestamp of a checkpoint",
    responses={
        200: text_answer("An RFC 3161 reply, in DER.", TIMESTAMP, binary=True),
        **PROOF_PROBLEMS,
    },
    response_class=Response,
)
def get_timestamp(request: Request, access: ProofsRead, size: CheckpointSize) -> Response:
    """
    The first token over the checkpoint of this size: over its text, the blank line and the
    log's own signature lines. Scope: `proofs:read`.
    """
    anchor = skin_of(request).engine.anchors.timestamp(access.ledger.name, size)
    headers = {"Cache-Control": f"private, {TILE_KEPT}"}
    return Response(anchor.token, media_type=TIMESTAMP, headers=headers)


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


# ---- The log, as tile clients read it -------------------------------------------------


async def get_log(request: Request) -> Response:
    """The checkpoint, a tile or a bundle; exactly 404 for every other path."""
    record = await _log_reader(request)
    path = request.path_params["path"]
    if path == "checkpoint":
        level = _LEVELS.get(request.query_params.get("level", ""))
        return await run_in_threadpool(_checkpoint, request, record, level)
    return await run_in_threadpool(_tile, request, record, path)


# What a tile client asks beside that is not for us to judge.
_LEVELS: dict[str, AnchorLevel] = {"cosigned": "cosigned", "timestamped": "timestamped"}


async def _log_reader(request: Request) -> LedgerRecord:
    """
    The ledger whose log is read: by anyone where it is public, else with a credential.

    Raises:
        UnauthenticatedError, ForbiddenError, NotFoundError: As `Skin.access`; strangers do not
            learn which ledgers there are.
    """
    skin = skin_of(request)
    try:
        record = await skin.ledger(request.path_params["ledger"])
    except domain.NotFoundError:
        record = None
    if record is not None and record.public:
        # Also with a key that has expired: what is open to strangers is not closed to friends.
        return record
    return (await skin.access(request, "proofs:read")).ledger


def _checkpoint(request: Request, record: LedgerRecord, level: AnchorLevel | None) -> Response:
    if level is not None:
        return _anchored(request, record.name, level)
    note = skin_of(request).engine.reader.checkpoint(record.name)
    return Response(note, media_type=NOTE, headers=FRESH)


def _anchored(request: Request, ledger: str, level: AnchorLevel) -> Response:
    anchor = skin_of(request).engine.anchors.newest(ledger, level)
    if anchor is None:
        kind = domain.NotCosignedYetError if level == "cosigned" else domain.NotTimestampedYetError
        inherits = f"; its receipts may inherit it from {REGISTRY}" if ledger != REGISTRY else ""
        raise kind(
            f"no checkpoint of ledger {ledger} itself is {level} yet{inherits}", ledger=ledger
        )
    if anchor.token is None:
        return Response(anchor.note, media_type=NOTE, headers=FRESH)
    path = f"/v1/ledgers/{quote(ledger)}/checkpoints/{anchor.size}/timestamp"
    # As the token is over it, for whoever verifies that with other programs.
    note = log_part(anchor.note)
    return Response(note, media_type=NOTE, headers={**FRESH, "Link": f'<{path}>; rel="timestamp"'})


def _tile(request: Request, record: LedgerRecord, path: str) -> Response:
    tile = skin_of(request).engine.reader.tile(record.name, path)
    # What a tile holds never changes; who may see it differs from log to log.
    reach = "public" if record.public else "private"
    headers = {"Cache-Control": f"{reach}, {TILE_KEPT}"}
    if path.startswith(BUNDLES):
        headers["Vary"] = "Accept-Encoding"
        if takes_gzip(request.headers.getlist("accept-encoding")):
            headers["Content-Encoding"] = "gzip"
            # Without a time: the same bundle is the same octets, whoever compresses it when.
            tile = gzip.compress(tile, GZIP_LEVEL, mtime=0)
    return Response(tile, media_type=TILE, headers=headers)


def takes_gzip(accepted: list[str]) -> bool:
    """Whether a request with these `Accept-Encoding` lines asks for gzip."""
    taken = {}
    for offer in ",".join(accepted).split(","):
        coding, *parameters = (part.strip().lower() for part in offer.split(";"))
        # What is no weight is not understood; gzip goes only to those who surely read it.
        taken[coding] = all(map(_WEIGHT.fullmatch, parameters))
    return taken.get("gzip", taken.get("*", False))


class _Anything(Convertor[str]):
    """What is left of a path, with every character a path can hold."""

    # The framework's own `path` ends at a newline, and the rest would name another tile.
    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())

LOG_ANSWER = text_answer("The checkpoint, which is a signed note; or a tile.", TILE, binary=True)
LOG_ANSWER["content"] |= text_answer("", NOTE)["content"]

router.add_api_route(
    "/log/{path:anything}",
    get_log,
    methods=["GET"],
    response_class=Response,
    route_class_override=LeanRoute,
    operation_id=get_log.__name__,
    summary="The log, as tile clients read it",
    description="C2SP tlog-tiles. `checkpoint` is the newest signed one, "
    "`tile/<level>/<index>[.p/<width>]` a tile of the tree, and "
    "`tile/entries/<index>[.p/<width>]` a bundle of entries, compressed where gzip is accepted. "
    "Every width that a tile ever had is there; every other path is exactly 404.\n\n"
    "Open to anyone where the log is public. Scope: `proofs:read`, for bundles too: whoever "
    "verifies a log reads both. `checkpoint?level=cosigned` is the newest checkpoint that a quorum "
    "of witnesses has seen, `level=timestamped` that an authority has; 404 before the first.",
    responses={200: LOG_ANSWER, **PROOF_PROBLEMS},
    openapi_extra={
        "parameters": [
            parameter("ledger", "path", {"type": "string"}, "Name of the ledger."),
            parameter("path", "path", {"type": "string"}, "Such as `tile/0/x001/234.p/5`."),
        ]
    },
)

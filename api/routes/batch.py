"""
Batch: up to 1,000 writes of any kind in one request, each with its own result.

Independent items stand or fall alone; atomic ones together. The answer to an item is the
one it would have got as a single write.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.answer_schemas import (
    BatchOut,
    ProvisionalBatchOut,
)
from api.answers import json_answer, provisional_document, recorded_document
from api.auth import check_scope
from api.body import BATCH_BYTES_MAX, JSON, NDJSON, media_type, read_body
from api.dependencies import Access, skin_of
from api.errors import InvalidParameterError
from api.lean import LeanRoute
from api.openapi import answer, body, parameter, problems, reference
from api.problems import problem_document, problem_of, told
from api.routes.writes import (
    DRY_RUN,
    LEDGER,
    PREFER,
    WRITE_PROBLEMS,
    WRITE_SCOPES,
    prefers,
    read_dry_run,
)
from api.schemas import (
    ITEMS_MAX,
    BatchIn,
    ItemIn,
    plain_submission,
)
from api.shapes import (
    parse_shape,
)
from ledger.canonical import parse_json
from ledger.effect import KEY_MAX, Kind
from ledger.errors import (
    AbandonedError,
    AccessError,
    LedgerError,
    MalformedEffectError,
    RejectedError,
    TooLargeError,
)
from ledger.submission import Posting, Provisional, Recorded, Submission

T = TypeVar("T")

router = APIRouter(prefix="/v1/ledgers/{ledger}", route_class=LeanRoute, tags=["writes"])

MODES = ("atomic", "independent")

# A thread that reads a large batch would have every second turn of the interpreter, and single
# posts take as many turns more: after so many items it leaves the interpreter to them.
ITEMS_PER_BREATH = 16
BREATH_S = 0.000_2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    index: int
    key: str | None
    asks: Submission | LedgerError
    """What goes to the sequencer, or why it does not."""


_Result = Recorded | Provisional | LedgerError


async def post_batch(request: Request) -> Response:
    """Record up to 1,000 effects and corrections."""
    skin = skin_of(request)
    access = await skin.write_access(request, *WRITE_SCOPES.values())
    dry_run, mode = _read_parameters(request)
    sent = media_type(request, JSON, NDJSON)
    raw = await read_body(request, BATCH_BYTES_MAX)
    mode, items = await run_in_threadpool(_parse, raw, sent, mode, access)
    atomic = mode == "atomic"

    good = [item for item in items if isinstance(item.asks, Submission)]
    if atomic and len(good) < len(items):
        raise _whole_batch_error(request, items, [_why_not(item) for item in items])
    posting = Posting(
        ledger=access.ledger.name,
        principal=access.credential.principal,
        submissions=tuple(item.asks for item in good if isinstance(item.asks, Submission)),
        atomic=atomic,
        with_receipts=prefers(request, "return=receipt"),
    )
    found: Sequence[_Result] = ()
    if posting.submissions and dry_run:
        found = await run_in_threadpool(skin.engine.dry_run.run, posting)
    elif posting.submissions:
        found = await skin.record(posting)

    outcomes = iter(found)
    results: list[_Result] = [
        item.asks if isinstance(item.asks, LedgerError) else next(outcomes) for item in items
    ]
    if atomic and any(isinstance(result, LedgerError) for result in results):
        raise _whole_batch_error(request, items, results)
    return _answer(request, posting, items, results, dry_run=dry_run)


def _read_parameters(request: Request) -> tuple[bool, str | None]:
    dry_run = read_dry_run(request, "mode")
    mode = request.query_params.get("mode")
    if mode is not None and mode not in MODES:
        raise InvalidParameterError(f"mode must be {' or '.join(MODES)}", parameter="mode")
    return dry_run, mode


def _parse(raw: bytes, sent: str, mode: str | None, access: Access) -> tuple[str, list[_Item]]:
    if sent == NDJSON:
        if mode is None:
            raise InvalidParameterError(
                f"an NDJSON batch needs ?mode={' or ?mode='.join(MODES)}", parameter="mode"
            )
        lines = [line for line in raw.split(b"\n") if line.strip()]
        _check_count(len(lines))
        return mode, [_read_line(index, line, access) for index, line in _breathing(lines)]
    document = parse_json(raw)
    if (
        mode is not None
        and isinstance(document, dict)
        and document.setdefault("mode", mode) != mode
    ):
        raise InvalidParameterError(
            f"mode is {mode} here, and something else in the body: say it once", parameter="mode"
        )
    batch = parse_shape(BatchIn, document)
    _check_count(len(batch.items))
    return batch.mode, [
        _read_item(index, document, access) for index, document in _breathing(batch.items)
    ]


def _breathing(items: Iterable[T]) -> Iterator[tuple[int, T]]:
    """`items` with their numbers, and pauses between some of them."""
    for index, item in enumerate(items):
        if index and index % ITEMS_PER_BREATH == 0:
            time.sleep(BREATH_S)
        yield index, item


def _check_count(found: int) -> None:
    if found > ITEMS_MAX:
        raise TooLargeError(
            f"the batch has {found} items, the limit is {ITEMS_MAX}",
            limit=ITEMS_MAX,
            found=found,
            unit="items",
        )
    if found == 0:
        raise MalformedEffectError("/items must have at least one item", pointer="/items")


def _read_line(index: int, line: bytes, access: Access) -> _Item:
    try:
        document = parse_json(line)
    except LedgerError as error:
        return _Item(index=index, key=None, asks=error)
    return _read_item(index, document, access)


def _read_item(index: int, document: Any, access: Access) -> _Item:
    key = document.get("key") if isinstance(document, dict) else None
    try:
        asks: Submission | LedgerError = _build(document, access)
    except LedgerError as error:
        asks = error
    return _Item(
        index=index,
        key=key if isinstance(key, str) and len(key) <= KEY_MAX else None,
        asks=asks,
    )


def _build(document: Any, access: Access) -> Submission:
    rules, now = access.ledger.rules, datetime.now(UTC)
    submission = plain_submission(document, {}, rules, now)
    if submission is None:
        words = parse_shape(ItemIn, document)
        check_scope(access.credential, WRITE_SCOPES[Kind(words.kind)])
        submission = words.to_submission({}, rules, now)
    check_scope(access.credential, WRITE_SCOPES[submission.effect.kind])
    if submission.effect.observed:
        check_scope(access.credential, "observe")
    return submission


def _why_not(item: _Item) -> LedgerError:
    if isinstance(item.asks, LedgerError):
        return item.asks
    return AbandonedError("another item of this atomic batch was refused; none was recorded")


def _whole_batch_error(
    request: Request, items: Sequence[_Item], results: Sequence[_Result]
) -> LedgerError:
    refused = [result for result in results if isinstance(result, LedgerError)]
    cause = next((error for error in refused if not isinstance(error, AbandonedError)), refused[0])
    if not isinstance(cause, (RejectedError, AccessError)):
        # No rule: it befell the batch, and says itself what is known of what was recorded.
        return cause
    index = next(index for index, result in enumerate(results) if result is cause)
    # The class decides the answer: an atomic batch is refused as its first bad item is.
    return type(cause)(
        f"item {index}: {cause.message}; the batch is atomic, so nothing was recorded",
        **cause.details
        | {
            "index": index,
            "items": [
                _item_document(request, item, result)
                for item, result in zip(items, results, strict=True)
            ],
        },
    )


def _answer(
    request: Request,
    posting: Posting,
    items: Sequence[_Item],
    results: Sequence[_Result],
    *,
    dry_run: bool,
) -> Response:
    document: dict[str, Any] = {"mode": MODES[0] if posting.atomic else MODES[1]}
    if dry_run:
        document |= {"provisional": True, "world": "RML1"}
    else:
        recorded = [result for result in results if isinstance(result, Recorded)]
        replayed = sum(result.replayed for result in recorded)
        document |= {"recorded": len(recorded) - replayed, "replayed": replayed}
    document["refused"] = sum(isinstance(result, LedgerError) for result in results)
    document["items"] = [
        _item_document(request, item, result) for item, result in zip(items, results, strict=True)
    ]
    applied = {"Preference-Applied": "return=receipt"} if posting.with_receipts else None
    return json_answer(document, headers=applied)


def _item_document(request: Request, item: _Item, result: _Result) -> dict[str, Any]:
    document: dict[str, Any] = {"index": item.index, "key": item.key}
    if isinstance(result, LedgerError):
        document["status"] = problem_of(result).status
        state = request.scope["state"]
        document["problem"] = told(problem_document(result, trace_id=state["trace_id"]), state)
    elif isinstance(result, Provisional):
        document["status"] = 200
        document["result"] = provisional_document(result, request.path_params["ledger"])
    else:
        document["status"] = 200 if result.replayed else 201
        document["result"] = recorded_document(result)
    return document


_BODY = body(BatchIn, examples.BATCHES)
_BODY["requestBody"]["content"][NDJSON] = {
    "schema": reference(ItemIn) | {"description": "One item per line; `?mode=` is required."}
}

router.add_api_route(
    "/batch",
    post_batch,
    methods=["POST"],
    response_class=Response,
    operation_id=post_batch.__name__,
    summary="Record up to 1,000 effects and corrections",
    description="Record up to 1,000 effects and corrections, at most 8 MiB.\n\n"
    "`independent`: 200, and each item has the status it would have had alone. `atomic`: all "
    "are recorded, or none is and the answer is the problem of the first bad item, with every "
    "item's own in `details.items`. `corrects_key` may name an item before it. Large independent "
    "batches are recorded in parts, in order and with other posts between them: behind a part that "
    "was not recorded for sure nothing is, and each item says so.\n\n"
    "Scope: that of each item's kind.",
    responses={
        200: answer("Per-item results.", BatchOut, examples.BATCH)
        | {
            "content": {
                JSON: {
                    "schema": {"oneOf": [reference(BatchOut), reference(ProvisionalBatchOut)]},
                    "example": examples.BATCH,
                }
            }
        },
        **problems(AbandonedError, *WRITE_PROBLEMS),
    },
    openapi_extra=_BODY
    | {
        "parameters": [
            LEDGER,
            PREFER,
            DRY_RUN,
            parameter(
                "mode",
                "query",
                {"type": "string", "enum": list(MODES)},
                "Needed for NDJSON; a JSON batch may say it here or in its body.",
            ),
        ]
    },
)

"""
Writes: effects and the forward corrections of them, one per request.

Plain endpoints (see `api.lean`): check who calls, read, build, hand to the sequencer, answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.anchored import AnchoredReceipts, preferred_wait_s
from api.answer_schemas import (
    ProvisionalOut,
    RecordedOut,
)
from api.answers import json_answer, provisional_document, recorded_document
from api.auth import check_scope
from api.body import EFFECT_BODY_BYTES_MAX, JSON, media_type, read_body
from api.dependencies import Access, skin_of
from api.errors import (
    InvalidParameterError,
    MalformedRequestError,
    MissingKeyError,
    UnexpectedWriteError,
)
from api.lean import LeanRoute
from api.openapi import ACCESS, APPENDING, answer, body, parameter, problems
from api.schemas import (
    BODIES,
    AdjustmentIn,
    CorrectionIn,
    EffectIn,
    ExplanationIn,
    RefundIn,
    plain_submission,
)
from api.shapes import (
    parse_shape,
)
from ledger import errors as domain
from ledger.canonical import parse_json
from ledger.effect import Kind
from ledger.errors import BadReferenceError, LedgerError, NotFoundError
from ledger.forms.grammar import UUID
from ledger.ports import LedgerRecord
from ledger.submission import Outcome, Posting, Provisional, Recorded, Submission

router = APIRouter(prefix="/v1/ledgers/{ledger}", route_class=LeanRoute, tags=["writes"])

WRITE_SCOPES: Mapping[Kind, str] = {
    Kind.EFFECT: "effects:write",
    Kind.REFUND: "refunds:write",
    Kind.ADJUSTMENT: "adjustments:write",
    Kind.EXPLANATION: "explanations:write",
}
"""What a credential needs to record an entry of a kind; observed facts need `observe` too."""

# A body above this takes longer to parse than a switch of threads.
PARSED_ON_LOOP_BYTES_MAX = 64 * 1024

WRITE_PROBLEMS = (
    *ACCESS,
    InvalidParameterError,
    MalformedRequestError,
    domain.MalformedJsonError,
    domain.MalformedEffectError,
    domain.PersonalDataError,
    domain.BadReferenceError,
    domain.TooLargeError,
    domain.IdempotencyConflictError,
    domain.PossibleRepeatError,
    domain.CorrectionError,
    domain.OverRefundError,
    domain.RemainderHeldError,
    domain.OverloadedError,
    *APPENDING,
    UnexpectedWriteError,
)
"""What any write may be answered, whatever its body."""

Built = TypeVar("Built")


async def post_effect(request: Request) -> Response:
    """Record an effect at its hand-off: from here on it is history."""
    return await _post_kind(request, Kind.EFFECT)


async def post_refund(request: Request) -> Response:
    """Record money taken back from an effect."""
    return await _post_kind(request, Kind.REFUND)


async def post_adjustment(request: Request) -> Response:
    """Record a signed change of an effect, a refund or an adjustment."""
    return await _post_kind(request, Kind.ADJUSTMENT)


async def post_explanation(request: Request) -> Response:
    """Record words about any entry."""
    return await _post_kind(request, Kind.EXPLANATION)


async def post_correction(request: Request) -> Response:
    """Record a correction that names its target by id, by key, or outside this ledger."""
    access = await skin_of(request).write_access(
        request, *(scope for kind, scope in WRITE_SCOPES.items() if kind is not Kind.EFFECT)
    )

    def build(document: Any, key: str) -> Submission:
        words = parse_shape(CorrectionIn, document)
        check_scope(access.credential, WRITE_SCOPES[Kind(words.kind)])
        return words.to_submission({"key": key}, access.ledger.rules, datetime.now(UTC))

    return await _post(request, access, build)


async def _post_kind(request: Request, kind: Kind) -> Response:
    access = await skin_of(request).write_access(request, WRITE_SCOPES[kind])
    target = request.path_params.get("id")

    def build(document: Any, key: str) -> Submission:
        place = {"kind": kind.value, "key": key}
        if target is not None:
            place["corrects"] = target
        rules, now = access.ledger.rules, datetime.now(UTC)
        plain = plain_submission(document, place, rules, now)
        return plain or parse_shape(BODIES[kind], document).to_submission(place, rules, now)

    if target is not None and not UUID.fullmatch(target):
        raise _no_such_entry(target)
    return await _post(request, access, build)


async def _post(
    request: Request, access: Access, build: Callable[[Any, str], Submission]
) -> Response:
    skin, ledger = skin_of(request), access.ledger.name
    dry_run = read_dry_run(request)
    key = read_key(request)
    media_type(request, JSON)
    raw = await read_body(request, EFFECT_BODY_BYTES_MAX)
    submission = await off_loop_if_large(raw, lambda: build(parse_json(raw), key))
    if submission.effect.observed:
        check_scope(access.credential, "observe")
    posting = Posting(
        ledger=ledger,
        principal=access.credential.principal,
        submissions=(submission,),
        with_receipts=not prefers(request, "return=minimal"),
    )

    if dry_run:
        found = await run_in_threadpool(skin.engine.dry_run.run, posting)
        return _provisional_answer(found[0], ledger, request.path_params.get("id"))
    [outcome] = await skin.record(posting)
    wait_s = preferred_wait_s(request)
    if wait_s and isinstance(outcome, Recorded) and outcome.receipt is not None:
        outcome = await _cosigned(skin.anchored, access.ledger, outcome, wait_s)
    return _answer(outcome, request.path_params.get("id"))


async def _cosigned(
    receipts: AnchoredReceipts, record: LedgerRecord, recorded: Recorded, wait_s: int
) -> Recorded:
    """The same, with a receipt that witnesses stand for, if they are as quick as that."""
    try:
        receipt = await receipts.receipt(record, recorded.entry.seq, "cosigned", wait_s)
    except LedgerError:
        # It is on disk, whatever befalls its proof; the receipt there is says what it is.
        return recorded
    return replace(recorded, receipt=receipt)


def _answer(outcome: Outcome, target: str | None) -> Response:
    if isinstance(outcome, LedgerError):
        raise _as_the_path_sees_it(outcome, target)
    headers = {"Location": location(outcome)}
    if outcome.replayed:
        headers["Idempotent-Replayed"] = "true"
    return json_answer(
        recorded_document(outcome), status=200 if outcome.replayed else 201, headers=headers
    )


def _provisional_answer(
    found: Provisional | LedgerError, ledger: str, target: str | None
) -> Response:
    if isinstance(found, LedgerError):
        raise _as_the_path_sees_it(found, target)
    return json_answer(provisional_document(found, ledger))


def _as_the_path_sees_it(error: LedgerError, target: str | None) -> LedgerError:
    # The rules know the target as a member of the effect; here the path named it.
    if (
        target is not None
        and isinstance(error, BadReferenceError)
        and error.details.get("pointer") == "/corrects"
    ):
        return _no_such_entry(target)
    return error


def _no_such_entry(target: str) -> NotFoundError:
    return NotFoundError(f"there is no entry {target[:64]} in this ledger")


def location(recorded: Recorded) -> str:
    """Where what was recorded is read."""
    entry = recorded.entry
    noun = "effects" if entry.effect.kind is Kind.EFFECT else "entries"
    return f"/v1/ledgers/{entry.ledger}/{noun}/{entry.id}"


def read_key(request: Request) -> str:
    """
    The idempotency key of a write, as it was sent.

    Raises:
        MissingKeyError: There is none, or more than one.
    """
    keys = request.headers.getlist("idempotency-key")
    if len(keys) != 1 or not keys[0]:
        raise MissingKeyError(
            f"expected one header Idempotency-Key, found {len(keys)}"
            if len(keys) != 1
            else "the header Idempotency-Key is empty"
        )
    # Its form is checked with the effect, where items of a batch have it too.
    return keys[0]


def read_dry_run(request: Request, *others: str) -> bool:
    """
    Whether the caller asks what would happen instead of making it happen.

    Args:
        request: Its query may have `dry_run` once, and each of `others` once.
        others: Parameters the caller of this function reads.

    Raises:
        InvalidParameterError: Another parameter, or one twice, or another value.
    """
    if not request.scope["query_string"]:
        return False
    seen = set()
    value = "false"
    for name, said in request.query_params.multi_items():
        if name in seen or (name != "dry_run" and name not in others):
            raise InvalidParameterError(
                f"{name[:63]} is not a parameter of this path, or comes twice",
                parameter=name[:63],
                known=["dry_run", *others],
            )
        seen.add(name)
        value = said if name == "dry_run" else value
    if value not in ("true", "false"):
        # A typing error must not turn a question into history.
        raise InvalidParameterError("dry_run must be true or false", parameter="dry_run")
    return value == "true"


def prefers(request: Request, preference: str) -> bool:
    """Whether the caller stated this preference (RFC 7240)."""
    sent = request.headers.get("prefer")
    return sent is not None and preference in (
        part.strip().lower().replace(" ", "") for part in sent.replace(";", ",").split(",")
    )


async def off_loop_if_large(raw: bytes, build: Callable[[], Built]) -> Built:
    """What `build` makes of `raw`, in a thread where that would keep others waiting."""
    if len(raw) <= PARSED_ON_LOOP_BYTES_MAX:
        return build()
    return await run_in_threadpool(build)


# ---- The routes -----------------------------------------------------------------------

KEY = parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-^`-~][!-~]*$"},
    "Chosen and kept by the caller before sending; names this request for ever. The raw "
    'value: quotes around it are a part of the key, so that `"k1"` here is another key than `k1`, '
    "and in a batch or an import it is written with its quotes too. Keys that begin with an "
    "underscore are the ledger's.",
    required=True,
)
PREFER = parameter(
    "Prefer",
    "header",
    {"type": "string"},
    "`return=minimal` leaves the receipt out of the answer of a single write; `return=receipt` "
    "puts receipts into the answer of a batch; `wait=N` waits up to N seconds for the receipt of "
    "a single write to be cosigned.",
)
DRY_RUN = parameter(
    "dry_run",
    "query",
    {"type": "boolean", "default": False},
    "Validate everything against history as it stands, and leave no trace. The answer is "
    "provisional.",
)
LEDGER = parameter("ledger", "path", {"type": "string"}, "Name of the ledger.")
ID = parameter("id", "path", {"type": "string", "format": "uuid"}, "Id of the entry.")


def _route(path: str, endpoint: Any, model: Any, example: Mapping[str, Any], scope: str) -> None:
    router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        status_code=201,
        response_class=Response,
        operation_id=endpoint.__name__,
        description=f"{endpoint.__doc__}\n\nScope: `{scope}`; `observe` too for observed facts.",
        summary=endpoint.__doc__.rstrip("."),
        responses={
            200: {
                "description": "The same request was recorded before, or this is a dry run.",
                "content": {
                    "application/json": {
                        "schema": {
                            "oneOf": [
                                {"$ref": f"#/components/schemas/{RecordedOut.__name__}"},
                                {"$ref": f"#/components/schemas/{ProvisionalOut.__name__}"},
                            ]
                        },
                        "examples": {
                            "replayed": {"value": examples.RECORDED | {"replayed": True}},
                            "dry_run": {"value": examples.PROVISIONAL},
                        },
                    }
                },
                "headers": {
                    "Idempotent-Replayed": {
                        "description": "true on a replay.",
                        "schema": {"type": "string"},
                    }
                },
            },
            201: answer(
                "Recorded: durable, chained, and proved by the receipt.",
                RecordedOut,
                examples.RECORDED,
                headers={"Location": "Where to read it."},
            ),
            **problems(MissingKeyError, *WRITE_PROBLEMS),
        },
        openapi_extra=body(model, example)
        | {"parameters": [LEDGER, *([ID] if "{id}" in path else []), KEY, PREFER, DRY_RUN]},
    )


_route("/effects", post_effect, EffectIn, examples.EFFECTS, "effects:write")
_route("/effects/{id}/refunds", post_refund, RefundIn, examples.REFUNDS, "refunds:write")
_route(
    "/entries/{id}/adjustments",
    post_adjustment,
    AdjustmentIn,
    examples.ADJUSTMENTS,
    "adjustments:write",
)
_route(
    "/entries/{id}/explanations",
    post_explanation,
    ExplanationIn,
    examples.EXPLANATIONS,
    "explanations:write",
)
_route(
    "/corrections",
    post_correction,
    CorrectionIn,
    examples.CORRECTIONS,
    "refunds:write, adjustments:write or explanations:write, by kind",
)

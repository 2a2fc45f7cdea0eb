"""
Schemas: what requests and answers look like on the wire.

Models of requests hold the shape (names and JSON types of members) and hand the words on;
what the words must say is for `ledger.effect` and `ledger.forms.payload`, which also know the
limits that the models only publish. Models of answers describe; they do not build.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from api.problems import ACTIONS
from api.wire import Wire, absent, says
from ledger.effect import (
    CAUSES_MAX,
    EVIDENCE_MAX,
    KEY_MAX,
    LABELS_MAX,
    REASON_MAX,
    SYSTEM_MAX,
    TEXT_MAX,
    TYPE_MAX,
    Kind,
    Rules,
    build_effect,
)
from ledger.entry import parse_signature
from ledger.errors import MalformedEffectError, RejectedError
from ledger.forms.grammar import below
from ledger.forms.names import PAYLOAD_NAME_MAX
from ledger.forms.payload import MEDIA_TYPE_MAX, PAYLOADS_MAX, build_payloads
from ledger.submission import Submission

ITEMS_MAX = 1_000
"""Items of one batch."""
PAGE_MAX = 1_000
"""Entries of one page."""
WRONG_MEMBERS_MAX = 20
"""Wrong members one answer lists; the rest shows when these are right."""


Shape = TypeVar("Shape", bound=Wire)


class ActorIn(Wire):
    """Who caused the effect."""

    id: Annotated[str, Field(**says(minLength=1, maxLength=TEXT_MAX))]
    kind: Literal["service", "human", "agent"]


class MoneyIn(Wire):
    """An amount as the merchant sees it; a string, so that no reader rounds it."""

    amount: Annotated[str, Field(**says(pattern=r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"))]
    currency: Annotated[str, Field(**says(pattern="^[A-Z][A-Z0-9]{2,11}$"))]
    flow: Literal["in", "out"]
    applied: str = absent(
        description="The amount in the currency of the corrected entry, where that is another."
    )


class ExternalIn(Wire):
    """An original that was recorded elsewhere."""

    system: Annotated[str, Field(**says(minLength=1, maxLength=SYSTEM_MAX))]
    ref: Annotated[str, Field(**says(minLength=1, maxLength=TEXT_MAX))]


class HandoffIn(Wire):
    """The point at which the effect became history."""

    point: Literal["executed", "settled", "notified", "exported", "period_closed", "manual"]


class EvidenceIn(Wire):
    """Where someone else says the same."""

    system: Annotated[str, Field(**says(minLength=1, maxLength=SYSTEM_MAX))]
    rel: Literal["transaction", "request", "webhook", "bank_line", "result", "document", "approval"]
    ref: Annotated[str, Field(**says(minLength=1, maxLength=TEXT_MAX))]
    digest: str = absent(description="SHA-256 in hexadecimal, or sha256:, sha384:, sha512:.")


class CauseIn(Wire):
    """What led to the effect."""

    kind: Literal["entry", "intent", "trace", "workflow", "case"]
    ref: Annotated[str, Field(**says(minLength=1, maxLength=TEXT_MAX))]


class ApprovalIn(Wire):
    """Who approved the effect before it was carried out, when, and the hash of what."""

    by: str
    at: Annotated[str, Field(**says(format="date-time"))]
    digest: str


class IntentIn(Wire):
    """The intent that was executed, and the hash of what had been promised."""

    id: Annotated[str, Field(**says(format="uuid"))]
    digest: str


class PayloadIn(Wire):
    """Words or a document, kept outside the hashed bytes: exactly one of json, text, base64."""

    name: Annotated[str, Field(**says(maxLength=PAYLOAD_NAME_MAX))]
    media_type: str = absent(maxLength=MEDIA_TYPE_MAX)
    json_: Any = Field(default=None, alias="json", description="Any JSON; kept as RFC 8785.")
    text: str = absent()
    base64: str = absent(contentEncoding="base64")
    data_subject: str = absent(
        maxLength=TEXT_MAX, description="Opaque id of the person it is about; never hashed."
    )


class SignatureIn(Wire):
    """The poster's own Ed25519 signature over the effect bytes."""

    key_id: str
    sig: Annotated[str, Field(**says(contentEncoding="base64"))]


class Words(Wire):
    """Members every effect and correction may have."""

    type: Annotated[str, Field(**says(maxLength=TYPE_MAX, examples=["card.capture", "email.sent"]))]
    occurred_at: Annotated[str, Field(**says(format="date-time"))]
    subject: str = absent(maxLength=TEXT_MAX)
    business_key: str = absent(maxLength=TEXT_MAX)
    actor: ActorIn = absent()
    handoff: HandoffIn = absent()
    evidence: list[EvidenceIn] = absent(maxItems=EVIDENCE_MAX)
    causes: list[CauseIn] = absent(maxItems=CAUSES_MAX)
    labels: dict[str, str] = absent(maxProperties=LABELS_MAX)
    observed: bool = absent(description="Reports what already happened elsewhere.")
    repeat_of: str = absent(format="uuid")
    approval: ApprovalIn = absent()
    intent: IntentIn = absent()
    payloads: list[PayloadIn] = absent(maxItems=PAYLOADS_MAX)
    note: str = absent(description="Short for a text payload named note.")
    signature: SignatureIn = absent()

    def to_submission(self, place: Mapping[str, str], rules: Rules, now: datetime) -> Submission:
        """
        The domain value.

        Args:
            place: Members of the effect that path and headers say: kind, key, corrects.
            rules: The rules of the ledger it is for.
            now: Wall clock.

        Raises:
            RejectedError: A rule that needs no history is broken; see `build_effect`.
        """
        words = self.model_dump(exclude_unset=True, by_alias=True)
        payloads = words.pop("payloads", ())
        note = words.pop("note", None)
        signature = words.pop("signature", None)
        return Submission(
            effect=build_effect({**words, **place}, rules=rules, now=now),
            payloads=build_payloads(payloads, note=note, screen=rules.screen)
            if payloads or note is not None
            else (),
            signature=None if signature is None else parse_signature(signature),
        )


class EffectIn(Words):
    """An effect at its hand-off."""

    money: MoneyIn = absent()
    reason: str = absent(maxLength=REASON_MAX)
    reversible_until: str = absent(format="date-time")


class CorrectionWords(Words):
    """Members every correction has."""

    reason: Annotated[str, Field(**says(maxLength=REASON_MAX, examples=["customer.request"]))]


class RefundIn(CorrectionWords):
    """Money taken back from an effect; the flow is the opposite one."""

    money: MoneyIn


class AdjustmentIn(CorrectionWords):
    """A signed change of an amount, or of something without an amount."""

    money: MoneyIn = absent()


class ExplanationIn(CorrectionWords):
    """Words about an entry, in a payload."""

    audience: str = absent(maxLength=REASON_MAX)


class CorrectionIn(CorrectionWords):
    """A correction that names what it corrects itself: exactly one of the three `corrects`."""

    kind: Literal["refund", "adjustment", "explanation"]
    corrects: str = absent(format="uuid")
    corrects_key: str = absent(maxLength=KEY_MAX)
    corrects_external: ExternalIn = absent()
    money: MoneyIn = absent()
    audience: str = absent(maxLength=REASON_MAX)


class ItemIn(Words):
    """One item of a batch: an effect or a correction, with its kind and its key."""

    kind: Literal["effect", "refund", "adjustment", "explanation"]
    key: Annotated[str, Field(**says(minLength=1, maxLength=KEY_MAX))]
    corrects: str = absent(format="uuid")
    corrects_key: str = absent(maxLength=KEY_MAX, description="May name an item before this one.")
    corrects_external: ExternalIn = absent()
    money: MoneyIn = absent()
    reason: str = absent(maxLength=REASON_MAX)
    audience: str = absent(maxLength=REASON_MAX)
    reversible_until: str = absent(format="date-time")


class BatchIn(Wire):
    """Up to 1,000 items; each is held to `ItemIn` by itself, so that one cannot fail another."""

    mode: Literal["atomic", "independent"]
    items: Annotated[
        list[Any],
        Field(
            **says(minItems=1, maxItems=ITEMS_MAX, items={"$ref": "#/components/schemas/ItemIn"})
        ),
    ]


class VerificationIn(Wire):
    """What to verify."""

    mode: Literal["full", "incremental"] = Field(default="full")
    checkpoint: str = absent(
        description="A checkpoint you trust, as a signed note: the history must extend it. "
        "Incremental verification begins at its size."
    )


BODIES: Mapping[Kind, type[Words]] = {
    Kind.EFFECT: EffectIn,
    Kind.REFUND: RefundIn,
    Kind.ADJUSTMENT: AdjustmentIn,
    Kind.EXPLANATION: ExplanationIn,
}
"""The body of a single write, by the kind its path says."""


def plain_submission(
    document: Any, place: Mapping[str, str], rules: Rules, now: datetime
) -> Submission | None:
    """
    What `document` asks for, where that is plain; None where it is to be held to its shape first.

    The grammar of the domain takes nothing that the shape of its kind would not, so the shape is
    needed to tell what is wrong, and for what is kept outside the effect.

    Args:
        document: The body of a write, or an item of a batch.
        place: Members of the effect that path and headers say; `document` may not say them too.
        rules: The rules of the ledger it is for.
        now: Wall clock.
    """
    if isinstance(document, dict) and document.keys().isdisjoint(_BESIDE | place.keys()):
        with suppress(RejectedError):
            return Submission(effect=build_effect({**document, **place}, rules=rules, now=now))
    return None


_BESIDE = frozenset({"payloads", "note", "signature"})


def parse_shape(model: type[Shape], document: Any) -> Shape:
    """
    `document` in the shape of `model`.

    Raises:
        MalformedEffectError: Another shape; the first member that is wrong is told, all are
            in `details`.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        wrong = wrong_members(error.errors(include_url=False, include_input=False))
        first = wrong[0]
        raise MalformedEffectError(
            f"{first['pointer'] or '/'} {first['says']}", pointer=first["pointer"], wrong=wrong
        ) from error


def wrong_members(errors: Iterable[Mapping[str, Any]], *, skip: int = 0) -> list[dict[str, str]]:
    """
    What pydantic found, as JSON pointers and words of ours; values are never repeated.

    Args:
        errors: As `ValidationError.errors()` gives them.
        skip: How many first parts of each location say only where in the request it was.
    """
    return [
        {"pointer": _pointer(error["loc"][skip:]), "says": _say(error)}
        for error in itertools.islice(errors, WRONG_MEMBERS_MAX)
    ]


def _pointer(location: Iterable[str | int]) -> str:
    pointer = ""
    for part in location:
        pointer = below(pointer, str(part)[:63])
    return pointer


def _say(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        return f"must be one of {error['ctx']['expected']}"
    return _SAYS.get(error["type"]) or error["msg"].replace("Input should", "must")


_SAYS = {
    "missing": "is required",
    "extra_forbidden": "is not a member known here",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


# ---- Answers --------------------------------------------------------------------------


class KeptPayloadOut(BaseModel):
    """A payload as its poster gets it back: the salt opens the commitment in the entry."""

    name: str
    media_type: str
    commitment: str
    salt: str | None = Field(description="Base64 of 16 bytes; null once erased.")
    erased: bool


class ReceiptOut(BaseModel):
    """Proves one entry, alone, offline, for ever."""

    level: Literal["unsigned", "log-signed", "cosigned", "timestamped"]
    proof: str | None = Field(description="C2SP tlog-proof@v1 text; null while unsigned.")
    entry: str = Field(description="The entry bytes, as a JSON string.")
    payloads: list[Any] = absent()
    registry: Any = absent(
        description="Receipt of the entry of `_registry` that recorded the checkpoint of `proof`."
    )
    timestamp: str = absent(
        description="Base64 of an RFC 3161 reply over text, blank line and the log's own signature "
        "lines of the checkpoint of `proof`."
    )


class RecordedOut(BaseModel):
    """The effect has its place; the commit is on disk."""

    id: str
    ledger: str
    seq: int
    entry_hash: str
    recorded_at: str
    world: Literal["RML3"]
    replayed: bool
    receipt: ReceiptOut = absent()
    payloads: list[KeptPayloadOut] = absent()


class ProvisionalOut(BaseModel):
    """What a dry run found. Nothing was written, reserved or numbered."""

    provisional: Literal[True]
    world: Literal["RML1"]
    ledger: str
    kind: str
    key: str
    corrects: str | None = Field(description="Id of the entry the correction would reach.")
    replays: str | None = Field(description="Id of the entry the key would replay.")
    effect: dict[str, Any] = Field(description="The effect as it would be hashed.")


class ProblemOut(BaseModel):
    """
    RFC 9457, with what a client should do about it.

    World, action, reason and severity are there unless the key was made with fewer `--labels`.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    world: Literal["RML1", "RML2", "RML3"] = absent()
    # The words stand once, with the errors; a type checker wants them written out here.
    action: Literal[ACTIONS] = absent()  # type: ignore[valid-type]
    reason: str = absent()
    severity: Literal["info", "warning", "error", "critical"] = absent()
    retryable: bool
    retry_after_ms: int | None
    details: dict[str, Any]
    trace_id: str


class BatchItemOut(BaseModel):
    """What became of one item, as if it had been sent alone."""

    index: int
    key: str | None
    status: int
    result: RecordedOut = absent()
    problem: ProblemOut = absent()


class BatchOut(BaseModel):
    """Per-item results, in the order of the request."""

    mode: Literal["atomic", "independent"]
    recorded: int
    replayed: int
    refused: int
    items: list[BatchItemOut]


class ProvisionalItemOut(BaseModel):
    """What a dry run found about one item."""

    index: int
    key: str | None
    status: int
    result: ProvisionalOut = absent()
    problem: ProblemOut = absent()


class ProvisionalBatchOut(BaseModel):
    """What a dry run found about each item."""

    provisional: Literal[True]
    world: Literal["RML1"]
    mode: Literal["atomic", "independent"]
    refused: int
    items: list[ProvisionalItemOut]


class EntryOut(BaseModel):
    """An entry of history."""

    id: str
    ledger: str
    seq: int
    entry_hash: str
    recorded_at: str
    world: Literal["RML3"]
    entry: dict[str, Any] = Field(description="The entry, member for member as hashed.")


class PageOut(BaseModel):
    """One page of entries."""

    entries: list[EntryOut]
    next_cursor: str | None = Field(description="Send it back for the next page; null at the end.")


class FeedOut(BaseModel):
    """Entries after a position, in order."""

    entries: list[EntryOut]
    next_after: int = Field(description="Send it as `after` to go on.")


class OpenedPayloadOut(BaseModel):
    """A payload with what opens its commitment."""

    name: str
    media_type: str
    commitment: str
    erased: bool
    salt: str | None = Field(description="Base64 of 16 bytes; null once erased.")
    base64: str | None = Field(description="The octets as kept; null once erased.")


class PayloadsOut(BaseModel):
    """The payloads of one entry."""

    seq: int
    payloads: list[OpenedPayloadOut]


class PositionOut(BaseModel):
    """What is left of an effect with money, as decimal texts in its own currency."""

    currency: str
    flow: Literal["in", "out"]
    original: str
    adjusted: str
    amount: str = Field(description="original + adjusted.")
    refunded: str
    held: str = Field(description="Promised to open intents.")
    remaining: str = Field(description="Never below zero: what facts took beyond it is excess.")
    excess: str


class StandingOut(BaseModel):
    """What adjustments without money say: a recalled e-mail, an amended contract."""

    state: Literal["as-recorded", "amended"]
    amendments: int
    latest: dict[str, Any] | None


class RollbackOut(BaseModel):
    """What can still be undone, until when, by whom, and what cannot."""

    as_of: str
    reversible_until: str | None
    open: bool
    can: list[dict[str, Any]]
    cannot: list[dict[str, Any]]


class StoryEntryOut(BaseModel):
    """An entry as a story tells it."""

    id: str
    ledger: str
    seq: int
    entry_hash: str
    recorded_at: str
    entry: dict[str, Any]


class StoryCorrectionOut(StoryEntryOut):
    """A correction, and where it stands."""

    corrects: str
    depth: int = Field(description="1 where it corrects the original, 2 where a correction, ...")
    amount_now: str | None = absent(
        description="What a refund or adjustment comes to after its own adjustments."
    )


class StoryOut(BaseModel):
    """An effect, its corrections, and what they leave of it."""

    world: Literal["RML3"]
    ledger: str
    id: str
    kind: str
    type: str
    unlinked: bool = Field(description="Its original was recorded elsewhere.")
    original: StoryEntryOut
    position: PositionOut | None
    standing: StandingOut
    rollback: RollbackOut
    corrections: list[StoryCorrectionOut]
    explanations: list[StoryCorrectionOut]


class VerificationProgressOut(BaseModel):
    """How far a verification has come."""

    checked: int
    size: int


class VerificationOut(BaseModel):
    """A verification: how it stands, and what it found."""

    id: str
    ledger: str
    mode: Literal["full", "incremental"]
    state: Literal["running", "done", "failed"]
    progress: VerificationProgressOut
    report: dict[str, Any] | None = Field(
        description="Verdicts `tamper`, `completeness` and `time`, the first bad entry, all "
        "findings, and what was not checked. Null while it runs; `{error}` where it failed."
    )


class StatementOut(BaseModel):
    """What the service says it found when it verified a ledger last."""

    statement: dict[str, Any] = Field(
        description="Origin, size and root, the verdicts, the first bad entry, and what was not "
        "checked."
    )
    note: str = Field(
        description="The same, signed by the ledger's key: a C2SP signed note. "
        "`effect-ledger verify` reads it offline."
    )


class InclusionOut(BaseModel):
    """Proof that an entry is in the tree of `size` entries (RFC 9162 Section 2.1.3)."""

    seq: int
    size: int
    entry_hash: str
    root: str
    proof: list[str] = Field(description="Sibling hashes in hexadecimal, from the leaf upwards.")


class ConsistencyOut(BaseModel):
    """Proof that the tree of `to` extends the tree of `from` (RFC 9162 Section 2.1.4)."""

    from_: int = Field(alias="from")
    to: int
    from_root: str
    to_root: str
    proof: list[str] = Field(description="Hashes in hexadecimal.")


class LedgerOut(BaseModel):
    """What is fixed about a ledger, and its size."""

    ledger: str
    origin: str
    vkey: str = Field(description="C2SP verifier key that signs its checkpoints.")
    keys: list[str] = Field(
        description="Every key that ever signed them, oldest first; `until SIZE` follows the one "
        "that was retired at that size."
    )
    units: dict[str, int]
    time_zone: str
    public_log: bool
    size: int


class HealthOut(BaseModel):
    """Whether this process runs, or can serve."""

    status: Literal["ok", "unavailable"]


class ReadyOut(HealthOut):
    """Whether this process can serve, and what an operator should look at."""

    quorum_age_s: float | None
    """Seconds since the ledger whose witnesses were silent for longest had its quorum; null where
    nothing is witnessed."""
    timestamp_age_s: float | None
    """Seconds since an authority last timestamped the registry; null where none ever did."""
    ledgers_stopped: int
    """Ledgers that take no writes until a person has looked."""
    verification_age_s: float | None
    """Seconds since the ledger that was not verified for longest was; null before the first."""
    ledgers_bad: int
    """Ledgers whose newest verification found something, acknowledged or not."""


MODELS: tuple[type[BaseModel], ...] = (
    EffectIn,
    RefundIn,
    AdjustmentIn,
    ExplanationIn,
    CorrectionIn,
    ItemIn,
    BatchIn,
    VerificationIn,
    RecordedOut,
    ProvisionalOut,
    ProblemOut,
    BatchOut,
    ProvisionalBatchOut,
    EntryOut,
    PageOut,
    FeedOut,
    PayloadsOut,
    ReceiptOut,
    StoryOut,
    VerificationOut,
    StatementOut,
    InclusionOut,
    ConsistencyOut,
    LedgerOut,
    HealthOut,
    ReadyOut,
)
"""What the OpenAPI document describes."""

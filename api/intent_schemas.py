"""
Schemas of intents: what their requests and answers look like on the wire.

As in `api.schemas`, models of requests hold the shape and hand the words on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.answer_schemas import (
    RecordedOut,
)
from api.schemas import (
    ActorIn,
    CauseIn,
    EvidenceIn,
    HandoffIn,
    MoneyIn,
    PayloadIn,
)
from api.wire import Wire, absent, says
from ledger.effect import (
    CAUSES_MAX,
    EVIDENCE_MAX,
    KEY_MAX,
    LABELS_MAX,
    REASON_MAX,
    TEXT_MAX,
    TYPE_MAX,
)
from ledger.forms.payload import PAYLOADS_MAX

StateWord = Literal["promised", "executing", "handed_off", "cancelled", "failed", "unknown"]
Token = Annotated[int, Field(description="The newest fencing token you were given.")]


class PromiseIn(Wire):
    """An effect that is about to be tried; what is known only afterwards is said by the steps."""

    kind: Literal["effect", "refund"] = absent(
        description="effect, or refund: a refund names what it corrects, and holds its remainder."
    )
    type: Annotated[str, Field(**says(maxLength=TYPE_MAX, examples=["card.capture"]))]
    answer_by: Annotated[str, Field(**says(format="date-time"))]
    on_silence: Literal["ask", "escalate"] = absent(
        description="What to do about an unknown outcome: ask the provider in office hours, or "
        "wake a person. ask, without."
    )
    approval_required: bool = absent(
        description="A person has to approve exactly this content before it is started."
    )
    subject: str = absent(maxLength=TEXT_MAX)
    business_key: str = absent(
        maxLength=TEXT_MAX,
        description="What it is, such as invoice/123: nobody else may promise or record it "
        "while this is open.",
    )
    actor: ActorIn = absent()
    money: MoneyIn = absent()
    corrects: str = absent(format="uuid")
    corrects_key: str = absent(maxLength=KEY_MAX)
    reason: str = absent(maxLength=REASON_MAX)
    causes: list[CauseIn] = absent(maxItems=CAUSES_MAX)
    labels: dict[str, str] = absent(maxProperties=LABELS_MAX)
    repeat_of: str = absent(
        format="uuid", description="The entry or intent that has the business key already."
    )


class ExecutionIn(Wire):
    """What happens to the execution. Fencing tokens and evidence make it safe to believe."""

    step: Literal["started", "result", "error"]
    token: Token
    executor: str = absent(
        maxLength=TEXT_MAX, description="With `started`: the worker or run that begins."
    )
    takeover: bool = absent(
        description="With `started`: execute in place of whoever started before. Their token is "
        "worth nothing from then on; use the provider's own idempotency key."
    )
    evidence: list[EvidenceIn] = absent(
        minItems=1,
        maxItems=EVIDENCE_MAX,
        description="Required with `result`: where the provider says that it happened.",
    )
    occurred_at: str = absent(
        format="date-time", description="With `result`: when it happened; now, without."
    )
    outcome: Literal["failed", "unknown"] = absent(
        description="Required with `error`. failed: it certainly did not happen. unknown: "
        "anything else, such as a timeout."
    )
    reason: str = absent(maxLength=REASON_MAX)


class ApprovalOfIn(Wire):
    """A person's approval of exactly this content."""

    digest: Annotated[str, Field(**says(pattern="^[0-9a-f]{64}$"))] = Field(
        description="`content_digest` of the intent, as it was looked at."
    )


class CancellationIn(Wire):
    """It will not be tried. Only before execution has started."""

    token: Token
    reason: str = absent(maxLength=REASON_MAX)


class StatementIn(Wire):
    """
    A person's signed statement of what became of it.

    The signature is Ed25519, by a key that is enrolled for the caller, over
    `effect-ledger/statement/v1`, a line end, and the canonical JSON of
    `{digest, intent, ledger, outcome}`.
    """

    digest: Annotated[str, Field(**says(pattern="^[0-9a-f]{64}$"))] = Field(
        description="SHA-256 of the words, which stay with you."
    )
    key_id: str
    sig: Annotated[str, Field(**says(contentEncoding="base64"))]


class ConclusionIn(Wire):
    """
    What became of it, by the word of somebody who knows.

    Conclusive are a `transaction` (the provider's id), a `bank_line`, a `webhook` or `result`
    with its digest, and a signed statement; without one of them it is refused.
    """

    outcome: Literal["executed", "not_executed"]
    evidence: list[EvidenceIn] = absent(minItems=1, maxItems=EVIDENCE_MAX)
    occurred_at: str = absent(format="date-time")
    statement: StatementIn = absent()


class HandOverIn(Wire):
    """The intent becomes an entry. What was promised need not be said again."""

    token: Token
    occurred_at: str = absent(
        format="date-time", description="When it happened; what the result said, without."
    )
    money: MoneyIn = absent(
        description="Where it came to another amount than was promised; an approval of the "
        "promise is void then."
    )
    evidence: list[EvidenceIn] = absent(maxItems=EVIDENCE_MAX)
    handoff: HandoffIn = absent()
    payloads: list[PayloadIn] = absent(maxItems=PAYLOADS_MAX)
    note: str = absent(description="Short for a text payload named note.")


class ApprovalOut(BaseModel):
    """Who approved, when, and the digest of what."""

    by: str
    at: str
    digest: str


class HeldOut(BaseModel):
    """What a promised refund keeps of an entry: others find this much less remaining."""

    entry: str
    amount: str = Field(description="In the currency of that entry.")
    currency: str


class IntentEventOut(BaseModel):
    """One step, exactly as the digest covers it."""

    number: int
    step: str
    at: str
    by: str
    key: str
    token: int | None = Field(description="The fencing token that was shown.")
    said: dict[str, Any]


class IntentLineOut(BaseModel):
    """An intent as it is listed."""

    id: str
    key: str
    world: Literal["RML2", "RML3"]
    state: StateWord = Field(description="unknown also where `answer_by` passed in silence.")
    outcome: Literal["executed", "not_executed"] | None = Field(
        description="executed and state executing: it waits for its hand-off."
    )
    kind: str
    type: str
    subject: str | None
    business_key: str | None
    money: dict[str, str] | None
    on_silence: Literal["ask", "escalate"]
    promised_by: str
    promised_at: str
    answer_by: str
    age_s: float = Field(description="Since the promise.")
    answer_in_s: float = Field(description="Until `answer_by`; below zero once past.")


class IntentOut(IntentLineOut):
    """An intent with its events."""

    token: int = Field(description="Fencing token: show it with the next step.")
    replayed: bool = absent()
    provisional: Literal[True] = absent(description="A dry run: nothing was written.")
    content: dict[str, Any]
    content_digest: str = Field(
        description="SHA-256 of `effect-ledger/promise/v1`, a line end, and the canonical "
        "content: what an approval is of."
    )
    digest: str = Field(
        description="SHA-256 of `effect-ledger/intent/v1`, a line end, and the canonical JSON of "
        "each event before the hand-off with a line end: what the entry carries."
    )
    approval_required: bool
    approval: ApprovalOut | None
    held: HeldOut | None
    evidence: list[dict[str, str]]
    entry: str | None = Field(description="Id of the entry it became.")
    events: list[IntentEventOut]


class IntentNamedOut(BaseModel):
    """The intent as its entry names it."""

    id: str
    digest: str


class HandedOffOut(RecordedOut):
    """The intent is an entry now."""

    intent: IntentNamedOut


class IntentPageOut(BaseModel):
    """One page, oldest promise first."""

    intents: list[IntentLineOut]
    next_cursor: str | None


class PagingRuleOut(BaseModel):
    """One rule, and whether it fires for what was asked about."""

    name: str
    world: Literal["RML1", "RML2", "RML3"]
    at_night: bool
    when: str
    fires: bool


class PagingOut(BaseModel):
    """Who would be called, and why."""

    at: str
    world: Literal["RML1", "RML2", "RML3"]
    rule: str | None = Field(description="The first rule that fires; it decides.")
    pages: Literal["now", "in_office_hours", "nobody"]
    is_office_hour: bool
    why: str
    rules: list[PagingRuleOut]


INTENT_MODELS: tuple[type[BaseModel], ...] = (
    PromiseIn,
    ExecutionIn,
    ApprovalOfIn,
    CancellationIn,
    ConclusionIn,
    HandOverIn,
    IntentOut,
    IntentPageOut,
    HandedOffOut,
    PagingOut,
)
"""What the OpenAPI document describes of intents."""

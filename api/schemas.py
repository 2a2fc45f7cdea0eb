"""
Schemas: what requests look like on the wire.

They hold the shape (names and JSON types of members) and hand the words on; what the words must
say is for `ledger.effect` and `ledger.forms.payload`, which also know the limits that the models
only publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

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
from ledger.errors import RejectedError
from ledger.forms.names import PAYLOAD_NAME_MAX
from ledger.forms.payload import MEDIA_TYPE_MAX, PAYLOADS_MAX, build_payloads
from ledger.submission import Submission

ITEMS_MAX = 1_000
"""Items of one batch."""
PAGE_MAX = 1_000
"""Entries of one page."""


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


MODELS: tuple[type[BaseModel], ...] = (
    EffectIn,
    RefundIn,
    AdjustmentIn,
    ExplanationIn,
    CorrectionIn,
    ItemIn,
    BatchIn,
    VerificationIn,
)
"""What the OpenAPI document describes of requests."""

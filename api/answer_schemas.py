"""
Answer schemas: what answers look like on the wire.

They describe; they do not build.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.problems import ACTIONS
from api.wire import absent


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
    # A tuple that is computed: pydantic reads it, a type checker cannot.
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
    makes_way: bool = Field(
        description="Whether it holds back for writers: it takes longer then, and goes on."
    )


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


ANSWER_MODELS: tuple[type[BaseModel], ...] = (
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
"""What the OpenAPI document describes of answers."""

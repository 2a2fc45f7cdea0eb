"""Shapes of the auditor's room: closes of periods, and bundles that are taken away."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.wire import Wire, absent


class PeriodCloseIn(Wire):
    """How to close the period that the path names."""

    reviewer: str = absent("Principal that reviewed the close; another than the caller.")
    from_at: str = absent("First moment of a period whose name is not of the calendar.")
    to_at: str = absent("First moment after it.")
    supersedes: str = absent("Id of the close that this one corrects: the ledger's newest.")


class SumOut(BaseModel):
    """Money that entries of one kind moved, as it was recorded."""

    kind: str
    currency: str
    flow: Literal["in", "out"]
    count: int
    amount: str


class ReviewOut(BaseModel):
    """A close that another principal confirmed with a key of their own."""

    reviewer: str
    seq: int
    id: str
    entry_hash: str
    recorded_at: str
    receipt: dict[str, Any] | None = Field(
        default=None, description="Proves it without the service; where one period is asked for."
    )


class PeriodOut(BaseModel):
    """A close as it stands in its ledger."""

    id: str
    ledger: str
    seq: int = Field(description="Where the close itself stands.")
    entry_hash: str
    recorded_at: str
    state: Literal["closed", "superseded"]
    superseded_by: str | None
    name: str
    from_at: str
    to_at: str
    from_seq: int = Field(description="First entry: the close before it, which this one follows.")
    to_seq: int = Field(description="Last entry; one below from_seq where there is none.")
    root: str = Field(description="Root hash over all entries up to to_seq.")
    counts: dict[str, int]
    sums: list[SumOut] | None = Field(
        default=None, description="By kind; absent where they are more than 200 lines."
    )
    totals_hash: str = Field(description="SHA-256 over the totals by type, which a bundle shows.")
    preparer: str
    reviewer: str | None = Field(default=None, description="As the preparer states.")
    supersedes: str | None = None
    closed_before: list[str] = Field(
        description="Later periods that were closed before this one: what was recorded until then "
        "is theirs, whenever it occurred."
    )
    reviews: list[ReviewOut] = Field(description="Who confirmed it with a key of their own.")
    checkpoint: str | None = Field(description="Signed note over it; null until it is signed.")
    replayed: bool | None = Field(default=None, description="It stood there already.")


class PeriodsOut(BaseModel):
    """Every close of a ledger, oldest first."""

    world: Literal["RML3"]
    periods: list[PeriodOut]


class ExportIn(Wire):
    """Which bundle to make."""

    period: str = Field(description="Name of a closed period, or id of a close.")
    filter: dict[str, Any] = absent(
        "Some entries instead of all: `type`, `poster`, `subject`, `seqs` (a sample of up to "
        "10,000). Each then has its proof, and completeness is not claimed."
    )
    payloads: bool = Field(
        default=True,
        description="False leaves payloads out (`withheld`). Without scope `payload:read` they "
        "are left out anyway (`denied`).",
    )


class ExportProgressOut(BaseModel):
    """How far an export has come."""

    done: int
    entries: int


class CustodyOut(BaseModel):
    """Where it is told who took a bundle."""

    act: str
    at: str | None
    principal: str
    key_id: str
    registry_seq: int | None = Field(description="Null where `_registry` could not take it.")
    digest: str


class TimestampOut(BaseModel):
    """What a timestamp authority said of the manifest; no part of what was signed."""

    at: str | None = None
    authority: str | None = None
    token: str | None = Field(default=None, description="RFC 3161 reply, base64.")
    error: str | None = Field(default=None, description="Why there is none.")


class BundleOut(BaseModel):
    """A bundle that was made."""

    name: str
    bytes: int
    bundle_hash: str = Field(description="SHA-256 of the packed file; also its ETag.")
    manifest_hash: str
    entries: int
    complete: bool = Field(description="False for a selection.")
    omissions: dict[str, int] = Field(description="Payloads left out, by reason.")
    available: bool = Field(description="Kept for a day; made again, it has the same bytes.")
    custody: list[CustodyOut]
    timestamp: TimestampOut | None = Field(description="Null where no authority is asked.")


class ExportOut(BaseModel):
    """An export: how it stands, and what it made."""

    id: str
    ledger: str
    principal: str
    state: Literal["running", "done", "failed"]
    period: str
    close: str
    filter: dict[str, Any]
    payloads: Literal["shown", "withheld", "denied"]
    progress: ExportProgressOut
    bundle: BundleOut | None
    error: str | None


AUDIT_MODELS: tuple[type[BaseModel], ...] = (
    PeriodCloseIn,
    PeriodOut,
    PeriodsOut,
    ExportIn,
    ExportOut,
)
"""What the OpenAPI document describes of this room."""

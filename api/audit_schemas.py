"""Shapes of the auditor's room: closes of periods, and bundles that are taken away."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.wire import Wire


def _absent(description: str) -> Any:
    # Absent is not null: a member that is there has its type.
    def publish(published: dict[str, Any]) -> None:
        published.pop("default", None)

    return Field(default=None, description=description, json_schema_extra=publish)


class PeriodCloseIn(Wire):
    """How to close the period that the path names."""

    reviewer: str = _absent("Principal that reviewed the close; another than the caller.")
    from_at: str = _absent("First moment of a period whose name is not of the calendar.")
    to_at: str = _absent("First moment after it.")
    supersedes: str = _absent("Id of the close that this one corrects: the ledger's newest.")


class SumOut(BaseModel):
    """Money that entries of one kind moved, as it was recorded."""

    kind: str
    currency: str
    flow: Literal["in", "out"]
    count: int
    amount: str


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
    reviewer: str | None = None
    supersedes: str | None = None
    checkpoint: str | None = Field(description="Signed note over it; null until it is signed.")
    replayed: bool | None = Field(default=None, description="It stood there already.")


class PeriodsOut(BaseModel):
    """Every close of a ledger, oldest first."""

    world: Literal["RML3"]
    periods: list[PeriodOut]


AUDIT_MODELS: tuple[type[BaseModel], ...] = (PeriodCloseIn, PeriodOut, PeriodsOut)
"""What the OpenAPI document describes of this room."""

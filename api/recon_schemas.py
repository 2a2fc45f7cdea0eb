"""Shapes of finance's room."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.wire import Wire, absent


class SourceIn(Wire):
    """A source: where files come from, how they are read, by which rules they are compared."""

    name: str
    provider: str = Field(description="As `stripe`, or the bank: the `system` of evidence.")
    iana_tz: str = Field(description="Zone in which the report counts days.")
    side: Literal["provider", "bank"] = absent("Which side of a reconciliation it is.")
    report_type: str = absent("Format its files must have; absent takes any.")
    account_ref: str = absent("The account where a file names none; else what it must name.")
    currency: str = absent("The only currency.")
    unit_rule: Literal["iso_4217", "hundredths"] = absent("What an amount without a mark is.")
    decimal_separator: str = absent("Of reports in which it is a choice.")
    date_order: str = absent("dmy, mdy or ymd where a report leaves it open.")
    exponents: dict[str, int] = absent("Currency -> decimals, where they are not ISO 4217's.")
    mapping: dict[str, Any] | str = absent(
        "How a CSV of no known format is read: `version`, `date`, and `amount` or `debit` and "
        "`credit`, by headings; `effect-ledger recon sources --help` lists all members."
    )
    windows: dict[str, dict[str, int]] = absent("Kind -> before, after, late_after.")
    tolerances: list[dict[str, Any]] = absent("Differences that are accepted.")
    fee_caps: dict[str, int] = absent("Currency -> largest charge that needs no look.")
    holidays: list[str] = absent("Days on which banks do not book.")
    approval_above: dict[str, int] = absent(
        "Currency -> minor units up to which one person decides alone; none where absent."
    )


class OverrideIn(Wire):
    """Why a quarantined file may count."""

    reason: str = Field(min_length=1, max_length=2_000)


class DiscardIn(Wire):
    """Why a quarantined file is set aside."""

    reason: str = Field(min_length=1, max_length=2_000)
    superseded_by: str = absent("Id of the import that says what this file should have said.")


class RunIn(Wire):
    """What to reconcile."""

    period: str = Field(description="A year, quarter, month or day, such as 2026-03.")
    sources: list[str] = absent("Names; absent takes all of the ledger's.")
    today: str = absent("The day of the question; absent, the service's day in UTC.")


class EventIn(Wire):
    """One act on a break."""

    action: Literal["assign", "propose", "reject", "approve"]
    to: str = absent("assign: principal that gets it.")
    resolution: Literal["entry", "explanation"] = absent("propose: how it is closed.")
    note: str = absent("Words; kept as a payload of the entry where there is one.")
    reason: str = absent("Dotted code of an explanation.")
    entry: dict[str, Any] = absent("propose: the entry, where another than the draft is meant.")


class MatchIn(Wire):
    """Items that belong together, by their keys."""

    items: list[str] = Field(min_length=2, max_length=1_000)
    note: str = Field(min_length=1, max_length=2_000)


class UnmatchIn(Wire):
    """Why a match is taken apart, and in which run it stands."""

    run: str
    reason: str = Field(min_length=1, max_length=2_000)


class SignoffIn(Wire):
    """Which run's statement is signed."""

    run: str
    note: str = absent("Words of the reviewer.")
    untied: bool = absent("Sign it also where it is not tied, with the reasons why it is not.")


class ReconOut(BaseModel):
    """An answer of finance's room; what else it has depends on what was asked."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    state: str | None = Field(default=None, description="Of a run: running, done or failed.")
    tied: bool | None = Field(default=None, description="Of a run: whether nothing remains.")
    untied_because: list[str] | None = Field(
        default=None, description="Of a run: what stands in the way, in words."
    )
    status: str | None = Field(default=None, description="Of an import or a break.")
    replayed: bool | None = Field(default=None, description="It was answered before.")


class ReconPageOut(BaseModel):
    """One page of a listing."""

    items: list[dict[str, Any]]
    next_cursor: str | None


RECON_MODELS: tuple[type[BaseModel], ...] = (
    SourceIn,
    OverrideIn,
    DiscardIn,
    RunIn,
    EventIn,
    MatchIn,
    UnmatchIn,
    SignoffIn,
    ReconOut,
    ReconPageOut,
)
"""What the OpenAPI document describes of this room."""

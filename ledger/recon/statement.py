"""
Statement: what a provider's report or a bank's statement says, in one shape for all formats.

Values only. How a file becomes these values is for `reading` and `formats`; where they are
kept, and what they are compared with, is for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum


class LineKind(StrEnum):
    """What a line is, from the merchant's point of view."""

    PAYMENT = "payment"
    PAYMENT_REVERSED = "payment_reversed"
    """A payment undone by the provider, not by the merchant's refund."""
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    CHARGEBACK = "chargeback"
    CHARGEBACK_REVERSED = "chargeback_reversed"
    FEE = "fee"
    PAYOUT = "payout"
    PAYOUT_FAILED = "payout_failed"
    RESERVE = "reserve"
    """Money held back by the provider, or released."""
    PARTIAL_CAPTURE_REVERSAL = "partial_capture_reversal"
    """The part of an authorisation that was never captured. Not a refund, whatever its type."""
    CONVERSION = "conversion"
    """One half of a currency conversion."""
    INTERNAL_TRANSFER = "internal_transfer"
    """Between the merchant's own accounts."""
    MOVEMENT = "movement"
    """Money on a bank account, of which the bank does not say what it was for."""
    RETURNED = "returned"
    """A bank payment that came back; the sign says which way the money went."""
    STATUS = "status"
    """Something happened and no money moved."""
    OTHER = "other"
    """None of these. A person looks at it."""


class Severity(StrEnum):
    """What a finding does to its file."""

    ERROR = "error"
    """The file is rejected or quarantined."""
    WARNING = "warning"
    """The file is taken; someone should know."""
    INFO = "info"


class FindingCode(StrEnum):
    """What was found, as a stable word."""

    UNRECOGNISED = "unrecognised"
    """No format known here. Rejected."""
    WRONG_REPORT = "wrong_report"
    """A known report that cannot be reconciled, or not the source's. Rejected."""
    MALFORMED = "malformed"
    """The structure or encoding is broken. Rejected."""
    COLUMN_MISSING = "column_missing"
    AMOUNT_UNREADABLE = "amount_unreadable"
    AMOUNT_TOO_PRECISE = "amount_too_precise"
    """More decimals than the currency has. Rejected, never rounded."""
    CURRENCY_UNKNOWN = "currency_unknown"
    DATE_UNREADABLE = "date_unreadable"
    ZONE_CONTRADICTED = "zone_contradicted"
    """The file names another time zone than its source. Rejected."""
    LINE_INCONSISTENT = "line_inconsistent"
    """A line disagrees with itself, as in gross - fee = net. Rejected."""
    NO_STATEMENT = "no_statement"
    """Right structure and nothing in it. Rejected: silence is no statement."""
    TRUNCATED = "truncated"
    """The end that the format requires is missing. Rejected."""
    BALANCE_DISAGREES = "balance_disagrees"
    """Opening + lines is not closing. Quarantined, with the difference."""
    TOTAL_DISAGREES = "total_disagrees"
    """A stated sum is not the sum of the lines. Quarantined, with the difference."""
    COUNT_DISAGREES = "count_disagrees"
    """A stated number of lines is another one. Quarantined."""
    ACCOUNT_DISAGREES = "account_disagrees"
    """The file is of another account or currency than its source. Quarantined."""
    UNKNOWN_KIND = "unknown_kind"
    """A code known to nobody here: kept and counted; the statement is not called complete."""
    COMPLETENESS_NOT_PROVABLE = "completeness_not_provable"
    """Nothing in the file would betray a missing part. It never covers a date."""
    UNIT_UNUSUAL = "unit_unusual"
    """A currency without cents, where providers differ on the unit."""
    NO_LINES = "no_lines"
    """A statement of a period in which nothing happened."""
    DATE_IMPLAUSIBLE = "date_implausible"
    DATE_REPAIRED = "date_repaired"
    """A day that no calendar has, such as 30 February, read as the last day of its month."""
    DEVIATION = "deviation"
    """Not as the format's standard has it, and read all the same."""
    NOT_BOOKED = "not_booked"
    """Announced or pending: shown, and not counted as money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a reader of the file should know."""

    severity: Severity
    code: FindingCode
    locator: str
    """Where: `line 12`, an XPath, or empty for the file as a whole."""
    message: str
    """For a person, with both sides where two things disagree. Never personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a statement; amounts are signed: plus is in the merchant's favour."""

    ordinal: int
    """Zero-based, within its statement."""
    locator: str
    """Where it stands in the file: `line 12`, or an XPath."""
    identity_key: str
    """
    The provider's own id of the line, prefixed `id:`, or a hash of what it says, prefixed
    `sha256:`. Two real lines may share it.
    """
    occurrence: int
    """One-based: the how-manieth line of this identity within its statement."""
    kind: LineKind
    amount_minor: int
    """Gross, in the smallest unit of `currency`."""
    currency: str
    """The currency of the balance that moved."""
    fee_minor: int = 0
    """What the provider took off this line; plus is a cost."""
    net_minor: int
    """What the balance moved by: amount_minor - fee_minor."""
    customer_amount_minor: int | None = None
    """What the customer saw, where it was in another currency; signed like `amount_minor`."""
    customer_currency: str | None = None
    booked_date: date
    """In `booked_tz`, as the provider counts days."""
    booked_tz: str
    """IANA name, or the file's fixed offset such as `-08:00`."""
    booked_at_utc: datetime | None = None
    """Where the file knows the time of day. Aware, UTC."""
    value_date: date | None = None
    """When the money counts; for a provider, when it becomes available."""
    provider_txn_id: str | None = None
    """The provider's id of what happened: for a refund, of the refund itself."""
    provider_ref_id: str | None = None
    """The provider's id of the original it concerns."""
    merchant_ref: str | None = None
    """The merchant's own reference, as it was given to the provider or the bank."""
    batch_ref: str | None = None
    """The payout, batch or transfer that this line is part of."""
    bank_ref: str | None = None
    """The bank's reference, or a trace that the bank shows as well."""
    remittance: str | None = None
    """The text that came with a bank transfer."""
    reason_code: str | None = None
    """The provider's or bank's code for why, as in a return or a chargeback."""
    raw: Mapping[str, str] = field(default_factory=dict)
    """What the file says, by its own names; personal columns are left out."""
    is_cash: bool = True
    """Whether the balance moved. Pending lines, notifications and statuses do not count."""
    supersedes: str | None = None
    """Identity key of the earlier line that the bank says this one replaces or deletes."""


class StatementRole(StrEnum):
    """What a statement may be used for."""

    BOOKED = "booked"
    """The account's record: its lines are the money."""
    DETAIL = "detail"
    """Says more about money that a booked statement counts. Its lines are no cash."""
    STATUS = "status"
    """Says what became of payments. Its lines are no cash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one file says of one account in one currency."""

    account_ref: str
    currency: str
    role: StatementRole = StatementRole.BOOKED
    statement_ref: str | None = None
    """The statement's own id or number, where it has one."""
    sequence: int | None = None
    """Its number in the account's series: a gap is a missing statement."""
    page: int | None = None
    period_from: date | None = None
    period_to: date | None = None
    """Inclusive. As the file states it; else the days of its first and last line."""
    stated_from: date | None = None
    stated_to: date | None = None
    """The same, as far as the file itself or a control states it."""
    opening_minor: int | None = None
    closing_minor: int | None = None
    control_totals: Mapping[str, str] = field(default_factory=dict)
    """What the file says of itself besides its balances, by the format's own names."""
    lines: tuple[Line, ...]
    complete: bool
    """
    Proved: the file's own balances or totals agree with its lines, no line is of an unknown
    kind, and a missing part would show. Only such a statement covers a date.
    """

    @property
    def cash_minor(self) -> int:
        """What the lines moved the balance by."""
        return sum(line.net_minor for line in self.lines if line.is_cash)


class ReadingStatus(StrEnum):
    """What may be done with a file."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"
    """Readable, and at odds with itself or its source. Used only after a person says why."""
    REJECTED = "rejected"
    """Not readable whole. It has no statements, rather than half of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What became of one file."""

    format: str
    """As `camt.053`, `mt940`, `stripe.itemized`; empty where it was not recognised."""
    version: str
    """Of the format, as the file states it; may be empty."""
    parser: str
    """Which program read it, such as `mt940/1`: another number may read the same bytes anew."""
    status: ReadingStatus
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]

    @property
    def line_count(self) -> int:
        """Lines in all statements."""
        return sum(len(statement.lines) for statement in self.statements)

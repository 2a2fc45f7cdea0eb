"""
Stripe's itemized reports: payout reconciliation, balance change from activity, ending balance.

Columns are chosen by whoever downloads the report, so they are read by name. The report has no
total: only figures from elsewhere prove it complete. Source: Stripe's pages on report types and
reporting categories.
"""

from __future__ import annotations

import re
from datetime import UTC

from ledger.recon.draft import Draft, StatementDraft
from ledger.recon.formats.days import Days
from ledger.recon.formats.table import Row, heading, index, read_table
from ledger.recon.statement import FindingCode, LineKind

FORMAT = "stripe.itemized"
PARSER = "stripe/1"

REQUIRED = ("balance_transaction_id", "currency", "gross", "fee", "net", "reporting_category")
KINDS = {
    "charge": LineKind.PAYMENT,
    "charge_failure": LineKind.PAYMENT_REVERSED,
    "payment": LineKind.PAYMENT,
    "refund": LineKind.REFUND,
    "refund_failure": LineKind.REFUND_FAILED,
    # The API calls it a refund. Nobody was given money back.
    "partial_capture_reversal": LineKind.PARTIAL_CAPTURE_REVERSAL,
    "dispute": LineKind.CHARGEBACK,
    "dispute_reversal": LineKind.CHARGEBACK_REVERSED,
    "fee": LineKind.FEE,
    "network_cost": LineKind.FEE,
    "tax": LineKind.FEE,
    "payout": LineKind.PAYOUT,
    "payout_minimum_balance_hold": LineKind.RESERVE,
    "payout_minimum_balance_release": LineKind.RESERVE,
    "payout_reversal": LineKind.PAYOUT_FAILED,
    "advance": LineKind.OTHER,
    "advance_funding": LineKind.OTHER,
    "anticipation_repayment": LineKind.OTHER,
    "connect_collection_transfer": LineKind.RESERVE,
    "connect_reserved_funds": LineKind.RESERVE,
    "risk_reserved_funds": LineKind.RESERVE,
    "platform_earning": LineKind.OTHER,
    "platform_earning_refund": LineKind.OTHER,
    "topup": LineKind.INTERNAL_TRANSFER,
    "topup_reversal": LineKind.INTERNAL_TRANSFER,
    "transfer": LineKind.INTERNAL_TRANSFER,
    "transfer_reversal": LineKind.INTERNAL_TRANSFER,
    "other_adjustment": LineKind.OTHER,
}
KEPT = frozenset(
    {
        "reporting_category", "source_id", "charge_id", "payment_intent_id", "automatic_payout_id",
        "trace_id", "trace_id_status", "dispute_reason", "invoice_id", "invoice_number",
        "subscription_id", "payment_method_type", "charge_created_utc", "regulatory_tag",
        "automatic_payout_effective_at", "automatic_payout_effective_at_utc",
    }
)  # fmt: skip
METADATA = re.compile(
    r"(?:refund|payment|payout|transfer)_metadata\[(effect_id|order_id|reference)\]"
)
PAYOUTS = frozenset({LineKind.PAYOUT, LineKind.PAYOUT_FAILED})


def recognises(data: bytes) -> bool:
    """By two columns that every itemized report has, or those of the export that is refused."""
    names = set(heading(data))
    return {"balance_transaction_id", "gross"} <= names or _is_unified(names)


def read(data: bytes, draft: Draft) -> None:
    """Put each row in a statement of its currency."""
    names = heading(data)
    if _is_unified(set(names)):
        draft.error(
            FindingCode.WRONG_REPORT,
            "line 1",
            "this is the dashboard's payments export: it knows only how much of a charge was "
            "refunded in all, not each refund. Download an itemized report instead, such as "
            "payout reconciliation or balance change from activity",
        )
        return
    if not {"created", "created_utc"} & set(index(names)):
        draft.error(FindingCode.COLUMN_MISSING, "line 1", "no column 'created' or 'created_utc'")
    days = Days(draft)
    metadata = [name for name in names if METADATA.fullmatch(name)]
    statements: dict[str, StatementDraft] = {}
    for row in read_table(data, draft, REQUIRED):
        currency = row.get("currency").upper()
        statement = statements.get(currency)
        if statement is None:
            statement = statements[currency] = draft.statement(currency)
        _add(row, statement, draft, days, metadata)


def _is_unified(names: set[str]) -> bool:
    return {"id", "Amount Refunded", "Created date (UTC)"} <= names


def _add(
    row: Row, statement: StatementDraft, draft: Draft, days: Days, metadata: list[str]
) -> None:
    currency, locator = statement.currency, row.locator
    mark = draft.source.decimal_separator
    gross, fee, net = (
        draft.amount(row.get(name), currency, locator, name, decimal_separator=mark)
        for name in ("gross", "fee", "net")
    )
    if gross - fee != net and not draft.rejected:
        show = draft.show
        draft.error(
            FindingCode.LINE_INCONSISTENT,
            locator,
            f"gross {show(gross, currency)} - fee {show(fee, currency)} is not "
            f"net {show(net, currency)}",
        )
    if not row.get("balance_transaction_id"):
        draft.error(FindingCode.MALFORMED, locator, "no balance_transaction_id")
    category = row.get("reporting_category")
    kind = KINDS.get(category)
    if kind is None:
        statement.unknown_kind(category)
        kind = LineKind.OTHER
    utc, local = row.get("created_utc"), row.get("created")
    if utc:
        at = days.local(utc, locator, "created_utc").replace(tzinfo=UTC)
        booked = days.at(at)
    else:
        at = days.utc(days.local(local, locator, "created"))
        booked = days.day(local, locator, "created")
    available = row.get("available_on", "available_on_utc")
    customer_currency = row.get("customer_facing_currency").upper()
    differs = customer_currency not in ("", currency)
    seen = row.get("customer_facing_amount")
    original = row.text("charge_id")
    statement.add(
        identity=row.get("balance_transaction_id"),
        locator=locator,
        kind=kind,
        amount_minor=gross,
        fee_minor=fee,
        customer_amount_minor=draft.amount(
            seen, customer_currency, locator, "customer_facing_amount", decimal_separator=mark
        )
        if differs and seen
        else None,
        customer_currency=customer_currency if differs and seen else None,
        booked_date=booked,
        booked_tz=days.tz,
        booked_at_utc=at,
        value_date=days.day(available, locator, "available_on") if available else None,
        provider_txn_id=row.text("source_id"),
        provider_ref_id=original if original != row.text("source_id") else None,
        merchant_ref=row.text(*metadata) if metadata else None,
        batch_ref=row.text("automatic_payout_id")
        or (row.text("source_id") if kind in PAYOUTS else None),
        bank_ref=row.text("trace_id"),
        reason_code=row.text("dispute_reason"),
        raw=row.keep(KEPT),
    )

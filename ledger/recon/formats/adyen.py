"""
Adyen's settlement details report: what was settled, refunded and charged, in payout batches.

Amounts are unsigned, in a debit or a credit column. A batch that ends in its payout nets to
zero, which is what betrays a missing part. Source: Adyen's pages on the report and its journal
types.
"""

from __future__ import annotations

from ledger.recon.draft import Draft, StatementDraft
from ledger.recon.formats.days import Days
from ledger.recon.formats.table import Row, heading, read_table
from ledger.recon.statement import FindingCode, LineKind

FORMAT = "adyen.settlement_details"
PARSER = "adyen/1"

REQUIRED = (
    "Merchant Account", "Psp Reference", "Merchant Reference", "Creation Date", "TimeZone", "Type",
    "Modification Reference", "Gross Currency", "Gross Debit (GC)", "Gross Credit (GC)",
    "Net Currency", "Net Debit (NC)", "Net Credit (NC)", "Batch Number",
)  # fmt: skip
FEES = (
    "Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)", "Payment Fees (NC)",
)  # fmt: skip
KINDS = {
    "Settled": LineKind.PAYMENT,
    "Refunded": LineKind.REFUND,
    "RefundedReversed": LineKind.REFUND_FAILED,
    "Chargeback": LineKind.CHARGEBACK,
    "SecondChargeback": LineKind.CHARGEBACK,
    "ChargebackReversed": LineKind.CHARGEBACK_REVERSED,
    "Fee": LineKind.FEE,
    "MiscCosts": LineKind.FEE,
    "AuthorisationSchemeFee": LineKind.FEE,
    "PaymentCost": LineKind.FEE,
    "InvoiceDeduction": LineKind.FEE,
    "DepositCorrection": LineKind.RESERVE,
    "MerchantPayout": LineKind.PAYOUT,
    "InternalCompanyPayout": LineKind.INTERNAL_TRANSFER,
    "BankInstructionReturned": LineKind.PAYOUT_FAILED,
    "ManualCorrected": LineKind.OTHER,
    "MatchedStatement": LineKind.OTHER,
    "Balancetransfer": LineKind.OTHER,
    "BalanceTransfer": LineKind.OTHER,
}
WITHOUT_ORIGINAL = frozenset(
    {LineKind.FEE, LineKind.RESERVE, LineKind.PAYOUT, LineKind.PAYOUT_FAILED,
     LineKind.INTERNAL_TRANSFER, LineKind.OTHER}
)  # fmt: skip
KEPT = frozenset(
    {
        "Company Account", "Merchant Account", "Psp Reference", "Type", "Modification Reference",
        "Payment Method", "Payment Method Variant", "Exchange Rate", "Batch Number",
        "Modification Merchant Reference", "Booking Date", "Booking Date TimeZone",
        "Dispute Reference", "ARN", "Clearing Network", "Merchant Order Reference", *FEES,
    }
)  # fmt: skip


def recognises(data: bytes) -> bool:
    """By its columns of gross amounts."""
    return {"Psp Reference", "Type", "Gross Debit (GC)"} <= set(heading(data))


def read(data: bytes, draft: Draft) -> None:
    """Put each row in a statement of its batch and settlement currency."""
    days = Days(draft)
    batches: dict[tuple[str, str, str], StatementDraft] = {}
    for row in read_table(data, draft, REQUIRED):
        currency = row.get("Net Currency", "Gross Currency")
        place = (row.get("Merchant Account"), row.get("Batch Number"), currency)
        batch = batches.get(place)
        if batch is None:
            batch = batches[place] = draft.statement(
                currency, account_ref=place[0], statement_ref=place[1], locator=f"batch {place[1]}"
            )
            batch.sequence = draft.count(place[1], row.locator, "Batch Number")
        _add(row, batch, draft, days)
    for batch in batches.values():
        _close(batch)


def _close(batch: StatementDraft) -> None:
    """A batch that was paid out holds nothing afterwards; one that was not is not at its end."""
    if any(line.kind is LineKind.PAYOUT for line in batch.lines):
        batch.opening_minor = batch.closing_minor = 0


def _add(row: Row, batch: StatementDraft, draft: Draft, days: Days) -> None:
    currency, locator = batch.currency, row.locator
    gross_currency = row.get("Gross Currency")
    net = _side(row, draft, currency, "Net Debit (NC)", "Net Credit (NC)")
    fees = sum(
        draft.amount(cell, currency, locator, name) for name in FEES if (cell := row.get(name))
    )
    gross = net + fees
    seen = None
    if gross_currency in ("", currency):
        seen_gross = _side(row, draft, currency, "Gross Debit (GC)", "Gross Credit (GC)")
        # Rows of the provider's own, such as fees and payouts, have no gross side.
        if (row.get("Gross Debit (GC)", "Gross Credit (GC)")) and seen_gross != gross:
            show = draft.show
            draft.error(
                FindingCode.LINE_INCONSISTENT,
                locator,
                f"gross {show(seen_gross, currency)} - fees {show(fees, currency)} is not "
                f"net {show(net, currency)}",
            )
    else:
        seen = _side(row, draft, gross_currency, "Gross Debit (GC)", "Gross Credit (GC)")
    word = row.get("Type")
    kind = KINDS.get(word)
    if kind is None:
        batch.unknown_kind(word)
        kind = LineKind.OTHER
    created = days.local(row.get("Creation Date"), locator, "Creation Date")
    days.confirm(row.get("TimeZone"), created.year, locator)
    psp, modification = row.text("Psp Reference"), row.text("Modification Reference")
    original = psp if kind not in WITHOUT_ORIGINAL and kind is not LineKind.PAYMENT else None
    identity = f"{psp or ''}/{word}/{modification or ''}" if psp or modification else None
    batch.add(
        identity=identity,
        locator=locator,
        kind=kind,
        amount_minor=gross,
        fee_minor=fees,
        customer_amount_minor=seen,
        customer_currency=gross_currency if seen is not None else None,
        booked_date=created.date(),
        booked_tz=days.tz,
        booked_at_utc=days.utc(created, row.get("TimeZone")),
        provider_txn_id=psp if kind is LineKind.PAYMENT else modification or psp,
        provider_ref_id=original,
        merchant_ref=row.text("Modification Merchant Reference", "Merchant Reference")
        if original
        else row.text("Merchant Reference"),
        batch_ref=row.text("Batch Number"),
        reason_code=row.text("Dispute Reference"),
        raw=row.keep(KEPT),
    )


def _side(row: Row, draft: Draft, currency: str, debit: str, credit: str) -> int:
    """Credit is plus, debit is minus; never both."""
    minus = draft.amount(row.get(debit) or "0", currency, row.locator, debit)
    plus = draft.amount(row.get(credit) or "0", currency, row.locator, credit)
    if minus and plus:
        message = f"both {debit} and {credit} are filled"
        draft.error(FindingCode.LINE_INCONSISTENT, row.locator, message)
    for name, side in ((debit, minus), (credit, plus)):
        if side < 0:
            message = f"{name} is negative where the column tells the side"
            draft.error(FindingCode.LINE_INCONSISTENT, row.locator, message)
    return plus - minus

"""
Reports of providers: Stripe's itemized report by month, Adyen's settlement details by batch.

Written from the providers' published descriptions, in their columns and spellings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ledger.forms.money import format_amount
from ledger.recon.statement import LineKind
from ledger.recon.synthetic.plan import Plan
from ledger.recon.synthetic.world import ADYEN, STRIPE, ZONE, Shown

CATEGORIES = {
    LineKind.PAYMENT: "charge",
    LineKind.REFUND: "refund",
    LineKind.REFUND_FAILED: "refund_failure",
    LineKind.PARTIAL_CAPTURE_REVERSAL: "partial_capture_reversal",
    LineKind.CHARGEBACK: "dispute",
    LineKind.CHARGEBACK_REVERSED: "dispute_reversal",
    LineKind.FEE: "fee",
    LineKind.RESERVE: "risk_reserved_funds",
    LineKind.OTHER: "other_adjustment",
    LineKind.PAYOUT: "payout",
}
TYPES = {
    LineKind.PAYMENT: "Settled",
    LineKind.REFUND: "Refunded",
    LineKind.REFUND_FAILED: "RefundedReversed",
    LineKind.CHARGEBACK: "Chargeback",
    LineKind.CHARGEBACK_REVERSED: "ChargebackReversed",
    LineKind.FEE: "Fee",
    LineKind.RESERVE: "DepositCorrection",
    LineKind.OTHER: "ManualCorrected",
    LineKind.PAYOUT: "MerchantPayout",
}
STRIPE_HEAD = (
    "balance_transaction_id,created_utc,available_on_utc,currency,gross,fee,net,"
    "reporting_category,source_id,charge_id,customer_facing_amount,customer_facing_currency,"
    "automatic_payout_id,payment_metadata[order_id]\n"
)
ADYEN_HEAD = (
    "Company Account,Merchant Account,Psp Reference,Merchant Reference,Payment Method,"
    "Creation Date,TimeZone,Type,Modification Reference,Gross Currency,Gross Debit (GC),"
    "Gross Credit (GC),Exchange Rate,Net Currency,Net Debit (NC),Net Credit (NC),"
    "Commission (NC),Markup (NC),Scheme Fees (NC),Interchange (NC),Batch Number\n"
)
MERCHANT = "SyntheticShop"
# Every currency that is generated has two.
DECIMALS = 2


def name_rows(shown: Iterable[Shown]) -> None:
    """Give each row the identity it will have in its file, as the truth names it."""
    seen: Counter[tuple[str, str | None, str]] = Counter()
    for row in in_order(shown):
        if row.provider == STRIPE:
            row.identity = f"txn_{row.number:010}"
            continue
        psp, modification = _references(row)
        row.identity = f"{psp}/{TYPES[row.kind]}/{modification}"
        seen[row.provider, row.batch, row.identity] += 1
        row.occurrence = seen[row.provider, row.batch, row.identity]


def in_order(shown: Iterable[Shown]) -> list[Shown]:
    """As reports have them."""
    return sorted(shown, key=lambda row: (row.at, row.number))


def stripe_files(plan: Plan, shown: Iterable[Shown]) -> Iterator[tuple[str, str, list[Any]]]:
    """Name, text and controls of the report of each month."""
    months: dict[date, list[Shown]] = defaultdict(list)
    for row in in_order(shown):
        if row.provider == STRIPE:
            months[row.day.replace(day=1)].append(row)
    for month, rows in sorted(months.items()):
        following = (month + timedelta(days=31)).replace(day=1)
        until = min(following - timedelta(days=1), plan.provider_until)
        text = STRIPE_HEAD + "".join(map(stripe_row, rows))
        yield f"stripe-{month:%Y-%m}.csv", text, list(_controls(rows, month, until))


def _controls(rows: list[Shown], first: date, last: date) -> Iterator[Mapping[str, Any]]:
    """What the provider's own summary of the month would say, by currency."""
    by_currency: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_currency[row.currency].append(row.net)
    for currency, nets in sorted(by_currency.items()):
        yield {
            "currency": currency,
            "period_from": first.isoformat(),
            "period_to": last.isoformat(),
            "lines": len(nets),
            "net_minor": sum(nets),
        }


def stripe_row(row: Shown, *, more: int = 0) -> str:
    """One row; `more` is added to what it says the first time."""
    customer = row.customer or (row.amount, row.currency)
    charge = row.ref if row.kind is LineKind.PAYMENT else row.original or ""
    available = row.value_day or row.day
    cells = (
        row.identity,
        f"{row.at:%Y-%m-%d %H:%M:%S}",
        f"{available} 00:00:00",
        row.currency.lower(),
        _amount(row.amount + more),
        _amount(row.fee),
        _amount(row.net + more),
        CATEGORIES[row.kind],
        row.ref,
        charge,
        _amount(customer[0]),
        customer[1].lower(),
        (row.batch or "") if row.kind is not LineKind.PAYOUT else "",
        row.order or "",
    )
    return ",".join(cells) + "\n"


def adyen_files(shown: Iterable[Shown]) -> Iterator[tuple[str, str]]:
    """Name and text of the report of each batch."""
    batches: dict[int, list[Shown]] = defaultdict(list)
    for row in in_order(shown):
        if row.provider == ADYEN:
            batches[int(row.batch or "0")].append(row)
    for number, rows in sorted(batches.items()):
        text = ADYEN_HEAD + "".join(map(_adyen_row, rows))
        yield f"settlement_detail_report_batch_{number}.csv", text


def _references(row: Shown) -> tuple[str, str]:
    """Psp and modification reference."""
    if row.kind is LineKind.PAYMENT:
        return row.ref, f"M{row.number}"
    if row.original:
        return row.original, row.ref
    return "", row.ref


def _adyen_row(row: Shown) -> str:
    psp, modification = _references(row)
    local = row.at.astimezone(ZoneInfo(ZONE))
    cells = (
        "SyntheticCompany",
        MERCHANT,
        psp,
        row.order or "",
        "visa" if psp else "",
        f"{local:%Y-%m-%d %H:%M:%S}",
        local.tzname() or "",
        TYPES[row.kind],
        modification,
        row.currency if psp else "",
        *(_sides(row.amount) if psp else ("", "")),
        "1" if psp else "",
        row.currency,
        *_sides(row.net),
        _amount(row.fee) if row.fee else "",
        "",
        "",
        "",
        row.batch or "",
    )
    return ",".join(cells) + "\n"


def _sides(minor: int) -> tuple[str, str]:
    """Debit and credit."""
    return (_amount(-minor), "") if minor < 0 else ("", _amount(minor))


def _amount(minor: int) -> str:
    return format_amount(minor, DECIMALS)

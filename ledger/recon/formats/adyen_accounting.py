"""
Adyen's payment accounting report: one row for each step in the life of a payment.

It tells what became of a payment or refund that is not settled yet, and moves no money: the
settlement details count that. Source: Adyen's page on the report; the names of columns after
the first seven are not confirmed with a real file, so only those needed for a status are asked.
"""

from __future__ import annotations

from ledger.recon.draft import Draft, StatementDraft
from ledger.recon.formats.days import Days
from ledger.recon.formats.table import Row, heading, read_table
from ledger.recon.statement import LineKind, StatementRole

FORMAT = "adyen.payment_accounting"
PARSER = "adyen-accounting/1"

REQUIRED = (
    "Merchant Account", "Psp Reference", "Merchant Reference", "Booking Date", "TimeZone",
    "Main Currency", "Main Amount", "Record Type",
)  # fmt: skip
KEPT = frozenset({*REQUIRED, "Payment Method", "Modification Merchant Reference"})


def recognises(data: bytes) -> bool:
    """By its column of record types."""
    return {"Psp Reference", "Record Type", "Booking Date"} <= set(heading(data))


def read(data: bytes, draft: Draft) -> None:
    """Put each row in a statement of its account and currency."""
    days = Days(draft)
    statements: dict[tuple[str, str], StatementDraft] = {}
    for row in read_table(data, draft, REQUIRED):
        place = (row.get("Merchant Account"), row.get("Main Currency"))
        if place not in statements:
            statements[place] = draft.statement(
                place[1], account_ref=place[0], role=StatementRole.STATUS
            )
        _add(row, statements[place], draft, days)


def _add(row: Row, statement: StatementDraft, draft: Draft, days: Days) -> None:
    locator = row.locator
    booked = days.local(row.get("Booking Date"), locator, "Booking Date")
    days.confirm(row.get("TimeZone"), booked.year, locator)
    psp, record = row.text("Psp Reference"), row.get("Record Type")
    statement.add(
        identity=f"{psp}/{record}/{row.get('Booking Date')}" if psp else None,
        locator=locator,
        kind=LineKind.STATUS,
        amount_minor=draft.amount(
            row.get("Main Amount"), statement.currency, locator, "Main Amount"
        ),
        booked_date=booked.date(),
        booked_tz=days.tz,
        booked_at_utc=days.utc(booked, row.get("TimeZone")),
        provider_txn_id=psp,
        merchant_ref=row.text("Modification Merchant Reference", "Merchant Reference"),
        reason_code=record or None,
        raw=row.keep(KEPT),
        is_cash=False,
    )

"""
PayPal's reports by SFTP: settlement (STL) and transaction detail (TRR).

Every row begins with its record type. Amounts are unsigned integers with CR or DR beside them.
Footers state totals, balances and counts, and the last one betrays a cut file. Source: PayPal's
settlement report specification, version 9; the order of the footer's cells was not confirmed
with a real file, so a footer of another form is told and proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ledger.recon.draft import Draft, StatementDraft, is_digits
from ledger.recon.formats.days import YEAR_MIN, offset_name, plausible
from ledger.recon.formats.paypal_codes import kind_of
from ledger.recon.formats.table import HEAD_BYTES, Row, index, read_rows
from ledger.recon.source import UnitRule
from ledger.recon.statement import FindingCode, LineKind

STL = "paypal.settlement"
TRR = "paypal.transaction_detail"
PARSER = "paypal-sftp/1"

REQUIRED = (
    "Transaction ID", "Invoice ID", "PayPal Reference ID", "PayPal Reference ID Type",
    "Transaction Event Code", "Transaction Initiation Date", "Transaction Completion Date",
    "Transaction Debit or Credit", "Gross Transaction Amount", "Gross Transaction Currency",
    "Fee Debit or Credit", "Fee Amount", "Fee Currency",
)  # fmt: skip
KEPT = frozenset(
    {
        "Transaction ID", "PayPal Reference ID", "PayPal Reference ID Type", "Store ID",
        "Transaction Event Code", "Payment Tracking ID", "Bank Reference ID",
        "Transactional Status",
    }
)  # fmt: skip
STATUS_COLUMN = "Transactional Status"
SUCCEEDED = "S"
ORIGINAL = "TXN"
FOOTER_CELLS = 10
TIME = re.compile(r"\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2} [+-]\d{4}")
# Some byte order marks survive inside the quotes of the first cell.
FIRST = re.compile(rb'\A(?:\xef\xbb\xbf)?\s*"?RH"?,')


@dataclass(slots=True)
class Section:
    """One account's rows, between its header and its count."""

    account: str = ""
    line: int = 0
    opened: bool = False
    columns: dict[str, int] = field(default_factory=dict)
    width: int = 0
    body: int = 0
    statements: dict[str, StatementDraft] = field(default_factory=dict)


def recognises_stl(data: bytes) -> bool:
    """By the report header; without the column that only transaction details have."""
    return bool(FIRST.match(data)) and STATUS_COLUMN.encode() not in data[:HEAD_BYTES]


def recognises_trr(data: bytes) -> bool:
    """By the report header, and the column of statuses."""
    return bool(FIRST.match(data)) and STATUS_COLUMN.encode() in data[:HEAD_BYTES]


def read(data: bytes, draft: Draft) -> None:  # noqa: C901, PLR0912 - a case for each record
    """Walk the records; each section and currency is a statement."""
    section = Section()
    body, ended, line = 0, False, 0
    for line, cells in read_rows(data, draft):
        record, here = cells[0].strip(), f"line {line}"
        if ended:
            draft.error(FindingCode.MALFORMED, here, "a record after the file's footer")
            return
        match record:
            case "RH":
                draft.version = cells[-1] if len(cells) > 1 else ""
            case "SH":
                section = Section(line=line, opened=True)
                section.account = cells[3] if len(cells) > 3 else ""  # noqa: PLR2004
            case "CH":
                section.columns, section.width = index(cells), len(cells)
                for name in REQUIRED:
                    if name not in section.columns:
                        draft.error(FindingCode.COLUMN_MISSING, here, f"no column {name!r}")
            case "SB":
                body += 1
                section.body += 1
                _body(Row(section.columns, cells, line), section, draft)
            case "SF":
                _footer(cells, section, draft, here)
            case "SC":
                _count(cells, section.body, draft, here, "lines of the section")
                section.opened = False
            case "FF":
                _count(cells, body, draft, here, "lines of the file")
                ended = True
            case "FH" | "RF" | "RC":
                # A report may be spread over several files, so its sums are not this file's.
                pass
            case _:
                draft.error(FindingCode.MALFORMED, here, "no record of this report")
    if section.opened:
        draft.error(FindingCode.TRUNCATED, f"line {line}", "the section has no count (SC)")
    if not ended:
        draft.error(FindingCode.TRUNCATED, f"line {line}", "the file has no footer (FF)")


def _statement(section: Section, currency: str, draft: Draft) -> StatementDraft:
    statement = section.statements.get(currency)
    if statement is None:
        statement = section.statements[currency] = draft.statement(
            currency, account_ref=section.account, locator=f"section of line {section.line}"
        )
    return statement


def _body(row: Row, section: Section, draft: Draft) -> None:
    if not section.columns or len(row.cells) != section.width:
        message = f"{len(row.cells)} cells under a heading of {section.width}"
        draft.error(FindingCode.MALFORMED, row.locator, message)
        return
    currency = row.get("Gross Transaction Currency")
    fee_currency = row.get("Fee Currency") or currency
    statement = _statement(section, currency, draft)
    gross = _signed(row, draft, currency, "Gross Transaction Amount", "Transaction Debit or Credit")
    fee = -_signed(row, draft, fee_currency, "Fee Amount", "Fee Debit or Credit")
    code = row.get("Transaction Event Code")
    kind = kind_of(code, credit=gross >= 0)
    if kind is None:
        statement.unknown_kind(code)
        kind = LineKind.OTHER
    at = parse_time(row.get("Transaction Completion Date", "Transaction Initiation Date"))
    if at is None:
        draft.no_date(row.get("Transaction Completion Date"), row.locator, "completion date")
        at = datetime(YEAR_MIN, 1, 1, tzinfo=UTC)
    transaction = row.text("Transaction ID")
    common: dict[str, Any] = {
        "locator": row.locator,
        "booked_date": at.date(),
        "booked_tz": offset_name(at),
        "booked_at_utc": at.astimezone(UTC),
        "provider_txn_id": transaction,
        "provider_ref_id": row.text("PayPal Reference ID")
        if row.get("PayPal Reference ID Type") == ORIGINAL
        else None,
        "merchant_ref": row.text("Invoice ID", "Custom Field"),
        "bank_ref": row.text("Bank Reference ID"),
        "reason_code": code,
        "raw": row.keep(KEPT),
        "is_cash": kind is not LineKind.STATUS and row.get(STATUS_COLUMN) in ("", SUCCEEDED),
    }
    same = fee_currency == currency
    statement.add(
        identity=transaction,
        kind=kind,
        amount_minor=gross,
        fee_minor=fee if same else 0,
        **common,
    )
    if fee and not same:
        _statement(section, fee_currency, draft).add(
            identity=transaction, kind=LineKind.FEE, amount_minor=-fee, **common
        )


def _signed(row: Row, draft: Draft, currency: str, amount: str, side: str) -> int:
    """An integer cell with CR or DR beside it."""
    text, mark = row.get(amount), row.get(side)
    if not text:
        return 0
    minor = minor_units(text, currency, draft, row.locator, amount)
    if mark not in ("CR", "DR") and (minor or mark):
        draft.error(FindingCode.AMOUNT_UNREADABLE, row.locator, f"{side} is neither CR nor DR")
    return -minor if mark == "DR" else minor


def minor_units(text: str, currency: str, draft: Draft, locator: str, name: str) -> int:
    """An amount written as an integer, by the source's rule of what it means."""
    if not is_digits(text):
        return draft.amount(f"{text} (integer wanted)", currency, locator, name)
    decimals = draft.exponent(currency, locator)
    if decimals not in (2, None):
        draft.once(
            FindingCode.UNIT_UNUSUAL,
            locator,
            f"{currency} has {decimals} decimals; amounts are read as "
            f"{draft.source.unit_rule.value}: hold one to the provider's own page",
            key=currency,
        )
    if draft.source.unit_rule is UnitRule.HUNDREDTHS:
        whole = text.zfill(3)
        return draft.amount(f"{whole[:-2]}.{whole[-2:]}", currency, locator, name)
    return int(text)


def _footer(cells: list[str], section: Section, draft: Draft, here: str) -> None:
    """Currency, gross credits and debits, fee credits and debits, available balances."""
    well = (
        len(cells) >= FOOTER_CELLS
        and all(map(is_digits, (*cells[2:6], cells[7], cells[9])))
        and {cells[6], cells[8]} <= {"CR", "DR"}
    )
    if not well:
        message = "a section footer of another form than known here: its totals are not compared"
        draft.warn(FindingCode.DEVIATION, here, message)
        return
    statement = _statement(section, cells[1], draft)
    statement.locator = here

    def minor(at: int, name: str) -> int:
        return minor_units(cells[at], cells[1], draft, here, name)

    cash = [line for line in statement.lines if line.is_cash]
    names = ("gross credits", "gross debits", "fee credits", "fee debits")
    found = (
        sum(line.amount_minor for line in cash if line.amount_minor > 0),
        -sum(line.amount_minor for line in cash if line.amount_minor < 0),
        -sum(line.fee_minor for line in cash if line.fee_minor < 0),
        sum(line.fee_minor for line in cash if line.fee_minor > 0),
    )
    for at, (name, total) in enumerate(zip(names, found, strict=True), 2):
        stated = minor(at, name)
        statement.control_totals[name] = draft.show(stated, cells[1])
        statement.compare(FindingCode.TOTAL_DISAGREES, name, stated, total)
    opening, closing = minor(7, "beginning balance"), minor(9, "ending balance")
    statement.opening_minor = -opening if cells[6] == "DR" else opening
    statement.closing_minor = -closing if cells[8] == "DR" else closing


def _count(cells: list[str], found: int, draft: Draft, here: str, what: str) -> None:
    stated = cells[1].strip() if len(cells) > 1 else ""
    if not is_digits(stated):
        draft.error(FindingCode.TRUNCATED, here, f"no count of {what}")
    elif int(stated) != found:
        message = f"{what}: stated {int(stated):,}, found {found:,}"
        draft.error(FindingCode.COUNT_DISAGREES, here, message)


@lru_cache(maxsize=4_096)
def parse_time(text: str) -> datetime | None:
    """`2026/01/06 00:00:30 -0800`, or None."""
    if not TIME.fullmatch(text):
        return None
    try:
        found = datetime.strptime(text, "%Y/%m/%d %H:%M:%S %z")
    except ValueError:
        return None
    return found if plausible(found.year) else None

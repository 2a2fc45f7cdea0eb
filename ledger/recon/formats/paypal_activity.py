"""
PayPal's activity download: what a shop without SFTP has.

Headings, decimals and the order of dates follow the language of whoever downloads it, so they
are found in the file as a whole and held to on every row. Which sign fees have differs between
accounts: the one identity of gross, fee and net that every row has decides. The running balance
is checked from row to row; a cut at the end would not show in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time

from ledger.recon.draft import Draft, StatementDraft
from ledger.recon.formats.days import YEAR_MIN, Days, plausible
from ledger.recon.formats.paypal_codes import kind_of
from ledger.recon.formats.table import Row, heading, read_table
from ledger.recon.statement import FindingCode, LineKind

FORMAT = "paypal.activity"
PARSER = "paypal-activity/1"

# Our name -> headings in the languages known here.
NAMES = {
    "date": ("Date", "Datum"),
    "time": ("Time", "Uhrzeit"),
    "zone": ("TimeZone", "Time Zone", "Time zone", "Zeitzone"),
    "type": ("Type", "Typ", "Beschreibung"),
    "status": ("Status",),
    "currency": ("Currency", "Währung"),
    "gross": ("Gross", "Brutto"),
    "fee": ("Fee", "Gebühr", "Entgelt"),
    "net": ("Net", "Netto"),
    "id": ("Transaction ID", "Transaktionscode"),
    "original": ("Reference Txn ID", "Zugehöriger Transaktionscode"),
    "invoice": ("Invoice Number", "Rechnungsnummer"),
    "custom": ("Custom Number", "Kundennummer"),
    "balance": ("Balance", "Guthaben"),
    "impact": ("Balance Impact", "Auswirkung auf Guthaben"),
    "code": ("Transaction Event Code", "Transaktionsereigniscode"),
    "bank": ("Bank Reference ID",),
}
NEEDED = ("date", "time", "zone", "type", "status", "currency", "gross", "fee", "net", "id")
KEPT = frozenset(
    name
    for key in ("type", "status", "code", "impact", "id", "original", "invoice", "balance")
    for name in NAMES[key]
)
NOT_BOOKED = frozenset(
    {
        "pending", "denied", "failed", "canceled", "cancelled", "expired", "voided", "removed",
        "placed", "created", "held", "ausstehend", "abgelehnt", "storniert", "offen",
    }
)  # fmt: skip
MEMO = "memo"
# Looked for in this order; each word with what a credit and a debit of it are.
WORDS = (
    (("chargeback reversal",), (LineKind.CHARGEBACK_REVERSED, LineKind.CHARGEBACK)),
    (("chargeback", "rückbuchung"), (LineKind.CHARGEBACK_REVERSED, LineKind.CHARGEBACK)),
    (("cancellation of refund", "refund reversal"), (LineKind.REFUND_FAILED, LineKind.OTHER)),
    (("refund", "rückzahlung"), (LineKind.REFUND, LineKind.REFUND)),
    (("hold", "reserve", "einbehalt"), (LineKind.RESERVE, LineKind.RESERVE)),
    (("reversal", "stornierung"), (LineKind.REFUND_FAILED, LineKind.PAYMENT_REVERSED)),
    (("conversion", "umrechnung"), (LineKind.CONVERSION, LineKind.CONVERSION)),
    (("withdraw", "abbuchung auf", "auszahlung"), (LineKind.PAYOUT_FAILED, LineKind.PAYOUT)),
    (("deposit", "einzahlung", "bank transfer"),
     (LineKind.INTERNAL_TRANSFER, LineKind.INTERNAL_TRANSFER)),
    (("fee", "gebühr"), (LineKind.FEE, LineKind.FEE)),
    (("payment", "checkout", "money", "zahlung"), (LineKind.PAYMENT, LineKind.MOVEMENT)),
)  # fmt: skip
DATE = re.compile(r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})")
ORDERS = {"dmy": (2, 1, 0), "mdy": (2, 0, 1), "ymd": (0, 1, 2)}
MONTHS = 12
YEAR_DIGITS = 4


@dataclass(slots=True)
class Dialect:
    """What the file as a whole settles."""

    decimal_separator: str
    thousands_separator: str
    date_order: str
    fee_sign: int
    """+1 where net = gross - fee, -1 where net = gross + fee."""


def recognises(data: bytes) -> bool:
    """By the columns it has in any language known here."""
    names = set(heading(data))
    return all(names & set(NAMES[key]) for key in NEEDED)


def read(data: bytes, draft: Draft) -> None:
    """Find out the file's dialect, then put each row in a statement of its currency."""
    rows = list(read_table(data, draft, (), short=True))
    if not rows:
        return
    dialect = _dialect(rows, draft)
    if dialect is None or draft.rejected:
        return
    days = Days(draft)
    statements: dict[str, StatementDraft] = {}
    balances: dict[str, int] = {}
    for row in _oldest_first(rows, draft, dialect):
        currency = _get(row, "currency").upper()
        if currency not in statements:
            statements[currency] = draft.statement(currency, derived=True)
        _add(row, statements[currency], draft, days, dialect)
        _balance(row, statements[currency], draft, dialect, balances)


def _get(row: Row, key: str) -> str:
    return row.get(*NAMES[key])


def _dialect(rows: list[Row], draft: Draft) -> Dialect | None:
    """None, with findings, where the rows do not agree on one."""
    cells = [_get(row, key) for row in rows for key in ("gross", "fee", "net", "balance")]
    mark = _decimal_separator(cells)
    order = draft.source.date_order or _date_order([_get(row, "date") for row in rows])
    if mark is None:
        message = "amounts have a comma for decimals on some rows and a point on others"
        draft.error(FindingCode.AMOUNT_UNREADABLE, "", message)
    if not order:
        message = "day and month cannot be told apart: give the source its date_order"
        draft.error(FindingCode.DATE_UNREADABLE, "", message)
    if mark is None or not order:
        return None
    dialect = Dialect(mark, "." if mark == "," else ",", order, 1)
    triples = [
        tuple(_amount(row, key, draft, dialect) for key in ("gross", "fee", "net")) for row in rows
    ]
    for sign in (1, -1):
        if all(gross - sign * fee == net for gross, fee, net in triples):
            dialect.fee_sign = sign
            return dialect
    if not draft.rejected:
        message = "neither net = gross - fee nor net = gross + fee holds on every row"
        draft.error(FindingCode.LINE_INCONSISTENT, "", message)
    return None


def _decimal_separator(cells: Iterable[str]) -> str | None:
    """The mark before the last two digits; a point where no amount has one."""
    marks = {cell[-3] for cell in cells if len(cell) > 2 and cell[-3] in ".,"}  # noqa: PLR2004
    if len(marks) > 1:
        return None
    return marks.pop() if marks else "."


def _date_order(dates: Iterable[str]) -> str:
    """The only order in which every date is one; empty where several are."""
    found = [match for text in dates if (match := DATE.fullmatch(text))]
    if found and all(len(match[1]) == YEAR_DIGITS for match in found):
        return "ymd"
    if found and all("." in match[0] for match in found):
        return "dmy"
    day_first = any(int(match[1]) > MONTHS for match in found)
    month_first = any(int(match[2]) > MONTHS for match in found)
    if day_first == month_first:
        # With both, one of the dates is wrong and is named when it is read.
        return "mdy" if day_first else ""
    return "dmy" if day_first else "mdy"


def _amount(row: Row, key: str, draft: Draft, dialect: Dialect) -> int:
    return draft.amount(
        # A fee that is not there is none; anything else that is empty is not an amount.
        _get(row, key) or ("0" if key == "fee" else ""),
        _get(row, "currency").upper(),
        row.locator,
        key,
        decimal_separator=dialect.decimal_separator,
        thousands_separator=dialect.thousands_separator,
    )


def _day(row: Row, draft: Draft, dialect: Dialect) -> date:
    text = _get(row, "date")
    match = DATE.fullmatch(text)
    if match:
        year, month, day = (int(match[at + 1]) for at in ORDERS[dialect.date_order])
        try:
            found = date(year, month, day)
        except ValueError:
            pass
        else:
            if plausible(found.year):
                return found
    draft.no_date(text, row.locator, "date")
    return date(YEAR_MIN, 1, 1)


def _oldest_first(rows: list[Row], draft: Draft, dialect: Dialect) -> list[Row]:
    """Some accounts download the newest row first, and balances then run upwards."""
    first, last = (
        (_day(row, draft, dialect), _get(row, "time").zfill(8)) for row in (rows[0], rows[-1])
    )
    return rows[::-1] if first > last else rows


def _add(row: Row, statement: StatementDraft, draft: Draft, days: Days, dialect: Dialect) -> None:
    gross = _amount(row, "gross", draft, dialect)
    day = _day(row, draft, dialect)
    try:
        clock = time.fromisoformat(_get(row, "time"))
    except ValueError:
        draft.no_date(_get(row, "time"), row.locator, "time")
        clock = time()
    zone = _get(row, "zone")
    days.confirm(zone, day.year, row.locator)
    code, word = _get(row, "code"), _get(row, "type")
    kind = kind_of(code, credit=gross >= 0) if code else _kind(word, credit=gross >= 0)
    if kind is None:
        statement.unknown_kind(code or word)
        kind = LineKind.OTHER
    booked = _is_booked(row) and kind is not LineKind.STATUS
    if not booked:
        draft.note(FindingCode.NOT_BOOKED, row.locator, "not completed: not counted as money")
    own, original = row.text(*NAMES["id"]), row.text(*NAMES["original"])
    statement.add(
        identity=own,
        locator=row.locator,
        kind=kind,
        amount_minor=gross,
        fee_minor=dialect.fee_sign * _amount(row, "fee", draft, dialect),
        booked_date=day,
        booked_tz=days.tz,
        booked_at_utc=days.utc(datetime.combine(day, clock), zone),
        provider_txn_id=own,
        provider_ref_id=original if original != own else None,
        merchant_ref=row.text(*NAMES["invoice"], *NAMES["custom"]),
        bank_ref=row.text(*NAMES["bank"]),
        reason_code=code or None,
        raw=row.keep(KEPT),
        is_cash=booked,
    )


def _is_booked(row: Row) -> bool:
    return (
        _get(row, "status").casefold() not in NOT_BOOKED and _get(row, "impact").casefold() != MEMO
    )


def _kind(word: str, *, credit: bool) -> LineKind | None:
    said = word.casefold()
    for words, (of_credit, of_debit) in WORDS:
        if any(each in said for each in words):
            return of_credit if credit else of_debit
    return None


def _balance(
    row: Row,
    statement: StatementDraft,
    draft: Draft,
    dialect: Dialect,
    balances: dict[str, int],
) -> None:
    """Hold the running balance to the one of the row before."""
    line = statement.lines[-1]
    if not line.is_cash or not _get(row, "balance"):
        return
    after = _amount(row, "balance", draft, dialect)
    before = balances.get(statement.currency)
    if before is None:
        statement.opening_minor = after - line.net_minor
    elif before + line.net_minor != after:
        show, currency = draft.show, statement.currency
        draft.error(
            FindingCode.BALANCE_DISAGREES,
            row.locator,
            f"balance {show(before, currency)} and net {show(line.net_minor, currency)} "
            f"make {show(before + line.net_minor, currency)}, the row says "
            f"{show(after, currency)}, difference "
            f"{show(after - before - line.net_minor, currency)}",
        )
    balances[statement.currency] = after
    statement.closing_minor = after

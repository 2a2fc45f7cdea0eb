"""
BAI2 balance reports: records of a file, its groups and their accounts, with control totals.

Amounts are integers of the currency's smallest unit. A code's range is its sign. Totals and
counts are held to the records; banks differ on them, so a difference is a quarantine and never
a crash. Source: BAI Cash Management Balance Reporting Specifications, version 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ledger.recon.draft import Draft, StatementDraft, is_digits
from ledger.recon.statement import FindingCode, LineKind

FORMAT = "bai2"
PARSER = "bai2/1"

FIRST = re.compile(rb"\A\s*01,[^\r\n]*\r?\n\s*02,")
CODES = frozenset({"01", "02", "03", "16", "49", "88", "98", "99"})
NEXT = re.compile(r"(?:01|02|03|16|49|88|98|99),")
OPENING, CLOSING = "010", "015"
OPENING_AVAILABLE, CLOSING_AVAILABLE = "040", "045"
TOTAL_CREDITS, TOTAL_DEBITS = "100", "400"
RETURN = re.compile(r"\b(?:RETURN(?:ED)?|RTN|RTD|REJECT|NSF|REVERSAL)\b")
AMOUNT = re.compile(r"[+-]?[0-9]{1,38}")
FEE_CODES = frozenset({"698", "690", "691", "692", "693", "694", "695", "696", "697"})
RETURN_CODES = frozenset(
    {"252", "255", "257", "258", "259", "261", "263", "266", "268",
     "552", "555", "557", "558", "559", "561", "563", "566", "568"}
)  # fmt: skip
DEFAULT_CURRENCY = "USD"
DATE_DIGITS = 6


@dataclass(slots=True)
class Record:
    """One record with the fields of its continuations."""

    code: str
    fields: list[str]
    line: int
    physical: int = 1
    """How many records of the file it is: itself and its continuations."""


@dataclass(slots=True)
class Level:
    """What an account, a group or the file adds up to so far."""

    total: int = 0
    records: int = 0
    children: int = 0


@dataclass(slots=True)
class Open:
    """Where in the file we are."""

    file: Level = field(default_factory=Level)
    group: Level | None = None
    account: Level | None = None
    statement: StatementDraft | None = None
    summary: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    currency: str = ""
    as_of: date | None = None
    started: bool = False
    ended: bool = False


def recognises(data: bytes) -> bool:
    """A file header followed by a group header."""
    return bool(FIRST.match(data))


def read(data: bytes, draft: Draft) -> None:
    """Walk the records; each account of each group is a statement."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    place, last = Open(), 0
    for record in _records(text, draft):
        last = record.line
        here = f"line {record.line}"
        if place.ended:
            draft.error(FindingCode.MALFORMED, here, "a record after the file's trailer")
            return
        for level in (place.file, place.group, place.account):
            if level is not None:
                level.records += record.physical
        _record(record, place, draft, here)
    if not place.ended:
        draft.error(FindingCode.TRUNCATED, f"line {last}", "the file has no trailer (99)")


def _records(text: str, draft: Draft) -> Iterator[Record]:
    """Records with their continuations joined; several may stand on one line."""
    record: Record | None = None
    for number, line in enumerate(text.splitlines(), 1):
        for piece in _pieces(line.strip()):
            code, _, rest = piece.partition(",")
            if code not in CODES:
                draft.error(FindingCode.MALFORMED, f"line {number}", "no record of BAI2")
            elif code != "88":
                if record:
                    yield record
                record = Record(code, rest.split(","), number)
            elif record is None:
                draft.error(FindingCode.MALFORMED, f"line {number}", "continues nothing")
            else:
                record.fields += rest.split(",")
                record.physical += 1
    if record:
        yield record


def _pieces(line: str) -> Iterator[str]:
    """A slash ends a record, except within the text of a 16 or what continues it."""
    while line:
        if line[:2] in ("16", "88"):
            yield line.removesuffix("/")
            return
        piece, _, line = line.partition("/")
        yield piece
        line = line.strip()
        if line and not NEXT.match(line):
            # Filling after the slash, up to the physical record length.
            return


def _record(record: Record, place: Open, draft: Draft, here: str) -> None:
    fields = record.fields
    match record.code:
        case "01":
            place.started = True
            draft.version = _field(fields, 7)
        case "02":
            place.group = Level(records=record.physical)
            place.file.children += 1
            place.currency = _field(fields, 5) or DEFAULT_CURRENCY
            place.as_of = _date(_field(fields, 3), here, draft)
        case "03" if place.group is not None:
            place.group.children += 1
            place.account = Level(records=record.physical)
            _account(record, place, draft, here)
        case "16" if place.statement is not None:
            _line(record, place, draft, here)
        case "49" if place.account is not None and place.group is not None:
            _hold(place.account, record, draft, what="account", currency=place.currency)
            place.group.total += place.account.total
            _close(place, draft)
            place.account = place.statement = None
        case "98" if place.group is not None:
            _hold(
                place.group,
                record,
                draft,
                what="group",
                currency=place.currency,
                children="accounts",
            )
            place.file.total += place.group.total
            place.group = None
        case "99":
            _hold(
                place.file,
                record,
                draft,
                what="file",
                currency=place.currency or DEFAULT_CURRENCY,
                children="groups",
            )
            place.ended = True
        case _:
            draft.error(FindingCode.MALFORMED, here, f"a {record.code} where none may stand")


def _field(fields: list[str], at: int) -> str:
    return fields[at].strip() if at < len(fields) else ""


def _date(text: str, here: str, draft: Draft) -> date:
    try:
        if is_digits(text) and len(text) == DATE_DIGITS:
            return date(2000 + int(text[:2]), int(text[2:4]), int(text[4:]))
    except ValueError:
        pass
    draft.no_date(text, here, "as-of date")
    return date.min


def _amount(text: str, place: Open, draft: Draft, here: str, name: str) -> int:
    """An integer, counted into the control totals with its sign; empty is none."""
    if not text:
        return 0
    if not AMOUNT.fullmatch(text):
        return draft.amount(f"{text} (integer wanted)", place.currency, here, name)
    minor = int(text)
    if place.account is not None:
        place.account.total += minor
    return minor


def _account(record: Record, place: Open, draft: Draft, here: str) -> None:
    fields = record.fields
    currency = _field(fields, 1) or place.currency
    place.statement = draft.statement(currency, account_ref=_field(fields, 0), locator=here)
    place.statement.period_from = place.statement.period_to = place.as_of
    place.summary = {}
    at = 2
    while at < len(fields):
        code = _field(fields, at)
        if not code:
            # Some banks fill the record with empty fields.
            at += 1
            continue
        minor = _amount(_field(fields, at + 1), place, draft, here, f"amount of {code}")
        count = _field(fields, at + 2)
        if not is_digits(code) or (count and not is_digits(count)):
            draft.error(FindingCode.MALFORMED, here, f"field {at + 3} is no type code and count")
            return
        if _field(fields, at + 1):
            place.summary[code] = (minor, int(count) if count else None)
        at = _after_funds(fields, at + 3, draft, here)


def _after_funds(fields: list[str], at: int, draft: Draft, here: str) -> int:
    """Where the next field stands after a funds type and what belongs to it."""
    match _field(fields, at):
        case "S":
            return at + 4
        case "V":
            return at + 3
        case "D":
            days = _field(fields, at + 1)
            return at + 2 + 2 * draft.count(days, here, "number of distributions")
        case "" | "0" | "1" | "2" | "Z":
            return at + 1
    draft.error(FindingCode.MALFORMED, here, f"{_field(fields, at)!r} is no funds type")
    return at + 1


def _line(record: Record, place: Open, draft: Draft, here: str) -> None:
    statement, fields = place.statement, record.fields
    assert statement is not None, "a 16 is only read within an account"
    code = _field(fields, 0)
    minor = _amount(_field(fields, 1), place, draft, here, "amount")
    sign = _sign(code)
    if sign is None:
        draft.error(FindingCode.MALFORMED, here, f"{code!r} is no type code of a transaction")
        return
    if minor < 0:
        message = "a transaction with a sign, which its code has already"
        draft.error(FindingCode.LINE_INCONSISTENT, here, message)
    at = _after_funds(fields, 2, draft, here)
    bank, customer = _field(fields, at), _field(fields, at + 1)
    text = " ".join(",".join(fields[at + 2 :]).split()).removesuffix("/").strip(" ,")
    if code in RETURN_CODES or RETURN.search(text.upper()):
        kind = LineKind.RETURNED
    elif code in FEE_CODES:
        kind = LineKind.FEE
    else:
        kind = LineKind.MOVEMENT
    members: dict[str, Any] = {
        "bank_ref": bank or None,
        "merchant_ref": customer or None,
        "remittance": text or None,
        "reason_code": code,
        "raw": {"type_code": code},
    }
    statement.add(
        locator=here,
        kind=kind,
        amount_minor=sign * minor,
        booked_date=place.as_of or date.min,
        booked_tz=draft.source.iana_tz,
        **members,
    )


def _sign(code: str) -> int | None:
    if not (len(code) == 3 and is_digits(code)):  # noqa: PLR2004
        return None
    number = int(code)
    if 100 <= number <= 399 or 920 <= number <= 959:  # noqa: PLR2004
        return 1
    if 400 <= number <= 699 or 960 <= number <= 999:  # noqa: PLR2004
        return -1
    return None


def _close(place: Open, draft: Draft) -> None:
    """The account's own balances and totals against its lines."""
    statement, summary = place.statement, place.summary
    assert statement is not None, "an account that closes was opened"
    for code, (minor, count) in summary.items():
        shown = draft.show(minor, statement.currency)
        statement.control_totals[code] = shown if count is None else f"{shown} ({count})"
    if OPENING in summary and CLOSING in summary:
        statement.opening_minor, statement.closing_minor = summary[OPENING][0], summary[CLOSING][0]
    elif OPENING_AVAILABLE in summary and CLOSING_AVAILABLE in summary:
        # Available balances leave out what is not cleared yet, so they are no proof.
        available = summary[CLOSING_AVAILABLE][0] - summary[OPENING_AVAILABLE][0]
        if available != statement.cash():
            message = "available balances move by something else than the lines add up to"
            draft.warn(FindingCode.DEVIATION, statement.locator, message)
    proved = 0
    for code, sign, name in ((TOTAL_CREDITS, 1, "credits"), (TOTAL_DEBITS, -1, "debits")):
        if code not in summary:
            continue
        stated, count = summary[code]
        minors = [line.amount_minor for line in statement.lines if line.amount_minor * sign > 0]
        statement.compare(
            FindingCode.TOTAL_DISAGREES, f"total {name} ({code})", stated, sign * sum(minors)
        )
        if count is not None:
            statement.compare_count(f"number of {name} ({code})", count, len(minors))
        proved += 1
    # Trailers count every record: a missing one shows there.
    statement.provable = proved == 2 or bool(statement.lines)  # noqa: PLR2004


def _hold(
    level: Level, record: Record, draft: Draft, *, what: str, currency: str, children: str = ""
) -> None:
    """A trailer's control total and counts against what it closes."""
    fields, here = record.fields, f"line {record.line}"
    stated_total = _field(fields, 0)
    counts = [("records", level.records, _field(fields, 2 if children else 1))]
    if children:
        counts.append((children, level.children, _field(fields, 1)))
    if not AMOUNT.fullmatch(stated_total):
        draft.error(FindingCode.AMOUNT_UNREADABLE, here, f"control total of the {what}")
    elif int(stated_total) != level.total:
        show = draft.show
        draft.error(
            FindingCode.TOTAL_DISAGREES,
            here,
            f"control total of the {what}: stated {show(int(stated_total), currency)}, "
            f"found {show(level.total, currency)}, "
            f"difference {show(int(stated_total) - level.total, currency)}",
        )
    for name, found, text in counts:
        if not text:
            draft.error(FindingCode.TRUNCATED, here, f"no number of {name} of the {what}")
        elif (stated := draft.count(text, here, f"number of {name}")) != found:
            message = f"{name} of the {what}: stated {stated:,}, found {found:,}"
            draft.error(FindingCode.COUNT_DISAGREES, here, message)

"""
SWIFT MT940 customer statements and MT942 interim reports.

The sign is the mark's: C plus, D minus, RC (a credit taken back) minus, RD (a debit taken back)
plus. A file holds many messages, and each must close on its own balance. Own reader: the
library at hand gives RC the wrong sign and merges messages. Source: SWIFT category 9 field
specifications.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from ledger.recon.draft import Draft, StatementDraft, is_digits
from ledger.recon.formats.mt940_text import Narrative, read_narrative
from ledger.recon.formats.table import HEAD_BYTES
from ledger.recon.statement import FindingCode, LineKind, StatementRole

MT940 = "mt940"
MT942 = "mt942"
PARSER = "mt940/1"

# Only these begin a field: a wrapped text may begin with `:26:37`.
TAG = re.compile(r":(20|21|25P?|28C?|60[FM]|61|86|62[FM]|64|65|13D?|34F|90[CD]):")
HEADERS = re.compile(r":94[02]:|\{1:.*")
BALANCE = re.compile(r"([CD])(\d{6})([A-Z]{3})(\d[\d.]*,\d*)")
LINE = re.compile(
    r"""(?P<value>\d{6})
        (?P<entry>\d{4}|\s{4})?
        (?P<mark>RC|RD|EC|ED|C|D)
        (?P<funds>[A-Z])?
        (?P<amount>\d+(?:,\d*)?)
        (?P<type>[NFS][A-Z0-9]{3})
        (?P<rest>.*)""",
    re.VERBOSE | re.DOTALL,
)
SIGNS = {"C": 1, "D": -1, "RC": -1, "RD": 1}
REFERENCE_MAX = 16
NO_REFERENCE = frozenset({"", "NONREF", "KREF+", "EREF", "REF"})
CHARGES = "CHG"
ENDS = frozenset({"-", "-}"})
DECEMBER = 12


@dataclass(slots=True)
class Field:
    """One tag with its text, continuation lines joined by line ends."""

    tag: str
    text: str
    line: int


@dataclass(slots=True)
class Message:
    """The fields from one :20: to the end of its message."""

    line: int
    fields: list[Field] = field(default_factory=list)

    def first(self, *tags: str) -> Field | None:
        """The first field with one of these tags."""
        return next((each for each in self.fields if each.tag in tags), None)


def recognises_mt940(data: bytes) -> bool:
    """A :20: and an account or a balance at the beginnings of lines; not a 942."""
    return _looks_like(data, b"60F", b"60M", b"25", b"25P", b"28C") and not recognises_mt942(data)


def recognises_mt942(data: bytes) -> bool:
    """An interim report has a floor limit and no opening balance."""
    return _looks_like(data, b"34F") and not _looks_like(data, b"60F", b"60M")


def _looks_like(data: bytes, *tags: bytes) -> bool:
    head = b"\n" + data[:HEAD_BYTES].replace(b"\r", b"\n").lstrip(b"\xef\xbb\xbf")
    return b"\n:20:" in head and any(b"\n:%b:" % tag in head for tag in tags)


def read_mt940(data: bytes, draft: Draft) -> None:
    """Each message is a statement, or a page of one."""
    previous: tuple[str, str, int] | None = None
    for message in _messages(data, draft):
        statement = _statement(message, draft, StatementRole.BOOKED)
        if statement is None:
            continue
        previous = _page(message, statement, previous)
        _lines(message, statement, draft)


def read_mt942(data: bytes, draft: Draft) -> None:
    """Each message tells of movements that a later statement counts."""
    for message in _messages(data, draft):
        statement = _statement(message, draft, StatementRole.DETAIL)
        if statement is not None:
            _lines(message, statement, draft)
            _sums(message, statement, draft)


def _messages(data: bytes, draft: Draft) -> Iterator[Message]:  # noqa: C901 - line by line
    message: Message | None = None
    for number, line in enumerate(_text(data).splitlines(), 1):
        match = TAG.match(line)
        if match and match[1] == "20":
            if message:
                yield message
            message = Message(number)
        if line.strip() in ENDS or line.startswith("-}"):
            if message:
                yield message
            message = None
        elif match and message is None:
            draft.error(
                FindingCode.MALFORMED, f"line {number}", f":{match[1]}: outside of a message"
            )
        elif message is None:
            # Delivery headers of banks stand between messages; a field never does.
            if line.startswith(":") and not HEADERS.match(line):
                draft.error(FindingCode.MALFORMED, f"line {number}", "a field that is not known")
        elif match:
            message.fields.append(Field(match[1], line[match.end() :], number))
        elif not line.startswith("{1:"):
            message.fields[-1].text += "\n" + line
    if message:
        yield message


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _statement(message: Message, draft: Draft, role: StatementRole) -> StatementDraft | None:
    here = f"line {message.line}"
    accounts = [each for each in message.fields if each.tag in ("25", "25P")]
    for extra in accounts[1:]:
        draft.error(FindingCode.MALFORMED, f"line {extra.line}", "a second account in a message")
    opening, closing = message.first("60F", "60M"), message.first("62F", "62M")
    floor = message.first("34F")
    if not accounts:
        draft.error(FindingCode.MALFORMED, here, "no account (:25:)")
        return None
    if role is StatementRole.BOOKED and (opening is None or closing is None):
        draft.error(
            FindingCode.TRUNCATED,
            here,
            f"no {'opening balance (:60F:)' if opening is None else 'closing balance (:62F:)'}",
        )
        return None
    currency = (floor.text[:3] if floor else "") or (opening.text[7:10] if opening else "")
    reference = message.first("20")
    statement = draft.statement(
        currency,
        account_ref=accounts[0].text.strip().splitlines()[0] if accounts[0].text.strip() else "",
        role=role,
        locator=here,
        statement_ref=reference.text.strip() if reference else None,
    )
    number = message.first("28C", "28")
    if number:
        sequence, _, page = number.text.strip().partition("/")
        statement.sequence = int(sequence) if is_digits(sequence) else None
        statement.page = int(page) if is_digits(page) else None
    if opening and closing and role is StatementRole.BOOKED:
        statement.opening_minor, statement.period_from = _balance(opening, statement, draft)
        statement.closing_minor, statement.period_to = _balance(closing, statement, draft)
        if statement.period_from > statement.period_to:
            message_text = "the closing balance is dated before the opening one"
            draft.warn(FindingCode.DATE_IMPLAUSIBLE, f"line {closing.line}", message_text)
            statement.period_from = statement.period_to = None
    return statement


def _balance(found: Field, statement: StatementDraft, draft: Draft) -> tuple[int, date]:
    here = f"line {found.line}"
    match = BALANCE.fullmatch(found.text.strip())
    if not match:
        draft.error(FindingCode.AMOUNT_UNREADABLE, here, f":{found.tag}: is no balance")
        return 0, date.min
    mark, day, currency, amount = match.groups()
    if currency != statement.currency:
        message = f"a balance in {currency} on an account in {statement.currency}"
        draft.error(FindingCode.LINE_INCONSISTENT, here, message)
    minor = draft.amount(amount, currency, here, f":{found.tag}:", decimal_separator=",")
    return (-minor if mark == "D" else minor), _day(day, here, draft)


def _page(
    message: Message,
    statement: StatementDraft,
    previous: tuple[str, str, int] | None,
) -> tuple[str, str, int] | None:
    """Hold a page that goes on to the one before it; what the next page must begin with."""
    opening, closing = message.first("60M"), message.first("62M")
    place = (statement.account_ref, str(statement.sequence))
    if opening and previous and previous[:2] == place:
        statement.compare(
            FindingCode.BALANCE_DISAGREES,
            "opening balance of the next page",
            statement.opening_minor or 0,
            previous[2],
        )
    return (*place, statement.closing_minor or 0) if closing else None


def _lines(message: Message, statement: StatementDraft, draft: Draft) -> None:
    """Every :61: with the :86: that follows it."""
    fields = message.fields
    for at, found in enumerate(fields):
        if found.tag == "61":
            after = fields[at + 1] if at + 1 < len(fields) else None
            text = after.text if after is not None and after.tag == "86" else ""
            _line(found, read_narrative(text), statement, draft)


def _line(found: Field, said: Narrative, statement: StatementDraft, draft: Draft) -> None:
    here = f"line {found.line}"
    match = LINE.fullmatch(found.text.rstrip())
    if not match or match["mark"] not in SIGNS:
        draft.error(FindingCode.MALFORMED, here, ":61: is no statement line")
        return
    amount = match["amount"]
    if "," not in amount:
        draft.once(
            FindingCode.DEVIATION, here, "an amount without its comma: whole units", key="comma"
        )
    minor = SIGNS[match["mark"]] * draft.amount(
        amount, statement.currency, here, "amount", decimal_separator=","
    )
    value = _day(match["value"], here, draft)
    head, _, extra = match["rest"].partition("\n")
    customer, _, bank = head.partition("//")
    if len(customer) > REFERENCE_MAX:
        draft.once(
            FindingCode.DEVIATION,
            here,
            f"a reference longer than {REFERENCE_MAX} characters",
            key="reference",
        )
    customer, bank = customer.strip(), bank.strip()
    reversal = match["mark"].startswith("R")
    if reversal or said.returned:
        kind = LineKind.RETURNED
    elif match["type"][1:] == CHARGES and minor < 0:
        kind = LineKind.FEE
    else:
        kind = LineKind.MOVEMENT
    reference = said.end_to_end or (customer if customer not in NO_REFERENCE else None)
    bank_ref = bank if bank not in NO_REFERENCE else None
    raw = {"mark": match["mark"], "type": match["type"], "reference": customer}
    if extra.strip() and said.empty:
        raw["supplement"] = extra.strip()
    statement.add(
        # A bank's reference may cover several lines, as those of one batch: what else the line
        # says tells them apart.
        locator=here,
        kind=kind,
        amount_minor=minor,
        booked_date=_entry_date(match["entry"], value, here, draft),
        booked_tz=draft.source.iana_tz,
        value_date=value,
        merchant_ref=reference,
        provider_txn_id=said.transaction,
        bank_ref=bank_ref,
        remittance=said.text or None,
        reason_code=said.reason,
        raw=raw | said.codes,
        is_cash=statement.role is StatementRole.BOOKED,
    )


def _day(text: str, here: str, draft: Draft) -> date:
    """YYMMDD. Some banks reckon with months of thirty days, and have a 30 February."""
    year, month, day = 2000 + int(text[:2]), int(text[2:4]), int(text[4:])
    try:
        return date(year, month, day)
    except ValueError:
        if 1 <= month <= DECEMBER and 29 <= day <= 31:  # noqa: PLR2004
            after = date(year + month // 12, month % 12 + 1, 1)
            last = after - timedelta(days=1)
            draft.warn(FindingCode.DATE_REPAIRED, here, f"{text} read as {last}")
            return last
    draft.no_date(text, here, "date")
    return date.min


def _entry_date(text: str | None, value: date, here: str, draft: Draft) -> date:
    """MMDD in the year that brings it closest to the value date."""
    if not text or not text.strip() or value == date.min:
        return value
    near = []
    for year in (value.year - 1, value.year, value.year + 1):
        try:
            near.append(date(year, int(text[:2]), int(text[2:])))
        except ValueError:
            continue
    if not near:
        draft.no_date(text, here, "entry date")
        return value
    return min(near, key=lambda day: abs(day - value))


def _sums(message: Message, statement: StatementDraft, draft: Draft) -> None:
    """:90D: and :90C: of an interim report: number and sum of its debits and credits."""
    for found in message.fields:
        match = re.fullmatch(r"(\d{1,5})([A-Z]{3})(\d+,\d*)", found.text.strip())
        if found.tag not in ("90C", "90D"):
            continue
        here = f"line {found.line}"
        if not match:
            draft.error(FindingCode.AMOUNT_UNREADABLE, here, f":{found.tag}: is no sum")
            continue
        sign = 1 if found.tag == "90C" else -1
        minors = [line.amount_minor for line in statement.lines if line.amount_minor * sign > 0]
        stated = draft.amount(
            match[3], statement.currency, here, f":{found.tag}:", decimal_separator=","
        )
        statement.control_totals[found.tag] = found.text.strip()
        statement.compare_count(f":{found.tag}:", int(match[1]), len(minors))
        statement.compare(FindingCode.TOTAL_DISAGREES, f":{found.tag}:", stated, sign * sum(minors))

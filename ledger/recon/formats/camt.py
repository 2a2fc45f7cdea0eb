"""
ISO 20022 camt.052, camt.053 and camt.054, in the versions 02 to 08 that banks send.

Elements are found by local name: some files have no namespace, and the versions differ in where
a few things stand. Only a 053 is a statement; the other two say more about money that it
counts. Entities, DTDs and the network are off. Source: ISO 20022 message definitions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from xml.etree.ElementTree import Element

from ledger.recon.draft import Draft, StatementDraft, is_digits
from ledger.recon.formats.camt_entry import read_entry
from ledger.recon.formats.markup import DoctypeError, Edge, part, read_elements, word
from ledger.recon.formats.table import HEAD_BYTES
from ledger.recon.statement import FindingCode, StatementRole

PARSER = "camt/1"
CONTAINERS = {
    "BkToCstmrAcctRpt": ("camt.052", "Rpt", StatementRole.DETAIL),
    "BkToCstmrStmt": ("camt.053", "Stmt", StatementRole.BOOKED),
    "BkToCstmrDbtCdtNtfctn": ("camt.054", "Ntfctn", StatementRole.DETAIL),
}
VERSION = re.compile(r"camt\.05[234]\.001\.(\d{2})")
ENTRY_DEPTH = 3
"""Elements around an entry: document, message and statement."""
OPENING = ("OPBD", "PRCD")
CLOSING = ("CLBD",)
INTERIM = ("ITBD",)


@dataclass(slots=True)
class Account:
    """What stands before and around the entries of one statement."""

    path: str
    role: StatementRole
    members: dict[str, Element] = field(default_factory=dict)
    balances: list[Element] = field(default_factory=list)
    drafts: dict[str, StatementDraft] = field(default_factory=dict)
    entries: int = 0
    booked: int = 0
    all_minor: list[int] = field(default_factory=list)
    booked_minor: list[int] = field(default_factory=list)


def recogniser(container: str) -> Callable[[bytes], bool]:
    """Whether a file is the message that `container` stands for."""
    tag = re.compile(rb"<(?:[\w.-]+:)?%b[\s>/]" % container.encode())
    wide = container.encode("utf-16-le")

    def recognises(data: bytes) -> bool:
        head = data[:HEAD_BYTES]
        return bool(tag.search(head)) or wide in head

    return recognises


def read(data: bytes, draft: Draft) -> None:
    """Walk the file once; entries are let go as soon as they are lines."""
    account: Account | None = None
    path: list[str] = []
    counts: Counter[str] = Counter()
    try:
        for edge, around, element in read_elements(data, ENTRY_DEPTH + 1):
            if edge is Edge.START:
                path[around:] = [element.tag]
                if around == 0:
                    draft.version = _version(element)
                elif around == ENTRY_DEPTH - 1:
                    account = _begin(path, counts)
            elif account is not None and around == ENTRY_DEPTH:
                _take(element, element.tag, account, draft)
            elif account is not None and around == ENTRY_DEPTH - 1:
                _close(account, draft)
                account = None
    except DoctypeError:
        draft.error(FindingCode.MALFORMED, "", "has a DTD, which no bank statement needs")
    except ValueError as error:
        draft.error(FindingCode.MALFORMED, "", f"not well-formed XML: {error}")


def _version(document: Element) -> str:
    """From the namespace that the document declares, where it declares one."""
    found = VERSION.search(" ".join(document.attrib.values()))
    return found[1] if found else ""


def _begin(path: list[str], counts: Counter[str]) -> Account | None:
    """The statement that begins here; None for other children of the message."""
    _, tag, role = CONTAINERS.get(path[1], ("", "", StatementRole.BOOKED))
    if path[2] != tag:
        return None
    counts[tag] += 1
    return Account(f"/{'/'.join(path)}[{counts[tag]}]", role)


def _take(element: Element, tag: str, account: Account, draft: Draft) -> None:
    if tag == "Bal":
        account.balances.append(element)
    elif tag == "Ntry":
        account.entries += 1
        _entry(element, account, draft)
    else:
        account.members.setdefault(tag, element)


def _currency(account: Account) -> str:
    """The account's, or that of the balance which opens the statement; may be empty."""
    stated = word(account.members.get("Acct"), "Ccy")
    if stated:
        return stated
    amount = part(account.balances[0], "Amt") if account.balances else None
    return amount.get("Ccy", "") if amount is not None else ""


def _entry(element: Element, account: Account, draft: Draft) -> None:
    here = f"{account.path}/Ntry[{account.entries}]"
    amount = part(element, "Amt")
    currency = amount.get("Ccy", "") if amount is not None else ""
    own = _currency(account)
    if account.role is StatementRole.BOOKED and own and currency != own:
        message = f"an entry in {currency or 'no currency'} on an account in {own}"
        draft.error(FindingCode.LINE_INCONSISTENT, here, message)
        return
    statement = _statement(account, currency, draft)
    before = len(statement.lines)
    booked = read_entry(element, here, statement, draft, fallback=_created(account))
    minor = sum(line.amount_minor for line in statement.lines[before:])
    account.all_minor.append(minor)
    if booked:
        account.booked += 1
        account.booked_minor.append(minor)


def _statement(account: Account, currency: str, draft: Draft) -> StatementDraft:
    statement = account.drafts.get(currency)
    if statement is None:
        members = account.members
        statement = account.drafts[currency] = draft.statement(
            currency, account_ref=_account_ref(account), role=account.role, locator=account.path
        )
        statement.statement_ref = _text(members, "Id")
        number = _text(members, "ElctrncSeqNb") or _text(members, "LglSeqNb")
        statement.sequence = int(number) if number and is_digits(number) else None
        period = members.get("FrToDt")
        statement.period_from = _date(word(period, "FrDtTm") or word(period, "FrDt"))
        statement.period_to = _date(word(period, "ToDtTm") or word(period, "ToDt"))
    return statement


def _account_ref(account: Account) -> str:
    identity = part(account.members.get("Acct"), "Id")
    return word(identity, "IBAN") or word(part(identity, "Othr"), "Id")


def _text(members: dict[str, Element], tag: str) -> str | None:
    element = members.get(tag)
    return (element.text or "").strip() or None if element is not None else None


def _created(account: Account) -> date | None:
    return _date(_text(account.members, "CreDtTm") or "")


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        return None


def _close(account: Account, draft: Draft) -> None:
    """Balances and the summary, once every entry has been seen."""
    own = _currency(account)
    if not account.drafts:
        if not own:
            draft.error(
                FindingCode.NO_STATEMENT, account.path, "no entry, no balance and no currency"
            )
            return
        _statement(account, own, draft)
    statement = account.drafts.get(own) or next(iter(account.drafts.values()))
    if account.role is StatementRole.BOOKED:
        opening = _balance(account, OPENING, statement, draft, last=False)
        closing = _balance(account, CLOSING, statement, draft, last=True)
        statement.opening_minor, statement.closing_minor = opening, closing
        if statement.period_from is None and statement.period_to is None:
            statement.period_to = _balance_day(account, CLOSING)
    else:
        _interim(account, statement)
    _summary(account, statement, draft)


def _balance(
    account: Account,
    codes: tuple[str, ...],
    statement: StatementDraft,
    draft: Draft,
    *,
    last: bool,
) -> int | None:
    """The balance of the first of these codes that is there, signed."""
    for code in codes:
        found = [each for each in account.balances if _code(each) == code]
        if found:
            return _balance_minor(found[-1] if last else found[0], code, statement, draft)
    return None


def _code(balance: Element) -> str:
    return word(part(part(balance, "Tp"), "CdOrPrtry"), "Cd")


def _balance_day(account: Account, codes: tuple[str, ...]) -> date | None:
    found = [each for each in account.balances if _code(each) in codes]
    stated = part(found[-1], "Dt") if found else None
    return _date(word(stated, "Dt") or word(stated, "DtTm"))


def _balance_minor(
    balance: Element, code: str, statement: StatementDraft, draft: Draft
) -> int | None:
    here = f"{statement.locator}/Bal[{code}]"
    amount = part(balance, "Amt")
    currency = amount.get("Ccy", "") if amount is not None else ""
    if currency != statement.currency:
        message = f"a balance in {currency or 'no currency'} on an account in {statement.currency}"
        draft.error(FindingCode.BALANCE_DISAGREES, here, message)
        return None
    minor = draft.amount((amount.text if amount is not None else "") or "", currency, here, code)
    side = word(balance, "CdtDbtInd")
    if side not in ("CRDT", "DBIT"):
        draft.error(FindingCode.AMOUNT_UNREADABLE, here, "CdtDbtInd is neither CRDT nor DBIT")
    return -minor if side == "DBIT" else minor


def _interim(account: Account, statement: StatementDraft) -> None:
    """Balances of a report within the day are kept to be shown; they close nothing."""
    for balance in account.balances:
        code = _code(balance)
        amount = part(balance, "Amt")
        if code in (*OPENING, *CLOSING, *INTERIM) and amount is not None:
            shown = f"{word(balance, 'CdtDbtInd')} {(amount.text or '').strip()}"
            statement.control_totals[code] = f"{shown} {amount.get('Ccy', '')}".strip()


def _summary(account: Account, statement: StatementDraft, draft: Draft) -> None:
    """TxsSummry, where the bank gives one: of all entries, or of those booked."""
    summary = account.members.get("TxsSummry")
    here = f"{account.path}/TxsSummry"
    for tag, signs in (("TtlNtries", (1, -1)), ("TtlCdtNtries", (1,)), ("TtlDbtNtries", (-1,))):
        total = part(summary, tag)
        if total is None:
            continue
        every = [minor for minor in account.all_minor if _sign(minor) in signs]
        booked = [minor for minor in account.booked_minor if _sign(minor) in signs]
        count = word(total, "NbOfNtries")
        if count:
            stated = draft.count(count, here, f"{tag}/NbOfNtries")
            if stated != len(booked):
                statement.compare_count(f"{tag}/NbOfNtries", stated, len(every))
            statement.control_totals[f"{tag}/NbOfNtries"] = count
        text = word(total, "Sum")
        if text:
            stated = draft.amount(text, statement.currency, here, f"{tag}/Sum")
            if stated != sum(map(abs, booked)):
                statement.compare(
                    FindingCode.TOTAL_DISAGREES, f"{tag}/Sum", stated, sum(map(abs, every))
                )
            statement.control_totals[f"{tag}/Sum"] = text


def _sign(minor: int) -> int:
    return -1 if minor < 0 else 1

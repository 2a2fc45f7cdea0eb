"""
Statements of the bank: one account in camt.053, one in MT940, a statement for every day.

A day without money has a statement too: that is what shows that nothing is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from ledger.forms.money import format_amount
from ledger.recon.synthetic.plan import Plan
from ledger.recon.synthetic.world import BANK_CAMT, BANK_MT940, Arrived

IBAN = "DE02120300000000202051"
MT940_ACCOUNT = "12030000/0000202052"
OPENING = 10_000_000
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"


def camt_files(plan: Plan, arrived: Iterable[Arrived]) -> Iterator[tuple[str, str]]:
    """Name and text of each month's file."""
    for month, days in _months(plan, arrived, BANK_CAMT):
        statements = "".join(_camt_statement(*each) for each in days)
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}">\n'
            f"<BkToCstmrStmt><GrpHdr><MsgId>SYNTHETIC-{month:%Y%m}</MsgId>"
            f"<CreDtTm>{month}T06:00:00+01:00</CreDtTm></GrpHdr>\n{statements}"
            "</BkToCstmrStmt>\n</Document>\n"
        )
        yield f"bank-camt-{month:%Y-%m}.xml", text


def mt940_files(plan: Plan, arrived: Iterable[Arrived]) -> Iterator[tuple[str, str]]:
    """Name and text of each month's file."""
    for month, days in _months(plan, arrived, BANK_MT940):
        yield f"bank-mt940-{month:%Y-%m}.sta", "".join(_mt940_statement(*each) for each in days)


Day = tuple[date, int, int, list[Arrived]]
"""Day, number, opening balance, entries."""


def _months(
    plan: Plan, arrived: Iterable[Arrived], account: str
) -> Iterator[tuple[date, list[Day]]]:
    by_day: dict[date, list[Arrived]] = defaultdict(list)
    for entry in sorted(arrived, key=lambda entry: (entry.day, entry.number)):
        if entry.account == account:
            by_day[entry.day].append(entry)
    months: dict[date, list[Day]] = defaultdict(list)
    balance, day, number = OPENING, plan.first, 1
    while day <= plan.bank_until:
        if day.month == day.day == 1:
            number = 1
        months[day.replace(day=1)].append((day, number, balance, by_day[day]))
        balance += sum(entry.amount for entry in by_day[day])
        day, number = day + timedelta(days=1), number + 1
    yield from months.items()


def _camt_statement(day: date, number: int, opening: int, entries: list[Arrived]) -> str:
    closing = opening + sum(entry.amount for entry in entries)
    return (
        f"<Stmt><Id>{day:%Y%m%d}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb>"
        f"<CreDtTm>{day}T23:59:59+01:00</CreDtTm>"
        f"<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{_camt_balance('OPBD', opening, day)}{_camt_balance('CLBD', closing, day)}"
        f"{''.join(map(_camt_entry, entries))}</Stmt>\n"
    )


def _camt_balance(code: str, minor: int, day: date) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_camt_amount(minor)}"
        f"<Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def _camt_amount(minor: int) -> str:
    side = "DBIT" if minor < 0 else "CRDT"
    return f'<Amt Ccy="EUR">{format_amount(abs(minor), 2)}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def _camt_entry(entry: Arrived) -> str:
    return (
        f"<Ntry>{_camt_amount(entry.amount)}<Sts>BOOK</Sts>"
        f"<BookgDt><Dt>{entry.day}</Dt></BookgDt><ValDt><Dt>{entry.day}</Dt></ValDt>"
        f"<AcctSvcrRef>{entry.ref}</AcctSvcrRef><NtryDtls><TxDtls>"
        f"<RmtInf><Ustrd>{entry.text}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"
    )


def _mt940_statement(day: date, number: int, opening: int, entries: list[Arrived]) -> str:
    closing = opening + sum(entry.amount for entry in entries)
    lines = [
        f":20:SYN{day:%Y%m%d}",
        f":25:{MT940_ACCOUNT}",
        f":28C:{number}/1",
        f":60F:{_mt940_balance(opening, day)}",
        *(line for entry in entries for line in _mt940_entry(entry)),
        f":62F:{_mt940_balance(closing, day)}",
        "-",
    ]
    return "\r\n".join(lines) + "\r\n"


def _mt940_balance(minor: int, day: date) -> str:
    return f"{_mark(minor)}{day:%y%m%d}EUR{_comma(minor)}"


def _mt940_entry(entry: Arrived) -> tuple[str, str]:
    dates = f"{entry.day:%y%m%d}{entry.day:%m%d}"
    money = f"{_mark(entry.amount)}{_comma(entry.amount)}"
    return f":61:{dates}{money}NTRFNONREF//{entry.ref}", f":86:{entry.text}"


def _mark(minor: int) -> str:
    return "D" if minor < 0 else "C"


def _comma(minor: int) -> str:
    return format_amount(abs(minor), 2).replace(".", ",")

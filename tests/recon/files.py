"""Small files of every format, made from movements; synthetic, and whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate

from ledger.forms.money import format_amount
from ledger.recon.mapping import CsvMapping
from ledger.recon.source import Source

from .samples import make_source


@dataclass(frozen=True)
class Movement:
    """Money that moved by `minor` hundredths of a euro on a day of March 2026."""

    minor: int
    day: int = 2
    ref: str = "R1"

    @property
    def date(self) -> date:
        return date(2026, 3, 1) + timedelta(days=self.day - 1)


Movements = Sequence[Movement]
OPENING = 10_000


def closing(movements: Movements) -> int:
    return OPENING + sum(each.minor for each in movements)


def euros(minor: int) -> str:
    return format_amount(minor, 2)


def comma(minor: int) -> str:
    return euros(abs(minor)).replace(".", ",")


def stripe(movements: Movements) -> bytes:
    rows = ["balance_transaction_id,created,currency,gross,fee,net,reporting_category,source_id"]
    rows += [
        f"txn_{each.ref},{each.date} 10:00:00,eur,{euros(each.minor)},0.00,{euros(each.minor)},"
        f"{'charge' if each.minor > 0 else 'refund'},src_{each.ref}"
        for each in movements
    ]
    return "\n".join([*rows, ""]).encode()


ADYEN_HEAD = (
    "Merchant Account,Psp Reference,Merchant Reference,Creation Date,TimeZone,Type,"
    "Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC),Net Currency,"
    "Net Debit (NC),Net Credit (NC),Batch Number"
)


def adyen(movements: Movements) -> bytes:
    def row(minor: int, day: date, kind: str, psp: str) -> str:
        sides = f"{euros(-minor)}," if minor < 0 else f",{euros(minor)}"
        gross = f"EUR,{sides}" if psp else ",,"
        return (
            f"Shop,{psp},{psp},{day} 10:00:00,CET,{kind},{psp and 'M' + psp},{gross},EUR,{sides},4"
        )

    rows = [
        row(each.minor, each.date, "Settled" if each.minor > 0 else "Refunded", each.ref)
        for each in movements
    ]
    paid_out = -sum(each.minor for each in movements)
    last = max((each.date for each in movements), default=date(2026, 3, 1))
    return "\n".join([ADYEN_HEAD, *rows, row(paid_out, last, "MerchantPayout", ""), ""]).encode()


STL_COLUMNS = (
    '"CH","Transaction ID","Invoice ID","PayPal Reference ID","PayPal Reference ID Type",'
    '"Transaction Event Code","Transaction Initiation Date","Transaction Completion Date",'
    '"Transaction Debit or Credit","Gross Transaction Amount","Gross Transaction Currency",'
    '"Fee Debit or Credit","Fee Amount","Fee Currency"'
)


def side(minor: int) -> str:
    return f'"{"DR" if minor < 0 else "CR"}",{abs(minor)}'


def paypal_stl(movements: Movements) -> bytes:
    def row(each: Movement) -> str:
        at = f"{each.date:%Y/%m/%d} 10:00:00 +0100"
        code = "T0006" if each.minor > 0 else "T1107"
        return f'"SB","{each.ref}","","","","{code}",{at},{at},{side(each.minor)},"EUR","",0,"EUR"'

    plus = sum(each.minor for each in movements if each.minor > 0)
    minus = -sum(each.minor for each in movements if each.minor < 0)
    balances = f"{side(OPENING)},{side(closing(movements))}"
    rows = [
        '"RH",2026/03/31 10:00:00 +0100,"A","SYN","9"',
        '"FH",01',
        '"SH",2026/03/01 00:00:00 +0100,2026/03/31 23:59:59 +0100,"SYN",""',
        STL_COLUMNS,
        *map(row, movements),
        f'"SF","EUR",{plus},{minus},0,0,{balances},"CR",0,"CR",0',
        f'"SC",{len(movements)}',
        f'"RC",{len(movements)}',
        f'"FF",{len(movements)}',
        "",
    ]
    return "\n".join(rows).encode()


def paypal_activity(movements: Movements) -> bytes:
    head = "Date,Time,TimeZone,Type,Status,Currency,Gross,Fee,Net,Transaction ID,Balance"
    balances = list(accumulate((each.minor for each in movements), initial=OPENING))[1:]
    rows = [
        f"{each.date},10:00:00,CET,Payment,Completed,EUR,{euros(each.minor)},0.00,"
        f"{euros(each.minor)},{each.ref},{euros(balance)}"
        for each, balance in zip(movements, balances, strict=True)
    ]
    return "\n".join([head, *rows, ""]).encode()


def camt053(movements: Movements) -> bytes:
    def balance(code: str, minor: int, day: date) -> str:
        return (
            f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
            f'<Amt Ccy="EUR">{euros(abs(minor))}</Amt>'
            f"<CdtDbtInd>{'DBIT' if minor < 0 else 'CRDT'}</CdtDbtInd>"
            f"<Dt><Dt>{day}</Dt></Dt></Bal>"
        )

    def entry(each: Movement) -> str:
        return (
            f'<Ntry><Amt Ccy="EUR">{euros(abs(each.minor))}</Amt>'
            f"<CdtDbtInd>{'DBIT' if each.minor < 0 else 'CRDT'}</CdtDbtInd><Sts>BOOK</Sts>"
            f"<BookgDt><Dt>{each.date}</Dt></BookgDt><ValDt><Dt>{each.date}</Dt></ValDt>"
            f"<NtryDtls><TxDtls><Refs><EndToEndId>{each.ref}</EndToEndId></Refs></TxDtls>"
            "</NtryDtls></Ntry>"
        )

    return "".join(
        [
            '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt>',
            "<GrpHdr><MsgId>M</MsgId></GrpHdr><Stmt><Id>S</Id>",
            "<Acct><Id><IBAN>DE02120300000000202051</IBAN></Id><Ccy>EUR</Ccy></Acct>",
            balance("OPBD", OPENING, date(2026, 3, 1)),
            balance("CLBD", closing(movements), date(2026, 3, 31)),
            *map(entry, movements),
            "</Stmt></BkToCstmrStmt></Document>\n",
        ]
    ).encode()


def mt940(movements: Movements) -> bytes:
    def balance(tag: str, minor: int, day: date) -> str:
        return f":{tag}:{'D' if minor < 0 else 'C'}{day:%y%m%d}EUR{comma(minor)}"

    lines = [
        f":61:{each.date:%y%m%d}{each.date:%m%d}{'D' if each.minor < 0 else 'C'}"
        f"{comma(each.minor)}NTRF{each.ref}\r\n:86:payment {each.ref}"
        for each in movements
    ]
    return "\r\n".join(
        [
            ":20:SYN",
            ":25:10020030/1234567",
            ":28C:3/1",
            balance("60F", OPENING, date(2026, 3, 1)),
            *lines,
            balance("62F", closing(movements), date(2026, 3, 31)),
            "-",
            "",
        ]
    ).encode()


def bai2(movements: Movements) -> bytes:
    details = [
        f"16,{'475' if each.minor < 0 else '174'},{abs(each.minor)},,B{each.ref},{each.ref},PAID/"
        for each in movements
    ]
    total = OPENING + closing(movements) + sum(abs(each.minor) for each in movements)
    records = [
        "01,BANK,SHOP,260331,0700,1,,,2/",
        "02,SHOP,BANK,1,260331,,EUR,2/",
        f"03,1234567,EUR,010,{OPENING:+},,,015,{closing(movements):+},,/",
        *details,
        f"49,{total:+},{len(details) + 2}/",
        f"98,{total:+},1,{len(details) + 4}/",
        f"99,{total:+},1,{len(details) + 6}/",
        "",
    ]
    return "\n".join(records).encode()


def ofx(movements: Movements) -> bytes:
    lines = [
        f"<STMTTRN><TRNTYPE>OTHER<DTPOSTED>{each.date:%Y%m%d}<TRNAMT>{euros(each.minor)}"
        f"<FITID>{each.ref}<MEMO>paid</STMTTRN>"
        for each in movements
    ]
    return "\n".join(
        [
            "OFXHEADER:100",
            "DATA:OFXSGML",
            "VERSION:102",
            "",
            "<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR",
            "<BANKACCTFROM><BANKID>1<ACCTID>1234567</BANKACCTFROM>",
            "<BANKTRANLIST><DTSTART>20260301<DTEND>20260331",
            *lines,
            f"</BANKTRANLIST><LEDGERBAL><BALAMT>{euros(closing(movements))}<DTASOF>20260331",
            "</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>",
            "",
        ]
    ).encode()


TABLE = CsvMapping(
    version=1,
    delimiter=";",
    date="day",
    amount="amount",
    balance="balance",
    currency="currency",
    bank_ref="ref",
)


def table(movements: Movements) -> bytes:
    balances = list(accumulate((each.minor for each in movements), initial=OPENING))[1:]
    rows = [
        f"{each.date};{euros(each.minor)};EUR;{each.ref};{euros(balance)}"
        for each, balance in zip(movements, balances, strict=True)
    ]
    return "\n".join(["day;amount;currency;ref;balance", *rows, ""]).encode()


WRITERS: dict[str, Callable[[Movements], bytes]] = {
    "stripe.itemized": stripe,
    "adyen.settlement_details": adyen,
    "paypal.settlement": paypal_stl,
    "paypal.activity": paypal_activity,
    "camt.053": camt053,
    "mt940": mt940,
    "bai2": bai2,
    "ofx": ofx,
    "csv": table,
}
IN_ANY_ORDER = sorted(WRITERS.keys() - {"paypal.activity", "csv"})
"""Formats without a running balance, which belongs to one order."""


def source_of(name: str) -> Source:
    return make_source(mapping=TABLE) if name == "csv" else make_source(date_order="ymd")

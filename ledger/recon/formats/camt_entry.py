"""
Entries of a camt message: one amount with a side, and the transactions behind it.

`CdtDbtInd` is the only source of a sign: `RvslInd` tells that an entry undoes another and does
not turn it round again. An entry is split into its transactions only where they add up to it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from xml.etree.ElementTree import Element

from ledger.recon.draft import Draft, StatementDraft
from ledger.recon.formats.days import YEAR_MIN, plausible
from ledger.recon.formats.markup import part, parts, word
from ledger.recon.statement import FindingCode, LineKind, StatementRole

BOOKED = "BOOK"
NO_REFERENCE = frozenset({"NOTPROVIDED", "NONREF"})
RETURNS = frozenset({"RRTN", "PRDD", "RPCR", "RIMB", "UPDD", "UPCT", "RJCT"})
"""Sub-families of bank transaction codes that mean a return."""
CHARGES = frozenset({"CHRG", "COMM", "FEES", "COMT"})
SIGNS = {"CRDT": 1, "DBIT": -1}


def read_entry(
    entry: Element, here: str, statement: StatementDraft, draft: Draft, *, fallback: date | None
) -> bool:
    """Add one entry to `statement`, as one line or as its transactions; whether it is booked."""
    currency = statement.currency
    sign = SIGNS.get(word(entry, "CdtDbtInd"))
    if sign is None:
        message = "CdtDbtInd is neither CRDT nor DBIT"
        draft.error(FindingCode.AMOUNT_UNREADABLE, here, message)
        sign = 1
    minor = sign * draft.amount(word(entry, "Amt"), currency, here, "Amt")
    booked = (word(entry, "Sts", "Cd") or word(entry, "Sts")) in (BOOKED, "")
    if not booked:
        draft.note(FindingCode.NOT_BOOKED, here, "not booked yet: not counted as money")
    reference = word(entry, "AcctSvcrRef")
    common: dict[str, Any] = {
        **_dates(entry, here, draft, fallback),
        "is_cash": booked and statement.role is StatementRole.BOOKED,
    }
    details = [
        (f"{here}/NtryDtls[{place}]/TxDtls[{at}]", detail)
        for place, group in enumerate(parts(entry, "NtryDtls"), 1)
        for at, detail in enumerate(parts(group, "TxDtls"), 1)
    ]
    shares = _shares([detail for _, detail in details], statement, here, sign=sign, minor=minor)
    if shares is None:
        only = details[0][1] if len(details) == 1 else None
        statement.add(
            identity=reference or None,
            locator=here,
            amount_minor=minor,
            **common,
            **_words(entry, only, minor),
        )
        return booked
    for (place, detail), share in zip(details, shares, strict=True):
        number = place.removeprefix(here)
        statement.add(
            identity=f"{reference}{number}" if reference else None,
            locator=place,
            amount_minor=share,
            **common,
            **(_words(entry, detail, share) | {"batch_ref": _batch(entry, detail) or reference}),
        )
    return booked


def _dates(entry: Element, here: str, draft: Draft, fallback: date | None) -> dict[str, Any]:
    booking = word(entry, "BookgDt", "Dt") or word(entry, "BookgDt", "DtTm")
    value = word(entry, "ValDt", "Dt") or word(entry, "ValDt", "DtTm")
    value_date = _day(value, here, "ValDt", draft) if value else None
    day = _day(booking, here, "BookgDt", draft) if booking else value_date or fallback
    if not booking:
        message = "no booking date: the value date or the day of the file stands for it"
        draft.warn(FindingCode.DEVIATION, here, message)
    if day is None:
        draft.no_date("", here, "BookgDt")
        day = date(YEAR_MIN, 1, 1)
    return {
        "booked_date": day,
        "booked_tz": draft.source.iana_tz,
        "booked_at_utc": _moment(booking),
        "value_date": value_date,
    }


def _day(text: str, here: str, name: str, draft: Draft) -> date:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        draft.no_date(text, here, name)
        return date(YEAR_MIN, 1, 1)


def _moment(text: str) -> datetime | None:
    """The moment of a DtTm that has an offset."""
    try:
        found = datetime.fromisoformat(text) if "T" in text else None
    except ValueError:
        return None
    if found is None or found.tzinfo is None or not plausible(found.year):
        return None
    return found.astimezone(UTC)


def _shares(
    details: list[Element], statement: StatementDraft, here: str, *, sign: int, minor: int
) -> list[int] | None:
    """What each of several transactions has of the entry; None where they do not make it up."""
    if len(details) < 2:  # noqa: PLR2004
        return None
    shares = []
    for detail in details:
        amount = _amount(detail)
        if amount is None or amount.get("Ccy", statement.currency) != statement.currency:
            return None
        side = SIGNS.get(word(detail, "CdtDbtInd"), sign)
        text = amount.text or ""
        found = statement.draft.amount(text, statement.currency, here, "Amt of a transaction")
        shares.append(side * found)
    return shares if sum(shares) == minor else None


def _amount(detail: Element) -> Element | None:
    """Older versions have the amount of a transaction among its amount details only."""
    for path in (("Amt",), ("AmtDtls", "TxAmt", "Amt"), ("AmtDtls", "InstdAmt", "Amt")):
        found = part(detail, *path)
        if found is not None:
            return found
    return None


def _words(entry: Element, detail: Element | None, minor: int) -> dict[str, Any]:
    """References, texts and kind. Names and accounts of people stay in the file."""
    references = part(detail, "Refs")
    reason = _reason(detail)
    family = part(entry, "BkTxCd", "Domn", "Fmly")
    codes = {word(family, "Cd"), word(family, "SubFmlyCd")}
    detail_family = part(detail, "BkTxCd", "Domn", "Fmly")
    codes |= {word(detail_family, "Cd"), word(detail_family, "SubFmlyCd")}
    if reason or codes & RETURNS:
        kind = LineKind.RETURNED
    elif minor < 0 and codes & CHARGES:
        kind = LineKind.FEE
    else:
        kind = LineKind.MOVEMENT
    raw = {
        name: found
        for name in ("NtryRef", "RvslInd", "AcctSvcrRef")
        if (found := word(entry, name))
    }
    raw |= {
        child.tag: child.text.strip()
        for child in (references if references is not None else ())
        if child.text and child.text.strip()
    }
    raw |= _codes(entry, detail)
    return {
        "kind": kind,
        "provider_txn_id": word(references, "TxId") or word(references, "UETR") or None,
        "merchant_ref": _reference(references),
        "batch_ref": _batch(entry, detail) or None,
        "bank_ref": word(references, "AcctSvcrRef") or word(entry, "AcctSvcrRef") or None,
        "remittance": _remittance(detail) or word(entry, "AddtlNtryInf") or None,
        "reason_code": reason or None,
        "raw": raw,
    }


def _reference(references: Element | None) -> str | None:
    for name in ("EndToEndId", "InstrId"):
        found = word(references, name)
        if found and found not in NO_REFERENCE:
            return found
    return None


def _batch(entry: Element, detail: Element | None) -> str:
    return word(entry, "NtryDtls", "Btch", "PmtInfId") or word(detail, "Refs", "PmtInfId")


def _reason(detail: Element | None) -> str:
    reason = part(detail, "RtrInf", "Rsn")
    return word(reason, "Cd") or word(reason, "Prtry")


def _remittance(detail: Element | None) -> str:
    information = part(detail, "RmtInf")
    texts = [(each.text or "").strip() for each in parts(information, "Ustrd")]
    texts += [word(each, "CdtrRefInf", "Ref") for each in parts(information, "Strd")]
    return " ".join(text for text in texts if text)


def _codes(entry: Element, detail: Element | None) -> dict[str, str]:
    found = {}
    for element in (entry, detail):
        code = part(element, "BkTxCd")
        family = part(code, "Domn", "Fmly")
        dotted = [word(code, "Domn", "Cd"), word(family, "Cd"), word(family, "SubFmlyCd")]
        if any(dotted):
            found["BkTxCd"] = "/".join(dotted)
        if word(code, "Prtry", "Cd"):
            found["BkTxCd/Prtry"] = word(code, "Prtry", "Cd")
    charges = part(entry, "Chrgs")
    total = (
        word(charges, "TtlChrgsAndTaxAmt") or word(charges, "Rcrd", "Amt") or word(charges, "Amt")
    )
    if total:
        # May or may not be inside Amt: shown, never added.
        found["Chrgs"] = total
    return found

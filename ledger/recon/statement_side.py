"""
Statement side: lines of files as rows that are kept, and rows as items that are compared.

A line's name is made of its source, account, currency, identity and occurrence: the same in
every file that has the line, so that a file read twice, or two that overlap, add it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ledger.canonical import canonical_bytes
from ledger.recon.account import Account
from ledger.recon.coverage import Span
from ledger.recon.matching import Item, key_of
from ledger.recon.matching.link import digest_of
from ledger.recon.sharing import Shared
from ledger.recon.statement import Line, LineKind, Reading, Statement, StatementRole

SAID_BYTES = 16
_ID_PREFIX = "id:"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRow:
    """A line as it is kept."""

    line: str
    """Its name."""
    said: bytes
    """Hash of what it says."""
    booked: date
    document: Mapping[str, Any]


def line_rows(reading: Reading, source: str) -> Iterator[LineRow]:
    """The lines of all statements of a file, in their order."""
    for number, statement in enumerate(reading.statements):
        for line in statement.lines:
            document = _document(line, statement, number)
            said = {
                name: document[name]
                for name in ("kind", "amount", "fee", "currency", "booked", "txn", "original")
            }
            yield LineRow(
                line=digest_of(
                    source,
                    statement.account_ref,
                    line.currency,
                    line.identity_key,
                    str(line.occurrence),
                ),
                said=hashlib.sha256(canonical_bytes(said)).digest()[:SAID_BYTES],
                booked=line.booked_date,
                document=document,
            )


def _document(line: Line, statement: Statement, number: int) -> dict[str, Any]:
    return {
        "statement": number,
        "account": statement.account_ref,
        "locator": line.locator,
        "identity": line.identity_key,
        "occurrence": line.occurrence,
        "kind": line.kind.value,
        "amount": str(line.amount_minor),
        "fee": str(line.fee_minor),
        "net": str(line.net_minor),
        "currency": line.currency,
        "customer_amount": _text(line.customer_amount_minor),
        "customer_currency": line.customer_currency,
        "booked": line.booked_date.isoformat(),
        "booked_tz": line.booked_tz,
        "booked_at_utc": line.booked_at_utc and line.booked_at_utc.isoformat(),
        "value_date": line.value_date and line.value_date.isoformat(),
        "txn": line.provider_txn_id,
        "original": line.provider_ref_id,
        "merchant_ref": line.merchant_ref,
        "batch_ref": line.batch_ref,
        "bank_ref": line.bank_ref,
        "text": line.remittance,
        "reason": line.reason_code,
        "raw": dict(line.raw),
        "is_cash": line.is_cash and statement.role is StatementRole.BOOKED,
        "supersedes": line.supersedes,
    }


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def item_of(
    name: str, document: Mapping[str, Any], account: Account, shared: Shared
) -> Item | None:
    """The movement a kept line tells of; None where no money moved."""
    kind = LineKind(document["kind"])
    if not document["is_cash"] or kind is LineKind.STATUS:
        return None
    identity = document["identity"]
    own = identity.removeprefix(_ID_PREFIX) if identity.startswith(_ID_PREFIX) else None
    value_date, seen = document["value_date"], document["customer_amount"]
    return Item(
        side=account.side,
        key=key_of(account.side, name),
        account=account.source.name,
        provider=account.source.provider,
        kind=kind,
        amount=shared(int(document["amount"])),
        fee=shared(int(document["fee"])),
        currency=shared(document["currency"]),
        day=shared(date.fromisoformat(document["booked"])),
        value_date=None if value_date is None else shared(date.fromisoformat(value_date)),
        ids=tuple(dict.fromkeys(shared(each) for each in (document["txn"], own) if each)),
        original_id=shared(document["original"]),
        merchant_ref=shared(document["merchant_ref"]),
        batch_ref=shared(document["batch_ref"]),
        bank_ref=shared(document["bank_ref"]),
        text=document["text"],
        customer_amount=None if seen is None else int(seen),
        customer_currency=document["customer_currency"],
    )


class LineFold:
    """Lines of several files, each once: as the first file has it."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.items: list[Item] = []
        """The movements they tell of, in the order they came."""
        self.restated: set[str] = set()
        """Keys of lines that a later file tells otherwise."""
        self._said: dict[str, bytes] = {}

    def add(self, name: str, said: bytes, document: Mapping[str, Any], account: Account) -> None:
        """One more line; `said` is the hash of what it says."""
        if name in self._said:
            if self._said[name] != said:
                self.restated.add(f"{account.side.value}:{name}")
            return
        self._said[name] = said
        item = item_of(name, document, account, self._shared)
        if item is not None:
            self.items.append(item)


def statement_document(statement: Statement) -> dict[str, Any]:
    """What a statement says of itself, without its lines."""
    return {
        "account": statement.account_ref,
        "currency": statement.currency,
        "role": statement.role.value,
        "ref": statement.statement_ref,
        "sequence": statement.sequence,
        "page": statement.page,
        "period_from": statement.period_from and statement.period_from.isoformat(),
        "period_to": statement.period_to and statement.period_to.isoformat(),
        "stated_from": statement.stated_from and statement.stated_from.isoformat(),
        "stated_to": statement.stated_to and statement.stated_to.isoformat(),
        "opening": _text(statement.opening_minor),
        "closing": _text(statement.closing_minor),
        "cash": str(statement.cash_minor),
        "control_totals": dict(statement.control_totals),
        "lines": len(statement.lines),
        "complete": statement.complete,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One statement of an import that counts, for continuity and coverage."""

    source: str
    account: str
    currency: str
    first: date
    last: date
    sequence: int | None
    opening: int | None
    closing: int | None
    complete: bool
    ref: str


def known_statements(
    source: str, name: str, documents: Iterable[Mapping[str, Any]]
) -> Iterator[Known]:
    """The booked statements of one import that say which days they are about."""
    for at, document in enumerate(documents):
        if document["role"] != StatementRole.BOOKED or not document["period_from"]:
            continue
        opening, closing = document["opening"], document["closing"]
        yield Known(
            source=source,
            account=document["account"],
            currency=document["currency"],
            first=date.fromisoformat(document["period_from"]),
            last=date.fromisoformat(document["period_to"] or document["period_from"]),
            sequence=document["sequence"],
            opening=None if opening is None else int(opening),
            closing=None if closing is None else int(closing),
            complete=document["complete"],
            ref=document["ref"] or f"{name} #{at + 1}",
        )


def spans_of(statements: Iterable[Known]) -> list[Span]:
    """Days that complete statements cover."""
    return [
        Span(source=each.source, currency=each.currency, first=each.first, last=each.last)
        for each in statements
        if each.complete
    ]

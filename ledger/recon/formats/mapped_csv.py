"""
Any CSV, read by the mapping of its source.

Columns that the mapping does not name may be personal and are left out. A running balance, where
there is one, is held from row to row.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ledger.errors import SettingsError
from ledger.recon.draft import Draft, StatementDraft, is_digits
from ledger.recon.formats.days import YEAR_MIN, Days, plausible
from ledger.recon.formats.table import Row, read_table
from ledger.recon.mapping import CsvMapping
from ledger.recon.statement import FindingCode, LineKind

FORMAT = "csv"
PARSER = "csv/1"
REFERENCES = (
    "provider_ref_id", "merchant_ref", "batch_ref", "bank_ref", "remittance", "reason_code",
)  # fmt: skip


def read(data: bytes, draft: Draft) -> None:
    """Put each row in a statement of its account and currency."""
    mapping = draft.source.mapping
    if mapping is None:
        raise SettingsError("a CSV of no known format needs a source with a mapping")
    draft.version = str(mapping.version)
    days = Days(draft)
    statements: dict[tuple[str, str], StatementDraft] = {}
    balances: dict[tuple[str, str], int] = {}
    rows = read_table(
        data, draft, columns_of(mapping), encoding=mapping.encoding, delimiter=mapping.delimiter
    )
    for row in reversed(list(rows)) if mapping.newest_first else rows:
        currency = (row.get(mapping.currency) if mapping.currency else "").upper()
        place = (
            row.get(mapping.account) if mapping.account else "",
            currency or draft.source.currency,
        )
        if not place[1]:
            draft.error(FindingCode.CURRENCY_UNKNOWN, row.locator, "the row has no currency")
            continue
        if place not in statements:
            statements[place] = draft.statement(place[1], account_ref=place[0], derived=True)
        _add(row, mapping, statements[place], draft, days)
        if mapping.balance and row.get(mapping.balance):
            balances[place] = _balance(row, mapping, statements[place], draft, balances.get(place))


def columns_of(mapping: CsvMapping) -> tuple[str, ...]:
    """Every column that the mapping names, which the file must have."""
    named = [
        mapping.date, mapping.value_date, mapping.amount, mapping.debit, mapping.credit,
        mapping.direction.column if mapping.direction else None, mapping.fee, mapping.net,
        mapping.balance, mapping.currency, mapping.account, mapping.kind, *mapping.skip,
        mapping.provider_txn_id, *(getattr(mapping, name) for name in REFERENCES),
    ]  # fmt: skip
    return tuple(dict.fromkeys(name for name in named if name))


def _amount(row: Row, name: str, mapping: CsvMapping, currency: str, draft: Draft) -> int:
    text = row.get(name)
    if mapping.minor_units:
        if is_digits(text.removeprefix("-")):
            return int(text)
        return draft.amount(f"{text} (integer wanted)", currency, row.locator, name)
    return draft.amount(
        text,
        currency,
        row.locator,
        name,
        decimal_separator=mapping.decimal_separator,
        thousands_separator=mapping.thousands_separator,
    )


def _gross(row: Row, mapping: CsvMapping, currency: str, draft: Draft) -> int:
    """By the mapping's rule of signs."""
    if mapping.amount is None:
        sides = [
            abs(_amount(row, name, mapping, currency, draft)) if name and row.get(name) else 0
            for name in (mapping.debit, mapping.credit)
        ]
        if all(sides) or not any(
            name and row.get(name) for name in (mapping.debit, mapping.credit)
        ):
            message = "not exactly one of debit and credit is filled"
            draft.error(FindingCode.LINE_INCONSISTENT, row.locator, message)
        return sides[1] - sides[0]
    amount = _amount(row, mapping.amount, mapping, currency, draft)
    direction = mapping.direction
    if direction is None:
        return amount
    word = row.get(direction.column)
    if word in direction.incoming:
        return amount
    if word not in direction.outgoing:
        message = f"{direction.column} says neither in nor out"
        draft.error(FindingCode.AMOUNT_UNREADABLE, row.locator, message)
    return -amount


def _add(
    row: Row, mapping: CsvMapping, statement: StatementDraft, draft: Draft, days: Days
) -> None:
    currency, here = statement.currency, row.locator
    gross = _gross(row, mapping, currency, draft)
    fee = 0
    if mapping.fee and row.get(mapping.fee):
        fee = _amount(row, mapping.fee, mapping, currency, draft)
    if mapping.net and row.get(mapping.net):
        net = _amount(row, mapping.net, mapping, currency, draft)
        if gross - fee != net and not draft.rejected:
            show = draft.show
            draft.error(
                FindingCode.LINE_INCONSISTENT,
                here,
                f"amount {show(gross, currency)} - fee {show(fee, currency)} is not "
                f"net {show(net, currency)}",
            )
    kind = mapping.default_kind
    if mapping.kind:
        word = row.get(mapping.kind)
        kind = mapping.kinds.get(word, LineKind.OTHER)
        if word not in mapping.kinds:
            statement.unknown_kind(word)
    happened = all(row.get(name) not in words for name, words in mapping.skip.items())
    if not happened:
        draft.note(FindingCode.NOT_BOOKED, here, "did not happen: not counted as money")
    booked = _day(row, mapping.date, mapping, draft)
    has_time = "%H" in mapping.date_format
    members: dict[str, Any] = {
        name: row.text(column) for name in REFERENCES if (column := getattr(mapping, name))
    }
    own = row.text(mapping.provider_txn_id) if mapping.provider_txn_id else None
    statement.add(
        identity=own,
        locator=here,
        kind=kind,
        amount_minor=gross,
        fee_minor=fee,
        booked_date=booked.date(),
        booked_tz=days.tz,
        booked_at_utc=(booked.astimezone(UTC) if booked.tzinfo else days.utc(booked))
        if has_time
        else None,
        value_date=_day(row, mapping.value_date, mapping, draft).date()
        if mapping.value_date and row.get(mapping.value_date)
        else None,
        provider_txn_id=own,
        raw=row.keep(mapping.keep),
        is_cash=happened and kind is not LineKind.STATUS,
        **members,
    )


def _day(row: Row, column: str, mapping: CsvMapping, draft: Draft) -> datetime:
    found = parse_day(row.get(column), mapping.date_format)
    if found is None:
        draft.no_date(row.get(column), row.locator, column)
        return datetime(YEAR_MIN, 1, 1)  # noqa: DTZ001 - a placeholder in a rejected draft
    return found


@lru_cache(maxsize=4_096)
def parse_day(text: str, form: str) -> datetime | None:
    """A date in the form of strptime, or None."""
    try:
        found = datetime.strptime(text, form)  # noqa: DTZ007 - the zone is the source's
    except ValueError:
        return None
    return found if plausible(found.year) else None


def _balance(
    row: Row, mapping: CsvMapping, statement: StatementDraft, draft: Draft, before: int | None
) -> int:
    """Hold the running balance to the one of the row before; the balance after this row."""
    assert mapping.balance is not None, "only asked where the mapping has a balance"
    currency, line = statement.currency, statement.lines[-1]
    after = _amount(row, mapping.balance, mapping, currency, draft)
    moved = line.net_minor if line.is_cash else 0
    if before is None:
        statement.opening_minor = after - moved
    elif before + moved != after and not draft.rejected:
        show = draft.show
        draft.error(
            FindingCode.BALANCE_DISAGREES,
            row.locator,
            f"balance {show(before, currency)} and net {show(moved, currency)} make "
            f"{show(before + moved, currency)}, the row says {show(after, currency)}, "
            f"difference {show(after - before - moved, currency)}",
        )
    statement.closing_minor = after
    return after

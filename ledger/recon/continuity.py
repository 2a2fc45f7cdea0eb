"""
Continuity: whether the statements of an account follow each other, balance on balance.

Pure. What does not follow is told; that a day between is not covered is for `coverage`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ledger.forms.money import amount_text
from ledger.recon.statement_side import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Two statements of one account that do not follow each other."""

    source: str
    account: str
    currency: str
    day: date
    """The first day of the later one."""
    code: str
    """`balance_gap`, `sequence_gap` or `days_missing`."""
    message: str


def find_breaks(statements: Iterable[Known]) -> list[Break]:
    """Where a statement does not begin as the one before it ended."""
    accounts: dict[tuple[str, str, str], list[Known]] = defaultdict(list)
    for each in dict.fromkeys(statements):
        accounts[each.source, each.account, each.currency].append(each)
    found: list[Break] = []
    for key in sorted(accounts):
        series = sorted(
            accounts[key], key=lambda each: (each.first, each.last, each.sequence or 0, each.ref)
        )
        found += _breaks_of(series)
    return found


def _breaks_of(series: Sequence[Known]) -> Iterable[Break]:
    for before, after in itertools.pairwise(series):
        if after.first <= before.last and before.closing != after.opening:
            # They overlap: the same days in another cut, whose balances cannot be compared.
            continue
        if None not in (before.closing, after.opening) and before.closing != after.opening:
            yield _told(
                after,
                "balance_gap",
                f"{before.ref} closes with {_shown(before, before.closing)}, "
                f"{after.ref} opens with {_shown(after, after.opening)}",
            )
        if None not in (before.sequence, after.sequence) and _skips(before, after):
            yield _told(
                after,
                "sequence_gap",
                f"{after.ref} has number {after.sequence} after {before.sequence}",
            )
        if after.first > before.last + timedelta(days=1) and before.closing != after.opening:
            yield _told(
                after,
                "days_missing",
                f"no statement from {before.last + timedelta(days=1)} to "
                f"{after.first - timedelta(days=1)}",
            )


def _shown(statement: Known, minor: int | None) -> str:
    assert minor is not None
    return f"{amount_text(minor, statement.currency)} {statement.currency}"


def _skips(before: Known, after: Known) -> bool:
    assert before.sequence is not None
    assert after.sequence is not None
    # Many banks begin anew each year.
    begins_anew = after.sequence == 1 and after.first.year > before.first.year
    return not begins_anew and after.sequence not in {before.sequence, before.sequence + 1}


def _told(after: Known, code: str, message: str) -> Break:
    return Break(
        source=after.source,
        account=after.account,
        currency=after.currency,
        day=after.first,
        code=code,
        message=message,
    )

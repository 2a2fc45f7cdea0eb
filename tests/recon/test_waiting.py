"""A quarantined file is passed over only where it can be about none of the days."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from ledger.recon.imports import speaks_of
from ledger.recon.shelf import ImportRow
from ledger.recon.statement import FindingCode, Statement
from ledger.recon.statement_side import statement_document

FEBRUARY = (date(2026, 2, 1), date(2026, 2, 28))
LINES = (date(2026, 1, 3), date(2026, 1, 9))
JANUARY = (date(2026, 1, 1), date(2026, 1, 31))
NONE = (None, None)
ACCOUNT = FindingCode.ACCOUNT_DISAGREES
Days = tuple[date | None, date | None]


def waiting(*statements: tuple[Days, Days], code: FindingCode = ACCOUNT) -> ImportRow:
    """A file quarantined for this, with statements of (period, what is stated of it)."""
    told = [
        statement_document(
            Statement(
                account_ref="a",
                currency="EUR",
                period_from=period[0],
                period_to=period[1],
                stated_from=stated[0],
                stated_to=stated[1],
                lines=(),
                complete=False,
            )
        )
        for period, stated in statements
    ]
    return ImportRow(
        id="i",
        source="books",
        source_version=1,
        filename="f",
        sha256="",
        status="quarantined",
        document={"statements": told, "finding_counts": {code.value: 1}},
        lines=0,
        added=0,
        received_at=datetime(2026, 3, 1, tzinfo=UTC),
        received_by="fin",
    )


def test_a_statement_speaks_of_the_days_it_states():
    assert speaks_of(waiting((JANUARY, JANUARY)), (), JANUARY)
    assert not speaks_of(waiting((JANUARY, JANUARY)), (), FEBRUARY)


@pytest.mark.parametrize("code", [ACCOUNT, FindingCode.TOTAL_DISAGREES])
def test_an_end_that_is_not_stated_bounds_nothing(code):
    opened, closed = (JANUARY[0], None), (None, JANUARY[1])

    assert speaks_of(waiting((opened, opened), code=code), (), FEBRUARY)
    assert not speaks_of(waiting((closed, closed), code=code), (), FEBRUARY)
    assert speaks_of(waiting((NONE, NONE), code=code), (), FEBRUARY)


def test_each_statement_of_a_file_is_judged_alone():
    """An undated one beside a dated one speaks of any day; two dated ones not of those between."""
    march = (date(2026, 3, 1), date(2026, 3, 31))

    assert speaks_of(waiting((JANUARY, JANUARY), (NONE, NONE)), (), FEBRUARY)
    assert not speaks_of(waiting((JANUARY, JANUARY), (march, march)), (), FEBRUARY)


@pytest.mark.parametrize("code", sorted(set(FindingCode) - {ACCOUNT}))
def test_lines_bound_a_file_only_where_none_may_be_missing(code):
    bounded = waiting((LINES, NONE), code=ACCOUNT)
    assert not speaks_of(bounded, LINES, FEBRUARY)
    missing = {"balance_disagrees", "count_disagrees", "total_disagrees", "malformed"}
    assert speaks_of(waiting((LINES, NONE), code=code), LINES, FEBRUARY) is (code in missing)


def test_a_stated_period_bounds_a_file_whose_lines_are_missing():
    row = waiting((JANUARY, JANUARY), code=FindingCode.COUNT_DISAGREES)

    assert not speaks_of(row, LINES, FEBRUARY)


def test_a_line_outside_what_is_stated_speaks_of_its_own_day():
    row = waiting((JANUARY, JANUARY), code=FindingCode.TOTAL_DISAGREES)

    assert speaks_of(row, (JANUARY[0], FEBRUARY[0]), FEBRUARY)

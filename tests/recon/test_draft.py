"""What a reader puts into a draft comes out whole, or not at all."""

from __future__ import annotations

from datetime import date

import pytest

from ledger.recon.draft import Draft
from ledger.recon.source import Control, Source
from ledger.recon.statement import FindingCode, LineKind, Reading, ReadingStatus

DAY, LATER = date(2026, 3, 2), date(2026, 3, 31)
SOURCE = Source(
    name="shop", provider="bank", report_type="", account_ref="A1", iana_tz="Europe/Berlin"
)


def read(*amounts: str, controls: tuple[Control, ...] = (), **members: object) -> Reading:
    draft = Draft(SOURCE)
    statement = draft.statement("EUR", **members)
    for number, amount in enumerate(amounts, 1):
        minor = draft.amount(amount, "EUR", f"line {number}", "amount")
        statement.add(
            locator=f"line {number}",
            kind=LineKind.MOVEMENT,
            amount_minor=minor,
            booked_date=DAY,
            booked_tz="Europe/Berlin",
        )
    return draft.finish("test", "test/1", controls)


def codes(reading: Reading) -> list[FindingCode]:
    return [finding.code for finding in reading.findings]


def test_two_lines_that_say_the_same_stay_two():
    first, second = read("5.00", "5.00").statements[0].lines
    assert first.identity_key == second.identity_key
    assert (first.occurrence, second.occurrence) == (1, 2)


@pytest.mark.parametrize(
    ("text", "code"),
    {
        "12..34": FindingCode.AMOUNT_UNREADABLE,
        "": FindingCode.AMOUNT_UNREADABLE,
        "1e3": FindingCode.AMOUNT_UNREADABLE,
        "NaN": FindingCode.AMOUNT_UNREADABLE,
        "--5": FindingCode.AMOUNT_UNREADABLE,
        "\u0661": FindingCode.AMOUNT_UNREADABLE,
        "9" * 39: FindingCode.AMOUNT_UNREADABLE,
        "1.005": FindingCode.AMOUNT_TOO_PRECISE,
    }.items(),
)
def test_an_amount_that_is_not_exact_rejects_the_whole_file_and_names_its_line(text, code):
    reading = read("1.00", text)
    assert reading.status is ReadingStatus.REJECTED
    assert reading.statements == ()
    assert [(each.code, each.locator) for each in reading.findings] == [(code, "line 2")]


def test_every_unreadable_amount_is_told_not_only_the_first():
    assert [each.locator for each in read("x", "1.00", "y").findings] == ["line 1", "line 3"]


@pytest.mark.parametrize(("text", "minor"), {"5": 500, "-0.10": -10, "+1.500": 150}.items())
def test_amounts_are_scaled_to_the_smallest_unit(text, minor):
    assert read(text).statements[0].lines[0].amount_minor == minor


def test_a_balance_that_disagrees_quarantines_with_the_difference():
    reading = read("1.00", "2.00", opening_minor=0, closing_minor=305)
    assert reading.status is ReadingStatus.QUARANTINED
    assert "difference 0.05 EUR" in reading.findings[0].message
    assert not reading.statements[0].complete


def test_lines_without_totals_are_taken_and_cover_nothing():
    reading = read("1.00")
    assert reading.status is ReadingStatus.ACCEPTED
    assert codes(reading) == [FindingCode.COMPLETENESS_NOT_PROVABLE]
    assert not reading.statements[0].complete


def test_totals_from_elsewhere_prove_a_report_that_has_none():
    control = Control(currency="EUR", period_from=DAY, period_to=DAY, lines=2, net_minor=300)
    reading = read("1.00", "2.00", controls=(control,))
    assert (reading.status, codes(reading)) == (ReadingStatus.ACCEPTED, [])
    assert reading.statements[0].complete


def test_totals_from_elsewhere_betray_a_missing_line():
    control = Control(currency="EUR", period_from=DAY, period_to=DAY, lines=2, net_minor=300)
    reading = read("1.00", controls=(control,))
    assert reading.status is ReadingStatus.QUARANTINED
    assert codes(reading) == [FindingCode.COUNT_DISAGREES, FindingCode.TOTAL_DISAGREES]


def test_the_days_of_lines_are_a_period_that_nobody_stated():
    """An end that is stated is told apart from one that the lines have."""
    [derived] = read("1.00").statements
    assert (derived.period_from, derived.period_to) == (DAY, DAY)
    assert (derived.stated_from, derived.stated_to) == (None, None)

    [closed] = read("1.00", period_to=LATER).statements
    assert (closed.period_from, closed.period_to) == (DAY, LATER)
    assert (closed.stated_from, closed.stated_to) == (None, LATER)

    control = Control(currency="EUR", period_from=DAY, period_to=LATER)
    [held] = read("1.00", controls=(control,)).statements
    assert (held.stated_from, held.stated_to) == (DAY, LATER)


def test_a_file_with_nothing_in_it_is_rejected():
    reading = Draft(SOURCE).finish("test", "test/1")
    assert reading.status is ReadingStatus.REJECTED
    assert codes(reading) == [FindingCode.NO_STATEMENT]

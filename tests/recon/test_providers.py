"""Reports of providers, read from synthetic files."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from ledger.recon.mappings import BRAINTREE
from ledger.recon.reading import read_statement
from ledger.recon.source import Control, UnitRule
from ledger.recon.statement import FindingCode, LineKind, Reading, ReadingStatus, StatementRole

from .samples import FIXTURES, make_source

Code = FindingCode


def fixture(name: str, *changes: tuple[str, str], **source) -> Reading:
    """A synthetic file, read; each change must find its text."""
    text = (FIXTURES / name).read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return read_statement(text.encode(), make_source(**source))


def kinds(reading: Reading, statement: int = 0) -> list[LineKind]:
    return [line.kind for line in reading.statements[statement].lines]


def codes(reading: Reading) -> set[FindingCode]:
    return {each.code for each in reading.findings if each.severity != "info"}


STRIPE = "stripe_payout_reconciliation.csv"
ADYEN = "adyen_settlement_details.csv"
STL = "paypal_stl.csv"


class TestStripe:
    def test_each_row_is_what_its_reporting_category_says(self):
        reading = fixture(STRIPE)
        assert reading.status is ReadingStatus.ACCEPTED
        assert kinds(reading) == [
            LineKind.PAYMENT,
            LineKind.REFUND,
            LineKind.PAYMENT,
            LineKind.PARTIAL_CAPTURE_REVERSAL,
            LineKind.CHARGEBACK,
            LineKind.REFUND_FAILED,
            LineKind.CHARGEBACK_REVERSED,
            LineKind.FEE,
        ]

    def test_what_was_never_captured_is_no_refund(self):
        euros = fixture(STRIPE).statements[0].lines
        refunded = sum(line.amount_minor for line in euros if line.kind is LineKind.REFUND)
        assert refunded == -4_500

    def test_a_refund_names_itself_its_payment_and_its_effect(self):
        refund = fixture(STRIPE).statements[0].lines[1]
        assert refund.identity_key == "id:txn_A2"
        assert (refund.provider_txn_id, refund.provider_ref_id) == ("re_A1", "ch_A")
        assert (refund.merchant_ref, refund.batch_ref, refund.bank_ref) == ("ORD-17", "po_7", "TR7")

    def test_days_are_those_of_the_source_and_moments_are_utc(self):
        late = fixture(STRIPE).statements[0].lines[2]
        assert late.booked_at_utc == datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
        assert (late.booked_date, late.booked_tz) == (date(2026, 3, 5), "Europe/Berlin")

    def test_what_the_customer_saw_is_kept_where_it_was_another_currency(self):
        first, _, other, *_ = fixture(STRIPE).statements[0].lines
        assert (other.customer_amount_minor, other.customer_currency) == (11_000, "USD")
        assert first.customer_currency is None

    def test_currencies_are_statements_of_their_own(self):
        euros, yen = fixture(STRIPE).statements
        assert (euros.currency, yen.currency) == ("EUR", "JPY")
        assert yen.lines[0].amount_minor == 1_500

    def test_it_covers_nothing_without_totals_from_elsewhere(self):
        reading = fixture(STRIPE)
        assert codes(reading) == {Code.COMPLETENESS_NOT_PROVABLE}
        assert not any(statement.complete for statement in reading.statements)

    def test_totals_from_elsewhere_prove_it(self):
        data = (FIXTURES / STRIPE).read_bytes()
        march = {"period_from": date(2026, 3, 1), "period_to": date(2026, 3, 31)}
        reading = read_statement(
            data,
            make_source(),
            [
                Control(currency="EUR", lines=8, net_minor=17_310, **march),
                Control(currency="JPY", lines=1, net_minor=1_446, **march),
            ],
        )
        assert (reading.status, reading.findings) == (ReadingStatus.ACCEPTED, ())
        assert all(statement.complete for statement in reading.statements)

    def test_people_stay_in_the_file(self):
        assert "example.com" not in str(fixture(STRIPE).statements)

    def test_a_row_that_disagrees_with_itself_rejects_the_file(self):
        reading = fixture(STRIPE, ("120.00,2.05,117.95", "120.00,2.05,117.96"))
        assert reading.status is ReadingStatus.REJECTED
        assert reading.findings[0].locator == "line 2"

    def test_everything_wrong_is_told_with_its_line(self):
        reading = fixture(
            STRIPE, ("2026-03-02 09:14:07", "02/03/2026"), ("-45.00,0.00,-45.00", "-45.00,zero,x")
        )
        assert [(each.code, each.locator) for each in reading.findings] == [
            (Code.DATE_UNREADABLE, "line 2"),
            (Code.AMOUNT_UNREADABLE, "line 3"),
            (Code.AMOUNT_UNREADABLE, "line 3"),
        ]

    def test_a_missing_column_is_named(self):
        reading = fixture(STRIPE, ("reporting_category", "category"))
        assert codes(reading) == {Code.COLUMN_MISSING}
        assert "'reporting_category'" in reading.findings[0].message

    def test_an_unknown_category_is_kept_and_told(self):
        reading = fixture(STRIPE, (",dispute,", ",teleport,"))
        assert LineKind.OTHER in kinds(reading)
        assert Code.UNKNOWN_KIND in codes(reading)

    def test_the_export_that_knows_no_single_refund_is_refused_with_advice(self):
        reading = fixture("stripe_unified_payments.csv")
        assert (reading.status, codes(reading)) == (ReadingStatus.REJECTED, {Code.WRONG_REPORT})
        assert "itemized report" in reading.findings[0].message

    def test_a_decimal_comma_is_a_setting_of_the_source(self):
        text = (
            "balance_transaction_id,created,currency,gross,fee,net,reporting_category\n"
            'txn_1,2026-03-02 09:14:07,eur,"120,00","2,05","117,95",charge\n'
        )
        reading = read_statement(text.encode(), make_source(decimal_separator=","))
        assert reading.statements[0].lines[0].net_minor == 11_795
        assert read_statement(text.encode(), make_source()).status is ReadingStatus.REJECTED

    def test_a_file_of_another_source_is_refused(self):
        reading = fixture(STRIPE, report_type="adyen.settlement_details")
        assert codes(reading) == {Code.WRONG_REPORT}


class TestAdyen:
    def test_each_row_is_what_its_type_says(self):
        reading = fixture(ADYEN)
        assert (reading.status, reading.findings) == (ReadingStatus.ACCEPTED, ())
        assert kinds(reading) == [
            LineKind.PAYMENT,
            LineKind.REFUND,
            LineKind.PAYMENT,
            LineKind.CHARGEBACK,
            LineKind.FEE,
            LineKind.PAYOUT,
        ]
        assert kinds(reading, 1) == [
            LineKind.REFUND_FAILED,
            LineKind.CHARGEBACK_REVERSED,
            LineKind.RESERVE,
            LineKind.PAYOUT,
        ]

    def test_a_batch_that_was_paid_out_proves_itself(self):
        first, second = fixture(ADYEN).statements
        assert (first.cash_minor, first.complete, first.sequence) == (0, True, 12)
        assert (second.cash_minor, second.complete, second.sequence) == (0, True, 13)

    def test_a_batch_without_a_row_is_quarantined_with_the_difference(self):
        row = next(
            line for line in (FIXTURES / ADYEN).read_text().splitlines() if ",Refunded," in line
        )
        reading = fixture(ADYEN, (row + "\n", ""))
        assert reading.status is ReadingStatus.QUARANTINED
        assert "difference -45.00 EUR" in reading.findings[0].message

    def test_a_batch_that_is_not_paid_out_yet_covers_nothing(self):
        text = "".join((FIXTURES / ADYEN).read_text().splitlines(keepends=True)[:4])
        reading = read_statement(text.encode(), make_source())
        assert codes(reading) == {Code.COMPLETENESS_NOT_PROVABLE}

    def test_a_refund_names_itself_and_its_payment(self):
        refund = fixture(ADYEN).statements[0].lines[1]
        assert (refund.amount_minor, refund.fee_minor) == (-4_500, 0)
        assert refund.provider_txn_id == "8825000000000009"
        assert refund.provider_ref_id == "8815000000000001"
        assert refund.merchant_ref == "RF-1"

    def test_fees_are_what_is_between_gross_and_net(self):
        _, _, converted, chargeback, *_ = fixture(ADYEN).statements[0].lines
        assert (converted.amount_minor, converted.fee_minor) == (9_900, 150)
        assert (converted.customer_amount_minor, converted.customer_currency) == (11_000, "USD")
        assert (chargeback.amount_minor, chargeback.net_minor) == (-6_000, -6_750)

    def test_summer_time_is_read_by_the_sources_zone(self):
        failed = fixture(ADYEN).statements[1].lines[0]
        assert failed.booked_at_utc == datetime(2026, 3, 30, 0, 10, tzinfo=UTC)

    def test_a_zone_that_contradicts_the_source_rejects_the_file(self):
        reading = fixture(ADYEN, iana_tz="America/New_York")
        assert reading.status is ReadingStatus.REJECTED
        assert codes(reading) == {Code.ZONE_CONTRADICTED}

    @pytest.mark.parametrize(
        "change",
        {
            "both sides": (",EUR,45.00,,1,EUR,45.00,,", ",EUR,45.00,1.00,1,EUR,45.00,,"),
            "fees that do not add up": (",2.05,,,,visaclassic", ",2.06,,,,visaclassic"),
            "a sign beside a side": (",EUR,45.00,,1,EUR,45.00,,", ",EUR,-45.00,,1,EUR,45.00,,"),
        }.values(),
    )
    def test_a_row_that_disagrees_with_itself_rejects_the_file(self, change):
        reading = fixture(ADYEN, change)
        assert reading.status is ReadingStatus.REJECTED
        assert Code.LINE_INCONSISTENT in codes(reading)

    def test_an_unknown_type_stops_the_file_being_complete(self):
        reading = fixture(ADYEN, (",DepositCorrection,", ",Mystery,"))
        assert reading.status is ReadingStatus.ACCEPTED
        assert [each.complete for each in reading.statements] == [True, False]

    def test_payment_accounting_tells_statuses_and_moves_no_money(self):
        reading = fixture("adyen_payment_accounting.csv")
        statement = reading.statements[0]
        assert statement.role is StatementRole.STATUS
        assert statement.cash_minor == 0
        assert [line.reason_code for line in statement.lines] == ["Authorised", "SentForRefund"]


class TestPayPalSettlement:
    def test_footers_balances_and_counts_tie(self):
        reading = fixture(STL)
        assert (reading.status, reading.findings) == (ReadingStatus.ACCEPTED, ())
        euros, dollars = reading.statements
        assert (euros.opening_minor, euros.closing_minor, euros.cash_minor) == (
            20_000,
            21_615,
            1_615,
        )
        assert (dollars.closing_minor, dollars.complete) == (4_825, True)

    def test_codes_are_read_by_group_and_refined(self):
        assert kinds(fixture(STL)) == [
            LineKind.PAYMENT,
            LineKind.REFUND,
            LineKind.REFUND_FAILED,
            LineKind.PAYOUT,
        ]

    def test_offsets_stand_in_every_value(self):
        line = fixture(STL).statements[0].lines[1]
        assert line.booked_at_utc == datetime(2026, 3, 3, 16, 40, tzinfo=UTC)
        assert (line.booked_date, line.booked_tz) == (date(2026, 3, 3), "-08:00")
        assert line.provider_ref_id == "4H800000000000001"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (('"SF","EUR",16500', '"SF","EUR",16501'), Code.TOTAL_DISAGREES),
            (('"CR",21615,"CR",0,"CR",0\n"SF"', '"CR",21616,"CR",0,"CR",0\n"SF"'),
             Code.BALANCE_DISAGREES),
            (('"SC",5', '"SC",6'), Code.COUNT_DISAGREES),
            (('"FF",5', '"FF",4'), Code.COUNT_DISAGREES),
        ],
    )  # fmt: skip
    def test_a_footer_that_disagrees_quarantines(self, change, code):
        reading = fixture(STL, change)
        assert reading.status is ReadingStatus.QUARANTINED
        assert codes(reading) == {code}

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (('"FF",5\n', ""), Code.TRUNCATED),
            (('"SC",5\n', ""), Code.TRUNCATED),
            (('"FF",5\n', '"FF",5\n"XX",1\n'), Code.MALFORMED),
            (('"RC",5', '"XX",5'), Code.MALFORMED),
            (('"DR",4500,', '"DR",45.00,'), Code.AMOUNT_UNREADABLE),
            (('"DR",4500,', '"",4500,'), Code.AMOUNT_UNREADABLE),
            (("2026/03/03 08:40:00 -0800,2026/03/03 08:40:00 -0800", "x,y"),
             Code.DATE_UNREADABLE),
            (('"Fee Amount"', '"Charge"'), Code.COLUMN_MISSING),
            (('"",,,\n"SB"', '"",,\n"SB"'), Code.MALFORMED),
        ],
    )  # fmt: skip
    def test_a_record_that_cannot_be_read_rejects(self, change, code):
        reading = fixture(STL, change)
        assert reading.status is ReadingStatus.REJECTED
        assert code in codes(reading)

    def test_a_footer_of_another_form_proves_nothing(self):
        reading = fixture(STL, ('"SF","USD",5000,0,0,175,"CR",0,"CR",4825', '"SF","USD",5000'))
        assert codes(reading) == {Code.DEVIATION, Code.COMPLETENESS_NOT_PROVABLE}

    def test_a_code_of_an_unknown_group_is_kept_and_told(self):
        reading = fixture(STL, ('"T1106"', '"X9901"'))
        assert kinds(reading)[2] is LineKind.OTHER
        assert codes(reading) == {Code.UNKNOWN_KIND}

    @pytest.mark.parametrize(
        ("rule", "minor"), {UnitRule.ISO_4217: 5_000, UnitRule.HUNDREDTHS: 50}.items()
    )
    def test_what_an_integer_means_in_yen_is_a_setting_and_is_told(self, rule, minor):
        reading = fixture(
            STL,
            ('"USD","DR",175,"USD"', '"JPY","DR",100,"JPY"'),
            (
                '"SF","USD",5000,0,0,175,"CR",0,"CR",4825',
                '"SF","JPY",5000,0,0,100,"CR",0,"CR",4900',
            ),
            unit_rule=rule,
        )
        assert reading.statements[1].lines[0].amount_minor == minor
        assert codes(reading) == {Code.UNIT_UNUSUAL}

    def test_a_fee_in_another_currency_is_a_line_there(self):
        reading = fixture(
            STL,
            ('"USD","DR",175,"USD"', '"USD","DR",175,"EUR"'),
            ('"SF","EUR",16500,14500,0,385,"CR",20000,"CR",21615',
             '"SF","EUR",16500,14675,0,385,"CR",20000,"CR",21440'),
            ('"SF","USD",5000,0,0,175,"CR",0,"CR",4825', '"SF","USD",5000,0,0,0,"CR",0,"CR",5000'),
        )  # fmt: skip
        assert reading.status is ReadingStatus.ACCEPTED
        assert kinds(reading)[-1] is LineKind.FEE

    def test_details_count_only_what_succeeded(self):
        reading = fixture("paypal_trr.csv")
        assert (reading.status, reading.format) == (
            ReadingStatus.ACCEPTED,
            "paypal.transaction_detail",
        )
        assert [line.is_cash for line in reading.statements[0].lines] == [True, False, False]


class TestPayPalActivity:
    def test_language_decimals_and_fee_sign_are_found_in_the_file(self):
        reading = fixture("paypal_activity_german.csv")
        statement = reading.statements[0]
        assert reading.status is ReadingStatus.ACCEPTED
        assert kinds(reading) == [
            LineKind.PAYMENT,
            LineKind.REFUND,
            LineKind.PAYMENT,
            LineKind.PAYOUT,
        ]
        assert (statement.opening_minor, statement.closing_minor) == (10_000, 13_910)
        assert statement.lines[0].fee_minor == 3_590
        assert not statement.lines[2].is_cash
        assert not statement.complete

    def test_the_newest_row_may_come_first(self):
        head, *rows = (FIXTURES / "paypal_activity_german.csv").read_text().splitlines()
        turned = "\n".join([head, *rows[::-1]])
        reading = read_statement(turned.encode(), make_source())
        assert reading.status is ReadingStatus.ACCEPTED
        assert reading.statements[0].closing_minor == 13_910

    def test_fees_that_add_up_in_neither_way_reject_the_file(self):
        reading = fixture("paypal_activity_german.csv", ('"-35,90"', '"-35,91"'))
        assert codes(reading) == {Code.LINE_INCONSISTENT}

    def test_two_decimal_marks_reject_the_file(self):
        reading = fixture("paypal_activity_german.csv", ('"-45,00","0,00"', '"-45.00","0,00"'))
        assert codes(reading) == {Code.AMOUNT_UNREADABLE}

    def test_an_order_of_dates_that_is_not_plain_is_asked_for(self):
        change = (("02.03.2026", "02/03/2026"), ("03.03.2026", "03/03/2026"),
                  ("04.03.2026", "04/03/2026"))  # fmt: skip
        assert codes(fixture("paypal_activity_german.csv", *change)) == {Code.DATE_UNREADABLE}
        read = fixture("paypal_activity_german.csv", *change, date_order="dmy")
        assert read.statements[0].lines[0].booked_date == date(2026, 3, 2)


class TestMapped:
    def test_braintree_is_a_mapping_that_ships(self):
        reading = fixture("braintree_fee_report.csv", mapping=BRAINTREE)
        assert reading.status is ReadingStatus.ACCEPTED
        sale, refund = reading.statements[0].lines
        assert (sale.kind, sale.amount_minor, sale.fee_minor) == (LineKind.PAYMENT, 12_000, 205)
        assert (refund.kind, refund.amount_minor) == (LineKind.REFUND, -4_500)
        assert (refund.provider_txn_id, refund.provider_ref_id) == ("bt2", "bt1")
        assert "411111" not in str(reading)

    def test_a_word_that_gives_no_direction_rejects_the_file(self):
        reading = fixture("braintree_fee_report.csv", (",credit,", ",void,"), mapping=BRAINTREE)
        assert Code.AMOUNT_UNREADABLE in codes(reading)

    def test_a_column_that_the_mapping_names_must_be_there(self):
        reading = fixture("braintree_fee_report.csv", ("Order ID", "Order"), mapping=BRAINTREE)
        assert codes(reading) == {Code.COLUMN_MISSING}


def test_an_interim_report_tells_of_money_that_a_statement_will_count():
    reading = fixture("interim.mt942")
    statement = reading.statements[0]
    assert (reading.format, statement.role) == ("mt942", StatementRole.DETAIL)
    assert [line.amount_minor for line in statement.lines] == [11_795, -1_200]
    assert statement.cash_minor == 0
    assert statement.lines[0].merchant_ref == "PO-7"
    assert "SYNTH PSP" not in str(statement)


def test_a_sum_of_an_interim_report_that_disagrees_quarantines():
    reading = fixture("interim.mt942", (":90C:1EUR117,95", ":90C:2EUR117,95"))
    assert Code.COUNT_DISAGREES in codes(reading)

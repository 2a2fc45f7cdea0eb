"""
Every published sample, and what must come of it.

Samples whose authors trimmed entries do not add up: they are held back with the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

from ledger.recon.mapping import CsvMapping
from ledger.recon.reading import read_statement
from ledger.recon.statement import FindingCode, LineKind, ReadingStatus

from .samples import PUBLISHED, make_source, published

ACCEPTED, QUARANTINED, REJECTED = ReadingStatus
Code = FindingCode

BANK_TABLE = CsvMapping(
    version=1,
    date="Date",
    amount="Amount",
    currency="Currency",
    balance="Balance",
    account="Account",
    merchant_ref="Reference",
    remittance="Description",
)
GERMAN_TABLE = CsvMapping(
    version=1,
    delimiter=";",
    decimal_separator=",",
    thousands_separator=".",
    date="Buchungstag",
    amount="Betrag",
    currency="CCY",
    account="IBAN",
    merchant_ref="Ref",
    remittance="Verwendungszweck",
)
NARROW_TABLE = CsvMapping(
    version=1, date="Date", amount="Amount", currency="Currency", remittance="Description"
)
PIPELINE_TABLE = CsvMapping(
    version=1,
    date="created",
    date_format="%Y-%m-%d %H:%M:%S",
    minor_units=True,
    amount="amount",
    fee="fee",
    net="net",
    currency="currency",
    kind="type",
    kinds={"charge": LineKind.PAYMENT, "payout": LineKind.PAYOUT},
    provider_txn_id="id",
    batch_ref="payout_id",
)


class Expected(NamedTuple):
    status: ReadingStatus
    format: str = ""
    statements: tuple[tuple[int, int | None, int | None], ...] = ()
    """Lines, opening and closing balance of each statement."""
    errors: frozenset[FindingCode] = frozenset()
    warnings: frozenset[FindingCode] = frozenset()
    source: Mapping[str, object] = MappingProxyType({})


def errors(*codes: FindingCode) -> frozenset[FindingCode]:
    return frozenset(codes)


UNPROVED = errors(Code.COMPLETENESS_NOT_PROVABLE)
FOREIGN_BALANCE = Expected(
    QUARANTINED, "camt.053", ((1, 1815, None),), errors(Code.BALANCE_DISAGREES), UNPROVED
)
NO_MAPPING = Expected(REJECTED, "", (), errors(Code.UNRECOGNISED))
NOTIFICATION = Expected(ACCEPTED, "camt.054", ((1, None, None),), warnings=UNPROVED)

SAMPLES = {
    "bai2/sample1.txt": Expected(ACCEPTED, "bai2", ((11, None, None), (6, None, None))),
    "bai2/sample2.txt": Expected(
        QUARANTINED,
        "bai2",
        ((1, None, None), (1, None, None), (2, None, None), (0, None, None), (0, None, None)),
        errors(Code.TOTAL_DISAGREES),
        UNPROVED,
    ),
    "camt/camt_parser/053_valid_example.xml": Expected(ACCEPTED, "camt.053", ((5, 3306, 2306),)),
    "camt/camt_parser/053_valid_example_with_batch.xml": Expected(
        QUARANTINED,
        "camt.053",
        ((3, 732_980, 2_303_820),),
        errors(Code.BALANCE_DISAGREES, Code.TOTAL_DISAGREES, Code.COUNT_DISAGREES),
    ),
    "camt/camt_parser/053_valid_example_with_instdamt.xml": Expected(
        QUARANTINED, "camt.053", ((1, 10_000, 450_000),), errors(Code.BALANCE_DISAGREES)
    ),
    "camt/genkgo/camt052.v2.xml": Expected(
        ACCEPTED, "camt.052", ((1, None, None),), warnings=UNPROVED
    ),
    "camt/genkgo/camt052.v6.xml": Expected(
        ACCEPTED, "camt.052", ((1, None, None),), warnings=UNPROVED
    ),
    "camt/genkgo/camt053.v2.all-balance-types.xml": Expected(
        QUARANTINED, "camt.053", ((1, 101, 404),), errors(Code.BALANCE_DISAGREES)
    ),
    "camt/genkgo/camt053.v2.five.decimals.xml": Expected(
        QUARANTINED, "camt.053", ((1, 1815, 2705),), errors(Code.BALANCE_DISAGREES)
    ),
    "camt/genkgo/camt053.v2.minimal.xml": FOREIGN_BALANCE,
    "camt/genkgo/camt053.v2.multi.statement.xml": Expected(
        ACCEPTED, "camt.053", ((1, 1815, 2700), (1, 2700, 2000))
    ),
    "camt/genkgo/camt053.v2.with-party-ids.xml": FOREIGN_BALANCE,
    "camt/genkgo/camt053.v2.wrong.xml": Expected(
        REJECTED, "camt.053", (), errors(Code.NO_STATEMENT)
    ),
    "camt/genkgo/camt053.v3.xml": FOREIGN_BALANCE,
    "camt/genkgo/camt053.v4.xml": FOREIGN_BALANCE,
    "camt/genkgo/camt053.v8.xml": FOREIGN_BALANCE,
    "camt/genkgo/camt054.v2.xml": NOTIFICATION,
    "camt/genkgo/camt054.v4.xml": NOTIFICATION,
    "camt/genkgo/camt054.v8-with-UETR.xml": NOTIFICATION._replace(
        warnings=UNPROVED | {Code.DEVIATION}
    ),
    "camt/genkgo/camt054.v8.xml": NOTIFICATION,
    "generic_csv/csv_european_decimals.csv": Expected(
        ACCEPTED,
        "csv",
        ((3, None, None),),
        warnings=UNPROVED,
        source={"mapping": GERMAN_TABLE},
    ),
    "generic_csv/csv_garbled_amount.csv": Expected(
        REJECTED, "csv", (), errors(Code.AMOUNT_UNREADABLE), source={"mapping": NARROW_TABLE}
    ),
    "generic_csv/sample_statement.csv": Expected(
        ACCEPTED,
        "csv",
        ((2, 250_000, 380_000),),
        warnings=UNPROVED,
        source={"mapping": BANK_TABLE},
    ),
    "mt940/ASNB/mt940.txt": Expected(
        ACCEPTED,
        "mt940",
        (
            (1, 44_429, 37_929),
            *[(0, 37_929, 37_929)] * 3,
            (2, 37_929, 57_774),
            *[(0, 57_774, 57_774)] * 19,
            (1, 57_774, 57_609),
            *[(0, 57_609, 57_609)] * 3,
            (2, 57_609, 40_481),
            (0, 40_481, 40_481),
            (2, 40_481, 50_123),
        ),
        warnings=errors(Code.DEVIATION),
    ),
    "mt940/betterplace/sepa_snippet.sta": Expected(
        QUARANTINED,
        "mt940",
        ((4, 76_665_649, 112_525_040), (7, -197_043_187, -447_204_909)),
        errors(Code.BALANCE_DISAGREES),
    ),
    "mt940/betterplace/sepa_snippet_broken.sta": Expected(
        REJECTED, "mt940", (), errors(Code.MALFORMED)
    ),
    "mt940/cmxl/mt940.sta": Expected(
        ACCEPTED,
        "mt940",
        ((11, 8_434_974, 8_443_704), (2, 218_795, 438_795), (3, 4_000_000, 5_004_000)),
        warnings=errors(Code.DATE_IMPLAUSIBLE),
        # The German mark is withdrawn for longer than ISO's list goes back.
        source={"exponents": {"DEM": 2}},
    ),
    "mt940/jejik/abnamro.sta": Expected(
        QUARANTINED,
        "mt940",
        ((8, 323_628, 87_684), (2, 287_684, 184_975)),
        errors(Code.BALANCE_DISAGREES),
    ),
    "mt940/jejik/generic.sta": Expected(ACCEPTED, "mt940", ((1, 10_000, 9_000), (1, 9_000, 8_000))),
    "mt940/jejik/knab.sta": Expected(
        QUARANTINED,
        "mt940",
        ((1, 0, 50_000), (2, 305_898, 79_898)),
        errors(Code.BALANCE_DISAGREES),
        errors(Code.DEVIATION),
    ),
    "mt940/jejik/postfinance.sta": Expected(
        QUARANTINED, "mt940", ((2, 0, 22_920), (2, 22_920, 15_960)), errors(Code.BALANCE_DISAGREES)
    ),
    "mt940/jejik/rabobank-iban.sta": Expected(
        ACCEPTED, "mt940", ((2, 100_000, 96_500), (2, 96_500, 93_000))
    ),
    "mt940/jejik/sns.sta": Expected(
        ACCEPTED, "mt940", ((2, 123_456, 120_956), (0, 120_956, 120_956))
    ),
    "mt940/self-provided/february_30.sta": Expected(
        ACCEPTED, "mt940", ((1, 120_000, 119_400),), warnings=errors(Code.DATE_REPAIRED)
    ),
    # A line after the end of the only message would be lost.
    "mt940/self-provided/multiline.sta": Expected(REJECTED, "mt940", (), errors(Code.MALFORMED)),
    "mt940/self-provided/wrapped_timestamp.sta": Expected(
        ACCEPTED, "mt940", ((1, 120_000, 119_400),), warnings=errors(Code.DATE_REPAIRED)
    ),
    "ofx/bank_medium.ofx": Expected(ACCEPTED, "ofx", ((3, None, 38_234),), warnings=UNPROVED),
    "ofx/checking.ofx": Expected(ACCEPTED, "ofx", ((3, None, 10_099),), warnings=UNPROVED),
    "ofx/fail_nice_date_missing.ofx": Expected(REJECTED, "ofx", (), errors(Code.DATE_UNREADABLE)),
    "ofx/fail_nice_decimal_error.ofx": Expected(
        REJECTED, "ofx", (), errors(Code.DATE_UNREADABLE, Code.AMOUNT_UNREADABLE)
    ),
    "ofx/multiple_accounts.ofx": Expected(
        ACCEPTED, "ofx", ((0, None, 11_100), (0, None, 22_200)), warnings=UNPROVED
    ),
    "ofx/ofx-v102-empty-tags.ofx": Expected(REJECTED, "ofx", (), errors(Code.CURRENCY_UNKNOWN)),
    "ofx/suncorp.ofx": Expected(ACCEPTED, "ofx", ((1, None, 123_412),), warnings=UNPROVED),
    "paypal/activity_download_english.csv": Expected(
        QUARANTINED,
        "paypal.activity",
        ((5, 100_000, 144_535),),
        errors(Code.BALANCE_DISAGREES),
        UNPROVED | {Code.DEVIATION},
        source={"iana_tz": "America/Los_Angeles"},
    ),
    "stripe_api_shape/balance_transaction_data.csv": Expected(
        ACCEPTED, "csv", ((9, None, None),), warnings=UNPROVED, source={"mapping": PIPELINE_TABLE}
    ),
    "stripe_api_shape/charge_data.csv": NO_MAPPING,
    "stripe_api_shape/fee_data.csv": NO_MAPPING,
    "stripe_api_shape/payout_balance_transaction_data.csv": NO_MAPPING,
    "stripe_api_shape/payout_data.csv": NO_MAPPING,
    "stripe_api_shape/refund_data.csv": NO_MAPPING,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_published_sample_is_read_as_stated(name):
    expected = SAMPLES[name]
    reading = read_statement(published(name), make_source(**expected.source))
    by_severity = {
        severity: {each.code for each in reading.findings if each.severity == severity}
        for severity in ("error", "warning")
    }
    assert (reading.status, reading.format) == (expected.status, expected.format)
    assert by_severity == {"error": expected.errors, "warning": expected.warnings}
    assert expected.statements == tuple(
        (len(each.lines), each.opening_minor, each.closing_minor) for each in reading.statements
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_called_complete_adds_up_to_its_closing_balance(name):
    reading = read_statement(published(name), make_source(**SAMPLES[name].source))
    for statement in reading.statements:
        if None not in (statement.opening_minor, statement.closing_minor):
            ties = statement.opening_minor + statement.cash_minor == statement.closing_minor
            assert ties or (reading.status is QUARANTINED and not statement.complete)
    assert reading.status is not ACCEPTED or reading.statements
    assert reading.status is ACCEPTED or not any(each.complete for each in reading.statements)


def test_no_published_sample_is_left_out():
    published("SOURCES.txt")
    found = {
        str(path.relative_to(PUBLISHED))
        for path in PUBLISHED.rglob("*")
        if path.is_file() and not path.name.startswith(("LICENSE", "SOURCES"))
    }
    assert found == set(SAMPLES)


def test_the_fourth_row_of_the_activity_download_breaks_its_balance():
    reading = read_statement(
        published("paypal/activity_download_english.csv"),
        make_source(iana_tz="America/Los_Angeles"),
    )
    first = next(each for each in reading.findings if each.code is Code.BALANCE_DISAGREES)
    assert first.locator == "line 5"
    assert "difference -48.50 USD" in first.message


def test_a_zone_that_the_file_contradicts_rejects_it():
    reading = read_statement(published("paypal/activity_download_english.csv"), make_source())
    assert reading.status is REJECTED
    assert Code.ZONE_CONTRADICTED in {each.code for each in reading.findings}


def test_a_garbled_amount_names_its_line():
    reading = read_statement(
        published("generic_csv/csv_garbled_amount.csv"), make_source(mapping=NARROW_TABLE)
    )
    assert [(each.locator, each.message) for each in reading.findings] == [
        ("line 3", "Amount '12..34' is no amount")
    ]


def test_a_reversal_indicator_does_not_turn_the_sign():
    """Opening and entries by their side alone make the closing balance."""
    data = published("camt/camt_parser/053_valid_example.xml")
    turned = data.replace(b"<Sts>BOOK</Sts>", b"<RvslInd>true</RvslInd><Sts>BOOK</Sts>")
    assert read_statement(turned, make_source()).status is ACCEPTED


def test_a_batch_is_split_into_the_transactions_that_make_it_up():
    reading = read_statement(published("camt/camt_parser/053_valid_example.xml"), make_source())
    *_, first, second = reading.statements[0].lines
    assert (first.amount_minor, second.amount_minor) == (-350, -250)
    assert first.merchant_ref == "STZV-EtE27122013-11:02-1"
    assert first.batch_ref == second.batch_ref == "STZV-PmInf27122013-11:02-2"


def test_names_and_accounts_of_people_stay_in_the_file():
    reading = read_statement(published("camt/camt_parser/053_valid_example.xml"), make_source())
    said = str([line.raw for line in reading.statements[0].lines])
    assert "Wayne" not in said
    assert "Testkonto" not in said

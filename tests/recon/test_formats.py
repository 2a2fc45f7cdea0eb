"""What banks send beside the plain case, format by format."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from ledger.errors import SettingsError
from ledger.recon.draft import FINDINGS_MAX
from ledger.recon.mapping import CsvMapping, Direction
from ledger.recon.reading import read_statement
from ledger.recon.source import Control
from ledger.recon.statement import FindingCode, LineKind, Reading, ReadingStatus

from .files import WRITERS, Movement
from .samples import make_source

Code = FindingCode
ACCEPTED, QUARANTINED, REJECTED = ReadingStatus
MOVEMENTS = [Movement(12_000, 2, "R1"), Movement(-4_500, 3, "R2")]


def changed(name: str, *changes: tuple[str, str], **source) -> Reading:
    """A small file of this format, with some of its text replaced."""
    text = WRITERS[name](MOVEMENTS).decode()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return read_statement(text.encode(), make_source(**source))


def codes(reading: Reading) -> set[FindingCode]:
    return {each.code for each in reading.findings}


class TestCamt:
    def test_a_return_tells_its_reason_and_not_another_sign(self):
        reading = changed(
            "camt.053",
            ("<TxDtls><Refs><EndToEndId>R1</EndToEndId></Refs>",
             ("<TxDtls><Refs><InstrId>R1</InstrId><EndToEndId>NOTPROVIDED</EndToEndId></Refs>"
             "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
             "<RmtInf><Ustrd>closed</Ustrd><Strd><CdtrRefInf><Ref>RF18</Ref></CdtrRefInf></Strd>"
             "</RmtInf>")),
        )  # fmt: skip
        line = reading.statements[0].lines[0]
        assert (line.kind, line.reason_code, line.amount_minor) == (
            LineKind.RETURNED,
            "AC04",
            12_000,
        )
        assert (line.merchant_ref, line.remittance) == ("R1", "closed RF18")

    def test_a_charge_of_the_bank_is_a_fee_and_charges_on_an_entry_are_only_shown(self):
        reading = changed(
            "camt.053",
            ("<BookgDt><Dt>2026-03-03</Dt></BookgDt>",
             ("<BookgDt><DtTm>2026-03-03T10:00:00+01:00</DtTm></BookgDt>"
             "<BkTxCd><Domn><Cd>ACMT</Cd><Fmly><Cd>MDOP</Cd><SubFmlyCd>CHRG</SubFmlyCd></Fmly>"
             "</Domn><Prtry><Cd>NCHG</Cd></Prtry></BkTxCd>"
             "<Chrgs><TtlChrgsAndTaxAmt>1.00</TtlChrgsAndTaxAmt></Chrgs>")),
        )  # fmt: skip
        line = reading.statements[0].lines[1]
        assert line.kind is LineKind.FEE
        assert line.booked_at_utc == datetime(2026, 3, 3, 9, tzinfo=UTC)
        assert line.raw["BkTxCd"] == "ACMT/MDOP/CHRG"
        assert line.raw["Chrgs"] == "1.00"
        assert reading.status is ACCEPTED

    def test_a_pending_entry_is_shown_and_not_counted(self):
        reading = changed(
            "camt.053",
            ('<Ntry><Amt Ccy="EUR">45.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>',
             ('<Ntry><Amt Ccy="EUR">45.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>'
             "<Sts><Cd>PDNG</Cd></Sts>")),
            ('<Amt Ccy="EUR">175.00</Amt>', '<Amt Ccy="EUR">220.00</Amt>'),
        )  # fmt: skip
        assert reading.status is ACCEPTED
        assert Code.NOT_BOOKED in codes(reading)
        assert [line.is_cash for line in reading.statements[0].lines] == [True, False]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (('<Ntry><Amt Ccy="EUR">45', '<Ntry><Amt Ccy="USD">45'), Code.LINE_INCONSISTENT),
            (("</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>", "</Amt><Sts>"), Code.AMOUNT_UNREADABLE),
            (("<BookgDt><Dt>2026-03-03</Dt>", "<BookgDt><Dt>2026-02-30</Dt>"),
             Code.DATE_UNREADABLE),
            (("175.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>", "175.00</Amt>"), Code.AMOUNT_UNREADABLE),
            (("<Stmt>", "<Stmt><Ntry>"), Code.MALFORMED),
            (("45.00", "45.001"), Code.AMOUNT_TOO_PRECISE),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_rejects_the_file(self, change, code):
        reading = changed("camt.053", change)
        assert reading.status is REJECTED
        assert code in codes(reading)

    def test_a_value_date_stands_in_for_a_missing_booking_date(self):
        reading = changed("camt.053", ("<BookgDt><Dt>2026-03-03</Dt></BookgDt>", ""))
        assert reading.statements[0].lines[1].booked_date == date(2026, 3, 3)
        assert Code.DEVIATION in codes(reading)

    def test_an_entry_without_any_date_rejects_the_file(self):
        reading = changed(
            "camt.053",
            ("<BookgDt><Dt>2026-03-03</Dt></BookgDt><ValDt><Dt>2026-03-03</Dt></ValDt>", ""),
        )
        assert Code.DATE_UNREADABLE in codes(reading)

    def test_a_summary_that_agrees_is_kept(self):
        total = (
            "</Acct><TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries><Sum>165.00</Sum></TtlNtries>"
            "<TtlDbtNtries><NbOfNtries>1</NbOfNtries><Sum>45.00</Sum></TtlDbtNtries></TxsSummry>"
        )
        reading = changed("camt.053", ("</Acct>", total))
        assert reading.status is ACCEPTED
        assert reading.statements[0].control_totals["TtlNtries/Sum"] == "165.00"

    def test_a_stated_period_is_the_period(self):
        period = (
            "<FrToDt><FrDtTm>2026-03-01T00:00:00</FrDtTm><ToDtTm>2026-03-31T23:59:59</ToDtTm>"
            "</FrToDt><Acct>"
        )
        statement = changed("camt.053", ("<Acct>", period)).statements[0]
        assert (statement.period_from, statement.period_to) == (date(2026, 3, 1), date(2026, 3, 31))

    def test_a_file_without_a_namespace_is_read(self):
        reading = changed(
            "camt.053", (' xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"', "")
        )
        assert (reading.status, reading.version) == (ACCEPTED, "")

    def test_prefixes_and_other_encodings_are_read(self):
        text = WRITERS["camt.053"](MOVEMENTS).decode()
        prefixed = text.replace("<", "<n:").replace("<n:/", "</n:").replace("xmlns=", "xmlns:n=")
        for data in (prefixed.encode(), f'<?xml version="1.0"?>{text}'.encode("utf-16")):
            assert read_statement(data, make_source()).status is ACCEPTED

    def test_an_account_without_entries_has_a_statement_of_none(self):
        empty = WRITERS["camt.053"]([])
        reading = read_statement(empty, make_source())
        assert (reading.status, reading.line_count) == (ACCEPTED, 0)
        assert Code.NO_LINES in codes(reading)

    def test_nothing_to_know_an_account_by_rejects_the_file(self):
        data = b"<Document><BkToCstmrStmt><Stmt><Id>1</Id></Stmt></BkToCstmrStmt></Document>"
        assert codes(read_statement(data, make_source())) == {Code.NO_STATEMENT}


class TestMt940:
    def test_a_reversed_credit_is_minus_and_a_reversed_debit_is_plus(self):
        """Each mark, against a closing balance that only the right sign reaches."""
        reading = changed("mt940", ("0302C120,00", "0302RD120,00"), ("0303D45,00", "0303RC45,00"))
        assert reading.status is ACCEPTED
        assert [line.amount_minor for line in reading.statements[0].lines] == [12_000, -4_500]
        assert {line.kind for line in reading.statements[0].lines} == {LineKind.RETURNED}

    def test_the_letter_after_the_mark_is_no_mark(self):
        assert changed("mt940", ("0302C120,00", "0302CR120,00")).status is ACCEPTED

    def test_an_entry_date_near_new_year_is_in_the_closest_year(self):
        reading = changed("mt940", (":61:2603020302", ":61:2601021231"))
        assert reading.statements[0].lines[0].booked_date == date(2025, 12, 31)

    def test_an_entry_date_of_spaces_is_the_value_date(self):
        reading = changed("mt940", (":61:2603020302", ":61:260302    "))
        assert reading.statements[0].lines[0].booked_date == date(2026, 3, 2)

    def test_a_charge_is_a_fee(self):
        reading = changed("mt940", ("0303D45,00NTRF", "0303D45,00NCHG"))
        assert reading.statements[0].lines[1].kind is LineKind.FEE

    @pytest.mark.parametrize(
        ("text", "members"),
        {
            "166?00GUTSCHRIFT?20EREF+E-1?21SVWZ+Batch 7?32ANN EXAMPLE":
                {"merchant_ref": "E-1", "remittance": "EREF+E-1SVWZ+Batch 7"},
            "159?00RETOURE?20EREF+E-2?21SVWZ+AC04": {"kind": LineKind.RETURNED},
            "/EREF/E-3//BENM//NAME/ANN EXAMPLE/REMI/Order 9/ISDT/2026-03-02":
                {"merchant_ref": "E-3", "remittance": "Order 9"},
            "/RTRN/MD06//EREF/E-4/": {"kind": LineKind.RETURNED, "reason_code": "MD06"},
        }.items(),
    )  # fmt: skip
    def test_the_text_is_read_in_each_countrys_way_and_without_names(self, text, members):
        line = changed("mt940", (":86:payment R1", f":86:{text}")).statements[0].lines[0]
        assert {name: getattr(line, name) for name in members} == members
        assert "ANN" not in str(line)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ((":25:10020030/1234567\r\n", ""), Code.MALFORMED),
            ((":62F:C260331EUR175,00", ":62F:C260331USD175,00"), Code.LINE_INCONSISTENT),
            ((":62F:C260331EUR175,00", ":62F:175,00"), Code.AMOUNT_UNREADABLE),
            ((":61:2603020302C120,00", ":61:2613020302C120,00"), Code.DATE_UNREADABLE),
            ((":61:2603020302C120,00", ":61:2603021332C120,00"), Code.DATE_UNREADABLE),
            ((":61:2603020302C120,00", ":61:gibberish"), Code.MALFORMED),
            ((":62F:C260331EUR175,00\r\n", ""), Code.TRUNCATED),
            ((":60F:C260301EUR100,00\r\n", ""), Code.TRUNCATED),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_rejects_the_file(self, change, code):
        reading = changed("mt940", change)
        assert reading.status is REJECTED
        assert code in codes(reading)

    def test_pages_of_one_statement_follow_each_other(self):
        pages = (
            ":20:A\r\n:25:1\r\n:28C:7/1\r\n:60F:C260301EUR10,00\r\n:62M:C260301EUR10,00\r\n-\r\n"
            ":20:B\r\n:25:1\r\n:28C:7/2\r\n:60M:C260301EUR{},00\r\n:62F:C260301EUR{},00\r\n-\r\n"
        )
        good = read_statement(pages.format(10, 10).encode(), make_source())
        bad = read_statement(pages.format(11, 11).encode(), make_source())
        assert good.status is ACCEPTED
        assert (bad.status, Code.BALANCE_DISAGREES in codes(bad)) == (QUARANTINED, True)

    def test_latin_1_is_read(self):
        data = WRITERS["mt940"](MOVEMENTS).replace(b"payment R1", "Büro".encode("latin-1"))
        reading = read_statement(data, make_source())
        assert reading.statements[0].lines[0].remittance == "Büro"


class TestBai2:
    @pytest.mark.parametrize(
        "funds", ["S,1000,2000,3000", "V,260302,1200", "D,2,0,5000,1,7000", "Z", "0"]
    )
    def test_each_funds_type_takes_its_own_fields(self, funds):
        reading = changed("bai2", ("12000,,BR1,R1", f"12000,{funds},BR1,R1"))
        assert reading.status is ACCEPTED
        assert reading.statements[0].lines[0].bank_ref == "BR1"

    def test_continuations_and_several_records_on_a_line_are_read(self):
        reading = changed(
            "bai2",
            ("16,174,12000,,BR1,R1,PAID/", "16,174,12000,,BR1,R1,PAID BY/\n88,THE SHOP/"),
            ("49,+", "49,+"),
            (",4/\n98,", ",5/98,"),
            (",1,6/", ",1,7/"),
            (",1,8/", ",1,9/"),
        )
        assert reading.status is ACCEPTED
        assert reading.statements[0].lines[0].remittance == "PAID BY,THE SHOP"

    def test_returns_and_fees_are_told_by_their_codes(self):
        reading = changed("bai2", ("16,174,", "16,257,"), ("16,475,", "16,698,"))
        kinds = [line.kind for line in reading.statements[0].lines]
        assert kinds == [LineKind.RETURNED, LineKind.FEE]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (("16,174,12000", "16,174,-12000"), Code.LINE_INCONSISTENT),
            (("16,174,12000", "16,174,120.00"), Code.AMOUNT_UNREADABLE),
            (("16,174,", "16,17,"), Code.MALFORMED),
            (("12000,,BR1", "12000,Q,BR1"), Code.MALFORMED),
            (("99,", "77,"), Code.MALFORMED),
            (("02,SHOP,BANK,1,260331", "02,SHOP,BANK,1,261331"), Code.DATE_UNREADABLE),
            (("49,+", "49,x"), Code.AMOUNT_UNREADABLE),
            (("\n03,", "\n88,1/\n16,174,1/\n03,"), Code.MALFORMED),
            ((",010,", ",0x0,"), Code.MALFORMED),
        ],
    )
    def test_what_cannot_be_read_rejects_the_file(self, change, code):
        reading = changed("bai2", change)
        assert reading.status is REJECTED
        assert code in codes(reading)

    def test_a_control_total_that_disagrees_quarantines_with_the_difference(self):
        reading = changed("bai2", ("16,174,12000,", "16,174,12001,"))
        assert reading.status is QUARANTINED
        assert "difference -0.01 EUR" in str(reading.findings)

    def test_a_record_after_the_trailer_rejects_the_file(self):
        data = WRITERS["bai2"](MOVEMENTS) + b"99,1,1,1/\n"
        assert Code.MALFORMED in codes(read_statement(data, make_source()))

    def test_bytes_that_are_not_ascii_are_read_as_latin_1(self):
        data = WRITERS["bai2"](MOVEMENTS).replace(b"PAID", b"B\xdcRO")
        assert read_statement(data, make_source()).status is ACCEPTED

    def test_available_balances_prove_nothing_and_are_told_where_they_differ(self):
        reading = changed("bai2", (",010,", ",040,"), (",015,", ",045,"), ("16,174,", "16,175,"))
        assert reading.status is ACCEPTED
        moved = changed("bai2", (",010,+10000", ",040,+9999"), (",015,+17500", ",045,+17501"))
        assert Code.DEVIATION in codes(moved)


class TestOfx:
    def test_an_offset_is_the_day_it_was_there(self):
        reading = changed("ofx", ("<DTPOSTED>20260302", "<DTPOSTED>20260302233000.000[-5:EST]"))
        line = reading.statements[0].lines[0]
        assert (line.booked_date, line.booked_tz) == (date(2026, 3, 2), "-05:00")
        assert line.booked_at_utc == datetime(2026, 3, 3, 4, 30, tzinfo=UTC)

    def test_a_correction_names_what_it_replaces(self):
        reading = changed(
            "ofx",
            ("<FITID>R2", "<FITID>R2<CORRECTFITID>R1<CORRECTACTION>REPLACE<REFNUM>7"),
        )
        line = reading.statements[0].lines[1]
        assert line.supersedes == reading.statements[0].lines[0].identity_key
        assert line.raw["CORRECTACTION"] == "REPLACE"

    def test_a_missing_currency_is_the_sources_where_it_has_one(self):
        change = ("<CURDEF>EUR\n", "<CURDEF></CURDEF>")
        assert codes(changed("ofx", change)) == {Code.CURRENCY_UNKNOWN}
        reading = changed("ofx", change, currency="EUR")
        assert (reading.status, Code.DEVIATION in codes(reading)) == (ACCEPTED, True)

    def test_a_line_without_its_id_is_known_by_what_it_says(self):
        reading = changed("ofx", ("<FITID>R1", ""), ("TRNTYPE>OTHER", "TRNTYPE>FEE"))
        line = reading.statements[0].lines[0]
        assert line.identity_key.startswith("sha256:")
        assert line.kind is LineKind.FEE

    def test_utf_8_is_read_where_it_is_declared(self):
        head = ("VERSION:102", "VERSION:102\nENCODING:UTF-8\nCHARSET:NONE")
        reading = changed("ofx", head, ("<MEMO>paid", "<MEMO>B\u00fcro &amp; Co"))
        assert reading.statements[0].lines[0].remittance == "B\u00fcro & Co"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (("</BANKTRANLIST>", ""), Code.MALFORMED),
            (("</OFX>", "</OFX> more"), Code.MALFORMED),
            (("</OFX>", ""), Code.TRUNCATED),
            (("<OFX>", "<ofx>"), Code.TRUNCATED),
            (("<CURDEF>", "<1>"), Code.MALFORMED),
            (("<STMTRS>", "<INVSTMTRS></INVSTMTRS><STMTRS>"), Code.WRONG_REPORT),
            (("20260302", "20260302[+99:XX]"), Code.DATE_UNREADABLE),
        ],
    )
    def test_what_cannot_be_read_rejects_the_file(self, change, code):
        reading = changed("ofx", change)
        assert reading.status is REJECTED
        assert code in codes(reading)


SIDES = CsvMapping(
    version=3,
    date="when",
    date_format="%d.%m.%Y %H:%M",
    value_date="value",
    debit="out",
    credit="in",
    fee="fee",
    net="net",
    kind="what",
    kinds={"sale": LineKind.PAYMENT, "gone": LineKind.STATUS},
    skip={"state": frozenset({"void"})},
    provider_txn_id="id",
    keep=frozenset({"what"}),
)
SIDES_TABLE = (
    "when,value,out,in,fee,net,what,state,id,name\n"
    "02.03.2026 10:00,03.03.2026 00:00,,120.00,2.05,117.95,sale,ok,1,Ann\n"
    "03.03.2026 10:00,,45.00,,,-45.00,sale,void,2,Ann\n"
)


class TestMappedTables:
    def read(self, text: str = SIDES_TABLE, mapping: CsvMapping = SIDES, **source) -> Reading:
        return read_statement(
            text.encode(), make_source(mapping=mapping, **{"currency": "EUR", **source})
        )

    def test_debit_and_credit_columns_are_the_sign(self):
        reading = self.read()
        first, second = reading.statements[0].lines
        assert (reading.status, reading.version) == (ACCEPTED, "3")
        assert (first.amount_minor, first.fee_minor, second.amount_minor) == (12_000, 205, -4_500)
        assert (first.is_cash, second.is_cash) == (True, False)
        assert first.booked_at_utc == datetime(2026, 3, 2, 9, tzinfo=UTC)
        assert first.value_date == date(2026, 3, 3)
        assert "Ann" not in str(reading)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ((",,120.00,", ",1.00,120.00,"), Code.LINE_INCONSISTENT),
            ((",45.00,,,-45.00", ",,,,-45.00"), Code.LINE_INCONSISTENT),
            (("117.95", "117.96"), Code.LINE_INCONSISTENT),
            (("02.03.2026 10:00", "2026-03-02"), Code.DATE_UNREADABLE),
            (("02.03.2026 10:00", "02.03.0026 10:00"), Code.DATE_UNREADABLE),
            ((",Ann\n03", ',"Ann\n03'), Code.MALFORMED),
            ((",1,Ann", ",1,Ann,more"), Code.MALFORMED),
        ],
    )
    def test_a_row_that_cannot_be_read_rejects_the_file(self, change, code):
        reading = self.read(SIDES_TABLE.replace(*change))
        assert (reading.status, code in codes(reading)) == (REJECTED, True)

    def test_a_row_without_a_currency_rejects_the_file(self):
        assert Code.CURRENCY_UNKNOWN in codes(self.read(currency=""))

    def test_a_word_that_is_no_kind_is_kept_and_told(self):
        reading = self.read(SIDES_TABLE.replace(",sale,ok", ",other,ok"))
        assert reading.statements[0].lines[0].kind is LineKind.OTHER
        assert Code.UNKNOWN_KIND in codes(reading)

    def test_minor_units_and_a_direction(self):
        mapping = CsvMapping(
            version=1,
            date="day",
            amount="cents",
            minor_units=True,
            direction=Direction(column="way", incoming=frozenset({"C"}), outgoing=frozenset({"D"})),
        )
        text = "day,cents,way\n2026-03-02,500,C\n2026-03-03,200,D\n"
        [statement] = self.read(text, mapping).statements
        assert [line.amount_minor for line in statement.lines] == [500, -200]
        assert self.read(text.replace("500", "5.00"), mapping).status is REJECTED
        assert self.read(text.replace("500,C", "500,X"), mapping).status is REJECTED

    def test_a_running_balance_is_held_from_row_to_row_in_the_files_own_order(self):
        mapping = CsvMapping(
            version=1, date="day", amount="amount", balance="balance", newest_first=True
        )
        text = "day,amount,balance\n2026-03-03,-2.00,13.00\n2026-03-02,5.00,15.00\n"
        reading = self.read(text, mapping)
        assert (reading.status, reading.statements[0].opening_minor) == (ACCEPTED, 1_000)
        broken = self.read(text.replace("15.00", "15.01"), mapping)
        assert (broken.status, Code.BALANCE_DISAGREES in codes(broken)) == (QUARANTINED, True)

    def test_text_in_another_encoding_is_refused(self):
        data = SIDES_TABLE.replace("Ann", "Änn").encode("latin-1")
        reading = read_statement(data, make_source(mapping=SIDES, currency="EUR"))
        assert Code.MALFORMED in codes(reading)

    @pytest.mark.parametrize(
        ("text", "minor"),
        {"1,234.50": 123_450, "-1,234,567.00": -123_456_700, "234.50": 23_450}.items(),
    )
    def test_thousands_are_groups_of_three(self, text, minor):
        mapping = CsvMapping(version=1, date="day", amount="amount", thousands_separator=",")
        table = 'day,amount\n2026-03-02,"{}"\n'
        assert self.read(table.format(text), mapping).statements[0].cash_minor == minor
        assert self.read(table.format("1,23.50"), mapping).status is REJECTED


class TestSources:
    @pytest.mark.parametrize(
        "wrong",
        [{"iana_tz": "Europe/Nowhere"}, {"decimal_separator": "·"}, {"date_order": "myd"}],
    )
    def test_what_files_cannot_be_read_by_is_refused(self, wrong):
        with pytest.raises(SettingsError):
            make_source(**wrong)

    @pytest.mark.parametrize("other", [{"currency": "USD"}, {"account_ref": "A2"}])
    def test_a_file_of_another_account_or_currency_is_held_back(self, other):
        reading = changed("mt940", (":25:10020030", ":25:10020030"), **other)
        assert (reading.status, codes(reading)) == (QUARANTINED, {Code.ACCOUNT_DISAGREES})

    def test_days_outside_a_control_are_told(self):
        control = Control(
            currency="EUR",
            period_from=date(2026, 3, 3),
            period_to=date(2026, 3, 3),
            opening_minor=10_000,
            closing_minor=17_501,
        )
        reading = read_statement(WRITERS["stripe.itemized"](MOVEMENTS), make_source(), [control])
        assert reading.status is QUARANTINED
        assert codes(reading) == {Code.TOTAL_DISAGREES, Code.BALANCE_DISAGREES}
        other = read_statement(WRITERS["mt940"](MOVEMENTS), make_source(), [control])
        assert Code.TOTAL_DISAGREES in codes(other)

    def test_an_unknown_currency_is_told_once_unless_the_ledger_declared_it(self):
        changes = (",eur,", ",usdc,")
        assert len(changed("stripe.itemized", changes).findings) == 1
        declared = changed("stripe.itemized", changes, exponents={"USDC": 6})
        assert declared.statements[0].lines[0].amount_minor == 120_000_000

    def test_a_thousand_findings_are_enough(self):
        rows = "txn,2026-03-02,eur,x,0,0,charge\n" * (FINDINGS_MAX + 5)
        head = "balance_transaction_id,created,currency,gross,fee,net,reporting_category\n"
        reading = read_statement((head + rows).encode(), make_source())
        assert len(reading.findings) == FINDINGS_MAX + 1
        assert reading.findings[-1].message == "and 5 more findings"

    def test_a_zone_without_letters_can_confirm_nothing(self):
        reading = changed(
            "paypal.activity", (",CET,", ",BRT,"), iana_tz="America/Sao_Paulo", date_order="ymd"
        )
        assert (reading.status, Code.DEVIATION in codes(reading)) == (ACCEPTED, True)

    def test_the_hour_that_clocks_show_twice_is_told_by_its_zone(self):
        moments = [
            changed(
                "paypal.activity",
                ("2026-03-02,10:00:00,CET", f"2026-10-25,02:30:00,{zone}"),
                ("2026-03-03", "2026-10-26"),
                date_order="ymd",
            ).statements[0].lines[0].booked_at_utc
            for zone in ("CEST", "CET")
        ]  # fmt: skip
        assert moments == [
            datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
            datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        ]

    def test_an_empty_file_says_so(self):
        reading = read_statement(b" \n", make_source(mapping=SIDES))
        assert reading.findings[0].message == "the file is empty"

"""Laws of reports: the same pages for the same bundle, every letter printed, a seal that holds."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil

import pypdfium2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from reportlab.pdfbase.pdfmetrics import stringWidth
from typer.testing import CliRunner

from ledger.audit.report.content import Grid
from ledger.audit.report.pages import WIDTH, _widths
from ledger.cli.main import app
from ledger.forms import letters
from tests.faults.house import asks, open_house
from tests.integration.rooms import open_room, record_april, record_march

RUN = CliRunner()
NAMES = ("Zoë Müller", "Ελληνικά", "Кириллица", "日本語の名前", "한국어", "שם", "a & b < c")
PAYMENTS = 90
SECTIONS = (
    "Conclusion",
    "Scope and parameters",
    "Integrity",
    "Completeness and roll-forward",
    "Totals",
    "Corrections",
    "Cut-off",
    "Reconciliation",
    "Exceptions",
    "Access and segregation of duties",
    "Sample",
    "Erasures and omissions",
    "Chain of custody",
    "How to verify",
    "Glossary",
)


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    base = tmp_path_factory.mktemp("reported")
    with open_house() as house:
        room = open_room(house, base / "made")
        ledger = house.open_ledger()
        record_march(house, ledger)
        for number in range(PAYMENTS):
            house.record(
                ledger,
                asks(
                    f"paid-{number}",
                    type="card.capture",
                    subject=f"{NAMES[number % len(NAMES)]} {number}",
                    money={"amount": "1000.00", "currency": "EUR", "flow": "in"},
                ),
            )
        room.closing.close(ledger, "2026-03", preparer="anna", reviewer="ben")
        record_april(house, ledger)
        room.closing.close(ledger, "2026-04", preparer="anna")
        vkey = house.reader.ledger(ledger).vkey
        march, april = (room.unpacked(ledger, name, base) for name in ("2026-03", "2026-04"))
    return vkey, march, april


def report(bundle, out, *options):
    done = RUN.invoke(app, ["report", str(bundle), "--out", str(out), *options, "--json"])
    return done.exit_code, json.loads(done.stdout)


def pages(path):
    document = pypdfium2.PdfDocument(path)
    try:
        return [page.get_textpage().get_text_range() for page in document]
    finally:
        document.close()


def first_page(path):
    """What is seen of it."""
    document = pypdfium2.PdfDocument(path)
    document.init_forms()
    try:
        return document[0].render(scale=0.5).to_pil().tobytes()
    finally:
        document.close()


def test_the_same_bundle_gives_the_same_report(taken, tmp_path):
    vkey, march, _ = taken
    for name in ("one", "other"):
        code, told = report(march, tmp_path / f"{name}.pdf", "--vkey", vkey)
        assert (code, told["verified"], told["first_bad"]) == (0, True, None)
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "other.pdf").read_bytes()


def test_a_report_has_its_fifteen_sections_on_numbered_pages(taken, tmp_path):
    vkey, march, _ = taken
    report(march, tmp_path / "a.pdf", "--vkey", vkey, "--purpose", "Year-end & more")
    printed = pages(tmp_path / "a.pdf")
    whole = "\n".join(printed)
    assert all(f"{at}. {title}" in whole for at, title in enumerate(SECTIONS, 1))
    assert "0 failures" in printed[0]
    assert "Year-end & more" in printed[0]
    for number, page in enumerate(printed, 1):
        assert f"page {number} of {len(printed)}" in page
    assert "The bundle is the evidence" in printed[0]


def test_names_in_other_letters_are_printed_or_told_by_code_point(taken, tmp_path):
    vkey, march, _ = taken
    report(march, tmp_path / "a.pdf", "--vkey", vkey)
    whole = "\n".join(pages(tmp_path / "a.pdf"))
    for name in ("Zoë Müller", "Ελληνικά", "Кириллица", "a & b < c", "[U+05E9][U+05DD]"):
        assert name in whole.replace("\r\n", "")


@pytest.mark.parametrize("with_extra", [True, False])
def test_chinese_japanese_and_korean_are_embedded_or_said_to_be_missing(
    taken, tmp_path, monkeypatch, with_extra
):
    """With the extra `pdf-cjk` the page has them; without it, it takes a reader who has them."""
    if not with_extra:
        monkeypatch.setattr(letters, "_NOTO", "no_such_package")
    vkey, march, _ = taken
    path = tmp_path / "a.pdf"
    done = RUN.invoke(app, ["report", str(march), "--out", str(path), "--vkey", vkey])
    missing = letters.missing_fonts((tmp_path / "a.pdf").read_bytes())

    assert bool(missing) is not with_extra
    assert ("pdf-cjk" in done.stderr) is not with_extra
    whole = "\n".join(pages(tmp_path / "a.pdf")).replace("\r\n", "")
    if with_extra:
        assert "日本語の名前" in whole
        assert "한국어" in whole


def test_no_heading_is_broken_inside_a_word():
    grid = Grid(head=("seq", "days between", "x"), rows=[], widths=(1, 0.1, 90))
    widths = _widths(grid)

    assert sum(widths) == pytest.approx(WIDTH)
    assert widths[1] > stringWidth("between", "Roboto-Bold", 7)


def test_no_word_of_a_cell_is_broken_while_there_is_room():
    row = ("3", "adjustment", "invoice.recalled", "-10.00", "EUR", "0123456789abcdef" * 9)
    widths = _widths(
        Grid(head=("seq", "kind", "reason", "amount", "in", "id"), rows=[row], widths=(9,) * 6)
    )

    assert sum(widths) == pytest.approx(WIDTH)
    for word, width in zip(row[:5], widths, strict=False):
        assert width > stringWidth(word, "Roboto", 7) + 6


def test_a_report_tells_when_that_occurred_which_was_recorded(taken, tmp_path):
    """Totals are of what was recorded; beside them stands what occurred in the period."""
    vkey, _, april = taken
    report(april, tmp_path / "a.pdf", "--vkey", vkey)
    printed = " ".join("\n".join(pages(tmp_path / "a.pdf")).split())
    manifest = json.loads((april / "manifest.json").read_bytes())
    span, period = manifest["range"], manifest["period"]

    assert f"recorded from entry {span['from_seq']} to entry {span['to_seq']}" in printed
    assert "occurred in the period, before and after it" in printed
    assert f"occurred outside {period['from_at']} to {period['to_at']}" in printed


def test_a_long_table_has_its_head_on_every_page(taken, tmp_path):
    vkey, march, _ = taken
    lines = [line.split(",") for line in (march / "tables/corrections.csv").read_text().split("\n")]
    assert lines
    report(march, tmp_path / "a.pdf", "--vkey", vkey)
    printed = pages(tmp_path / "a.pdf")
    exceptions = [page for page in printed if "card.capture" in page and "occurred" in page]
    assert len(exceptions) >= 2


def test_totals_of_earlier_periods_roll_forward(taken, tmp_path):
    vkey, march, april = taken
    report(april, tmp_path / "alone.pdf", "--vkey", vkey)
    assert "they were not given" in "\n".join(pages(tmp_path / "alone.pdf")).replace("\r\n", " ")
    report(april, tmp_path / "joined.pdf", "--vkey", vkey, "--earlier", str(march))
    assert "opening" in "\n".join(pages(tmp_path / "joined.pdf"))


def test_a_report_of_a_damaged_bundle_says_so_first(taken, tmp_path):
    vkey, march, _ = taken
    damaged = tmp_path / "damaged"
    shutil.copytree(march, damaged)
    entries = damaged / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"100.00"', b'"900.00"', 1))
    code, told = report(damaged, tmp_path / "bad.pdf", "--vkey", vkey)
    assert code == 1
    assert told["first_bad"]["code"]
    assert "NOT GOOD" in pages(tmp_path / "bad.pdf")[0]
    report(march, tmp_path / "good.pdf", "--vkey", vkey)
    ids = {
        re.search("Report id\\s+([0-9a-f]{32})", pages(tmp_path / f"{name}.pdf")[0])[1]
        for name in ("bad", "good")
    }
    assert len(ids) == 2


def test_without_a_key_a_report_is_not_authenticated(taken, tmp_path):
    _, march, _ = taken
    code, told = report(march, tmp_path / "a.pdf")
    assert (code, told["authenticated"]) == (2, False)
    assert "Not authenticated" in pages(tmp_path / "a.pdf")[0]


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """A certificate of its own, and the file that it and its key are in."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Auditors")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=True,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("identity") / "seal.p12"
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"seal", key, certificate, None, serialization.BestAvailableEncryption(b"secret")
        )
    )
    return path, certificate


def status_of(path, certificate):
    from asn1crypto import x509 as asn1

    root = asn1.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
    context = ValidationContext(trust_roots=[root], allow_fetching=False)
    with path.open("rb") as file:
        [signature] = PdfFileReader(file).embedded_signatures
        return validate_pdf_signature(signature, context)


def test_a_seal_holds_until_a_byte_is_changed(taken, identity, tmp_path, monkeypatch):
    vkey, march, _ = taken
    path, certificate = identity
    monkeypatch.setenv("EFFECT_LEDGER_SEAL_PASSPHRASE", "secret")
    sealed = tmp_path / "sealed.pdf"
    code, told = report(march, sealed, "--vkey", vkey, "--seal", str(path))
    assert (code, told["sealed"]) == (0, True)
    status = status_of(sealed, certificate)
    assert status.intact
    assert status.valid
    assert status.trusted
    report(march, tmp_path / "plain.pdf", "--vkey", vkey)
    assert first_page(sealed) != first_page(tmp_path / "plain.pdf"), "the seal can be seen"

    changed = bytearray(sealed.read_bytes())
    changed[len(changed) // 4] ^= 1
    sealed.write_bytes(bytes(changed))
    assert not status_of(sealed, certificate).intact


def test_a_seal_needs_the_right_passphrase(taken, identity, tmp_path, monkeypatch):
    vkey, march, _ = taken
    monkeypatch.setenv("EFFECT_LEDGER_SEAL_PASSPHRASE", "wrong")
    options = ["--vkey", vkey, "--seal", str(identity[0])]
    done = RUN.invoke(app, ["report", str(march), "--out", str(tmp_path / "x.pdf"), *options])
    assert "passphrase" in str(done.exception)
    assert not (tmp_path / "x.pdf").exists()

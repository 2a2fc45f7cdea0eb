"""
Laws of statements in bundles: what was signed is there, as it was signed, and proves to zero.

verify.py is run as an auditor runs it: alone, with the standard library.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pypdfium2
import pytest
from typer.testing import CliRunner

from ledger.canonical import canonical_bytes
from ledger.cli.main import app
from tests.api.desk import CHARGE, FAILURE, REFUND, SOURCE, Desk, record
from tests.api.support import Api
from tests.api.test_exports import made


@dataclass(frozen=True, kw_only=True)
class Filed:
    """Bundles of two periods: March with statements, April with one that was signed late."""

    vkey: str
    march: Path
    april: Path
    signed: str
    """Name of the statement that was signed before March was closed."""
    unsigned: str
    """Name of a newer one, which was signed after that."""
    again: bytes
    first: bytes


@pytest.fixture(scope="module")
def filed(engine, http, tmp_path_factory) -> Filed:
    def make_key(*scopes: str, principal: str = "tester", ledgers: Any = None) -> str:
        return str(engine.credentials.create(principal, scopes, ledgers).key)

    ledger = engine.registry.create_ledger("filed")
    api = Api(http=http, ledger=ledger.name, token=make_key("*"), make_key=make_key)
    preparer = Desk(
        api.with_key("recon:prepare", "effects:write", "refunds:write", principal="fin")
    )
    reviewer = Desk(api.with_key("recon:review", principal="ben"))
    preparer.post("sources", **SOURCE)
    record(preparer.api)
    preparer.bring(CHARGE, REFUND)
    first = preparer.run(today="2026-03-05")
    preparer.run(today="2026-03-06")
    signed = reviewer.post("signoffs", run=first["id"], note="Tied; see the bank's letter.")
    assert (signed["preparer"], signed["reviewer"]) == ("fin", "ben")
    preparer.bring(CHARGE, REFUND, FAILURE)
    newest = preparer.run(today="2026-03-10")
    assert api.post("/periods/2026-03/close", {"reviewer": "ben"}).status_code == 201
    packed = [_packed(api, "2026-03")]
    reviewer.post("signoffs", run=newest["id"], untied=True)
    preparer.run(today="2026-04-02")
    packed.append(_packed(api, "2026-03"))
    assert api.post("/periods/2026-04/close", {}).status_code == 201
    base = tmp_path_factory.mktemp("filed")
    return Filed(
        vkey=ledger.vkey,
        march=_unpacked(packed[0], base / "march"),
        april=_unpacked(_packed(api, "2026-04"), base / "april"),
        signed=f"2026-03-{first['id'][:8]}",
        unsigned=f"2026-03-{newest['id'][:8]}",
        first=packed[0],
        again=packed[1],
    )


def _packed(api: Api, period: str) -> bytes:
    job = made(api, period=period)
    return api.get(f"/exports/{job['id']}/bundle").content


def _unpacked(packed: bytes, into: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        opened.extractall(into)
    [bundle] = into.iterdir()
    return bundle


def run(bundle: Path, vkey: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", bundle / "verify.py", bundle, "--json", "--vkey", vkey],
        capture_output=True,
        encoding="utf-8",
        cwd="/",
        env={},
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def index_of(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((bundle / "statements/index.json").read_bytes())
    return found


def test_signed_statements_go_with_the_period_they_were_signed_in(filed):
    """And of the period itself the newest that was unsigned by its close, marked as such."""
    states = {each["path"]: each["state"] for each in index_of(filed.march)["statements"]}
    later = {each["path"]: each["state"] for each in index_of(filed.april)["statements"]}

    assert states == {
        f"statements/{filed.signed}.json": "signed",
        f"statements/{filed.unsigned}.json": "unsigned",
    }
    assert later == {f"statements/{filed.unsigned}.json": "signed"}
    for bundle in (filed.march, filed.april):
        code, told = run(bundle, filed.vkey)
        assert (code, told["findings"]) == (0, [])
        assert any("is unsigned" in each for each in told["notes"]) is (bundle == filed.march)


def test_later_runs_and_signatures_leave_the_bundle_as_it_was(filed):
    assert hashlib.sha256(filed.again).digest() == hashlib.sha256(filed.first).digest()


def test_every_print_of_a_signed_statement_names_who_signed_it(filed):
    [stated] = orjson.loads((filed.march / f"statements/{filed.signed}.json").read_bytes())[
        "signoffs"
    ]
    text = (filed.march / f"statements/{filed.signed}.txt").read_text()
    table = (filed.march / f"statements/{filed.signed}.csv").read_text()

    for shown in (text, table):
        assert "Reviewed by" in shown
        assert f"ben, at {stated['notice']['recorded_at']}" in shown
        assert f"entry {stated['notice']['seq']} of filed" in shown
        assert "Tied; see the bank's letter." in shown
    assert "nobody yet" in (filed.march / f"statements/{filed.unsigned}.txt").read_text()


def test_the_report_of_a_bundle_tells_its_statements(filed, tmp_path):
    out = tmp_path / "march.pdf"
    done = CliRunner().invoke(
        app, ["report", str(filed.march), "--out", str(out), "--vkey", filed.vkey]
    )
    with pypdfium2.PdfDocument(out) as document:
        text = " ".join(page.get_textpage().get_text_bounded() for page in document)
    words = " ".join(text.split())

    assert done.exit_code == 0, done.output
    assert "ben, with a key of their own, at" in words
    assert "nobody when the period was closed: UNSIGNED" in words
    assert words.count("ledger to provider or bank, payments EUR 120.00") == 2


def test_the_report_of_a_damaged_statement_is_written_too(filed, tmp_path):
    bundle = shutil.copytree(filed.march, tmp_path / "bundle")
    (bundle / f"statements/{filed.signed}.json").write_bytes(b"{}")
    out = tmp_path / "march.pdf"
    done = CliRunner().invoke(
        app, ["report", str(bundle), "--out", str(out), "--vkey", filed.vkey, "--json"]
    )

    assert (done.exit_code, json.loads(done.stdout)["first_bad"]["code"]) == (
        1,
        "statement.missing",
    )
    assert out.stat().st_size > 0


def edited(bundle: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle / f"statements/{name}.json"
    record = orjson.loads(path.read_bytes())
    change(record)
    path.write_bytes(canonical_bytes(record))


def figure(record: dict[str, Any]) -> None:
    record["statement"]["statement"][0]["total"] = "119.00"


def reviewer_renamed(record: dict[str, Any]) -> None:
    record["signoffs"][0]["document"]["reviewer"] = "eve"


def another_decision(record: dict[str, Any]) -> None:
    record["signoffs"][0]["decision"] = "019a2b5d-ac96-774b-bcce-b302099a8057"


def another_tree(record: dict[str, Any]) -> None:
    record["statement"]["input"]["root"] = "ab" * 32


def no_form(record: dict[str, Any]) -> None:
    del record["statement"]["input"]


Damage = tuple[str, Callable[[dict[str, Any]], None], str, str]
DAMAGE: dict[str, Damage] = {
    "figure-of-a-signed-one": ("signed", figure, "statement.changed", "not the statement that ben"),
    "figure-of-an-unsigned-one": ("unsigned", figure, "statement.sums", "do not make what is"),
    "reviewer": ("signed", reviewer_renamed, "statement.forged", "is not the one that entry"),
    "decision": ("signed", another_decision, "statement.missing", "whose signature entry"),
    "tree": ("unsigned", another_tree, "statement.checkpoint", "does not begin with"),
    "form": ("unsigned", no_form, "statement.unreadable", "not in the form of a statement"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_statement_is_named(filed, tmp_path, name):
    which, change, code, says = DAMAGE[name]
    bundle = shutil.copytree(filed.march, tmp_path / "bundle")
    edited(bundle, getattr(filed, which), change)
    exit_code, told = run(bundle, filed.vkey)

    assert (exit_code, told["first_bad"]["code"]) == (1, code), told["findings"]
    assert says in told["first_bad"]["message"]


def test_a_signed_statement_that_is_left_out_is_missed(filed, tmp_path):
    """Also where the index keeps silent about it: history tells that it was signed."""
    bundle = shutil.copytree(filed.march, tmp_path / "bundle")
    index = index_of(bundle)
    index["statements"] = [each for each in index["statements"] if each["state"] != "signed"]
    (bundle / "statements/index.json").write_bytes(canonical_bytes(index))
    exit_code, told = run(bundle, filed.vkey)

    assert (exit_code, told["first_bad"]["code"]) == (1, "statement.missing")

"""Laws of samples drawn from bundles: repeated by anyone, written as a paper, evaluated."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import itertools
import json
import re
import shutil
import zipfile

import pytest
from typer.testing import CliRunner

from ledger.audit.paper import BLANK
from ledger.cli.main import app
from ledger.errors import MalformedProofError
from tests.faults.house import asks, open_house
from tests.integration.rooms import open_room

PAYMENTS = 60
RUN = CliRunner()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A month of payments of 1.00, 2.00 and so on."""
    base = tmp_path_factory.mktemp("sampled")
    with open_house() as house:
        room = open_room(house, base / "made")
        ledger = house.open_ledger()
        for number in range(1, PAYMENTS + 1):
            money = {"amount": f"{number}.00", "currency": "EUR", "flow": "in"}
            house.record(ledger, asks(f"paid-{number}", type="card.capture", money=money))
        house.record(ledger, asks("mailed", type="email.sent"))
        room.closing.close(ledger, "2026-03", preparer="anna")
        return room.unpacked(ledger, "2026-03", base)


def draw(bundle, *options):
    done = RUN.invoke(app, ["sample", str(bundle), *options, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_a_sample_is_drawn_again_from_the_files_alone(bundle):
    drawn = draw(bundle, "--method", "random", "--size", "5", "--seed", "s", "--currency", "EUR")

    lines = (bundle / "entries.jsonl").read_bytes().splitlines()
    population = [
        line for line in lines if json.loads(line)["effect"].get("money", {}).get("currency")
    ]

    def entry_hash(line):
        return hashlib.sha256(b"\0" + line).digest()

    told = "".join(f"{json.loads(line)['id']} {entry_hash(line).hex()}\n" for line in population)
    digest = hashlib.sha256(b"effect-ledger/population/v2\n" + told.encode()).digest()

    def key(line):
        return hmac.digest(b"s", digest + entry_hash(line), "sha256")

    again = sorted(json.loads(line)["seq"] for line in sorted(population, key=key)[:5])
    assert [item["seq"] for item in drawn["items"]] == again
    assert drawn["population"]["digest"] == digest.hex()
    assert drawn["population"]["count"] == PAYMENTS
    assert drawn["population"]["sum"] == f"{PAYMENTS * (PAYMENTS + 1) // 2}.00"


def test_nothing_is_drawn_from_a_bundle_that_is_bad(bundle, tmp_path):
    """And a sample of one whose key nobody gave says so, in its paper too."""
    bad = shutil.copytree(bundle, tmp_path / "bad")
    entries = bad / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"5.00"', b'"9.00"'))
    paper = tmp_path / "paper.xlsx"
    done = RUN.invoke(
        app, ["sample", str(bad), "--method", "random", "--size", "3", "--out", str(paper)]
    )
    assert isinstance(done.exception, MalformedProofError)
    assert not paper.exists()

    vkey = json.loads((bundle / "manifest.json").read_bytes())["vkey"]
    options = ["--method", "random", "--size", "99"]
    assert draw(bundle, *options)["authenticated"] is False
    assert draw(bundle, *options, "--vkey", vkey)["authenticated"] is True
    told = RUN.invoke(app, ["sample", str(bundle), *options]).stdout
    assert "All 61 entries of the population chosen; 99 were asked for" in told
    assert "NOT AUTHENTICATED" in told


def test_a_seed_is_drawn_and_told_where_none_is_given(bundle):
    drawn = draw(bundle, "--method", "random", "--size", "3")
    again = draw(bundle, "--method", "random", "--size", "3", "--seed", drawn["parameters"]["seed"])
    assert again == drawn
    assert len(drawn["parameters"]["seed"]) >= 32


def test_a_paper_has_blank_results_and_is_the_same_each_time(bundle, tmp_path):
    options = ["--method", "monetary-unit", "--tolerable", "600", "--currency", "EUR"]
    for name in ("one", "other"):
        draw(bundle, *options, "--seed", "s", "--out", str(tmp_path / f"{name}.xlsx"))
    assert (tmp_path / "one.xlsx").read_bytes() == (tmp_path / "other.xlsx").read_bytes()

    with zipfile.ZipFile(tmp_path / "one.xlsx") as packed:
        words = packed.read("xl/sharedStrings.xml").decode()
        results = packed.read("xl/worksheets/sheet3.xml").decode()
    assert all(name in words for name in BLANK)
    assert "BETAINV(0.95" in results
    # The factor for no misstatement and the first increment, as the tables have them.
    assert re.search(r"\(2\.99573\d+\+1\.748\d+\*", results)


def test_results_of_a_monetary_unit_sample_are_projected(bundle, tmp_path):
    paper = tmp_path / "paper.xlsx"
    options = ["--method", "monetary-unit", "--tolerable", "150", "--currency", "EUR"]
    drawn = draw(bundle, *options, "--seed", "s", "--out", str(paper))
    interval = float(drawn["parameters"]["interval"])
    assert {item["stratum"] for item in drawn["items"]} == {"certain", "sampled"}

    def evaluate(audited):
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["seq", "audited"])
        writer.writerows([item["seq"], audited(item)] for item in drawn["items"])
        (tmp_path / "results.csv").write_text(table.getvalue(), encoding="utf-8")
        files = [str(paper.with_suffix(".json")), str(tmp_path / "results.csv")]
        return json.loads(RUN.invoke(app, ["evaluate", *files, "--json"]).stdout)

    good = evaluate(lambda item: item["amount"])
    assert float(good["projected"]) == 0
    assert float(good["upper"]) == pytest.approx(150, rel=0.01)

    # Half of the first small one is not there: half an interval is projected.
    small = next(item["seq"] for item in drawn["items"] if item["stratum"] == "sampled")
    bad = evaluate(lambda item: f"{float(item['amount']) / (2 if item['seq'] == small else 1):.2f}")
    assert float(bad["projected"]) == pytest.approx(interval / 2, rel=0.05)
    assert float(bad["upper"]) > float(good["upper"])


def test_deviations_give_the_rate_that_is_not_exceeded(bundle, tmp_path):
    paper = tmp_path / "paper.xlsx"
    drawn = draw(bundle, "--method", "attribute", "--tolerable", "10", "--out", str(paper))
    assert len(drawn["items"]) == 29
    rows = [f"{item['seq']},no" for item in drawn["items"]]
    results = tmp_path / "results.csv"
    results.write_text("\n".join(["seq,deviation (yes/no)", *rows]), encoding="utf-8")
    files = [str(paper.with_suffix(".json")), str(results)]
    found = json.loads(RUN.invoke(app, ["evaluate", *files, "--json"]).stdout)
    assert found["deviations"] == 0
    assert found["upper_rate"] <= 0.10

    results.write_text("\n".join(["seq,deviation", rows[0].replace("no", "yes"), *rows[1:]]))
    found = json.loads(RUN.invoke(app, ["evaluate", *files, "--json"]).stdout)
    assert found["deviations"] == 1

    results.write_text("\n".join(["seq,deviates", *rows]), encoding="utf-8")
    assert "'deviates'" in str(RUN.invoke(app, ["evaluate", *files]).exception)

    results.write_text("\n".join(["seq,deviation (yes/no)", *rows[1:]]), encoding="utf-8")
    refused = RUN.invoke(app, ["evaluate", *files])
    assert "have no result" in str(refused.exception)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--method", "monetary-unit", "--tolerable", "5"], "one currency"),
        (["--method", "random"], "needs a size"),
        (["--method", "attribute"], "tolerable"),
        (["--method", "above", "--currency", "EUR"], "amount to begin at"),
        (["--method", "random", "--size", "5", "--type", "none"], "no entry"),
        (["--method", "above", "--bound", "1.005", "--currency", "EUR"], "decimals"),
        (["--method", "above", "--bound", "much", "--currency", "EUR"], "--bound"),
    ],
)
def test_a_sample_nobody_can_draw_is_refused_with_what_is_missing(bundle, options, says):
    done = RUN.invoke(app, ["sample", str(bundle), *options])
    assert says in str(done.exception)


def test_a_paper_that_cannot_be_written_is_refused_before_anything_is_drawn(bundle, tmp_path):
    for out, says in ((tmp_path / "no/paper.xlsx", "no directory"), (tmp_path / "a.pdf", ".xlsx")):
        options = ["--method", "random", "--size", "2", "--out", str(out)]
        assert says in str(RUN.invoke(app, ["sample", str(bundle), *options]).exception)


def test_what_is_no_bundle_is_refused(tmp_path):
    done = RUN.invoke(app, ["sample", str(tmp_path), "--method", "random", "--size", "5"])
    assert "is no audit bundle" in str(done.exception)


def test_strata_and_steps_come_from_the_same_bundle(bundle):
    strata = draw(
        bundle,
        *("--method", "stratified", "--size", "12", "--currency", "EUR"),
        *("--bound", "20", "--bound", "40"),
    )
    assert len({item["stratum"] for item in strata["items"]}) == 3
    steps = draw(bundle, "--method", "systematic", "--size", "10", "--type", "card.capture")
    seqs = [item["seq"] for item in steps["items"]]
    assert {after - before for before, after in itertools.pairwise(seqs)} == {6}
    above = draw(bundle, "--method", "above", "--bound", "58", "--currency", "EUR")
    assert [item["amount"] for item in above["items"]] == ["58.00", "59.00", "60.00"]

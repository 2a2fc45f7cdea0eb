"""What the generator writes is consistent, complete and the same every time."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from ledger.canonical import parse_json
from ledger.errors import SettingsError
from ledger.recon.reading import read_statement
from ledger.recon.source import Control, Source
from ledger.recon.statement import FindingCode, LineKind, Reading, ReadingStatus
from ledger.recon.synthetic import Plan, generate
from ledger.recon.synthetic.breaking import WAYS

PLAN = Plan(lines=1_000, breaks=2 * len(WAYS), seed=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("synthetic")
    generate(PLAN, directory)
    return directory


def load(directory: Path, name: str):
    return json.loads((directory / name).read_bytes())


def readings(directory: Path) -> list[tuple[str, str, Reading]]:
    setup = load(directory, "setup.json")
    names = ("name", "provider", "report_type", "account_ref", "iana_tz")
    sources = {
        each["name"]: Source(**{name: each[name] for name in names}) for each in setup["sources"]
    }
    return [
        (each["source"], each["file"], read_statement(
            (directory / each["file"]).read_bytes(),
            sources[each["source"]],
            [
                Control(**{
                    **control,
                    "period_from": date.fromisoformat(control["period_from"]),
                    "period_to": date.fromisoformat(control["period_to"]),
                })
                for control in each["controls"]
            ],
        ))
        for each in setup["imports"]
    ]  # fmt: skip


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_plan_gives_the_same_bytes_every_time(made, tmp_path):
    generate(PLAN, tmp_path)
    assert files(tmp_path) == files(made)


def test_another_seed_gives_another_shop(made, tmp_path):
    generate(Plan(lines=1_000, breaks=2 * len(WAYS), seed=2), tmp_path)
    assert files(tmp_path)["ledger.ndjson"] != files(made)["ledger.ndjson"]


def test_every_file_is_accepted_and_proves_itself_but_the_one_that_restates(made):
    for _, name, reading in readings(made):
        assert reading.status is ReadingStatus.ACCEPTED
        proved = all(statement.complete for statement in reading.statements)
        assert proved is ("restated" not in name)
        codes = {each.code for each in reading.findings if each.severity != "info"}
        assert codes == (set() if proved else {FindingCode.COMPLETENESS_NOT_PROVABLE})


def test_every_day_is_covered_by_every_source(made):
    covered: dict[str, set[date]] = {}
    for source, _, reading in readings(made):
        for statement in reading.statements:
            if statement.complete and statement.currency == "EUR":
                days = range(statement.period_from.toordinal(), statement.period_to.toordinal() + 1)
                covered.setdefault(source, set()).update(map(date.fromordinal, days))
    for source, until in {
        "stripe": PLAN.provider_until,
        "adyen": PLAN.provider_until,
        "bank-camt": PLAN.bank_until,
        "bank-mt940": PLAN.bank_until,
    }.items():
        days = range(PLAN.first.toordinal(), until.toordinal() + 1)
        assert covered[source] == set(map(date.fromordinal, days))


def test_balances_of_the_bank_roll_from_day_to_day(made):
    for account in ("bank-camt", "bank-mt940"):
        statements = [
            statement
            for source, _, reading in readings(made)
            if source == account
            for statement in reading.statements
        ]
        for before, after in itertools.pairwise(statements):
            assert before.closing_minor == after.opening_minor
            assert after.sequence in (before.sequence + 1, 1)


def test_every_way_to_break_is_planted_and_every_item_of_it_is_there(made):
    truth = load(made, "truth.json")
    assert Counter(each["way"] for each in truth["planted"]) == dict.fromkeys(
        (way.__name__ for way in WAYS), 2
    )
    keys = {json.loads(line)["key"] for line in (made / "ledger.ndjson").read_bytes().splitlines()}
    lines = Counter()
    for source, name, reading in readings(made):
        if "restated" not in name:
            for statement in reading.statements:
                for line in statement.lines:
                    lines[source, line.currency, line.identity_key, line.occurrence] += 1
                    lines[source, line.bank_ref] += 1
    for planted in truth["planted"]:
        for item in planted["items"]:
            if item["side"] == "ledger":
                assert item["key"] in keys
            elif item["side"] == "provider":
                place = (item["source"], item["currency"], item["identity_key"])
                assert lines[*place, item["occurrence"]] == 1
            else:
                assert lines[item["source"], item["bank_ref"]] == 1


def test_states_and_sub_states_are_all_among_the_planted(made):
    planted = {(each["state"], each["sub_state"]) for each in load(made, "truth.json")["planted"]}
    assert {state for state, _ in planted} == {
        "matched", "amount_mismatch", "missing_in_ledger", "missing_at_provider", "duplicate",
        "timing_difference", "fee", "not_yet_covered", "outside",
    }  # fmt: skip
    assert {sub_state for _, sub_state in planted} == {
        None, "currency", "reversed_at_provider", "chargeback", "fx", "rounding", "reserve",
        "batch_incomplete", "restated", "unknown_kind", "ambiguous",
    }  # fmt: skip


def test_items_of_the_ledger_come_after_what_they_correct(made):
    seen = set()
    for text in (made / "ledger.ndjson").read_bytes().splitlines():
        item = parse_json(text)
        assert item.get("corrects_key") in {None, *seen}
        seen.add(item["key"])


def test_payouts_are_what_their_lines_come_to_and_what_arrives(made):
    nets: Counter = Counter()
    arrived = []
    for source, _, reading in readings(made):
        for statement in reading.statements:
            for line in statement.lines:
                if source == "adyen":
                    nets[line.batch_ref] += line.net_minor
                elif source == "bank-mt940":
                    arrived.append(line.amount_minor)
    assert set(nets.values()) == {0}
    assert len(arrived) == len(nets)
    assert all(amount > 0 for amount in arrived)


def test_what_was_never_captured_is_generated_too(made):
    kinds = {
        line.kind
        for _, _, reading in readings(made)
        for statement in reading.statements
        for line in statement.lines
    }
    assert LineKind.PARTIAL_CAPTURE_REVERSAL in kinds


@pytest.mark.parametrize("months", [2, 14])
def test_months_follow_each_other(months, tmp_path):
    plan = Plan(lines=200, breaks=10, seed=1, first=date(2025, 12, 1), months=months)
    generate(plan, tmp_path)
    for _, name, reading in readings(tmp_path):
        assert reading.status is ReadingStatus.ACCEPTED, name


@pytest.mark.parametrize(
    "wrong",
    {
        "few lines": {"lines": 10},
        "more breaks than lines carry": {"breaks": 300},
        "no break": {"breaks": -1},
        "not the first of a month": {"first": date(2026, 3, 2)},
        "no month": {"months": 0},
    }.values(),
)
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(SettingsError):
        Plan(**{"lines": 1_000, "breaks": 10, "seed": 1, **wrong})

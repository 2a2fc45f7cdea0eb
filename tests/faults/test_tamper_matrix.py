"""
Whatever a database superuser does to one row, verification finds it and names the entry.

Each attack is one damage to a whole ledger, made inside a transaction that is rolled back:
the auditor reads through the connection that sees it.
"""

from __future__ import annotations

import re

import pytest

from ledger.verification.runs import Verifications
from tests.faults.attacks import COLUMN_FINDINGS, LEDGER, NAMED, UNDETECTED, Superuser, table


def test_a_ledger_nobody_touched_verifies(attacked, as_superuser):
    report = attacked.verify(as_superuser)

    assert report.findings == []
    assert (report.tamper, report.completeness, report.time) == ("ok", "ok", "ok")
    assert report.level == "log-signed"


def test_every_column_of_history_has_an_attack(attacked, as_superuser):
    """A new column cannot be added without saying what finds its edit."""
    columns = {
        f"{name}.{column}" for name, column, _ in Superuser(as_superuser, attacked).columns()
    }

    assert columns == COLUMN_FINDINGS.keys() | UNDETECTED.keys()


@pytest.mark.parametrize("name", NAMED)
def test_attacks_on_rows_are_found(findings, name):
    found = findings[name]

    assert found is not None
    assert (found.check, found.seq) == (NAMED[name].check, NAMED[name].seq), found.message


@pytest.mark.parametrize("place", COLUMN_FINDINGS)
def test_edits_of_columns_are_found(findings, place):
    found = findings[f"edit {place}"]

    assert found is not None
    assert (found.check, found.seq) == COLUMN_FINDINGS[place], found.message


def test_each_kind_of_damage_has_a_message_of_its_own(findings):
    said: dict[str, str] = {}
    for found in findings.values():
        assert found is not None
        plain = re.sub(r"[0-9a-f]{8,}|[0-9]+", "#", found.message)
        assert said.setdefault(plain, found.check) == found.check


def test_the_matrix_is_a_table_with_a_row_per_attack(findings):
    lines = list(table(findings))

    assert len(lines) == 2 + len(COLUMN_FINDINGS) + len(NAMED)
    assert all(line.count("|") >= 5 for line in lines)


def test_a_damaged_ledger_fails_as_a_job_too(attacked, as_superuser, engine):
    """The service itself says so, through its own connection, with the first bad entry."""
    verifications = Verifications(
        engine, vault=attacked.vault, read_signed=lambda _origin: attacked.signed
    )
    change = "update entries set poster = %s where ledger = %s and seq = 11"
    as_superuser.execute("alter table entries disable trigger all")
    try:
        as_superuser.execute(change, ("somebody", LEDGER))
        job = verifications.start(LEDGER)
        verifications.wait(60)
    finally:
        as_superuser.execute(change, ("checkout", LEDGER))
        as_superuser.execute("alter table entries enable always trigger append_only")
        as_superuser.execute("alter table entries enable always trigger no_truncate")

    document = verifications.get(LEDGER, job)
    assert document["state"] == "done"
    assert document["report"]["verdicts"]["tamper"] == "bad"
    assert document["report"]["first_bad"]["seq"] == 11
    assert "poster" in document["report"]["first_bad"]["message"]

"""The auditor's commands, run as people run them, beside a real service."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from ledger.cli.remote import Remote
from tests.integration.commands import Shell, settled_directory

# Thirty processes of the command line: minutes' worth of starting, not of checking.
pytestmark = pytest.mark.slow

MONEY = ("--type", "card.capture", "--amount", "10.00", "--currency", "EUR", "--flow", "in")
MARCH = ("--occurred-at", "2026-03-01T09:30:00Z")


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell beside a running service, with a ledger whose March and April are closed."""
    with settled_directory() as base:
        alone = Shell(data_dir=base / "data")
        with alone.serving() as (_, announced):
            made = alone.good("key", "create", "--name", "anna", "--scope", "*")
            shell = alone.set(URL=announced["url"], KEY=made["key"])
            shell.good("ledger", "create", "shop")
            shell.good("post", "shop", "--key", "a", *MONEY, *MARCH, "--note", "a secret")
            shell.good("post", "shop", "--key", "b", *MONEY, *MARCH)
            shell.good("close", "shop", "2026-03", "--reviewer", "ben.audit")
            shell.good("post", "shop", "--key", "late", *MONEY, *MARCH)
            shell.good("close", "shop", "2026-04", "--reviewer", "ben.audit")
            yield shell


@pytest.fixture
def vkey(shell) -> str:
    return next(
        each["vkey"] for each in shell.good("ledger", "list")["ledgers"] if each["ledger"] == "shop"
    )


def test_a_period_is_closed_taken_away_and_verified(shell, vkey, tmp_path):
    again = shell.run("close", "shop", "2026-03", "--reviewer", "ben.audit")
    march = shell.good("export", "shop", "--period", "2026-03", "--out", tmp_path / "march")
    shell.good("export", "shop", "--period", "2026-04", "--out", tmp_path / "april")
    verified = shell.good("verify", tmp_path / "march", "--vkey", vkey)
    joined = shell.run(
        "verify", tmp_path / "april", "--vkey", vkey, "--previous", tmp_path / "march"
    )
    alone = shell.run("verify", tmp_path / "march")

    assert again.code == 0
    assert "the period is closed already, in the same way" in again.out
    assert (march["entries"], march["complete"], march["payloads"]) == (2, True, "shown")
    assert verified["verdicts"] == {"tamper": "ok", "completeness": "ok", "time": "unchecked"}
    assert any(each.startswith("the clock: ") for each in verified["not_checked"])
    assert verified["verified"] is True
    assert joined.code == 0
    assert "the period before: give its bundle" not in joined.out
    assert (alone.code, "NOT AUTHENTICATED" in alone.out) == (2, True)
    [told] = (tmp_path / "march" / "envelope" / "custody.jsonl").read_bytes().splitlines()
    assert orjson.loads(told)["principal"] == "anna"


def test_damage_ends_with_1_and_names_the_first(shell, vkey, tmp_path):
    shell.good("export", "shop", "--period", "2026-03", "--out", tmp_path / "march")
    entries = tmp_path / "march" / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().splitlines(keepends=True)[0])
    done = shell.run("verify", tmp_path / "march", "--vkey", vkey, "--json")

    assert done.code == 1
    assert done.json["first_bad"]["check"] == "entry.missing-last"
    assert done.json["verdicts"]["completeness"] == "bad"


def test_a_packed_bundle_is_one_file_and_its_custody_beside_it(shell, vkey, tmp_path):
    packed = tmp_path / "march.zip"
    made = shell.good("export", "shop", "--period", "2026-03", "--out", packed, "--no-payloads")
    taken = shell.run("export", "shop", "--period", "2026-03", "--out", packed)

    assert zipfile.is_zipfile(packed)
    assert (made["payloads"], made["omissions"]) == ("withheld", {"withheld": 1})
    assert shell.good("verify", packed, "--vkey", vkey)["verified"] is True
    assert (tmp_path / "march.custody.jsonl").is_file()
    assert (taken.code, "is there already" in taken.err) == (2, True)


def test_a_selection_says_that_it_is_one(shell, vkey, tmp_path):
    out = tmp_path / "some"
    made = shell.good("export", "shop", "--period", "2026-03", "--out", out, "--sample", "1")
    verified = shell.good("verify", out, "--vkey", vkey)

    assert (made["entries"], made["complete"]) == (1, False)
    assert verified["verdicts"]["completeness"] == "unchecked"
    assert "completeness is not claimed" in verified["notes"][0]


def test_a_reviewer_confirms_and_tables_are_parquet_in_the_envelope(shell, vkey, tmp_path):
    made = shell.good("key", "create", "--name", "ben.audit", "--scope", "close")
    ben = shell.set(KEY=made["key"])
    reviewed = ben.good("review", "shop", "2026-04")
    again = ben.run("review", "shop", "2026-04")
    alone = shell.run("review", "shop", "2026-04")
    out = tmp_path / "april"
    told = shell.good("export", "shop", "--period", "2026-04", "--out", out, "--parquet")
    packed = shell.run(
        *("export", "shop", "--period", "2026-04", "--out", tmp_path / "april.zip", "--parquet")
    )
    zipped = tmp_path / "zipped.zip"
    shell.good("export", "shop", "--period", "2026-04", "--out", zipped)

    assert [each["reviewer"] for each in reviewed["reviews"]] == ["ben.audit"]
    assert "you have reviewed the close already" in again.out
    assert (alone.code, "cannot review it too" in alone.err) == (2, True)
    assert told["reviewed_by"] == ["ben.audit"]
    assert (out / "envelope/parquet/entries.parquet").is_file()
    assert (packed.code, "give --out a directory" in packed.err) == (2, True)
    for bundle in (out, zipped):
        [review] = shell.good("verify", bundle, "--vkey", vkey)["reviews"]
        assert review["reviewer"] == "ben.audit"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "say what to take"),
        (("shop", "--period", "2026-03"), "say what to take"),
        (("shop", "--tiles", "x", "--period", "2026-03"), "take the log"),
        (("shop", "--period", "2026-03", "--out", "x", "--sample", "all"), "--sample is numbers"),
        (("shop", "--period", "2026-05", "--out", "/nowhere/x"), "no closed period 2026-05"),
    ],
)
def test_bad_input_ends_with_2_and_a_way_out(shell, arguments, says):
    done = shell.run("export", *arguments)

    assert (done.code, says in done.err) == (2, True), done.err


def test_a_download_that_broke_off_goes_on(shell, tmp_path):
    """What is there is not fetched again, and other bytes are not mixed with it."""
    whole = tmp_path / "whole.zip"
    made = shell.good("export", "shop", "--period", "2026-03", "--out", whole)
    data = whole.read_bytes()
    path = f"/v1/ledgers/shop/exports/{made['export']}/bundle"
    variables = shell.variables
    for etag, begun in ((made["bundle_hash"], data[:1000]), ("other", b"x" * 1000)):
        target = tmp_path / f"{etag}.part"
        target.write_bytes(begun)
        told: list[int] = []
        with Remote(variables["EFFECT_LEDGER_URL"], variables["EFFECT_LEDGER_KEY"]) as remote:
            remote.download(
                path,
                target,
                size=len(data),
                etag=f'"{etag}"',
                tell=lambda done, _total, told=told: told.append(done),
                patience_s=5.0,
            )
        assert target.read_bytes() == data
        assert told[-1] == len(data)


def test_a_file_that_was_changed_on_the_way_is_not_taken(shell, tmp_path):
    """A part that is left from before and is not of these bytes is found out at the end."""
    out = tmp_path / "march.zip"
    made = shell.good("export", "shop", "--period", "2026-03", "--out", tmp_path / "first.zip")
    part = tmp_path / f".march.zip.{made['bundle_hash'][:16]}.part"
    part.write_bytes(b"x" * 100)
    bad = shell.run("export", "shop", "--period", "2026-03", "--out", out)
    good = shell.run("export", "shop", "--period", "2026-03", "--out", out)

    assert (bad.code, "fetch it again" in bad.err, good.code) == (1, True, 0)
    assert not Path(part).exists()

"""
Files of real providers, turned into items and posted with the real command.

What the ledger then holds is counted against the files by other arithmetic than the
converters': the sums below read the columns and nothing else.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.commands import Shell, settled_directory
from tests.integration.converters import (
    RefusedFileError,
    ndjson,
    paypal_items,
    stripe_items,
)
from tests.vectors.shared import SHARED

# Whole files through a real service: long, and the parts are tested elsewhere.
pytestmark = pytest.mark.slow

STATEMENTS = SHARED / "statements"
STRIPE = STATEMENTS / "stripe_api_shape"
PAYPAL = STATEMENTS / "paypal" / "activity_download_english.csv"

if not STATEMENTS.is_dir():
    pytest.skip(
        "NOT CHECKED against real statements: there is no ../shared/statements beside the checkout",
        allow_module_level=True,
    )

Sums = dict[str, Decimal]


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell beside a running service, with a key for everything."""
    with settled_directory() as base:
        alone = Shell(data_dir=base / "data")
        with alone.serving() as (_, announced):
            made = alone.good("key", "create", "--name", "importer", "--scope", "*")
            yield alone.set(URL=announced["url"], KEY=made["key"])


@pytest.fixture
def post(shell, tmp_path) -> Callable[[str, list[dict[str, Any]]], Any]:
    """Import items into a ledger, made where it is missing; what the command reports."""

    def post(ledger: str, items: list[dict[str, Any]]) -> Any:
        shell.good("ledger", "create", ledger)
        file = tmp_path / f"{ledger}.ndjson"
        file.write_text(ndjson(items))
        return shell.good("import", ledger, file)

    return post


@pytest.fixture
def held(shell) -> Callable[[str], list[dict[str, Any]]]:
    """The effects a ledger holds, as they were hashed."""

    def held(ledger: str) -> list[dict[str, Any]]:
        entries = shell.good("tail", ledger, "--after", "-1")["entries"]
        return [entry["entry"]["effect"] for entry in entries]

    return held


@pytest.fixture
def verified(shell) -> Callable[[str], bool]:
    def verified(ledger: str) -> bool:
        url = f"{shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}"
        vkeys = {each["ledger"]: each["vkey"] for each in shell.good("ledger", "list")["ledgers"]}
        report = shell.good("verify", url, "--vkey", vkeys[ledger])
        return bool(report["verified"]) and set(report["verdicts"].values()) == {"ok"}

    return verified


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cents(column: str, rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row[column]) for row in rows), Decimal(0)) / 100


def stripe_sums() -> Sums:
    booked, refunds = (
        read(STRIPE / "balance_transaction_data.csv"),
        read(STRIPE / "refund_data.csv"),
    )
    charges = [row for row in booked if row["type"] == "charge"]
    payouts = [row for row in booked if row["type"] == "payout"]
    return {
        "in": cents("amount", charges),
        "out": cents("fee", booked) - cents("amount", payouts) + cents("amount", refunds),
    }


def paypal_sums() -> Sums:
    gross = [Decimal(row["Gross"]) for row in read(PAYPAL)]
    fees = sum((Decimal(row["Fee"]) for row in read(PAYPAL)), Decimal(0))
    return {
        "in": sum((each for each in gross if each > 0), Decimal(0)),
        "out": fees - sum((each for each in gross if each < 0), Decimal(0)),
    }


def sums(effects: list[dict[str, Any]]) -> Sums:
    found = {"in": Decimal(0), "out": Decimal(0)}
    for effect in effects:
        found[effect["money"]["flow"]] += Decimal(effect["money"]["amount"])
    return found


FILES: dict[str, tuple[Callable[[], list[dict[str, Any]]], Callable[[], Sums]]] = {
    "stripe": (lambda: stripe_items(STRIPE), stripe_sums),
    "paypal": (lambda: paypal_items(PAYPAL), paypal_sums),
}


@pytest.mark.parametrize("name", FILES)
def test_a_providers_file_is_held_to_the_cent(post, held, verified, name):
    """The command, the ledger and the file name the same totals, and the ledger verifies."""
    convert, add_up = FILES[name]
    items = convert()

    told = post(name, items)

    expected = add_up()
    assert expected["in"] > 0
    assert expected["out"] > 0
    assert (told["recorded"], told["replayed"], told["refused"]) == (len(items), 0, 0)
    assert {flow: Decimal(sum_) for flow, sum_ in told["totals"]["USD"].items()} == expected
    assert sums(held(name)) == expected
    assert told["totals"].keys() == {"USD"}
    assert verified(name)


@pytest.mark.parametrize("name", FILES)
def test_posting_the_same_file_again_records_nothing_new(post, held, verified, name):
    """Every line is replayed, and the report says the same sums."""
    convert, _ = FILES[name]
    ledger = f"{name}-again"

    first = post(ledger, convert())
    before = held(ledger)
    again = post(ledger, convert())

    assert (again["recorded"], again["replayed"]) == (0, first["recorded"])
    assert (again["totals"], again["unlinked"]) == (first["totals"], first["unlinked"])
    assert held(ledger) == before
    assert verified(ledger)


def test_refunds_of_payments_elsewhere_are_counted_as_unlinked(post, held):
    """The authors of the file scrambled its join keys: no refund finds its payment in it."""
    charges = {row["source"] for row in read(STRIPE / "balance_transaction_data.csv")}
    refunds = read(STRIPE / "refund_data.csv")
    assert all(row["charge_id"] not in charges for row in refunds)

    told = post("unlinked", stripe_items(STRIPE))

    assert told["unlinked"] == len(refunds) == 4
    recorded = [effect for effect in held("unlinked") if effect["kind"] == "refund"]
    assert {effect["corrects_external"]["ref"] for effect in recorded} == {
        row["charge_id"] for row in refunds
    }
    assert all(effect["observed"] and effect["evidence"] for effect in recorded)


@pytest.fixture
def repaired(tmp_path) -> Path:
    """
    The same files with two join keys put right.

    One refund is of a payment that is there; one came back, as a failed one does.
    """
    folder = tmp_path / "stripe"
    shutil.copytree(STRIPE, folder)
    rows = read(folder / "refund_data.csv")
    rows[0]["charge_id"] = "ch_0ILGCZig6peNXzgDw4eVbq0v"
    rows[1] |= {
        "charge_id": "ch_0IO6DVig6peNXzgDgTOGtdeD",
        "status": "failed",
        "failure_reason": "lost_or_stolen_card",
    }
    with (folder / "refund_data.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_refunds_of_payments_in_the_file_are_linked_to_them(shell, post, verified, repaired):
    """What remains of the payment follows; a failed refund gives it back."""
    told = post("linked", stripe_items(repaired))

    assert (told["refused"], told["unlinked"]) == (0, 2)
    charged = {
        row["source"]: Decimal(row["amount"]) / 100
        for row in read(repaired / "balance_transaction_data.csv")
    }
    refunded, failed, *_ = read(repaired / "refund_data.csv")
    left = {
        refunded["charge_id"]: charged[refunded["charge_id"]] - Decimal(refunded["amount"]) / 100,
        failed["charge_id"]: charged[failed["charge_id"]],
    }
    for charge, remaining in left.items():
        story = shell.good("show", "linked", "--key", f"stripe/{charge}")["story"]
        assert Decimal(story["position"]["remaining"]) == remaining
    assert verified("linked")


def test_kinds_of_items_are_what_the_files_hold(repaired):
    """Effects, refunds and an adjustment; charges that were declined are not history."""
    declined = read(STRIPE / "charge_data.csv")
    assert {row["status"] for row in declined} == {"failed"}

    items = stripe_items(repaired)

    assert Counter(item["kind"] for item in items) == {"effect": 17, "refund": 4, "adjustment": 1}
    assert not any(row["id"] in ndjson(items) for row in declined)


def test_names_and_addresses_stay_behind():
    """Hashed bytes are for ever: who paid is in the provider's file, not in the ledger."""
    personal = {
        row[column]
        for row in read(PAYPAL)
        for column in ("Name", "From Email Address", "To Email Address", "Subject", "Item Title")
        if row[column]
    }
    assert len(personal) > 10

    text = ndjson(paypal_items(PAYPAL))

    assert [each for each in personal if each in text] == []


def test_a_file_that_does_not_add_up_is_refused_as_a_whole(tmp_path):
    """Never half of it: no item is made, so none is posted."""
    damaged = tmp_path / "paypal.csv"
    damaged.write_text(PAYPAL.read_text().replace("97.10", "97.11"))

    with pytest.raises(RefusedFileError, match="3C456789DE012345F"):
        paypal_items(damaged)


def test_an_amount_with_too_many_decimals_is_never_rounded(tmp_path):
    damaged = tmp_path / "paypal.csv"
    damaged.write_text(PAYPAL.read_text().replace("100.00,2.90,97.10", "100.001,2.90,97.101"))

    with pytest.raises(RefusedFileError, match="more decimals"):
        paypal_items(damaged)


def test_an_item_is_one_line_of_json():
    for line in ndjson([*stripe_items(STRIPE), *paypal_items(PAYPAL)]).splitlines():
        assert json.loads(line).keys() >= {"kind", "key", "type", "occurred_at", "money"}

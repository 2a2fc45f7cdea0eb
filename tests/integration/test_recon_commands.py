"""Finance's commands against a real service: exit codes a nightly job can rely on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ledger.client import AlreadyConcluded, Client
from tests.integration.commands import Shell, settled_directory

HEADING = (
    "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,"
    "charge_id\n"
)
CHARGE = "txn_A1,2026-03-02 09:14:07,eur,120.00,2.05,117.95,charge,ch_A,ch_A\n"
REFUND = "txn_A2,2026-03-03 16:40:00,eur,-45.00,0.00,-45.00,refund,re_A1,ch_A\n"
FAILURE = "txn_A3,2026-03-09 02:11:31,eur,45.00,0.00,45.00,refund_failure,re_A1,ch_A\n"
PAYMENT = {
    "kind": "effect",
    "key": "pay",
    "type": "card.capture",
    "occurred_at": "2026-03-02T09:14:07Z",
    "money": {"amount": "120.00", "currency": "EUR", "flow": "in"},
    "evidence": [{"system": "stripe", "rel": "transaction", "ref": "ch_A"}],
}
BACK = {
    "kind": "refund",
    "key": "back",
    "type": "card.refund",
    "corrects_key": "pay",
    "reason": "customer.request",
    "occurred_at": "2026-03-03T16:40:00Z",
    "money": {"amount": "45.00", "currency": "EUR", "flow": "out"},
    "evidence": [{"system": "stripe", "rel": "transaction", "ref": "re_A1"}],
}


@pytest.fixture(scope="module")
def finance() -> Iterator[tuple[Shell, Shell]]:
    """A service with a payment and a refund; the shells of a preparer and of a reviewer."""
    with settled_directory() as base:
        shell = Shell(data_dir=base / "data")
        with shell.serving() as (_, announced):
            shell.good("ledger", "create", "books")

            def shell_of(name: str, *scopes: str) -> Shell:
                words = [word for scope in scopes for word in ("--scope", scope)]
                made = shell.good("key", "create", "--name", name, *words)
                return shell.set(KEY=made["key"], URL=announced["url"])

            fin = shell_of(
                "fin",
                *("recon:prepare", "entries:read"),
                *("effects:write", "refunds:write", "intents:write"),
            )
            lines = base / "books.ndjson"
            lines.write_text(f"{json.dumps(PAYMENT)}\n{json.dumps(BACK)}\n")
            fin.good("import", "books", lines)
            source = '{"name": "stripe", "provider": "stripe", "iana_tz": "Europe/Berlin"}'
            fin.good("recon", "sources", "books", "--save", "-", stdin=source)
            yield fin, shell_of("ben", "recon:review")


@pytest.mark.slow
def test_a_month_of_finance_from_the_terminal(finance, tmp_path):
    """Tied; a failed refund; proposed, approved, tied again, signed and printed."""
    fin, ben = finance
    early, late = tmp_path / "early.csv", tmp_path / "late.csv"
    early.write_text(HEADING + CHARGE + REFUND)
    late.write_text(HEADING + CHARGE + REFUND + FAILURE)
    march = ("--period", "2026-03", "--today")

    assert fin.run("recon", "import", "books", early, "--source", "stripe").code == 0
    again = fin.run("recon", "import", "books", early, "--source", "stripe")
    assert "came before" in again.out
    tied = fin.run("recon", "run", "books", *march, "2026-03-05")
    assert tied.code == 0, tied.err
    assert "Unexplained difference" in tied.out

    fin.good("recon", "import", "books", late, "--source", "stripe")
    broken = fin.run("recon", "run", "books", *march, "2026-03-10", "--json")
    assert (broken.code, broken.json["remaining"]) == (1, 1)
    listed = fin.run("recon", "breaks", "books", "--format", "csv")
    assert listed.code == 1
    assert "missing_in_ledger,reversed_at_provider,45.00 EUR" in listed.out
    [found] = fin.run("recon", "breaks", "books", "--json").json["breaks"]

    shown = fin.run("recon", "show", "books", found["id"])
    assert "would close it" in shown.out
    fin.good("recon", "assign", "books", found["id"], "--to", "fin")
    fin.good("recon", "explain", "books", found["id"], "--note", "Not so.")
    ben.good("recon", "reject", "books", found["id"], "--note", "Post it.")
    fin.good("recon", "propose", "books", found["id"])
    assert fin.run("recon", "approve", "books", found["id"]).code == 2
    approved = ben.run("recon", "approve", "books", found["id"])
    assert "by entry" in approved.out

    done = fin.good("recon", "run", "books", *march, "2026-03-11")
    assert done["tied"] is True
    signed = ben.run("recon", "signoff", "books", "--period", "2026-03")
    assert "is signed" in signed.out
    out = tmp_path / "march"
    fin.good("recon", "statement", "books", "--period", "2026-03", "--out", out)
    assert {each.name for each in out.iterdir()} == {
        *("statement.txt", "statement.csv", "statement.xlsx", "statement.pdf", "statement.json"),
        "lists.csv",
    }
    board = fin.run("recon", "coverage", "books", "--period", "2026-03")
    assert board.out.startswith("stripe")
    assert fin.run("recon", "breaks", "books").code == 0

    matches = json.loads((out / "statement.json").read_text())["measures"]["states"]
    assert matches == {"matched": 3}


@pytest.mark.slow
def test_a_lost_answer_is_found_in_the_report_and_becomes_history_once(finance, tmp_path):
    """Unknown by silence; told by the provider's line; concluded by a command, however often."""
    fin, _ = finance
    fin.good("ledger", "create", "till")
    mapping = {"date": "day", "amount": "amount", "currency": "currency", "kind": "kind"}
    mapping |= {"version": 1, "kinds": {"charge": "payment"}, "provider_txn_id": "id"}
    mapping |= {"merchant_ref": "reference"}
    source = json.dumps({"name": "psp", "provider": "psp", "iana_tz": "UTC", "mapping": mapping})
    fin.good("recon", "sources", "till", "--save", "-", stdin=source)
    intent = lost(fin, "till", "order-7", "12.50")
    today = datetime.now(UTC).date()
    report = tmp_path / "psp.csv"
    report.write_text(
        f"id,day,kind,amount,currency,reference\nch_7,{today},charge,12.50,EUR,order-7\n"
    )
    fin.good("recon", "import", "till", report, "--source", "psp")
    month = f"{today:%Y-%m}"
    later = str(today + timedelta(days=30))
    run = fin.run("recon", "run", "till", "--period", month, "--today", later, "--json")
    assert "1 effects happened and are not history: conclude their intents" in run.json["reasons"]

    # The line is a break too, and a second entry of it is not drafted.
    [broken] = fin.run("recon", "breaks", "till", "--json").json["breaks"]
    refused = fin.run("recon", "propose", "till", broken["id"])
    assert refused.code == 2
    assert f"may be what became of intent {intent}" in refused.err
    listed = fin.run("recon", "intents", "till")
    assert listed.code == 1
    assert "executed" in listed.out
    tried = fin.good("recon", "conclude", "till", "--dry-run")
    assert [each["state"] for each in tried["intents"]] == ["executed"]

    # Who may not hand off leaves that to who may: what happened is on record.
    only = fin.good("key", "create", "--name", "clerk", "--scope", "recon:prepare")
    clerk = fin.set(KEY=only["key"])
    half = clerk.run("recon", "conclude", "till", "--json")
    assert (half.code, half.json["left"]) == (1, 1)
    assert half.json["intents"][0]["state"] == "executed"

    first = fin.good("recon", "conclude", "till", intent)
    again = fin.good("recon", "conclude", "till")

    assert first == again
    [done] = first["intents"]
    assert (done["state"], done["entry"] is not None) == ("handed_off", True)
    shown = fin.good("show", "till", done["entry"])["entry"]["effect"]
    assert shown["evidence"] == [{"system": "psp", "rel": "transaction", "ref": "ch_7"}]

    # Whoever began it and comes again is told of that entry.
    url, key = (fin.variables[f"EFFECT_LEDGER_{name}"] for name in ("URL", "KEY"))
    with Client(url, key=key, ledger="till") as client:
        promised = next(client.intents(key="order-7/intents"))
        said = {name: promised[name] for name in ("type", "business_key", "answer_by", "money")}
        with pytest.raises(AlreadyConcluded) as told, client.intent(key=promised["key"], **said):
            pytest.fail("executed again")
    assert told.value.recorded.id == done["entry"]

    tied = fin.good("recon", "run", "till", "--period", month, "--today", later)
    assert (tied["tied"], tied["intents"], tied["reasons"]) == (True, [], [])


@pytest.mark.slow
def test_that_nothing_happened_is_taken_from_no_run_that_leaves_out_a_source(finance, tmp_path):
    """Neither one that was asked for some, nor one from before another source was saved."""
    fin, _ = finance
    fin.good("ledger", "create", "kiosk")
    mapping = {"date": "day", "amount": "amount", "currency": "currency", "version": 1}

    def save(name: str) -> None:
        source = {"name": name, "provider": name, "iana_tz": "UTC", "mapping": mapping}
        fin.good("recon", "sources", "kiosk", "--save", "-", stdin=json.dumps(source))

    intent = lost(fin, "kiosk", "order-8", "12.50", labels={"provider": "psp"})
    today = datetime.now(UTC).date()
    later = today + timedelta(days=10)
    save("psp")
    report, totals = tmp_path / "psp.csv", tmp_path / "totals.json"
    report.write_text(f"day,amount,currency\n{today},7.77,EUR\n")
    known = {"currency": "EUR", "period_from": str(today), "period_to": str(later)}
    totals.write_text(json.dumps({"controls": [known | {"lines": 1, "net_minor": 777}]}))
    fin.good("recon", "import", "kiosk", report, "--source", "psp", "--controls", totals)
    run = ("recon", "run", "kiosk", "--period", f"{today:%Y}", "--today", str(later))

    assert fin.run(*run).code == 1
    save("adyen")
    old = fin.run("recon", "conclude", "kiosk", "--json")
    assert fin.run(*run, "--source", "psp").code == 1
    narrow = fin.run("recon", "conclude", "kiosk", "--json")
    for refused in (old, narrow):
        assert (refused.code, refused.json["left"]) == (1, 1)
        assert "the run leaves out source adyen" in refused.json["intents"][0]["reason"]

    fin.run(*run)
    [done] = fin.good("recon", "conclude", "kiosk")["intents"]
    assert (done["intent"], done["state"]) == (intent, "failed")


def lost(fin: Shell, ledger: str, order: str, amount: str, **more: Any) -> str:
    """An intent whose execution was started and never heard of again."""
    answer_by = datetime.now(UTC) + timedelta(seconds=0.5)
    with httpx.Client(
        base_url=f"{fin.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}",
        headers={"Authorization": f"Bearer {fin.variables['EFFECT_LEDGER_KEY']}"},
    ) as service:

        def post(path: str, **body: Any) -> Any:
            key = {"Idempotency-Key": f"{order}{path}"}
            return service.post(path, json=body, headers=key).raise_for_status().json()

        promised = post(
            "/intents",
            type="card.capture",
            business_key=f"capture/{order}",
            answer_by=answer_by.isoformat(),
            money={"amount": amount, "currency": "EUR", "flow": "in"},
            **more,
        )
        path = f"/intents/{promised['id']}"
        post(f"{path}/execution", step="started", token=promised["token"])
        while service.get(path).json()["state"] != "unknown":
            time.sleep(0.05)
    return str(promised["id"])


def test_a_file_that_is_no_statement_ends_with_2(finance, tmp_path):
    fin, _ = finance
    file = tmp_path / "letter.txt"
    file.write_text("Dear finance,\n")
    done = fin.run("recon", "import", "books", file, "--source", "stripe")

    assert done.code == 2
    assert "rejected" in done.out


def test_a_file_at_odds_with_its_totals_ends_with_1(finance, tmp_path):
    fin, ben = finance
    file, totals = tmp_path / "odd.csv", tmp_path / "totals.json"
    file.write_text(HEADING + CHARGE.replace("txn_A1", "txn_Z"))
    known = {"currency": "EUR", "period_from": "2026-03-01", "period_to": "2026-03-31"}
    totals.write_text(json.dumps({"controls": [known | {"net_minor": 1}]}))
    words = ("recon", "import", "books", file, "--source", "stripe", "--controls", totals)

    shown = fin.run(*words, "--dry-run", "--json")
    assert (shown.code, shown.json["imports"][0]["status"]) == (1, "quarantined")
    done = fin.run(*words, "--json")
    assert done.code == 1
    [brought] = done.json["imports"]
    set_aside = ben.run("recon", "discard", "books", brought["id"], "--reason", "Sent again.")
    assert (set_aside.code, "never counts" in set_aside.out) == (0, True)
    ben.good("recon", "override", "books", brought["id"], "--reason", "Known otherwise.")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("import", "books", "none.csv", "--source", "stripe"),
        ("run", "books", "--period", "soon"),
        ("breaks", "books", "--format", "poem"),
        ("statement", "books"),
        ("statement", "books", "--period", "2020-01"),
        ("show", "books", "none"),
        ("match", "books", "one", "--note", "x"),
        ("unmatch", "books", "none", "--run", "none", "--note", "x"),
    ],
)
def test_bad_input_ends_with_2(finance, words):
    fin, _ = finance

    assert fin.run("recon", *words).code == 2

"""A tool whose answer was lost, and the provider's report: what it says, and the next call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.client import Client
from ledger.client.tools import tool, workflow
from tests.api.desk import Desk
from tests.api.support import Api
from tests.faults.psp import MAPPING

TODAY = datetime.now(UTC).date()
LATER = TODAY + timedelta(days=10)


def report(desk: Desk, *lines: tuple[str, str, str]) -> None:
    """What the provider says that it did, complete: id, amount, reference."""
    rows = [f"{id_},{TODAY},charge,{amount},EUR,{ref}" for id_, amount, ref in lines]
    controls = {
        "currency": "EUR",
        "period_from": str(TODAY),
        "period_to": str(LATER),
        "lines": len(lines),
        "net_minor": sum(round(float(amount) * 100) for _, amount, _ in lines),
    }
    content = "\n".join(["id,day,kind,amount,currency,reference", *rows, ""]).encode()
    status, brought = desk.send("imports", content, source="psp", controls=json.dumps([controls]))
    assert (status, brought["status"]) == (201, "accepted"), brought


def sources(desk: Desk, *names: str) -> None:
    for name in names:
        desk.post("sources", name=name, provider=name, iana_tz="UTC", mapping=MAPPING)


def said(desk: Desk, *names: str) -> Any:
    """What the newest run says of the only unknown outcome."""
    asked: dict[str, Any] = {"sources": list(names)} if names else {}
    [found] = desk.run(str(LATER), str(TODAY.year), **asked)["intents"]
    return found


def charging(client: Client, charges: list[str], provider: str | None = None) -> Any:
    @tool(
        client,
        type="card.capture",
        business_key="capture/basket-9",
        subject="order/17",
        money={"amount": "19.99", "currency": "EUR", "flow": "in"},
        provider=provider,
        refusals="text",
    )
    def charge() -> str:
        charges.append("charged")
        raise TimeoutError

    def call() -> str | None:
        with workflow("thread-1"):
            try:
                return str(charge())
            except TimeoutError:
                return None

    return call


@pytest.fixture
def desk(api: Api) -> Desk:
    return Desk(api)


@pytest.fixture
def client(api: Api) -> Any:
    with Client(str(api.http.base_url), key=api.token, ledger=api.ledger) as made:
        yield made


@pytest.mark.parametrize(
    ("lines", "outcome", "because"),
    [
        ([("ch_1", "19.99", "pi_99")], None, "the reference pi_99, which is no intent's"),
        (
            [("ch_1", "19.99", "order/17"), ("ch_9", "5.00", "basket-9")],
            "executed",
            "its reference",
        ),
    ],
)
def test_a_charge_that_happened_is_never_said_not_to_have(
    desk: Desk,
    client: Client,
    lines: Sequence[tuple[str, str, str]],
    outcome: str | None,
    because: str,
):
    """Under a reference of the provider's own, or beside a line of a name that it shares."""
    charges: list[str] = []
    charge = charging(client, charges)
    charge()
    sources(desk, "psp")
    client.effect(
        key="basket",
        type="card.capture",
        occurred_at=datetime.now(UTC),
        money={"amount": "5.00", "currency": "EUR", "flow": "in"},
        evidence=[{"system": "psp", "rel": "transaction", "ref": "ch_9"}],
    )
    report(desk, *lines)
    found = said(desk)

    assert because in found["reason"]
    assert (found["conclusion"] or {}).get("outcome") == outcome
    assert "reconcile-first" in charge()
    assert charges == ["charged"]


def test_it_did_not_happen_only_where_every_source_that_could_tell_was_asked(
    desk: Desk, client: Client
):
    """Of whoever has not said its provider, none but the only one there is."""
    charging(client, [])()
    sources(desk, "adyen", "psp")
    report(desk, ("ch_3", "7.77", "order/3"))

    assert "leaves out source adyen" in said(desk, "psp")["reason"]
    assert "may be any of adyen, psp" in said(desk)["reason"]


def test_a_tool_that_says_its_provider_is_looked_for_there(desk: Desk, client: Client):
    charges: list[str] = []
    charge = charging(client, charges, provider="psp")
    charge()
    sources(desk, "adyen", "psp")
    report(desk, ("ch_3", "7.77", "order/3"))

    assert "leaves out source adyen" in said(desk, "psp")["reason"]
    found = said(desk)
    assert found["conclusion"]["outcome"] == "not_executed"
    path = f"/intents/{found['intent']}/evidence"
    assert desk.api.post(path, found["conclusion"], key="end").json()["state"] == "failed"
    charge()
    assert charges == ["charged"] * 2

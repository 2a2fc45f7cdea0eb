"""The client against the real service: what is written comes back proved."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from ledger.client import (
    AlreadyConcluded,
    AsyncClient,
    Client,
    Elsewhere,
    KeyOf,
    MemoryReceipts,
    NotSent,
    OutcomeUnknown,
    Recorded,
    Refused,
    Retry,
    RetryBudget,
    Unreachable,
)
from ledger.client.outward import outward
from tests.api.support import Api

CAPTURE = {
    "type": "card.capture",
    "occurred_at": "2026-03-02T09:15:00Z",
    "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
}
REFUND = {
    "type": "card.refund",
    "occurred_at": "2026-03-03T09:15:00Z",
    "reason": "customer.request",
    "money": {"amount": "5.00", "currency": "EUR", "flow": "out"},
}


ONCE = Retry(tries=1)


@pytest.fixture
def service(api: Api) -> dict[str, Any]:
    """Where a fresh ledger is, and a key for everything."""
    return {"url": str(api.http.base_url), "key": api.token, "ledger": api.ledger}


@pytest.fixture
def client(service) -> Iterator[Client]:
    with Client(**service, budget=RetryBudget()) as client:
        yield client


def promise(**members):
    return {
        "type": "card.capture",
        "money": CAPTURE["money"],
        "answer_by": datetime.now(UTC) + timedelta(minutes=5),
    } | members


def test_payloads_are_those_that_were_sent(client):
    """Of a single write, of a replay and of an item of a batch."""
    kept = {"payloads": [{"name": "mail", "json": {"b": 1.5, "a": "ä"}}], "note": "By hand."}

    for replayed in (False, True):
        assert client.effect(key="k-1", **CAPTURE, **kept).replayed is replayed
    [result] = client.batch([{"kind": "effect", "key": "k-2", **CAPTURE, **kept}])
    assert isinstance(result, Recorded)


def test_lists_and_feeds_are_what_was_asked_for(client):
    paid = client.effect(key="k-1", **CAPTURE, labels={"shop": "b"}, business_key="invoice/1")
    client.refund(paid.id, key="k-2", **REFUND)

    assert [each.seq for each in client.feed()] == [0, 1]
    asked = {
        "label": "shop:b",
        "business_key": "invoice/1",
        "currency": "EUR",
        "type": "card.capture",
    }
    assert [each.id for each in client.entries(**asked)] == [paid.id]
    assert [each.seq for each in client.entries(corrects=paid.id)] == [1]
    assert len(client.story(paid.id)["corrections"]) == 1


def test_a_story_tells_the_explanation_of_an_explanation(client):
    paid = client.effect(key="k-1", **CAPTURE)
    said = {
        "type": "card.note",
        "occurred_at": CAPTURE["occurred_at"],
        "reason": "shop.asked",
        "note": "The customer called.",
    }
    first = client.explain(paid.id, key="k-2", **said)
    second = client.explain(first.id, key="k-3", **said)

    told = client.story(paid.id)["explanations"]

    assert [each["id"] for each in told] == [first.id, second.id]
    assert [each["corrects"] for each in told] == [paid.id, first.id]


def test_a_write_comes_back_proved(client):
    recorded = client.effect(key="k-1", **CAPTURE)

    assert not recorded.replayed
    assert recorded.verified.seq == recorded.seq
    assert recorded.trusted_by == "learned"
    assert client.effect(key="k-1", **CAPTURE).replayed
    assert client.find(key="k-1").id == client.entry(recorded.id).id == recorded.id
    assert client.verify(recorded).entry == client.verify(recorded.body).entry


def test_corrections_name_their_target_in_any_way(client):
    captured = client.effect(key="k-1", **CAPTURE)

    client.refund(captured, key="r-1", **REFUND)
    client.refund(captured.id, key="r-2", **REFUND)
    client.refund(KeyOf(key="k-1"), key="r-3", **REFUND)
    evidence = [{"system": "psp", "rel": "transaction", "ref": "re_1"}]
    client.refund(
        Elsewhere(system="old", ref="7"), key="r-4", observed=True, evidence=evidence, **REFUND
    )

    assert client.story(captured.id)["position"]["remaining"] == "4.99"
    with pytest.raises(Refused) as refused:
        client.refund(captured, key="r-5", **REFUND)
    assert (refused.value.world, refused.value.action) == ("RML3", "escalate-history")
    assert refused.value.code == "OVER_REFUND"


def test_a_batch_answers_for_each_item(client):
    found = client.batch(
        [{"kind": "effect", "key": f"k-{n}", **CAPTURE} for n in range(2)]
        + [{"kind": "effect", "key": "k-9", "type": "no money, no time"}]
    )

    assert [type(each) for each in found] == [Recorded, Recorded, Refused]
    assert [entry.id for entry in client.feed()] == [each.id for each in found[:2]]


def test_an_intent_is_promised_executed_and_handed_off(client):
    with client.intent(key="i-1", **promise()) as intent:
        intent.result({"system": "psp", "rel": "transaction", "ref": "ch_1"})

    assert intent.recorded.verified.seq == intent.recorded.seq
    assert client.intent_at(intent.id)["state"] == "handed_off"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_an_intent_early_leaves_it_unknown(client, error):
    """Also what is no Exception; it is passed on, and the ledger knows that nobody knows."""
    with pytest.raises(error), client.intent(key="i-1", **promise()) as intent:
        raise error

    assert client.intent_at(intent.id)["state"] == "unknown"


KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from ledger.client import Client

url, key, ledger = sys.argv[1:]
answer_by = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
money = {"amount": "19.99", "currency": "EUR", "flow": "in"}
with Client(url, key=key, ledger=ledger).intent(
    key="i-1", type="card.capture", money=money, answer_by=answer_by
) as intent:
    print(intent.id, answer_by, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_intent_is_unknown_once_its_answer_is_due(client, service):
    """Nobody is left to say so: the ledger does, and the key lets no second run through."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *service.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    intent_id, answer_by = killed.stdout.split()

    waits_until = datetime.fromisoformat(answer_by) + timedelta(seconds=0.1)
    time.sleep(max(0.0, (waits_until - datetime.now(UTC)).total_seconds()))
    assert client.intent_at(intent_id)["state"] == "unknown"
    with pytest.raises(OutcomeUnknown, match="an earlier run"):
        client.intent(key="i-1", **promise(answer_by=answer_by)).__enter__()
    assert list(client.feed()) == []


def test_an_intent_without_a_result_is_unknown(client):
    with pytest.raises(OutcomeUnknown), client.intent(key="i-1", **promise()) as intent:
        pass

    assert client.intent_at(intent.id)["state"] == "unknown"


def test_a_cancelled_intent_is_unknown(service):
    async def run() -> str:
        async with AsyncClient(**service) as client:
            inside = asyncio.Event()
            seen = {}

            async def pay() -> None:
                async with client.intent(key="i-1", **promise()) as intent:
                    seen["id"] = intent.id
                    inside.set()
                    await asyncio.sleep(60)

            task = asyncio.create_task(pay())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await client.intent_at(seen["id"]))["state"]

    assert asyncio.run(run()) == "unknown"


class Cable(httpx.HTTPTransport):
    """A network that can be cut: nothing listens there any more."""

    is_cut = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("Connection refused", request=request)
        return super().handle_request(request)


class AsyncCable(httpx.AsyncHTTPTransport):
    """The same, awaited."""

    is_cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("Connection refused", request=request)
        return await super().handle_async_request(request)


RESULT = {"system": "psp", "rel": "transaction", "ref": "ch_1"}
# When the ledger is away, and who has an error of the client's own.
AWAY = ["at-the-result", "at-the-hand-off", "at-the-failure", "at-the-end", "elsewhere"]


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("when", AWAY)
def test_an_execution_that_began_and_has_no_end_is_unknown_whatever_goes_wrong(
    service, client, when, colour
):
    """Each request by itself recorded nothing and may be sent again; the charge may not."""
    with pytest.raises(OutcomeUnknown) as raised:
        away(service, when) if colour == "sync" else asyncio.run(async_away(service, when))
    unknown = raised.value
    [intent] = client.intents()

    assert (unknown.world, unknown.action) == ("RML2", "reconcile-first")
    assert unknown.details["intent"] == intent["id"]
    assert isinstance(unknown.__cause__, Unreachable)
    told = orjson.loads(outward(unknown).body)
    assert (told["world"], told["retryable"]) == ("RML2", False)
    assert intent["state"] in ("executing", "unknown")
    assert list(client.feed()) == []


def away(service, when):
    cable = Cable()
    with (
        httpx.Client(transport=cable) as http,
        Client(**service, http=http, retry=ONCE) as client,
        client.intent(key="i-1", **promise()) as intent,
    ):
        if when == "elsewhere":
            raise Unreachable("http://another", "Connection refused")
        if when == "at-the-hand-off":
            intent.result(RESULT)
        cable.is_cut = True
        if when == "at-the-result":
            intent.result(RESULT)
        elif when == "at-the-failure":
            intent.failed("card.declined")


async def async_away(service, when):
    cable = AsyncCable()
    async with (
        httpx.AsyncClient(transport=cable) as http,
        AsyncClient(**service, http=http, retry=ONCE) as client,
        client.intent(key="i-1", **promise()) as intent,
    ):
        if when == "elsewhere":
            raise Unreachable("http://another", "Connection refused")
        if when == "at-the-hand-off":
            await intent.result(RESULT)
        cable.is_cut = True
        if when == "at-the-result":
            await intent.result(RESULT)
        elif when == "at-the-failure":
            await intent.failed("card.declined")


def test_what_an_earlier_run_began_is_unknown_while_nobody_can_be_asked_about_it(service):
    """The ledger refuses the second start, and is away when the first one is asked about."""
    words = promise()
    cable = Cable()
    with httpx.Client(transport=cable) as http, Client(**service, http=http, retry=ONCE) as client:
        with suppress(ValueError), client.intent(key="i-1", **words) as first:
            seen = first.id
            raise ValueError

        def cut_for_questions(request: httpx.Request) -> None:
            cable.is_cut = request.method == "GET"

        http.event_hooks = {"request": [cut_for_questions]}
        with pytest.raises(OutcomeUnknown, match="an earlier run") as unknown:
            client.intent(key="i-1", **words).__enter__()

    assert isinstance(unknown.value.__cause__, Unreachable)
    assert unknown.value.details["intent"] == seen


def test_a_second_run_of_an_intent_never_executes(client):
    words = promise()
    with client.intent(key="i-1", **words) as first:
        with pytest.raises(OutcomeUnknown, match="an earlier run"):
            client.intent(key="i-1", **words).__enter__()
        first.result({"system": "psp", "rel": "transaction", "ref": "ch_1"})
        # Executed and not handed off: the second run finishes what the first did not.
        with pytest.raises(AlreadyConcluded) as concluded:
            client.intent(key="i-1", **words).__enter__()

    assert concluded.value.recorded.id == first.recorded.id


def test_a_failed_intent_is_failed_and_no_entry(client):
    with client.intent(key="i-1", **promise()) as intent:
        intent.failed("card.declined")

    assert client.intent_at(intent.id)["state"] == "failed"
    assert list(client.feed()) == []


def test_a_closed_world_sends_nothing_until_it_is_released(client):
    with client.closed_world() as world:
        world.effect(key="k-1", **CAPTURE)
        world.refund(KeyOf(key="k-1"), key="r-1", **REFUND)
        assert list(client.feed()) == []
        assert world.rehearse()["refused"] == 0
        found = world.release()
    with client.closed_world() as world:
        world.effect(key="k-2", **CAPTURE)

    assert [entry.id for entry in client.feed()] == [each.id for each in found]
    with pytest.raises(NotSent):
        world.effect(key="k-3", **CAPTURE)


def nothing_changes(client, calls: int) -> None:
    captured = {"kind": "effect", "key": "k-1", **CAPTURE}
    for _ in range(calls):
        client.rehearse([captured, {"kind": "refund", "key": "r", "corrects_key": "k-1", **REFUND}])
        client.rehearse([{"kind": "effect", "key": "k-1", "type": "?"}])
        with client.closed_world() as world:
            world.effect(key="k-1", business_key="b", **CAPTURE)
            world.rehearse()
        with suppress(ValueError), client.closed_world() as world:
            world.effect(key="k-2", **CAPTURE)
            raise ValueError


# Of the service by itself: how many requests it took, and what its process does.
NOT_ABOUT_BUSINESS = ("effect_ledger_http_", "effect_ledger_problems", "process_", "python_")


@pytest.fixture
def traces(api: Api, database):
    """Everything the service keeps: each row of each table, and metrics with business labels."""
    tables = [
        table
        for (table,) in database.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname like 'effect_ledger%'"
        )
    ]

    def look() -> tuple[dict[str, Any], list[str]]:
        digest = "md5(string_agg(t::text, chr(10) order by t::text))"
        rows = {
            table: database.execute(f"select count(*), {digest} from {table} t").fetchone()
            for table in tables
        }
        page = api.http.get("/metrics", headers=api.headers(None)).text
        about = [
            line
            for line in page.splitlines()
            if not line.startswith(("#", *NOT_ABOUT_BUSINESS)) and "_seconds" not in line
        ]
        return rows, about

    return look


def test_dry_run_and_closed_world_leave_no_trace(client, traces):
    """Not a row, not a head, not a key, not a number, whatever is asked and however it ends."""
    client.effect(key="before", **CAPTURE)
    before = traces()

    nothing_changes(client, 3)

    assert traces() == before
    assert client.effect(key="k-1", **CAPTURE).seq == 1


@pytest.mark.slow
def test_a_thousand_of_them_leave_no_trace_either(client, traces):
    client.effect(key="before", **CAPTURE)
    before = traces()

    nothing_changes(client, 400)

    assert traces() == before


def test_keys_are_the_callers(client):
    with pytest.raises(NotSent):
        client.effect(key="", **CAPTURE)


def test_both_clients_do_the_same(service):
    async def run():
        async with AsyncClient(**service, receipts=MemoryReceipts()) as client:
            recorded = await client.effect(key="k-1", **CAPTURE)
            refunded = await client.refund(recorded, key="r-1", **REFUND)
            async with client.closed_world() as world:
                world.effect(key="k-2", **CAPTURE)
                await world.release()
            async with client.intent(key="i-1", **promise()) as intent:
                await intent.result({"system": "psp", "rel": "transaction", "ref": "ch_1"})
            return [recorded.id, refunded.id], [entry async for entry in client.feed()]

    [first, second], entries = asyncio.run(run())

    assert [first, second] == [entry.id for entry in entries[:2]]
    assert len(entries) == 4
    with Client(**service) as client:
        assert [entry.body for entry in client.feed()] == [entry.body for entry in entries]

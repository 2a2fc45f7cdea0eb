"""Functions that agents call: done once, whatever the agent says, and refused in plain words."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest

from ledger.client import (
    AlreadyConcluded,
    AsyncClient,
    Client,
    ClientError,
    NotSent,
    OutcomeUnknown,
    Refused,
)
from ledger.client.tool_step import ATTEMPTS_MAX, digest_of, key_of
from ledger.client.tools import NotDone, sentence, tool, workflow
from tests.api.support import Api
from tests.api.test_client import ONCE, Cable


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(str(api.http.base_url), key=api.token, ledger=api.ledger) as made:
        yield made


@dataclass
class Till:
    """A provider that charges whenever it is asked."""

    charges: list[str] = field(default_factory=list)
    error: BaseException | None = None

    def charge(self, order: str) -> dict[str, Any]:
        if isinstance(self.error, NotDone):
            raise self.error
        self.charges.append(order)
        if self.error is not None:
            raise self.error
        return {"id": f"ch_{len(self.charges)}", "order": order}


DECLARED: Mapping[str, Any] = {
    "type": "card.capture",
    "business_key": "capture/{order}",
    "subject": "order/{order}",
    "money": lambda call: {"amount": call["amount"], "currency": "EUR", "flow": "in"},
    "evidence": lambda said: [{"system": "psp", "rel": "transaction", "ref": said["id"]}],
    "agent": "bot-7",
}


def charging(client: Client, till: Till, **declared: Any) -> Any:
    @tool(client, **{**DECLARED, **declared})
    def charge(
        order: str,
        amount: str = "19.99",  # noqa: ARG001 - read by what is declared.
        message: str = "",  # noqa: ARG001 - the agent's wording, which nothing reads.
    ) -> dict[str, Any]:
        """Charge a card."""
        return till.charge(order)

    return charge


def test_a_call_is_promised_done_and_handed_off_with_the_hash_of_its_result(client):
    till = Till()
    charge = charging(client, till)
    with workflow("run-1"):
        result = charge("A-1", message="Thank you!")

    [entry] = client.entries(business_key="capture/A-1")
    effect = entry.entry["effect"]
    assert (charge.__name__, charge.__doc__) == ("charge", "Charge a card.")
    assert {each["rel"]: each for each in effect["evidence"]}["result"]["digest"] == digest_of(
        result
    )
    assert {"system": "psp", "rel": "transaction", "ref": "ch_1"} in effect["evidence"]
    assert effect["actor"] == {"id": "bot-7", "kind": "agent"}
    assert effect["causes"] == [{"kind": "workflow", "ref": "run-1"}]
    assert effect["labels"] == {"irreversibility": "irreversible", "tool": "charge"}


@pytest.mark.parametrize(
    ("run", "message", "code"),
    [
        ("run-1", "Thank you!", "ALREADY_CONCLUDED"),
        ("run-1", "Thanks a lot!!", "ALREADY_CONCLUDED"),
        ("run-2", "Thank you!", "POSSIBLE_REPEAT"),
    ],
    ids=["resumed", "resumed-in-other-words", "in-another-run"],
)
def test_a_second_call_is_refused_whatever_it_says(client, run, message, code):
    till = Till()
    charge = charging(client, till)
    with workflow("run-1"):
        charge("A-1", message="Thank you!")

    with workflow(run), pytest.raises(Refused) as refused:
        charge("A-1", message=message)

    assert (refused.value.code, till.charges) == (code, ["A-1"])


def test_another_amount_for_the_same_thing_is_no_other_step(client):
    till = Till()
    charge = charging(client, till)
    with workflow("run-1"):
        charge("A-1")
        with pytest.raises(Refused) as refused:
            charge("A-1", amount="20.00")

    assert (refused.value.action, till.charges) == ("stop", ["A-1"])


def test_an_agent_whose_charge_was_done_is_never_told_that_nothing_was(api: Api):
    """The ledger is away when it is told of the charge; to send it again would charge again."""
    cable = Cable()
    till = Till()
    with (
        httpx.Client(transport=cable) as http,
        Client(
            str(api.http.base_url), key=api.token, ledger=api.ledger, http=http, retry=ONCE
        ) as client,
    ):

        @tool(client, **{**DECLARED, "money": None}, refusals="text")
        def charge(order: str) -> dict[str, Any]:
            cable.is_cut = True
            return till.charge(order)

        with workflow("run-1"):
            told = charge("A-1")
            cable.is_cut = False
            again = charge("A-1")

    assert till.charges == ["A-1"]
    for says in (told, again):
        assert says.startswith("RML-2 dialog: ")
        assert says.endswith("Action: reconcile-first.")


def test_what_raises_leaves_an_unknown_outcome_and_is_not_tried_again(client):
    """The provider may have charged before the connection broke."""
    till = Till(error=TimeoutError("no answer"))
    charge = charging(client, till)
    with workflow("run-1"):
        with pytest.raises(TimeoutError):
            charge("A-1")
        till.error = None
        with pytest.raises(OutcomeUnknown) as refused:
            charge("A-1", message="once more, please")

    assert till.charges == ["A-1"]
    [intent] = client.intents(state="unknown")
    assert refused.value.details["intent"] == intent["id"]
    assert sentence(refused.value).endswith("Action: reconcile-first.")


def test_what_certainly_did_not_happen_is_tried_again(client):
    """Under the same step, as long as it fails for certain."""
    till = Till(error=NotDone("the card was declined", reason="card.declined"))
    charge = charging(client, till)
    with workflow("run-1"):
        for _ in range(2):
            with pytest.raises(NotDone):
                charge("A-1")
        till.error = None
        charge("A-1", amount="9.99", message="with less, then")

    assert till.charges == ["A-1"]
    [intent] = client.intents(state="handed_off")
    assert intent["key"] == key_of("run-1", "charge/capture/A-1", 3)


def test_not_for_ever(client):
    till = Till(error=NotDone("declined"))
    charge = charging(client, till)
    with workflow("run-1"):
        for _ in range(ATTEMPTS_MAX):
            with pytest.raises(NotDone):
                charge("A-1")
        with pytest.raises(AlreadyConcluded):
            charge("A-1")


def test_calls_at_once_are_one(client):
    till = Till()
    charge = charging(client, till)

    def call(_at: int) -> str:
        with workflow("run-1"):
            try:
                return str(charge("A-1")["id"])
            except ClientError as refused:
                return type(refused).__name__

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(call, range(16)))

    assert (said.count("ch_1"), till.charges) == (1, ["A-1"])


def test_an_approval_comes_first(client, api):
    till = Till()
    charge = charging(client, till, approval=True)
    with workflow("run-1"):
        with pytest.raises(Refused) as refused:
            charge("A-1")
        assert (refused.value.code, till.charges) == ("APPROVAL_REQUIRED", [])
        [intent] = client.intents(state="promised")
        digest = client.intent_at(intent["id"])["content_digest"]
        boss = api.with_key("approve", principal="boss")
        with Client(str(api.http.base_url), key=boss.token, ledger=api.ledger) as person:
            person.approve(intent["id"], digest=digest, key="yes")
        charge("A-1", message="approved now")

    assert till.charges == ["A-1"]


def test_an_agent_reads_world_action_and_way_out(client):
    """As text, where the framework shows no exceptions to its model."""
    charge = charging(client, Till(), refusals="text")
    with workflow("run-1"):
        charge("A-1")
    with workflow("run-2"):
        said = charge("A-1")

    assert said.startswith("RML-2 dialog: ")
    assert "(POSSIBLE_REPEAT)" in said
    assert said.endswith("Way out: a person has to decide. Action: wait-for-human.")


def test_an_agent_reads_that_nothing_happened(client):
    charge = charging(client, Till(error=NotDone("the card was declined")), refusals="text")
    with workflow("run-1"):
        said = charge("A-1")

    assert said.startswith("RML-1 closed: the card was declined; nothing happened.")


def test_a_compensable_tool_is_recorded_and_says_how_it_is_undone(client):
    """Others have seen it: it is history, and nobody is woken for it."""
    book = charging(
        client, Till(), irreversibility="compensable", undo="release_room", refusals="text"
    )
    with workflow("run-1"):
        book("A-1")
        said = book("A-1")

    [intent] = client.intents(state="handed_off")
    assert intent["on_silence"] == "ask"
    assert said.endswith("To undo what was done, call release_room.")


def test_of_a_reversible_tool_nothing_is_recorded(client, table_counts):
    """RML-1: not even that it was called."""
    before = table_counts()

    @tool(client, type="draft.written", irreversibility="reversible")
    def draft(text: str) -> str:
        return text.upper()

    assert draft("hello") == "HELLO"
    assert table_counts() == before


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"business_key": None}, "tool.key"),
        ({"irreversibility": "compensable"}, "tool.undo"),
    ],
)
def test_a_declaration_that_says_too_little_is_refused_at_once(client, declared, reason):
    with pytest.raises(NotSent) as refused:
        charging(client, Till(), **declared)

    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("declared", "arguments", "reason"),
    [
        ({}, {}, "tool.arguments"),
        ({"business_key": "capture/{nothing}"}, {"order": "A-1"}, "tool.arguments"),
    ],
)
def test_a_call_that_says_too_little_is_not_sent(client, declared, arguments, reason):
    till = Till()
    with workflow("run-1"), pytest.raises(NotSent) as refused:
        charging(client, till, **declared)(**arguments)

    assert (refused.value.reason, till.charges) == (reason, [])


def test_outside_a_workflow_nothing_is_called(client):
    till = Till()
    with pytest.raises(NotSent) as refused:
        charging(client, till)("A-1")

    assert (refused.value.reason, till.charges) == ("tool.workflow", [])
    assert charging(client, till, workflow="thread-{order}")("A-1")["id"] == "ch_1"


def test_steps_are_named_by_the_block_the_declaration_or_what_is_done(client):
    till = Till()
    with workflow("run-1", step="pay"):
        charging(client, till)("A-1")
    charging(client, till, workflow="w-{order}", step=lambda call: f"no-{call['order']}")("A-2")

    keys = {intent["key"] for intent in client.intents()}
    assert keys == {"tool/run-1/pay/charge/capture/A-1", "tool/w-A-2/no-A-2/charge/capture/A-2"}


def test_a_key_is_of_workflow_and_step_also_where_these_are_long_or_strange():
    long, strange = key_of("w" * 300, "s"), key_of("läuft", "eins zwei")

    assert len({long, strange, key_of("w", "s")}) == 3
    assert key_of("w", "s", 2) == "tool.2/w/s" != key_of("w", "s/2")
    assert key_of("a/b", "c") != key_of("a", "b/c")
    assert all(each.isascii() and " " not in each and len(each) < 240 for each in (long, strange))


@pytest.mark.parametrize(
    ("result", "hashed"),
    [
        (b"octets", b"octets"),
        ("Grüße", "Grüße".encode()),
        ({"b": 1.50, "a": [None, True]}, b'{"a":[null,true],"b":1.5}'),
    ],
)
def test_the_hash_of_a_result_can_be_computed_by_anyone(result, hashed):
    assert digest_of(result) == hashlib.sha256(hashed).hexdigest()


@dataclass(frozen=True)
class Charged:
    """Has no JSON."""

    ref: str


@pytest.mark.parametrize("to_bytes", [None, lambda charged: charged.ref.encode()])
def test_of_an_object_that_has_no_json_only_what_the_tool_makes_of_it_is_hashed(client, to_bytes):
    """How an object prints may be another text in the next run."""

    @tool(client, type="card.capture", business_key="capture/{order}", to_bytes=to_bytes)
    def charge(order: str) -> Charged:
        return Charged(ref=f"ch_{order}")

    with workflow("run-1"):
        charge("A-1")

    [entry] = client.entries(business_key="capture/A-1")
    [returned] = entry.entry["effect"]["evidence"]
    assert returned["rel"] == "result"
    assert returned.get("digest") == (to_bytes and hashlib.sha256(b"ch_A-1").hexdigest())


def test_the_same_under_asyncio(api, client):
    """Promised, done and handed off; refused; cancelled and unknown; failed and tried again."""

    async def calls() -> None:
        till = Till()
        url = str(api.http.base_url)
        async with AsyncClient(url, key=api.token, ledger=api.ledger) as awaited:

            @tool(awaited, **DECLARED, within=timedelta(minutes=1))
            async def charge(order: str, amount: str = "19.99", **_wording: str) -> Any:  # noqa: ARG001 - read by what is declared.
                if order == "hangs":
                    await asyncio.sleep(60)
                return till.charge(order)

            with workflow("run-1"):
                assert (await charge("A-1"))["id"] == "ch_1"
                with pytest.raises(AlreadyConcluded):
                    await charge("A-1", message="again")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(charge("hangs"), 0.5)
                till.error = NotDone("declined")
                with pytest.raises(NotDone):
                    await charge("A-2")
                till.error = None
                await charge("A-2")
            assert till.charges == ["A-1", "A-2"]

            with pytest.raises(NotSent) as refused:
                tool(awaited, **DECLARED)(lambda order: order)
            assert refused.value.reason == "tool.colour"

    asyncio.run(calls())
    assert [each["business_key"] for each in client.intents(state="unknown")] == ["capture/hangs"]

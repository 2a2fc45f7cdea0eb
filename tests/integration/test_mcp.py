"""An agent and its ledger: the official client drives `effect-ledger mcp` on a real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client

from tests.integration.commands import COMMAND, Shell, passable_directory

EUR = {"amount": "19.99", "currency": "EUR", "flow": "in"}
PSP = {"system": "psp", "rel": "transaction", "ref": "ch_1"}
CHARGE = {
    "workflow": "run-1",
    "step": "charge",
    "type": "card.capture",
    "business_key": "capture/order-1",
    "subject": "order/1",
    "money": EUR,
}


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A service with a ledger, and the variables of an agent."""
    with passable_directory() as base:
        shell = Shell(data_dir=base / "data")
        with shell.serving() as (_, announced):
            shell.good("ledger", "create", "shop")
            scopes = ("intents:write", "entries:read", "proofs:read", "refunds:write")
            words = [word for scope in scopes for word in ("--scope", scope)]
            made = shell.good("key", "create", "--name", "agent-7", *words)
            yield shell.set(KEY=made["key"], URL=announced["url"])


class Agent:
    """One session of the official client."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def good(self, tool: str, /, **arguments: Any) -> Mapping[str, Any]:
        """Call a tool that must succeed."""
        result = await self.session.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return result.structured_content

    async def refused(self, tool: str, /, **arguments: Any) -> tuple[str, Mapping[str, Any]]:
        """Call a tool that must be refused: the sentence, and the problem."""
        result = await self.session.call_tool(tool, arguments)
        assert result.is_error, result.content
        assert result.structured_content is not None, result.content
        return result.content[0].text, result.structured_content


@asynccontextmanager
async def agent_of(shell: Shell, *words: str) -> AsyncIterator[Agent]:
    server = StdioServerParameters(
        command=COMMAND[0],
        args=[*COMMAND[1:], "mcp", "shop", "--agent", "bot-7", *words],
        env=shell.environment,
    )
    async with stdio_client(server) as (reading, writing):  # noqa: SIM117 - each needs the other.
        async with ClientSession(reading, writing) as session:
            await session.initialize()
            yield Agent(session)


@pytest.mark.slow
def test_a_rephrased_duplicate_is_refused_as_a_possible_repeat(shell):
    """From the promise to the proof, with what an agent does wrong on the way."""
    asyncio.run(_a_day_of_an_agent(shell))


async def _a_day_of_an_agent(shell: Shell) -> None:
    async with agent_of(shell) as agent:
        # Promised, and done once.
        promised = await agent.good("promise_effect", **CHARGE)
        assert (promised["may_proceed"], promised["state"]) == (True, "executing")
        place = {"intent": promised["intent"], "token": promised["token"]}

        # Resumed in the middle: nobody knows what came of it, and it is not done again.
        says, problem = await agent.refused("promise_effect", **CHARGE)
        assert (problem["code"], problem["action"]) == ("EFFECT_OUTCOME_UNKNOWN", "reconcile-first")
        assert says.startswith("RML-2 dialog: ")

        handed = await agent.good("report_effect", **place, outcome="executed", evidence=[PSP])
        assert (handed["world"], handed["seq"], handed["level"]) == ("RML3", 0, "log-signed")
        again = await agent.good("report_effect", **place, outcome="executed", evidence=[PSP])
        assert (again["entry"], again["replayed"]) == (handed["entry"], True)

        # The same call in a new conversation: other workflow, other step, other words.
        rephrased = CHARGE | {"workflow": "run-2", "step": "take payment", "subject": "order/one"}
        says, problem = await agent.refused("promise_effect", **rephrased)
        assert problem["code"] == "POSSIBLE_REPEAT"
        assert (problem["world"], problem["action"]) == ("RML2", "wait-for-human")
        assert says.startswith("RML-2 dialog: ")
        assert says.endswith("Way out: a person has to decide. Action: wait-for-human.")
        _, problem = await agent.refused("promise_effect", **CHARGE | {"subject": "order/one"})
        assert problem["action"] == "stop"

        # Corrected forward, once, and no further than what remains.
        back = {"entry": handed["entry"], "kind": "refund", "type": "card.refund"}
        back |= {"workflow": "run-3", "reason": "customer.request"}
        part = {"amount": "5.00", "currency": "EUR", "flow": "out"}
        refund = await agent.good("correct_entry", **back, step="refund", money=part)
        replayed = await agent.good("correct_entry", **back, step="refund", money=part)
        assert (replayed["entry"], replayed["replayed"]) == (refund["entry"], True)
        much = part | {"amount": "15.00"}
        _, problem = await agent.refused("correct_entry", **back, step="more", money=much)
        assert (problem["code"], problem["world"]) == ("OVER_REFUND", "RML3")

        # Looked up and proved.
        for named in ({"business_key": "capture/order-1"}, {"entry": handed["entry"]}):
            [found] = (await agent.good("find_entries", **named))["entries"]
            assert found["effect"]["actor"] == {"id": "bot-7", "kind": "agent"}
            assert found["effect"]["intent"]["id"] == promised["intent"]
        assert (await agent.good("find_entries", key="tool/run-1/charge"))["entries"] == []
        [found] = (await agent.good("find_intents", key="tool/run-1/charge"))["intents"]
        assert found["state"] == "handed_off"
        assert (await agent.good("find_intents", state="open"))["intents"] == []
        story = await agent.good("effect_story", effect=handed["entry"])
        assert "14.99" in str(story)
        proved = await agent.good("verify_receipt", entry=handed["entry"])
        assert (proved["proved"], proved["seq"]) == (True, 0)


@pytest.mark.slow
def test_what_certainly_did_not_happen_may_be_tried_again(shell):
    """Under the same step, and what waits for a person may be given up."""

    async def tried() -> None:
        async with agent_of(shell) as agent:
            asked = CHARGE | {"workflow": "run-9", "business_key": "capture/order-9"}
            first = await agent.good("promise_effect", **asked)
            declined = await agent.good(
                "report_effect",
                intent=first["intent"],
                token=first["token"],
                outcome="not_executed",
                reason="card.declined",
            )
            second = await agent.good("promise_effect", **asked)
            assert declined["state"] == "failed"
            assert (second["may_proceed"], second["key"]) == (True, "tool/run-9/charge/2")
            lost = await agent.good(
                "report_effect", intent=second["intent"], token=second["token"], outcome="unknown"
            )
            assert lost["state"] == "unknown"
            [open_one] = (await agent.good("find_intents", state="unknown"))["intents"]
            assert open_one["id"] == second["intent"]

            waiting = CHARGE | {"workflow": "run-8", "business_key": "capture/order-8"}
            held = await agent.good("promise_effect", **waiting, approval_required=True)
            assert (held["may_proceed"], held["state"]) == (False, "promised")
            gone = await agent.good("cancel_promise", intent=held["intent"], token=held["token"])
            assert gone["state"] == "cancelled"

    asyncio.run(tried())


@pytest.mark.slow
def test_tools_say_what_they_do_to_the_world(shell):
    """Annotations and descriptions for a model, few words each, and no key of anybody in them."""

    async def listed() -> None:
        async with agent_of(shell) as agent:
            tools = (await agent.session.list_tools()).tools
            hints = {
                tool.name: (tool.annotations.read_only_hint, tool.annotations.destructive_hint)
                for tool in tools
                if tool.annotations is not None
            }
            assert hints == {
                "promise_effect": (False, False),
                "cancel_promise": (False, False),
                "report_effect": (False, True),
                "correct_entry": (False, True),
                "find_entries": (True, False),
                "find_intents": (True, False),
                "effect_story": (True, False),
                "verify_receipt": (True, False),
            }
            for tool in tools:
                assert tool.annotations is not None
                assert tool.annotations.idempotent_hint
                assert tool.description
                assert len(tool.description) < 200
                assert ("IRREVERSIBLE" in tool.description) is hints[tool.name][1]
            secret = shell.variables["EFFECT_LEDGER_KEY"]
            for arguments in ({}, {"entry": secret}, {"receipt": {"entry": secret}}):
                says, _ = await agent.refused("verify_receipt", **arguments)
                assert secret not in says

    asyncio.run(listed())


def test_without_the_sdk_the_command_names_the_extra(tmp_path):
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError('no mcp', name='mcp')\n")
    hidden = Shell(data_dir=tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    done = hidden.run("mcp", "shop")

    assert done.code == 2
    assert "pip install 'effect-ledger[mcp]'" in done.err


def test_without_a_key_the_command_says_how_to_make_one(tmp_path):
    done = Shell(data_dir=tmp_path).run("mcp", "shop")

    assert done.code == 2
    assert "effect-ledger key create" in done.err

"""An agent and its ledger: the official client drives `effect-ledger mcp` on a real service."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from mcp import Client, StdioServerParameters

from tests.integration.agents import Agent, a_day, a_second_try
from tests.integration.commands import COMMAND, Shell, passable_directory


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


@asynccontextmanager
async def agent_of(shell: Shell) -> AsyncIterator[Agent]:
    """The official client, and as its other end the command, over its input and output."""
    server = StdioServerParameters(
        command=COMMAND[0],
        args=[*COMMAND[1:], "mcp", "shop", "--agent", "bot-7"],
        env=shell.environment,
    )
    async with Client(server) as session:
        yield Agent(session)


@pytest.mark.slow
def test_a_rephrased_duplicate_is_refused_as_a_possible_repeat(shell):
    """From the promise to the proof, and in the next process of the agent again."""

    async def lives() -> None:
        async with agent_of(shell) as agent:
            await a_day(agent)
        async with agent_of(shell) as agent:
            await a_second_try(agent)

    asyncio.run(lives())


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
    shell = Shell(data_dir=tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    # A process of its own, which has imported nothing yet.
    done = subprocess.run(
        [*COMMAND, "mcp", "shop"],
        env=shell.environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 2
    assert "pip install 'effect-ledger[mcp]'" in done.stderr


def test_without_a_key_the_command_says_how_to_make_one(tmp_path):
    done = Shell(data_dir=tmp_path).run("mcp", "shop")

    assert done.code == 2
    assert "effect-ledger key create" in done.err

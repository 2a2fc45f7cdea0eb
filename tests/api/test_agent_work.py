"""What an agent is told by the tools of a ledger, through the official client, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from mcp import Client

from ledger.agents.server import build_server
from ledger.agents.work import FOUND_MAX, Work
from ledger.client import AsyncClient
from tests.api.support import Api
from tests.integration.agents import Agent, a_day, a_second_try, nothing_said


async def too_many(agent: Agent) -> None:
    """A page for a model is short, and says that there is more."""
    asked = {"type": "email.sent", "subject": "order/1", "answer_within_s": 60}
    for at in range(FOUND_MAX + 1):
        promised = await agent.good(
            "promise_effect", workflow="w", step=str(at), business_key=f"mail/{at}", **asked
        )
        await agent.good(
            "report_effect",
            intent=promised["intent"],
            token=promised["token"],
            outcome="executed",
            evidence=[{"system": "mail", "rel": "transaction", "ref": str(at)}],
        )

    entries = await agent.good("find_entries", subject="order/1")
    intents = await agent.good("find_intents", subject="order/1")
    assert (len(entries["entries"]), entries["more"]) == (FOUND_MAX, True)
    assert (len(intents["intents"]), intents["more"]) == (FOUND_MAX, True)


@pytest.mark.parametrize("story", [a_day, a_second_try, nothing_said, too_many])
def test_an_agent_is_told_what_it_may_do(api: Api, story: Callable[[Agent], Awaitable[None]]):
    async def told() -> None:
        url = str(api.http.base_url)
        async with AsyncClient(url, key=api.token, ledger=api.ledger) as client:
            server = build_server(Work(client=client, agent="bot-7"))
            async with Client(server) as session:
                await story(Agent(session))

    asyncio.run(told())

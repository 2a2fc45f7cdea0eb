"""An agent for tests: calls a ledger's tools through the official client, however that is wired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp import Client

EUR = {"amount": "19.99", "currency": "EUR", "flow": "in"}
PSP = {"system": "psp", "rel": "transaction", "ref": "ch_1"}
CHARGE = {
    "workflow": "run-1",
    "step": "charge",
    "type": "card.capture",
    "business_key": "capture/order-1",
    "subject": "order/1",
    "money": EUR,
    "provider": "psp",
}


@dataclass(frozen=True)
class Agent:
    """One session of the official client."""

    session: Client

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


async def a_day(agent: Agent) -> None:
    """From the promise to the proof, with what an agent does wrong on the way."""
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
        assert found["effect"]["labels"] == {"provider": "psp"}
        assert found["effect"]["intent"]["id"] == promised["intent"]
    assert (await agent.good("find_entries", key="tool/run-1/charge"))["entries"] == []
    [found] = (await agent.good("find_intents", key="tool/run-1/charge"))["intents"]
    assert found["state"] == "handed_off"
    assert (await agent.good("find_intents", state="open"))["intents"] == []
    story = await agent.good("effect_story", effect=handed["entry"])
    assert "14.99" in str(story)
    proved = await agent.good("verify_receipt", entry=handed["entry"])
    assert (proved["proved"], proved["seq"]) == (True, 0)


async def a_second_try(agent: Agent) -> None:
    """What certainly did not happen may be tried again; what waits for a person, given up."""
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
    assert (second["may_proceed"], second["key"]) == (True, "tool.2/run-9/charge")
    lost = await agent.good(
        "report_effect", intent=second["intent"], token=second["token"], outcome="unknown"
    )
    assert lost["state"] == "unknown"
    [open_one] = (await agent.good("find_intents", state="unknown"))["intents"]
    assert open_one["id"] == second["intent"]
    [shown] = (await agent.good("find_intents", intent=second["intent"]))["intents"]
    assert [each["step"] for each in shown["events"]] == ["promised", "started", "error"]

    waiting = CHARGE | {"workflow": "run-8", "business_key": "capture/order-8"}
    held = await agent.good("promise_effect", **waiting, approval_required=True)
    assert (held["may_proceed"], held["state"]) == (False, "promised")
    gone = await agent.good("cancel_promise", intent=held["intent"], token=held["token"])
    assert gone["state"] == "cancelled"


async def nothing_said(agent: Agent) -> None:
    """Calls that say too little are refused in words, without a request."""
    promised = await agent.good(
        "promise_effect", **CHARGE | {"workflow": "run-7", "business_key": "capture/order-7"}
    )
    place = {"intent": promised["intent"], "token": promised["token"]}
    for tool, arguments in (
        ("find_entries", {}),
        ("verify_receipt", {}),
        ("verify_receipt", {"entry": "0", "receipt": {}}),
        ("report_effect", {**place, "outcome": "executed"}),
        *((tool.name, {"mony": "19.99"}) for tool in (await agent.session.list_tools()).tools),
        ("promise_effect", {}),
        ("report_effect", {**place, "outcome": "perhaps"}),
        ("report_effect", {**place, "token": "one", "outcome": "unknown"}),
        ("promise_effect", CHARGE | {"money": {"amount": "19.99"}}),
        ("cancel_promise", {}),
        ("correct_entry", {}),
        ("effect_story", {}),
        ("find_intents", {"state": "lost"}),
        ("pay", {}),
    ):
        says, problem = await agent.refused(tool, **arguments)
        assert (problem["world"], problem["action"]) == ("RML1", "fix-request")
        assert (problem["status"], problem["code"]) == (422, "MALFORMED_CALL")
        assert says.startswith("RML-1 closed: ")
        assert "pydantic" not in says
        assert problem["detail"] in says
    _, problem = await agent.refused("verify_receipt", receipt={"entry": "{}", "proof": "none"})
    assert (problem["code"], problem["world"]) == ("RECEIPT_INVALID", "RML3")

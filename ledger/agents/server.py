"""
Server: the work of an agent as tools of the Model Context Protocol, by its official SDK.

What a model reads of a tool is its description, so each says in few words what cannot be undone.
A refusal is a tool's error: a sentence to read, and the ledger's problem in structured content.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import orjson
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from ledger import __version__
from ledger.agents.work import Work
from ledger.client import ClientError, NotSent, Unreachable
from ledger.client.outward import problem_of
from ledger.client.tool_step import provider_label
from ledger.client.tools import sentence

INSTRUCTIONS = """\
A ledger of effects that cannot be undone. Before you do anything irreversible (charge, pay, send, \
book, sign), call promise_effect and act only if may_proceed is true. Act once. Then call \
report_effect with what the provider answered; if you do not know whether it happened, report \
unknown: never try again to find out. Name workflow and step the same whenever you resume. A \
refusal says in which world you are (RML1: nothing has escaped; RML2: others share the outcome; \
RML3: it is history) and what to do; on stop and wait-for-human, stop.\
"""

READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True)
ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
FOR_EVER = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


class Money(BaseModel):
    """An amount, seen from the merchant."""

    amount: str = Field(description="With all decimals: 19.99")
    currency: str = Field(description="EUR")
    flow: Literal["in", "out"] = Field(description="in: received; out: paid or refunded")


class Evidence(BaseModel):
    """Where somebody else says the same."""

    system: str = Field(description="Who: stripe, bank, mail")
    rel: Literal["transaction", "request", "webhook", "bank_line", "result", "document"]
    ref: str = Field(description="Their id")
    digest: str | None = Field(default=None, description="SHA-256 of what they sent, hex")


Workflow = Annotated[str, Field(description="Id of your run or thread; the same when you resume")]
Step = Annotated[str, Field(description="Name of this step; the same when you resume")]
BusinessKey = Annotated[
    str,
    Field(description="What it is, not how you say it: invoice/123. A second one is refused."),
]
IntentId = Annotated[str, Field(description="As promise_effect gave it")]
Token = Annotated[int, Field(description="As promise_effect gave it")]
EntryId = Annotated[str, Field(description="Id of an entry")]
FAULTS_TOLD_MAX = 10
"""Of one call's arguments; a model reads all of them."""


class Server(MCPServer[Any]):
    """The official server; a call that is not well said is refused in the words of all refusals."""

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        context: Context[Any, Any] | None = None,
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool, which is there and is told nothing that it does not know."""
        schemas = {tool.name: tool.input_schema for tool in await self.list_tools()}
        if name not in schemas:
            says = f"there is no tool {name[:63]}; there are {', '.join(schemas)}"
            return _refused(NotSent(says, reason="tool.name"))
        known = schemas[name].get("properties", {})
        # The SDK would leave out what it does not know: money, for a letter that was mistyped.
        unknown = [f"{each[:63]} is not an argument" for each in arguments if each not in known]
        if unknown:
            says = f"{name}: {'; '.join(unknown[:FAULTS_TOLD_MAX])}; it takes {', '.join(known)}"
            return _refused(NotSent(says, reason="tool.arguments"))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            says = f"{name}: {'; '.join(_faults(error.__cause__))}"
            return _refused(NotSent(says, reason="tool.arguments"))


def build_server(work: Work) -> MCPServer[Any]:
    """The server, with every tool; it speaks to nobody yet."""
    server = Server(
        name="effect-ledger",
        instructions=INSTRUCTIONS,
        version=__version__,
        # Beside the protocol, on standard error; calls carry business, and are nobody's log.
        log_level="WARNING",
    )
    for add in (_add_dialog, _add_history, _add_questions):
        add(server, work)
    return server


def _add_dialog(server: MCPServer[Any], work: Work) -> None:
    @server.tool(annotations=ADDS)
    @_told
    async def promise_effect(
        *,
        workflow: Workflow,
        step: Step,
        # The member's name in the API, so that a model meets one word.
        type: Annotated[str, Field(description="Dotted: card.capture, email.sent")],  # noqa: A002
        business_key: BusinessKey,
        subject: Annotated[str | None, Field(description="What it is about: order/17")] = None,
        money: Money | None = None,
        provider: Annotated[
            str | None, Field(description="Who does it: stripe. Give it if money moves")
        ] = None,
        refund_of: Annotated[str | None, Field(description="Entry that a refund is of")] = None,
        reason: Annotated[str | None, Field(description="Of a refund: customer.request")] = None,
        answer_within_s: Annotated[int, Field(ge=1, description="Then silence is unknown")] = 900,
        approval_required: Annotated[bool, Field(description="A person approves first")] = False,
        repeat_of: Annotated[
            str | None, Field(description="Only if a person told you to do it again: the first id")
        ] = None,
    ) -> dict[str, Any]:
        """Call BEFORE anything irreversible. Do it, once, only if may_proceed is true."""
        said = {
            "type": type,
            "business_key": business_key,
            "subject": subject,
            "money": money,
            "labels": provider_label(provider) or None,
            "corrects": refund_of,
            "reason": reason,
            "repeat_of": repeat_of,
            "kind": None if refund_of is None else "refund",
            "approval_required": approval_required or None,
            "on_silence": "escalate",
        }
        return await work.promise(
            workflow=workflow, step=step, answer_within_s=answer_within_s, said=_given(said)
        )

    @server.tool(annotations=FOR_EVER)
    @_told
    async def report_effect(
        *,
        intent: IntentId,
        token: Token,
        outcome: Annotated[
            Literal["executed", "not_executed", "unknown"],
            Field(description="not_executed only if it certainly did not happen"),
        ],
        evidence: Annotated[
            list[Evidence], Field(description="Required for executed: the provider's id")
        ] = [],  # noqa: B006 - read, and never changed.
        money: Annotated[Money | None, Field(description="Only if it was another amount")] = None,
        note: Annotated[str | None, Field(description="Words kept beside the entry")] = None,
        reason: Annotated[str | None, Field(description="What went wrong: card.declined")] = None,
    ) -> dict[str, Any]:
        """Say what came of a promised effect. IRREVERSIBLE: executed makes it history for ever."""
        return await work.report(
            intent,
            token=token,
            outcome=outcome,
            evidence=[_words(each) for each in evidence],
            reason=reason,
            handed_over=_given({"money": money, "note": note}),
        )

    @server.tool(annotations=ADDS)
    @_told
    async def cancel_promise(
        intent: IntentId,
        token: Token,
        reason: Annotated[str | None, Field(description="customer.left")] = None,
    ) -> dict[str, Any]:
        """Give up a promise that waits for approval and was not begun."""
        return await work.cancel(intent, token=token, reason=reason)


def _add_history(server: MCPServer[Any], work: Work) -> None:
    @server.tool(annotations=FOR_EVER)
    @_told
    async def correct_entry(
        *,
        entry: EntryId,
        kind: Literal["refund", "adjustment", "explanation"],
        workflow: Workflow,
        step: Step,
        # As above.
        type: Annotated[str, Field(description="Dotted: card.refund, chargeback")],  # noqa: A002
        reason: Annotated[str, Field(description="Dotted: customer.request")],
        money: Annotated[Money | None, Field(description="Of a refund or an adjustment")] = None,
        evidence: list[Evidence] = [],  # noqa: B006 - read, and never changed.
        note: Annotated[str | None, Field(description="Words kept beside the entry")] = None,
    ) -> dict[str, Any]:
        """
        Record a correction that has happened. IRREVERSIBLE: history is only ever added to.

        It moves no money itself. To make a refund happen, use promise_effect with refund_of.
        """
        said: dict[str, Any] = {"type": type, "reason": reason, "money": money, "note": note}
        said["evidence"] = evidence or None
        return await work.correct(entry, kind=kind, workflow=workflow, step=step, said=_given(said))


def _add_questions(server: MCPServer[Any], work: Work) -> None:
    @server.tool(annotations=READS)
    @_told
    async def find_entries(
        entry: Annotated[str | None, Field(description="Id or seq")] = None,
        key: Annotated[str | None, Field(description="Idempotency key")] = None,
        business_key: str | None = None,
        subject: str | None = None,
    ) -> dict[str, Any]:
        """Look up history: what was recorded. Nothing found: it is not recorded so far."""
        return await work.find_entries(
            entry=entry, key=key, business_key=business_key, subject=subject
        )

    @server.tool(annotations=READS)
    @_told
    async def effect_story(effect: EntryId) -> dict[str, Any]:
        """An effect with its corrections, what remains of it, and what can still be undone."""
        return await work.story(effect)

    @server.tool(annotations=READS)
    @_told
    async def find_intents(
        intent: Annotated[str | None, Field(description="Id")] = None,
        state: Annotated[
            Literal["open", "promised", "executing", "handed_off", "cancelled", "failed", "unknown"]
            | None,
            Field(description="open: promised, executing and unknown"),
        ] = None,
        key: Annotated[str | None, Field(description="Idempotency key")] = None,
        business_key: str | None = None,
        subject: str | None = None,
    ) -> dict[str, Any]:
        """Look up promises: what is open, what is unknown, what became of it."""
        return await work.find_intents(
            intent, state=state, key=key, business_key=business_key, subject=subject
        )

    @server.tool(annotations=READS)
    @_told
    async def verify_receipt(
        receipt: Annotated[dict[str, Any] | None, Field(description="As it was kept")] = None,
        entry: Annotated[str | None, Field(description="Instead: id or seq")] = None,
    ) -> dict[str, Any]:
        """Prove that a receipt, or an entry's, is of this ledger. Believe nothing that fails."""
        return await work.verify(entry, receipt)


def _told(
    function: Callable[..., Awaitable[dict[str, Any]]],
) -> Callable[..., Awaitable[CallToolResult]]:
    """The same, with its answer and its refusals as a model gets them."""

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> CallToolResult:
        try:
            document = await function(*args, **kwargs)
        except ClientError as error:
            return _refused(error)
        return _result(None, document, is_error=False)

    # The SDK reads the answer's schema from it: ours differ from call to call.
    call.__annotations__ = {**function.__annotations__, "return": CallToolResult}
    return call


def _refused(error: ClientError) -> CallToolResult:
    problem = problem_of(error)
    if isinstance(error, NotSent) and not isinstance(error, Unreachable):
        # To a service's callers such a fault is the service's. Here whoever calls is at fault.
        problem |= {
            "type": "urn:effect-ledger:problem:malformed-call",
            "title": "The call is not one that the tool takes; nothing was recorded",
            "status": 422,
            "code": "MALFORMED_CALL",
            "detail": error.message,
            "severity": "info",
        }
    return _result(sentence(error), problem, is_error=True)


def _faults(error: ValidationError) -> list[str]:
    """What is wrong with the arguments, without a word of what they say."""
    found = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(str(part) for part in each["loc"])[:63]
        is_missing = each["type"] == "missing"
        says = "is required" if is_missing else each["msg"].replace("Input should", "must", 1)
        found.append(f"{name} {says}")
    return found[:FAULTS_TOLD_MAX]


def _result(says: str | None, document: dict[str, Any], *, is_error: bool) -> CallToolResult:
    written = orjson.dumps(document, default=str)
    texts = [*([] if says is None else [says]), written.decode()]
    return CallToolResult(
        content=[TextContent(type="text", text=text) for text in texts],
        structured_content=orjson.loads(written),
        is_error=is_error,
    )


def _given(words: dict[str, Any]) -> dict[str, Any]:
    return {name: _words(value) for name, value in words.items() if value is not None}


def _words(value: Any) -> Any:
    if isinstance(value, list):
        return [_words(each) for each in value]
    return value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value

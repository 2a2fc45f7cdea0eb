"""Mcp: a ledger for AI agents, over the Model Context Protocol."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ledger.agents.work import Work
from ledger.cli.output import LedgerArgument
from ledger.cli.remote import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE
from ledger.client import AsyncClient
from ledger.errors import SettingsError


def mcp(
    ledger: LedgerArgument,
    *,
    vkey: Annotated[
        list[str] | None,
        typer.Option(help="Verifier key of the ledger that you trust. Without, it is asked for."),
    ] = None,
    agent: Annotated[str, typer.Option(help="Who acts, as entries tell it.")] = "mcp",
) -> None:
    """
    Serve a ledger's tools to an AI agent over standard input and output (MCP).

    The agent promises before it acts, reports what came of it, corrects, looks up and verifies,
    with the rights of the key in EFFECT_LEDGER_KEY and with no others.
    """
    try:
        # Only here: the SDK is an extra of its own.
        from ledger.agents.server import build_server
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("mcp"):
            raise
        raise SettingsError(
            "this needs the official MCP SDK: pip install 'effect-ledger[mcp]'"
        ) from error
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise SettingsError(
            f"set {KEY_VARIABLE} to an API key for the agent; make one with `effect-ledger key "
            "create --name AGENT --scope intents:write --scope entries:read`"
        )
    client = AsyncClient(
        os.environ.get(URL_VARIABLE) or DEFAULT_URL, key=key, ledger=ledger, vkey=vkey or None
    )
    build_server(Work(client=client, agent=agent)).run("stdio")

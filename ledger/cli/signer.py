"""Signer: holds key and record for services on several hosts."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Annotated

import typer

from ledger.cli.answering import BACKLOG, bound, log, run_app, stopped_by_signals, url_of
from ledger.cli.output import JsonOption, Output, facts
from ledger.errors import SettingsError
from ledger.settings import read_settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8440


def signer(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = DEFAULT_HOST,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = DEFAULT_PORT,
    as_json: JsonOption = False,
) -> None:
    """
    Run the signer that services on several hosts share, until SIGTERM or Ctrl-C.

    It needs no database. Its record in the data directory must outlive it, and is never
    restored: it is what tells a restored database from a good one.
    """
    # Imported here: they take longer to load than most commands take to run.
    from ledger.service import open_file_signer
    from ledger.signing.desk import SignerDesk

    settings = replace(read_settings(), host=host, port=port)
    if settings.signer_url is not None:
        raise SettingsError(
            "EFFECT_LEDGER_SIGNER_URL names another signer, and a signer has its own record: "
            "unset it here",
            setting="EFFECT_LEDGER_SIGNER_URL",
        )
    if settings.signer_token is None:
        raise SettingsError(
            "set EFFECT_LEDGER_SIGNER_TOKEN, here and where services run: whoever knows it may "
            "have histories signed. Make one with: openssl rand -hex 32",
            setting="EFFECT_LEDGER_SIGNER_TOKEN",
        )
    with stopped_by_signals(), bound(settings) as listener:
        log(settings)
        held = open_file_signer(settings)
        # By name: the skin stands above the commands, which start it and know no more of it.
        skin = importlib.import_module("api.signer")
        app = skin.create_signer_app(SignerDesk(held), settings.signer_token)
        listener.listen(BACKLOG)
        url, record = url_of(settings), settings.data_dir / "signer"
        Output(as_json).answer(
            {"url": url, "identity": held.identity, "record": str(record)},
            f"The signer answers at {url}\n"
            + facts(identity=held.identity, record=record)
            + f"\nServices find it with EFFECT_LEDGER_SIGNER_URL={url} and the same token.",
        )
        try:
            run_app(app, listener)
        finally:
            held.close()

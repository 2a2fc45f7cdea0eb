"""
Serve: the HTTP service, with its database where that is the embedded one.

This process owns the database and the listening socket. With one worker it also answers; with
several it looks after processes that do, see `workers`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ledger.cli.answering import BACKLOG, answer_requests, bound, log, stopped_by_signals, url_of
from ledger.cli.output import JsonOption, Output, facts
from ledger.errors import SettingsError
from ledger.settings import Settings, read_settings

# Its server takes 100 connections; a worker uses up to 13, and commands need some beside them.
EMBEDDED_WORKERS_MAX = 7


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Run the service until SIGTERM or Ctrl-C.

    Stopping takes no new requests, commits and answers what waits, then stops the database.
    """
    settings = read_settings(host=host, port=port)
    embedded = settings.database_url is None
    if embedded and settings.workers > EMBEDDED_WORKERS_MAX:
        raise SettingsError(
            f"the embedded database serves up to {EMBEDDED_WORKERS_MAX} workers; set "
            "EFFECT_LEDGER_DATABASE_URL to a database of yours for more"
        )
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    with stopped_by_signals(), bound(settings) as listener:
        log(settings)
        with open_service(settings, stays=True) as service:
            origin_host = service.prepare()
            listener.listen(BACKLOG)
            _announce(Output(as_json), settings, origin_host)
            if settings.workers == 1:
                answer_requests(service, listener)
            else:
                # Imported here: one worker needs none of it.
                from ledger.cli.workers import supervise

                supervise(settings, listener)


def _announce(output: Output, settings: Settings, origin_host: str) -> None:
    url = url_of(settings)
    database = (
        f"embedded PostgreSQL in {settings.data_dir / 'postgres'}"
        if settings.database_url is None
        else next(line.value for line in settings.lines if line.name.endswith("_DATABASE_URL"))
    )
    if settings.origin_host is not None and settings.origin_host != origin_host:
        output.note(
            f"EFFECT_LEDGER_ORIGIN_HOST is {settings.origin_host}, and the ledgers here were "
            f"begun as {origin_host}: origins never change, so that stays"
        )
    output.answer(
        {
            "url": url,
            "data_dir": str(settings.data_dir),
            "database": database,
            "origin_host": origin_host,
            "workers": settings.workers,
        },
        f"Effect Ledger answers at {url}\n"
        + facts(
            database=database,
            data_dir=settings.data_dir,
            origin_host=origin_host,
            workers=settings.workers,
        ),
    )

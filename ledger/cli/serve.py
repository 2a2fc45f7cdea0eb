"""
Serve: the HTTP service, with its database where that is the embedded one.

This process owns the database and the listening socket. With one worker it also answers; with
several it looks after processes that do, see `workers`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.answering import BACKLOG, answer_requests, bound, log, stopped_by_signals, url_of
from ledger.cli.output import JsonOption, Output, facts
from ledger.errors import DatabaseUnavailableError, SettingsError
from ledger.settings import Settings, read_settings

if TYPE_CHECKING:
    from ledger.service import Service

# Its server takes 400 connections; a worker uses up to 46 when all its pools are in use, and
# commands need some beside them.
EMBEDDED_WORKERS_MAX = 8
# A command may look after the embedded database for as long as it runs, and end just then.
ATTEMPTS = 3


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
    with stopped_by_signals(), bound(settings) as listener, ExitStack() as opened:
        log(settings)
        service, origin_host = begin(settings, opened)
        listener.listen(BACKLOG)
        _announce(Output(as_json), settings, origin_host)
        if settings.workers == 1:
            answer_requests(service, listener)
        else:
            # Imported here: one worker needs none of it.
            from ledger.cli.workers import supervise

            supervise(settings, listener)


def begin(settings: Settings, opened: ExitStack) -> tuple[Service, str]:
    """
    Open and prepare the service; again where a command's database ended under it meanwhile.

    Args:
        settings: As read at the start of the process.
        opened: Takes what must be closed at the end.

    Returns:
        The service, and the host in the origins of its ledgers.

    Raises:
        DatabaseUnavailableError: The database does not answer, also not in the last attempt.
        LedgerError: As `open_service` and `Service.prepare`.
    """
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    attempts = ATTEMPTS if settings.database_url is None else 1
    for left in reversed(range(attempts)):
        with ExitStack() as begun:
            try:
                service = begun.enter_context(open_service(settings, stays=True))
                origin_host = service.prepare()
            except DatabaseUnavailableError:
                if not left:
                    raise
            else:
                opened.push(begun.pop_all())
                return service, origin_host
    raise AssertionError("the last attempt returns or raises")


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

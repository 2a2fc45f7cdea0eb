"""Witness: cosigns the checkpoints of logs, ours and others', each only ever growing."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.answering import BACKLOG, bound, log, run_app, stopped_by_signals, url_of
from ledger.cli.output import JsonOption, Output, facts
from ledger.errors import SettingsError
from ledger.settings import read_settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8430


def witness(
    *,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the witness, a URL without scheme; needed once, and for ever."),
    ] = None,
    log_: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            help="Verifier key of a log to cosign, and its origin where that is another name. "
            "Repeatable.",
        ),
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(help="File with one such log per line; # begins a comment.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where its key and its memory are; by default in the data dir."),
    ] = None,
    ml_dsa: Annotated[
        bool, typer.Option(help="Cosign with ML-DSA-44 as well, which quantum computers leave.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = DEFAULT_HOST,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = DEFAULT_PORT,
    as_json: JsonOption = False,
) -> None:
    """
    Run a witness (C2SP tlog-witness) until SIGTERM or Ctrl-C.

    It needs no database. Its directory must outlive it: one that is restored from a backup
    contradicts what it cosigned since.
    """
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.clock import SystemClock
    from ledger.witness.home import open_home
    from ledger.witness.witness import Witness, read_logs

    settings = replace(read_settings(), host=host, port=port)
    trusted = read_logs([*(log_ or ()), *_lines(logs)])
    if not trusted:
        raise SettingsError(
            "a witness needs a log to look after: --log with the vkey that `effect-ledger ledger "
            "list` prints"
        )
    home = (directory or settings.data_dir / "witness").expanduser().absolute()
    with stopped_by_signals(), bound(settings) as listener:
        log(settings)
        keys, store = open_home(home, name, ml_dsa_44=ml_dsa)
        answering = Witness(keys=keys, logs=trusted, store=store, clock=SystemClock())
        # By name: the skin stands above the commands, which start it and know no more of it.
        app = importlib.import_module("api.witness").create_witness_app(answering)
        listener.listen(BACKLOG)
        vkeys = [key.verifier.encode() for key in keys]
        refused = {origin: store.refusals(origin) for origin in sorted(trusted)}
        url = url_of(settings)
        Output(as_json).answer(
            {
                "url": url,
                "name": keys[0].name,
                "vkeys": vkeys,
                "logs": sorted(trusted),
                "dir": str(home),
                "refused": {
                    origin: [note.decode() for note in notes]
                    for origin, notes in refused.items()
                    if notes
                },
            },
            f"The witness {keys[0].name} answers at {url}\n"
            + facts(dir=home, logs=", ".join(sorted(trusted)))
            + "\nA policy names it so:\n"
            + "\n".join(f"  witness NAME {vkey} {url}" for vkey in vkeys)
            + "".join(
                f"\n{origin} signed another history {len(notes)} times: --json shows what it signed"
                for origin, notes in refused.items()
                if notes
            ),
        )
        run_app(app, listener)


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error

"""Bench: measures this machine and this version, each figure beside its yardstick."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger import __version__
from ledger.cli.output import JsonOption, Output, QuietOption, table
from ledger.errors import SettingsError

if TYPE_CHECKING:
    from ledger.bench import Bench, Case, Figure

STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 60.0


def bench(
    figures: Annotated[
        list[str] | None, typer.Argument(help="Which figures, such as R1 R6; all by default.")
    ] = None,
    *,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each run of load.")] = 10.0,
    entries: Annotated[
        int,
        typer.Option(
            min=10_000,
            help="Entries of R6 to R12's large ledger; most lines of R13.",
        ),
    ] = 1_000_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Kept for the next run, which need not fill the large ledger again."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """
    Measure the service on an embedded database of its own, and the database alone beside it.

    R1 single posts, R2 batches, R3 sixteen ledgers, R4 one client, R5 replays, F1 single posts
    beside large batches; R6 verification, R7 pages, R8 proofs, R9 posts beside readers, R10
    bytes on disk, R11 growth, R12 audit bundles, R13 reconciliations of up to a million lines.
    R6 to R12 fill a ledger first, some 5,000 entries a second. Load, service and database share
    this machine's processors; nothing leaves it.
    """
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.bench import CASES

    output = Output(as_json, quiet)
    known = {case.name: case for case in CASES}
    unknown = [name for name in figures or () if name not in known]
    if unknown:
        raise SettingsError(f"there is no figure {unknown[0]}; there are {', '.join(known)}")
    chosen = [known[name] for name in figures] if figures else list(CASES)
    measured = []
    with (
        _housed(data_dir) as house,
        _running(house, workers, seconds=seconds, entries=entries, output=output) as running,
    ):
        for case in chosen:
            output.note(f"{case.name}: {case.what}")
            measured.append((case, case.run(running)))
    machine = {
        "version": __version__,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "workers": workers,
        "seconds": seconds,
        "entries": entries,
    }
    output.answer(
        {"machine": machine, "figures": [_document(*each) for each in measured]},
        _prose(machine, measured),
    )


@contextmanager
def _housed(data_dir: Path | None) -> Iterator[Path]:
    """The folder that stays, or one that is gone afterwards."""
    if data_dir is not None:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="effect-ledger-bench-") as made:
        # Passable for the user the database runs as, where that is another.
        Path(made).chmod(0o711)
        yield Path(made)


@contextmanager
def _running(
    house: Path, workers: int, *, seconds: float, entries: int, output: Output
) -> Iterator[Bench]:
    """A service of its own, as `serve` runs it, and its database seen from within."""
    from ledger.bench import Bench
    from ledger.service import open_service
    from ledger.settings import read_settings
    from ledger.storage.embedded import attach

    variables = {
        "EFFECT_LEDGER_DATA_DIR": str(house / "data"),
        "EFFECT_LEDGER_PORT": str(_free_port()),
        "EFFECT_LEDGER_WORKERS": str(workers),
        "EFFECT_LEDGER_LOG_LEVEL": "warning",
        # What is measured is verified when a figure says so.
        "EFFECT_LEDGER_VERIFY_INTERVAL": "86400",
        "EFFECT_LEDGER_VERIFY_FULL_INTERVAL": "31622400",
    }
    settings = read_settings(variables)
    with (
        _serving(variables) as process,
        open_service(settings) as service,
        output.progress("Filling the large ledger", "entries") as tell,
    ):
        server = attach(settings.data_dir)
        assert server is not None, "the service that was started supervises it"
        yield Bench(
            port=settings.port,
            process=process,
            token=service.credentials.create("bench", ["*"]).key,
            service=service,
            server=server,
            seconds=seconds,
            entries=entries,
            house=house,
            tell=tell,
        )


@contextmanager
def _serving(variables: dict[str, str]) -> Iterator[int]:
    """The id of the process that serves."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith("EFFECT_LEDGER_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli.main", "serve", "--json"],
        env=mine | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SettingsError(f"the service ended with exit code {process.wait()}")
        _await_port(int(variables["EFFECT_LEDGER_PORT"]))
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOPS_WITHIN_S)


def _await_port(port: int) -> None:
    ends_at = time.monotonic() + STARTS_WITHIN_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > ends_at:
            raise SettingsError(f"the service did not listen within {STARTS_WITHIN_S:.0f} s")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _document(case: Case, figure: Figure) -> dict[str, Any]:
    return {
        "name": case.name,
        "what": case.what,
        "yardstick": case.yardstick,
        "ratio": round(figure.ratio, 3),
        "reach": case.reach,
        "less_is_better": case.less_is_better,
        "reached": case.is_reached(figure),
        "details": figure.details,
    }


def _prose(machine: dict[str, Any], measured: list[tuple[Case, Figure]]) -> str:
    rows: list[tuple[str, ...]] = [("", "ratio", "reach", "", "what", "against")]
    rows += [
        (
            case.name,
            f"{figure.ratio:.2f}",
            f"{'<=' if case.less_is_better else '>='} {case.reach:g}",
            "reached" if case.is_reached(figure) else "short",
            case.what,
            case.yardstick,
        )
        for case, figure in measured
    ]
    return (
        f"Effect Ledger {machine['version']}, Python {machine['python']}, "
        f"{machine['processors']} processors shared by load, service and database\n\n{table(rows)}"
    )

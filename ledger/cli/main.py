"""
Main: every command under its name, and what becomes of what they raise.

Each command's help says its exit codes; they mean the same everywhere, see `manual`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from ledger import __version__
from ledger.cli import (
    bench,
    close,
    corrections,
    database,
    demo,
    effects,
    entries,
    export,
    intents,
    items,
    keys,
    ledgers,
    recon,
    relay,
    report,
    restore,
    sample,
    serve,
    settings,
    signer,
    watch,
    witness,
)
from ledger.cli.manual import ALONE, CALLS, LOCAL, Exits, Manual, Readers, manual
from ledger.cli.output import BAD_INPUT, INTERRUPTED, Output, print_json
from ledger.cli.verify import command as verify
from ledger.errors import LedgerError, SettingsError

PROGRAM = "effect-ledger"

app = typer.Typer(
    name=PROGRAM,
    cls=Manual,
    help="An append-only, hash-chained record of effects that cannot be rolled back.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help: it is read in logs and pagers too.
    rich_markup_mode=None,
    # A traceback with local variables would show keys and payloads.
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """An append-only, hash-chained record of effects that cannot be rolled back."""


_POSTS = "--key order-1-capture --type card.capture --amount 19.99 --currency EUR --flow in"
_CORRECTS = "shop --corrects-key order-1-capture --reason customer.request"
_LINES = CALLS | {1: "lines were refused"}
_RELAYS = CALLS | {1: "a row was refused, and waits for a person"}
_BUNDLES = ALONE | {1: "the bundle is damaged"}
_VERIFIED = {
    0: "good",
    1: "bad evidence",
    2: "bad input, or nobody you trust vouched for it",
    3: "where it lies, nobody answers",
}
_SERVES = LOCAL | {0: "ended by a signal"}
_LISTENS = ALONE | {0: "ended by a signal"}
_WATCHES = {0: "good", 1: "evidence against the log", 2: "bad input", 3: "unreachable", 4: "stale"}
_DEMO = LOCAL | {1: "it did not verify"}
_RESTORES = LOCAL | {
    1: "the copy does not lead to what was signed, or the database holds another history"
}

R = Readers
COMMANDS: tuple[tuple[Readers, str, Callable[..., Any], str, Exits], ...] = (
    (R.NEWCOMERS, "demo", demo.demo, "demo", _DEMO),
    (R.SERVICES, "post", effects.post, f"post shop {_POSTS}", CALLS),
    (
        *(R.SERVICES, "refund", corrections.refund),
        f"refund {_CORRECTS} --key order-1-refund --amount 5.00 --currency EUR",
        CALLS,
    ),
    (
        *(R.SERVICES, "adjust", corrections.adjust),
        f"adjust {_CORRECTS} --key order-1-fee --amount -0.10 --currency EUR --flow in",
        CALLS,
    ),
    (
        *(R.SERVICES, "explain", corrections.explain),
        f"explain {_CORRECTS} --key order-1-why --note 'Sent twice.'",
        CALLS,
    ),
    (R.SERVICES, "show", entries.show, "show shop --key order-1-capture", CALLS),
    (R.SERVICES, "tail", entries.tail, "tail shop --follow", CALLS),
    (R.SERVICES, "dry-run", items.dry_run, "dry-run shop march.ndjson", _LINES),
    (R.SERVICES, "import", items.import_file, "import shop march.ndjson", _LINES),
    (
        R.SERVICES,
        "relay",
        relay.relay,
        "relay --database-url sqlite:////srv/shop.db --once",
        _RELAYS,
    ),
    (R.AUDITORS, "verify", verify.verify, "verify receipt.json --vkey VKEY", _VERIFIED),
    (
        *(R.AUDITORS, "export", export.export, "export shop --period 2026-10 --out bundle"),
        CALLS | {1: "the service shows something else than it signed, or than it showed before"},
    ),
    (
        *(R.AUDITORS, "report", report.report, "report bundle --vkey VKEY --out report.pdf"),
        _VERIFIED,
    ),
    (
        *(R.AUDITORS, "sample", sample.sample),
        "sample bundle --method random --size 25 --out paper.xlsx",
        _BUNDLES,
    ),
    (R.AUDITORS, "evaluate", sample.evaluate, "evaluate paper.json results.csv", ALONE),
    (
        *(R.AUDITORS, "watch", watch.watch),
        "watch http://127.0.0.1:8420/v1/ledgers/shop --vkey VKEY --once",
        _WATCHES,
    ),
    (
        *(R.AUDITORS, "witness", witness.witness),
        "witness --name witness.example/w1 --log VKEY",
        _LISTENS,
    ),
    (R.FINANCE, "close", close.close, "close shop 2026-10 --reviewer ben", CALLS),
    (R.FINANCE, "review", close.review, "review shop 2026-10", CALLS),
    (R.OPERATORS, "serve", serve.serve, "serve --port 8420", _SERVES),
    (R.OPERATORS, "migrate", database.migrate, "migrate", LOCAL),
    (R.OPERATORS, "settings", settings.settings, "settings", ALONE),
    (
        *(R.OPERATORS, "restore", restore.restore),
        "restore shop --entries copy",
        _RESTORES,
    ),
    (R.OPERATORS, "signer", signer.signer, "signer --port 8440", _LISTENS),
    (R.OPERATORS, "bench", bench.bench, "bench R1 R4 --seconds 5", ALONE),
)
GROUPS = (
    (R.SERVICES, "intent", intents.app),
    (R.FINANCE, "recon", recon.app),
    (R.OPERATORS, "ledger", ledgers.app),
    (R.OPERATORS, "key", keys.app),
)
for _readers, _name, _command, _example, _exits in COMMANDS:
    app.command(_name, **manual(_example, _exits, _readers))(_command)
for _readers, _name, _group in GROUPS:
    app.add_typer(_group, name=_name, rich_help_panel=_readers)


def main() -> None:
    """Run the command that the process was started with, and end the process."""
    # Also where the command line itself is wrong, and no command could say how to answer.
    output = Output(as_json="--json" in sys.argv[1:])
    try:
        code = typer.main.get_command(app).main(prog_name=PROGRAM, standalone_mode=False)
    except LedgerError as error:
        code = output.fail(error)
    except OSError as error:
        # A file or folder that somebody named; what a service answers is never one.
        code = output.fail(
            SettingsError(f"{error.filename or 'a file'}: {error.strerror or error}")
        )
    except typer.TyperException as error:
        code = _fail_usage(output, error)
    except typer.Abort:
        code = _end_early(output)
    sys.exit(code or 0)


def _end_early(output: Output) -> int:
    """Ctrl-C."""
    print(f"{PROGRAM}: interrupted", file=sys.stderr)
    if output.as_json:
        print_json({"error": {"message": "interrupted", "code": "INTERRUPTED", "details": {}}})
    return INTERRUPTED


def _fail_usage(output: Output, error: typer.TyperException) -> int:
    message = error.format_message()
    if message.startswith("Usage: "):
        # Called without a command: the help is the answer.
        print(message, file=sys.stderr)
        return BAD_INPUT
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    print(f"{PROGRAM}: {message}{hint}", file=sys.stderr)
    if output.as_json:
        print_json({"error": {"message": message, "code": "USAGE", "details": {}}})
    return BAD_INPUT


if __name__ == "__main__":
    main()

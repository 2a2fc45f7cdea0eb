"""
Main: every command under its name, and what becomes of what they raise.

Exit codes: 0 good, 1 bad evidence or refused items, 2 bad input or a request that was refused.
"""

from __future__ import annotations

import sys

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
from ledger.cli.output import BAD_INPUT, Output, print_json
from ledger.cli.verify import command as verify
from ledger.errors import LedgerError, SettingsError

PROGRAM = "effect-ledger"

app = typer.Typer(
    name=PROGRAM,
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


app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("migrate")(database.migrate)
app.add_typer(ledgers.app, name="ledger")
app.add_typer(keys.app, name="key")
app.command("post")(effects.post)
app.command("refund")(corrections.refund)
app.command("adjust")(corrections.adjust)
app.command("explain")(corrections.explain)
app.command("show")(entries.show)
app.command("tail")(entries.tail)
app.add_typer(intents.app, name="intent")
app.command("dry-run")(items.dry_run)
app.command("import")(items.import_file)
app.command("relay")(relay.relay)
app.command("close")(close.close)
app.command("review")(close.review)
app.add_typer(recon.app, name="recon")
app.command("verify")(verify.verify)
app.command("watch")(watch.watch)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("sample")(sample.sample)
app.command("evaluate")(sample.evaluate)
app.command("restore")(restore.restore)
app.command("witness")(witness.witness)
app.command("bench")(bench.bench)
app.command("signer")(signer.signer)
app.command("settings")(settings.settings)


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
        code = BAD_INPUT
    sys.exit(code or 0)


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

"""
Recon: finance's room from a terminal, and from a nightly job.

Exit codes: 0 tied or done, 1 breaks remain, 2 bad input or a rejected file, 3 a quarantined file.
"""

import typer

from ledger.cli import generate
from ledger.cli.recon import cases, files, rehearse, runs, unknowns

app = typer.Typer(
    help="Reconcile a ledger with what providers and banks say.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("sources")(files.sources)
app.command("import")(files.import_files)
app.command("override")(files.override)
app.command("coverage")(files.coverage)
app.command("run")(runs.run)
app.command("statement")(runs.statement)
app.command("signoff")(runs.signoff)
app.command("match")(runs.match)
app.command("unmatch")(runs.unmatch)
app.command("breaks")(cases.breaks)
app.command("show")(cases.show)
app.command("assign")(cases.assign)
app.command("propose")(cases.propose)
app.command("explain")(cases.explain)
app.command("approve")(cases.approve)
app.command("reject")(cases.reject)
app.command("intents")(unknowns.intents)
app.command("conclude")(unknowns.conclude)
app.command("generate")(generate.generate)
app.command("rehearse")(rehearse.rehearse)

__all__ = ["app"]

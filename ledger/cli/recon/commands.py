"""The commands of finance's room, each with an example and how it ends."""

from ledger.cli import generate
from ledger.cli.manual import ALONE, CALLS, manual, plain_typer
from ledger.cli.recon import cases, files, rehearse, runs, unknowns

app = plain_typer(
    help="Reconcile a ledger with what providers and banks say.",
)
_TIES = CALLS | {0: "tied, nothing is open", 1: "breaks remain"}
_IMPORTS = CALLS | {
    1: "a file is quarantined: it is at odds with its own totals",
    2: "bad input, refused, or a file that is no statement",
}
_REHEARSES = ALONE | {0: "every planted break was found, and no other", 1: "something else was"}

app.command("sources", **manual("recon sources books", CALLS))(files.sources)
app.command("import", **manual("recon import books early.csv --source stripe", _IMPORTS))(
    files.import_files
)
app.command(
    "override",
    **manual("recon override books IMPORT --reason 'Its bank confirmed the sum.'", CALLS),
)(files.override)
app.command(
    "discard",
    **manual("recon discard books IMPORT --reason 'The bank sent the month again.'", CALLS),
)(files.discard)
app.command("coverage", **manual("recon coverage books --period 2026-03", CALLS))(files.coverage)
app.command("run", **manual("recon run books --period 2026-03", _TIES))(runs.run)
app.command("statement", **manual("recon statement books --period 2026-03 --out march", _TIES))(
    runs.statement
)
app.command("signoff", **manual("recon signoff books --period 2026-03", CALLS))(runs.signoff)
app.command(
    "match", **manual("recon match books ITEM ITEM --note 'One transfer, two lines.'", CALLS)
)(runs.match)
app.command(
    "unmatch", **manual("recon unmatch books MATCH --run RUN --note 'Two customers.'", CALLS)
)(runs.unmatch)
app.command("breaks", **manual("recon breaks books --older-than 7d", _TIES))(cases.breaks)
app.command("show", **manual("recon show books BREAK", CALLS))(cases.show)
app.command("assign", **manual("recon assign books BREAK --to ben", CALLS))(cases.assign)
app.command("propose", **manual("recon propose books BREAK", CALLS))(cases.propose)
app.command("explain", **manual("recon explain books BREAK --note 'Fee of March.'", CALLS))(
    cases.explain
)
app.command("approve", **manual("recon approve books BREAK", CALLS))(cases.approve)
app.command("reject", **manual("recon reject books BREAK --note 'Wrong day.'", CALLS))(cases.reject)
app.command("intents", **manual("recon intents books", CALLS | {1: "some are unknown"}))(
    unknowns.intents
)
app.command(
    "conclude", **manual("recon conclude books --dry-run", CALLS | {1: "some stay unknown"})
)(unknowns.conclude)
app.command("generate", **manual("recon generate --out shop --lines 1000 --breaks 50", ALONE))(
    generate.generate
)
app.command("rehearse", **manual("recon rehearse shop", _REHEARSES))(rehearse.rehearse)

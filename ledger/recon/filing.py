"""
Filing: the statements that go with a closed period, as the files of a bundle.

All that were signed in the period, whatever they are about; and of the period itself the newest
that nobody had signed by its close. What comes later is in the bundle of a later period.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.canonical import canonical_bytes
from ledger.ports import FiledStatement, FiledView, StatementsAsked
from ledger.recon.outputs.pdf import statement_pdf
from ledger.recon.outputs.tabular import lists_lines, statement_csv
from ledger.recon.outputs.text import statement_text
from ledger.recon.shelf import RunRow, Shelf
from ledger.recon.signoffs import Signoff, read_signoffs, statement_document
from ledger.storage.database import WRITER, engine

CSV = "text/csv; charset=utf-8; header=present"
TEXT = "text/plain; charset=utf-8"
PDF = "application/pdf"


def filed_statements(conninfo: str, asked: StatementsAsked) -> Iterator[FiledStatement]:
    """
    The statements that go with a closed period, in the order of their periods.

    Raises:
        CommitmentError: A sign-off is not kept as the ledger has its hash.
    """
    pool = engine(lambda _role: conninfo, WRITER, pool_size=1)
    try:
        shelf = Shelf(pool)
        signed: dict[str, list[Signoff]] = defaultdict(list)
        for signoff in read_signoffs(shelf, asked.ledger):
            if signoff.notice.seq <= asked.to_seq:
                signed[signoff.run].append(signoff)
        wanted = {
            run: [each for each in signoffs if each.notice.seq >= asked.from_seq]
            for run, signoffs in signed.items()
        }
        wanted = {run: signoffs for run, signoffs in wanted.items() if signoffs}
        for run in _newest(shelf, asked):
            if run not in signed:
                wanted[run] = []
        rows = [shelf.run(asked.ledger, run) for run in wanted]
        for row in sorted(rows, key=lambda row: (row.input["period_from"], row.id)):
            yield _filed(shelf, asked.ledger, row, wanted[row.id])
    finally:
        pool.dispose()


def _newest(shelf: Shelf, asked: StatementsAsked) -> list[str]:
    """The newest run of each period and set of sources that had ended by the close."""
    ended = shelf.ended(
        asked.ledger, before=asked.closed_at, size=asked.to_seq + 1, days=asked.days
    )
    return list({(period, *sorted(sources)): run for run, period, sources in ended}.values())


def _filed(shelf: Shelf, ledger: str, run: RunRow, signoffs: Sequence[Signoff]) -> FiledStatement:
    files = {row.id: row for row in shelf.imports(ledger)}
    document: Mapping[str, Any] = {
        "statement": statement_document(run),
        "measures": run.output["measures"],
        "files": [
            {
                "id": id_,
                "source": files[id_].source,
                "filename": files[id_].filename,
                "sha256": files[id_].sha256,
                "status": files[id_].status,
            }
            for id_ in (*run.input["imports"], *run.input["quarantined"])
        ],
        "signoffs": [each.to_document() for each in signoffs],
    }
    lists = lists_lines(shelf.all_standings(ledger, run.id))
    return FiledStatement(
        name=f"{run.input['period']}-{run.id[:8]}",
        run=run.id,
        period=str(run.input["period"]),
        size=int(run.input["size"]),
        decisions=tuple(each.decision for each in signoffs),
        content=canonical_bytes(document),
        views=(
            FiledView(".txt", TEXT, [statement_text(run, signoffs).encode()]),
            FiledView(".csv", CSV, [statement_csv(run, signoffs).encode()]),
            FiledView("-lists.csv", CSV, (line.encode() for line in lists)),
            FiledView(".pdf", PDF, [statement_pdf(run, signoffs)]),
        ),
    )

"""Text: the statement as a terminal or a mail shows it."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.recon.outputs.sheet import blocks, heading, measures, reasons, signatures
from ledger.recon.shelf import RunRow
from ledger.recon.signoffs import Signoff

LABEL, AMOUNT, COUNT = 58, 20, 9


def statement_text(run: RunRow, signoffs: Sequence[Signoff]) -> str:
    """The whole statement; amounts stand under each other."""
    lines = ["Reconciliation statement", ""]
    lines += [f"{name:<12}  {value}" for name, value in heading(run)]
    for block in (*blocks(run), *measures(run)):
        lines += ["", block.title]
        lines += [
            f"  {label:<{LABEL}}{amount:>{AMOUNT}}{f'({count})' if count else '':>{COUNT}}"
            f"  {name}".rstrip()
            for label, amount, count, name in block.rows
        ]
    if not run.output["statement"]:
        lines += ["", "Nothing was compared: no movement falls into this period."]
    for reason in reasons(run):
        lines += ["", f"Note: {reason}."]
    lines += ["", "Sign-off"]
    lines += [f"{name:<12}  {value}" for name, value in signatures(run, signoffs)]
    return "\n".join(lines) + "\n"
